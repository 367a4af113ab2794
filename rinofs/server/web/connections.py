"""Connections to clients, built on the internals of uvicorn's HTTP/1.1 protocol.

uvicorn ends a connection that rests between two requests, and no other: one that never sends a
request, stops in the middle of it, or never takes the answer, would hold its socket and buffers for ever.
`GuardedProtocol` closes those. `Connections` bounds their number, and the memory of answers that are not
taken. `ZeroCopy` lets the kernel send files, from the page cache to the socket; it
is the ASGI extension ``http.response.zerocopysend``, which uvicorn leaves to others.
"""

from __future__ import annotations

import asyncio
import errno
import ipaddress
import os
import resource
import select
import socket
import struct
import time
from collections import Counter
from typing import TYPE_CHECKING, Any

import orjson
from anyio import to_thread
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from rinofs.server.budgets import CLIENT_ADDRESS, CLIENT_GONE

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rinofs.server.settings import ServerSettings

__all__ = ["EXTENSION", "Connections", "GuardedProtocol", "ZeroCopy", "guarded_protocol", "network_of"]

HALF_CLOSED = 1.0
"""Seconds that an answer may still take once the client has ended its side: nearly all of those have left."""

MOST_PIPELINED = 4
"""Requests that wait on a connection for the answer to the one before; hardly any client sends ahead."""

_AT_ONCE = struct.pack("ii", 1, 0)  # linger for no time


class HeadersTooLargeError(Exception):
    """The headers of a request are longer than the server reads."""


class PipelineTooLongError(Exception):
    """Too many requests were sent ahead."""


def guarded_protocol(
    settings: ServerSettings, base: type[GuardedProtocol] | None = None
) -> type[GuardedProtocol]:
    """Return the protocol class, for ``uvicorn.Config(http=...)``, that holds clients to the settings.

    Parameters
    ----------
    settings : ServerSettings
        Where the deadlines and limits come from.
    base : type, optional
        The class to derive it from; `GuardedProtocol` by default.
    """
    bounds = Connections(settings.max_connections, settings.max_unsent_bytes)
    base = base or GuardedProtocol
    return type(base.__name__, (base,), {"settings": settings, "all_connections": bounds})


OTHER_FILES = 200
"""File descriptors that are left for other things than connections and what they read or write."""


