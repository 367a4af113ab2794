"""Sampled streams as labelled arrays."""

from __future__ import annotations

import math
from dataclasses import dataclass
from fractions import Fraction
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np
import xarray as xr
from xarray.backends import BackendArray
from xarray.core import indexing

from rinofs.datapack.arrays.times import TimeIndex, time_coordinates
from rinofs.datapack.datatypes.labels import identifier, match_labels, seconds_per, unique_labels
from rinofs.datapack.datatypes.layouts import Dimension, Lattice, Quantity
from rinofs.datapack.document.messages import warn
from rinofs.datapack.formats.audio import SoundSamples
from rinofs.datapack.formats.npy import FieldSamples
from rinofs.datapack.formats.tables.reading import TableSamples
from rinofs.datapack.formats.tables.timeaxis import iso_of_ns
from rinofs.datapack.formats.wav import WavSamples
from rinofs.errors import InvalidDatapackError, InvalidOptionError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rinofs.datapack.datatypes.layouts import Datatype
    from rinofs.datapack.formats.samples import Samples

_STRIDED = 4 * 1024 * 1024
"""Bytes that are read at once for a slice with a step."""

_ROUNDING = 1e-6
"""Relative difference of two rates that count as the same one."""

_NO_QUANTITY = Quantity("", "", "")


@dataclass(frozen=True, slots=True)
class StreamFacts:
    """What is known about a stream apart from its file.

    Attributes
    ----------
    label : str
        Name for messages.
    datatype : Datatype or None
        Describes the values.
    rate : float or None
        Samples per second, if set by the user.
    channels : tuple of str or None
        Labels of the channels, if set by the user.
    start : float or None
        Time of the first sample in seconds, if set by the user or the node.
    time_column : bool
        Whether to use a column of times as the axis rather than as a channel.
    """

    label: str
    datatype: Datatype | None = None
    rate: float | None = None
    channels: tuple[str, ...] | None = None
    start: float | None = None
    time_column: bool = True

    @property
    def lattice(self) -> Lattice:
        """The layout; an empty one if there is none."""
        layout = self.datatype.layout if self.datatype else None
        return layout if isinstance(layout, Lattice) else Lattice((), (), ())

    @property
    def quantity(self) -> Quantity:
        """The measured quantity."""
        quantities = self.lattice.quantities
        return quantities[0] if quantities else _NO_QUANTITY


