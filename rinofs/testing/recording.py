"""Seeing what a server is asked, and having it fail."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from rinofs.server.web.connections import EXTENSION, GuardedProtocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rinofs.server.settings import ServerSettings

__all__ = ["Fault", "Faults", "Recorder", "SeenRequest", "droppable_protocol"]

_PIECE = 1024 * 1024

_DROP = "rinofs.drop"  # key in the scope of a request: what ends its connection


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request that was answered.

    Attributes
    ----------
    method, path, query : str
        What was asked; the path without its percent-encoding, the query with it.
    status : int
        Of the answer; 0 if there was none.
    headers_in : mapping of str
        The headers of the request, names in lower case.
    bytes_in, bytes_out : int
        Bytes of the bodies of request and answer, as far as they were read and sent.
    """

    method: str
    path: str
    query: str
    status: int
    headers_in: Mapping[str, str] = field(repr=False)
    bytes_in: int
    bytes_out: int


@dataclass(frozen=True, slots=True)
class Fault:
    """What goes wrong with a request.

    Attributes
    ----------
    delay : float
        Seconds to wait before anything else.
    status : int or None
        The status of a made-up answer; None to carry the request out.
    headers : mapping of str
        Headers of the made-up answer.
    body : bytes
        Its body.
    cut_after : int or None
        Bytes of the answer's body after which the connection ends.
    lose_answer : bool
        End the connection in place of the answer. The request is carried out all the same.
    """

    delay: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None
    lose_answer: bool = False


Faults: TypeAlias = Callable[[str, str], Fault | None]
"""Takes the method and the path of a request, and says what goes wrong with it, if anything."""


def droppable_protocol(settings: ServerSettings) -> type[GuardedProtocol]:
    """Return the server's protocol class, in a form that lets faults end connections."""
    return type("DroppableProtocol", (_DroppableProtocol,), {"settings": settings})


class _DroppableProtocol(GuardedProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope[_DROP] = self.transport.close


def _in_pieces(message: Message) -> Iterator[Message]:
    """Cut what is to be sent of a file, since what is counted is what was asked to be sent."""
    ends, more_body = message["offset"] + message["count"], message["more_body"]
    for offset in range(message["offset"], ends, _PIECE):
        count = min(ends - offset, _PIECE)
        yield {**message, "offset": offset, "count": count, "more_body": more_body or offset + count < ends}


def _length(message: Message) -> int:
    """Return the bytes of an answer's body in a message."""
    length: int = message["count"] if message["type"] == EXTENSION else len(message.get("body", b""))
    return length


class Recorder:
    """Stand before an application, note what it is asked, and put faults in its way.

    Parameters
    ----------
    app : ASGIApp
        The application.

    Attributes
    ----------
    requests : list of SeenRequest
        What was answered so far. A request is in it before the client has the last byte of its answer.
    faults : callable or None
        What goes wrong; see `Faults`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests: list[SeenRequest] = []
        self.faults: Faults | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        faults = self.faults
        fault = (faults(scope["method"], scope["path"]) if faults else None) or Fault()
        if fault.delay:
            await asyncio.sleep(fault.delay)
        exchange = _Exchange(scope, receive, send, fault, self.requests)
        try:
            if fault.status is None:
                await self._app(scope, exchange.receive, exchange.send)
            else:
                await exchange.make_up()
        finally:
            exchange.note()


class _Exchange:
    """One request and its answer."""

    def __init__(
        self, scope: Scope, receive: Receive, send: Send, fault: Fault, requests: list[SeenRequest]
    ) -> None:
        self._scope = scope
        self._receive = receive
        self._send = send
        self._fault = fault
        self._requests = requests
        self._status = 0
        self._bytes_in = 0
        self._bytes_out = 0
        self._noted = False
        self._dropped = False

    async def receive(self) -> Message:
        message = await self._receive()
        self._bytes_in += len(message.get("body", b""))
        return message

    async def send(self, message: Message) -> None:
        if message["type"] == EXTENSION:
            for part in _in_pieces(message):
                await self._send_one(part)
        else:
            await self._send_one(message)

    async def _send_one(self, message: Message) -> None:
        if self._dropped:
            return
        if self._fault.lose_answer:
            if not message.get("more_body", message["type"] == "http.response.start"):
                self._drop()
            return
        if message["type"] == "http.response.start":
            self._status = message["status"]
        else:
            message = self._shortened(message)
            self._bytes_out += _length(message)
            if not message.get("more_body", False):
                self.note()
        await self._send(message)
        if self._bytes_out == self._fault.cut_after:
            self._drop()

    def _shortened(self, message: Message) -> Message:
        limit = self._fault.cut_after
        if limit is None or self._bytes_out + _length(message) < limit:
            return message
        left = limit - self._bytes_out
        part = {"count": left} if message["type"] == EXTENSION else {"body": message.get("body", b"")[:left]}
        return {**message, **part, "more_body": True}

    def _drop(self) -> None:
        self._dropped = True
        self.note()
        self._scope[_DROP]()

    async def make_up(self) -> None:
        while (await self.receive()).get("more_body", False):
            pass
        headers = {"content-length": str(len(self._fault.body)), **self._fault.headers}
        raw = [(name.lower().encode(), value.encode()) for name, value in headers.items()]
        await self.send({"type": "http.response.start", "status": self._fault.status, "headers": raw})
        await self.send({"type": "http.response.body", "body": self._fault.body, "more_body": False})

    def note(self) -> None:
        if self._noted:
            return
        self._noted = True
        headers = {key.decode("latin-1"): value.decode("latin-1") for key, value in self._scope["headers"]}
        seen = SeenRequest(
            self._scope["method"],
            self._scope["path"],
            self._scope["query_string"].decode("latin-1"),
            self._status,
            headers,
            self._bytes_in,
            self._bytes_out,
        )
        self._requests.append(seen)
