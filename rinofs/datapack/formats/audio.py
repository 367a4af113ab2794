"""Samples of the audio files that libsndfile reads.

A part of a file is the same samples as that part of the whole. libsndfile does not see to it: decoders need
what came before the place that they are sent to, some formats cannot be decoded from within at all, and
lengths are estimated where the header does not tell.
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
"""Frames to decode before those that are wanted.

An MP3 frame may begin up to 511 bytes before itself, in the "bit reservoir": 24 frames at the lowest
rates. Vorbis overlaps blocks of at most 8192.
"""

_TAIL = {"VORBIS": 262144}
"""Frames at the end that are not sought to: libvorbis misplaces them within the last page of an Ogg file."""

_NEVER_SOUGHT = frozenset({"OPUS", "DWVW_12", "DWVW_16", "DWVW_24", "DWVW_N"})
"""Decoders that must begin at the beginning: Opus takes seconds to settle, libsndfile's DWVW cannot seek."""

_BITS = {"PCM_S8": 8, "PCM_U8": 8, "PCM_16": 16, "PCM_24": 24, "PCM_32": 32}
_BLOCK = 65536  # frames that are decoded at once to get to a place
_UNKNOWN = 1 << 62  # libsndfile's word for a length that no header tells: 2 ** 63 - 1


class SoundSamples:
    """Samples of any audio file that libsndfile reads."""

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
        """Return how many frames there are, None where only decoding all of them tells."""
        said = int(sound.frames)
        if said > _UNKNOWN:
            return None
        if self._subtype not in _MPEG or (self._subtype == "MPEG_LAYER_III" and not counted):
            return said
        # What was counted, or estimated by libsndfile, may not all be decoded: the end of the file tells.
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
            """One that leaves the position alone: some decoders go on only from where they are.

            `soundfile` seeks to where it is after each read, which GSM, G.721 and DWVW cannot do, and a FLAC
            file of unknown length cannot do at its end.
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
        """Return some samples."""
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
            values >>= 8  # libsndfile fills the upper bits
        return values.astype(self.dtype, copy=False)

    def _before(self, start: int) -> int:
        """Return from where to decode so that a frame is what it is in the whole file."""
        if self._in_sequence:
            return 0
        sought = start - _LEAD.get(self._subtype, 0)
        if tail := _TAIL.get(self._subtype):
            sought = min(sought, self.shape[0] - tail)
        return max(0, sought)


def _skipped(sound: Sound, count: int) -> int:
    """Decode frames that nobody wants; return how many there were."""
    done = 0
    while done < count:
        found = len(sound.read(min(_BLOCK, count - done), dtype="float32", always_2d=True))
        if not found:
            break
        done += found
    return done
