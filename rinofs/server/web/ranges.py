"""Byte ranges in requests (RFC 9110, section 14)."""

from __future__ import annotations

import re
from dataclasses import dataclass

from rinofs.protocol.limits import MAX_RANGES

__all__ = ["ByteRange", "parse_ranges"]

_SPEC = re.compile(r"(\d*)-(\d*)", re.ASCII)
_BEYOND = 10**18  # larger than any content


@dataclass(frozen=True, slots=True)
class ByteRange:
    """The bytes from `start` to `stop`, which is exclusive."""

    start: int
    stop: int

    def __len__(self) -> int:
        return self.stop - self.start

    def content_range(self, size: int) -> str:
        """Return the value of ``Content-Range`` for this range of a content of `size` bytes."""
        return f"bytes {self.start}-{self.stop - 1}/{size}"


def parse_ranges(header: str | None, size: int) -> list[ByteRange] | None:
    """Parse a ``Range`` header.

    Parameters
    ----------
    header : str or None
        The value of the header.
    size : int
        Size of the whole content in bytes.

    Returns
    -------
    list of ByteRange or None
        The satisfiable ranges, in the order of the request; an empty list if there are none, for a response
        with 416. None if the header must be ignored: it is absent, malformed, has another unit, or requests
        unreasonably many ranges or bytes.
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
        # Overlapping ranges of more bytes than the content are an attack (RFC 9110, section 14.2), and an
        # empty content has no ranges.
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
    # Python refuses to convert very long numbers. Any number past the end has the same meaning.
    digits = digits.lstrip("0")
    return int(digits or "0") if len(digits) < len(str(_BEYOND)) else _BEYOND
