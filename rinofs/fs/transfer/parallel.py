"""When several connections are worth while for one content: decisions only, nothing is sent here.

They are where each of them is held back on its way: by its window on a long way, or by a service that
throttles connections one by one. They are not where a processor or the link is what has no more to give.
"""

from __future__ import annotations

import time
from dataclasses import dataclass

MEBIBYTE = 1024 * 1024

PART = 16 * MEBIBYTE
"""Bytes of a part, at least."""

MOST = 4
"""Connections for one content, where nobody names a number."""

_SMALLEST = 64 * MEBIBYTE
_LATENCY = 0.005  # seconds; below is this machine, or a network like it
_FAST = 256 * MEBIBYTE  # bytes a second; what is faster keeps processors busy
_WAITING = 0.5
_GAIN = 1.25
_ROUND_TRIPS = 8  # in which a new connection comes up to its rate
_SHORTEST = 0.15  # seconds


@dataclass(frozen=True, slots=True)
class Pace:
    """How a while of a transfer went.

    Attributes
    ----------
    seconds : float
        How long it was.
    count : int
        Bytes that arrived.
    waited : float
        Seconds of it in which the reader waited for bytes, and did nothing.
    """

    seconds: float
    count: int
    waited: float

    @property
    def rate(self) -> float:
        """Bytes a second."""
        return self.count / self.seconds


def suits(round_trip: float, size: int, left: int) -> bool:
    """Return whether several connections are thought of at all.

    Parameters
    ----------
    round_trip : float
        Seconds from a request to its answer.
    size, left : int
        Bytes of the content, and those that did not come yet.
    """
    return round_trip > _LATENCY and size >= _SMALLEST and left >= 2 * PART


def is_held_back(pace: Pace) -> bool:
    """Return whether a connection is held back, and not by a processor of this or the other side."""
    return pace.rate < _FAST and pace.waited > _WAITING * pace.seconds


def paid(before: Pace, after: Pace) -> bool:
    """Return whether several connections were so much faster than one that they are kept."""
    return after.rate >= _GAIN * before.rate


def part_size(left: int, connections: int) -> int:
    """Return the bytes of a part: few enough that all have something to do to the end."""
    return min(max(PART, left // (4 * connections)), 4 * PART)


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


class Stopwatch:
    """Takes the pace of a transfer, a while at a time, after connections had time to come up to their rate.

    Parameters
    ----------
    round_trip : float
        Seconds from a request to its answer, from which the length of a while follows.
    """

    def __init__(self, round_trip: float) -> None:
        self._length = max(_SHORTEST, _ROUND_TRIPS * round_trip)
        self._warm = False
        self._begin()

    def note(self, count: int, waited: float = 0.0) -> Pace | None:
        """Take bytes that arrived, and the seconds of waiting for them; return the pace after a while."""
        self._count += count
        self._waited += waited
        seconds = time.monotonic() - self._since
        if seconds < self._length:
            return None
        pace = Pace(seconds, self._count, self._waited) if self._warm else None
        self._warm = True
        self._begin()
        return pace

    def _begin(self) -> None:
        self._since = time.monotonic()
        self._count = 0
        self._waited = 0.0
