"""Answering only requests that are addressed to this server.

A page in a browser can have its own name resolve to the loopback address and so reach a server that
listens there only. What it cannot do is send another ``Host`` than its own name.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING

from rinofs.server.web.responses import error_response

if TYPE_CHECKING:
    from collections.abc import Collection

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["HostGuard", "host_name", "is_loopback"]

_HOST = re.compile(r"(\[[0-9a-f:.]+\]|[a-z0-9._-]+)(?::\d{1,5})?", re.ASCII)


class HostGuard:
    """Refuse requests to other names than the server's with 421, and those without one with 400.

    Parameters
    ----------
    app : ASGIApp
        What answers the others.
    allowed : collection of str
        Names and addresses, without port, beside those of the loopback interface.
    """

    def __init__(self, app: ASGIApp, allowed: Collection[str]) -> None:
        self._app = app
        self._allowed = frozenset(name.lower().strip("[]") for name in allowed)
        self._known: set[bytes] = set()

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, or refuse it."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        hosts = [value for key, value in scope["headers"] if key == b"host"]
        if len(hosts) == 1 and (hosts[0] in self._known or self._admits(hosts[0])):
            await self._app(scope, receive, send)
            return
        name = host_name(hosts[0].decode("latin-1")) if len(hosts) == 1 else None
        if name is None:
            answer = error_response(400, "the request needs one Host header with a name in it")
        else:
            message = (
                f"this server does not answer for {name}; start it with --allowed-host {name} if it should"
            )
            answer = error_response(421, message)
        await answer(scope, receive, send)

    def _admits(self, host: bytes) -> bool:
        name = host_name(host.decode("latin-1"))
        if name is None or not (name in self._allowed or is_loopback(name)):
            return False
        if len(self._known) < 64:
            self._known.add(host)
        return True


def host_name(host: str) -> str | None:
    """Return the name or address in a ``Host`` header, in lower case, or None where it holds none."""
    match = _HOST.fullmatch(host.lower())
    return match.group(1).strip("[]").removesuffix(".") if match else None


def is_loopback(name: str) -> bool:
    """Tell whether a name or address can only mean the machine that it is used on."""
    if name == "localhost":
        return True
    try:
        return ipaddress.ip_address(name).is_loopback
    except ValueError:
        return False
