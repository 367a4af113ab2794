"""Convert labelled arrays to streams, with all checks before anything is written."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.arrays.times import TimeIndex
from rinofs.datapack.authoring.encoding import BLOCK, SampleBlocks
from rinofs.datapack.datatypes.labels import seconds_per
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Hashable, Iterator

    import xarray as xr

TIME = "time"
SAMPLE = "sample"
CHANNEL = "channel"
EVENT = "event"

_UNEVEN = 1e-3  # maximum deviation of a time from the grid, in sampling steps
_STAMPS = 1 << 20  # number of times that are read at once


@dataclass(frozen=True, slots=True)
class Axis:
    """An additional dimension of a stream, between time and channel.

    Attributes
    ----------
    label, units : str
        Label and units of the coordinate.
    rate : float or None
        Samples per unit.
    """

    label: str
    units: str
    rate: float | None


@dataclass(frozen=True, slots=True)
class PlannedStream:
    """A regularly sampled variable in the layout of a file.

    Attributes
    ----------
    label : str
        Name for messages.
    array : xarray.DataArray
        Dimensions: time or sample first, channel last.
    rate : float or None
        Samples per second; None for the dimension ``sample``.
    start : float
        Time of the first sample in seconds.
    axes : tuple of Axis
        Additional dimensions.
    channels : tuple of str
        Labels of the channels.
    """

    label: str
    array: xr.DataArray
    rate: float | None
    start: float
    axes: tuple[Axis, ...]
    channels: tuple[str, ...]

    def samples(self) -> SampleBlocks:
        """Return the samples for an encoder, which reads them block by block."""
        return SampleBlocks(
            self.label, self.array.shape, self.array.dtype, self._blocks(), self.channels, self.rate
        )

    def _blocks(self) -> Iterator[np.ndarray[Any, Any]]:
        wide = max(1, int(np.prod(self.array.shape[1:])))
        step = max(1, BLOCK // wide)
        for begin in range(0, self.array.shape[0], step):
            yield np.asarray(self.array[begin : begin + step].values)


def stream_of(variable: xr.DataArray, label: str) -> PlannedStream:
    """Convert a variable to a stream.

    Parameters
    ----------
    variable : xarray.DataArray
        Has the dimension ``time`` or ``sample``, and ``channel``; a single other dimension is used as
        channel.
    label : str
        Name for messages.

    Raises
    ------
    InvalidDatapackError
        If it has other dimensions, its times are not evenly spaced, or it does not contain numbers.
    """
    if variable.dtype.kind not in "biuf":
        raise InvalidDatapackError(f"{label}: a stream stores numbers or booleans, not {variable.dtype}")
    first = _first(variable, label)
    others = [dimension for dimension in variable.dims if dimension != first]
    channel = CHANNEL if CHANNEL in others else others[0] if len(others) == 1 else None
    between = [dimension for dimension in others if dimension != channel]
    axes = tuple(_axis(variable, dimension, label) for dimension in between)
    if channel is None:
        variable, channel = variable.expand_dims(CHANNEL), CHANNEL
    array = variable.transpose(first, *between, channel)
    rate, start = _timing(array, label) if first == TIME else (None, 0.0)
    return PlannedStream(label, array, rate, start, axes, _labels(array, channel, label))


def _first(variable: xr.DataArray, label: str) -> Hashable:
    for name in (TIME, SAMPLE):
        if name in variable.dims:
            return name
    raise InvalidDatapackError(
        f"{label}: its dimensions are {_listed(variable.dims)}; a stream has {TIME!r} (or {SAMPLE!r}) and"
        f" {CHANNEL!r}, and annotations have {EVENT!r}: rename them"
    )


def _axis(variable: xr.DataArray, dimension: Hashable, label: str) -> Axis:
    if dimension not in variable.coords:
        return Axis(str(dimension), "", 1.0)
    coordinate = variable.coords[dimension]
    rate, start = _spacing(_numbers(coordinate, label), None, f"{label}: its {dimension!r}")
    if start != 0:
        raise InvalidDatapackError(f"{label}: its {dimension!r} is not evenly spaced from 0")
    # With a single value, any spacing is correct.
    return Axis(str(dimension), str(coordinate.attrs.get("units", "")), rate or 1.0)


def _labels(array: xr.DataArray, channel: Hashable, label: str) -> tuple[str, ...]:
    if channel not in array.coords:
        return tuple(str(number) for number in range(1, array.sizes[channel] + 1))
    labels = tuple(str(value).strip() for value in np.atleast_1d(array.coords[channel].values).tolist())
    twice = {each for each in labels if labels.count(each) > 1 or not each}
    if twice:
        raise InvalidDatapackError(
            f"{label}: the channel label {min(twice)!r} is empty or not unique;"
            " each channel needs a label of its own"
        )
    return labels


def _timing(array: xr.DataArray, label: str) -> tuple[float, float]:
    """Return the sampling rate in Hz, and the time of the first sample in seconds."""
    said = _said_rate(array)
    if TIME not in array.coords:
        if said is None:
            raise InvalidDatapackError(
                f"{label}: no sampling rate; add a coordinate 'time' or the attribute 'sampling_rate' (Hz)"
            )
        return said, 0.0
    index = array.xindexes.get(TIME)
    grid = index.grid if isinstance(index, TimeIndex) else None
    if grid is not None and grid.size and grid.stride > 0:  # evenly spaced by construction
        return grid.rate / grid.stride, float(grid.times(0))
    rate, start = _spacing(_numbers(array.coords[TIME], label), said, f"{label}: its 'time'")
    if rate is None:
        raise InvalidDatapackError(
            f"{label}: the sampling rate cannot be computed from fewer than two timestamps;"
            " set the attribute 'sampling_rate' (Hz)"
        )
    return rate, start


def _said_rate(array: xr.DataArray) -> float | None:
    said = array.attrs.get("sampling_rate")
    if not isinstance(said, (int, float, np.integer, np.floating)):
        return None
    return float(said) if np.isfinite(said) and said > 0 else None


def _numbers(coordinate: xr.DataArray, label: str) -> xr.DataArray:
    """Return a coordinate as numbers; times in seconds."""
    name = coordinate.name
    if coordinate.dtype.kind == "m":
        return coordinate / np.timedelta64(1, "s")
    if coordinate.dtype.kind not in "iuf":
        raise InvalidDatapackError(
            f"{label}: {name!r} holds {coordinate.dtype}, but a stream needs seconds from its start;"
            ' for dates, assign_coords(time=(data.time - data.time[0]) / np.timedelta64(1, "s"))'
        )
    units = coordinate.attrs.get("units")
    factor = 1.0 if name != TIME or units is None else seconds_per(str(units))
    if factor is None:
        raise InvalidDatapackError(f"{label}: 'time' is in {units!r}; convert it to seconds ('s')")
    return coordinate if factor == 1.0 else coordinate * factor


def _spacing(stamps: xr.DataArray, said: float | None, what: str) -> tuple[float | None, float]:
    """Return the rate and first value of evenly spaced values; a consistent stated rate is preferred."""
    count = stamps.size
    if not count:
        return said, 0.0
    start, last = (float(stamps[index].values) for index in (0, -1))
    if count == 1:
        return said, start
    span = last - start
    if not np.isfinite(span) or span <= 0:
        raise InvalidDatapackError(f"{what} does not increase; a stream needs a constant sampling rate")
    found = (count - 1) / span
    candidates = [said, float(f"{found:.9g}"), found]
    for rate in dict.fromkeys(candidate for candidate in candidates if candidate):
        if _worst(stamps, start, rate) <= _UNEVEN:
            return rate, start
    raise InvalidDatapackError(
        f"{what} is not evenly spaced, but a stream needs a constant sampling rate;"
        " interpolate it (xarray's interp), or write it as annotations along 'event'"
    )


def _worst(stamps: xr.DataArray, start: float, rate: float) -> float:
    """Return the largest deviation from the grid, in steps."""
    worst = 0.0
    for begin in range(0, stamps.size, _STAMPS):
        part = np.asarray(stamps[begin : begin + _STAMPS].values, "float64")
        off = np.abs((part - start) * rate - np.arange(begin, begin + part.size))
        worst = max(worst, float(off.max()) if np.isfinite(off).all() else np.inf)
    return worst


def _listed(names: tuple[Hashable, ...]) -> str:
    return ", ".join(repr(str(name)) for name in names) or "none"
