"""Samples of ``.npy`` files of all versions of the format, without unpickling.

See https://numpy.org/doc/stable/reference/generated/numpy.lib.format.html.
"""

from __future__ import annotations

import ast
import re
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.document.messages import shortened, warn
from rinofs.datapack.formats.detect import HEAD, NotDataError
from rinofs.datapack.formats.index_cache import load_index, store_index
from rinofs.datapack.formats.samples import ColumnSamples, RawSamples
from rinofs.datapack.formats.tables.index import Facts, TableIndex
from rinofs.datapack.formats.tables.timeaxis import Stamps, Times, time_column, times_of
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle

_VERSIONS = {1: ("<H", "latin-1"), 2: ("<I", "latin-1"), 3: ("<I", "utf-8")}
_LOOKED_AT = 1000  # records that determine which field is the time
_AT_ONCE = 4 * 1024 * 1024
_LARGE = 8 * 1024 * 1024  # size in bytes from which the result of a scan is cached on disk
_LONGEST_HEADER = 1 << 20
_KEYS = {"descr", "fortran_order", "shape"}
_NANOSECONDS = 10**9
_MICROSECONDS = 10**6
_FINE = {"ns", "ps", "fs", "as"}  # units of dates that have parts of a microsecond, in years near 1970 alone
_FIRST, _LAST = -62_135_596_800 * _NANOSECONDS, 253_402_300_800 * _NANOSECONDS  # the years 1 and 10,000


def npy_samples(handle: FileHandle) -> RawSamples:
    """Read the samples of a ``.npy`` file."""
    shape, fortran, dtype, offset = npy_header(handle)
    if not shape:
        raise InvalidDatapackError("this array is a single number, not samples")
    columns = FieldSamples.columns(dtype) if dtype.names else ()
    if dtype.kind not in "biuf" and not columns:
        raise NotDataError(f"this array holds {dtype}, not numbers")
    if columns and len(shape) > 1:
        raise InvalidDatapackError(f"a structured array must have one dimension, not {len(shape)}")
    count = int(np.prod(shape))
    available = (handle.size - offset) // max(dtype.itemsize, 1)
    if available < count:
        raise InvalidDatapackError(
            f"the file ends after {available} of {count} {'records' if columns else 'numbers'}"
        )
    if columns:
        return FieldSamples(handle, offset, dtype, shape)
    kind = ColumnSamples if fortran and len(shape) > 1 else RawSamples
    return kind(handle, offset, dtype, shape)


