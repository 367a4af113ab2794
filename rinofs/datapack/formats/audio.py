"""Samples of the audio files that libsndfile reads."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.formats.samples import CHUNK
from rinofs.datapack.formats.wav import audio_dtype
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle


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
            else audio_dtype(self._bits, is_float=False, scaled=self._scaled)
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
        """Return some samples."""
        kind = self.dtype.name if self._scaled else "int32" if (self._bits or 0) > 16 else "int16"
        with self._open() as sound:
            sound.seek(start)
            values: NDArray[Any] = sound.read(stop - start, dtype=kind, always_2d=True)
        if len(values) < stop - start:
            raise InvalidDatapackError(f"{self._handle.path}: the file ends before sample {stop}")
        if not self._scaled and self._bits in {8, 24}:
            values >>= 8  # libsndfile fills the upper bits
        return values.astype(self.dtype, copy=False)
