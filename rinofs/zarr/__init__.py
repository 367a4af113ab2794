"""zarr arrays and groups: a store that requests many chunks at once.

It imports the filesystems, as users of zarr would; nothing in rinofs imports it.
"""

from __future__ import annotations

try:
    from rinofs.zarr.store import RinoStore
except ModuleNotFoundError as error:
    if error.name is None or error.name.partition(".")[0] != "zarr":
        raise
    raise ImportError("rinofs.zarr needs zarr 3: pip install 'rinofs[zarr]'") from error

__all__ = ["RinoStore"]