class FieldSamples(RawSamples):
    """Samples of a structured array, one column for each field.

    Date fields become Unix nanoseconds: integers, or floats if one is missing or too far from 1970.
    """

    def __init__(self, handle: FileHandle, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        super().__init__(handle, offset, dtype, shape)
        self._columns = self.columns(dtype)
        self._dropped: int | None = None
        self._label = handle.path
        self._told: set[str] = set()
        self._are_integers: bool | None = None
        self._describe()

    def _describe(self) -> None:
        kept = [column for at, column in enumerate(self._columns) if at != self._dropped]
        self.labels = tuple(label for label, _ in kept)
        self.shape = (self.shape[0], len(kept))
        self._dtype = np.result_type(*(_of_numbers(kind) for _, kind in kept)).newbyteorder("=")

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that `read` returns; to find it, dates beside no floats are all read."""
        if self._dtype.kind != "f" and not self._dates_are_integers():
            return np.dtype(np.float64)
        return self._dtype

    def _dates_are_integers(self) -> bool:
        if self._are_integers is None:
            dates = [at for at in self._dates() if at != self._dropped]
            self._are_integers = not dates or all(
                columns[at].dtype.kind == "i"
                for columns in map(self._parts_of, self._blocks())
                for at in dates
            )
        return self._are_integers

    def _dates(self) -> list[int]:
        return [at for at, (_, kind) in enumerate(self._columns) if kind.kind == "M"]

    def _blocks(self) -> Iterator[NDArray[Any]]:
        """Yield all records in parts."""
        step = max(1, _AT_ONCE // self._stored.itemsize)
        for start in range(0, self.shape[0], step):
            yield self._raw(start, min(start + step, self.shape[0]))

    @staticmethod
    def columns(dtype: np.dtype[Any]) -> tuple[tuple[str, np.dtype[Any]], ...]:
        """Return label and dtype of each column.

        Raises
        ------
        NotDataError
            If a field contains anything but numbers or dates.
        """
        found: list[tuple[str, np.dtype[Any]]] = []
        for name in dtype.names or ():
            field = dtype[name]
            if field.base.kind not in "biufM":
                raise NotDataError(
                    f"the field {shortened(repr(name))} of this array holds {field}, not numbers"
                )
            count = int(np.prod(field.shape))
            labels = [f"{name} {number}" for number in range(1, count + 1)] if field.shape else [name]
            found += [(label, field.base) for label in labels]
        return tuple(found)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples [start, stop)."""
        records = self._raw(start, stop)
        self._warn_of_lost_digits(records)
        kept = [column for at, column in enumerate(self._parts_of(records)) if at != self._dropped]
        return np.stack([column.astype(self.dtype, copy=False) for column in kept], axis=1)

    def _stored_parts_of(self, records: NDArray[Any]) -> list[NDArray[Any]]:
        """Return the columns of some records."""
        found: list[NDArray[Any]] = []
        for name in self._stored.names or ():
            part = records[name].reshape(len(records), int(np.prod(self._stored[name].shape)))
            found += list(part.T)
        return found

    def _parts_of(self, records: NDArray[Any], per_second: int = _NANOSECONDS) -> list[NDArray[Any]]:
        """Return the columns of some records, with dates as Unix times in fractions of a second."""
        return [
            _unix_times(part, per_second) if part.dtype.kind == "M" else part
            for part in self._stored_parts_of(records)
        ]

    def _raw(self, start: int, stop: int) -> NDArray[Any]:
        records = np.empty(max(stop - start, 0), self._stored)
        if records.nbytes:
            target = records.view(np.uint8).data
            if self._handle.read_into(self._offset + start * self._stored.itemsize, target) < len(target):
                raise InvalidDatapackError(f"{self._handle.path}: the file ends before sample {stop}")
        return records

    def times(self) -> tuple[int, str, Times | None] | None:
        """Return the index and label of the field with times, and the times if they increase.

        None if there is no such field, or no other one. All records are read in parts, and the result is
        cached on disk.
        """
        dates = self._dates()
        labels = [label for label, _ in self._columns]
        first = [part.astype(float) for part in self._parts_of(self._raw(0, min(self.shape[0], _LOOKED_AT)))]
        column = time_column(labels, np.stack(first, axis=1), dates)
        if column is None:
            return None
        version = self._handle.version() if self._handle.size > _LARGE else ""
        kept = load_index(version, "npy")
        if kept is not None:
            return column, labels[column], TableIndex.from_arrays(kept).times
        stamps = Stamps()
        per_second = _per_second(self._columns[column][1]) if column in dates else 0
        for records in self._blocks():
            stamps.append(self._parts_of(records, per_second or _NANOSECONDS)[column])
        times = times_of(stamps, labels[column], dates=per_second)
        if times is not None and times.unix_ns is not None and not _FIRST <= times.unix_ns < _LAST:
            raise InvalidDatapackError(
                f"the dates of the field {labels[column]!r} are not in the years 1 to 9999;"
                " time_column=False keeps it as a channel"
            )
        store_index(version, "npy", TableIndex(Facts(), [], column, times).to_arrays())
        return column, labels[column], times

    def drop(self, column: int) -> None:
        """Remove a column."""
        self._dropped = column
        self._are_integers = None
        self._describe()

    def warn_of_lost_digits(self, label: str) -> None:
        """Warn of integers that a float cannot represent.

        Those of the first and last record are told of at once, others when they are read.
        """
        self._label = label
        if self.shape[0]:
            for row in (0, self.shape[0] - 1):
                self._warn_of_lost_digits(self._raw(row, row + 1))

    def _warn_of_lost_digits(self, records: NDArray[Any]) -> None:
        if self.dtype.kind != "f":
            return
        parts = self._stored_parts_of(records)
        for at, (part, (name, kind)) in enumerate(zip(parts, self._columns, strict=True)):
            if kind.kind not in "iuM" or kind.itemsize < 8 or at == self._dropped or name in self._told:
                continue
            whole = _unix_times(part[~np.isnat(part)], _NANOSECONDS) if kind.kind == "M" else part
            if _loses_digits(whole):
                self._told.add(name)
                what = "dates" if kind.kind == "M" else "integers beside floats"
                warn(self._label, f"the {what} of the field {name!r} are read as float64, and lose digits")


def _per_second(kind: np.dtype[Any]) -> int:
    """Return the fractions of a second in which dates of all years that their type can hold are integers."""
    return _NANOSECONDS if np.datetime_data(kind)[0] in _FINE else _MICROSECONDS


def _unix_times(dates: NDArray[Any], per_second: int) -> NDArray[Any]:
    """Return dates as Unix times: floats if one is missing or too far from 1970, else integers."""
    missing = np.isnat(dates)
    unit = "ns" if per_second == _NANOSECONDS else "us"
    try:
        if np.datetime_data(dates.dtype)[0] == "as":
            dates = dates.astype("M8[ns]")  # numpy does not convert these to seconds
        seconds = dates.astype("M8[s]")
        rest = (dates - seconds).astype(f"m8[{unit}]").astype(np.int64)
    except OverflowError as error:  # since numpy 2.5
        raise InvalidDatapackError("a date of this array is too far from 1970 to be read") from error
    whole = seconds.astype(np.int64)
    if bool(((np.abs(whole) < 2**63 // per_second) & ~missing).all()):
        return np.asarray(whole * per_second + rest)
    return np.where(missing, np.nan, whole * float(per_second) + rest)


def _loses_digits(numbers: NDArray[Any]) -> bool:
    """Return whether some integers are others as float64; true of dates that are floats already."""
    if numbers.dtype.kind == "f":
        return True
    floats = numbers.astype(np.float64)
    if bool((floats >= float(np.iinfo(numbers.dtype).max)).any()):  # 2**63 or 2**64, which no integer is
        return True
    return bool((floats.astype(numbers.dtype) != numbers).any())


def _of_numbers(kind: np.dtype[Any]) -> np.dtype[Any]:
    return np.dtype(np.int64) if kind.kind == "M" else kind


def npy_header(handle: FileHandle) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Parse the header; returns shape, whether in Fortran order, dtype, and the offset of the data.

    Raises
    ------
    NotDataError
        If the array contains Python objects, which are pickles and could execute code.
    InvalidDatapackError
        If the header is not valid.
    """
    try:
        fields, offset = _header(handle)
        shape, fortran = fields["shape"], fields["fortran_order"]
        dtype = np.lib.format.descr_to_dtype(fields["descr"])
    except (ValueError, TypeError, KeyError, SyntaxError, struct.error, RecursionError, MemoryError) as error:
        raise InvalidDatapackError(f"cannot read the header of this .npy file: {error}") from error
    if dtype.hasobject:
        raise NotDataError(
            "this array holds Python objects, which are never unpickled; save it with a numeric dtype"
        )
    return shape, fortran, dtype, offset


def _header(handle: FileHandle) -> tuple[dict[str, Any], int]:
    head = handle.read(0, HEAD)
    version = head[6] if len(head) > 7 else 0
    if version not in _VERSIONS:
        raise ValueError(f"unknown version {version} of the format")
    kind, encoding = _VERSIONS[version]
    start = 8 + struct.calcsize(kind)
    length = struct.unpack(kind, head[8:start])[0]
    if length > _LONGEST_HEADER:
        raise ValueError(f"it is {length} bytes long")
    if start + length > len(head):
        head = handle.read(0, start + length)
    if start + length > len(head):
        raise ValueError("the file ends inside it")
    fields = _literal(head[start : start + length].decode(encoding))
    if not isinstance(fields, dict) or set(fields) != _KEYS:
        raise ValueError(f"it is not a mapping of {', '.join(sorted(_KEYS))}")
    shape = fields["shape"]
    if not isinstance(shape, tuple) or not all(type(each) is int and each >= 0 for each in shape):
        raise ValueError(f"the shape is {shortened(repr(shape))}")
    if type(fields["fortran_order"]) is not bool:
        raise ValueError("'fortran_order' is neither True nor False")
    return fields, start + length


def _literal(text: str) -> Any:
    try:
        return ast.literal_eval(text.strip())
    except SyntaxError:
        if "L" not in text:
            raise
        # Python 2 wrote long integers as in (3L, 2L).
        return ast.literal_eval(re.sub(r"(?<=\d)L\b", "", text).strip())
