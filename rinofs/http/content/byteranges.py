"""Byte ranges on the wire: ``Range``, ``Content-Range`` and multipart bodies."""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import BinaryIO

_CONTENT_RANGE = re.compile(r"bytes (?:(\d{1,18})-(\d{1,18})|\*)/(\d{1,18}|\*)", re.ASCII | re.IGNORECASE)
_BOUNDARY = re.compile(
    r'multipart/(\w+)\s*;.*?\bboundary=(?:"([^"]{1,70})"|([^\s";,]{1,70})).*', re.IGNORECASE
)
_MAX_LINE = 8192
_MAX_LINES = 32


@dataclass(frozen=True, slots=True)
class ContentRange:
    """A ``Content-Range`` header.

    Attributes
    ----------
    start, stop : int or None
        Range of the response, stop excluded; None in a 416.
    total : int or None
        Size of the whole content in bytes; None if not given.
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
    """Parse a ``Content-Range`` header; None if it is missing or not valid."""
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


def boundary_of(content_type: str, subtype: str) -> str | None:
    """Return the boundary of a multipart type, None for another type."""
    match = _BOUNDARY.fullmatch(content_type)
    if match is None or match[1].lower() != subtype:
        return None
    return match[2] or match[3]


class Parts:
    """Reads a multipart body whose parts give their length.

    Parameters
    ----------
    body : binary file
        Body.
    boundary : str
        Boundary between the parts.
    """

    def __init__(self, body: BinaryIO, boundary: str) -> None:
        self._body = body
        self._delimiter = b"--" + boundary.encode("latin-1")

    def begin(self) -> dict[str, str]:
        """Go to the next part, and return its headers by lower-case name.

        Raises
        ------
        ValueError
            If there is no further part.
        """
        line = self._line() or self._line()  # the line break before a boundary belongs to it
        if line != self._delimiter:
            raise ValueError("the parts of the response are not separated by the boundary")
        headers: dict[str, str] = {}
        for _ in range(_MAX_LINES):
            name, _, value = self._line().decode("latin-1").partition(":")
            if not name:
                return headers
            headers[name.strip().lower()] = value.strip()
        raise ValueError("a part of the response has too many headers")

    def read(self, size: int) -> bytes:
        """Return `size` bytes of the part.

        Raises
        ------
        ValueError
            If there are fewer.
        """
        data = self._body.read(size)
        if len(data) < size:
            raise ValueError("the last part of the response is too short")
        return data

    def end(self) -> None:
        """Check that there is no further part.

        Raises
        ------
        ValueError
            If there is one.
        """
        if (self._line() or self._line()) != self._delimiter + b"--":
            raise ValueError("the response goes on after what was requested")
        self._body.read(_MAX_LINE)  # usually nothing; reading to the end lets the connection be reused

    def _line(self) -> bytes:
        line = self._body.readline(_MAX_LINE)
        if not line.endswith(b"\n"):
            raise ValueError("the response ended before its last part")
        return line.rstrip(b"\r\n")
