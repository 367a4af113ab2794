"""Connections that notice a peer that trickles.

A socket's timeout starts anew with every byte, so a peer that sends one now and then is never caught by
it. Here the headers of an answer have one deadline, and a body has a lowest rate. Only time spent
waiting for the peer counts, so a reader may take as long as it likes.
"""

from __future__ import annotations

import http.client
import io
import time
from typing import TYPE_CHECKING, Any

from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from rinofs.http.retry import FLOOR, WINDOWS

if TYPE_CHECKING:
    import socket

_SILENCE = 30.0  # seconds, where a socket has no timeout
_BUFFER = 32 * 1024  # an answer of some KiB arrives with its headers, in one recv


class Pace:
    """Measures how fast bytes pass while they are waited for.

    Parameters
    ----------
    silence : float
        Seconds that one wait may take, from which the window follows.
    """

    __slots__ = ("_bytes", "_waited", "_window")

    def __init__(self, silence: float) -> None:
        self._window = WINDOWS * silence
        self._waited = 0.0
        self._bytes = 0

    def note(self, count: int, waited: float) -> None:
        """Count `count` bytes that took `waited` seconds; raises TimeoutError below the lowest rate."""
        self._waited += waited
        self._bytes += count
        if self._waited >= self._window:
            if self._bytes < FLOOR * self._waited:
                raise TimeoutError(f"fewer than {FLOOR} bytes per second for {self._waited:.0f} s")
            self._waited = 0.0
            self._bytes = 0


class _PacedIO(io.RawIOBase):
    """The reading end of a socket."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._silence = sock.gettimeout() or _SILENCE
        self._pace = Pace(self._silence)
        self._timeout = self._silence
        self._head_deadline: float | None = time.monotonic() + self._silence
        self.failure: OSError | None = None

    def head_is_complete(self) -> None:
        self._head_deadline = None
        self._set_timeout(self._silence)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head_deadline is not None:
            left = self._head_deadline - time.monotonic()
            # Headers mostly come at once: the timeout is worth a system call only when they do not.
            if left < 0.9 * self._timeout:
                self._set_timeout(max(left, 0.001))
            return self._raw.readinto(buffer) or 0
        if self.failure is not None:
            return 0
        start = time.monotonic()
        try:
            count = self._raw.readinto(buffer) or 0
            if count:
                self._pace.note(count, time.monotonic() - start)
        except OSError as error:
            # Raised from here, the error would take along what the reader above already has of this
            # call. As an end of the stream it does not; whoever counts the bytes finds it by name.
            # Its traceback would keep frames alive that look at a buffer which the reader frees: a crash.
            self.failure = error.with_traceback(None)
            return 0
        return count

    def _set_timeout(self, seconds: float) -> None:
        if seconds != self._timeout:
            self._timeout = seconds
            self._sock.settimeout(seconds)

    def close(self) -> None:
        self._raw.close()
        super().close()


class _PacedFile:
    """What ``http.client`` takes for a socket: it only asks for a file to read."""

    def __init__(self, raw: _PacedIO) -> None:
        self._raw = raw

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - http.client's call
        return io.BufferedReader(self._raw, _BUFFER)


class PacedResponse(http.client.HTTPResponse):
    """An answer read through a `_PacedIO`."""

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._paced = _PacedIO(sock)
        super().__init__(_PacedFile(self._paced), *args, **kwargs)  # type: ignore[arg-type]

    def begin(self) -> None:
        """Read the status and the headers."""
        super().begin()
        self._paced.head_is_complete()

    @property
    def failure(self) -> OSError | None:
        """What ended the body, where it was not its end."""
        return self._paced.failure


class _PacedSend:
    """Sends large pieces as the peer takes them: ``sendall`` has one timeout for the whole piece."""

    sock: Any

    def send(self, data: Any) -> None:
        """Send `data`."""
        if not isinstance(data, memoryview) or self.sock is None:
            super().send(data)  # type: ignore[misc]
            return
        pace = Pace(self.sock.gettimeout() or _SILENCE)
        while data:
            start = time.monotonic()
            count = self.sock.send(data)
            pace.note(count, time.monotonic() - start)
            data = data[count:]


class _PacedHTTPConnection(_PacedSend, HTTPConnection):
    response_class = PacedResponse


class _PacedHTTPSConnection(_PacedSend, HTTPSConnection):
    response_class = PacedResponse


class PacedHTTPPool(HTTPConnectionPool):
    """Connections to one host."""

    ConnectionCls = _PacedHTTPConnection


class PacedHTTPSPool(HTTPSConnectionPool):
    """Connections to one host over TLS."""

    ConnectionCls = _PacedHTTPSConnection


POOL_CLASSES = {"http": PacedHTTPPool, "https": PacedHTTPSPool}
