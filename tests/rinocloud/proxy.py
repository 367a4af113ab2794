"""A proxy between a filesystem and its server that breaks what passes through it."""

from __future__ import annotations

import contextlib
import http.client
import io
import re
import socket
import struct
import threading
from collections.abc import Callable, Iterator
from dataclasses import dataclass
from typing import IO, TypeAlias
from urllib.parse import urlsplit

from rinofs.rinocloud.backend import _features
from rinofs.rinocloud.client import Features


class _Gone(Exception):  # noqa: N818
    """The connection is at its end."""


@dataclass
class Answer:
    """What the server said."""

    status: int
    headers: list[tuple[str, str]]
    body: bytes

    def head(self) -> bytes:
        lines = [f"HTTP/1.1 {self.status} Whatever", *(f"{name}: {value}" for name, value in self.headers)]
        return "\r\n".join([*lines, "", ""]).encode("latin-1")


@dataclass
class Exchange:
    """A request on its way, of which only the head was read yet."""

    proxy: Proxy
    connection: socket.socket
    reader: IO[bytes]
    method: str
    target: str
    headers: dict[str, str]

    @property
    def endpoint(self) -> str:
        """The last part of the path, such as ``download``."""
        return urlsplit(self.target).path.strip("/").rpartition("/")[2]

    @property
    def length(self) -> int:
        return int(self.headers.get("content-length", "0"))

    def forward(self) -> Answer:
        """Have the server answer."""
        body = self.reader.read(self.length)
        upstream = http.client.HTTPConnection(self.proxy.host, self.proxy.port, timeout=30)
        try:
            upstream.request(self.method, self.target, body, {**self.headers, "connection": "close"})
            response = upstream.getresponse()
            content = response.read()
        except (OSError, http.client.HTTPException) as error:
            raise _Gone from error
        finally:
            upstream.close()
        apart = {"connection", "transfer-encoding", "content-length"}
        headers = [(name, value) for name, value in response.getheaders() if name.lower() not in apart]
        return Answer(response.status, [*headers, ("content-length", str(len(content)))], content)

    def send(self, data: bytes) -> None:
        self.connection.sendall(data)

    def answer(self, answer: Answer) -> None:
        self.send(answer.head() + answer.body)

    def hang_up(self) -> None:
        raise _Gone

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Gone

    def stall(self) -> None:
        self.proxy.stopped.wait()
        raise _Gone


Fault: TypeAlias = Callable[[Exchange], None]
Faults: TypeAlias = Callable[[Exchange], Fault | None]


# Faults


def truncated(exchange: Exchange) -> None:
    answer = exchange.forward()
    exchange.send(_half(answer))
    exchange.hang_up()


def reset_midway(exchange: Exchange) -> None:
    answer = exchange.forward()
    exchange.send(_half(answer))
    exchange.reset()


def stalled_midway(exchange: Exchange) -> None:
    answer = exchange.forward()
    exchange.send(_half(answer))
    exchange.stall()


