"""How long a request may take, and how an attempt that got no response failed."""

from __future__ import annotations

from dataclasses import dataclass
from enum import Enum

MIN_RATE = 1024
"""Minimum transfer rate of a body in bytes per second, measured over a window."""

RATE_WINDOW = 2
"""Length of the window, as a multiple of `Limits.silence`."""


class FailureKind(Enum):
    """How an attempt failed, to decide whether to send the request again."""

    NOT_SENT = "nothing was sent"
    UNTRUSTED = "the server's certificate was not accepted"
    LOST = "the connection broke"
    SLOW = "the response did not come in time"
    BUSY = "the service asks to come back later"
    CRASHED = "the service failed on the way"
    UNREADABLE = "the response makes no sense"


class Unanswered(Exception):  # noqa: N818 - not an error to its callers until they give up
    """An attempt that got no response.

    Attributes
    ----------
    fault : FailureKind
        How the attempt failed.
    """

    def __init__(self, fault: FailureKind, reason: str) -> None:
        super().__init__(reason)
        self.fault = fault


@dataclass(frozen=True, slots=True)
class Limits:
    """Time limits, in seconds.

    Attributes
    ----------
    connect : float
        Until a connection is established.
    silence : float
        Until the response's headers are complete, and between any two bytes of its body.
    total : float
        Until a request without progress is given up, over all attempts.
    pause : float
        Before the second attempt; doubled for each further one.
    """

    connect: float
    silence: float
    total: float
    pause: float

    @classmethod
    def for_timeout(cls, timeout: float) -> Limits:
        """Derive all limits from the ``timeout`` option."""
        return cls(
            connect=min(timeout, 10.0),
            silence=timeout,
            total=4 * timeout,
            pause=min(timeout / 100, 0.1),
        )
