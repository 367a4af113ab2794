"""Record a server's requests, and inject faults."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, TypeAlias

from rinofs.server.web.connections import EXTENSION, GuardedProtocol, guarded_protocol

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rinofs.server.settings import ServerSettings

__all__ = ["Fault", "Faults", "Recorder", "SeenRequest", "droppable_protocol"]

_PIECE = 1024 * 1024

_DROP = "rinofs.drop"  # key in an ASGI scope: function that ends the connection


@dataclass(frozen=True, slots=True)
class SeenRequest:
    """A request that was answered.

    Attributes
    ----------
    method, path, query : str
        Request line; the path decoded, the query percent-encoded.
    status : int
        Status of the response; 0 if there was none.
    headers_in : mapping of str
        Headers of the request, by lower-case name.
    bytes_in, bytes_out : int
        Bytes read and sent of the two bodies.
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
    """A fault to inject into a request.

    Attributes
    ----------
    delay : float
        Seconds to wait first.
    status : int or None
        Status of an artificial response; None to carry out the request.
    headers : mapping of str
        Headers of the artificial response.
    body : bytes
        Body of the artificial response.
    cut_after : int or None
        Bytes of the response's body after which the connection is closed.
    lose_answer : bool
        Whether to close the connection instead of sending the response. The request is carried out anyway.
    """

    delay: float = 0.0
    status: int | None = None
    headers: Mapping[str, str] = field(default_factory=dict)
    body: bytes = b""
    cut_after: int | None = None
    lose_answer: bool = False


Faults: TypeAlias = Callable[[str, str], Fault | None]
"""Takes method and path of a request, and returns the fault to inject, if any."""


def droppable_protocol(settings: ServerSettings) -> type[GuardedProtocol]:
    """Return the server's protocol class, extended so that faults can close connections."""
    return guarded_protocol(settings, _DroppableProtocol)


class _DroppableProtocol(GuardedProtocol):
    def on_message_begin(self) -> None:
        super().on_message_begin()
        scope: dict[str, Any] = self.scope  # type: ignore[assignment]
        scope[_DROP] = self.transport.close


def _in_pieces(message: Message) -> Iterator[Message]:
    """Split messages that send a file, since sent bytes are counted by message."""
    ends, more_body = message["offset"] + message["count"], message["more_body"]
    for offset in range(message["offset"], ends, _PIECE):
        count = min(ends - offset, _PIECE)
        yield {**message, "offset": offset, "count": count, "more_body": more_body or offset + count < ends}


def _length(message: Message) -> int:
    """Return the number of body bytes in a message."""
    length: int = message["count"] if message["type"] == EXTENSION else len(message.get("body", b""))
    return length


class Recorder:
    """ASGI middleware that records requests and injects faults.

    Parameters
    ----------
    app : ASGIApp
        Application.

    Attributes
    ----------
    requests : list of SeenRequest
        Answered requests. A request is added before the client receives the last byte of its response.
    faults : callable or None
        Injects faults; see `Faults`.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app
        self.requests: list[SeenRequest] = []
        self.faults: Faults | None = None

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Handle a request."""
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
    """One request and its response."""

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
