"""Responses other than content: JSON documents, errors, long lists; and middleware.

The middleware is plain ASGI, so that each layer costs one function call per request.
"""

from __future__ import annotations

import logging
import re
from collections import deque
from typing import TYPE_CHECKING, Any, TypeVar

import orjson
from anyio import to_thread
from starlette.responses import Response

from rinofs.protocol.names import is_loopback

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable, Collection, Iterator, Mapping, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = [
    "REQUEST_ID",
    "SENDER",
    "AnswerFailures",
    "AnswerHeaders",
    "HostGuard",
    "JsonList",
    "MergeSlashes",
    "error_response",
    "host_name",
    "json_response",
    "stream_json_list",
]

SENDER = "rinofs.sender"
"""Key in the scope of a request for an optional list, to which the handler appends the user."""

REQUEST_ID = "rinofs.request_id"
"""Key in the scope of a request for its id in the logs, as bytes."""

T = TypeVar("T")

_log = logging.getLogger("rinofs.server")

JSON = "application/json"


def json_response(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Return a response with a JSON document.

    Parameters
    ----------
    data : object
        Anything that `orjson` serialises; an ``orjson.Fragment`` is included unchanged.
    status : int
        HTTP status.
    headers : mapping of str, optional
        Additional headers.
    """
    return Response(orjson.dumps(data), status, headers, JSON)


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Return an error response in the format of the Rinocloud API.

    Parameters
    ----------
    status : int
        HTTP status. The key of the message is ``detail`` for 401, otherwise ``error``.
    message : str
        What happened, and in which field. Must not contain secrets.
    headers : mapping of str, optional
        Additional headers.
    """
    return json_response({"detail" if status == 401 else "error": message}, status, headers)


def stream_json_list(
    pages: Iterator[Sequence[object]],
    *,
    run: Callable[[Callable[[], T]], Awaitable[T]] = to_thread.run_sync,
    key: str = "result",
    rest: Mapping[str, object] | None = None,
) -> JsonList:
    """Return a response with a list of any length, of which one page at a time is in memory.

    Parameters
    ----------
    pages : iterator of sequences
        The items, page by page, each fetched in a worker thread. An exception before the second page
        becomes an error response; a later one closes the connection.
    run : callable
        Runs blocking work in a worker thread.
    key : str
        Key of the list in the response.
    rest : mapping, optional
        Other keys of the response.
    """
    return JsonList(pages, run, key, rest or {})


class JsonList(Response):
    """A JSON object with a list that is sent page by page."""

    def __init__(
        self,
        pages: Iterator[Sequence[object]],
        run: Callable[[Callable[[], Any]], Awaitable[Any]],
        key: str,
        rest: Mapping[str, object],
    ) -> None:
        super().__init__(media_type=JSON)
        del self.headers["content-length"]
        self._pages = pages
        self._run = run
        self._head = b"{" + orjson.dumps(key) + b":["
        others = orjson.dumps(dict(rest))[1:]
        self._tail = b"]" + (b"," if len(others) > 1 else b"") + others

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; a list of one page is sent in one piece, with its length."""
        # Keep no other reference to the data: a slow client keeps it in memory for long enough.
        pages = await self._run(self._first_pages)
        if len(pages) < 2:
            self.body = b"".join([self._head, *pages, self._tail])
            self.headers["content-length"] = str(len(self.body))
            await super().__call__(scope, receive, send)
            return
        await send({"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers})
        await send(_body(self._head + pages.popleft(), more=True))
        while pages:
            await send(_body(b"," + pages.popleft(), more=True))
            if page := await self._run(self._next_page):
                pages.append(page)
            del page
        await send(_body(self._tail, more=False))

    def _first_pages(self) -> deque[bytes]:
        pages = deque[bytes]()
        while len(pages) < 2 and (page := self._next_page()):
            pages.append(page)
        return pages

    def _next_page(self) -> bytes:
        # An empty page does not end the list; only the end of the iterator does.
        for page in self._pages:
            if page:
                return orjson.dumps(list(page))[1:-1]
        return b""


def _body(data: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": more}


class AnswerHeaders:
    """Middleware that adds headers to every response below a path.

    Parameters
    ----------
    app : ASGIApp
        The application.
    headers : mapping of str
        The headers.
    below : str
        Prefix of the paths.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str], below: str = "/") -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._below = below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application and add the headers."""

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        concerned = scope["type"] == "http" and scope["path"].startswith(self._below)
        await self._app(scope, receive, stamped if concerned else send)


class AnswerFailures:
    """Middleware that logs exceptions and responds to them with 500.

    Parameters
    ----------
    app : ASGIApp
        The application.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, and respond with 500 if it fails."""
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if scope["type"] != "http" or started:
                raise  # a response that has started can only end with the connection
            _log.exception("%s %s failed", scope["method"], scope["path"])
            name = f" (request {scope[REQUEST_ID].decode()})" if REQUEST_ID in scope else ""
            await error_response(500, f"the server failed; its log says why{name}")(scope, receive, send)


_SLASHES = re.compile("/{2,}")


class MergeSlashes:
    """Middleware that merges repeated slashes in paths with certain prefixes.

    Parameters
    ----------
    app : ASGIApp
        The application.
    below : tuple of str
        Prefixes of those paths, after merging.
    """

    def __init__(self, app: ASGIApp, below: tuple[str, ...]) -> None:
        self._app = app
        self._below = below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application with the merged path."""
        if scope["type"] == "http" and "//" in scope["path"]:
            path = _SLASHES.sub("/", scope["path"])
            if path.startswith(self._below):
                scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?", re.ASCII)


class HostGuard:
    """Middleware that rejects requests for other hosts with 421, and those without a host with 400.

    Parameters
    ----------
    app : ASGIApp
        The application.
    allowed : collection of str
        Allowed names and addresses, besides those of the loopback interface; ports are ignored.
    exempt : collection of str
        Paths that accept any host, since their responses are useless to other web pages.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str], exempt: Collection[str] = ()) -> None:
        self._app = app
        self._allowed = frozenset(host_name(name) or name.lower().strip("[]") for name in allowed)
        self._exempt = exempt
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, or reject the request."""
        if scope["type"] != "http" or scope["path"] in self._exempt:
            await self._app(scope, receive, send)
            return
        hosts = [value for key, value in scope["headers"] if key == b"host"]
        if len(hosts) == 1 and (hosts[0] in self._known or self._admits(hosts[0])):
            await self._app(scope, receive, send)
            return
        name = host_name(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if name is None:
            answer = error_response(400, "the request needs one Host header with a name in it")
        else:
            message = (
                f"this server does not answer for {name}; start it with --allowed-host {name} if it should"
            )
            answer = error_response(421, message)
        await answer(scope, receive, send)

    def _admits(self, host: bytes) -> bool:
        name = host_name(host.decode("latin-1"))
        if name is None or not (name in self._allowed or is_loopback(name)):
            return False
        if len(self._known) < 64:
            self._known.add(host)
        return True


def host_name(host: str) -> str | None:
    """Return the name or address in a ``Host`` header in lower case, or None if it has none."""
    match = _HOST.fullmatch(host.lower())
    return match.group(1).strip("[]").removesuffix(".") if match else None
