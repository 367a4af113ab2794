"""Long signals in few numbers: the lowest and the highest value of each stretch, so that no peak is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    import xarray as xr
    from numpy.typing import NDArray

STRETCHES = 1500
"""Stretches that a signal is drawn as: about two to a pixel."""

_BLOCK = 1 << 20  # numbers that are read at once


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """A signal as it is drawn.

    Attributes
    ----------
    times : ndarray
        Where each stretch begins.
    low, high : ndarray
        Stretches x channels; the same where every sample has a stretch of its own.
    """

    times: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]

    @property
    def is_exact(self) -> bool:
        """Whether each stretch is one sample."""
        return self.low is self.high


def envelope(signal: xr.DataArray, stretches: int = STRETCHES) -> Envelope:
    """Return the envelope of a signal, which is read a block at a time.

    Parameters
    ----------
    signal : xarray.DataArray
        Two dimensions: samples, which may have a coordinate, and channels.
    stretches : int, optional
        How many there are to be; at most two times as many samples are shown one by one.
    """
    dimension = str(signal.dims[0])
    count = signal.sizes[dimension]
    step = 1 if count <= 2 * stretches else -(-count // stretches)
    part = signal.isel({dimension: slice(None, None, step)})
    times = np.asarray(part[dimension].values, "float64")
    if step == 1:
        values = np.asarray(signal.values, "float64")
        return Envelope(times, values, values)
    rows = max(1, _BLOCK // max(1, signal.shape[1]) // step) * step
    lows, highs = [], []
    for begin in range(0, count, rows):
        block = np.asarray(signal[begin : begin + rows].values, "float64")
        starts = np.arange(0, len(block), step)
        lows.append(np.fmin.reduceat(block, starts))
        highs.append(np.fmax.reduceat(block, starts))
    return Envelope(times, np.concatenate(lows), np.concatenate(highs))
