"""Pictures of sensor streams and datapacks, through matplotlib (extra ``plot``)."""

from __future__ import annotations

from rinofs.plotting.figures import plot, save

__all__ = ["plot", "save"]
