"""A local HTTP server that receives the redirect at the end of a login."""

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
    # Allows reusing the port at once. On Windows, it would let other processes take the port
    # (https://learn.microsoft.com/windows/win32/winsock/using-so-reuseaddr-and-so-exclusiveaddruse).
    allow_reuse_address = os.name != "nt"
    listener: Listener

    def handle_error(self, request: Any, client_address: Any) -> None:
        """Ignore errors: the user need not know that a browser closed the connection."""


class _Server6(_Server):
    address_family = socket.AF_INET6


class _Handler(BaseHTTPRequestHandler):
    server: _Server
    timeout = 10  # seconds; an idle connection must not block the one with the code

    def do_GET(self) -> None:
        """Handle the redirect."""
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
        """Log nothing: the URL contains the code."""


class Listener:
    """Waits for the redirect.

    Attributes
    ----------
    redirect_uri : str
        URL of the redirect.
    """

    def __init__(self, redirect_uri: str) -> None:
        self.redirect_uri = redirect_uri
        self._state: str | None = None
        self._arrived = threading.Event()
        self._code: str | None = None
        self._error = ""

    def expect(self, state: str) -> None:
        """Set the state of the expected login."""
        self._state = state

    def take(self, path: str) -> tuple[int, str]:
        """Handle a redirected URL; returns the status and the text of the response."""
        parts = urlsplit(path)
        query = parse_qs(parts.query)
        state, codes, errors = (query.get(name, []) for name in ("state", "code", "error"))
        known = self._state is not None and len(state) == 1
        if not known or not hmac.compare_digest(state[0].encode(), (self._state or "").encode()):
            # Any local process can send requests to this port: accept only those that know the state.
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
        """Wait for the redirect and return the code.

        Raises
        ------
        AuthenticationError
            If the user denied access.
        DeadlineError
            If no redirect arrived in time.
        """
        deadline = time.monotonic() + timeout
        # In short waits, since Ctrl-C does not interrupt a long one on Windows.
        while not self._arrived.wait(0.2):
            if time.monotonic() > deadline:
                raise DeadlineError(f"no login within {timeout:.0f} s; try again", self.redirect_uri)
        if self._code is None:
            shown = "".join(each for each in self._error if each.isprintable())[:100]
            raise AuthenticationError(f"the login was denied ({shown})", self.redirect_uri)
        return self._code


@contextmanager
def listening(port: int) -> Iterator[Listener]:
    """Listen on a local port for the redirect of a login.

    Parameters
    ----------
    port : int
        Registered port; 0 for any free port.

    Yields
    ------
    Listener
        Receives the redirect.

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
    with suppress(OSError):  # without IPv6, no browser connects by it
        servers.append(_Server6(("::1", first.server_port), _Handler))
    listener = Listener(f"http://localhost:{first.server_port}")
    serving = []
    try:
        for server in servers:
            server.listener = listener
            threading.Thread(target=server.serve_forever, args=(0.1,), name="listener", daemon=True).start()
            serving.append(server)
        yield listener
    finally:
        for server in serving:  # `shutdown` would wait for ever for one that never began to serve
            server.shutdown()
        for server in servers:
            server.server_close()
