"""One session per process, endpoint and identity: every request of rinofs goes through here.

A request is sent until it has a response or a final error: attempts, waits, redirects, renewed credentials.
The module `retry` decides what may be sent again, and when.
"""

from __future__ import annotations

import json as jsonlib
import logging
import time
from collections.abc import Callable, Collection, Iterator, Mapping, Sequence
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, NoReturn, Protocol, TypeVar
from urllib.parse import quote, urlencode, urlsplit

from rinofs.errors import (
    ConnectionFailedError,
    DeadlineError,
    InvalidOptionError,
    ProtocolError,
    UnavailableError,
)
from rinofs.http.connection.limits import Limits, Unanswered
from rinofs.http.connection.redact import excerpt, redact
from rinofs.http.connection.response import Response, is_web_page, web_page_message
from rinofs.http.session.redirects import MAX_REDIRECTS, REDIRECTS, origin, redirect_target
from rinofs.http.session.retry import UnreadableError, broken, next_pause, refused
from rinofs.http.session.shared import SessionState
from rinofs.protocol.names import without_login

if TYPE_CHECKING:
    import requests

    from rinofs.http.connection.response import StreamedResponse
    from rinofs.http.session.retry import Failure
    from rinofs.http.session.shared import Auth

T = TypeVar("T")

logger = logging.getLogger("rinofs.http")

Params = Mapping[str, str | int] | Sequence[tuple[str, str]]

_ERROR_BODY = 64 * 1024  # bytes of an error response that are read
_LONGEST_RESPONSE = 512 * 1024 * 1024
# Minimum rate, in bytes per second, at which a server is expected to store an upload before it answers.
_STORING_RATE = 8 * 1024 * 1024
# Headers for other origins after a redirect: enough for a ranged read, and nothing that identifies the user.
_FOREIGN_HEADERS = frozenset({"accept-encoding", "range", "user-agent"})


class StreamedBody(Protocol):
    """A body of known length that is streamed, from its first byte in each iteration.

    Attributes
    ----------
    content_type : str
        Value of the ``Content-Type`` header.
    failure : BaseException or None
        The error that ended the last iteration, if reading the source failed.
    """

    content_type: str
    failure: BaseException | None

    def __len__(self) -> int: ...

    def __iter__(self) -> Iterator[bytes | memoryview]: ...


@dataclass(frozen=True, slots=True)
class _Call:
    """A request, with all its attempts.

    Attributes
    ----------
    headers : Mapping
        All headers except ``Authorization``.
    repeatable : bool or callable
        Whether sending it twice is safe; a function if responses may change the answer.
    expect : collection of int or None
        Statuses to return to the caller; None for 2xx.
    label : str
        Name of the request for messages.
    silence : float or None
        Seconds until the response's headers, if different from the session's.
    """

    method: str
    url: str
    headers: Mapping[str, str]
    body: bytes | StreamedBody | None
    repeatable: bool | Callable[[], bool]
    expect: Collection[int] | None
    label: str
    silence: float | None = None

    def may_repeat(self) -> bool:
        """Return whether sending it twice is safe, as far as known."""
        return self.repeatable if isinstance(self.repeatable, bool) else self.repeatable()

    def expects(self, status: int) -> bool:
        """Return whether to return `status` to the caller."""
        return 200 <= status < 300 if self.expect is None else status in self.expect


