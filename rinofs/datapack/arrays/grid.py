"""Regular sampling: times that are computed, not stored."""

from __future__ import annotations

import math
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

from rinofs.datapack.formats.tables.timeaxis import TOLERANCE, even_rate

if TYPE_CHECKING:
    import numpy as np
    from numpy.typing import ArrayLike


@dataclass(frozen=True, slots=True)
class Grid:
    """Evenly spaced times; the time at index i is ``start + (first + i * stride) / rate``.

    Each time is computed from integers, so a slice of a grid has exactly the times of the whole.

    Attributes
    ----------
    start : float
        Time of sample 0 of the recording, in seconds.
    rate : float
        Samples per second.
    size : int
        Number of times.
    first, stride : int
        Samples of the recording: index of the first, and step.
    """

    start: float
    rate: float
    size: int
    first: int = 0
    stride: int = 1

    def times(self, positions: ArrayLike) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the times at some indices."""
        import numpy as np

        samples = self.first + np.asarray(positions, dtype=np.int64) * self.stride
        # Division, not multiplication by an interval, makes sample 1 at 200 Hz equal to the float 0.005.
        return np.asarray(self.start + samples / self.rate, dtype=np.float64)

    def positions(self, times: ArrayLike) -> np.ndarray[Any, np.dtype[np.float64]]:
        """Return the indices of times: fractional between samples, and unlimited beyond the ends."""
        import numpy as np

        samples = (np.asarray(times, dtype=np.float64) - self.start) * self.rate
        return np.asarray((samples - self.first) / self.stride, dtype=np.float64)

    @property
    def interval(self) -> float:
        """Seconds between two times; negative if they decrease."""
        return self.stride / self.rate

    @property
    def tolerance(self) -> float:
        """Fraction of an interval up to which a time counts as that of a sample.

        The float of a time in seconds since 1970 has little more than two digits left for a sample of audio.
        """
        ends = self.start, self.start + (self.first + self.stride * self.size) / self.rate
        return min(max(TOLERANCE, 4 * math.ulp(max(map(abs, ends))) / abs(self.interval)), 0.25)

    def __getitem__(self, part: slice) -> Grid:
        chosen = range(self.size)[part]
        first = self.first + chosen.start * self.stride
        return replace(self, first=first, stride=self.stride * chosen.step, size=len(chosen))

    def at(self, positions: np.ndarray[Any, Any]) -> Grid | None:
        """Return the grid of the times at some indices, None if they are not evenly spaced."""
        import numpy as np

        if positions.size < 2:
            return self[int(positions[0]) :][:1] if positions.size else self[:0]
        steps = np.diff(positions)
        step = int(steps[0])
        if step == 0 or bool((steps != step).any()):
            return None
        first = self.first + int(positions[0]) * self.stride
        return replace(self, first=first, stride=self.stride * step, size=int(positions.size))

    def between(self, start: float | None, stop: float | None) -> slice:
        """Return the slice of all times from `start` to `stop`, both included."""
        first = 0 if start is None else math.ceil(self._clipped(start) - self.tolerance)
        last = self.size - 1 if stop is None else math.floor(self._clipped(stop) + self.tolerance)
        first = min(max(first, 0), self.size)
        return slice(first, max(min(last + 1, self.size), first))

    def _clipped(self, time: float) -> float:
        """Return the index of a time, limited to one beyond the ends."""
        position = float(self.positions(time))
        if math.isnan(position):
            raise KeyError("NaN is not a valid time")
        return min(max(position, -1.0), float(self.size))

    def offset_to(self, other: Grid) -> int | None:
        """Return the offset in intervals to another grid, None if its times are not on this one."""
        drift = abs(self.interval - other.interval) * max(self.size, other.size)
        if drift > self.tolerance * abs(self.interval):
            return None
        offset = float(self.positions(other.times(0)))
        return round(offset) if abs(offset - round(offset)) <= self.tolerance else None

    def same_times(self, other: Grid) -> bool:
        """Return whether all times equal those of another grid."""
        if self.size != other.size:
            return False
        if self.size < 2:
            return self.size == 0 or abs(float(self.positions(other.times(0)))) <= self.tolerance
        return self.offset_to(other) == 0

    def overlap(self, other: Grid) -> Grid | None:
        """Return the times that both grids have, None if they do not lie on one grid."""
        offset = self.offset_to(other)
        if offset is None:
            return None
        first = min(max(offset, 0), self.size)
        return self[first : max(min(offset + other.size, self.size), first)]

    def hull(self, other: Grid) -> Grid | None:
        """Return the times that either grid has, None if they do not form a grid."""
        offset = self.offset_to(other)
        if offset is None or offset > self.size or offset + other.size < 0:
            return None
        first = min(offset, 0)
        size = max(offset + other.size, self.size) - first
        return replace(self, first=self.first + first * self.stride, size=size)


def fit_grid(times: np.ndarray[Any, Any]) -> Grid | None:
    """Return the grid for times, None if they are not evenly spaced and increasing.

    Parameters
    ----------
    times : ndarray
        Times in seconds, shape (n,).
    """
    import numpy as np

    values = np.asarray(times, dtype=np.float64)
    if values.size < 2 or not bool(np.isfinite(values).all()):
        return None
    since = values - values[0]
    # The values are rounded as floats themselves, before the first was subtracted.
    noise = 4 * float(np.spacing(np.abs(values).max()))
    rate = even_rate(lambda: [since], values.size, float(since[-1]), [noise])
    return None if rate is None else Grid(float(values[0]), rate, values.size)
