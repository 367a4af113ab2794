"""A proxy that is far away, and lets no more pass than it wants to."""

from __future__ import annotations

import contextlib
import socket
import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_PIECE = 64 * 1024


class _Bucket:
    """Lets so many bytes pass in a second."""

    def __init__(self, rate: float) -> None:
        self._rate = rate
        self._lock = threading.Lock()
        self._due = time.monotonic()

    def take(self, count: int) -> None:
        with self._lock:
            self._due = max(self._due, time.monotonic() - 0.01) + count / self._rate
            due = self._due
        time.sleep(max(due - time.monotonic(), 0.0))


@dataclass(frozen=True)
class Way:
    """What the way to a server is like.

    Attributes
    ----------
    latency : float
        Seconds that a request takes longer.
    each : float
        Bytes a second that one connection brings.
    together : float
        Bytes a second that all of them bring.
    cut : callable
        Takes the head of a request; returns the byte of its answer at which the connection breaks, or None.
    ranges : bool
        Whether the server is told that a part is asked for.
    """

    latency: float = 0.02
    each: float = float("inf")
    together: float = float("inf")
    cut: Callable[[str], int | None] = lambda _head: None
    ranges: bool = True


class _Connection:
    def __init__(self, way: Way, together: _Bucket, near: socket.socket, far: socket.socket) -> None:
        self._way = way
        self._buckets = (together, _Bucket(way.each))
        self._near = near
        self._far = far
        self._left: int | None = None
        for work in (self._send, self._receive):
            threading.Thread(target=self._run, args=(work,), daemon=True).start()

    def _run(self, work: Callable[[], None]) -> None:
        with contextlib.suppress(OSError):
            work()
        for end in (self._near, self._far):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)

    def _send(self) -> None:
        while data := self._near.recv(_PIECE):
            time.sleep(self._way.latency)
            self._left = self._way.cut(data.decode("latin-1"))
            self._far.sendall(data if self._way.ranges else data.replace(b"Range:", b"Other:"))

    def _receive(self) -> None:
        while data := self._far.recv(_PIECE):
            for bucket in self._buckets:
                bucket.take(len(data))
            if self._left is not None:
                self._left -= len(data)
                if self._left <= 0:
                    return
            self._near.sendall(data)


@contextlib.contextmanager
def narrow_way(endpoint_url: str, way: Way) -> Iterator[str]:
    """Lead to a server by a narrow way; yields the URL of its beginning."""
    server = urlsplit(endpoint_url)
    together = _Bucket(way.together)

    def accept() -> None:
        with contextlib.suppress(OSError):
            while True:
                near, _ = listener.accept()
                far = socket.create_connection((server.hostname or "", server.port or 80))
                for end in (near, far):
                    end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
                _Connection(way, together, near, far)

    with socket.create_server(("127.0.0.1", 0), backlog=64) as listener:
        threading.Thread(target=accept, daemon=True).start()
        yield f"http://127.0.0.1:{listener.getsockname()[1]}"
        with contextlib.suppress(OSError):
            listener.shutdown(socket.SHUT_RDWR)  # wakes up accept, which close alone does not
