"""Sends one request over one connection, using urllib3's pools as requests configures them.

Requests bypass ``requests.Session`` and go to the pools directly, which takes less than half the time.
Proxies have pools of their own. An adapter that a user mounted on the session is called through requests.
This module is imported for the first request only, since requests is slow to import.

Connections are those of ``http.client``, with three changes:

- Common requests and response heads are written and parsed in one step, in a third of the time that
  ``http.client`` and ``email.parser`` take. Unusual ones are left to the standard library.
- The headers of a response have one deadline. A socket's timeout starts again with every byte, so a peer
  that sends a byte now and then would never reach it (https://github.com/psf/requests/issues/3099).
- Bodies have a minimum transfer rate in both directions, for the same reason. Only time spent waiting for
  the peer counts, so a slow reader of the body has no effect.
"""

from __future__ import annotations

import errno
import http.client
import io
import os
import queue
import re
import ssl
import time
import weakref
from typing import TYPE_CHECKING, Any

import requests
import urllib3
import urllib3.exceptions
from requests.adapters import HTTPAdapter
from requests.structures import CaseInsensitiveDict
from requests.utils import get_environ_proxies, select_proxy
from urllib3.connection import HTTPConnection, HTTPSConnection

from rinofs.http.connection.failures import quotes_the_server, root_of, unanswered
from rinofs.http.connection.limits import MIN_RATE, RATE_WINDOW
from rinofs.http.connection.response import Headers, StreamedResponse, content_length, plain_head

if TYPE_CHECKING:
    import socket
    from collections.abc import Callable, Iterable, Mapping

    from urllib3.connectionpool import HTTPConnectionPool

    from rinofs.http.connection.limits import Limits

_NO_RETRY = urllib3.Retry(total=False, redirect=False)
_CA_VARIABLES = ("REQUESTS_CA_BUNDLE", "CURL_CA_BUNDLE", "SSL_CERT_FILE", "SSL_CERT_DIR")
# Larger than the number of connections that `Slots` allows: a smaller pool would discard connections.
_POOL_SIZE = 256
_USUAL = (HTTPConnection, HTTPSConnection)
_SILENCE = 30.0  # seconds, for a socket without a timeout
_BUFFER = 32 * 1024  # a response of a few KiB arrives with its headers in one recv
_FOLD = re.compile(r"\r?\n[ \t]*")
_PLAIN_TARGET = re.compile(r"/[A-Za-z0-9/?=&%._~+-]*").fullmatch
_PLAIN_HOST = re.compile(r"[a-z0-9.-]+|[0-9a-f:.]+").fullmatch
_WITHOUT_BODY = frozenset({"DELETE", "GET", "HEAD", "OPTIONS"})


