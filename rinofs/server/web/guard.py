"""Closing connections that keep the server waiting.

uvicorn ends a connection that rests between two requests, and no other: one that never sends a
request, stops in the middle of it, or never takes the answer, would hold its socket and buffers for ever.
"""

from __future__ import annotations

import socket
import struct
from typing import TYPE_CHECKING, Any

import orjson
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol

from rinofs.server.web.zero_copy import ZeroCopy

if TYPE_CHECKING:
    import asyncio

    from rinofs.server.settings import ServerSettings

__all__ = ["GuardedProtocol", "guarded_protocol"]

_AT_ONCE = struct.pack("ii", 1, 0)  # linger for no time


class HeadersTooLargeError(Exception):
    """The headers of a request are longer than the server reads."""


def guarded_protocol(settings: ServerSettings) -> type[GuardedProtocol]:
    """Return the protocol class, for ``uvicorn.Config(http=...)``, that holds clients to the settings.

    Parameters
    ----------
    settings : ServerSettings
        Where the deadlines and limits come from.
    """
    return type("GuardedProtocol", (GuardedProtocol,), {"settings": settings})


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with a deadline on everything that a client has to do.

    A timer looks at the connection a few times within the shortest deadline; requests only leave marks for
    it, so that they cost no timers of their own.
    """

    settings: ServerSettings

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self.app = ZeroCopy(self.app, self._wait_for)
        limits = self.settings
        self._interval = min(
            1.0,
            limits.header_timeout / 4,
            limits.body_timeout / 4,
            limits.write_timeout / 4,
            limits.idle_timeout / 4,
        )
        self._timer: asyncio.TimerHandle | None = None
        self._too_large = False
        self._in_head = False  # a request line or header is being received
        self._in_body = False
        self._head_bytes = 0
        self._served = False  # a request was answered on this connection
        self._waiting_since = 0.0  # for the headers, or for the next request
        self._body_bytes = 0
        self._seen_bytes = 0
        self._seen_at = 0.0  # when a byte of the body was last seen to have come
        self._window_at = 0.0
        self._window_bytes = 0
        self._sending = 0  # bytes of a file that the kernel sends past the transport
        self._unsent = 0
        self._taken_at = 0.0  # when the client last took something of what waits for it

    # What the connection and the parser report

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to watch."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        self._timer = self.loop.call_later(self._interval, self._look)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in, but no more of headers than allowed."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.settings.max_header_bytes + len(data):
                self._too_large = True
                self.send_400_response("")
                return
        super().data_received(data)

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Answer a client that ends its side: there is something to say until the answer is sent."""
        if self._in_body and not self.cycle.response_started:
            self.send_400_response(
                f"The body ended after {self._body_bytes} bytes, before its announced end."
            )
            self.cycle.disconnected = True
            self.cycle.message_event.set()
            return True
        if self.cycle is not None and not self.cycle.response_complete and not self._in_body:
            self.cycle.keep_alive = False
            return True
        return None

    def on_message_begin(self) -> None:
        """Note that a request begins."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._waiting_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Note that the body begins."""
        length = sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url)
        if length > self.settings.max_header_bytes:
            self._too_large = True
            raise HeadersTooLargeError
        self._in_head = False
        self._in_body = True
        self._body_bytes = self._seen_bytes = self._window_bytes = 0
        self._seen_at = self._window_at = self.loop.time()
        super().on_headers_complete()

    def on_body(self, body: bytes) -> None:
        """Count what comes."""
        self._body_bytes += len(body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Note that the request is complete."""
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Note that the connection rests from now on."""
        self._served = True
        self._waiting_since = self.loop.time()
        super().on_response_complete()

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or too much of it, and close; amid an answer, close after it."""
        if self._answering() and not self._in_body:
            self.cycle.keep_alive = False
            return
        status, message = 400, msg.rstrip(".")
        if self._too_large:
            status = 431
            message = f"the headers are longer than {self.settings.max_header_bytes} bytes"
        body = orjson.dumps({"error": message})
        head = b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(
            body
        )
        defaults = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        self.transport.write(STATUS_LINE[status] + defaults + head + body)
        self.transport.close()

    def _answering(self) -> bool:
        if self.cycle is None or self.cycle.response_complete:
            return False
        return self.cycle.response_started or bool(self.pipeline)

    def _wait_for(self, count: int) -> None:
        self._sending = count

    # What the timer does

    def _look(self) -> None:
        now = self.loop.time()
        if self._late(now):
            self._timer = None
            self._end()
            return
        self._timer = self.loop.call_later(self._interval, self._look)

    def _end(self) -> None:
        if self._left() == 0:
            self.transport.close()
            return
        # That would have the process, and then the kernel, wait for the client to take what it refuses to.
        self.transport.get_extra_info("socket").setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, _AT_ONCE)
        self.transport.abort()

    def _late(self, now: float) -> bool:
        if self._answer_stalls(now):
            return True
        if self._in_body:
            return self._body_stalls(now)
        if self._in_head or not self._served:
            resting = self.cycle is None or self.cycle.response_complete or self._in_head
            return resting and now - self._waiting_since > self.settings.header_timeout
        return self.cycle.response_complete and now - self._waiting_since > self.settings.idle_timeout

    def _answer_stalls(self, now: float) -> bool:
        unsent = self._left()
        if unsent == 0 or unsent != self._unsent:
            self._unsent = unsent
            self._taken_at = now
        return now - self._taken_at > self.settings.write_timeout

    def _left(self) -> int:
        return self.transport.get_write_buffer_size() + self._sending

    def _body_stalls(self, now: float) -> bool:
        if self.flow.read_paused or self.cycle.waiting_for_100_continue:
            # The server is the one that does not read: the time it takes is not held against the client.
            self._seen_at = self._window_at = now
            self._window_bytes = self._body_bytes
            return False
        if self._body_bytes != self._seen_bytes:
            self._seen_bytes = self._body_bytes
            self._seen_at = now
        if now - self._window_at > self.settings.body_timeout:
            rate = (self._body_bytes - self._window_bytes) / (now - self._window_at)
            self._window_at = now
            self._window_bytes = self._body_bytes
            return rate < self.settings.body_min_rate
        return now - self._seen_at > self.settings.body_timeout
