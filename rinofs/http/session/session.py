"""One session per process, endpoint and identity: every request of rinofs goes through here."""

from __future__ import annotations

import json as jsonlib
from collections.abc import Callable, Collection, Mapping, Sequence
from typing import TYPE_CHECKING, Any, NoReturn
from urllib.parse import quote, urlencode, urlsplit

from rinofs.errors import InvalidOptionError, ProtocolError
from rinofs.http.session.answers import Answer, is_web_page, web_page_message
from rinofs.http.session.exchange import Call, run, unreadable
from rinofs.http.session.redact import excerpt
from rinofs.http.session.redirects import origin
from rinofs.http.session.retry import Limits
from rinofs.http.session.shared import Shared

if TYPE_CHECKING:
    import requests

    from rinofs.http.connection.link import Link
    from rinofs.http.connection.raw import RawAnswer
    from rinofs.http.content.upload import UploadBody
    from rinofs.http.session.auth import Auth

Params = Mapping[str, str | int] | Sequence[tuple[str, str]]

_LONGEST_ANSWER = 512 * 1024 * 1024
# A server that stores before it answers needs time after the last byte: this many bytes a second.
_STORING_RATE = 8 * 1024 * 1024


class HttpSession:
    """HTTP to one endpoint as one user; thread-safe, and usable in forked children.

    Parameters
    ----------
    endpoint_url : str
        Base of every path, ``https://host[:port][/prefix]``.
    auth : Auth
        Gives the ``Authorization`` header; sent to no other origin.
    timeout : float
        Seconds that an answer may be silent; all other limits follow from it.
    max_concurrency : int
        Connections in use at a time.
    headers : Mapping, optional
        Sent with every request to the endpoint, and to no other origin.
    observe : callable, optional
        Takes status and headers of each answer of the endpoint's own, before anything is made of it.

    Attributes
    ----------
    endpoint_url : str
        Without a slash at the end.
    no_ranges : bool
        Whether the endpoint was seen to ignore ``Range``.
    no_multiranges : bool
        Whether it was seen to ignore one of several ranges.

    Raises
    ------
    InvalidOptionError
        If `endpoint_url` is no http or https URL, or holds a login; if a number is not positive.
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
    ) -> None:
        self.endpoint_url = _checked_endpoint(endpoint_url)
        if not timeout > 0 or max_concurrency < 1:
            raise InvalidOptionError("timeout must be above 0, and max_concurrency at least 1")
        self.limits = Limits.for_timeout(timeout)
        self.no_ranges = False
        self.no_multiranges = False
        # Complete and in final form, so that a request only copies it.
        self._headers = {"User-Agent": "rinofs", "Accept-Encoding": "identity", **(headers or {})}
        self._shared = Shared(auth, self.limits, max_concurrency, observe)

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
    ) -> Answer:
        """Send a request and read the whole answer.

        Parameters
        ----------
        method, path : str
            The path is below the endpoint, percent-encoded.
        json : object, optional
            Body, sent as JSON.
        data : Mapping, optional
            Body, sent as a form.
        params, headers : optional
            Query and further headers.
        repeatable : bool or callable
            Whether doing it twice is the same as once; such requests are sent again after failures. A
            function is asked after each failure, since answers tell what a server can do.
        expect : collection of int, optional
            Statuses that are returned; 2xx by default. Others raise.
        label : str
            What the request is about, for messages.

        Returns
        -------
        Answer
            The whole answer. A JSON body of a repeatable request is known to be readable.

        Raises
        ------
        ServiceError
            If the service refused; a subclass says how.
        OutcomeUnknownError
            If the request is not repeatable and no answer says whether it was carried out.
        ConnectionFailedError, DeadlineError, ProtocolError
            If no (usable) answer came.
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
        return run(self._shared, call, lambda answer, secret: _whole(answer, secret, call))

    def upload(
        self,
        path: str,
        body: UploadBody,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        repeatable: bool | Callable[[], bool] = False,
        expect: Collection[int] | None = None,
        label: str = "",
    ) -> Answer:
        """POST a body that is sent as it is read.

        Raises what `request` raises, and whatever reading the body raises.
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
        return run(self._shared, call, lambda answer, secret: _whole(answer, secret, call))

    def stream(
        self,
        path: str,
        *,
        params: Params | None = None,
        headers: Mapping[str, str] | None = None,
        method: str = "GET",
        expect: Collection[int] = (200, 206),
        label: str = "",
    ) -> RawAnswer:
        """Send a repeatable request and return as soon as its headers are there.

        The answer holds a connection until it is read to its end or closed. Raises what `request` raises.
        """
        call = self._call(method, path, params, headers, None, repeatable=True, expect=expect, label=label)
        return run(self._shared, call, lambda answer, _: answer)

    @property
    def link(self) -> Link:
        """What was found out about the way to the endpoint."""
        return self._shared.link

    @property
    def places(self) -> int:
        """Connections that could be used at the moment, besides those in use."""
        return self._shared.slots.free

    def requests_session(self) -> requests.Session:
        """Return the ``requests.Session`` whose adapters are used; mount others on it before use."""
        return self._shared.transport().session

    def shown(self, text: str | bytes) -> str:
        """Return the beginning of a text of the service's in a form that a message can quote."""
        return excerpt(text, self._shared.auth.header())

    def close(self) -> None:
        """Close idle connections; the session can be used further."""
        self._shared.close()

    def __repr__(self) -> str:
        return f"HttpSession({self.endpoint_url!r})"

    def __reduce__(self) -> NoReturn:
        raise TypeError("an HttpSession holds credentials and connections: make it anew, do not pickle it")

    def _call(
        self,
        method: str,
        path: str,
        params: Params | None,
        headers: Mapping[str, str] | None,
        body: bytes | UploadBody | None,
        *,
        repeatable: bool | Callable[[], bool],
        expect: Collection[int] | None,
        label: str,
        silence: float | None = None,
    ) -> Call:
        url = f"{self.endpoint_url}/{path.lstrip('/')}"
        label = label or url
        if params:
            pairs = params.items() if isinstance(params, Mapping) else params
            url += "?" + "&".join([f"{_quoted(name)}={_quoted(str(value))}" for name, value in pairs])
        merged = {**self._headers, **headers} if headers else self._headers
        return Call(method, url, merged, body, repeatable, expect, label, silence)


