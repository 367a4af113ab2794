"""fsspec filesystems for Rinocloud and repovizz2."""

from __future__ import annotations

from rinofs.errors import RinofsError
from rinofs.fs.blocks import set_cache_size
from rinofs.rinocloud.filesystem import RinoFileSystem

__all__ = ["RinoFileSystem", "RinofsError", "__version__", "set_cache_size"]

__version__ = "0.1.0"
