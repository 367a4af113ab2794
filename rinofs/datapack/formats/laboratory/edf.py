"""European Data Format, EDF and BDF, with annotations: read in parts, with the header parsed by `edfio`.

`edfio` would read BDF files, and files on other filesystems, whole into memory, so samples are read here. See
https://www.edfplus.info/specs/ and https://www.biosemi.com/faq/file_format.htm.
"""

from __future__ import annotations

import contextlib
import re
import warnings
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.document.messages import warn
from rinofs.datapack.formats.recordings import EXTRA, EventTable, Recording, Stream
from rinofs.datapack.formats.samples import CHUNK
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle

_ANNOTATIONS = frozenset({"EDF Annotations", "BDF Annotations"})
_ANNOTATED = 16 * 1024 * 1024
"""Maximum size in bytes of a file whose annotations are read, since they are spread over the whole file."""

_ONSET = re.compile(r"^([+-]\d+(?:\.\d*)?)(?:\x15(\d+(?:\.\d*)?))?\x14", re.ASCII)


@dataclass(frozen=True, slots=True)
class _Records:
    """The position of data records, and of each signal in a record."""

    handle: FileHandle
    offset: int
    count: int
    duration: float
    width: int
    sizes: tuple[int, ...]

    @property
    def bytes(self) -> int:
        return sum(self.sizes) * self.width

    def column(self, number: int, raw: NDArray[np.uint8]) -> NDArray[np.uint8]:
        """Return the bytes of one signal in some records."""
        begin = sum(self.sizes[:number]) * self.width
        return raw[:, begin : begin + self.sizes[number] * self.width]

    def read(self, first: int, last: int) -> NDArray[np.uint8]:
        """Return whole records as bytes, one row each."""
        raw = np.empty((max(last - first, 0), self.bytes), np.uint8)
        if raw.size:
            target = raw.reshape(-1).data
            if self.handle.read_into(self.offset + first * self.bytes, target) < len(target):
                raise InvalidDatapackError(f"{self.handle.path}: the file ends before record {last}")
        return raw