def stream_dataset(samples: Samples, stream: StreamFacts) -> xr.Dataset:
    """Return a stream as a dataset with one variable, time x channel.

    Raises
    ------
    InvalidDatapackError
        If the shape of the file does not match the datatype.
    """
    axis = _column_axis(samples, stream)
    columns = samples.shape[1] if len(samples.shape) > 1 else 1
    tail, labels = _tail(samples, stream, columns)
    dtype = _dtype(samples, stream)
    rate = axis.rate if axis else _rate(samples, stream)
    coords = axis.coords if axis else _first_axis(samples.shape[0], rate, stream)
    first = next(iter(coords), "sample")
    others = _other_axes(tail[:-1], stream.lattice.dimensions[1:], first)
    dims = (str(first), *others, "channel")
    quantity = _measured(stream)
    name = identifier(quantity.label, taken=dims)
    attrs: dict[str, Any] = {"long_name": quantity.label, "units": quantity.units, "sampling_rate": rate}
    data = indexing.LazilyIndexedArray(SampleArray(samples, tail, dtype))
    variable = xr.Variable(dims, data, {key: value for key, value in attrs.items() if value})
    parts = samples.parts and max(1, samples.parts * samples.dtype.itemsize // dtype.itemsize)
    if parts and parts < samples.shape[0]:
        # For chunks={}: xarray warns about other chunks, even though the file can be read in any.
        whole = dict(zip(dims, variable.shape, strict=True))
        variable.encoding["preferred_chunks"] = {**whole, dims[0]: parts}
    dataset = xr.Dataset({name: variable}, coords=coords)
    unix_ns = axis.unix_ns if axis else _unix_ns(samples)
    if unix_ns is not None:
        dataset.attrs["start_time"] = iso_of_ns(unix_ns)
    return dataset.assign_coords({**others, "channel": ("channel", np.array(labels, dtype=str))})


class _Axis(NamedTuple):
    """The axis of a stream with a column of times."""

    coords: xr.Coordinates
    rate: float | None
    unix_ns: int | None


def _column_axis(samples: Samples, stream: StreamFacts) -> _Axis | None:
    """Return the axis from a column of times, and remove the column from the channels."""
    if not stream.time_column or not isinstance(samples, TableSamples | FieldSamples):
        return None
    said = stream.channels or tuple(channel.label for channel in stream.lattice.channels)
    found = samples.times() if len(said) != samples.shape[-1] else None  # otherwise it is a channel
    if found is None:
        return None
    column, name, times = found
    if times is None:
        warn(
            stream.label,
            f"column {name!r} is labelled as a time but does not increase; it is read as a channel",
        )
        return None
    samples.drop(column)
    start = times.first if stream.start is None else stream.start
    if times.rate is None:
        told, rate = "", _rate(samples, stream)
    else:
        _refuse_other_rate(times.rate, name, stream)
        rate = times.rate if times.seconds is None else None
        told = f", at {rate:.9g} Hz" if rate else ", which is not regular"
    warn(
        stream.label,
        f"column {name!r} is used as the time axis{told}; time_column=False keeps it as a channel",
    )
    if rate is not None:
        return _Axis(time_coordinates(times.size, rate, start), rate, times.unix_ns)
    assert times.seconds is not None  # only regular times are not stored
    variable = xr.Variable(("time",), times.seconds + start, {"units": "s"})
    index = TimeIndex.from_variables({"time": variable}, options={})
    coords = xr.Coordinates(index.create_variables({"time": variable}), indexes={"time": index})
    return _Axis(coords, None, times.unix_ns)


def _refuse_other_rate(rate: float, name: str, stream: StreamFacts) -> None:
    """Refuse the user's rate if a column of times contradicts it; warn if it is the datatype's."""
    if stream.rate is not None and abs(stream.rate - rate) > 0.01 * rate:
        raise InvalidOptionError(
            f"{stream.label}: rate={stream.rate:g} contradicts its column {name!r}, which says {rate:.6g} Hz;"
            " leave rate= out, or give time_column=False"
        )
    dimension = stream.lattice.dimensions[0] if stream.lattice.dimensions else None
    if dimension is None or dimension.resolution is None:
        return
    said = dimension.resolution / (seconds_per(dimension.units) or 1.0)
    if abs(said - rate) > 0.01 * rate:
        warn(
            stream.label,
            f"column {name!r} has {rate:.6g} Hz but its datatype says {said:g} Hz; using the column's rate",
        )


def _unix_ns(samples: Samples) -> int | None:
    start = samples.unix_start if isinstance(samples, TableSamples) else None
    return None if start is None else round(Fraction(start) * 1_000_000_000)


def _measured(stream: StreamFacts) -> Quantity:
    """Return the quantity; a file has values of one quantity, so warn about others."""
    if len(stream.lattice.quantities) > 1:
        first, *others = (quantity.label for quantity in stream.lattice.quantities)
        warn(
            stream.label,
            f"its datatype has several quantities; all values are read as {first!r},"
            f" none as {', '.join(map(repr, others))}",
        )
    return stream.quantity


def _first_axis(size: int, rate: float | None, stream: StreamFacts) -> xr.Coordinates:
    if rate is None:
        return xr.Coordinates()
    dimensions = stream.lattice.dimensions
    name, units = "time", "s"
    if dimensions and dimensions[0].units and seconds_per(dimensions[0].units) is None:
        name = identifier(dimensions[0].label, default="position", taken=("channel",))
        units = dimensions[0].units
    return time_coordinates(size, rate, stream.start or 0.0, name=name, units=units)


def _other_axes(sizes: tuple[int, ...], dimensions: tuple[Dimension, ...], first: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    for size, dimension in zip(sizes, dimensions, strict=True):
        name = identifier(dimension.label, default="dimension", taken={str(first), "channel", *found})
        values = np.arange(size) / (dimension.resolution or 1.0)
        found[name] = (name, values, {"units": dimension.units} if dimension.units else {})
    return found


def _rate(samples: Samples, stream: StreamFacts) -> float | None:
    """Return the rate in Hz: the user's, else the datatype's, unless the file has a reliable other one."""
    if stream.rate is not None:
        return stream.rate
    dimension = stream.lattice.dimensions[0] if stream.lattice.dimensions else None
    if dimension is None or dimension.resolution is None:
        return samples.rate
    said = dimension.resolution / (seconds_per(dimension.units) or 1.0)
    # Audio headers contain integers only; rates of other files are at most rounded.
    apart = 1.0 if isinstance(samples, WavSamples | SoundSamples) else _ROUNDING * said
    if samples.rate is None or abs(samples.rate - said) < apart:
        return said
    warn(
        stream.label,
        f"the file says {samples.rate:.9g} Hz but its datatype says {said:.9g} Hz; using the file's rate;"
        " rate= sets another",
    )
    return samples.rate


def _tail(samples: Samples, stream: StreamFacts, columns: int) -> tuple[tuple[int, ...], tuple[str, ...]]:
    """Return the shape of one sample, channels last, and the labels of the channels."""
    extra = len(stream.lattice.dimensions[1:])
    shape = samples.shape[1:] or (1,)
    channels = len(stream.channels or stream.lattice.channels)
    if not samples.shape[0] and not columns:
        shape = (*((0,) * extra), channels or 1)
    if len(shape) == extra and (channels or 1) == 1:
        shape = (*shape, 1)
    if extra == 1 and len(shape) == 1 and channels and shape[0] % channels == 0:
        shape = (shape[0] // channels, channels)
    if len(shape) != extra + 1:
        axes = " x ".join(["samples", *map(str, shape)])
        wanted = ", ".join(dimension.label for dimension in stream.lattice.dimensions) or "time"
        raise InvalidDatapackError(
            f"the file is an array of {axes}, which does not fit the dimensions {wanted} and channels;"
            " set datatype= to another datatype"
        )
    return shape, _labels(samples, stream, shape[-1])


def _labels(samples: Samples, stream: StreamFacts, count: int) -> tuple[str, ...]:
    said = tuple(channel.label for channel in stream.lattice.channels)
    chosen = stream.channels or said
    if chosen and len(chosen) != count:
        source = "channels= has" if stream.channels else f"its datatype {_name(stream)!r} has"
        raise InvalidDatapackError(
            f"the file has {count} columns, but {source} {len(chosen)} ({', '.join(chosen)});"
            " set channels= to as many labels, or datatype= to the right datatype"
        )
    header = samples.labels
    if header is not None and len(header) == count and not stream.channels:
        labels = unique_labels(header)
        if labels != tuple(header):
            warn(stream.label, f"labels of columns are missing or repeated; using {', '.join(labels)}")
        return _matched(labels, said, stream) if said else labels
    return chosen or tuple(str(number) for number in range(1, count + 1))


def _matched(labels: tuple[str, ...], said: tuple[str, ...], stream: StreamFacts) -> tuple[str, ...]:
    """Return the datatype's labels in the order of the file's columns."""
    same = match_labels(labels, said)
    if len(same) == len(said):
        by_place = {place: said[at] for at, place in same.items()}
        return tuple(by_place[place] for place in range(len(said)))
    told = f"its columns are called {', '.join(labels)}, and the channels of its datatype {', '.join(said)}"
    if any(place != at for at, place in same.items()):
        raise InvalidDatapackError(f"{told}: rename them, or give channels=")
    warn(stream.label, f"{told}; assuming this order; channels= renames them")
    return said


def _name(stream: StreamFacts) -> str:
    return stream.datatype.name if stream.datatype else ""


def _dtype(samples: Samples, stream: StreamFacts) -> np.dtype[Any]:
    """Return the dtype: for text, that of the quantity; for other files, their own."""
    if isinstance(samples, FieldSamples):
        samples.warn_of_lost_digits(stream.label)
    if not isinstance(samples, TableSamples):
        return samples.dtype
    kind = stream.quantity.type
    wanted = {"float": np.float64, "integer": np.int64, "boolean": np.bool_}.get(kind)
    if samples.dtype.kind == "f" or wanted is np.float64:
        samples.warn_of_lost_digits(stream.label)
    if wanted is None:
        return samples.dtype
    fits = samples.fits(np.dtype(wanted))
    if not fits:
        warn(stream.label, f"not all values fit the type {kind}; they stay {samples.dtype}")
    return np.dtype(wanted) if fits else samples.dtype


class SampleArray(BackendArray):
    """The samples of a file as an array with another shape and dtype.

    Parameters
    ----------
    samples : Samples
        Samples of the file.
    tail : tuple of int
        Shape of one sample.
    dtype : numpy.dtype
        Type of the values.
    """

    def __init__(self, samples: Samples, tail: tuple[int, ...], dtype: np.dtype[Any]) -> None:
        self._samples = samples
        self.shape = (samples.shape[0], *tail)
        self.dtype = dtype

    def __getitem__(self, key: indexing.ExplicitIndexer) -> Any:
        return indexing.explicit_indexing_adapter(key, self.shape, indexing.IndexingSupport.BASIC, self._part)

    def _part(self, key: tuple[Any, ...]) -> NDArray[Any]:
        first, rest = key[0], key[1:]
        if isinstance(first, slice):
            chosen = range(self.shape[0])[first]
            return np.asarray(self._rows(chosen)[(slice(None), *rest)])
        return np.asarray(self._rows(range(first, first + 1))[(0, *rest)])

    def _rows(self, chosen: range) -> NDArray[Any]:
        if chosen.step == 1 or len(chosen) < 2:
            return self._read(chosen.start, chosen.start + len(chosen))
        # In pieces of whole steps, so that skipped samples are never all in memory.
        row = self.dtype.itemsize * int(np.prod(self.shape[1:])) * chosen.step
        count = max(1, _STRIDED // max(row, 1))
        rows = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for at in range(0, len(chosen), count):
            part = chosen[at : at + count]
            rows[at : at + len(part)] = self._read(part[0], part[-1] + 1)[:: chosen.step]
        return rows

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        values = self._samples.read(start, stop)
        return values.reshape(len(values), *self.shape[1:]).astype(self.dtype, copy=False)


def checked_rate(rate: object) -> float | None:
    """Return a sampling rate in Hz as a float.

    Raises
    ------
    InvalidOptionError
        If it is not a positive number.
    """
    if rate is None:
        return None
    number = finite(rate)
    if number is None or number <= 0:
        raise InvalidOptionError(f"rate={rate!r}: a positive number of samples per second is expected")
    return number


def checked_start(start: object) -> float | None:
    """Return the time of the first sample in seconds, as a float.

    Raises
    ------
    InvalidOptionError
        If it is not a number.
    """
    number = finite(start)
    if start is not None and number is None:
        raise InvalidOptionError(f"start={start!r}: a number of seconds is expected")
    return number


def finite(value: object) -> float | None:
    """Return a finite number (Python or numpy) as a float, None for anything else."""
    if isinstance(value, bool) or not isinstance(value, (int, float, np.integer, np.floating)):
        return None
    number = float(value)
    return number if math.isfinite(number) else None