class Transport:
    """The connections of one process to an endpoint and to the targets of its redirects.

    Attributes
    ----------
    session : requests.Session
        Holds the adapters; users may mount others on it.
    """

    def __init__(self) -> None:
        self.session = requests.Session()
        self.session.trust_env = False  # ~/.netrc would replace the Authorization header
        self._adapter = HTTPAdapter(pool_maxsize=_POOL_SIZE, max_retries=0)
        self.session.mount("http://", self._adapter)
        self.session.mount("https://", self._adapter)
        self._verify = next((os.environ[v] for v in _CA_VARIABLES if os.environ.get(v)), True)
        self._pools: dict[str, tuple[HTTPConnectionPool, bool]] = {}

    def send(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes | memoryview] | None,
        limits: Limits,
        *,
        label: str,
        on_close: Callable[[], None],
    ) -> StreamedResponse:
        """Send a request once and return its response with an unread body.

        Parameters
        ----------
        method, url, headers, body
            The request; a body that is not bytes must come with a ``Content-Length`` header.
        limits : Limits
            Time limits.
        label : str
            Name of the request for messages.
        on_close : callable
            Called once, when the connection is no longer in use.

        Raises
        ------
        Unanswered
            If there was no response; `on_close` is not called then.
        """
        origin, target = split_target(url)
        try:
            if self.session.get_adapter(url) is self._adapter:
                pool, forwarded = self._pools.get(origin) or self._pool(origin)
                raw: Any = pool.urlopen(
                    method,
                    url if forwarded else target,
                    body=body,  # type: ignore[arg-type]
                    headers=headers,
                    retries=_NO_RETRY,
                    redirect=False,
                    assert_same_host=False,
                    timeout=urllib3.Timeout(connect=limits.connect, read=limits.silence),
                    preload_content=False,
                    decode_content=False,
                )
                status, answered = raw.status, raw.headers
            else:
                response = self._send_by_requests(method, url, headers, body, limits)
                raw, status, answered = response.raw, response.status_code, response.headers
        except (
            urllib3.exceptions.HTTPError,
            http.client.HTTPException,
            requests.RequestException,
            OSError,
        ) as error:
            failure, root = unanswered(error, origin), root_of(error)
        else:
            return StreamedResponse(
                raw, status, answered, method=method, url=url, label=label, on_close=on_close
            )
        # Not in the handler, where the error would be the context of this one.
        raise failure from None if quotes_the_server(root) else root

    def close(self) -> None:
        """Close idle connections."""
        for pool, _ in self._pools.values():
            pool.close()  # requests only forgets them
        self.session.close()

    def _pool(self, origin: str) -> tuple[HTTPConnectionPool, bool]:
        """Return the pool for an origin, and whether it belongs to a proxy that expects absolute URLs."""
        request = requests.PreparedRequest()
        request.prepare_method("GET")
        request.prepare_url(origin, None)
        proxies = get_environ_proxies(origin)
        pool: Any = self._adapter.get_connection_with_tls_context(request, self._verify, proxies=proxies)
        configure: Any = self._adapter.cert_verify
        configure(pool, origin, self._verify, None)
        if pool.ConnectionCls in _USUAL:  # not behind a SOCKS proxy
            pool.ConnectionCls = CONNECTIONS[pool.scheme]
        pool.pool = idle = IdleConnections()
        weakref.finalize(pool, idle.close)
        proxy = select_proxy(origin, proxies)
        forwarded = proxy is not None and not proxy.startswith("socks") and not origin.startswith("https:")
        self._pools[origin] = pool, forwarded
        return pool, forwarded

    def _send_by_requests(
        self,
        method: str,
        url: str,
        headers: Mapping[str, str],
        body: bytes | Iterable[bytes | memoryview] | None,
        limits: Limits,
    ) -> requests.Response:
        # Not Session.send, which follows redirects, keeps cookies and looks for credentials in ~/.netrc.
        request = requests.PreparedRequest()
        request.prepare_method(method)
        request.prepare_url(url, None)
        request.headers = CaseInsensitiveDict(headers)
        request.body = body  # type: ignore[assignment]
        if method not in {"GET", "HEAD"} and "Content-Length" not in request.headers:
            assert body is None or isinstance(body, bytes)
            request.headers["Content-Length"] = str(len(body or b""))
        return self.session.get_adapter(url).send(
            request,
            stream=True,
            timeout=(limits.connect, limits.silence),
            verify=self._verify,
            proxies=get_environ_proxies(url),
        )


class IdleConnections:
    """The idle connections of a pool, the last one first, in place of urllib3's queue.

    An interrupt can leave the lock of `queue.LifoQueue` locked, and all later requests would wait for it.
    Here, each change is one step.
    """

    def __init__(self) -> None:
        self._idle: list[HTTPConnection] = []

    def get(self, block: bool = False, timeout: float | None = None) -> HTTPConnection:  # noqa: ARG002
        """Take a connection; raises queue.Empty if there is none."""
        try:
            return self._idle.pop()
        except IndexError:
            raise queue.Empty from None

    def put(self, connection: HTTPConnection | None, block: bool = False) -> None:  # noqa: ARG002
        """Keep a connection; raises queue.Full if there are too many."""
        if len(self._idle) >= _POOL_SIZE:
            raise queue.Full
        if connection is not None:  # None holds a place in a queue that blocks
            self._idle.append(connection)

    def qsize(self) -> int:
        """Return the number of connections."""
        return len(self._idle)

    def close(self) -> None:
        """Close all of them."""
        while self._idle:
            self._idle.pop().close()


def split_target(url: str) -> tuple[str, str]:
    """Split a URL into its origin and its path and query."""
    slash = url.find("/", 8)
    return (url, "/") if slash < 0 else (url[:slash], url[slash:])


def request_head(
    method: str, host: str, target: str, headers: Mapping[str, str], body: bytes | None
) -> bytes | None:
    """Return the head of a request, or None if ``http.client`` should write it.

    Parameters
    ----------
    method : str
        Method.
    host : str
        Value of the ``Host`` header; empty if unusual.
    target : str
        Path and query.
    headers : Mapping
        All headers except ``Host`` and ``Content-Length``.
    body : bytes, optional
        Body that follows.
    """
    if not host or _PLAIN_TARGET(target) is None:
        return None
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None or method not in _WITHOUT_BODY:
        lines.append(f"Content-Length: {len(body or b'')}")
    text = "\n".join(lines)
    if text.count("\n") != len(lines) - 1 or "\r" in text or "\0" in text or not text.isascii():
        return None  # a line break in a header would inject another header
    return (text.replace("\n", "\r\n") + "\r\n\r\n").encode("ascii")


