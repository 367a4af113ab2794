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
"""Number of intervals in a drawn signal: about two for each pixel."""

_BLOCK = 1 << 20  # values per read


@dataclass(frozen=True, slots=True, eq=False)
class Envelope:
    """A reduced signal: the lowest and highest value of each interval.

    Attributes
    ----------
    times : ndarray
        Start of each interval, shape (intervals,).
    low, high : ndarray
        Shape (intervals, channels); equal if each interval is one sample.
    """

    times: NDArray[Any]
    low: NDArray[Any]
    high: NDArray[Any]

    @property
    def is_exact(self) -> bool:
        """Whether each interval is one sample."""
        return self.low is self.high

    def shifted(self, by: float) -> Envelope:
        """Return the envelope with an offset added to its times."""
        return Envelope(self.times + by, self.low, self.high) if by else self

    def scaled(self, middle: NDArray[Any], reach: NDArray[Any]) -> Envelope:
        """Return the envelope with each channel centred at 0 and divided by its range."""
        low = (self.low - middle) / reach
        return Envelope(self.times, low, low if self.is_exact else (self.high - middle) / reach)


def envelope(signal: xr.DataArray, stretches: int = STRETCHES) -> Envelope:
    """Return the envelope of a signal, which is read one block at a time.

    Parameters
    ----------
    signal : xarray.DataArray
        Samples x channels; the samples may have a coordinate.
    stretches : int, optional
        Number of intervals; signals with up to twice as many samples are not reduced.
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
    """Return the first sample of each interval: equal numbers of samples, or equal durations if uneven."""
    even = np.arange(0, count, -(-count // stretches))
    if stamps is None or not bool(np.isfinite(stamps).all()):
        return even
    steps = np.diff(stamps)
    if steps.min() < 0 or steps.max() - steps.min() <= 1e-3 * steps.mean() + 8 * np.spacing(stamps[-1]):
        return even
    edges = np.linspace(stamps[0], stamps[-1], stretches + 1)[:-1]
    return np.unique(np.searchsorted(stamps, edges))


def _blocks(starts: NDArray[Any], count: int, rows: int) -> Iterator[tuple[int, int]]:
    """Yield the intervals to read together: a limited number of samples, but at least one interval."""
    first = 0
    while first < len(starts):
        last = int(np.searchsorted(starts, starts[first] + rows, side="right")) - 1
        if count <= starts[first] + rows:
            last = len(starts)
        last = max(last, first + 1)
        yield first, last
        first = last
