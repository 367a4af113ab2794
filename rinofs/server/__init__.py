"""The embedded server: both APIs on data kept in a folder."""

from __future__ import annotations
