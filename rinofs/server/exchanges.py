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
_PROCESS, _NUMBERS = os.urandom(8).hex(), count(1)  # asking the system for each id takes longer than the rest
_EXCHANGE = "rinofs.exchange"


class Exchange:
    """A request, and what has become of it.

    Attributes
    ----------
    id : str
        What it is named by.
    scope : mapping
        What ASGI says of it.
    user : list of str
        Who sent it, if that is known.
    route : str or None
        The template of its path, such as ``/api/1/files/download/``; None for a path that does not exist.
    status : int or None
        The status of its answer; None if there was none.
    received, sent : int
        Bytes of the bodies.
    began : float
        When it began, by `time.monotonic`.
    """

    __slots__ = ("began", "id", "received", "route", "scope", "sent", "status", "user")

    def __init__(self, scope: Scope) -> None:
        self.began = time.monotonic()
        self.scope = scope
        self.user: list[str] = []
        self.route: str | None = None
        self.status: int | None = None
        self.received = self.sent = 0
        for name, value in scope["headers"]:
            if name == ID_HEADER and _GOOD_ID.fullmatch(value):
                self.id = value.decode("ascii")
                return
        self.id = f"{_PROCESS}-{next(_NUMBERS):x}"

    @property
    def seconds(self) -> float:
        """How long it has taken so far."""
        return time.monotonic() - self.began


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
        # The innermost, since only there is known which route was taken.
        app.user_middleware.append(Middleware(_RouteNoted))
        self._app = app
        self.observers: list[Callable[[Exchange], object]] = []
        self.under_way = UnderWay()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and tell the observers."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        exchange = Exchange(scope)
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
                message["headers"] = [*message["headers"], (ID_HEADER, exchange.id.encode())]
            else:
                exchange.sent += message["count"] if kind == EXTENSION else len(message.get("body", b""))
            return send(message)

        CURRENT_REQUEST.set(exchange.id)
        scope[REQUEST_ID], scope[SENDER], scope[_EXCHANGE] = exchange.id, exchange.user, exchange
        under_way.requests += 1
        try:
            await self._app(scope, taking, noting)
        finally:
            under_way.requests -= 1
            under_way.bodies -= receiving
            for observe in self.observers:
                observe(exchange)


class _RouteNoted:
    """Tells which route a request took."""

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        try:
            await self._app(scope, receive, send)
        finally:
            if scope["type"] == "http":
                scope[_EXCHANGE].route = getattr(scope.get("route"), "path", None)
