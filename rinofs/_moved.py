"""Compatibility imports for modules that have moved.

They work for one more release, with a DeprecationWarning that has the new name.
"""

from __future__ import annotations

import sys
import warnings
from importlib import import_module
from importlib.abc import Loader
from importlib.machinery import ModuleSpec
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from types import ModuleType

__all__ = ["MOVED", "install"]

# Modules in the documentation of 0.1.0, their names, and the modules that now define them.
MOVED: dict[str, dict[str, str]] = {
    "rinofs.datapack.edits": {"*": "rinofs.datapack.document.edits"},
    "rinofs.datapack.registry": {"DatatypeRegistry": "rinofs.datapack"},
    "rinofs.datapack.samples": {"DataWarning": "rinofs.datapack"},
    "rinofs.datapack.times": {
        "TimeIndex": "rinofs.datapack.arrays.times",
        "time_coordinates": "rinofs.datapack.arrays.times",
    },
    "rinofs.datapack.validation": {
        "datatype_problems": "rinofs.datapack.document.validation",
        "flaws": "rinofs.datapack.document.validation",
    },
    "rinofs.datapack.writing": {"write": "rinofs.datapack"},
    "rinofs.datapack.xarray_backend": {"DatapackBackend": "rinofs.datapack.arrays.xarray_backend"},
    "rinofs.fs.writer": {"NotWrittenWarning": "rinofs.errors"},
}


class _Loader(Loader):
    """Creates an empty module that looks up its names in the new modules."""

    def create_module(self, spec: ModuleSpec) -> ModuleType | None:  # noqa: ARG002
        return None

    def exec_module(self, module: ModuleType) -> None:
        old, places = module.__name__, MOVED[module.__name__]

        def find(name: str) -> Any:
            place = places.get(name, places.get("*"))
            if place is None or name.startswith("__"):
                raise AttributeError(f"module {old!r} has no attribute {name!r}")
            warnings.warn(f"{old} has moved: import {name} from {place}", DeprecationWarning, stacklevel=2)
            return getattr(import_module(place), name)

        vars(module)["__getattr__"] = find  # PEP 562


class _Finder:
    """Finds modules that have moved. It comes last in `sys.meta_path`, so it slows down no other import."""

    @staticmethod
    def find_spec(fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, _Loader()) if fullname in MOVED else None


def install() -> None:
    """Register the finder."""
    sys.meta_path.append(_Finder())
