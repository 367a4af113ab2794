"""Answers that are not content: JSON documents, errors, long lists, and what answers in place of a handler.

The middleware is plain ASGI: each of it costs a function call a request.
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
"""Where the scope of a request may have a list, to be told who sent it."""

REQUEST_ID = "rinofs.request_id"
"""Where the scope of a request may have the id, in bytes, that the logs name it by."""

T = TypeVar("T")

_log = logging.getLogger("rinofs.server")

JSON = "application/json"


def json_response(data: object, status: int = 200, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with a JSON document.

    Parameters
    ----------
    data : object
        What `orjson` can write; an ``orjson.Fragment`` goes in as it is.
    status : int
        The HTTP status.
    headers : mapping of str, optional
        Further headers.
    """
    return Response(orjson.dumps(data), status, headers, JSON)


def error_response(status: int, message: str, headers: Mapping[str, str] | None = None) -> Response:
    """Answer with an error, in the shape that the Rinocloud API gives it.

    Parameters
    ----------
    status : int
        The HTTP status; the message of a 401 is found as ``detail``, every other as ``error``.
    message : str
        What happened, and which field it is about. It never holds a secret.
    headers : mapping of str, optional
        Further headers.
    """
    return json_response({"detail" if status == 401 else "error": message}, status, headers)


def stream_json_list(
    pages: Iterator[Sequence[object]],
    *,
    run: Callable[[Callable[[], T]], Awaitable[T]] = to_thread.run_sync,
    key: str = "result",
    rest: Mapping[str, object] | None = None,
) -> JsonList:
    """Answer with a list of any length, holding one page of it in memory.

    Parameters
    ----------
    pages : iterator of sequences
        The items, page by page. The pages are asked for in a worker thread, one after the other. What the
        iterator raises before its second page becomes an ordinary error; later it ends the connection.
    run : callable
        Calls what blocks in a worker thread.
    key : str
        The key in the answer below which the list is found.
    rest : mapping, optional
        Further keys of the answer.
    """
    return JsonList(pages, run, key, rest or {})


class JsonList(Response):
    """A JSON object around a list that is written page by page."""

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
        """Send the answer; one that fits into a page is sent in one piece, with its length."""
        # What is sent is held by nobody else: a client that does not read it keeps it long enough.
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
        # An empty page says nothing; only the end of the iterator ends the list.
        for page in self._pages:
            if page:
                return orjson.dumps(list(page))[1:-1]
        return b""


def _body(data: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": more}


class AnswerHeaders:
    """Put the same headers on every answer below a path.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    headers : mapping of str
        The headers.
    below : str
        What the paths begin with.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str], below: str = "/") -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._below = below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back with the headers."""

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        concerned = scope["type"] == "http" and scope["path"].startswith(self._below)
        await self._app(scope, receive, stamped if concerned else send)


class AnswerFailures:
    """Answer with a plain 500 where the server itself fails, and write down why.

    Parameters
    ----------
    app : ASGIApp
        What answers otherwise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if scope["type"] != "http" or started:
                raise  # half an answer can only be ended by ending the connection
            _log.exception("%s %s failed", scope["method"], scope["path"])
            name = f" (request {scope[REQUEST_ID].decode()})" if REQUEST_ID in scope else ""
            await error_response(500, f"the server failed; its log says why{name}")(scope, receive, send)


_SLASHES = re.compile("/{2,}")


class MergeSlashes:
    """Take doubled slashes for one, where a path begins with certain others then.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    below : tuple of str
        What the paths begin with for which that is done.
    """

    def __init__(self, app: ASGIApp, below: tuple[str, ...]) -> None:
        self._app = app
        self._below = below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] == "http" and "//" in scope["path"]:
            path = _SLASHES.sub("/", scope["path"])
            if path.startswith(self._below):
                scope = {**scope, "path": path, "raw_path": path.encode()}
        await self._app(scope, receive, send)


_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?", re.ASCII)


class HostGuard:
    """Refuse requests to other names than the server's with 421, and those without one with 400.

    Parameters
    ----------
    app : ASGIApp
        What answers the others.
    allowed : collection of str
        Names and addresses beside those of the loopback interface; a port in them says nothing.
    exempt : collection of str
        Paths that may be asked for under any name: they tell nothing that a foreign page could use.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str], exempt: Collection[str] = ()) -> None:
        self._app = app
        self._allowed = frozenset(host_name(name) or name.lower().strip("[]") for name in allowed)
        self._exempt = exempt
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
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
    """Return the name or address in a ``Host`` header, in lower case, or None where it holds none."""
    match = _HOST.fullmatch(host.lower())
    return match.group(1).strip("[]").removesuffix(".") if match else None
