"""Connections that notice a peer that trickles.

A socket's timeout starts anew with every byte, so a peer that sends one now and then is never caught by
it. Here the headers of an answer have one deadline, and a body has a lowest rate. Only time spent
waiting for the peer counts, so a reader may take as long as it likes.
"""

from __future__ import annotations

import errno
import http.client
import io
import re
import ssl
import time
from typing import TYPE_CHECKING, Any

from urllib3 import HTTPHeaderDict
from urllib3.connection import HTTPConnection, HTTPSConnection
from urllib3.connectionpool import HTTPConnectionPool, HTTPSConnectionPool

from rinofs.http.connection.direct import plain_head, send
from rinofs.http.connection.raw import length_of
from rinofs.http.session.retry import FLOOR, WINDOWS

if TYPE_CHECKING:
    import socket
    from collections.abc import Mapping

    from rinofs.http.connection.direct import Headers

_SILENCE = 30.0  # seconds, where a socket has no timeout
_FOLD = re.compile(r"\r?\n[ \t]*")
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
            try:
                return self._raw.readinto(buffer) or 0
            except ssl.SSLError as error:
                raise ConnectionAbortedError(_broken(error)) from error
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

    def begin_quickly(self) -> Mapping[str, str]:
        """Read the status and the headers, and return these; does less than `begin` for most answers."""
        seen = self.fp.peek()
        end = seen.find(b"\r\n\r\n")
        plain = plain_head(seen[:end]) if end > 0 else None
        if plain is None or not self._take_plain(*plain):
            self.begin()
            return HTTPHeaderDict((name, _unfolded(value)) for name, value in self.headers.items())
        self.fp.read(end + 4)
        self._paced.head_is_complete()
        return plain[2]

    def _take_plain(self, status: int, reason: str, headers: Headers) -> bool:
        """Take what a head says, if it says in the plainest way how long the body is."""
        length = length_of(headers)
        if "transfer-encoding" in headers or length is None:
            return False
        method: str = self._method  # type: ignore[attr-defined]
        has_body = method != "HEAD" and status not in {204, 304}
        self.code = self.status = status
        self.reason = reason
        self.version = 11
        self.headers = self.msg = headers  # type: ignore[assignment]
        self.chunked = False
        self.length = length if has_body else 0
        self.will_close = "close" in headers.get("connection", "").lower()
        return True

    @property
    def failure(self) -> OSError | None:
        """What ended the body, where it was not its end."""
        return self._paced.failure


def _unfolded(value: str) -> str:
    return _FOLD.sub(" ", value)


def _broken(error: ssl.SSLError) -> str:
    """Say what became of a connection whose server was trusted already: a break like others, but for TLS."""
    return f"TLS: {error.reason or 'the connection was cut off'}"


class _PacedSend:
    """Sends large pieces as the peer takes them: ``sendall`` has one timeout for the whole piece."""

    sock: Any

    def send(self, data: Any) -> None:
        """Send `data`."""
        try:
            self._send(data)
        except ssl.SSLError as error:
            # As without TLS: what the service may have answered before it closed is read then.
            raise BrokenPipeError(errno.EPIPE, _broken(error)) from error

    def _send(self, data: Any) -> None:
        if not isinstance(data, memoryview) or self.sock is None:
            super().send(data)  # type: ignore[misc]
            return
        pace = Pace(self.sock.gettimeout() or _SILENCE)
        while data:
            start = time.monotonic()
            count = self.sock.send(data)
            pace.note(count, time.monotonic() - start)
            data = data[count:]


class DirectAnswer:
    """An answer to a request that was sent without urllib3; has what is used of its response.

    Attributes
    ----------
    status : int
        The HTTP status.
    headers : Mapping
        The headers.
    """

    def __init__(self, pool: DirectPool, connection: Any, response: PacedResponse) -> None:
        self.headers = response.begin_quickly()
        self.status = response.status
        self._pool = pool
        self._connection = connection
        self._fp = response

    def close(self) -> None:
        """Close the connection."""
        self._fp.close()
        if self._connection is not None:
            self._connection.close()

    def release_conn(self) -> None:
        """Give the connection back, to be used or made again."""
        connection, self._connection = self._connection, None
        if connection is not None:
            self._pool.take_back(connection)


class DirectPool(HTTPConnectionPool):
    """Connections to one host, over which requests can also be sent with less work than urllib3's."""

    def take_back(self, connection: Any) -> None:
        """Keep a connection for the next request."""
        self._put_conn(connection)

    def send_directly(self, method: str, request: bytes, silence: float) -> DirectAnswer | None:
        """Send a request over a connection that stands; None if there is none, and nothing was sent.

        Parameters
        ----------
        method : str
            The method.
        request : bytes
            Head and body.
        silence : float
            Seconds until the answer's headers are complete, and between any two bytes.
        """
        connection: Any = self._get_conn()
        sock = connection.sock
        if sock is None:
            self._put_conn(connection)
            return None
        response = None
        try:
            sock.settimeout(silence)
            send(sock, request)
            response = PacedResponse(sock, method=method)
            answer = DirectAnswer(self, connection, response)
        except BaseException:
            if response is not None:
                response.close()
            connection.close()
            self._put_conn(connection)
            raise
        if response.will_close:
            connection.close()
        return answer


class _PacedHTTPConnection(_PacedSend, HTTPConnection):
    response_class = PacedResponse


class _PacedHTTPSConnection(_PacedSend, HTTPSConnection):
    response_class = PacedResponse


class PacedHTTPPool(DirectPool):
    """Connections to one host."""

    ConnectionCls = _PacedHTTPConnection


class PacedHTTPSPool(HTTPSConnectionPool, DirectPool):
    """Connections to one host over TLS."""

    ConnectionCls = _PacedHTTPSConnection


POOL_CLASSES = {"http": PacedHTTPPool, "https": PacedHTTPSPool}
