"""The samples of a file, read in parts where the format allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle

CHUNK = 32 * 1024 * 1024
"""Bytes of a dask chunk, where nothing else is asked for."""


class Samples(Protocol):
    """Samples of one file: an array whose first axis is that of time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """How many there are, then what each of them is."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that `read` returns."""

    @property
    def rate(self) -> float | None:
        """Samples per second, where the file says."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Labels of its columns, where the file has some."""

    @property
    def parts(self) -> int | None:
        """How many are read well at once, None where the file is read whole anyway."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return some samples; the array is the caller's."""


class RawSamples:
    """Samples that stand in a file as in memory, one after the other."""

    rate: float | None = None
    labels: tuple[str, ...] | None = None

    def __init__(self, handle: FileHandle, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._handle = handle
        self._offset = offset
        self._stored = dtype
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")
        self._stride = dtype.itemsize * int(np.prod(shape[1:]))
        self.parts = max(1, CHUNK // max(self._stride, 1))

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return some samples."""
        values = self._raw(start, stop)
        return values.astype(self.dtype, copy=False)

    def _raw(self, start: int, stop: int) -> NDArray[Any]:
        values = np.empty((max(stop - start, 0), *self.shape[1:]), self._stored)
        if values.nbytes:
            target = values.reshape(-1).view(np.uint8).data
            if self._handle.read_into(self._offset + start * self._stride, target) < len(target):
                raise InvalidDatapackError(f"{self._handle.path}: the file ends before sample {stop}")
        return values


class ColumnSamples(RawSamples):
    """Samples of an array that is stored column by column."""

    def _raw(self, start: int, stop: int) -> NDArray[Any]:
        count = int(np.prod(self.shape[1:]))
        columns = np.empty((count, max(stop - start, 0)), self._stored)
        for number, column in enumerate(columns):
            at = self._offset + (number * self.shape[0] + start) * self._stored.itemsize
            target = column.view(np.uint8).data
            if self._handle.read_into(at, target) < len(target):
                raise InvalidDatapackError(f"{self._handle.path}: the file ends before sample {stop}")
        # As numpy keeps such arrays: the last axis is the slowest.
        return columns.reshape(*self.shape[:0:-1], -1).transpose()
