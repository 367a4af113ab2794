"""Connections to clients, built on the internals of uvicorn's HTTP/1.1 protocol.

uvicorn only closes connections that are idle between two requests. A client that never sends a request,
stops in the middle of one, or never reads the response would hold its socket and buffers forever.
`GuardedProtocol` closes such connections. `Connections` limits their number, and the memory of unsent
responses. `ZeroCopy` has the kernel send files from the page cache to the socket: the ASGI extension
``http.response.zerocopysend``, which uvicorn does not implement. The three stay in one module, since every
request passes through all of them.
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

import httptools
import orjson
from anyio import to_thread
from uvicorn.protocols.http.flow_control import HIGH_WATER_LIMIT
from uvicorn.protocols.http.httptools_impl import STATUS_LINE, HttpToolsProtocol, RequestResponseCycle

from rinofs.server.budgets import CLIENT_ADDRESS, CLIENT_GONE
from rinofs.server.web.upgrades import new_parser, without_upgrade

if TYPE_CHECKING:
    from collections.abc import Callable, Coroutine, Sequence

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

    from rinofs.server.settings import ServerSettings

__all__ = ["EXTENSION", "Connections", "GuardedProtocol", "ZeroCopy", "guarded_protocol", "network_of"]

HALF_CLOSED = 1.0
"""Seconds that a response may take after the client has closed its side; nearly all such clients are gone."""

MOST_PIPELINED = 4
"""Maximum number of pipelined requests on a connection; hardly any client pipelines."""

MOST_HEADERS = 1000
"""Maximum number of headers of a request: each takes far more memory than its bytes."""

_AT_ONCE = struct.pack("ii", 1, 0)  # SO_LINGER with a timeout of zero: closing resets the connection


class RefusedRequestError(Exception):
    """The server does not accept a request with this head."""


class PipelineTooLongError(Exception):
    """A client pipelined too many requests."""


def guarded_protocol(
    settings: ServerSettings, base: type[GuardedProtocol] | None = None
) -> type[GuardedProtocol]:
    """Return a protocol class for ``uvicorn.Config(http=...)`` that enforces the deadlines and limits.

    Parameters
    ----------
    settings : ServerSettings
        Settings with the deadlines and limits.
    base : type, optional
        Base class; `GuardedProtocol` by default.
    """
    bounds = Connections(settings.max_connections, settings.max_unsent_bytes)
    base = base or GuardedProtocol
    return type(base.__name__, (base,), {"settings": settings, "all_connections": bounds})


OTHER_FILES = 200
"""File descriptors reserved for anything other than connections and the files that they read or write."""


class Connections:
    """The open connections of a server. Not thread-safe: only the thread of the event loop may use it.

    If there are too many connections, the one that has been idle longest is closed. One address can hold at
    most three quarters of them, so that it cannot lock out others; a proxy counts as one address. If unsent
    responses fill too much memory, the connection that has made no progress for longest is closed.

    Parameters
    ----------
    most : int
        Maximum number of connections; fewer if the process cannot open two files for each of them.
    memory : int
        Maximum total size of unsent data in bytes.
    """

    def __init__(self, most: int, memory: int) -> None:
        self._wanted = most
        self._memory = memory
        self._open: dict[GuardedProtocol, str] = {}
        self._of_address: Counter[str] = Counter()
        self._idle: dict[GuardedProtocol, None] = {}  # the longest idle connection first
        self._unsent: dict[GuardedProtocol, int] = {}
        self._held = 0

    def add(self, connection: GuardedProtocol, peer: object) -> bool:
        """Register a new connection; return False if there is no room for it."""
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
        """Unregister a lost connection; calling this again has no effect."""
        address = self._open.pop(connection, None)
        if address is None:
            return
        self._of_address[address] -= 1
        if not self._of_address[address]:
            del self._of_address[address]
        self._idle.pop(connection, None)
        self.hold(connection, 0)

    def busy(self, connection: GuardedProtocol) -> None:
        """Record that a request has started on a connection."""
        self._idle.pop(connection, None)

    def idle(self, connection: GuardedProtocol) -> None:
        """Record that a connection waits for its next request."""
        if connection in self._open:
            self._idle[connection] = None

    def hold(self, connection: GuardedProtocol, size: int) -> None:
        """Record the unsent bytes of a connection, and close the slowest ones if the total is too large."""
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
    """Return the key under which an address counts: for IPv6 its /64 network, which one customer has."""
    try:
        found = ipaddress.ip_address(address.partition("%")[0])
    except ValueError:
        return address[:255]
    if isinstance(found, ipaddress.IPv6Address):
        if found.ipv4_mapped is not None:
            return str(found.ipv4_mapped)
        return str(ipaddress.ip_network((found, 64), strict=False))
    return str(found)


def _refusal_of(method: bytes, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, str] | None:
    """Return the status and message with which to refuse a request whose body is not understood, or None."""
    if method == b"CONNECT":
        return 501, "CONNECT: this server is not a proxy; send the request itself"
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and b",".join(codings).lower().strip(b", \t") != b"chunked":
        return 501, "Transfer-Encoding: the server knows chunked alone; send the body without other codings"
    return None


class GuardedProtocol(HttpToolsProtocol):
    """uvicorn's HTTP/1.1 protocol with a deadline for everything that a client must do.

    A timer checks the connection several times within the shortest deadline. Requests only record
    timestamps for it, so that they need no timers of their own.
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
        self._refusal: tuple[int, str] | None = None  # why a request is refused; None if it is not HTTP
        self._served_head = b""  # of a request to upgrade: the same one without
        self._in_head = False  # a request line or a header is being received
        self._in_body = False
        self._is_last = False  # nothing after the response in progress is read
        self._head_bytes = 0
        self._served = False  # this connection has had a response
        self._waiting_since = 0.0  # start of waiting for the headers or the next request
        self._body_bytes = 0
        self._beside_body = 0  # bytes of trailers or chunk framing since the last byte of a body
        self._seen_bytes = 0
        self._seen_at = 0.0  # when the last bytes of the body arrived
        self._window_at = 0.0
        self._window_bytes = 0
        self._sending = 0  # bytes of a file that the kernel sends, bypassing the transport
        self._unsent = 0
        self._ended_at: float | None = None  # when the client closed its side
        self.taken_at = 0.0  # when the client last read some of the pending data

    # Events of the connection and the parser

    def connection_made(self, transport: asyncio.Transport) -> None:  # type: ignore[override]
        """Start watching the connection."""
        super().connection_made(transport)
        self._waiting_since = self.loop.time()
        self._timer = self.loop.call_later(self._interval, self._check_deadlines)
        if not self.all_connections.add(self, transport.get_extra_info("peername")):
            self._refuse(503, "too many connections; try again", b"retry-after: 1\r\n")

    def pause_writing(self) -> None:
        """Record that the client reads the response more slowly than it is produced."""
        super().pause_writing()
        self.taken_at = self.loop.time()
        self.all_connections.hold(self, self.transport.get_write_buffer_size())

    def resume_writing(self) -> None:
        """Record that the client has read most of the response."""
        super().resume_writing()
        self.all_connections.hold(self, 0)

    def connection_lost(self, exc: Exception | None) -> None:
        """Stop watching the connection."""
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        self.all_connections.remove(self)
        super().connection_lost(exc)
        # Freed now, and not when the interpreter next collects this object, which is part of a cycle.
        self._drop_head()

    def data_received(self, data: bytes) -> None:
        """Parse received bytes, and reject headers beyond the size limit."""
        if self._is_last:
            return
        if self._in_head:
            self._head_bytes += len(data)
            if self._head_bytes > self.settings.max_header_bytes + len(data):
                self._refuse_headers()
                return
        if not self._in_body:
            self._parse(data)
            if self._in_head and self._is_head_too_long():
                self._refuse_headers()
            return
        before = self._body_bytes
        self._parse(data)
        self._beside_body = self._beside_body + len(data) if self._body_bytes == before else 0
        if self._in_body and self._beside_body > self.settings.max_header_bytes:
            self._refuse_headers()

    def _parse(self, data: bytes) -> None:
        """Parse received bytes; requests to upgrade are served without (RFC 9110, section 7.8)."""
        self._unset_keepalive_if_required()
        while data:
            try:
                self.parser.feed_data(data)
                data = b""
            except httptools.HttpParserUpgrade as upgrade:
                # The parser takes what follows such a head for another protocol, not for the body. So a new
                # parser starts again with the same head, but without the header.
                self.parser = new_parser(self)
                data = self._served_head + data[upgrade.args[0] :]
                self._served_head = b""
            except httptools.HttpParserError as error:
                self.logger.debug("refused what is no HTTP request: %s", error)
                self.send_400_response("Invalid HTTP request received.")
                return

    def eof_received(self) -> bool | None:  # type: ignore[override]
        """Keep the connection open for a response in progress after the client has closed its side."""
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
        """Record that a request has started."""
        super().on_message_begin()
        self._in_head = True
        self._head_bytes = 0
        self._waiting_since = self.loop.time()

    def on_headers_complete(self) -> None:
        """Record that the body has started, unless the server refuses the request because of its head."""
        if self._is_head_too_long():
            self._refusal = self._headers_too_long()
            raise RefusedRequestError
        method = self.parser.get_method()
        self._refusal = _refusal_of(method, self.headers)
        if self._refusal is not None:
            raise RefusedRequestError
        if self.parser.should_upgrade():
            version = self.parser.get_http_version()
            self._served_head = without_upgrade(method, self.url, version, self.headers)
            return
        self._in_head = False
        if len(self.pipeline) >= MOST_PIPELINED:
            raise PipelineTooLongError  # earlier requests get their responses, then the connection is closed
        super().on_headers_complete()  # fails for a target that is no URL
        self._in_body = True
        self.all_connections.busy(self)
        self._body_bytes = self._beside_body = self._seen_bytes = self._window_bytes = 0
        self._seen_at = self._window_at = self.loop.time()

    def on_body(self, body: bytes) -> None:
        """Count the bytes of the body."""
        self._body_bytes += len(body)
        cycle: Any = self.cycle
        if len(body) > HIGH_WATER_LIMIT and not cycle.body and not cycle.response_complete:
            cycle.body, body = body, b""  # unchanged: uvicorn would copy it twice
        elif isinstance(cycle.body, bytes):
            cycle.body = bytearray(cycle.body)
        super().on_body(body)

    def on_message_complete(self) -> None:
        """Record that the request is complete."""
        if self.parser.should_upgrade():
            return  # it begins anew
        self._in_body = False
        super().on_message_complete()

    def on_response_complete(self) -> None:
        """Record that the connection is idle."""
        self._served = True
        self._waiting_since = self.loop.time()
        super().on_response_complete()
        if self.cycle.response_complete:
            self.all_connections.idle(self)

    def send_400_response(self, msg: str) -> None:
        """Reject data that is not HTTP or exceeds a limit, and close after any response in progress."""
        if not self._in_body and self.cycle is not None and not self.cycle.response_complete:
            self.cycle.keep_alive = False
            self._is_last = True
            self._in_head = False  # its deadline must not end the response
            self._drop_head()
        elif self._in_body and (self.cycle.response_started or self.pipeline):
            self.transport.close()  # another response would be taken for one to another request
        else:
            self._refuse(*(self._refusal or (400, msg.rstrip("."))))

    def _drop_head(self) -> None:
        """Free the memory of the last head received, which no request needs any more."""
        self.url, self.headers, self.scope = b"", [], None  # type: ignore[assignment]

    def _refuse_headers(self) -> None:
        self._refusal = self._headers_too_long()
        self.send_400_response("")

    def _is_head_too_long(self) -> bool:
        if len(self.headers) > MOST_HEADERS:
            return True
        length = sum(len(name) + len(value) + 4 for name, value in self.headers) + len(self.url)
        return length > self.settings.max_header_bytes

    def _headers_too_long(self) -> tuple[int, str]:
        most = self.settings.max_header_bytes
        return 431, f"the headers are longer than {most} bytes, or more than {MOST_HEADERS}"

    def _refuse(self, status: int, message: str, headers: bytes = b"") -> None:
        body = orjson.dumps({"error": message})
        head = headers + (
            b"content-type: application/json\r\nconnection: close\r\ncontent-length: %d\r\n\r\n" % len(body)
        )
        defaults = b"".join(b"%b: %b\r\n" % header for header in self.server_state.default_headers)
        self.transport.write(STATUS_LINE[status] + defaults + head + body)
        self.transport.close()

    async def _watched(self, scope: Scope, receive: Receive, send: Send) -> None:
        CLIENT_GONE.set(self._gone)
        CLIENT_ADDRESS.set(scope["client"][0] if scope["client"] else None)
        await self._answer(scope, receive, send)

    def _gone(self) -> bool:
        """Return whether the client has left. Thread-safe."""
        if self._timer is None or self.transport.is_closing():
            return True
        return self._ended_at is not None and self.loop.time() - self._ended_at > HALF_CLOSED

    def _wait_for(self, count: int) -> None:
        self._sending = count

    # The timer

    def _check_deadlines(self) -> None:
        now = self.loop.time()
        if self._late(now):
            self._timer = None
            self.end()
            return
        self._timer = self.loop.call_later(self._interval, self._check_deadlines)

    def end(self) -> None:
        """Close the connection without waiting for the client."""
        if self._left() == 0:
            self.transport.close()
            return
        # Otherwise the process, and then the kernel, would wait for the client to read the rest.
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
            # The server itself has paused reading, so this time does not count against the client.
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
"""Type of the messages, and the key in ``scope["extensions"]`` that announces them."""

