"""Find the samples in a WAV file, so that any part can be read without the rest.

Sizes in headers are often wrong: recorders that lose power leave 0, streams have no size, and 32 bits
overflow at 4 GiB. The content of the file is decisive then, and the layout has a description of the problem.

RF64 is EBU Tech 3306, its successor BW64 is ITU-R BS.2088; chunks and formats are those of RIFF and of
``WAVEFORMATEXTENSIBLE`` (https://www.mmsp.ece.mcgill.ca/Documents/AudioFormats/WAVE/WAVE.html).
"""

from __future__ import annotations

import struct
from collections.abc import Callable
from dataclasses import dataclass, replace
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
_PROBE = 48 * 1024  # bytes of samples that determine how 24 bits are stored in 4 bytes
_MOST_CHUNKS = 64  # maximum number of chunks to check after the samples

_BEFORE_SAMPLES = frozenset({b"fmt ", b"data", b"ds64", b"fact", b"JUNK", b"junk", b"PAD ", b"FLLR", b"minf"})
_ANYWHERE = frozenset(
    {b"LIST", b"bext", b"iXML", b"cue ", b"smpl", b"inst", b"axml", b"chna", b"PEAK", b"id3 ", b"ID3 "}
    | {b"_PMX", b"afsp", b"DISP", b"plst", b"labl", b"note", b"umid", b"cart", b"link", b"levl", b"acid"}
)
_KNOWN = _BEFORE_SAMPLES | _ANYWHERE
_TAGS = (b"ID3", b"TAG", b"APETAGEX")  # appended by tag editors to files of any format


@dataclass(frozen=True, slots=True)
class WavLayout:
    """The layout of uncompressed samples in a file.

    Attributes
    ----------
    rate : float
        Frames per second.
    channels : int
        Number of samples in a frame.
    bits : int
        Bits of a sample: 8 (unsigned), 16, 24, 32 or 64.
    is_float : bool
        Whether samples are floating-point numbers.
    offset : int
        Offset of the samples in bytes.
    frames : int
        Number of frames.
    packing : str
        Position of 24-bit samples in 4 bytes: ``low`` or ``high`` three bytes.
    problem : str
        Description of wrong sizes in the header, and how the file is read; empty if they are right.
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
    """Find the samples in a WAV file, None if it is compressed.

    Parameters
    ----------
    read : callable
        Reads bytes, given offset and count.
    size : int
        Size of the file in bytes. A truncated file has the frames that exist.

    Raises
    ------
    InvalidDatapackError
        If it is not a WAV file, or ends before its samples.
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
    """Return the offset of the next chunk: an even number, unless the writer forgot the padding byte."""
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
    """The data chunk: the size in its header, and its actual size."""

    read: Read
    size: int
    offset: int
    said: int
    long_size: int | None

    def length(self, frame: int) -> tuple[int, str]:
        """Return the size of the samples in bytes, and a description of wrong sizes in the header."""
        there = self.size - self.offset
        said = self.said
        if self.long_size is not None and said in {0, _UNKNOWN_SIZE}:
            said = self.long_size
        elif said == _UNKNOWN_SIZE:  # a stream, whose length was not known in advance
            return there, ""
        if said > there:
            missing = said // frame - there // frame
            return there, f"the file ends early: {missing} samples at its end are missing" if missing else ""
        if there - said <= 1 or self._only_chunks(self.offset + said):
            return said, ""
        if said and self._ends_as_said(self.offset + said):
            return said, "bytes after the end that its header names are ignored"
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
        """Return whether there are only valid chunks between an offset and the end of the file."""
        return self._chunks_follow(end) or (end % 2 == 1 and self._chunks_follow(end + 1))

    def _ends_as_said(self, end: int) -> bool:
        """Return whether chunks follow the samples up to the file's end in the header, which is too early."""
        named = 8 + struct.unpack("<I", self.read(4, 4))[0]
        to_there = replace(self, size=named)
        return end + 8 <= named < self.size and to_there._only_chunks(end)  # noqa: SLF001 - the same class

    def _chunks_follow(self, position: int) -> bool:
        for _ in range(_MOST_CHUNKS):
            if self.size - position < 8:
                return self.size - position <= 1
            identifier, length = struct.unpack("<4sI", self.read(position, 8))
            end = position + 8 + length
            if identifier in _KNOWN and end >= self.size:
                return True  # the last chunk may be truncated
            if not _is_identifier(identifier) or end > self.size:
                return False
            position = _next_chunk(self.read, end)
        return True

    def packing(self) -> tuple[Packing, str]:
        """Return the position of 24 bits in 4 bytes, from samples at the beginning, middle and end.

        The standard uses the high bytes. ALSA writes a 24-bit number with or without sign extension.
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
    """Return the number of bits of a stored sample, None for formats that libsndfile reads."""
    whole = (bits + 7) // 8 * 8
    stored, odd = divmod(frame * 8, channels) if frame else (whole, 0)
    if code == _FLOAT:
        return stored if not odd and stored == bits and bits in {32, 64} else None
    fits = stored == whole or (bits, stored) == (24, 32)
    return stored if not odd and fits and stored in {8, 16, 24, 32} else None


class WavSamples(RawSamples):
    """Samples of an uncompressed WAV file, as integers or scaled to -1 to 1."""

    def __init__(self, handle: FileHandle, layout: WavLayout, *, scaled: bool) -> None:
        self._bits = layout.bits
        self._packing = layout.packing
        self._scaled = scaled and not layout.is_float
        kind = "<f" if layout.is_float else "<i"
        # 24 bits are read as raw bytes; only 8-bit samples are unsigned.
        name = {8: "u1", 24: "<i4" if layout.packing else "V3"}.get(layout.bits, f"{kind}{layout.bits // 8}")
        stored = np.dtype(name)
        super().__init__(handle, layout.offset, stored, (layout.frames, layout.channels))
        self.rate = layout.rate
        self._dtype = audio_dtype(layout.bits, is_float=layout.is_float, scaled=self._scaled)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples [start, stop)."""
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
    """Return the dtype for audio with a number of bits."""
    if is_float:
        return np.dtype(np.float64 if bits == 64 else np.float32)
    if scaled:
        return np.dtype(np.float64 if bits == 32 else np.float32)
    return np.dtype({8: np.int8, 16: np.int16}.get(bits, np.int32))


__all__ = ["Packing", "WavLayout", "WavSamples", "audio_dtype", "wav_layout"]
