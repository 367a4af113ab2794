"""Retry policy: what a failed attempt means, what may be sent again, and when.

Nothing is sent or awaited here.
"""

from __future__ import annotations

import random
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.errors import (
    ConnectionFailedError,
    DeadlineError,
    OutcomeUnknownError,
    ProtocolError,
    RinofsError,
)
from rinofs.http.connection.limits import FailureKind, Unanswered
from rinofs.http.session.status import error_for

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.http.connection.limits import Limits

MAX_TRIES = 5
"""How often one request is sent, or one position of a content requested, without progress."""

MAX_RETRY_AFTER = 60.0
"""Longest wait that a service can ask for, in seconds."""

_LONGEST_PAUSE = 10.0
_NOT_NOW = frozenset({408, 425, 429, 503})
_DEFINITE = frozenset({501, 505, 506, 507, 508, 510, 511})


def fault_of_status(status: int) -> FailureKind | None:
    """Return what a status means for sending again; None: the service has decided."""
    if status in _NOT_NOW:
        return FailureKind.BUSY
    if status >= 500 and status not in _DEFINITE:
        return FailureKind.CRASHED
    return None


def may_repeat(fault: FailureKind, *, repeatable: bool) -> bool:
    """Return whether a request that failed so may be sent again.

    A request that changes something is sent again only if the failed attempt cannot have been carried out.
    """
    if fault is FailureKind.UNTRUSTED:
        return False
    return repeatable or fault in {FailureKind.NOT_SENT, FailureKind.BUSY}


def is_ambiguous(fault: FailureKind) -> bool:
    """Return whether an attempt that failed so may still have been carried out."""
    return fault in {FailureKind.LOST, FailureKind.SLOW, FailureKind.CRASHED, FailureKind.UNREADABLE}


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


class UnreadableError(Exception):
    """A response that makes no sense, and may be better the next time."""

    def __init__(self, error: ProtocolError) -> None:
        super().__init__()
        self.error = error


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt.

    Attributes
    ----------
    fault : FailureKind or None
        What it means for sending again; None: the service has decided.
    error : RinofsError
        What to raise if it was the last.
    label : str
        What the request is about.
    asked : float or None
        Seconds that the service's ``Retry-After`` asks for.
    """

    fault: FailureKind | None
    error: RinofsError
    label: str
    asked: float | None = None

    def final(self, method: str, *, repeatable: bool) -> RinofsError:
        """Return what to raise after the last attempt."""
        if self.fault is None or repeatable or not is_ambiguous(self.fault):
            return self.error
        message = getattr(self.error, "message", str(self.error))
        return OutcomeUnknownError(
            f"{message}; it is unknown whether the {method} took effect: check before sending it again",
            self.label,
        )


def refused(
    status: int,
    headers: Mapping[str, str],
    content: bytes,
    label: str,
    secret: str,
    token_advice: str | None = None,
) -> Failure:
    """Return what an unexpected status means."""
    fault = fault_of_status(status)
    error = error_for(status, headers, content, label=label, secrets=(secret,), token_advice=token_advice)
    return Failure(fault, error, label, retry_after(headers) if fault is FailureKind.BUSY else None)


def broken(error: Exception, label: str) -> Failure:
    """Return what an attempt without a usable response means."""
    if isinstance(error, UnreadableError):
        return Failure(FailureKind.UNREADABLE, error.error, label)
    if isinstance(error, DeadlineError):
        return Failure(FailureKind.SLOW, error, label)
    if isinstance(error, ConnectionFailedError):
        return Failure(FailureKind.LOST, error, label)
    assert isinstance(error, Unanswered)
    kind = DeadlineError if error.fault is FailureKind.SLOW else ConnectionFailedError
    final = kind(str(error), label)
    final.__cause__ = error.__cause__
    return Failure(error.fault, final, label)


def next_pause(
    failure: Failure, failures: int, limits: Limits, left: float, *, repeatable: bool
) -> float | None:
    """Return the seconds to wait before the next attempt, None if there is none.

    Parameters
    ----------
    failure : Failure
        How this attempt failed.
    failures : int
        Attempts that failed, this one included.
    limits : Limits
        Give the pause.
    left : float
        Seconds until the deadline.
    repeatable : bool
        Whether the request may be sent twice.
    """
    if failure.fault is None or failures >= MAX_TRIES:
        return None
    if not may_repeat(failure.fault, repeatable=repeatable):
        return None
    pause = pause_after(failures, limits) if failure.asked is None else failure.asked
    return pause if pause < left else None
