"""Samples of ``.npy`` files, of any version of the format, without unpickling anything.

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
from rinofs.datapack.formats.samples import ColumnSamples, RawSamples
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle

_VERSIONS = {1: ("<H", "latin-1"), 2: ("<I", "latin-1"), 3: ("<I", "utf-8")}
_LONGEST_HEADER = 1 << 20
_KEYS = {"descr", "fortran_order", "shape"}
_EXACT = 2**53
"""Integers up to this are exact as floats."""


def npy_samples(handle: FileHandle) -> RawSamples:
    """Return the samples of a ``.npy`` file."""
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
    """Samples of a structured array, a column for each field."""

    def __init__(self, handle: FileHandle, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        super().__init__(handle, offset, dtype, shape)
        columns = self.columns(dtype)
        self.labels = tuple(label for label, _ in columns)
        self.shape = (*shape, len(columns))
        kinds = [kind for _, kind in columns]
        self.dtype = np.result_type(*kinds).newbyteorder("=")
        if self.dtype.kind == "f" and any(kind.kind in "iu" and kind.itemsize == 8 for kind in kinds):
            self._warn_of_lost_digits()

    @staticmethod
    def columns(dtype: np.dtype[Any]) -> tuple[tuple[str, np.dtype[Any]], ...]:
        """Return label and type of each column.

        Raises
        ------
        NotDataError
            If a field holds something else than numbers.
        """
        found: list[tuple[str, np.dtype[Any]]] = []
        for name in dtype.names or ():
            field = dtype[name]
            if field.base.kind not in "biuf":
                raise NotDataError(
                    f"the field {shortened(repr(name))} of this array holds {field}, not numbers"
                )
            count = int(np.prod(field.shape))
            labels = [f"{name} {number}" for number in range(1, count + 1)] if field.shape else [name]
            found += [(label, field.base) for label in labels]
        return tuple(found)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return some samples."""
        records = self._raw(start, stop)
        values = np.empty((len(records), self.shape[1]), self.dtype)
        at = 0
        for name in self._stored.names or ():
            part = records[name].reshape(len(records), int(np.prod(self._stored[name].shape)))
            values[:, at : at + part.shape[1]] = part
            at += part.shape[1]
        return values

    def _raw(self, start: int, stop: int) -> NDArray[Any]:
        records = np.empty(max(stop - start, 0), self._stored)
        if records.nbytes:
            target = records.view(np.uint8).data
            if self._handle.read_into(self._offset + start * self._stored.itemsize, target) < len(target):
                raise InvalidDatapackError(f"{self._handle.path}: the file ends before sample {stop}")
        return records

    def _warn_of_lost_digits(self) -> None:
        ends = [row for row in (0, self.shape[0] - 1) if 0 <= row < self.shape[0]]
        records = [self._raw(row, row + 1) for row in ends]
        for name in self._stored.names or ():
            if self._stored[name].base.kind not in "iu":
                continue
            if any(abs(int(value)) > _EXACT for each in records for value in each[name].reshape(-1)):
                warn(
                    self._handle.path,
                    f"the integers of the field {name!r} are read as float64 and lose digits",
                )


def npy_header(handle: FileHandle) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, whether it is in Fortran's order, dtype, and the byte where the numbers begin.

    Raises
    ------
    NotDataError
        If the array holds Python objects, which are pickles: those can run any program.
    InvalidDatapackError
        If the header cannot be read.
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
        # As Python 2 wrote long numbers: (3L, 2L).
        return ast.literal_eval(re.sub(r"(?<=\d)L\b", "", text).strip())
