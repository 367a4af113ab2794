"""Byte ranges: how they are asked for, and what an answer says it brings."""

from __future__ import annotations

import re
from dataclasses import dataclass

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A ``Content-Range`` header.

    Attributes
    ----------
    start, stop : int or None
        The bytes of the answer, stop excluded; None in a 416.
    total : int or None
        Bytes of the whole content; None where not said.
    """

    start: int | None
    stop: int | None
    total: int | None


def range_header(start: int, stop: int | None) -> str:
    """Return the ``Range`` header for the bytes [start, stop); a negative start counts from the end."""
    if start < 0:
        return f"bytes={start}"
    return f"bytes={start}-" if stop is None else f"bytes={start}-{stop - 1}"


def parse_content_range(value: str | None) -> ContentRange | None:
    """Read a ``Content-Range`` header; None where it is missing or makes no sense."""
    match = _CONTENT_RANGE.fullmatch((value or "").strip())
    if match is None:
        return None
    first, last, all_bytes = match.groups()
    total = None if all_bytes == "*" else int(all_bytes)
    if first is None:
        return ContentRange(None, None, total)
    start, stop = int(first), int(last) + 1
    if stop <= start or (total is not None and stop > total):
        return None
    return ContentRange(start, stop, total)
