"""Arrays in HDF5 files, and recordings of OpenSignals, by `h5py`: read in parts."""

from __future__ import annotations

import posixpath
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rinofs.datapack.datatypes.labels import in_unit, seconds_per
from rinofs.datapack.document.messages import shortened, warn
from rinofs.datapack.formats.detect import NotDataError
from rinofs.datapack.formats.library_files import library_file
from rinofs.datapack.formats.recordings import EXTRA, Recording, Stream
from rinofs.datapack.formats.samples import CHUNK
from rinofs.datapack.formats.tables.cells import decimal_of
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle

    H5: TypeAlias = Any

_RATES = (
    "sampling_rate",
    "samplingrate",
    "sample_rate",
    "samplerate",
    "sampling_frequency",
    "sfreq",
    "srate",
    "fs",
    "rate",
)
_UNITS = ("units", "unit")
_LABELS = ("labels", "channels", "channel_names", "columns", "names")
_TIMES = ("time", "times", "timestamps", "t")
_MOST = 1000
"""Maximum number of arrays in a file that are checked."""


class Hdf5Samples:
    """Samples of one HDF5 dataset, or of several that are one column each."""

    def __init__(
        self,
        handle: FileHandle,
        paths: Sequence[str],
        like: H5,
        labels: tuple[str, ...] | None,
        rate: float | None,
    ) -> None:
        self._handle = handle
        self._paths = tuple(paths)
        one = len(self._paths) == 1
        self.shape = tuple(like.shape) if one and like.ndim > 1 else (len(like), len(self._paths))
        self.dtype = np.dtype(like.dtype).newbyteorder("=")
        self.labels = labels
        self.rate = rate
        row = self.dtype.itemsize * int(np.prod(self.shape[1:]))
        self.parts = max(1, CHUNK // max(row, 1))

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples [start, stop)."""
        with _file(self._handle, f"{self._handle.path}: ") as file:
            columns = [np.asarray(file[path][start:stop]) for path in self._paths]
        if len(columns) == 1:
            return columns[0].reshape(-1, *self.shape[1:]).astype(self.dtype, copy=False)
        return np.stack([column.reshape(-1) for column in columns], axis=1).astype(self.dtype, copy=False)


def hdf5_recording(handle: FileHandle, label: str) -> Recording:
    """Read the numeric arrays of an HDF5 file.

    Raises
    ------
    ImportError
        If `h5py` is not installed.
    NotDataError
        If there are none, or it is a NetCDF file, for which xarray has another engine.
    InvalidDatapackError
        If the file is not valid.
    """
    with _file(handle) as file:
        if "_NCProperties" in file.attrs:
            raise NotDataError("this is NetCDF; open it with engine='h5netcdf'")
        devices = [group for group in _members(file).values() if _is_opensignals(group)]
        if devices:
            streams = [
                stream for group in devices for stream in _opensignals(handle, group, len(devices) > 1)
            ]
            return Recording(tuple(streams), (), _opensignals_attributes(devices[0]))
        streams = list(_streams(handle, file, label))
    if not streams:
        raise NotDataError("this HDF5 file has no arrays of numbers")
    return Recording(tuple(streams))


@contextmanager
def _file(handle: FileHandle, where: str = "") -> Iterator[H5]:
    try:
        import h5py
    except ImportError as error:
        raise ImportError(f"reading HDF5 needs h5py: {EXTRA}") from error
    with library_file(handle) as file:
        try:
            with h5py.File(file, "r") as opened:
                yield opened
        except (OSError, RuntimeError, KeyError) as error:
            raise InvalidDatapackError(f"{where}cannot read this HDF5 file: {error}") from error


def _arrays(file: H5) -> list[str]:
    """Return the paths of numeric arrays over time; links out of the file are not followed."""
    found: list[str] = []

    def note(path: str, item: H5) -> None:
        if _is_array(item) and len(found) < _MOST:
            found.append(path)

    file.visititems(note)
    return found


def _is_array(item: H5) -> bool:
    """Return whether this is a numeric array that is stored in this file."""
    import h5py

    if not isinstance(item, h5py.Dataset) or item.is_virtual or item.external:
        return False
    return bool(item.ndim) and item.dtype.kind in "biuf"


def _members(group: H5) -> dict[str, H5]:
    """Return the members of a group; empty for anything else."""
    import h5py

    if not isinstance(group, h5py.Group):
        return {}
    own = [name for name in group if isinstance(group.get(name, getlink=True), h5py.HardLink)]
    return {name: group[name] for name in own}


def _streams(handle: FileHandle, file: H5, label: str) -> Iterator[Stream]:
    paths = _arrays(file)
    clocks = {path: times for path in paths if (times := _times(file, path, paths, label)) is not None}
    for path in paths:
        if path in clocks:
            continue
        item = file[path]
        labels = _labels(item, item.shape[1] if item.ndim > 1 else 1)
        samples = Hdf5Samples(handle, [path], item, labels, _rate(_attribute(item, _RATES)))
        clock = next((each for each in sorted(clocks) if _clocks(file, each, path)), None)
        times = None if clock is None else clocks[clock]
        start = _number(item.attrs.get("start")) or 0.0
        yield Stream(path, samples, _word(_attribute(item, _UNITS, up=False)), start, times)


def _times(file: H5, path: str, paths: Sequence[str], label: str) -> NDArray[np.float64] | None:
    """Return the times of arrays in the same group, in seconds; None if an array is something else."""
    if posixpath.basename(path).lower() not in _TIMES or file[path].ndim != 1:
        return None
    if not any(_clocks(file, path, other) for other in paths):
        return None
    values = np.asarray(file[path][:], float)
    # As in tables: clocks repeat times, but do not go back.
    rises = bool(np.isfinite(values).all()) and bool((np.diff(values) >= 0).all())
    if not rises or (len(values) > 1 and values[0] == values[-1]):
        warn(label, f"the array {path!r} is named as times but does not increase; it is read as a stream")
        return None
    unit = _word(_attribute(file[path], _UNITS, up=False))
    factor = seconds_per(unit) if unit else 1.0
    if factor is None:
        warn(label, f"the times in {path!r} are in {shortened(repr(unit))}, which is not known; assuming s")
    return np.asarray(in_unit(values, factor or 1.0))


def _clocks(file: H5, clock: str, path: str) -> bool:
    """Return whether one array may contain the times of another: same group and same length."""
    beside = posixpath.dirname(clock) == posixpath.dirname(path)
    return beside and clock != path and len(file[clock]) == len(file[path])


def _attribute(item: H5, names: Sequence[str], *, up: bool = True) -> Any:
    """Return an attribute of an array or of its parent groups."""
    while True:
        words = {key.lower().replace(" ", "_"): key for key in item.attrs}
        for name in names:
            if name in words:
                return item.attrs[words[name]]
        if not up or item.name == "/":
            return None
        item = item.parent


def _labels(item: H5, count: int) -> tuple[str, ...] | None:
    value = _attribute(item, _LABELS, up=False)
    if isinstance(value, (str, bytes)):
        value = _word(value).split(",")
    if value is None or np.ndim(value) != 1 or len(value) != count:
        return None
    return tuple(_word(each).strip() for each in value)


def _word(value: Any) -> str:
    if isinstance(value, np.ndarray):
        value = value.reshape(-1)[0] if value.size == 1 else ""
    if value is None:
        return ""
    return value.decode("utf-8", "replace") if isinstance(value, bytes) else str(value)


def _number(value: Any) -> float | None:
    try:
        found = np.asarray(value).reshape(-1)[0]
        number = decimal_of(_word(found)) if isinstance(found, (str, bytes)) else float(found)
    except (TypeError, ValueError, IndexError):
        return None
    return number if np.isfinite(number) else None


def _rate(value: Any) -> float | None:
    number = _number(value)
    return number if number is not None and number > 0 else None


def _is_opensignals(group: H5) -> bool:
    return {"macaddress", "sampling rate"} <= set(group.attrs) and "raw" in _members(group)


def _opensignals(handle: FileHandle, group: H5, several: bool) -> Iterator[Stream]:
    """Yield the raw and digital channels of a device; its other arrays are computed from them."""
    rate = _rate(group.attrs["sampling rate"])
    device = f"{group.name.strip('/')}/" if several else ""
    for kind, prefix in (("raw", "channel_"), ("digital", "digital_")):
        inside = _members(_members(group).get(kind))
        names = sorted((each for each in inside if each.startswith(prefix)), key=_natural)
        members = [inside[each] for each in names if _is_array(inside[each])]
        members = [each for each in members if len(each) == len(members[0])]
        if members and len(members[0]):
            labels = tuple(posixpath.basename(each.name) for each in members)
            samples = Hdf5Samples(handle, [each.name for each in members], members[0], labels, rate)
            began = {key: when for key, when in _opensignals_attributes(group).items() if key == "start_time"}
            yield Stream(f"{device}{kind}", samples, attrs=began)


def _natural(name: str) -> tuple[int, str]:
    number = name.rpartition("_")[2]
    return (int(number) if number.isascii() and number.isdigit() else 0), name


def _opensignals_attributes(group: H5) -> dict[str, Any]:
    found = {"device": _word(group.attrs.get("device")), "macaddress": _word(group.attrs["macaddress"])}
    date, time = _word(group.attrs.get("date")), _word(group.attrs.get("time"))
    if date and time:
        found["start_time"] = f"{date}T{time}"
    return {key: value for key, value in found.items() if value}