def _quoted(text: str) -> str:
    return text if text.isascii() and text.isalnum() else quote(text, safe="")


def _checked_endpoint(endpoint_url: str) -> str:
    url = endpoint_url.rstrip("/")
    try:
        origin(url)
        parts = urlsplit(url)
    except ValueError:
        raise InvalidOptionError(f"endpoint_url {excerpt(endpoint_url)!r} is no http or https URL") from None
    if parts.username is not None or parts.password is not None:
        raise InvalidOptionError("endpoint_url must not hold a login: pass a token")
    if parts.query or parts.fragment:
        raise InvalidOptionError("endpoint_url must end with its path: no ? and no #")
    return url


def _whole(answer: RawAnswer, secret: str, call: Call) -> Answer:
    """Read an answer to its end; what can be read again is also known to be readable."""
    encoding = answer.headers.get("content-encoding", "identity")
    if encoding.lower() != "identity":
        answer.close()
        shown = excerpt(encoding, secret)
        raise ProtocolError(f"the answer is encoded ({shown}), which was not asked for", call.label)
    content = answer.read_all(_LONGEST_ANSWER)
    if is_web_page(answer.headers, content):
        # Also where the caller looks at the status only: a login page's 200 is no consent.
        raise ProtocolError(web_page_message(answer.status), call.label)
    whole = Answer(
        answer.status,
        answer.headers,
        content,
        answer.url,
        _label=call.label,
        _secrets=(secret,),
    )
    if call.may_repeat() and content and "json" in answer.headers.get("content-type", ""):
        try:
            whole.check_json()
        except ProtocolError as error:
            raise unreadable(error) from None
    return whole
