"""A server of plain sockets that can be told to fail in every way that a real one does."""

from __future__ import annotations

import base64
import contextlib
import gzip
import hashlib
import random
import re
import socket
import struct
import threading
from collections import Counter
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    import ssl

DATA = random.Random(7).randbytes(300_000)
ETAG = "fe743783afdf86af96aac1781ceff960-1"


class _Gone(Exception):  # noqa: N818
    """The client has hung up, or this side is about to."""


@dataclass
class Request:
    """What came in, and the means to answer it."""

    method: str
    target: str
    headers: dict[str, str]
    body: bytes
    server: FaultyServer
    connection: socket.socket
    head_only: bool = False

    def send(self, data: bytes) -> None:
        try:
            self.connection.sendall(data)
        except OSError as error:
            raise _Gone from error

    def answer(self, status: int, body: bytes = b"", **headers: str) -> None:
        lines = {"Content-Length": str(len(body)), "Content-Type": "application/octet-stream"}
        lines |= {name.replace("_", "-"): value for name, value in headers.items()}
        head = f"HTTP/1.1 {status} Whatever\r\n" + "".join(f"{n}: {v}\r\n" for n, v in lines.items() if v)
        self.send(head.encode("latin-1") + b"\r\n" + (b"" if self.method == "HEAD" else body))

    def hang_up(self) -> None:
        raise _Gone

    def reset(self) -> None:
        self.connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, struct.pack("ii", 1, 0))
        raise _Gone

    def stall(self) -> None:
        self.server.stopped.wait()
        raise _Gone


Step = Callable[[Request], None]


def normal(request: Request) -> None:
    """Answer as a good server: content below /content, else JSON."""
    if request.target.startswith("/content"):
        status, body, headers = part_of(request, DATA)
        request.answer(status, body, **headers)
    else:
        request.server.effects[request.target] += 1
        request.answer(200, b'{"ok": true}', Content_Type="application/json")


def part_of(request: Request, data: bytes, etag: str = ETAG) -> tuple[int, bytes, dict[str, str]]:
    """Return the answer to a (ranged, conditional) read of `data`."""
    headers = {"Repr_Digest": f"sha-256=:{base64.b64encode(hashlib.sha256(data).digest()).decode()}:"}
    if not request.server.anonymous:
        headers["ETag"] = f'"{etag}"'
    wanted = request.headers.get("if-match")
    if wanted not in {None, f'"{etag}"'}:
        return 412, b'{"error": "another version"}', headers
    match = re.fullmatch(r"bytes=(\d*)-(\d*)", request.headers.get("range", ""))
    if match is None or request.server.no_ranges:
        return 200, data, headers
    start = int(match[1]) if match[1] else max(len(data) - int(match[2]), 0)
    stop = min(int(match[2]) + 1, len(data)) if match[1] and match[2] else len(data)
    if start >= len(data):
        return 416, b"", {"Content_Range": f"bytes */{len(data)}"}
    return 206, data[start:stop], headers | {"Content_Range": f"bytes {start}-{stop - 1}/{len(data)}"}


def head_of(request: Request, **changes: str | None) -> tuple[bytes, bytes]:
    """Return the head and the body of the good answer, for a fault to break; None removes a header."""
    if request.target.startswith("/content"):
        status, body, headers = part_of(request, DATA)
    else:
        status, body, headers = 200, b'{"ok": true}', {"Content_Type": "application/json"}
    lines: dict[str, str | None] = {"Content_Length": str(len(body)), **headers, **changes}
    head = f"HTTP/1.1 {status} OK\r\n"
    head += "".join(f"{n.replace('_', '-')}: {v}\r\n" for n, v in lines.items() if v is not None)
    return head.encode() + b"\r\n", body


# Faults: each is a step, or makes one.


