"""The access log: one line of JSON for each request."""

from __future__ import annotations

import json
import logging
import sys
from datetime import UTC, datetime, timedelta
from logging.handlers import WatchedFileHandler
from typing import TYPE_CHECKING

from rinofs.server.logs import redact, redacted_start

if TYPE_CHECKING:
    from collections.abc import Callable, Collection

    from rinofs.server.exchanges import Exchange

__all__ = ["writes_access_log"]

_LONGEST_PATH = 2000


def writes_access_log(place: str, secrets: Collection[str] = ()) -> Callable[[Exchange], None]:
    """Return a function that logs a request: what was requested, by whom, and the outcome.

    A line contains neither the query nor headers, since they may contain secrets.

    Parameters
    ----------
    place : str
        A file, which may be rotated by renaming, or ``-`` for standard output.
    secrets : collection of str
        Secrets without a recognisable format, such as a token chosen by the user.

    Raises
    ------
    OSError
        If the file cannot be opened.
    """
    handler: logging.Handler
    handler = logging.StreamHandler(sys.stdout) if place == "-" else WatchedFileHandler(place)
    handler.setFormatter(logging.Formatter("%(message)s"))
    logger = logging.getLogger("rinofs.access")
    logger.handlers, logger.propagate = [handler], False
    logger.setLevel(logging.INFO)
    hidden = tuple(secret for secret in secrets if secret)
    return lambda exchange: logger.info(_line(exchange, hidden))


def _line(exchange: Exchange, secrets: Collection[str]) -> str:
    """Return a log line that cannot forge other lines or control a terminal."""
    began = datetime.now(UTC) - timedelta(seconds=exchange.seconds)
    entry = {
        "time": began.isoformat(timespec="milliseconds"),
        "user": exchange.user[0] if exchange.user else None,
        "method": exchange.method,
        "path": redacted_start(exchange.path, _LONGEST_PATH, secrets),
        "status": exchange.status,
        "bytes": exchange.sent,
        "ms": round(exchange.seconds * 1000, 1),
        "request_id": redact(exchange.name.decode(), secrets),
    }
    return json.dumps(entry)
