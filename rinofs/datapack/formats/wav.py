"""Where the samples of a WAV file are, so that any of them can be read without the others."""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Callable

_PCM, _FLOAT, _EXTENSIBLE = 1, 3, 0xFFFE
_OPEN_ENDED = 0xFFFFFFFF


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
    missing : int
        How many more there should be, in a file that ends early.
    """

    rate: float
    channels: int
    bits: int
    is_float: bool
    offset: int
    frames: int
    missing: int = 0


def wav_layout(read: Callable[[int, int], bytes], size: int) -> WavLayout | None:
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
                raise InvalidDatapackError("this WAV file has samples, but does not say what they are")
            if length == _OPEN_ENDED:
                length = size - body if long_size is None else long_size
            return _layout(form, body, length, size)
        position = body + length + length % 2
    raise InvalidDatapackError("this WAV file ends before its samples")


def _whole(read: Callable[[int, int], bytes], start: int, count: int) -> bytes:
    data = read(start, count)
    if len(data) < count:
        raise InvalidDatapackError("this WAV file ends before its samples")
    return data


def _layout(form: bytes, offset: int, length: int, size: int) -> WavLayout | None:
    if len(form) < 16:
        raise InvalidDatapackError("the 'fmt ' chunk of this WAV file is too short")
    code, channels, rate, _, frame, bits = struct.unpack("<HHIIHH", form[:16])
    if code == _EXTENSIBLE and len(form) >= 26:
        code = struct.unpack("<H", form[24:26])[0]
    known = (code == _PCM and bits in {8, 16, 24, 32}) or (code == _FLOAT and bits in {32, 64})
    if not known or frame != channels * bits // 8:
        return None
    if not channels or not rate:
        raise InvalidDatapackError(f"this WAV file says that it has {channels} channels at {rate} Hz")
    frames = min(length, size - offset) // frame
    return WavLayout(float(rate), channels, bits, code == _FLOAT, offset, frames, length // frame - frames)
