"""Samples of audio files, by libsndfile.

Reading a part of a file gives the same samples as that part of the whole. libsndfile alone does not ensure
this: decoders need the frames before a position, some formats can only be decoded from the beginning, and
lengths are estimated if the header does not contain them.
"""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Any, TypeAlias

import numpy as np

from rinofs.datapack.formats.library_files import library_file
from rinofs.datapack.formats.mpeg import may_be_mpeg, mpeg_layout
from rinofs.datapack.formats.samples import CHUNK
from rinofs.datapack.formats.wav import audio_dtype
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle

    Sound: TypeAlias = Any

_MPEG = frozenset({"MPEG_LAYER_I", "MPEG_LAYER_II", "MPEG_LAYER_III"})
_LEAD = dict.fromkeys(_MPEG, 64 * 1152) | {"VORBIS": 16384}
"""Number of frames to decode before the requested ones.

The data of an MP3 frame may begin up to 511 bytes before it, in the "bit reservoir": 24 frames at the lowest
bitrates. Vorbis overlaps blocks of at most 8192 frames.
"""

_TAIL = {"VORBIS": 262144}
"""Frames at the end that are decoded without a seek: libvorbis misplaces seeks within the last Ogg page."""

_NEVER_SOUGHT = frozenset({"OPUS", "DWVW_12", "DWVW_16", "DWVW_24", "DWVW_N"})
"""Decoders that must start at the beginning: Opus converges after seconds, libsndfile's DWVW cannot seek."""

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_BLOCK = 65536  # frames that are decoded at once to reach a position
_UNKNOWN = 1 << 62  # libsndfile reports 2 ** 63 - 1 if no header contains the length


class SoundSamples:
    """Samples of an audio file."""

    labels = None

    def __init__(self, handle: FileHandle, *, scaled: bool) -> None:
        self._handle = handle
        mpeg = mpeg_layout(handle.read, handle.size) if may_be_mpeg(handle.read(0, 3)) else None
        self._head = (mpeg.header, mpeg.start) if mpeg else (b"", 0)
        with self._open() as sound:
            self._subtype = str(sound.subtype)
            self._in_sequence = self._subtype in _NEVER_SOUGHT or not sound.can_seek
            channels = int(sound.channels)
            self.rate = float(sound.samplerate)
            frames = self._frames(sound, counted=mpeg is not None)
        if frames is None:
            self._in_sequence = True
            with self._open() as sound:
                frames = _skipped(sound, _UNKNOWN)
        self.shape = (frames, channels)
        self._bits = _BITS.get(self._subtype)
        self._scaled = scaled or self._bits is None
        self.dtype = (
            np.dtype(np.float64 if self._subtype == "DOUBLE" else np.float32)
            if self._bits is None
            else audio_dtype(self._bits, is_float=False, scaled=self._scaled)
        )
        parts = max(1, CHUNK // (self.dtype.itemsize * channels))
        self.parts = None if self._in_sequence else parts

    def _frames(self, sound: Sound, *, counted: bool) -> int | None:
        """Return the number of frames, None if only decoding the whole file can tell."""
        said = int(sound.frames)
        if said > _UNKNOWN:
            return None
        if self._subtype not in _MPEG or (self._subtype == "MPEG_LAYER_III" and not counted):
            return said
        # The number from a header or an estimate may exceed what can be decoded: try to decode the end.
        start = max(0, said - _LEAD[self._subtype])
        if start:
            sound.seek(start)
        found = _skipped(sound, _UNKNOWN)
        return start + found if found else None

    @contextmanager
    def _open(self, where: str = "") -> Iterator[Sound]:
        try:
            import soundfile
        except ImportError as error:
            raise ImportError(
                "reading this audio format needs soundfile: pip install 'rinofs[xarray]'"
            ) from error

        class SoundFile(soundfile.SoundFile):  # type: ignore[misc]
            """A SoundFile that does not seek after reading, since some decoders can only continue.

            `soundfile` seeks to the current position after each read, which GSM, G.721 and DWVW do not
            support, nor FLAC at the end of a file of unknown length.
            """

            def seekable(self) -> bool:
                return False

            @property
            def can_seek(self) -> bool:
                return bool(super().seekable())

        with library_file(self._handle, *self._head) as file:
            try:
                with SoundFile(file) as sound:
                    yield sound
            except soundfile.LibsndfileError as error:
                raise InvalidDatapackError(f"{where}cannot read this audio: {error}") from error

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples [start, stop)."""
        kind = self.dtype.name if self._scaled else "int32" if (self._bits or 0) > 16 else "int16"
        with self._open(f"{self._handle.path}: ") as sound:
            position = self._before(start)
            if position:
                sound.seek(position)
            _skipped(sound, start - position)
            values: NDArray[Any] = sound.read(max(stop - start, 0), dtype=kind, always_2d=True)
        if len(values) < stop - start:
            raise InvalidDatapackError(f"{self._handle.path}: the file ends before sample {stop}")
        if not self._scaled and self._bits in {8, 24}:
            values >>= 8  # libsndfile uses the upper bits
        return values.astype(self.dtype, copy=False)

    def _before(self, start: int) -> int:
        """Return the frame to start decoding from, so that frame `start` is the same as in the whole file."""
        if self._in_sequence:
            return 0
        sought = start - _LEAD.get(self._subtype, 0)
        if tail := _TAIL.get(self._subtype):
            sought = min(sought, self.shape[0] - tail)
        return max(0, sought)


def _skipped(sound: Sound, count: int) -> int:
    """Decode and discard frames; returns their number."""
    done = 0
    while done < count:
        found = len(sound.read(min(_BLOCK, count - done), dtype="float32", always_2d=True))
        if not found:
            break
        done += found
    return done