def truncated(request: Request) -> None:
    head, body = head_of(request)
    request.send(head + body[: len(body) // 2])
    request.hang_up()


def reset_midway(request: Request) -> None:
    head, body = head_of(request)
    request.send(head + body[: len(body) // 2])
    request.reset()


def unframed_truncated(request: Request) -> None:
    head, body = head_of(request, Content_Length=None, Connection="close")
    request.send(head + body[: len(body) // 2])
    request.hang_up()


def chunked_truncated(request: Request) -> None:
    head, body = head_of(request, Content_Length=None, Transfer_Encoding="chunked")
    half = body[: len(body) // 2]
    request.send(head + f"{len(half):x}\r\n".encode() + half + b"\r\n")
    request.hang_up()


def dropped(request: Request) -> None:
    """Hang up without an answer, as for a connection kept alive too long."""
    request.hang_up()


def dropped_hard(request: Request) -> None:
    request.reset()


def stalled_head(request: Request) -> None:
    request.stall()


def stalled_body(request: Request) -> None:
    head, body = head_of(request)
    request.send(head + body[: len(body) // 2])
    request.stall()


def trickled_head(request: Request) -> None:
    head, _ = head_of(request)
    for byte in head:
        request.send(bytes([byte]))
        request.server.stopped.wait(0.1)


def trickled_body(request: Request) -> None:
    head, body = head_of(request)
    request.send(head)
    for byte in body:
        request.send(bytes([byte]))
        request.server.stopped.wait(0.1)


def garbage(request: Request) -> None:
    request.send(b"SSH-2.0-OpenSSH_9.2\r\n\r\n")
    request.hang_up()


def wrong_range(request: Request) -> None:
    start, stop = 11, 11 + len(DATA) // 2
    request.answer(
        206, DATA[start:stop], Content_Range=f"bytes {start}-{stop - 1}/{len(DATA)}", ETag=f'"{ETAG}"'
    )


def wrong_total(request: Request) -> None:
    request.answer(206, DATA[:10], Content_Range=f"bytes 0-9/{len(DATA) + 5}", ETag=f'"{ETAG}"')


def other_version(request: Request) -> None:
    status, body, headers = part_of(request, DATA[::-1], etag="0" * 32 + "-1")
    request.answer(status, body, **headers)


def gzipped(request: Request) -> None:
    _, body = head_of(request)
    packed = gzip.compress(body)
    request.answer(200, packed, Content_Encoding="gzip", Content_Type="application/json")


def web_page(request: Request) -> None:
    request.answer(
        200, b"<!DOCTYPE html><html>Please sign in</html>", Content_Type="text/html; charset=utf-8"
    )


def flipped(request: Request) -> None:
    """One wrong bit that no header betrays."""
    status, body, headers = part_of(request, DATA)
    broken = bytearray(body)
    broken[len(broken) // 2] ^= 1
    request.answer(status, bytes(broken), **headers)


def json_text(text: bytes) -> Step:
    return lambda request: request.answer(200, text, Content_Type="application/json")


def status(code: int, body: bytes = b'{"error": "because"}', **headers: str) -> Step:
    return lambda request: request.answer(code, body, Content_Type="application/json", **headers)


def redirect(target: str, code: int = 302) -> Step:
    return lambda request: request.answer(code, b"", Location=target)


@dataclass
class FaultyServer:
    """Answers each request with the next step of its script, then with `otherwise`.

    Attributes
    ----------
    anonymous : bool
        Whether content names no version.
    no_ranges : bool
        Whether ``Range`` is ignored.
    tls : ssl.SSLContext, optional
        Its certificate, where it speaks https.
    """

    script: list[Step] = field(default_factory=list)
    otherwise: Step = normal
    anonymous: bool = False
    no_ranges: bool = False
    tls: ssl.SSLContext | None = None
    requests: list[Request] = field(default_factory=list)
    effects: Counter[str] = field(default_factory=Counter)
    stopped: threading.Event = field(default_factory=threading.Event)
    connections: int = 0

    def __post_init__(self) -> None:
        self._lock = threading.Lock()
        self._open: set[socket.socket] = set()
        self._listener = socket.create_server(("127.0.0.1", 0), backlog=128)
        scheme = "https" if self.tls else "http"
        self.url = f"{scheme}://127.0.0.1:{self._listener.getsockname()[1]}"
        threading.Thread(target=self._accept, daemon=True).start()

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
                    self.connections += 1
                threading.Thread(target=self._serve, args=(connection,), daemon=True).start()

    def _serve(self, connection: socket.socket) -> None:
        if self.tls is not None:
            with self._lock:
                self._open.discard(connection)
            try:
                connection = self.tls.wrap_socket(connection, server_side=True)
            except OSError:
                return
            with self._lock:
                self._open.add(connection)
        reader = connection.makefile("rb")
        with contextlib.suppress(_Gone, OSError, ValueError):
            while (request := self._read(reader, connection)) is not None:
                with self._lock:
                    self.requests.append(request)
                    step = self.script.pop(0) if self.script else self.otherwise
                step(request)
        with self._lock:
            self._open.discard(connection)
        reader.close()
        connection.close()

    def _read(self, reader: object, connection: socket.socket) -> Request | None:
        line = reader.readline()  # type: ignore[attr-defined]
        if not line:
            return None
        method, target, _ = line.decode("latin-1").split(" ", 2)
        headers: dict[str, str] = {}
        while (line := reader.readline().strip()) != b"":  # type: ignore[attr-defined]
            name, _, value = line.decode("latin-1").partition(":")
            headers[name.lower()] = value.strip()
        length = int(headers.get("content-length", "0"))
        body = reader.read(length)  # type: ignore[attr-defined]
        if len(body) < length:
            return None
        return Request(method, target, headers, body, self, connection)


@contextlib.contextmanager
def faulty_server(*script: Step, **options: object) -> Iterator[FaultyServer]:
    server = FaultyServer(list(script), **options)  # type: ignore[arg-type]
    try:
        yield server
    finally:
        server.close()
