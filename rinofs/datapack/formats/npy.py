"""Samples of ``.npy`` files."""

from __future__ import annotations

import io
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.formats.detect import HEAD, NotDataError
from rinofs.datapack.formats.samples import ColumnSamples, RawSamples
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from rinofs.datapack.formats.handles import FileHandle


def npy_samples(handle: FileHandle) -> RawSamples:
    """Return the samples of a ``.npy`` file."""
    shape, fortran, dtype, offset = npy_header(handle)
    if not shape:
        raise InvalidDatapackError("this array is a single number, not samples")
    kind = ColumnSamples if fortran and len(shape) > 1 else RawSamples
    if dtype.kind not in "biuf":
        raise NotDataError(f"this array holds {dtype}, not numbers")
    available = (handle.size - offset) // dtype.itemsize
    if available < int(np.prod(shape)):
        raise InvalidDatapackError(f"the file ends after {available} of {int(np.prod(shape))} numbers")
    return kind(handle, offset, dtype, shape)


def npy_header(handle: FileHandle) -> tuple[tuple[int, ...], bool, np.dtype[Any], int]:
    """Return shape, whether it is in Fortran's order, dtype, and the byte where the numbers begin."""
    head = io.BytesIO(handle.read(0, HEAD))
    try:
        version = np.lib.format.read_magic(head)
        readers = {
            (1, 0): np.lib.format.read_array_header_1_0,
            (2, 0): np.lib.format.read_array_header_2_0,
        }
        shape, fortran, dtype = readers[version](head)
    except (ValueError, KeyError) as error:
        raise InvalidDatapackError(f"the header of this .npy file cannot be read: {error}") from error
    if dtype.hasobject:
        raise NotDataError("this array holds Python objects, which are never unpickled")
    return shape, fortran, dtype, head.tell()
