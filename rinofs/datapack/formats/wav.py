"""Where the samples of a WAV file are, so that any of them can be read without the others.

Sizes in headers are often wrong: recorders that lose power leave 0, streams have no size at all, and 32 bits
wrap at 4 GiB. What is in the file decides then, and the layout says what was made of it.

RF64 is EBU Tech 3306, BW64 its successor ITU-R BS.2088; chunks and formats are those of RIFF and of
``WAVEFORMATEXTENSIBLE`` (https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Literal, TypeAlias

import numpy as np

from rinofs.datapack.formats.samples import RawSamples
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle

Read: TypeAlias = Callable[[int, int], bytes]
Packing: TypeAlias = Literal["", "low", "high"]

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_UNKNOWN_SIZE = 0xFFFFFFFF
_WRAP = 1 << 32
_PROBE = 48 * 1024  # bytes of samples that tell how 24 bits lie in 4 bytes
_MOST_CHUNKS = 64  # that are looked at behind the samples

_BEFORE_SAMPLES = frozenset({b"fmt ", b"data", b"ds64", b"fact", b"JUNK", b"junk", b"PAD ", b"FLLR", b"minf"})
_ANYWHERE = frozenset(
    {b"LIST", b"bext", b"iXML", b"cue ", b"smpl", b"inst", b"axml", b"chna", b"PEAK", b"id3 ", b"ID3 "}
    | {b"_PMX", b"afsp", b"DISP", b"plst", b"labl", b"note", b"umid", b"cart", b"link", b"levl", b"acid"}
)
_KNOWN = _BEFORE_SAMPLES | _ANYWHERE
_TAGS = (b"ID3", b"TAG", b"APETAGEX")  # what taggers append to any file


@dataclass(frozen=True, slots=True)
class WavLayout:
    """Uncompressed samples in a file.

    Attributes
    ----------
    rate : float
        Frames per second.
    channels : int
        Samples in a frame.
    bits : int
        Bits of a sample: 8 (unsigned), 16, 24, 32 or 64.
    is_float : bool
        Whether samples are floating-point numbers.
    offset : int
        Byte at which they begin.
    frames : int
        How many frames there are.
    packing : str
        Where the 24 bits of a sample are that takes 4 bytes: the ``low`` or the ``high`` three.
    problem : str
        What is wrong with the sizes in the header, and what was made of it; empty if they are right.
    """

    rate: float
    channels: int
    bits: int
    is_float: bool
    offset: int
    frames: int
    packing: Packing = ""
    problem: str = ""


def wav_layout(read: Read, size: int) -> WavLayout | None:
    """Return where the samples of a WAV file are, None for one that is compressed.

    Parameters
    ----------
    read : callable
        Returns bytes by position and count.
    size : int
        Bytes in the file. One that ends early has the frames that are there.

    Raises
    ------
    InvalidDatapackError
        If this is no WAV file, or it ends before its samples begin.
    """
    form: bytes | None = None
    long_size: int | None = None
    position = 12
    while position + 8 <= size:
        identifier, length = struct.unpack("<4sI", _whole(read, position, 8))
        body = position + 8
        if identifier == b"ds64":
            long_size = struct.unpack("<Q", _whole(read, body + 8, 8))[0]
        elif identifier == b"fmt ":
            form = read(body, min(length, 40))
        elif identifier == b"data":
            if form is None:
                raise InvalidDatapackError("this WAV file has no 'fmt ' chunk, which describes its samples")
            return _layout(form, _Samples(read, size, body, length, long_size))
        position = _next_chunk(read, body + length)
    raise InvalidDatapackError("this WAV file ends before its samples")


def _whole(read: Read, start: int, count: int) -> bytes:
    data = read(start, count)
    if len(data) < count:
        raise InvalidDatapackError("this WAV file ends before its samples")
    return data


def _next_chunk(read: Read, end: int) -> int:
    """Return where the chunk behind one begins: at an even byte, unless its writer forgot to pad."""
    if end % 2 == 0:
        return end
    around = read(end, 5)
    unpadded, padded = around[:4], around[1:5]
    if padded in _KNOWN or around[:1] == b"\0":
        return end + 1
    return end if unpadded in _KNOWN or not _is_identifier(padded) else end + 1


def _is_identifier(word: bytes) -> bool:
    return len(word) == 4 and word.isascii() and word.decode("ascii").isprintable()


@dataclass(frozen=True, slots=True)
class _Samples:
    """The data chunk: what its header says, and how many bytes of samples there are in truth."""

    read: Read
    size: int
    offset: int
    said: int
    long_size: int | None

    def length(self, frame: int) -> tuple[int, str]:
        """Return the bytes of samples, and what is wrong with the sizes in the header."""
        there = self.size - self.offset
        said = self.said
        if self.long_size is not None and said in {0, _UNKNOWN_SIZE}:
            said = self.long_size
        elif said == _UNKNOWN_SIZE:  # a stream, whose length nobody knew when it began
            return there, ""
        if said > there:
            missing = said // frame - there // frame
            return there, f"the file ends early: {missing} samples at its end are missing" if missing else ""
        if there - said <= 1 or self._only_chunks(self.offset + said):
            return said, ""
        return self._too_small(said, there, frame)

    def _too_small(self, said: int, there: int, frame: int) -> tuple[int, str]:
        if there // frame == said // frame:
            return said, ""
        if said and self.read(self.offset + said, 8).startswith(_TAGS):
            return said, "a tag after the samples is not part of a WAV file; it is ignored"
        real = there
        for wrapped in range(said + _WRAP, there + 1, _WRAP):
            if there - wrapped <= 1 or self._only_chunks(self.offset + wrapped):
                real = wrapped
        what = "was never completed: it speaks of no samples" if not said else "speaks of too few samples"
        count = f", {said // frame}" if said else ""
        return real, f"its header {what}{count}; all {real // frame} that follow it are read"

    def _only_chunks(self, end: int) -> bool:
        """Whether nothing but chunks is between a byte and the end of the file."""
        return self._chunks_follow(end) or (end % 2 == 1 and self._chunks_follow(end + 1))

    def _chunks_follow(self, position: int) -> bool:
        for _ in range(_MOST_CHUNKS):
            if self.size - position < 8:
                return self.size - position <= 1
            identifier, length = struct.unpack("<4sI", self.read(position, 8))
            end = position + 8 + length
            if identifier in _KNOWN and end >= self.size:
                return True  # the last one, which may have been cut off
            if not _is_identifier(identifier) or end > self.size:
                return False
            position = _next_chunk(self.read, end)
        return True

    def packing(self) -> tuple[Packing, str]:
        """Return where 24 bits are in 4 bytes, by samples at the beginning, in the middle and at the end.

        The standard has them in the high bytes. ALSA writes a number of 24 bits, its sign carried on or not.
        """
        there = (self.size - self.offset) // 4 * 4
        places = {0, there // 2 // 4 * 4, max(0, there - _PROBE) // 4 * 4}
        parts = [self.read(self.offset + place, min(_PROBE, there - place)) for place in sorted(places)]
        used = b"".join(part[: len(part) // 4 * 4] for part in parts)
        small = all(top in {0, 0xFF} for top in used[3::4])
        if not small:
            return "high", ""
        if any(used[0::4]):
            return "low", ""
        fits = all(top >> 7 == middle >> 7 for middle, top in zip(used[2::4], used[3::4], strict=True))
        if not fits or not any(used):
            return "high", ""
        return "high", "24 bits lie in 4 bytes: the high ones are read, the low ones are possible too"


def _layout(form: bytes, samples: _Samples) -> WavLayout | None:
    packing: Packing
    if len(form) < 16:
        raise InvalidDatapackError("the 'fmt ' chunk of this WAV file is too short")
    code, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", form[:16])
    if code == _EXTENSIBLE and len(form) >= 26:
        code = struct.unpack("<H", form[24:26])[0]
    if code not in {_PCM, _FLOAT}:
        return None
    if not channels or not rate:
        raise InvalidDatapackError(
            f"the header of this WAV file is not valid: {channels} channels at {rate} Hz"
        )
    stored = _stored_bits(code, bits, frame, channels)
    if stored is None:
        return None
    packed = stored == 32 and bits == 24
    frame = channels * stored // 8
    length, problem = samples.length(frame)
    packing, doubt = samples.packing() if packed else ("", "")
    return WavLayout(
        float(rate),
        channels,
        24 if packed else stored,
        code == _FLOAT,
        samples.offset,
        length // frame,
        packing,
        "; ".join(filter(None, (problem, doubt))),
    )


def _stored_bits(code: int, bits: int, frame: int, channels: int) -> int | None:
    """Return the bits that a sample takes in the file, None for samples that are left to libsndfile."""
    whole = (bits + 7) // 8 * 8
    stored, odd = divmod(frame * 8, channels) if frame else (whole, 0)
    if code == _FLOAT:
        return stored if not odd and stored == bits and bits in {32, 64} else None
    fits = stored == whole or (bits, stored) == (24, 32)
    return stored if not odd and fits and stored in {8, 16, 24, 32} else None


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
        self.dtype = audio_dtype(layout.bits, is_float=layout.is_float, scaled=self._scaled)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return some samples."""
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


def audio_dtype(bits: int, *, is_float: bool, scaled: bool) -> np.dtype[Any]:
    """Return the type of the values of audio of so many bits."""
    if is_float:
        return np.dtype(np.float64 if bits == 64 else np.float32)
    if scaled:
        return np.dtype(np.float64 if bits == 32 else np.float32)
    return np.dtype({8: np.int8, 16: np.int16}.get(bits, np.int32))


__all__ = ["Packing", "WavLayout", "WavSamples", "audio_dtype", "wav_layout"]
