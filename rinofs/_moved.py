"""Imports of modules that have moved.

They work for one more release, with a DeprecationWarning that names the new place.
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

# What the documentation of 0.1.0 showed: an earlier module, its names, and the modules that have them now.
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
    """Make an empty module that finds its names in their new places."""

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
    """Find the modules that have moved. It is the last that Python asks, so that it slows no other import."""

    @staticmethod
    def find_spec(fullname: str, _path: object, _target: object = None) -> ModuleSpec | None:
        return ModuleSpec(fullname, _Loader()) if fullname in MOVED else None


def install() -> None:
    """Have Python find the modules that have moved."""
    sys.meta_path.append(_Finder())
