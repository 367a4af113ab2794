"""One request until its answer or its error: tries, waits, redirects, renewed credentials."""

from __future__ import annotations

import logging
import time
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, TypeVar

from rinofs.errors import (
    ConnectionFailedError,
    DeadlineError,
    OutcomeUnknownError,
    ProtocolError,
    RinofsError,
    UnavailableError,
)
from rinofs.http.session.redact import redact
from rinofs.http.session.redirects import MAX_REDIRECTS, REDIRECTS, origin, redirect_target
from rinofs.http.session.retry import Fault, Tries, Unanswered, fault_of_status, is_ambiguous, retry_after
from rinofs.http.session.status import error_for

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping

    from rinofs.http.connection.raw import RawAnswer
    from rinofs.http.content.upload import UploadBody
    from rinofs.http.session.gate import Gate
    from rinofs.http.session.shared import Shared

    Finish = Callable[["RawAnswer", str], "T"]

T = TypeVar("T")

logger = logging.getLogger("rinofs.http")

_ERROR_BODY = 64 * 1024  # as much of a refusal as is read
# What another origin gets to see: enough to answer a ranged read, nothing that names the user.
_FOREIGN_HEADERS = frozenset({"accept-encoding", "range", "user-agent"})


@dataclass(frozen=True, slots=True)
class Call:
    """A request, as often as it is sent.

    Attributes
    ----------
    headers : Mapping
        All but ``Authorization``.
    repeatable : bool or callable
        Whether sending it twice is the same as once; a function where answers to it may change that.
    expect : collection of int or None
        Statuses that are an answer; None: 2xx.
    label : str
        What it is about, for messages.
    silence : float or None
        Seconds until the answer's headers, where not the session's.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | UploadBody | None
    repeatable: bool | Callable[[], bool]
    expect: Collection[int] | None
    label: str
    silence: float | None = None

    def may_repeat(self) -> bool:
        """Return whether sending it twice is the same as once, as far as is known by now."""
        return self.repeatable if isinstance(self.repeatable, bool) else self.repeatable()

    def expects(self, status: int) -> bool:
        """Return whether `status` is an answer."""
        return 200 <= status < 300 if self.expect is None else status in self.expect


@dataclass(frozen=True, slots=True)
class _Failure:
    """A try that failed: what that means, and what to raise if it was the last."""

    fault: Fault | None
    error: RinofsError
    asked: float | None = None


def run(shared: Shared, call: Call, finish: Finish[T]) -> T:
    """Send `call` until it is answered, and return what `finish` makes of the answer.

    Parameters
    ----------
    shared : Shared
        The session's connections and limits.
    call : Call
        What to send.
    finish : callable
        Takes the answer and the secret that was sent with the request. What it raises counts as a
        failed try: a body that breaks off or makes no sense.
    """
    tries = Tries(shared.limits)
    renewed = False
    while True:
        _wait_at_gate(shared.gate, tries, call)
        authorization = shared.authorization()
        try:
            answer = _follow(shared, call, authorization, tries)
            if shared.observe is not None and not answer.foreign:
                shared.observe(answer.status, answer.headers)
            if call.expects(answer.status):
                return finish(answer, authorization)
            if answer.status == 401 and not renewed and not answer.foreign:
                answer.read_start(_ERROR_BODY)
                renewed = shared.auth.renew(authorization)
                if renewed:
                    continue
            failure = _refused(call, answer, authorization)
        except (Unanswered, ConnectionFailedError, DeadlineError, _Unreadable) as error:
            failure = _failed(call, error)
        if failure.asked is not None:
            shared.gate.close_for(failure.asked)
        pause = _next_pause(tries, call, failure)
        if pause is None:
            raise _last_error(call, failure) from failure.error.__cause__
        if failure.asked is None:
            time.sleep(pause)


def _next_pause(tries: Tries, call: Call, failure: _Failure) -> float | None:
    if failure.fault is None:
        return None
    return tries.next_pause(failure.fault, failure.asked, repeatable=call.may_repeat())


class _Unreadable(Exception):  # noqa: N818 - carries the error that is raised in the end
    def __init__(self, error: ProtocolError) -> None:
        super().__init__()
        self.error = error


def unreadable(error: ProtocolError) -> Exception:
    """Return what a `finish` raises for an answer that may be better the next time."""
    return _Unreadable(error)


def _wait_at_gate(gate: Gate, tries: Tries, call: Call) -> None:
    while closed := gate.closed_for():
        if closed > tries.left():
            raise UnavailableError(
                f"the service asked to be left alone for another {closed:.0f} s; try again later",
                call.label,
                status=429,
            )
        time.sleep(closed)


def _follow(shared: Shared, call: Call, authorization: str, tries: Tries) -> RawAnswer:
    """Send `call` once, and again to where redirects lead."""
    url = call.url
    headers = {**call.headers, "Authorization": authorization} if authorization else call.headers
    foreign = False
    for _ in range(MAX_REDIRECTS + 1):
        answer = _send(shared, call, url, headers, tries, foreign=foreign)
        if answer.status not in REDIRECTS or call.expects(answer.status):
            return answer
        location = answer.headers.get("location")
        if not location:
            return answer
        answer.read_start(_ERROR_BODY)
        target = redirect_target(call.method, url, answer.status, location, label=call.label)
        if not foreign and origin(target) != origin(url):
            foreign = True
            headers = {name: value for name, value in headers.items() if name.lower() in _FOREIGN_HEADERS}
        url = target
    raise ProtocolError(f"more than {MAX_REDIRECTS} redirects; check endpoint_url", call.label)


def _send(
    shared: Shared, call: Call, url: str, headers: Mapping[str, str], tries: Tries, *, foreign: bool
) -> RawAnswer:
    from rinofs.http.connection.raw import RawAnswer

    limits = shared.limits
    silence = call.silence if call.silence is not None else min(limits.silence, max(tries.left(), 0.001))
    if silence != limits.silence:
        limits = replace(limits, silence=silence)
    slots = shared.slots
    owner = slots.take()
    start = time.perf_counter()
    try:
        sent = shared.transport().send(call.method, url, headers, call.body, limits)
        if call.body is None or isinstance(call.body, bytes):
            shared.link.answered(time.perf_counter() - start)
        if logger.isEnabledFor(logging.DEBUG):
            _log(call, url, str(sent.status), tries, start, headers)
        return RawAnswer(
            sent,
            method=call.method,
            url=url,
            foreign=foreign,
            label=call.label,
            on_close=lambda: shared.give_back(slots, owner),
        )
    except BaseException as error:
        slots.give(owner)
        if isinstance(error, Unanswered) and logger.isEnabledFor(logging.DEBUG):
            _log(call, url, str(error), tries, start, headers)
        raise


def _log(call: Call, url: str, outcome: str, tries: Tries, start: float, headers: Mapping[str, str]) -> None:
    secret = headers.get("Authorization", "")
    shown = url if secret else url.partition("?")[0]  # another origin's query may hold a signature
    logger.debug(
        "%s %s: %s (try %d, %.1f ms)",
        call.method,
        redact(shown, secret),
        redact(outcome, secret),
        tries.count + 1,
        (time.perf_counter() - start) * 1000,
    )


def _refused(call: Call, answer: RawAnswer, authorization: str) -> _Failure:
    content = answer.read_start(_ERROR_BODY)
    error = error_for(answer.status, answer.headers, content, label=call.label, secrets=(authorization,))
    fault = fault_of_status(answer.status)
    return _Failure(fault, error, retry_after(answer.headers) if fault is Fault.BUSY else None)


def _failed(call: Call, error: Exception) -> _Failure:
    local: BaseException | None = getattr(call.body, "failure", None)
    if local is not None:
        raise local  # the file that was being sent could not be read: no fault of the network's
    if isinstance(error, _Unreadable):
        return _Failure(Fault.UNREADABLE, error.error)
    if isinstance(error, DeadlineError):
        return _Failure(Fault.SLOW, error)
    if isinstance(error, ConnectionFailedError):
        return _Failure(Fault.LOST, error)
    assert isinstance(error, Unanswered)
    kind = DeadlineError if error.fault is Fault.SLOW else ConnectionFailedError
    final = kind(str(error), call.label)
    final.__cause__ = error.__cause__
    return _Failure(error.fault, final)


def _last_error(call: Call, failure: _Failure) -> RinofsError:
    if failure.fault is None or call.may_repeat() or not is_ambiguous(failure.fault):
        return failure.error
    message = getattr(failure.error, "message", str(failure.error))
    return OutcomeUnknownError(
        f"{message}; whether the {call.method} was carried out is not known: look before sending it again",
        call.label,
    )
