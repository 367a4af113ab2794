"""Datatypes, which describe the numbers in a data node's file, and their lookup by name or UUID.

May import `document`. Serves `formats` and the rooms that open and write arrays.
"""

from __future__ import annotations

from rinofs.datapack.datatypes.datatype import DatatypeWarning

__all__ = ["DatatypeWarning"]
