"""Pictures of sensor streams and datapacks, through matplotlib (extra ``plot``)."""

from __future__ import annotations

try:
    from rinofs.plotting.figures import plot
    from rinofs.plotting.picture import save
except ModuleNotFoundError as error:
    if (error.name or "").startswith("rinofs"):
        raise
    raise ModuleNotFoundError(
        f"rinofs.plotting needs {(error.name or '').partition('.')[0]}: pip install 'rinofs[plot]'",
        name=error.name,
    ) from error

__all__ = ["plot", "save"]