POLL_MS = 2  # milliseconds that a thread waits for the client to accept more
MAX_HOLD = 0.05  # seconds after which a slow client has to give up its thread
RECHECK = 0.25  # seconds between checks whether a client that reads nothing is still connected

# Errors of systems that cannot send this file without copying it.
_CANNOT = frozenset({errno.EINVAL, errno.ENOSYS, errno.ENOTSUP, errno.EOVERFLOW})


class ZeroCopy:
    """Middleware that adds the extension to an application.

    Parameters
    ----------
    app : ASGIApp
        The application.
    waiting : callable
        Called with the number of bytes that the kernel still has to send, whenever it changes.
    """

    def __init__(self, app: ASGIApp, waiting: Callable[[int], object]) -> None:
        self._app = app
        self._waiting = waiting

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application, with the extension if connection and system support it."""
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
            # Duplicated, since the transport may close its descriptor while the kernel is sending.
            with socket.socket(fileno=os.dup(cycle.transport.get_extra_info("socket").fileno())) as out:
                await self._push(cycle, out, message["file"], message["offset"], count)
        except ConnectionError:
            # The event loop would do this a moment later anyway.
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
    """Wait until the transport has sent all data before the file."""
    pause = 0.0
    _check(cycle)
    while cycle.transport.get_write_buffer_size():
        await asyncio.sleep(pause)
        _check(cycle)
        pause = min(pause + 0.001, RECHECK)


def _check(cycle: RequestResponseCycle) -> None:
    # If a connection with several requests is lost, uvicorn tells only the last request.
    if cycle.disconnected or cycle.transport.is_closing():
        raise BrokenPipeError(errno.EPIPE, "the client is gone")


async def _shielded(work: Coroutine[object, object, int]) -> int:
    """Wait for a thread even if cancelled, since its files must not be closed before it has finished."""
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
    """Have the kernel send as much of a file as the socket accepts; return the number of bytes."""
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
