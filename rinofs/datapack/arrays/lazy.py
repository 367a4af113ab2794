"""Arrays that xarray asks for parts of."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
from xarray.backends import BackendArray
from xarray.core import indexing

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rinofs.datapack.formats.samples import Samples

_STRIDED = 4 * 1024 * 1024
"""Bytes that are read at once where every n-th sample is wanted."""


class SampleArray(BackendArray):
    """The samples of a file as an array of another shape and type.

    Parameters
    ----------
    samples : Samples
        The samples.
    tail : tuple of int
        What each sample is: the shape without its first axis.
    dtype : numpy.dtype
        Of the values.
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
        # In pieces of whole steps, so that what is skipped is never all in memory.
        row = self.dtype.itemsize * int(np.prod(self.shape[1:])) * chosen.step
        count = max(1, _STRIDED // max(row, 1))
        rows = np.empty((len(chosen), *self.shape[1:]), self.dtype)
        for at in range(0, len(chosen), count):
            part = chosen[at : at + count]
            rows[at : at + len(part)] = self._read(part[0], part[-1] + 1)[:: chosen.step]
        return rows

    def _read(self, start: int, stop: int) -> NDArray[Any]:
        values = self._samples.read(start, stop)
        return values.reshape(-1, *self.shape[1:]).astype(self.dtype, copy=False)
