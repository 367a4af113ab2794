"""Requests and their responses, as the logs and metrics see them: who, what, how much, how long.

`Observed` wraps the whole application and gives each request the id that logs, response and error messages
use for it. It notifies observers when a request has ended. All of this runs for every request, so every
microsecond counts.
"""

from __future__ import annotations

import os
import re
import time
from dataclasses import dataclass
from itertools import count
from typing import TYPE_CHECKING, Any

from starlette.middleware import Middleware

from rinofs.server.logs import CURRENT_REQUEST
from rinofs.server.web.connections import EXTENSION
from rinofs.server.web.responses import REQUEST_ID, SENDER

if TYPE_CHECKING:
    from collections.abc import Awaitable, Callable

    from starlette.applications import Starlette
    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["Exchange", "Observed", "UnderWay"]

ID_HEADER = b"x-request-id"
"""Header with the id of a request: the one from the client or a proxy, or else a unique one."""

_GOOD_ID = re.compile(rb"(?!.*rino_)[A-Za-z0-9._-]{1,64}")  # not a token of this server
_PROCESS, _NUMBERS = (
    os.urandom(8).hex().encode(),
    count(1),
)  # random bytes from the system for each id would take longer than the rest
_EXCHANGE = "rinofs.exchange"


class Exchange:
    """A request and its outcome.

    Attributes
    ----------
    name : bytes
        The id of the request.
    method, path : str
        Its method and path.
    user : list of str
        The user who sent it, if known.
    route : str or None
        The template of its path, such as ``/api/1/files/download/``; None for a path that does not exist, or
        if `Observed.note_routes` was not called.
    status : int or None
        HTTP status of the response; None if there was none.
    received, sent : int
        Sizes of the bodies in bytes.
    began : float
        When it began, by `time.monotonic`.
    seconds : float
        How long it took, once it has ended.
    innermost : mapping or None
        The scope of the innermost layer, until the request ends.
    """

    __slots__ = (
        "began",
        "innermost",
        "method",
        "name",
        "path",
        "received",
        "route",
        "seconds",
        "sent",
        "status",
        "user",
    )

    def __init__(self, scope: Scope, name: bytes) -> None:
        self.began = time.monotonic()
        self.seconds = 0.0
        self.name = name
        self.method: str = scope["method"]
        self.path: str = scope["path"]
        self.innermost: Scope | None = None
        self.user: list[str] = []
        self.route: str | None = None
        self.status: int | None = None
        self.received = self.sent = 0

    def end(self) -> None:
        """Record the end of the request."""
        self.seconds = time.monotonic() - self.began
        if self.innermost is not None:
            self.route = getattr(self.innermost.get("route"), "path", None)
            # It refers back to this exchange: a cycle that the garbage collector would have to find.
            self.innermost = None


@dataclass(slots=True)
class UnderWay:
    """Counts of requests in progress. Only the thread of the event loop may change them.

    Attributes
    ----------
    requests : int
        Requests in progress.
    bodies : int
        Those whose body is being received.
    """

    requests: int = 0
    bodies: int = 0


class Observed:
    """An application that gives its requests ids and reports them to observers.

    Parameters
    ----------
    app : Starlette
        The application, not started yet.

    Attributes
    ----------
    observers : list of callable
        Called with each `Exchange` once it has ended; they must not block.
    under_way : UnderWay
        The requests in progress.
    """

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self.observers: list[Callable[[Exchange], object]] = []
        self.under_way = UnderWay()

    def note_routes(self) -> None:
        """Enable `Exchange.route`."""
        # The innermost layer records it, since only that layer knows which route was taken.
        self._app.user_middleware.append(Middleware(_RouteNoted))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Call the application, and notify the observers."""
        if scope["type"] != "http":
            return self._app(scope, receive, send)
        name = _name_of(scope)
        CURRENT_REQUEST.set(name)
        scope[REQUEST_ID] = name
        if self.observers:
            return self._observe(Exchange(scope, name), scope, receive, send)

        def naming(message: Message) -> Awaitable[None]:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], (ID_HEADER, name)]
            return send(message)

        return self._app(scope, receive, naming)

    async def _observe(self, exchange: Exchange, scope: Scope, receive: Receive, send: Send) -> None:
        under_way = self.under_way
        receiving = False

        async def taking() -> Message:
            nonlocal receiving
            message = await receive()
            exchange.received += len(message.get("body", b""))
            more = message.get("more_body", False)
            if more is not receiving:
                receiving = more
                under_way.bodies += 1 if more else -1
            return message

        def noting(message: Any) -> Awaitable[None]:
            kind = message["type"]
            if kind == "http.response.start":
                exchange.status = message["status"]
                message["headers"] = [*message["headers"], (ID_HEADER, exchange.name)]
            else:
                exchange.sent += message["count"] if kind == EXTENSION else len(message.get("body", b""))
            return send(message)

        scope[SENDER], scope[_EXCHANGE] = exchange.user, exchange
        under_way.requests += 1
        try:
            await self._app(scope, taking, noting)
        finally:
            under_way.requests -= 1
            under_way.bodies -= receiving
            exchange.end()
            for observe in self.observers:
                observe(exchange)


def _name_of(scope: Scope) -> bytes:
    """Return the id that the client gave the request, if it is valid, or else a unique one."""
    for name, value in scope["headers"]:
        if name == ID_HEADER and _GOOD_ID.fullmatch(value):
            return bytes(value)
    return b"%b-%x" % (_PROCESS, next(_NUMBERS))


class _RouteNoted:
    """Middleware that gives an exchange the scope in which the router records the route."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            scope[_EXCHANGE].innermost = scope
        return self._app(scope, receive, send)