def host_header(host: str, port: int, default_port: int) -> str:
    """Return the ``Host`` header of an origin; empty if ``http.client`` should write it."""
    if _PLAIN_HOST(host) is None:
        return ""
    name = f"[{host}]" if ":" in host else host
    return name if port == default_port else f"{name}:{port}"


class TransferRate:
    """Checks the minimum transfer rate.

    Parameters
    ----------
    silence : float
        Maximum seconds of one wait; determines the window.
    """

    __slots__ = ("_bytes", "_waited", "_window")

    def __init__(self, silence: float) -> None:
        self._window = RATE_WINDOW * silence
        self._waited = 0.0
        self._bytes = 0

    def note(self, count: int, waited: float) -> None:
        """Count `count` bytes that took `waited` seconds; raises TimeoutError below the minimum rate."""
        self._waited += waited
        self._bytes += count
        if self._waited >= self._window:
            if self._bytes < MIN_RATE * self._waited:
                raise TimeoutError(f"fewer than {MIN_RATE} bytes per second for {self._waited:.0f} s")
            self._waited = 0.0
            self._bytes = 0


class _SocketReader(io.RawIOBase):
    """Reads from a socket, with a deadline for the headers and a minimum rate for the body."""

    def __init__(self, sock: socket.socket) -> None:
        self._sock = sock
        self._raw = sock.makefile("rb", buffering=0)
        self._silence = sock.gettimeout() or _SILENCE
        self._rate = TransferRate(self._silence)
        self._timeout = self._silence
        self._head_deadline: float | None = time.monotonic() + self._silence
        self.failure: OSError | None = None

    def makefile(self, mode: str) -> io.BufferedReader:  # noqa: ARG002 - all that http.client asks of a socket
        return io.BufferedReader(self, _BUFFER)

    def head_is_complete(self) -> None:
        self._head_deadline = None
        self._set_timeout(self._silence)

    def readable(self) -> bool:
        return True

    def readinto(self, buffer: Any) -> int:
        if self._head_deadline is not None:
            return self._read_head(buffer, self._head_deadline)
        if self.failure is not None:
            return 0
        start = time.monotonic()
        try:
            count = self._raw.readinto(buffer) or 0
            if count:
                self._rate.note(count, time.monotonic() - start)
        except OSError as error:
            # An exception raised here would discard the bytes that BufferedReader has read already in this
            # call. Returning the end of the stream does not; `StreamedResponse` counts the bytes and checks
            # `failure`. The traceback is removed because it keeps frames alive whose view of the buffer
            # outlives the buffer.
            self.failure = error.with_traceback(None)
            return 0
        return count

    def _read_head(self, buffer: Any, deadline: float) -> int:
        left = deadline - time.monotonic()
        # Headers usually arrive at once, so set the timeout, a system call, only if they do not.
        if left < 0.9 * self._timeout:
            self._set_timeout(max(left, 0.001))
        try:
            return self._raw.readinto(buffer) or 0
        except ssl.SSLError as error:
            raise ConnectionAbortedError(_tls_broken(error)) from error

    def _set_timeout(self, seconds: float) -> None:
        if seconds != self._timeout:
            self._timeout = seconds
            self._sock.settimeout(seconds)

    def close(self) -> None:
        self._raw.close()
        super().close()


_LONGEST_TRAILER = 64 * 1024