class HttpSession:
    """HTTP to one endpoint as one user; thread-safe, and usable after a fork.

    Parameters
    ----------
    endpoint_url : str
        Base URL, ``https://host[:port][/prefix]``.
    auth : Auth
        Provides the ``Authorization`` header, which is sent to no other origin.
    timeout : float
        Maximum seconds without data from the server; all other time limits are derived from it.
    max_concurrency : int
        Maximum number of connections in use.
    headers : Mapping, optional
        Sent with every request to the endpoint, and to no other origin.
    observe : callable, optional
        Called with the status and headers of each response from the endpoint itself.
    token_advice : str, optional
        Part of the error when the service refuses the token: where it came from and how to replace it.

    Attributes
    ----------
    endpoint_url : str
        Base URL without a trailing slash.
    no_ranges : bool
        Whether the endpoint is known to ignore ``Range``.
    no_multiranges : bool
        Whether it is known to ignore a ``Range`` with several ranges.

    Raises
    ------
    InvalidOptionError
        If `endpoint_url` is not an http or https URL, contains a login, or a number is not positive.
    """

    def __init__(
        self,
        endpoint_url: str,
        auth: Auth,
        *,
        timeout: float = 30.0,
        max_concurrency: int = 8,
        headers: Mapping[str, str] | None = None,
        observe: Callable[[int, Mapping[str, str]], None] | None = None,
        token_advice: str | None = None,
    ) -> None:
        self.endpoint_url = _checked_endpoint(endpoint_url)
        if not timeout > 0 or max_concurrency < 1:
            raise InvalidOptionError("timeout must be above 0, and max_concurrency at least 1")
        self.limits = Limits.for_timeout(timeout)
        self.no_ranges = False
        self.no_multiranges = False
        # Complete and in final form, so that a request only has to copy it.
        self._headers = {"User-Agent": "rinofs", "Accept-Encoding": "identity", **(headers or {})}
        self._shared = SessionState(auth, self.limits, max_concurrency, observe, token_advice)

    def request(
        self,
        method: str,
        path: str,
        *,
        json: Any = None,
        data: Mapping[str, str] | None = None,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | Callable[[], bool],
        expect: Collection[int] | None = None,
        label: str = "",
    ) -> Response:
        """Send a request and read the whole response.

        Parameters
        ----------
        method, path : str
            The path is relative to the endpoint and percent-encoded.
        json : object, optional
            Body, sent as JSON.
        data : Mapping, optional
            Body, sent as a form.
        params, headers : optional
            Query parameters and additional headers.
        repeatable : bool or callable
            Whether sending the request twice is safe; such requests are sent again after failures. A function
            is called after each failure, since responses reveal what a server supports.
        expect : collection of int, optional
            Statuses to return; 2xx by default. Others raise an error.
        label : str
            Name of the request for messages: usually a path or URL.

        Returns
        -------
        Response
            The whole response. For repeatable requests, a JSON body has been checked to be valid.

        Raises
        ------
        ServiceError
            If the service refused the request; see its subclasses.
        OutcomeUnknownError
            If the request is not repeatable and no response tells whether it was carried out.
        ConnectionFailedError, DeadlineError, ProtocolError
            If there was no usable response.
        """
        own = dict(headers or {})
        body: bytes | None = None
        if json is not None:
            body = jsonlib.dumps(json, allow_nan=False, separators=(",", ":")).encode("ascii")
            own["Content-Type"] = "application/json"
        elif data is not None:
            body = urlencode(data).encode("ascii")
            own["Content-Type"] = "application/x-www-form-urlencoded"
        call = self._call(method, path, params, own, body, repeatable=repeatable, expect=expect, label=label)
        return _read_whole(self._shared, call)

    def upload(
        self,
        path: str,
        body: StreamedBody,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | Callable[[], bool] = False,
        expect: Collection[int] | None = None,
        label: str = "",
    ) -> Response:
        """POST a body that is streamed.

        Raises what `request` raises, and errors from reading the body.
        """
        own = {**(headers or {}), "Content-Type": body.content_type, "Content-Length": str(len(body))}
        silence = self.limits.silence + len(body) / _STORING_RATE
        call = self._call(
            "POST",
            path,
            params,
            own,
            body,
            repeatable=repeatable,
            expect=expect,
            label=label,
            silence=silence,
        )
        return _read_whole(self._shared, call)

    def stream(
        self,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        expect: Collection[int] = (200, 206),
        label: str = "",
    ) -> StreamedResponse:
        """Send a repeatable request and return when its headers have arrived.

        The response holds a connection until it is read to its end or closed. Raises what `request` raises.
        """
        call = self._call(method, path, params, headers, None, repeatable=True, expect=expect, label=label)
        return _send(self._shared, call, lambda response, _: response)

    @property
    def round_trip(self) -> float:
        """Shortest recent time between a request and its response, in seconds; 0 before the first."""
        return min(tuple(self._shared.round_trips), default=0.0)  # longer ones include the server's work

    @property
    def free_connections(self) -> int:
        """Number of connections that are not in use."""
        return self._shared.slots.free

    def requests_session(self) -> requests.Session:
        """Return the ``requests.Session`` whose adapters are used; mount others before the first request."""
        return self._shared.transport().session

    def shown(self, text: str | bytes) -> str:
        """Return the beginning of a service's text, redacted for use in a message."""
        return excerpt(text, self._shared.auth.header())

    def close(self) -> None:
        """Close idle connections; the session remains usable."""
        self._shared.close()

    def __repr__(self) -> str:
        return f"HttpSession({self.endpoint_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an HttpSession cannot be pickled: it holds credentials and connections")

    def _call(
        self,
        method: str,
        path: str,
        params: Params | None,
        headers: Mapping[str, str] | None,
        body: bytes | StreamedBody | None,
        *,
        repeatable: bool | Callable[[], bool],
        expect: Collection[int] | None,
        label: str,
        silence: float | None = None,
    ) -> _Call:
        url = f"{self.endpoint_url}/{path.lstrip('/')}"
        label = label or url
        if params:
            pairs = params.items() if isinstance(params, Mapping) else params
            url += "?" + "&".join([f"{_quoted(name)}={_quoted(str(value))}" for name, value in pairs])
        merged = {**self._headers, **headers} if headers else self._headers
        return _Call(method, url, merged, body, repeatable, expect, label, silence)


