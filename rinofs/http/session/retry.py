"""What may be sent again, and when: decisions only, nothing is sent or awaited here."""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Mapping

MAX_TRIES = 5
"""How often one request is sent, or one position of a content asked for, without progress."""

MAX_RETRY_AFTER = 60.0
"""Longest wait that a service can ask for, in seconds."""

FLOOR = 1024
"""Fewest bytes per second that a body may bring, over its window."""

WINDOWS = 2
"""How many times the longest silence that window is."""

_LONGEST_PAUSE = 10.0
_NOT_NOW = frozenset({408, 425, 429, 503})
_DEFINITE = frozenset({501, 505, 506, 507, 508, 510, 511})


class Fault(Enum):
    """How a try failed, as far as sending again is concerned."""

    NOT_SENT = "nothing was sent"
    UNTRUSTED = "the server's certificate was not accepted"
    LOST = "the connection broke"
    SLOW = "the answer did not come in time"
    BUSY = "the service asks to come back later"
    CRASHED = "the service failed on the way"
    UNREADABLE = "the answer makes no sense"


class Unanswered(Exception):  # noqa: N818 - not an error to its callers until they give up
    """A try that got no answer.

    Attributes
    ----------
    fault : Fault
        What that means for sending again.
    """

    def __init__(self, fault: Fault, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Limits:
    """How long things may take, in seconds.

    Attributes
    ----------
    connect : float
        Until a connection stands.
    silence : float
        Until an answer's headers are complete, and between any two bytes of its body.
    total : float
        Until giving up when nothing comes forward, over all tries.
    pause : float
        Before the second try; twice as long before each further one.
    """

    connect: float
    silence: float
    total: float
    pause: float

    @classmethod
    def for_timeout(cls, timeout: float) -> Limits:
        """Derive all limits from the one that users set."""
        return cls(
            connect=min(timeout, 10.0),
            silence=timeout,
            total=4 * timeout,
            pause=min(timeout / 100, 0.1),
        )


def fault_of_status(status: int) -> Fault | None:
    """Return what a status means for sending again; None: the service has decided."""
    if status in _NOT_NOW:
        return Fault.BUSY
    if status >= 500 and status not in _DEFINITE:
        return Fault.CRASHED
    return None


def may_repeat(fault: Fault, *, repeatable: bool) -> bool:
    """Return whether a request that failed so may be sent again.

    A request that changes something is sent again only if the failed try cannot have been carried out.
    """
    if fault is Fault.UNTRUSTED:
        return False
    return repeatable or fault in {Fault.NOT_SENT, Fault.BUSY}


def is_ambiguous(fault: Fault) -> bool:
    """Return whether a try that failed so may still have been carried out."""
    return fault in {Fault.LOST, Fault.SLOW, Fault.CRASHED, Fault.UNREADABLE}


def pause_after(failures: int, limits: Limits) -> float:
    """Return the seconds to wait after so many failures: exponential, with jitter."""
    longest = min(_LONGEST_PAUSE, limits.pause * 2 ** (failures - 1))
    return random.uniform(longest / 4, longest)  # noqa: S311 - spreads load, guards nothing


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds that a ``Retry-After`` header asks for, at most a minute; None without one.

    A date is read relative to the ``Date`` of the same answer, since clocks differ.
    """
    value = headers.get("retry-after", "").strip()
    if value.isdecimal() and value.isascii():
        return min(float(value), MAX_RETRY_AFTER)
    then = _seconds(value)
    if then is None:
        return None
    now = _seconds(headers.get("date", ""))
    return min(max(then - (time.time() if now is None else now), 0.0), MAX_RETRY_AFTER)


def _seconds(date: str) -> float | None:
    from email.utils import parsedate_to_datetime  # slow to import, and seldom needed

    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


class Tries:
    """How often one request was tried, and whether there is a next time.

    Parameters
    ----------
    limits : Limits
        The total is counted from here on.
    """

    __slots__ = ("_deadline", "_limits", "count")

    def __init__(self, limits: Limits) -> None:
        self._deadline = time.monotonic() + limits.total
        self._limits = limits
        self.count = 0

    def left(self) -> float:
        """Return the seconds until the deadline; never negative."""
        return max(self._deadline - time.monotonic(), 0.0)

    def next_pause(self, fault: Fault, asked: float | None = None, *, repeatable: bool) -> float | None:
        """Return the seconds to wait before the next try, None if there is none.

        Parameters
        ----------
        fault : Fault
            How this try failed.
        asked : float, optional
            What the service's ``Retry-After`` asks for, in seconds.
        repeatable : bool
            Whether the request may be sent twice.
        """
        self.count += 1
        if self.count >= MAX_TRIES or not may_repeat(fault, repeatable=repeatable):
            return None
        pause = pause_after(self.count, self._limits) if asked is None else asked
        return pause if pause < self.left() else None
