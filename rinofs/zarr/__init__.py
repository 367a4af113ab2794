"""zarr arrays and groups: a store that asks for many chunks by one request.

It imports the filesystems, as the users of zarr would; nothing in rinofs imports it.
"""

from __future__ import annotations

try:
    from rinofs.zarr.store import RinoStore
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "zarr":
        raise
    raise ImportError("rinofs.zarr needs zarr 3: pip install 'rinofs[zarr]'") from error

__all__ = ["RinoStore"]