class Connections:
    """The open connections of a server; used in the thread of the event loop alone.

    Where there are too many, the one that has been idle longest is closed. One address has at most three
    quarters of them, so that it cannot keep others out; a proxy is one address. Where answers that clients
    do not take fill too much memory, the connection that has made no progress for longest is ended.

    Parameters
    ----------
    most : int
        Maximum number; fewer if the process may not open two files for each.
    memory : int
        Maximum number of bytes that wait to be sent.
    """

    def __init__(self, most: int, memory: int) -> None:
        self._wanted = most
        self._memory = memory
        self._open: dict[GuardedProtocol, str] = {}
        self._of_address: Counter[str] = Counter()
        self._idle: dict[GuardedProtocol, None] = {}  # the one that has been idle longest comes first
        self._unsent: dict[GuardedProtocol, int] = {}
        self._held = 0

    def add(self, connection: GuardedProtocol, peer: object) -> bool:
        """Take note of a new connection; tell whether there is room for it."""
        address = network_of(str(peer[0])) if isinstance(peer, tuple) else ""
        most = self._most()
        crowded = self._of_address[address] >= most - most // 4
        if (crowded or len(self._open) >= most) and not self._close_idle(address if crowded else None):
            return False
        self._open[connection] = address
        self._of_address[address] += 1
        self._idle[connection] = None
        return True

    def remove(self, connection: GuardedProtocol) -> None:
        """Take note that a connection is lost; harmless when repeated."""
        address = self._open.pop(connection, None)
        if address is None:
            return
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]
        self._idle.pop(connection, None)
        self.hold(connection, 0)

    def busy(self, connection: GuardedProtocol) -> None:
        """Take note that a request begins."""
        self._idle.pop(connection, None)

    def idle(self, connection: GuardedProtocol) -> None:
        """Take note that a connection waits for its next request."""
        if connection in self._open:
            self._idle[connection] = None

    def hold(self, connection: GuardedProtocol, size: int) -> None:
        """Take note of the bytes that wait on a connection, and end others if they are too many."""
        self._held += size - self._unsent.pop(connection, 0)
        if size:
            self._unsent[connection] = size
        while self._held > self._memory and len(self._unsent) > 1:
            slowest = min(self._unsent, key=lambda one: one.taken_at)
            self.remove(slowest)
            slowest.end()

    def _close_idle(self, address: str | None) -> bool:
        for connection in self._idle:
            if address is None or self._open[connection] == address:
                self.remove(connection)
                connection.end()
                return True
        return False

    def _most(self) -> int:
        files, _ = resource.getrlimit(resource.RLIMIT_NOFILE)
        if files == resource.RLIM_INFINITY:
            return self._wanted
        return max(4, min(self._wanted, (files - OTHER_FILES) // 2))


def network_of(address: str) -> str:
    """Return what an address is counted by: of IPv6, the network of one customer, which is a /64."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:255]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with a deadline on everything that a client has to do.

    A timer looks at the connection a few times within the shortest deadline; requests only leave marks for
    it, so that they cost no timers of their own.
    """

    settings: ServerSettings
    all_connections: Connections

    def __init__(self, *args: Any, **kwargs: Any) -> None:
        super().__init__(*args, **kwargs)
        self._answer = ZeroCopy(self.app, self._wait_for)
        self.app = self._watched
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
        self._beside_body = 0  # bytes since the last one of a body: of trailers, or of the framing of chunks
        self._seen_bytes = 0
        self._seen_at = 0.0  # when a byte of the body was last seen to have come
        self._window_at = 0.0
        self._window_bytes = 0
        self._sending = 0  # bytes of a file that the kernel sends past the transport
        self._unsent = 0
        self._ended_at: float | None = None  # when the client ended its side
        self.taken_at = 0.0  # when the client last took something of what waits for it

    # What the connection and the parser report

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start to watch."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        self._timer = self.loop.call_later(self._interval, self._check_deadlines)
        if not self.all_connections.add(self, transport.get_extra_info("peername")):
            self._refuse(503, "too many connections; try again", b"retry-after: 1\r\n")

    def pause_writing(self) -> None:
        """Take note of an answer that the client does not take as fast as it comes."""
        super().pause_writing()
        self.taken_at = self.loop.time()
        self.all_connections.hold(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Take note that the client has taken most of an answer."""
        super().resume_writing()
        self.all_connections.hold(self, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.all_connections.remove(self)
        super().connection_lost(exc)

    def data_received(self, data: bytes) -> None:
        """Take bytes in, but no more of headers than allowed."""
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.settings.max_header_bytes + len(data):
                self._too_large = True
                self.send_400_response("")
                return
        if not self._in_body:
            super().data_received(data)
            return
        before = self._body_bytes
        super().data_received(data)
        self._beside_body = self._beside_body + len(data) if self._body_bytes == before else 0
        if self._in_body and self._beside_body > self.settings.max_header_bytes:
            self._too_large = True
            self.send_400_response("")

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
            self._ended_at = self.loop.time()
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
        if len(self.pipeline) >= MOST_PIPELINED:
            raise PipelineTooLongError  # what is ahead is answered, and then the connection ends
        self._in_body = True
        self.all_connections.busy(self)
        self._body_bytes = self._beside_body = self._seen_bytes = self._window_bytes = 0
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
        if self.cycle.response_complete:
            self.all_connections.idle(self)

    def send_400_response(self, msg: str) -> None:
        """Refuse what is not HTTP, or too much of it, and close; amid an answer, close after it."""
        if self._answering() and not self._in_body:
            self.cycle.keep_alive = False
            return
        status, message = 400, msg.rstrip(".")
        if self._too_large:
            status = 431
            message = f"the headers are longer than {self.settings.max_header_bytes} bytes"
        self._refuse(status, message)

    def _refuse(self, status: int, message: str, headers: bytes = b"") -> None:
        body = orjson.dumps({"error": message})
        head = headers + (
            b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        defaults = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        self.transport.write(STATUS_LINE[status] + defaults + head + body)
        self.transport.close()

    def _answering(self) -> bool:
        if self.cycle is None or self.cycle.response_complete:
            return False
        return self.cycle.response_started or bool(self.pipeline)

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        CLIENT_GONE.set(self._gone)
        CLIENT_ADDRESS.set(scope["client"][0] if scope["client"] else None)
        await self._answer(scope, receive, send)

    def _gone(self) -> bool:
        """Tell, in any thread, whether nobody waits for answers on this connection any more."""
        if self._timer is None or self.transport.is_closing():
            return True
        return self._ended_at is not None and self.loop.time() - self._ended_at > HALF_CLOSED

    def _wait_for(self, count: int) -> None:
        self._sending = count

    # What the timer does

    def _check_deadlines(self) -> None:
        now = self.loop.time()
        if self._late(now):
            self._timer = None
            self.end()
            return
        self._timer = self.loop.call_later(self._interval, self._check_deadlines)

    def end(self) -> None:
        """Close the connection, whatever its client does."""
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
            self.taken_at = now
        return now - self.taken_at > self.settings.write_timeout

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


EXTENSION = "http.response.zerocopysend"
"""The type of the messages, and the name under which a scope says that they are understood."""

POLL_MS = 2  # milliseconds for which a thread waits for a client that is about to take more
MAX_HOLD = 0.05  # seconds after which a thread is left to others where the client makes it wait
RECHECK = 0.25  # seconds after which one looks whether a client that takes nothing is still there

# What systems say of files that they can only copy.
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOVERFLOW})


class ZeroCopy:
    """Put the extension around an application.

    Parameters
    ----------
    app : ASGIApp
        The application.
    waiting : callable
        Is told how many bytes the client has still to take of what the kernel sends, whenever that changes.
    """

    def __init__(self, app: ASGIApp, waiting: Callable[[int], object]) -> None:
        self._app = app
        self._waiting = waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, with the extension where connection and system allow it."""
        cycle = getattr(send, "__self__", None)
        if scope["type"] != "http" or not isinstance(cycle, RequestResponseCycle) or not _possible(cycle):
            await self._app(scope, receive, send)
            return

        async def sending(message: Message) -> None:
            if message["type"] == EXTENSION:
                await self._send(cycle, message)
            else:
                await send(message)

        scope["extensions"] = {**scope.get("extensions", {}), EXTENSION: {}}
        await self._app(scope, receive, sending)

    async def _send(self, cycle: RequestResponseCycle, message: Message) -> None:
        count = message["count"]
        if count > cycle.expected_content_length:
            raise RuntimeError("the file is longer than the announced response")
        await _written(cycle)
        try:
            # A descriptor of its own: the transport may close its one while the kernel is at work.
            with socket.socket(fileno=os.dup(cycle.transport.get_extra_info("socket").fileno())) as out:
                await self._push(cycle, out, message["file"], message["offset"], count)
        except ConnectionError:
            # What the event loop does a moment later anyway.
            cycle.disconnected = True
            cycle.message_event.set()
            cycle.transport.abort()
            raise
        finally:
            self._waiting(0)
        cycle.expected_content_length -= count
        more_body = message.get("more_body", False)
        await cycle.send({"type": "http.response.body", "body": b"", "more_body": more_body})

    async def _push(
        self, cycle: RequestResponseCycle, out: socket.socket, file: int, offset: int, left: int
    ) -> None:
        while left:
            _check(cycle)
            self._waiting(left)
            sent = await _shielded(to_thread.run_sync(_give, out, file, offset, left))
            offset, left = offset + sent, left - sent
            if left:
                await _writable(out)


def _possible(cycle: RequestResponseCycle) -> bool:
    encrypted = cycle.transport.get_extra_info("sslcontext") is not None
    return hasattr(os, "sendfile") and not encrypted and cycle.scope["method"] != "HEAD"


async def _written(cycle: RequestResponseCycle) -> None:
    """Wait until what came before the file has left the transport's own buffer."""
    pause = 0.0
    _check(cycle)
    while cycle.transport.get_write_buffer_size():
        await asyncio.sleep(pause)
        _check(cycle)
        pause = min(pause + 0.001, RECHECK)


def _check(cycle: RequestResponseCycle) -> None:
    # Only the last of several requests on a connection is told that it is lost.
    if cycle.disconnected or cycle.transport.is_closing():
        raise BrokenPipeError(errno.EPIPE, "the client is gone")


async def _shielded(work: Coroutine[object, object, int]) -> int:
    """Wait for a thread, also when cancelled: what it works with must not be closed before it is done."""
    task = asyncio.ensure_future(work)
    try:
        await asyncio.wait([task])
    finally:
        if not task.done():
            await asyncio.wait([task])
    return task.result()


async def _writable(out: socket.socket) -> None:
    loop = asyncio.get_running_loop()
    ready = asyncio.Event()
    loop.add_writer(out, ready.set)
    try:
        async with asyncio.timeout(RECHECK):
            await ready.wait()
    except TimeoutError:
        pass
    finally:
        loop.remove_writer(out)


def _give(out: socket.socket, file: int, offset: int, count: int) -> int:
    """Give the kernel what the socket takes of a file, and return how many bytes it took."""
    ends = time.monotonic() + MAX_HOLD
    given = 0
    while given < count:
        try:
            sent = _give_once(out, file, offset + given, count - given)
        except BlockingIOError:
            poll = select.poll()
            poll.register(out, select.POLLOUT)
            if time.monotonic() > ends or not poll.poll(POLL_MS):
                break
            continue
        if not sent:
            raise EOFError(f"the file ends at byte {offset + given}")
        given += sent
    return given


def _give_once(out: socket.socket, file: int, offset: int, count: int) -> int:
    try:
        return os.sendfile(out.fileno(), file, offset, count)
    except OSError as error:
        if error.errno not in _CANNOT:
            raise
    data = os.pread(file, min(count, 1 << 20), offset)
    return out.send(data) if data else 0
