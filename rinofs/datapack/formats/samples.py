"""The samples of a file, read in parts where the format allows it."""

from __future__ import annotations

import io
import threading
import warnings
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, Protocol

import numpy as np

from rinofs.datapack.formats.detect import HEAD, Format, NotDataError
from rinofs.datapack.formats.tables import Table, csv_table, json_table
from rinofs.datapack.formats.wav import WavLayout, wav_layout
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle

CHUNK = 32 * 1024 * 1024
"""Bytes of a dask chunk, where nothing else is asked for."""


class DataWarning(UserWarning):
    """A file is not quite what it or its node says; the warning tells what was made of it."""


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


def samples_of(handle: FileHandle, kind: Format, *, whole_numbers: bool | None = None) -> Samples:
    """Return the samples of a file.

    Parameters
    ----------
    handle : FileHandle
        The file.
    kind : str
        What it is, as `rinofs.datapack.formats.detect.format_of` tells.
    whole_numbers : bool, optional
        False returns the integers of audio files as parts of full scale, -1 to 1; otherwise they stay.
    """
    scaled = whole_numbers is False
    if kind in {"json", "csv"}:
        return TableSamples(handle, kind)
    if kind == "npy":
        return _npy(handle)
    if kind == "wav":
        layout = wav_layout(handle.read, handle.size)
        if layout is not None:
            if layout.problem:
                warn(handle.path, layout.problem)
            return WavSamples(handle, layout, scaled=scaled)
    return SoundSamples(handle, scaled=scaled)


class TableSamples:
    """Samples written as text, which can only be read whole; another process reads them once more."""

    rate = None
    parts = None

    def __init__(self, handle: FileHandle, kind: Format) -> None:
        self._handle = handle
        self._kind = kind
        self._lock = threading.Lock()
        self._values: NDArray[Any] | None = None
        table = self._load()
        self._values = table.values
        self.labels = table.labels
        self.shape = table.values.shape
        self.dtype = table.values.dtype

    def _load(self) -> Table:
        data = self._handle.read_all()
        return json_table(data) if self._kind == "json" else csv_table(data)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        with self._lock:
            if self._values is None:
                self._values = self._load().values
        return self._values[start:stop].copy()

    @property
    def values(self) -> NDArray[Any]:
        """All of them."""
        return self.read(0, self.shape[0])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_values": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


class RawSamples:
    """Samples that stand in a file as in memory, one after the other."""

    rate: float | None = None
    labels = None

    def __init__(self, handle: FileHandle, offset: int, dtype: np.dtype[Any], shape: tuple[int, ...]) -> None:
        self._handle = handle
        self._offset = offset
        self._stored = dtype
        self.shape = shape
        self.dtype = dtype.newbyteorder("=")
        self._stride = dtype.itemsize * int(np.prod(shape[1:]))
        self.parts = max(1, CHUNK // max(self._stride, 1))

    def read(self, start: int, stop: int) -> NDArray[Any]:
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


class WavSamples(RawSamples):
    """Samples of an uncompressed WAV file, integers as they are or as parts of full scale."""

    def __init__(self, handle: FileHandle, layout: WavLayout, *, scaled: bool) -> None:
        self._bits = layout.bits
        self._packing = layout.packing
        self._scaled = scaled and not layout.is_float
        kind = "<f" if layout.is_float else "<i"
        # 24 bits are read as bytes, and 8 are the only ones without a sign.
        name = {8: "u1", 24: "<i4" if layout.packing else "V3"}.get(layout.bits, f"{kind}{layout.bits // 8}")
        stored = np.dtype(name)
        super().__init__(handle, layout.offset, stored, (layout.frames, layout.channels))
        self.rate = layout.rate
        self.dtype = _audio_dtype(layout.bits, is_float=layout.is_float, scaled=self._scaled)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        raw = self._raw(start, stop)
        if self._bits == 8:
            raw = (raw.astype(np.int16) - 128).astype(np.int8)
        elif self._packing:
            raw = (raw << 8 if self._packing == "low" else raw) >> 8
        elif self._bits == 24:
            wide = np.zeros((*raw.shape, 4), np.uint8)
            wide[..., 1:] = raw.view(np.uint8).reshape(*raw.shape, 3)
            raw = wide.view("<i4")[..., 0] >> 8
        if self._scaled:
            scale = self.dtype.type(2.0 ** (1 - self._bits))
            return np.asarray(raw.astype(self.dtype) * scale)
        return raw.astype(self.dtype, copy=False)


class SoundSamples:
    """Samples of any audio file that libsndfile reads."""

    labels = None

    def __init__(self, handle: FileHandle, *, scaled: bool) -> None:
        self._handle = handle
        with self._open() as sound:
            self.shape = (int(sound.frames), int(sound.channels))
            self.rate = float(sound.samplerate)
            self._bits = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}.get(
                sound.subtype
            )
            wide = sound.subtype == "DOUBLE"
        self._scaled = scaled or self._bits is None
        self.dtype = (
            np.dtype(np.float64 if wide else np.float32)
            if self._bits is None
            else _audio_dtype(self._bits, is_float=False, scaled=self._scaled)
        )
        self.parts = max(1, CHUNK // (self.dtype.itemsize * self.shape[1]))

    @contextmanager
    def _open(self) -> Iterator[Any]:
        try:
            import soundfile
        except ImportError as error:
            raise ImportError("reading this audio needs soundfile: pip install 'rinofs[xarray]'") from error
        with self._handle.file() as file:
            file.seek(0)
            try:
                with soundfile.SoundFile(file) as sound:
                    yield sound
            except soundfile.LibsndfileError as error:
                raise InvalidDatapackError(f"this audio cannot be read: {error}") from error

    def read(self, start: int, stop: int) -> NDArray[Any]:
        kind = self.dtype.name if self._scaled else "int32" if (self._bits or 0) > 16 else "int16"
        with self._open() as sound:
            sound.seek(start)
            values: NDArray[Any] = sound.read(stop - start, dtype=kind, always_2d=True)
        if len(values) < stop - start:
            raise InvalidDatapackError(f"{self._handle.path}: the file ends before sample {stop}")
        if not self._scaled and self._bits in {8, 24}:
            values >>= 8  # libsndfile fills the upper bits
        return values.astype(self.dtype, copy=False)


def _audio_dtype(bits: int, *, is_float: bool, scaled: bool) -> np.dtype[Any]:
    if is_float:
        return np.dtype(np.float64 if bits == 64 else np.float32)
    if scaled:
        return np.dtype(np.float64 if bits == 32 else np.float32)
    return np.dtype({8: np.int8, 16: np.int16}.get(bits, np.int32))


def _npy(handle: FileHandle) -> RawSamples:
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


def warn(label: str, problem: str) -> None:
    """Warn of a file or a node that is not quite what it says."""
    warnings.warn(f"{label}: {problem}", DataWarning, stacklevel=2)


__all__ = ["CHUNK", "DataWarning", "Samples", "npy_header", "samples_of", "warn"]