def _half(answer: Answer) -> bytes:
    if not answer.body:
        return answer.head()[:-20]
    return answer.head() + answer.body[: len(answer.body) // 2]


def stalled(exchange: Exchange) -> None:
    exchange.forward()
    exchange.stall()


def lost_request(exchange: Exchange) -> None:
    exchange.hang_up()


def lost_answer(exchange: Exchange) -> None:
    exchange.forward()
    exchange.hang_up()


def broken_off_after(count: int, then: Callable[[], None] = lambda: None) -> Fault:
    """Let so many bytes of the request's body reach the server, call `then`, and drop both connections."""

    def fault(exchange: Exchange) -> None:
        lines = [f"{exchange.method} {exchange.target} HTTP/1.1"]
        lines += [f"{name}: {value}" for name, value in exchange.headers.items()]
        head = "\r\n".join([*lines, "", ""]).encode("latin-1")
        left = min(count, exchange.length - 1)
        with socket.create_connection((exchange.proxy.host, exchange.proxy.port)) as upstream:
            upstream.sendall(head)
            while left and (piece := exchange.reader.read(min(left, 1 << 20))):
                upstream.sendall(piece)
                left -= len(piece)
            then()
        exchange.hang_up()

    return fault


def status(code: int, body: bytes = b'{"error": "because"}', **headers: str) -> Fault:
    """Answer in the place of the server."""
    named = [(name.replace("_", "-"), value) for name, value in headers.items()]

    def fault(exchange: Exchange) -> None:
        exchange.reader.read(exchange.length)
        kinds = {name.lower() for name, _ in named}
        kind = [] if "content-type" in kinds else [("content-type", "application/json")]
        exchange.answer(Answer(code, [*kind, *named, ("content-length", str(len(body)))], body))

    return fault


def web_page(code: int) -> Fault:
    page = b"<!DOCTYPE html><html>Please sign in</html>"
    return status(code, page, Content_Type="text/html; charset=utf-8")


def other_version(exchange: Exchange) -> None:
    """Have a download name another version than it is of."""
    answer = exchange.forward()
    head = re.sub(rb"[0-9a-f]{32}-([0-9]+)", b"0" * 32 + rb"-\1", answer.head())
    exchange.send(head + answer.body)


def flipped(exchange: Exchange) -> None:
    """Damage one bit of the content, which no header tells of."""
    answer = exchange.forward()
    body = bytearray(answer.body)
    body[len(body) // 2] ^= 1
    exchange.send(answer.head() + bytes(body))


def damaged_on_the_way_in(exchange: Exchange) -> None:
    """Damage one bit of what is uploaded."""
    body = bytearray(exchange.reader.read(exchange.length))
    body[len(body) // 2] ^= 1
    exchange.reader = io.BytesIO(body)
    exchange.answer(exchange.forward())


class Proxy:
    """Passes requests on, one server connection each; made by `proxy_to`.

    Attributes
    ----------
    url : str
        Where it answers.
    faults : callable or None
        Takes an exchange, and returns what is done in the place of passing it on.
    seen : list of str
        The endpoints that were asked for, in order.
    """

    def __init__(self, endpoint_url: str) -> None:
        self.lead_to(endpoint_url)
        self.faults: Faults | None = None
        self.seen: list[str] = []
        self.stopped = threading.Event()
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        self.url = f"http://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

    def lead_to(self, endpoint_url: str) -> None:
        """Pass requests on to this server from now on."""
        upstream = urlsplit(endpoint_url)
        assert upstream.hostname is not None
        assert upstream.port is not None
        self.host, self.port = upstream.hostname, upstream.port

    def close(self) -> None:
        self.stopped.set()
        with contextlib.suppress(OSError):
            self._listener.shutdown(socket.SHUT_RDWR)  # wakes up accept, which close alone does not
        self._listener.close()
        with self._lock:
            for connection in self._open:
                with contextlib.suppress(OSError):
                    connection.shutdown(socket.SHUT_RDWR)

    def _accept(self) -> None:
        with contextlib.suppress(OSError):
            while True:
                connection, _ = self._listener.accept()
                connection.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                with self._lock:
                    self._open.add(connection)
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        with contextlib.suppress(_Gone, OSError), connection.makefile("rb") as reader:
            while (exchange := self._read(reader, connection)) is not None:
                with self._lock:
                    self.seen.append(exchange.endpoint)
                    fault = self.faults(exchange) if self.faults is not None else None
                if fault is None:
                    exchange.answer(exchange.forward())
                else:
                    fault(exchange)
        with self._lock:
            self._open.discard(connection)
        connection.close()

    def _read(self, reader: IO[bytes], connection: socket.socket) -> Exchange | None:
        line = reader.readline()
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (line := reader.readline().strip()) != b"":
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        return Exchange(self, connection, reader, method, target, headers)


@contextlib.contextmanager
def proxy_to(endpoint_url: str) -> Iterator[Proxy]:
    proxy = Proxy(endpoint_url)
    # The port may have been that of a proxy before, to a server with other extensions.
    _features.get(proxy.url, Features).extensions = None
    try:
        yield proxy
    finally:
        proxy.close()