class EdfSamples:
    """Samples of signals with the same rate, in physical units."""

    dtype = np.dtype(np.float64)

    def __init__(self, records: _Records, numbers: Sequence[int], signals: Sequence[Any]) -> None:
        self._records = records
        self._numbers = tuple(numbers)
        self._per_record = records.sizes[numbers[0]]
        self.labels: tuple[str, ...] | None = tuple(signal.label for signal in signals)
        ranges = [(signal.digital_range, signal.physical_range) for signal in signals]
        self._low = np.array([digital.min for digital, _ in ranges], float)
        self._base = np.array([physical.min for _, physical in ranges], float)
        spans = np.array([digital.max - digital.min for digital, _ in ranges], float)
        heights = np.array([physical.max - physical.min for _, physical in ranges], float)
        self._gain = np.divide(heights, spans, out=np.full(len(ranges), np.nan), where=spans != 0)
        self.shape = (records.count * self._per_record, len(numbers))
        self.rate: float | None = self._per_record / records.duration if records.duration else None
        self.parts = max(1, CHUNK // max(records.bytes, 1)) * self._per_record

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples [start, stop)."""
        per = self._per_record
        first, last = start // per, -(-stop // per)
        raw = self._records.read(first, last)
        values = np.empty((len(raw) * per, len(self._numbers)))
        for column, number in enumerate(self._numbers):
            values[:, column] = _integers(self._records.column(number, raw), self._records.width)
        values = values[start - first * per : stop - first * per]
        return np.asarray((values - self._low) * self._gain + self._base)


def _integers(raw: NDArray[np.uint8], width: int) -> NDArray[Any]:
    flat = np.ascontiguousarray(raw).reshape(-1)
    if width == 2:
        return flat.view("<i2")
    wide = np.zeros((len(flat) // 3, 4), np.uint8)
    wide[:, 1:] = flat.reshape(-1, 3)
    return wide.view("<i4")[:, 0] >> 8


def edf_recording(handle: FileHandle, label: str) -> Recording:
    """Read an EDF or BDF file: a stream for each rate and unit, and the annotations.

    Raises
    ------
    ImportError
        If `edfio` is not installed.
    InvalidDatapackError
        If the header is not valid.
    """
    header, file = _header(handle)
    records = _records(handle, header, label)
    labels = [_field(header, 16, 0, number) for number in range(len(records.sizes))]
    annotations = [number for number, name in enumerate(labels) if name in _ANNOTATIONS]
    ordinary = [number for number in range(len(labels)) if number not in annotations]
    discontinuous = header[192:236].decode("latin-1").startswith(("EDF+D", "BDF+D"))
    _warn_without_scale(file.signals, label)
    attrs = _attributes(file)
    began = {key: attrs[key] for key in ("start_time",) if key in attrs}
    is_read = bool(annotations) and (discontinuous or _read_annotations(handle, label))
    # The first list of a record says when it begins, to fractions of a second.
    count = records.count if is_read else min(records.count, len(annotations), 1)
    onsets, events = _annotations(replace(records, count=count), annotations)
    start = float(onsets[0]) if onsets.size else 0.0
    if not is_read:
        return Recording(tuple(_streams(records, ordinary, file.signals, start, None, began)), (), attrs)
    steps = np.diff(onsets)
    gaps = discontinuous and bool((np.abs(steps - records.duration) > 1e-6).any())
    streams = _streams(records, ordinary, file.signals, start, onsets if gaps else None, began)
    events = replace(events, attrs=began)
    return Recording(tuple(streams), (events,) if len(events.columns["text"]) else (), attrs)


def _header(handle: FileHandle) -> tuple[bytes, Any]:
    try:
        import edfio
    except ImportError as error:
        raise ImportError(f"reading EDF and BDF needs edfio: {EXTRA}") from error
    head = handle.read(0, 256)
    try:
        size, signals = int(head[184:192]), int(head[252:256])
        header = handle.read(0, min(size, 1 << 20))
        fits = size == len(header) == 256 * (signals + 1)
        _check_numbers(header, signals if fits else 0)
        read = edfio.read_bdf if head[0] == 0xFF else edfio.read_edf
        with warnings.catch_warnings():
            warnings.simplefilter("ignore")  # about implausible numbers in the header
            file = read(_one_record(header, signals), header_encoding="latin-1") if fits else None
    except (ValueError, IndexError, ZeroDivisionError) as error:
        raise InvalidDatapackError(f"cannot read the header of this EDF file: {error}") from error
    if file is None:
        raise InvalidDatapackError(
            f"cannot read the header of this EDF file: {signals} signals do not fit {len(header)} bytes"
        )
    return header, file


def _check_numbers(header: bytes, signals: int) -> None:
    """Raise a ValueError for a number that only Python reads: `edfio` takes 1_0 for 10."""
    places = [slice(184, 192), slice(236, 256)]
    places += [slice(256 + at * signals, 256 + (at + 8) * signals) for at in (104, 112, 120, 128, 216)]
    if wrong := next((header[place] for place in places if b"_" in header[place]), None):
        raise ValueError(f"{wrong.decode('latin-1')!r} is not a number")


def _one_record(header: bytes, signals: int) -> bytes:
    """Return the header with one record of zeros, which `edfio` requires."""
    width = 3 if header[0] == 0xFF else 2
    record = b""
    for number in range(signals):
        size = int(_field(header, 8, 216, number)) * width
        # `edfio` reads the fraction of a second of the start time from the first annotation.
        is_annotation = _field(header, 16, 0, number) in _ANNOTATIONS
        record += (b"+0\x14\x14" if is_annotation else b"").ljust(size, b"\0")[:size]
    return header[:236] + b"1".ljust(8) + header[244:] + record


def _field(header: bytes, width: int, before: int, number: int) -> str:
    signals = int(header[252:256])
    at = 256 + before * signals + number * width
    return header[at : at + width].decode("latin-1").strip()


def _records(handle: FileHandle, header: bytes, label: str) -> _Records:
    signals = int(header[252:256])
    width = 3 if header[0] == 0xFF else 2
    sizes = tuple(int(_field(header, 8, 216, number)) for number in range(signals))
    said = int(header[236:244])
    record = sum(sizes) * width
    there = (handle.size - len(header)) // record if record else 0
    if 0 <= said < there:
        warn(label, f"the header says {said} data records but the file has {there}; all are read")
    elif said > there:
        warn(label, f"the file ends early: {said - there} of {said} data records are missing")
    return _Records(handle, len(header), there, float(header[244:252]), width, sizes)


def _warn_without_scale(signals: Sequence[Any], label: str) -> None:
    """Warn about channels whose unit cannot be computed: recorders leave unused ones so."""
    flat = [one.label for one in signals if one.digital_range.min == one.digital_range.max]
    if flat:
        warn(label, f"channels {flat} are read as NaN: their digital minimum and maximum are equal")


def _attributes(file: Any) -> dict[str, Any]:
    found: dict[str, Any] = {}
    with contextlib.suppress(ValueError):  # anonymised recordings have no date
        found["start_time"] = f"{file.startdate.isoformat()}T{file.starttime.isoformat()}"
    for key in ("local_patient_identification", "local_recording_identification"):
        if value := str(getattr(file, key, "")).strip():
            found[key] = value
    return found


def _streams(
    records: _Records,
    numbers: Sequence[int],
    signals: Sequence[Any],
    start: float,
    onsets: NDArray[np.float64] | None,
    began: Mapping[str, str],
) -> Iterator[Stream]:
    """Yield the signals, grouped by rate and unit."""
    groups: dict[tuple[int, str], list[tuple[int, Any]]] = {}
    for number, signal in zip(numbers, signals, strict=True):
        if records.sizes[number]:
            key = records.sizes[number], signal.physical_dimension
            groups.setdefault(key, []).append((number, signal))
    for (size, units), members in groups.items():
        samples = EdfSamples(records, [number for number, _ in members], [signal for _, signal in members])
        times = None
        if onsets is not None:
            times = (onsets[:, None] + np.arange(size) * (records.duration / size)).reshape(-1)
        yield Stream(
            _name([signal.label for _, signal in members], units), samples, units, start, times, began
        )


def _name(labels: Sequence[str], units: str) -> str:
    if len(labels) == 1:
        return labels[0]
    kinds = {label.partition(" ")[0] for label in labels if " " in label}
    return kinds.pop() if len(kinds) == 1 and all(" " in label for label in labels) else units


def _read_annotations(handle: FileHandle, label: str) -> bool:
    if handle.size <= _ANNOTATED:
        return True
    warn(label, "its annotations are not read: they are spread over a large file")
    return False


def _annotations(records: _Records, numbers: Sequence[int]) -> tuple[NDArray[np.float64], EventTable]:
    """Return the start time of each record, and the annotations in the records."""
    onsets: NDArray[Any] = np.arange(records.count) * records.duration
    found: list[tuple[float, float, str]] = []
    step = max(1, CHUNK // max(records.bytes, 1))
    for first in range(0, records.count, step):
        raw = records.read(first, min(first + step, records.count))
        for row in range(len(raw)):
            keeps_time = True
            for number in numbers:
                text = records.column(number, raw[row : row + 1]).tobytes().decode("utf-8", "replace")
                for onset, duration, words in _lists(text):
                    if keeps_time:
                        onsets[first + row], keeps_time = onset, False
                    found += [(onset, onset + duration, word) for word in words if word]
    found.sort(key=lambda event: event[:2])
    columns = {
        "onset_time": np.array([onset for onset, _, _ in found], float),
        "offset_time": np.array([offset for _, offset, _ in found], float),
        "text": np.array([text for _, _, text in found], dtype=object),
    }
    return onsets, EventTable("annotations", columns)


def _lists(text: str) -> Iterator[tuple[float, float, list[str]]]:
    """Yield the time-stamped annotation lists in a record; the first has the record's start time."""
    for part in text.split("\0"):
        if head := _ONSET.match(part):
            yield float(head[1]), float(head[2] or 0), part[head.end() :].split("\x14")