def _quoted(text: str) -> str:
    return text if text.isascii() and text.isalnum() else quote(text, safe="")


def _checked_endpoint(endpoint_url: str) -> str:
    url = endpoint_url.rstrip("/")
    try:
        origin(url)
        parts = urlsplit(url)
    except ValueError:
        raise InvalidOptionError(
            f"endpoint_url {excerpt(without_login(endpoint_url))!r} is not an http or https URL"
        ) from None
    if parts.username is not None or parts.password is not None:
        raise InvalidOptionError("endpoint_url must not contain a login; pass a token")
    if parts.query or parts.fragment:
        raise InvalidOptionError("endpoint_url must not contain ? or #")
    return url


def _read_whole(shared: SessionState, call: _Call) -> Response:
    return _send(shared, call, lambda response, secret: _whole(response, secret, call))


def _send(shared: SessionState, call: _Call, finish: Callable[[StreamedResponse, str], T]) -> T:
    """Send `call` until there is a response, and return the result of `finish`.

    Parameters
    ----------
    shared : SessionState
        Connections and limits of the session.
    call : _Call
        Request to send.
    finish : callable
        Called with the response and the secret that was sent with the request. An error in it, such as a
        truncated or malformed body, counts as a failed attempt.
    """
    deadline = time.monotonic() + shared.limits.total
    failures = 0
    renewed = False
    while True:
        _wait_for_service(shared, deadline, call)
        authorization = shared.authorization()
        try:
            response = _follow(shared, call, authorization, deadline, failures)
            if shared.observe is not None and not response.foreign:
                shared.observe(response.status, response.headers)
            if call.expects(response.status):
                return finish(response, authorization)
            content = response.read_start(_ERROR_BODY)
            if response.status == 401 and not renewed and not response.foreign:
                renewed = shared.auth.renew(authorization)
                if renewed:
                    continue
            failure = refused(
                response.status,
                response.headers,
                content,
                call.label,
                authorization,
                None if response.foreign else shared.token_advice,
            )
        except (Unanswered, ConnectionFailedError, DeadlineError, UnreadableError) as error:
            failure = _broken(call, error)
        failures += 1
        _wait_or_raise(shared, call, failure, failures, deadline)


def _broken(call: _Call, error: Exception) -> Failure:
    source_error: BaseException | None = getattr(call.body, "failure", None)
    if source_error is not None:
        raise source_error from None  # the source could not be read; not a network error
    return broken(error, call.label)


