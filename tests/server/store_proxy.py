"""What stands between a server and its S3 store, and breaks what passes through."""

from __future__ import annotations

import http.client
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass, field
from http.server import BaseHTTPRequestHandler, ThreadingHTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_NOT_PASSED_ON = {"connection", "transfer-encoding", "keep-alive", "expect"}


@dataclass
class StoreFault:
    """What happens to one request.

    Attributes
    ----------
    status : int, optional
        The proxy answers by itself, with this status.
    delay : float
        Seconds until the answer begins.
    cut_after : int, optional
        The connection ends after so many bytes of the body.
    wrong_byte : int, optional
        This byte of the body has another value.
    silent : bool
        The request reaches the store, and the connection ends without an answer.
    headers : dict
        Headers of the answer that are replaced.
    """

    status: int | None = None
    delay: float = 0.0
    cut_after: int | None = None
    wrong_byte: int | None = None
    silent: bool = False
    headers: dict[str, str] = field(default_factory=dict)


@dataclass
class StoreProxy:
    """A proxy that runs.

    Attributes
    ----------
    endpoint_url : str
        What to take for the store.
    fault : callable, optional
        Takes the method and the path of a request, and returns what happens to it.
    seen : list
        The method and path of each request.
    """

    endpoint_url: str
    fault: Callable[[str, str], StoreFault | None] | None = None
    seen: list[tuple[str, str]] = field(default_factory=list)


class _Server(ThreadingHTTPServer):
    daemon_threads = True

    def __init__(self, store_url: str) -> None:
        super().__init__(("127.0.0.1", 0), _Handler)
        self.store = urlsplit(store_url).netloc
        self.proxy = StoreProxy(f"http://127.0.0.1:{self.server_port}")


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    protocol_version = "HTTP/1.1"

    def pass_on(self) -> None:
        body = self.rfile.read(int(self.headers.get("content-length") or 0))
        proxy = self.server.proxy
        proxy.seen.append((self.command, self.path))
        fault = (proxy.fault and proxy.fault(self.command, self.path)) or StoreFault()
        if fault.status is not None:
            self.send_response_only(fault.status)
            self.send_header("content-length", "0")
            self.end_headers()
            return
        connection = http.client.HTTPConnection(self.server.store, timeout=60)
        # The signature is over the host that the server addressed, which stays as it is.
        connection.putrequest(self.command, self.path, skip_host=True, skip_accept_encoding=True)
        for name, value in self.headers.items():
            if name.lower() not in _NOT_PASSED_ON:
                connection.putheader(name, value)
        connection.endheaders(body)
        answer = connection.getresponse()
        content = answer.read()
        connection.close()
        time.sleep(fault.delay)
        if fault.silent:
            self.close_connection = True
        else:
            self._answer(answer, content, fault)

    def _answer(self, answer: http.client.HTTPResponse, content: bytes, fault: StoreFault) -> None:
        self.send_response_only(answer.status)
        replaced = {*_NOT_PASSED_ON, *fault.headers}
        for name, value in [*answer.getheaders(), *fault.headers.items()]:
            if name.lower() not in replaced or name in fault.headers:
                self.send_header(name, value)
        self.end_headers()
        if fault.wrong_byte is not None and fault.wrong_byte < len(content):
            wrong = bytearray(content)
            wrong[fault.wrong_byte] ^= 1
            content = bytes(wrong)
        if fault.cut_after is not None and fault.cut_after < len(content):
            content = content[: fault.cut_after]
            self.close_connection = True
        self.wfile.write(content)

    def handle(self) -> None:
        with suppress(ConnectionError):
            super().handle()

    def log_message(self, *_arguments: Any) -> None:
        pass


for _method in ("GET", "PUT", "POST", "HEAD", "DELETE"):
    setattr(_Handler, f"do_{_method}", _Handler.pass_on)


@contextmanager
def store_proxy(store_url: str) -> Iterator[StoreProxy]:
    """Run a proxy in front of a store."""
    server = _Server(store_url)
    threading.Thread(target=server.serve_forever, args=(0.05,), daemon=True).start()
    try:
        yield server.proxy
    finally:
        server.shutdown()
        server.server_close()