class ConnectionResponse(http.client.HTTPResponse):
    """The response that `StreamedResponse` reads from; has what urllib3's pools need of its own responses."""

    version_string = "HTTP/1.1"

    def __init__(self, sock: socket.socket, *args: Any, **kwargs: Any) -> None:
        self._reader = _SocketReader(sock)
        super().__init__(self._reader, *args, **kwargs)  # type: ignore[arg-type]
        # Set by urllib3's pool.
        self._pool: Any = None
        self._connection: Any = None

    def begin(self) -> None:
        """Read the status line and the headers."""
        seen = self.fp.peek()
        end = seen.find(b"\r\n\r\n")
        plain = plain_head(seen[:end]) if end > 0 else None
        if plain is not None and self._take_plain(*plain):
            self.fp.read(end + 4)
        else:
            super().begin()
            unfolded = {name: _FOLD.sub(" ", value) for name, value in _joined(self.headers)}
            self.headers = self.msg = Headers(unfolded)  # type: ignore[assignment]
        self._reader.head_is_complete()

    def _read_and_discard_trailer(self) -> None:
        """Read what follows the last chunk, which http.client does for as long as the server sends it."""
        left = _LONGEST_TRAILER
        while (line := self.fp.readline(left + 1)) not in {b"\r\n", b"\n", b""}:
            left -= len(line)
            if left < 0:
                raise http.client.LineTooLong("trailer")

    def _take_plain(self, status: int, reason: str, headers: Headers) -> bool:
        """Use a parsed head if its body length is given in the usual way."""
        length = content_length(headers)
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
    def length_remaining(self) -> int | None:
        """Bytes of the body that have not been read, if known."""
        return self.length

    @property
    def failure(self) -> OSError | None:
        """The error that ended the body early, if any."""
        return self._reader.failure

    def release_conn(self) -> None:
        """Return the connection to its pool for reuse."""
        # The connection refers to its last response: if that referred to the pool, the pool would be kept for
        # ever by its own finalizer, which refers to the connections, and would never close them.
        connection, self._connection = self._connection, None
        pool, self._pool = self._pool, None
        if connection is not None:
            pool._put_conn(connection)  # noqa: SLF001 - as urllib3's own response does

    def disconnect(self) -> None:
        """Close the connection and return it to its pool, which opens it again when needed."""
        self.close()
        if self._connection is not None:
            self._connection.close()
        self.release_conn()


def _joined(headers: Any) -> list[tuple[str, str]]:
    """Return the headers; those that occur several times are joined (RFC 9110, section 5.3)."""
    joined: dict[str, list[str]] = {}
    for name, value in headers.items():
        joined.setdefault(name.lower(), []).append(value)
    return [(name, ", ".join(values)) for name, values in joined.items()]


def _tls_broken(error: ssl.SSLError) -> str:
    """Return the message for an established TLS connection that broke."""
    return f"TLS: {error.reason or 'the connection was cut off'}"


class _Http1:
    """Adds the changes in the module's docstring to urllib3's connections."""

    sock: Any
    host: str
    port: int
    default_port: int
    proxy: Any
    timeout: Any
    _host_header: str | None = None
    _method_sent: str | None = None

    def request(self, method: str, url: str, body: Any = None, headers: Any = None, **options: Any) -> None:
        """Send a request; a small one on an established connection in one step."""
        head = None
        if self.sock is not None and self.proxy is None and (body is None or isinstance(body, bytes)):
            if self._host_header is None:
                self._host_header = host_header(self.host, self.port, self.default_port)
            head = request_head(method, self._host_header, url, headers or {}, body)
        if head is None:
            super().request(method, url, body, headers, **options)  # type: ignore[misc]
            return
        self.sock.settimeout(self.timeout)
        self._method_sent = method
        self.send(head + (body or b""))

    def getresponse(self) -> ConnectionResponse:
        """Read the head of the response."""
        self.sock.settimeout(self.timeout)
        method, self._method_sent = self._method_sent, None
        if method is None:
            # Not urllib3's getresponse, which would wrap the response in a slower one.
            response: ConnectionResponse = http.client.HTTPConnection.getresponse(self)  # type: ignore[arg-type,assignment]
            return response
        response = ConnectionResponse(self.sock, method=method)
        try:
            response.begin()
        except BaseException:
            response.close()
            raise
        if response.will_close:
            self.close()  # type: ignore[attr-defined]
        return response

    def send(self, data: Any) -> None:
        """Send `data`."""
        try:
            self._send(data)
        except ssl.SSLError as error:
            # As without TLS: a response that arrived before the service closed the connection can still be
            # read.
            raise BrokenPipeError(errno.EPIPE, _tls_broken(error)) from error

    def _send(self, data: Any) -> None:
        """Send large pieces bit by bit: ``sendall`` applies one timeout to the whole piece."""
        if not isinstance(data, memoryview) or self.sock is None:
            super().send(data)  # type: ignore[misc]
            return
        rate = TransferRate(self.sock.gettimeout() or _SILENCE)
        while data:
            start = time.monotonic()
            count = self.sock.send(data)
            rate.note(count, time.monotonic() - start)
            data = data[count:]


class Http1Connection(_Http1, HTTPConnection):  # type: ignore[misc]
    """A connection without TLS."""

    response_class = ConnectionResponse


class Https1Connection(_Http1, HTTPSConnection):  # type: ignore[misc]
    """A connection with TLS."""

    response_class = ConnectionResponse


CONNECTIONS = {"http": Http1Connection, "https": Https1Connection}
"""Values for ``ConnectionCls`` of urllib3's pools, by scheme."""
