"""What happens to every request on its way in, and to every answer on its way out.

Plain ASGI: each of these costs a function call a request.
"""

from __future__ import annotations

import ipaddress
import logging
import re
from typing import TYPE_CHECKING

from rinofs.server.web.responses import error_response

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["AnswerFailures", "AnswerHeaders", "HostGuard", "host_name", "is_loopback"]

_log = logging.getLogger("rinofs.server")


class AnswerHeaders:
    """Put the same headers on every answer below a path.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    headers : mapping of str
        The headers.
    below : str
        What the paths begin with.
    """

    def __init__(self, app: ASGIApp, headers: Mapping[str, str], below: str = "/") -> None:
        self._app = app
        self._headers = [(name.encode(), value.encode()) for name, value in headers.items()]
        self._below = below

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on, and its answer back with the headers."""

        async def stamped(message: Message) -> None:
            if message["type"] == "http.response.start":
                message["headers"] = [*message["headers"], *self._headers]
            await send(message)

        concerned = scope["type"] == "http" and scope["path"].startswith(self._below)
        await self._app(scope, receive, stamped if concerned else send)


class AnswerFailures:
    """Answer with a plain 500 where the server itself fails, and write down why.

    Parameters
    ----------
    app : ASGIApp
        What answers otherwise.
    """

    def __init__(self, app: ASGIApp) -> None:
        self._app = app

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Pass a request on."""
        started = False

        async def noting(message: Message) -> None:
            nonlocal started
            started = True
            await send(message)

        try:
            await self._app(scope, receive, noting)
        except Exception:
            if scope["type"] != "http" or started:
                raise  # half an answer can only be ended by ending the connection
            _log.exception("%s %s failed", scope["method"], scope["path"])
            await error_response(500, "the server failed; its log says why")(scope, receive, send)


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
