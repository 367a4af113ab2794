"""Decide when to download the rest of a large file with several connections; nothing is sent here.

Several connections are faster if each one is limited: by its TCP window over a long distance, or by a service
that throttles single connections. They are not if the processor is the limit.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from rinofs.http.session.session import HttpSession

MEBIBYTE = 1024 * 1024

PART = 16 * MEBIBYTE
"""Minimum size of a part in bytes."""

MOST = 4
"""Default for the maximum number of connections per file."""

_SMALLEST = 64 * MEBIBYTE
_LATENCY = 0.005  # seconds; less than this is a local or near server
_FAST = 256 * MEBIBYTE  # bytes per second; above this, the processor is the limit
_ROUND_TRIPS = 8  # until a new connection has reached its full rate
_SHORTEST = 0.15  # seconds


class Split:
    """Decides during a download by one connection whether to use several for the rest.

    Parameters
    ----------
    session : HttpSession
        Measures the distance of the service.
    size : int
        Size of the rest in bytes.
    most : int
        Number of connections to use at any rate; 0 for up to `MOST` if a single connection is slow.

    Attributes
    ----------
    count : int
        Number of connections for the rest.
    """

    def __init__(self, session: HttpSession, size: int, most: int) -> None:
        self.count = 1
        self._session = session
        self._left = size
        self._most = most
        self._is_worthwhile = is_worthwhile(session.round_trip, size)
        # The connection needs this time to reach its full rate; then measure for as long again.
        length = max(_SHORTEST, _ROUND_TRIPS * session.round_trip)
        self._since = time.monotonic() + length
        self._until = self._since + length
        self._measured = 0

    def begins(self, count: int) -> bool:
        """Count received bytes; returns whether to use several connections from here on."""
        self._left -= count
        if self._most or (self._is_worthwhile and self._is_held_back(count)):
            self.count = connection_count(self._left, self._most or MOST, self._session.free_connections)
        return self.count > 1

    def _is_held_back(self, count: int) -> bool:
        now = time.monotonic()
        if now < self._since:
            return False
        self._measured += count
        return now >= self._until and self._measured < _FAST * (now - self._since)


def is_worthwhile(round_trip: float, size: int) -> bool:
    """Return whether several connections can be faster at all.

    Parameters
    ----------
    round_trip : float
        Seconds between a request and its response; 0 if not known.
    size : int
        Size of the rest in bytes.
    """
    return round_trip > _LATENCY and size >= _SMALLEST


def connection_count(left: int, most: int, free: int) -> int:
    """Return how many connections to use.

    Parameters
    ----------
    left : int
        Size of the rest in bytes.
    most : int
        Maximum number of connections.
    free : int
        Free connections of the session, not counting the one in use.
    """
    return max(min(most, left // PART, 1 + free), 1)


def part_size(left: int, connections: int) -> int:
    """Return the size of a part in bytes, small enough to keep all connections busy to the end."""
    return min(max(PART, left // (4 * connections)), 4 * PART)
