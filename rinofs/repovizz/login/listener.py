"""The other end of the redirect: a page on this machine that takes one login and thanks for it."""

from __future__ import annotations

import hmac
import os
import socket
import threading
import time
from contextlib import contextmanager, suppress
from http.server import BaseHTTPRequestHandler, HTTPServer
from typing import TYPE_CHECKING, Any
from urllib.parse import parse_qs, urlsplit

from rinofs.errors import AuthenticationError, CredentialsError, DeadlineError

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["Listener", "listening"]

_DONE = "You are logged in. You can close this page and go back to your program."
_REFUSED = "You did not allow access, or something went wrong. Your program says more."
_UNKNOWN = "This is not the answer to the login that your program waits for."


class _Server(HTTPServer):
    # To take the port again at once; on Windows, it would let others take it meanwhile.
    allow_reuse_address = os.name != "nt"
    listener: Listener

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Say nothing: the user need not know that a browser hung up."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # a connection that sends nothing must not hold up the one that brings the code

    def do_GET(self) -> None:
        """Take what the browser brings."""
        status, text = self.server.listener.take(self.path)
        page = f"<!doctype html><html lang=en><title>rinofs</title><p>{text}</p></html>".encode()
        self.send_response(status)
        self.send_header("Content-Type", "text/html; charset=utf-8")
        self.send_header("Content-Length", str(len(page)))
        self.send_header("Content-Security-Policy", "default-src 'none'; frame-ancestors 'none'")
        self.send_header("Referrer-Policy", "no-referrer")
        self.send_header("Cache-Control", "no-store")
        self.end_headers()
        self.wfile.write(page)

    def log_message(self, *args: Any) -> None:
        """Write nothing: the address holds the code."""


class Listener:
    """Waits for the browser to come back.

    Attributes
    ----------
    redirect_uri : str
        Where it is to be sent.
    """

    def __init__(self, redirect_uri: str) -> None:
        self.redirect_uri = redirect_uri
        self._state: str | None = None
        self._arrived = threading.Event()
        self._code: str | None = None
        self._error = ""

    def expect(self, state: str) -> None:
        """Say which login is waited for."""
        self._state = state

    def take(self, path: str) -> tuple[int, str]:
        """Take the address that a browser was sent to; return what to answer."""
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        state, codes, errors = (query.get(name, []) for name in ("state", "code", "error"))
        known = self._state is not None and len(state) == 1
        if not known or not hmac.compare_digest(state[0].encode(), (self._state or "").encode()):
            # Anything on this machine can send requests here: only who knows the state is listened to.
            return 400, _UNKNOWN
        if self._arrived.is_set():
            return 400, _UNKNOWN
        if errors:
            self._error = errors[0]
        elif len(codes) == 1:
            self._code = codes[0]
        else:
            return 400, _UNKNOWN
        self._arrived.set()
        return (200, _DONE) if self._code else (200, _REFUSED)

    def wait(self, timeout: float) -> str:
        """Return the code.

        Raises
        ------
        AuthenticationError
            If the user did not allow it.
        DeadlineError
            If nobody came in time.
        """
        deadline = time.monotonic() + timeout
        # In steps, so that Ctrl-C is heard on every system.
        while not self._arrived.wait(0.2):
            if time.monotonic() > deadline:
                raise DeadlineError(f"no login within {timeout:.0f} s; try again", self.redirect_uri)
        if self._code is None:
            shown = "".join(each for each in self._error if each.isprintable())[:100]
            raise AuthenticationError(f"the login was denied ({shown})", self.redirect_uri)
        return self._code


@contextmanager
def listening(port: int) -> Iterator[Listener]:
    """Listen on this machine for the redirect of a login.

    Parameters
    ----------
    port : int
        The port that is registered with the service; 0 takes a free one.

    Yields
    ------
    Listener
        What the login arrives at.

    Raises
    ------
    CredentialsError
        If the port is in use.
    """
    try:
        first = _Server(("127.0.0.1", port), _Handler)
    except (OSError, OverflowError) as error:
        raise CredentialsError(
            f"cannot listen on port {port}: is another login waiting? use --port with another registered "
            "redirect, or --no-browser",
            f"http://localhost:{port}",
        ) from error
    servers: list[_Server] = [first]
    with suppress(OSError):  # where there is no IPv6, no browser comes by it
        servers.append(_Server6(("::1", first.server_port), _Handler))
    listener = Listener(f"http://localhost:{first.server_port}")
    threads = []
    for server in servers:
        server.listener = listener
        threads.append(threading.Thread(target=server.serve_forever, args=(0.1,), daemon=True))
    try:
        for thread in threads:
            thread.start()
        yield listener
    finally:
        for server in servers:
            server.shutdown()
            server.server_close()
