"""When the rest of a large file comes by several connections: decisions only, nothing is sent here.

They pay where each connection is held back on its way: by its window on a long way, or by a service that
throttles connections one by one. They do not where a processor has no more to give.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rinofs.http.session.session import HttpSession

MEBIBYTE = 1024 * 1024

PART = 16 * MEBIBYTE
"""Bytes of a part, at least."""

MOST = 4
"""Connections for one file, where nobody names a number."""

_SMALLEST = 64 * MEBIBYTE
_LATENCY = 0.005  # seconds; below is this machine, or a network like it
_FAST = 256 * MEBIBYTE  # bytes per second; what is faster keeps processors busy
_ROUND_TRIPS = 8  # in which a new connection comes up to its rate
_SHORTEST = 0.15  # seconds


class Split:
    """Decides, while a file comes by one connection, whether the rest comes by several.

    Parameters
    ----------
    session : HttpSession
        Knows how far away the service is.
    size : int
        Bytes to come.
    most : int
        Connections to use, whatever the rate is; 0 for up to `MOST`, where one is held back.

    Attributes
    ----------
    count : int
        Connections that the rest comes by.
    """

    def __init__(self, session: HttpSession, size: int, most: int) -> None:
        self.count = 1
        self._session = session
        self._left = size
        self._most = most
        self._suits = suits(session.round_trip, size)
        # A connection comes up to its rate first; then it is measured for as long again.
        length = max(_SHORTEST, _ROUND_TRIPS * session.round_trip)
        self._since = time.monotonic() + length
        self._until = self._since + length
        self._measured = 0

    def begins(self, count: int) -> bool:
        """Take the number of bytes that arrived; return whether the rest comes by several connections."""
        self._left -= count
        if self._most or (self._suits and self._is_held_back(count)):
            self.count = how_many(self._left, self._most or MOST, self._session.places)
        return self.count > 1

    def _is_held_back(self, count: int) -> bool:
        now = time.monotonic()
        if now < self._since:
            return False
        self._measured += count
        return now >= self._until and self._measured < _FAST * (now - self._since)


def suits(round_trip: float, size: int) -> bool:
    """Return whether several connections are thought of at all.

    Parameters
    ----------
    round_trip : float
        Seconds from a request to its answer; 0 if unknown.
    size : int
        Bytes to come.
    """
    return round_trip > _LATENCY and size >= _SMALLEST


def how_many(left: int, most: int, places: int) -> int:
    """Return how many connections to use for `left` bytes.

    Parameters
    ----------
    left : int
        Bytes to come.
    most : int
        Connections that are allowed.
    places : int
        Connections that the session has left, besides the one in use.
    """
    return max(min(most, left // PART, 1 + places), 1)


def part_size(left: int, connections: int) -> int:
    """Return the bytes of a part: few enough that all have something to do to the end."""
    return min(max(PART, left // (4 * connections)), 4 * PART)
