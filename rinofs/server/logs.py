"""The server's logging, without secrets."""

from __future__ import annotations

import asyncio
import json
import logging
import re
import sys
import traceback
from contextvars import ContextVar
from datetime import UTC, datetime
from typing import TYPE_CHECKING

from rinofs.errors import visible

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "CURRENT_REQUEST",
    "FORMATS",
    "_LOGGERS",
    "RedactingFilter",
    "configure_logging",
    "redact",
    "redacted_start",
]

CURRENT_REQUEST: ContextVar[bytes] = ContextVar("rinofs_current_request", default=b"")
"""The id of the current request, in its task and in the threads that work for it."""

FORMATS = ("text", "json")
"""Formats of log messages: text for people, or one line of JSON each."""

_HIDDEN = "[hidden]"
_LOGGERS = ("rinofs", "uvicorn", "sqlalchemy", "alembic", "asyncio")

# Patterns of secrets anywhere in a text; the part before the secret is kept. Clients send texts of 64 KiB, so
# a pattern must take time in proportion to the text: what it repeats must not contain where it begins.
_SECRETS = re.compile(
    r"""
    # a token of this server
    ( \brino_ ) [A-Za-z0-9_-]+
    # an Authorization header, with or without a scheme
  | ( \bauthorization\b ['",:=\sb(]+ (?:[a-z]+[ ]+)? ) (?!\[) [^\s'",;)\]]+
    # its value alone
  | ( \b(?:Token|Bearer|Basic) [ ]+ ) [^\s'",;)\]]{16,}
    # a field of a form or document
  | ( (?:\b|_)(?:access_token|refresh_token|client_secret|password|token|code_verifier|code)
      \b['"]? \s* [=:] \s* ['"]? ) (?!\[) [^\s'",;&)\]}]+
    """,
    re.VERBOSE | re.IGNORECASE,
)
# A path with a query, which may have others in it, and what the paths of login pages contain. One pattern for
# both would search the path again from each place where it may begin.
_QUERY = re.compile(r"""(?<![\w/]) [\w/]++ \? [^\s'"]+""", re.VERBOSE)
_NO_PATH = re.compile(r"[^\w/]")
_LOGIN = re.compile("/o(?:auth)?/", re.IGNORECASE)

_CUT = 64
"""Characters that are enough to recognise a secret; `_SECRETS` needs 16."""


def redact(text: str, secrets: Collection[str] = ()) -> str:
    """Return a text with everything hidden that is a secret or looks like one.

    Parameters
    ----------
    text : str
        Any text.
    secrets : collection of str
        Secrets without a recognisable format.
    """
    text = _QUERY.sub(_without_query, _without(text, secrets))
    return _SECRETS.sub(lambda match: next(filter(None, match.groups())) + _HIDDEN, text)


def redacted_start(text: str, longest: int, secrets: Collection[str] = ()) -> str:
    """Return the beginning of a text, redacted, without searching all of a long text.

    Parameters
    ----------
    text : str
        Any text.
    longest : int
        Maximum number of characters.
    secrets : collection of str
        Secrets without a recognisable format.
    """
    text = _without(text, secrets)
    start = redact(text[: longest + _CUT])
    if len(text) > longest + _CUT:
        start = start[:-_CUT]  # this may be a part of a secret, not recognised without the rest
    return start[:longest]


def _without(text: str, secrets: Collection[str]) -> str:
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return text


def _without_query(match: re.Match[str]) -> str:
    text, end = match.group(), 0
    for part in text.split("?"):
        end += len(part) + 1
        if end < len(text) and _LOGIN.search(_NO_PATH.split(part)[-1]):
            return text[:end] + _HIDDEN
    return text


class RedactingFilter(logging.Filter):
    """Hides secrets in all records of a handler, including tracebacks.

    Parameters
    ----------
    secrets : collection of str
        Secrets without a recognisable format.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secret for secret in secrets if secret)

    def filter(self, record: logging.LogRecord) -> bool:
        """Redact the record, add the id of the current request, and let it pass."""
        record.request_id = redact(CURRENT_REQUEST.get().decode(), self._secrets)
        record.msg = redact(record.getMessage(), self._secrets)
        record.args = None
        if record.exc_info:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            # If this text is set, formatters use it instead of formatting the traceback themselves.
            record.exc_text = redact(trace, self._secrets)
        return True


def _shorten(record: logging.LogRecord) -> bool:
    """Log the cancellation of a request in one line: only the server's shutdown cancels requests."""
    if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
        record.msg, record.args = "the server's end ended a request that was under way", None
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


class _TextFormatter(logging.Formatter):
    """Formats messages for people: each as one line, which nothing from outside can add to or hide.

    The lines of a traceback are indented, so that no text in it looks like a message.
    """

    def __init__(self) -> None:
        super().__init__("%(asctime)s %(levelname)s %(name)s%(of_request)s: %(message)s")

    def format(self, record: logging.LogRecord) -> str:
        request = getattr(record, "request_id", "")
        record.of_request = f" (request {request})" if request else ""
        message, *trace = super().format(record).split("\n")
        return "\n".join([message, *(f"  {visible(line)}" for line in trace)])

    def formatMessage(self, record: logging.LogRecord) -> str:  # noqa: N802 (logging's name)
        return visible(super().formatMessage(record).rstrip("\n"))


class _JsonFormatter(logging.Formatter):
    """Formats each message as one line with a JSON object, whatever it contains."""

    def format(self, record: logging.LogRecord) -> str:
        entry = {
            "time": datetime.fromtimestamp(record.created, UTC).isoformat(timespec="milliseconds"),
            "level": record.levelname.lower(),
            "logger": record.name,
            "message": record.getMessage(),
            "request_id": getattr(record, "request_id", ""),
            "exception": record.exc_text,
        }
        return json.dumps({name: value for name, value in entry.items() if value})


def configure_logging(level: str, secrets: Collection[str] = (), *, form: str = "text") -> None:
    """Write the messages of a server process to standard error.

    Parameters
    ----------
    level : str
        ``debug``, ``info``, ``warning`` or ``error``.
    secrets : collection of str
        Secrets without a recognisable format, such as a token chosen by the user.
    form : str
        One of `FORMATS`.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(_JsonFormatter() if form == "json" else _TextFormatter())
    handler.addFilter(_shorten)
    handler.addFilter(RedactingFilter(secrets))
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
