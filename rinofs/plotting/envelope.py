"""Reduce long signals to the lowest and highest value of each interval, so that no peak is lost."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.plotting.axis import seconds_of

if TYPE_CHECKING:
    from collections.abc import Iterator

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

    def shifted(self, by: float) -> Envelope:
        """Return it at later times."""
        return Envelope(self.times + by, self.low, self.high) if by else self

    def scaled(self, middle: NDArray[Any], reach: NDArray[Any]) -> Envelope:
        """Return it with each channel around 0, and a reach of it as 1."""
        low = (self.low - middle) / reach
        return Envelope(self.times, low, low if self.is_exact else (self.high - middle) / reach)


def envelope(signal: xr.DataArray, stretches: int = STRETCHES) -> Envelope:
    """Return the envelope of a signal, which is read a block at a time.

    Parameters
    ----------
    signal : xarray.DataArray
        Two dimensions: samples, which may have a coordinate, and channels.
    stretches : int, optional
        How many there are to be; at most two times as many samples are shown one by one.
    """
    dimension = signal.dims[0]
    count = signal.sizes[dimension]
    stamps = seconds_of(np.asarray(signal[dimension].values)) if dimension in signal.coords else None
    if count <= 2 * stretches:
        values = np.asarray(signal.values, "float64")
        return Envelope(np.arange(count, dtype="float64") if stamps is None else stamps, values, values)
    starts = _beginnings(stamps, count, stretches)
    lows, highs = [], []
    for first, last in _blocks(starts, count, max(1, _BLOCK // max(1, signal.shape[1]))):
        begin = int(starts[first])
        end = int(starts[last]) if last < len(starts) else count
        block = np.asarray(signal[begin:end].values, "float64")
        lows.append(np.fmin.reduceat(block, starts[first:last] - begin))
        highs.append(np.fmax.reduceat(block, starts[first:last] - begin))
    times = starts.astype("float64") if stamps is None else stamps[starts]
    return Envelope(times, np.concatenate(lows), np.concatenate(highs))


def _beginnings(stamps: NDArray[Any] | None, count: int, stretches: int) -> NDArray[Any]:
    """Return the first sample of each stretch: equally many samples, or equally much of uneven time."""
    even = np.arange(0, count, -(-count // stretches))
    if stamps is None or not bool(np.isfinite(stamps).all()):
        return even
    steps = np.diff(stamps)
    if steps.min() < 0 or steps.max() - steps.min() <= 1e-3 * steps.mean() + 8 * np.spacing(stamps[-1]):
        return even
    edges = np.linspace(stamps[0], stamps[-1], stretches + 1)[:-1]
    return np.unique(np.searchsorted(stamps, edges))


def _blocks(starts: NDArray[Any], count: int, rows: int) -> Iterator[tuple[int, int]]:
    """Yield which stretches are read together: some rows of samples, one stretch at least."""
    first = 0
    while first < len(starts):
        last = int(np.searchsorted(starts, starts[first] + rows, side="right")) - 1
        if count <= starts[first] + rows:
            last = len(starts)
        last = max(last, first + 1)
        yield first, last
        first = last
