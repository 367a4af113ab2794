"""fsspec filesystems for Rinocloud and repovizz2."""

from __future__ import annotations

from importlib import import_module
from typing import TYPE_CHECKING, Any

from rinofs import _moved
from rinofs.errors import RinofsError

if TYPE_CHECKING:
    from rinofs.fs.blocks import set_cache_size
    from rinofs.fs.tree_sync import sync
    from rinofs.repovizz.filesystem import RepovizzFileSystem
    from rinofs.repovizz.login.login import login
    from rinofs.rinocloud.filesystem import RinoFileSystem

__all__ = [
    "RepovizzFileSystem",
    "RinoFileSystem",
    "RinofsError",
    "__version__",
    "login",
    "set_cache_size",
    "sync",
]

__version__ = "0.1.0"

# Imported on first use, so that `import rinofs` is fast.
_WHERE = {
    "RinoFileSystem": "rinofs.rinocloud.filesystem",
    "RepovizzFileSystem": "rinofs.repovizz.filesystem",
    "login": "rinofs.repovizz.login.login",
    "set_cache_size": "rinofs.fs.blocks",
    "sync": "rinofs.fs.tree_sync",
}

_moved.install()


def __getattr__(name: str) -> Any:
    if name not in _WHERE:
        raise AttributeError(f"module 'rinofs' has no attribute {name!r}")
    return getattr(import_module(_WHERE[name]), name)


def __dir__() -> list[str]:
    return __all__