def _wait_or_raise(
    shared: SessionState, call: _Call, failure: Failure, failures: int, deadline: float
) -> None:
    """Wait until the next attempt, or raise the final error."""
    if failure.asked is not None:
        shared.retry_after.wait_for(failure.asked)
    repeatable = call.may_repeat()
    pause = next_pause(failure, failures, shared.limits, _left(deadline), repeatable=repeatable)
    if pause is None:
        raise failure.final(call.method, repeatable=repeatable) from failure.error.__cause__
    if failure.asked is None:
        time.sleep(pause)


def _left(deadline: float) -> float:
    return max(deadline - time.monotonic(), 0.0)


def _wait_for_service(shared: SessionState, deadline: float, call: _Call) -> None:
    while seconds := shared.retry_after.seconds_left():
        if seconds > _left(deadline):
            raise UnavailableError(
                f"the service asks to wait another {seconds:.0f} s (Retry-After); try again later",
                call.label,
                status=429,
            )
        time.sleep(seconds)


def _follow(
    shared: SessionState, call: _Call, authorization: str, deadline: float, failures: int
) -> StreamedResponse:
    """Send `call` once, and follow redirects."""
    url = call.url
    headers = {**call.headers, "Authorization": authorization} if authorization else call.headers
    foreign = False
    for _ in range(MAX_REDIRECTS + 1):
        response = _send_once(shared, call, url, headers, deadline, failures)
        response.foreign = foreign
        if response.status not in REDIRECTS or call.expects(response.status):
            return response
        location = response.headers.get("location")
        if not location:
            return response
        response.read_start(_ERROR_BODY)
        target = redirect_target(call.method, url, response.status, location, label=call.label)
        if not foreign and origin(target) != origin(url):
            foreign = True
            headers = {name: value for name, value in headers.items() if name.lower() in _FOREIGN_HEADERS}
        url = target
    raise ProtocolError(f"more than {MAX_REDIRECTS} redirects; check endpoint_url", call.label)


def _send_once(
    shared: SessionState, call: _Call, url: str, headers: Mapping[str, str], deadline: float, failures: int
) -> StreamedResponse:
    limits = shared.limits
    silence = call.silence if call.silence is not None else min(limits.silence, max(_left(deadline), 0.001))
    if silence != limits.silence:
        limits = replace(limits, silence=silence)
    release = shared.take_slot()
    start = time.perf_counter()
    try:
        response = shared.transport().send(
            call.method, url, headers, call.body, limits, label=call.label, on_close=release
        )
    except BaseException as error:
        release()
        if isinstance(error, Unanswered) and logger.isEnabledFor(logging.DEBUG):
            _log(call, url, str(error), failures, start, headers)
        raise
    if call.body is None or isinstance(call.body, bytes):
        shared.round_trips.append(time.perf_counter() - start)
    if logger.isEnabledFor(logging.DEBUG):
        _log(call, url, str(response.status), failures, start, headers)
    return response


def _log(
    call: _Call, url: str, outcome: str, failures: int, start: float, headers: Mapping[str, str]
) -> None:
    secret = headers.get("Authorization", "")
    shown = url if secret else url.partition("?")[0]  # the query may be a signature
    logger.debug(
        "%s %s: %s (try %d, %.1f ms)",
        call.method,
        redact(shown, secret),
        redact(outcome, secret),
        failures + 1,
        (time.perf_counter() - start) * 1000,
    )


def _whole(response: StreamedResponse, secret: str, call: _Call) -> Response:
    """Read a response to its end; JSON is also checked if the request can be repeated."""
    encoding = response.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        response.close()
        shown = excerpt(encoding, secret)
        raise ProtocolError(f"the response is encoded ({shown}), which was not requested", call.label)
    content = response.read_all(_LONGEST_RESPONSE)
    if is_web_page(response.headers, content):
        # Also if the caller only checks the status: a login page's 200 is not a success.
        raise ProtocolError(web_page_message(response.status), call.label)
    whole = Response(
        response.status,
        response.headers,
        content,
        response.url,
        label=call.label,
        secrets=(secret,),
    )
    if call.may_repeat() and content and "json" in response.headers.get("content-type", ""):
        try:
            whole.check_json()
        except ProtocolError as error:
            raise UnreadableError(error) from None
    return whole
