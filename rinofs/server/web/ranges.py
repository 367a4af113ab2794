"""The ranges of bytes that a request asks for (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rinofs.protocol.limits import MAX_RANGES

__all__ = ["ByteRange", "parse_ranges"]

_SPEC = re.compile(r"(\d*)-(\d*)", re.ASCII)
_BEYOND = 10**18  # more bytes than any content has


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` up to, and not including, `stop`."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """Return the value of ``Content-Range`` for this range of a content of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_ranges(header: str | None, size: int) -> list[ByteRange] | None:
    """Read a ``Range`` header.

    Parameters
    ----------
    header : str or None
        The value of the header.
    size : int
        Bytes of the whole content.

    Returns
    -------
    list of ByteRange or None
        The ranges that the content can satisfy, in the order asked for; an empty list where there is none
        (to be answered with 416); None where the header is to be ignored: it is absent, has another unit,
        is malformed, or asks for more ranges or bytes than a sound request would.
    """
    specs = _split(header)
    if specs is None:
        return None
    ranges = []
    for spec in specs:
        try:
            found = _satisfied(spec, size)
        except ValueError:
            return None
        if found is not None:
            ranges.append(found)
    if sum(map(len, ranges)) > size or (size == 0 and ranges):
        # Ranges that overlap to more than the content are an attack, and no range can show an empty content.
        return None
    return ranges


def _split(header: str | None) -> list[str] | None:
    unit, equals, specs = (header or "").partition("=")
    if not equals or unit.lower() != "bytes":
        return None
    parts = [part for part in (spec.strip(" \t") for spec in specs.split(",")) if part]
    return parts if 0 < len(parts) <= MAX_RANGES else None


def _satisfied(spec: str, size: int) -> ByteRange | None:
    match = _SPEC.fullmatch(spec)
    if match is None or spec == "-":
        raise ValueError(spec)
    first, last = match.groups()
    if not first:
        length = min(_integer(last), size)
        return ByteRange(size - length, size) if _integer(last) else None
    start = _integer(first)
    stop = _integer(last) + 1 if last else _BEYOND + 1
    if stop <= start:
        raise ValueError(spec)
    return ByteRange(start, min(stop, size)) if start < size else None


def _integer(digits: str) -> int:
    # Python refuses to convert very long numbers, which mean no more here than any number past the end.
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < len(str(_BEYOND)) else _BEYOND
