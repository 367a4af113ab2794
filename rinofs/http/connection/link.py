"""What a session finds out about the way to its endpoint."""

from __future__ import annotations

import time
from collections import deque

_ANSWERS = 32
_REMEMBERED = 300.0  # seconds: networks change


class Link:
    """How far away an endpoint is, and whether several connections bring a content sooner than one."""

    def __init__(self) -> None:
        self._round_trips: deque[float] = deque(maxlen=_ANSWERS)
        self._pays: bool | None = None
        self._pays_until = 0.0

    def answered(self, seconds: float) -> None:
        """Take the time from a request to the first byte of its answer."""
        self._round_trips.append(seconds)

    @property
    def round_trip(self) -> float | None:
        """The shortest such time lately, in seconds; the others had the server think. None before any."""
        return min(tuple(self._round_trips), default=None)

    @property
    def several_pay(self) -> bool | None:
        """What was found out about several connections lately; None if nothing."""
        return self._pays if time.monotonic() < self._pays_until else None

    def tried_several(self, *, paid: bool) -> None:
        """Take what came out of a try, to be remembered for some minutes."""
        self._pays, self._pays_until = paid, time.monotonic() + _REMEMBERED
