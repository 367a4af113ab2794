"""Find the length of MP3 files that do not contain it.

Encoders write the number of frames to the first frame, the "Xing" header
(http://gabriel.mp3-tech.org/mp3infotag.html). Without it, libsndfile assumes that all frames have the bitrate
of the first one, and loses the end of files with a variable bitrate. So frames are counted here, and the
decoder gets a header with their number.
"""

from __future__ import annotations

from collections.abc import Callable
from dataclasses import dataclass
from typing import TypeAlias

Read: TypeAlias = Callable[[int, int], bytes]

_BLOCK = 1 << 20
_SEARCHED = 64 * 1024  # bytes to search for the first frame, and for the next one after junk
_RATES = (44100, 48000, 32000)
_LAYER_3 = 1
_KBITS_1 = (0, 32, 40, 48, 56, 64, 80, 96, 112, 128, 160, 192, 224, 256, 320)
_KBITS_2 = (0, 8, 16, 24, 32, 40, 48, 56, 64, 80, 96, 112, 128, 144, 160)
_ROOM_FOR_TAG = 8  # index of a bitrate with long enough frames: 112 or 64 kbit/s


@dataclass(frozen=True, slots=True)
class MpegLayout:
    """How to read an MP3 file whose length had to be determined.

    Attributes
    ----------
    header : bytes
        First frame with the number of frames; empty if the decoder needs none.
    start : int
        Offset in the file that follows the header.
    """

    header: bytes
    start: int


def may_be_mpeg(head: bytes) -> bool:
    """Return whether a file may be MP3, by its first three bytes: an ID3 tag or a frame."""
    return head == b"ID3" or (head[:1] == b"\xff" and len(head) > 1 and head[1] & 0xE0 == 0xE0)


def mpeg_layout(read: Read, size: int) -> MpegLayout | None:
    """Determine how to read an MP3 file without length; None if it contains its length.

    Parameters
    ----------
    read : callable
        Reads bytes, given offset and count.
    size : int
        Size of the file in bytes; a truncated file is counted as well.
    """
    start = _first_frame(read, _after_tag(read))
    if start is None:
        return None
    first = read(start, 4096)
    tag = _tag(first)
    if tag is None:
        frames, constant = _count(read, start, size)
        # With a constant bitrate, the decoder's estimate is right.
        return MpegLayout(b"", 0) if constant else MpegLayout(_header(first, frames, size - start), start)
    if size - start >= tag:
        return None
    length = _frame_length(first) or 0
    frames, _ = _count(read, start + length, size)
    at = _tag_offset(first)
    numbers = frames.to_bytes(4) + (size - start).to_bytes(4)
    return MpegLayout(first[: at + 8] + numbers + first[at + 16 : length], start + length)


def _after_tag(read: Read) -> int:
    """Return the end of an ID3v2 tag, 0 if there is none."""
    head = read(0, 10)
    if head[:3] != b"ID3" or len(head) < 10:
        return 0
    size = 0
    for byte in head[6:]:
        size = size << 7 | byte & 0x7F
    return 10 + size + (10 if head[5] & 0x10 else 0)


def _first_frame(read: Read, start: int) -> int | None:
    found = _synchronised(read(start, _SEARCHED), 0)
    return None if found is None else start + found


def _synchronised(data: bytes, start: int) -> int | None:
    """Return the offset of the next two consecutive frames, None if there are none."""
    at = data.find(b"\xff", start)
    while at >= 0:
        length = _frame_length(data[at : at + 4])
        if length and (at + length + 4 > len(data) or _frame_length(data[at + length : at + length + 4])):
            return at
        at = data.find(b"\xff", at + 1)
    return None


def _frame_length(header: bytes) -> int | None:
    """Return the length of a layer III frame in bytes, None if the header is not valid or has no bitrate."""
    if len(header) < 4 or header[0] != 0xFF or header[1] & 0xE0 != 0xE0:
        return None
    version, layer = header[1] >> 3 & 3, header[1] >> 1 & 3
    bitrate, rate, padding = header[2] >> 4, header[2] >> 2 & 3, header[2] >> 1 & 1
    if version == 1 or layer != _LAYER_3 or bitrate in {0, 15} or rate == 3:
        return None
    if version == 3:
        return 144000 * _KBITS_1[bitrate] // _RATES[rate] + padding
    return 72000 * _KBITS_2[bitrate] // (_RATES[rate] >> (1 if version == 2 else 2)) + padding


def _tag_offset(header: bytes) -> int:
    mono = header[3] >> 6 == 3
    if header[1] >> 3 & 3 == 3:
        return 4 + (17 if mono else 32)
    return 4 + (9 if mono else 17)


def _tag(frame: bytes) -> int | None:
    """Return the size of the file according to its first frame, None if that has no number of frames."""
    at = _tag_offset(frame)
    if frame[at : at + 4] not in {b"Xing", b"Info"} or not frame[at + 7] & 1:
        return None
    return int.from_bytes(frame[at + 12 : at + 16]) if frame[at + 7] & 2 else 0


def _count(read: Read, start: int, size: int) -> tuple[int, bool]:
    """Count whole frames, skipping junk; returns their number, and whether all have the same bitrate."""
    frames, position, block, at = 0, start, b"", 0
    rates: set[int] = set()
    while True:
        if len(block) - at < 4:
            position += at
            block, at = read(position, _BLOCK), 0
            if len(block) < 4:
                return frames, len(rates) < 2
        length = _frame_length(block[at : at + 4])
        if length is None:
            found = _synchronised(block, at + 1)
            at = len(block) - 3 if found is None else found
            continue
        rates.add(block[at + 2] & 0xF0)
        frames += position + at + length <= size
        at += length
        if at > len(block):
            position, block, at = position + at, b"", 0


def _header(like: bytes, frames: int, size: int) -> bytes:
    """Return a silent frame that contains the number of frames that follow."""
    head = bytes([0xFF, like[1] | 1, _ROOM_FOR_TAG << 4 | like[2] & 0x0C, like[3]])
    length = _frame_length(head) or 0
    tag = b"Xing" + (3).to_bytes(4) + frames.to_bytes(4) + (length + size).to_bytes(4)
    return (head.ljust(_tag_offset(head), b"\0") + tag).ljust(length, b"\0")


__all__ = ["MpegLayout", "may_be_mpeg", "mpeg_layout"]
