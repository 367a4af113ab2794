"""A proxy that simulates a distant server.

A connection over a long distance never has more bytes in flight than its window, so it transfers at most one
window per round trip; by default Linux sends up to 4 MiB ahead. The kernel moves the bytes from socket to
pipe to socket, so that the distance is measured and not the proxy: copying them here would use a processor
that client and server need.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time
from dataclasses import dataclass

HALF_WAY = 0.010
"""Additional latency in seconds, in each direction."""

_PIECE = 256 * 1024
_PIPE = 1024 * 1024
_PIPES = 128


@dataclass(frozen=True, slots=True)
class Way:
    """Limits of each connection, besides the latency.

    Attributes
    ----------
    window : float
        Maximum number of unacknowledged bytes.
    rate : float
        Maximum rate in bytes per second.
    """

    window: float = float("inf")
    rate: float = float("inf")


class _Pipes:
    """Pipes that hold a piece each, created on demand."""

    def __init__(self, count: int) -> None:
        self._unmade = count
        self._free: queue.SimpleQueue[tuple[int, int]] = queue.SimpleQueue()
        self._all: list[int] = []

    def get(self) -> tuple[int, int]:
        if self._free.empty() and self._unmade:
            self._unmade -= 1
            ends = os.pipe()
            self._all += ends
            with contextlib.suppress(OSError, AttributeError):
                import fcntl

                fcntl.fcntl(ends[0], fcntl.F_SETPIPE_SZ, _PIPE)
            return ends
        return self._free.get()

    def put(self, pipe: tuple[int, int]) -> None:
        self._free.put(pipe)

    def close(self) -> None:
        for end in self._all:
            os.close(end)


_Sent = tuple[float, int, tuple[int, int]]


class _Direction:
    """One direction of a connection: passes bytes from one socket to the other."""

    def __init__(self, source: socket.socket, target: socket.socket, way: Way) -> None:
        self._source = source
        self._target = target
        self._way = way
        self._pipes = _Pipes(_PIPES)
        self._sent: queue.SimpleQueue[_Sent | None] = queue.SimpleQueue()
        self._arrived: queue.SimpleQueue[tuple[float, int] | None] = queue.SimpleQueue()

    def run(self) -> None:
        taker = threading.Thread(target=self._take, daemon=True)
        taker.start()
        with contextlib.suppress(OSError):
            self._bring()
        self._arrived.put(None)
        for end in (self._source, self._target):
            with contextlib.suppress(OSError):
                end.shutdown(socket.SHUT_RDWR)
        taker.join()
        self._pipes.close()

    def _take(self) -> None:
        with contextlib.suppress(OSError):
            under_way = 0
            while True:
                while under_way >= self._way.window:
                    if (arrived := self._arrived.get()) is None:
                        return
                    _sleep_until(arrived[0])
                    under_way -= arrived[1]
                pipe = self._pipes.get()
                count = os.splice(self._source.fileno(), pipe[1], _PIECE)
                if not count:
                    break
                under_way += count
                self._sent.put((time.monotonic() + HALF_WAY, count, pipe))
        self._sent.put(None)

    def _bring(self) -> None:
        free = 0.0  # time at which there is room for the next piece
        while (sent := self._sent.get()) is not None:
            due, count, pipe = sent
            _sleep_until(max(due, free))
            free = max(free, time.monotonic() - 0.005) + count / self._way.rate
            left = count
            try:
                while left:
                    left -= os.splice(pipe[0], self._target.fileno(), left)
            finally:
                self._pipes.put(pipe)  # another thread may be waiting for one
            self._arrived.put((time.monotonic() + HALF_WAY, count))


def _sleep_until(moment: float) -> None:
    time.sleep(max(moment - time.monotonic(), 0.0))


def run(listener: socket.socket, host: str, port: int, way: Way) -> None:
    """Forward connections to a server, forever.

    Parameters
    ----------
    listener : socket
        Accepts the connections.
    host, port : str, int
        The server.
    way : Way
        Limits of the data from the server.
    """
    while True:
        near, _ = listener.accept()
        far = socket.create_connection((host, port))
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for direction in (_Direction(near, far, Way()), _Direction(far, near, way)):
            threading.Thread(target=direction.run, daemon=True).start()
