"""Signals of repoVizz 1: a header line, and all samples of a channel in one line."""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

import numpy as np

from rinofs.datapack.document.messages import shortened
from rinofs.datapack.formats.recordings import ArraySamples, Recording, Stream
from rinofs.datapack.formats.tables.cells import decimal_of
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from numpy.typing import NDArray

    from rinofs.datapack.formats.handles import FileHandle

_PART = 1 << 20
"""Number of bytes that are parsed at once."""


@dataclass(frozen=True, slots=True, eq=False)
class Signal:
    """One channel.

    Attributes
    ----------
    values : ndarray
        Samples, shape (n,).
    rate : float or None
        Samples per second, if in the header.
    start : float
        Time of the first sample in seconds.
    display : tuple of two floats, optional
        Range for display, which may differ from that of the samples.
    """

    values: NDArray[np.float64]
    rate: float | None = None
    start: float = 0.0
    display: tuple[float, float] | None = None


def parse_signal(data: bytes) -> Signal:
    """Parse a signal.

    Raises
    ------
    InvalidDatapackError
        If a sample or the rate is not a number, or there is a third line.
    """
    head, _, rest = data.lstrip(b"\xef\xbb\xbf").partition(b"\n")
    fields = _fields(head.decode("utf-8", "replace"))
    line, _, behind = rest.partition(b"\n")
    if behind.strip():
        raise InvalidDatapackError("a repoVizz signal has two lines, but this file has more")
    low, high = _number(fields, "minval"), _number(fields, "maxval")
    rate = _number(fields, "framerate")
    if rate is not None and rate <= 0:
        raise InvalidDatapackError(f"framerate={shortened(fields['framerate'])} is not a valid rate")
    display = (low, high) if low is not None and high is not None else None
    return Signal(_samples(line.strip()), rate, _number(fields, "offsettime") or 0.0, display)


def _fields(head: str) -> dict[str, str]:
    items = (item.partition("=") for item in head.split(","))
    return {key.strip().lower(): value.strip() for key, _, value in items}


def _number(fields: dict[str, str], key: str) -> float | None:
    text = fields.get(key, "")
    if not text:
        return None
    try:
        number = decimal_of(text)
    except ValueError:
        number = math.nan
    if not math.isfinite(number):
        raise InvalidDatapackError(f"{key}={shortened(text)} in the header is not a number")
    return number


def _samples(line: bytes) -> NDArray[np.float64]:
    parts, start, count = [np.zeros(0)], 0, 0
    while start < len(line):
        end = len(line) if start + _PART >= len(line) else line.rfind(b",", start, start + _PART) + 1
        items = line[start : end or len(line)].split(b",")
        if not items[-1].strip():  # after a trailing comma
            items.pop()
        parts.append(_floats(items, count))
        count += len(items)
        start = end or len(line)
    return np.concatenate(parts)


def _floats(items: list[bytes], before: int) -> NDArray[np.float64]:
    try:
        if b"_" not in b"".join(items):  # float() takes 1_0 for 10
            return np.array([float(item) for item in items], float)
    except ValueError:
        pass
    for number, item in enumerate(items, before + 1):
        text = item.decode("utf-8", "replace")
        try:
            decimal_of(text)
        except ValueError:
            message = f"sample {number} is {shortened(repr(text))}, not a number"
            raise InvalidDatapackError(message) from None
    raise AssertionError("all samples are numbers")


def repovizz1_recording(handle: FileHandle) -> Recording:
    """Read the signal in a file."""
    signal = parse_signal(handle.read_all())
    samples = ArraySamples(signal.values[:, None], None, signal.rate)
    return Recording((Stream("", samples, "", signal.start),))
