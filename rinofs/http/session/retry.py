"""Retry policy: how to classify a failed attempt, what may be sent again, and when.

This module sends nothing and never waits.
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
from rinofs.http.session.status import error_for, proxy_name

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.http.connection.limits import Limits

MAX_TRIES = 5
"""Maximum number of attempts without progress, of a request or at a position of a content."""

MAX_RETRY_AFTER = 60.0
"""Maximum ``Retry-After`` in seconds."""

_LONGEST_PAUSE = 10.0
_NOT_NOW = frozenset({408, 425, 429, 503})
_DEFINITE = frozenset({501, 505, 506, 507, 508, 510, 511})


def fault_of_status(status: int) -> FailureKind | None:
    """Classify a status; None if it is the service's final answer."""
    if status in _NOT_NOW:
        return FailureKind.BUSY
    if status >= 500 and status not in _DEFINITE:
        return FailureKind.CRASHED
    return None


def may_repeat(fault: FailureKind, *, repeatable: bool) -> bool:
    """Return whether a request that failed this way may be sent again.

    A request with side effects is sent again only if the failed attempt certainly had none.
    """
    if fault is FailureKind.UNTRUSTED:
        return False
    return repeatable or fault in {FailureKind.NOT_SENT, FailureKind.BUSY}


def is_ambiguous(fault: FailureKind) -> bool:
    """Return whether an attempt that failed this way may have been carried out."""
    return fault in {FailureKind.LOST, FailureKind.SLOW, FailureKind.CRASHED, FailureKind.UNREADABLE}


def pause_after(failures: int, limits: Limits) -> float:
    """Return the seconds to wait after a number of failures: exponential, with jitter."""
    longest = min(_LONGEST_PAUSE, limits.pause * 2 ** (failures - 1))
    return random.uniform(longest / 4, longest)  # noqa: S311 - spreads load, guards nothing


def retry_after(headers: Mapping[str, str]) -> float | None:
    """Return the seconds in a ``Retry-After`` header, at most a minute; None without one.

    A date is compared with the ``Date`` header of the same response, since clocks differ
    (https://www.rfc-editor.org/rfc/rfc9110#section-10.2.3).
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
    from email.utils import parsedate_to_datetime  # slow to import, and rarely needed

    try:
        return parsedate_to_datetime(date).timestamp()
    except (TypeError, ValueError, OverflowError):
        return None


class UnreadableError(Exception):
    """A malformed response; a second attempt may get a better one."""

    def __init__(self, error: ProtocolError) -> None:
        super().__init__()
        self.error = error


@dataclass(frozen=True, slots=True)
class Failure:
    """A failed attempt.

    Attributes
    ----------
    fault : FailureKind or None
        Classification; None if it is the service's final answer.
    error : RinofsError
        Error to raise after the last attempt.
    label : str
        Name of the request for messages.
    asked : float or None
        Seconds in the service's ``Retry-After``.
    """

    fault: FailureKind | None
    error: RinofsError
    label: str
    asked: float | None = None

    def final(self, method: str, *, repeatable: bool) -> RinofsError:
        """Return the error to raise after the last attempt."""
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
    """Return the failure for an unexpected status."""
    fault = fault_of_status(status)
    busy = fault is FailureKind.BUSY
    if busy and proxy_name(status, headers, content) is not None:
        # Some answer so after they passed the request on, and the service may have carried it out.
        fault = FailureKind.CRASHED
    error = error_for(status, headers, content, label=label, secrets=(secret,), token_advice=token_advice)
    return Failure(fault, error, label, retry_after(headers) if busy else None)


def broken(error: Exception, label: str) -> Failure:
    """Return the failure for an attempt without a usable response."""
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
    """Return the seconds to wait before the next attempt, None if there must be none.

    Parameters
    ----------
    failure : Failure
        How the attempt failed.
    failures : int
        Number of failed attempts, including this one.
    limits : Limits
        Time limits.
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
