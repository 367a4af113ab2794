"""What happens to every request on its way in, and to every answer on its way out.

Plain ASGI: each of these costs a function call a request.
"""

from __future__ import annotations

import logging
from typing import TYPE_CHECKING

from rinofs.server.web.responses import error_response

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["AnswerFailures", "AnswerHeaders"]

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
