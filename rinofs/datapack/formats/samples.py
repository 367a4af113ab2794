"""Samples of a file, which are read in parts if the format allows it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle

CHUNK = 32 * 1024 * 1024
"""Default size of a dask chunk in bytes."""


class Samples(Protocol):
    """Samples of one file: an array whose first axis is time."""

    @property
    def shape(self) -> tuple[int, ...]:
        """Number of samples, and shape of a sample."""

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that `read` returns."""

    @property
    def rate(self) -> float | None:
        """Samples per second, if the file contains it."""

    @property
    def labels(self) -> tuple[str, ...] | None:
        """Labels of the columns, if the file contains them."""

    @property
    def parts(self) -> int | None:
        """Preferred number of samples per read, None if the file is read whole anyway."""

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples [start, stop); the array may be modified by the caller."""


class RawSamples:
    """Samples that are stored in a file as in memory, one after the other."""

    rate: float | None = None
    labels: tuple[str, ...] | None = None

    def __init__(self, handle: FileHandle, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._handle = handle
        self._offset = offset
        self._stored = dtype
        self.shape = shape
        self._dtype = dtype.newbyteorder("=")
        self._stride = dtype.itemsize * int(np.prod(shape[1:]))
        self.parts = max(1, CHUNK // max(self._stride, 1))

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values that `read` returns."""
        return self._dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples [start, stop)."""
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
    """Samples of an array that is stored column by column (Fortran order)."""

    def _raw(self, start: int, stop: int) -> NDArray[Any]:
        count = int(np.prod(self.shape[1:]))
        columns = np.empty((count, max(stop - start, 0)), self._stored)
        for number, column in enumerate(columns):
            at = self._offset + (number * self.shape[0] + start) * self._stored.itemsize
            target = column.view(np.uint8).data
            if self._handle.read_into(at, target) < len(target):
                raise InvalidDatapackError(f"{self._handle.path}: the file ends before sample {stop}")
        # The last axis is the slowest.
        return columns.reshape(*self.shape[:0:-1], -1).transpose()
