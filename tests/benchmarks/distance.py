"""A proxy that is far away, and may let only so many bytes of each connection pass in a second.

The kernel moves the bytes, from socket to pipe to socket, so that what is measured is the way and not the
proxy: copying them here would keep a processor busy that client and server need.
"""

from __future__ import annotations

import contextlib
import os
import queue
import socket
import threading
import time

HALF_WAY = 0.010
"""Seconds that each byte takes longer, in each direction."""

_PIECE = 256 * 1024
_PIPE = 1024 * 1024
_AHEAD = 128  # pieces that are on their way, at most; fewer where the rate is limited
_AHEAD_LIMITED = 8


class _Pipes:
    """Pipes that hold a piece each, made as they are needed."""

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


def _take(source: socket.socket, pipes: _Pipes, on_the_way: queue.SimpleQueue[_Sent | None]) -> None:
    try:
        while True:
            pipe = pipes.get()
            count = os.splice(source.fileno(), pipe[1], _PIECE)
            if not count:
                return
            on_the_way.put((time.monotonic() + HALF_WAY, count, pipe))
    except OSError:
        pass
    finally:
        on_the_way.put(None)


def _pass_on(source: socket.socket, target: socket.socket, rate: float) -> None:
    """Have what comes from one socket arrive at the other, later and not too fast."""
    pipes = _Pipes(_AHEAD_LIMITED if rate else _AHEAD)
    on_the_way: queue.SimpleQueue[_Sent | None] = queue.SimpleQueue()
    taker = threading.Thread(target=_take, args=(source, pipes, on_the_way), daemon=True)
    taker.start()
    free = 0.0  # when the way is free for the next piece
    try:
        while (sent := on_the_way.get()) is not None:
            due, left, pipe = sent
            time.sleep(max(due - time.monotonic(), free - time.monotonic(), 0.0))
            free = max(free, time.monotonic() - 0.005) + left / rate if rate else 0.0
            while left:
                left -= os.splice(pipe[0], target.fileno(), left)
            pipes.put(pipe)
    except OSError:
        pass
    for end in (source, target):
        with contextlib.suppress(OSError):
            end.shutdown(socket.SHUT_RDWR)
    taker.join()
    pipes.close()


def run(listener: socket.socket, host: str, port: int, rate: float) -> None:
    """Pass connections on to a server, for ever.

    Parameters
    ----------
    listener : socket
        Where they come in.
    host, port : str, int
        The server.
    rate : float
        Bytes a second that each of them brings from the server; 0 for as many as can.
    """
    while True:
        near, _ = listener.accept()
        far = socket.create_connection((host, port))
        for end in (near, far):
            end.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        for way in ((near, far, 0.0), (far, near, rate)):
            threading.Thread(target=_pass_on, args=way, daemon=True).start()
