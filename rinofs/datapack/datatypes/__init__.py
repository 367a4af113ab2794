"""What the values of a stream are: datatypes, their registry, and the layouts of samples."""

from __future__ import annotations

from rinofs.datapack.datatypes.datatype import DatatypeWarning

__all__ = ["DatatypeWarning"]
