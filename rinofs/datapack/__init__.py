"""Datapacks: trees of data files that a JSON document describes, on any filesystem.

Rooms, each importing only those before it: `document`, `datatypes`, `formats`, `arrays`, `authoring`. The
filesystem ``datapack://`` (`links`, `source`, `filesystem`) imports `document` only.
"""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rinofs.datapack.document.model import (
    Container,
    DataNode,
    Document,
    Info,
    Node,
    Tree,
    dump,
    from_json,
    parse,
)

if TYPE_CHECKING:
    from rinofs.datapack.authoring.writing import write
    from rinofs.datapack.datatypes.datatype import DatatypeWarning
    from rinofs.datapack.datatypes.registry import DatatypeRegistry
    from rinofs.datapack.document.messages import DataWarning

__all__ = [
    "Container",
    "DataNode",
    "DataWarning",
    "DatatypeRegistry",
    "DatatypeWarning",
    "Document",
    "Info",
    "Node",
    "Tree",
    "dump",
    "from_json",
    "parse",
    "write",
]

# Imported on first use: `write` needs the extra `xarray`.
_WHERE = {
    "DataWarning": "rinofs.datapack.document.messages",
    "DatatypeRegistry": "rinofs.datapack.datatypes.registry",
    "DatatypeWarning": "rinofs.datapack.datatypes.datatype",
    "write": "rinofs.datapack.authoring.writing",
}


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'rinofs.datapack' has no attribute {name!r}")
    try:
        return getattr(import_module(_WHERE[name]), name)
    except ModuleNotFoundError as error:
        message = f"rinofs.datapack.{name} needs {error.name}: pip install 'rinofs[xarray]'"
        raise ImportError(message) from error


def __dir__() -> list[str]:
    return __all__
