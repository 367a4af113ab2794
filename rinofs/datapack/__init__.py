"""Datapacks: trees of data files described by one JSON document, wherever the files are."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rinofs.datapack.document.document import (
    Container,
    DataNode,
    Document,
    Info,
    Node,
    dump,
    from_json,
    parse,
)
from rinofs.datapack.document.tree import Tree

if TYPE_CHECKING:
    from rinofs.datapack.authoring.writing import write

__all__ = ["Container", "DataNode", "Document", "Info", "Node", "Tree", "dump", "from_json", "parse", "write"]


def __getattr__(name: str) -> Any:
    # Needs the extra `xarray`, which all the rest does without.
    if name != "write":
        raise AttributeError(f"module 'rinofs.datapack' has no attribute {name!r}")
    try:
        from rinofs.datapack.authoring.writing import write
    except ModuleNotFoundError as error:
        message = f"rinofs.datapack.write needs {error.name}: pip install 'rinofs[xarray]'"
        raise ImportError(message) from error
    return write
