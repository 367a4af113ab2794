"""The access log: one line of JSON for each request that was answered."""

from __future__ import annotations

import json
import logging
import re
import sys
import time
import uuid
from datetime import UTC, datetime
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING, Any

from rinofs.server.logs import redact
from rinofs.server.web.connections import EXTENSION
from rinofs.server.web.responses import SENDER

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.types import ASGIApp, Message, Receive, Scope, Send

__all__ = ["AccessLog", "with_access_log"]

REQUEST_ID = b"x-request-id"
"""Names a request in the log: as the client, or a proxy, calls it, or else at random."""

_GOOD_ID = re.compile(rb"[A-Za-z0-9._-]{1,64}")
_LONGEST_PATH = 2000


def with_access_log(app: ASGIApp, place: str | None) -> ASGIApp:
    """Return an application whose requests are written down.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    place : str or None
        A file, which may be renamed meanwhile, or ``-`` for standard output; None to write nothing.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    if place is None:
        return app
    handler: logging.Handler
    handler = logging.StreamHandler(sys.stdout) if place == "-" else WatchedFileHandler(place)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("rinofs.access")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    return AccessLog(app, logger.info)


class AccessLog:
    """Write down what was asked for, by whom, and what came of it.

    A line has neither the query nor headers, in which secrets may be.

    Parameters
    ----------
    app : ASGIApp
        What answers.
    write : callable
        Takes each line.
    """

    def __init__(self, app: ASGIApp, write: Callable[[str], None]) -> None:
        self._app = app
        self._write = write

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Answer, and write it down."""
        if scope["type"] != "http":
            await self._app(scope, receive, send)
            return
        entry = _Entry(scope)

        async def noting(message: Message) -> None:
            await send(entry.note(message))

        try:
            await self._app({**scope, SENDER: entry.user}, receive, noting)
        finally:
            self._write(entry.line())


class _Entry:
    """What is known of one request."""

    def __init__(self, scope: Scope) -> None:
        self.user: list[str] = []
        self._scope = scope
        self._begun, self._time = time.monotonic(), datetime.now(UTC)
        given = dict(scope["headers"]).get(REQUEST_ID, b"")
        self._id = given if _GOOD_ID.fullmatch(given) else uuid.uuid4().hex.encode()
        self._status: int | None = None
        self._bytes = 0

    def note(self, message: Message) -> Any:
        """Return a message of the answer, with the name of the request where it begins."""
        if message["type"] == "http.response.start":
            self._status = message["status"]
            return {**message, "headers": [*message.get("headers", []), (REQUEST_ID, self._id)]}
        self._bytes += message["count"] if message["type"] == EXTENSION else len(message.get("body", b""))
        return message

    def line(self) -> str:
        """Return the line, in which nothing can be mistaken for another one, or do anything to a terminal."""
        entry = {
            "time": self._time.isoformat(timespec="milliseconds"),
            "user": self.user[0] if self.user else None,
            "method": self._scope["method"],
            "path": redact(self._scope["path"][:_LONGEST_PATH]),
            "status": self._status,
            "bytes": self._bytes,
            "ms": round((time.monotonic() - self._begun) * 1000, 1),
            "request_id": self._id.decode("ascii"),
        }
        return json.dumps(entry)
