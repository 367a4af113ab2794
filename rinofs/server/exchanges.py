"""Requests and their answers, as the logs and the metrics see them: who, what, how much, how long.

`Observed` stands in front of the whole application and gives each request the id by which logs, answer and
error messages name it. What becomes of a request is told, once it is answered, to those who want to know. All
of this is done for every request, so that a microsecond counts.
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
"""Names a request: as the client, or a proxy, calls it, or else by a name that no other request has."""

_GOOD_ID = re.compile(rb"(?!.*rino_)[A-Za-z0-9._-]{1,64}")  # not a token of this server
_PROCESS, _NUMBERS = (
    os.urandom(8).hex().encode(),
    count(1),
)  # asking the system for each id takes longer than the rest
_EXCHANGE = "rinofs.exchange"


class Exchange:
    """A request, and what has become of it.

    Attributes
    ----------
    name : bytes
        What it is named by.
    method, path : str
        What was asked for.
    user : list of str
        Who sent it, if that is known.
    route : str or None
        The template of its path, such as ``/api/1/files/download/``; None for a path that does not exist, and
        where `Observed.note_routes` was not called.
    status : int or None
        The status of its answer; None if there was none.
    received, sent : int
        Bytes of the bodies.
    began : float
        When it began, by `time.monotonic`.
    seconds : float
        How long it took, once it is over.
    innermost : mapping or None
        The scope of the innermost layer, while it is being answered.
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
        """Take note that it is over."""
        self.seconds = time.monotonic() - self.began
        if self.innermost is not None:
            self.route = getattr(self.innermost.get("route"), "path", None)
            # It refers to this: a circle, which the garbage collector would have to find.
            self.innermost = None


@dataclass(slots=True)
class UnderWay:
    """What is being answered; changed in the thread of the event loop alone.

    Attributes
    ----------
    requests : int
        Requests that are not answered yet.
    bodies : int
        Those of them whose body is being received.
    """

    requests: int = 0
    bodies: int = 0


class Observed:
    """An application whose requests are named and observed.

    Parameters
    ----------
    app : Starlette
        What answers; not started yet.

    Attributes
    ----------
    observers : list of callable
        Are called with each `Exchange` once it has ended; they must not block.
    under_way : UnderWay
        What is being answered now.
    """

    def __init__(self, app: Starlette) -> None:
        self._app = app
        self.observers: list[Callable[[Exchange], object]] = []
        self.under_way = UnderWay()

    def note_routes(self) -> None:
        """Have `Exchange.route` filled in."""
        # By the innermost layer, since only there is known which route was taken.
        self._app.user_middleware.append(Middleware(_RouteNoted))

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        """Answer, and tell the observers."""
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
    """Return what its client calls a request, if it does, or else a name that no other request has."""
    for name, value in scope["headers"]:
        if name == ID_HEADER and _GOOD_ID.fullmatch(value):
            return bytes(value)
    return b"%b-%x" % (_PROCESS, next(_NUMBERS))


class _RouteNoted:
    """Lets an exchange have the scope in which the route is put down."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    def __call__(self, scope: Scope, receive: Receive, send: Send) -> Awaitable[None]:
        if scope["type"] == "http":
            scope[_EXCHANGE].innermost = scope
        return self._app(scope, receive, send)
