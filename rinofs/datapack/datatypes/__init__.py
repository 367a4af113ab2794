"""Datatypes: what the numbers in a data node's file are, and how a datatype is found by name or UUID.

Imports `document`. Serves `formats` and what opens and writes arrays.
"""

from __future__ import annotations

from rinofs.datapack.datatypes.datatype import DatatypeWarning

__all__ = ["DatatypeWarning"]
