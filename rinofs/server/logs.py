"""Logging of the server, without secrets."""

from __future__ import annotations

import asyncio
import logging
import re
import sys
import traceback
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = ["RedactingFilter", "configure_logging", "redact"]

_HIDDEN = "[hidden]"
_LOGGERS = ("rinofs", "uvicorn", "sqlalchemy", "alembic", "asyncio")

# What a secret looks like wherever it stands; the part before it stays.
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
    # the query of a login page
  | ( /o(?:auth)?/[\w/]* \? ) [^\s'"]+
    """,
    re.VERBOSE | re.IGNORECASE,
)


def redact(text: str, secrets: Collection[str] = ()) -> str:
    """Return a text with everything hidden that looks like a secret, or is one.

    Parameters
    ----------
    text : str
        Any text.
    secrets : collection of str
        Secrets that cannot be told by their looks.
    """
    for secret in secrets:
        text = text.replace(secret, _HIDDEN)
    return _SECRETS.sub(lambda match: next(filter(None, match.groups())) + _HIDDEN, text)


class RedactingFilter(logging.Filter):
    """Hide secrets in whatever passes a handler, tracebacks included.

    Parameters
    ----------
    secrets : collection of str
        Secrets that cannot be told by their looks.
    """

    def __init__(self, secrets: Collection[str] = ()) -> None:
        super().__init__()
        self._secrets = tuple(secret for secret in secrets if secret)

    def filter(self, record: logging.LogRecord) -> bool:
        """Let every record pass, redacted."""
        record.msg = redact(record.getMessage(), self._secrets)
        record.args = None
        if record.exc_info:
            trace = "".join(traceback.format_exception(*record.exc_info)).rstrip("\n")
            # Formatters take this text where it is set, and so do not write the traceback themselves.
            record.exc_text = redact(trace, self._secrets)
        return True


def _shorten(record: logging.LogRecord) -> bool:
    """Say in a line that a request was cancelled, which only the end of the server does."""
    if record.exc_info and isinstance(record.exc_info[1], asyncio.CancelledError):
        record.msg, record.args = "the server's end ended a request that was under way", None
        record.exc_info = record.exc_text = None
        record.levelno, record.levelname = logging.WARNING, "WARNING"
    return True


def configure_logging(level: str, secrets: Collection[str] = ()) -> None:
    """Write the messages of a server process to standard error.

    Parameters
    ----------
    level : str
        ``debug``, ``info``, ``warning`` or ``error``.
    secrets : collection of str
        Secrets that cannot be told by their looks, such as a token that was chosen by the user.
    """
    handler = logging.StreamHandler(sys.stderr)
    handler.setFormatter(logging.Formatter("%(asctime)s %(levelname)s %(name)s: %(message)s"))
    handler.addFilter(_shorten)
    handler.addFilter(RedactingFilter(secrets))
    for name in _LOGGERS:
        logger = logging.getLogger(name)
        logger.handlers = [handler]
        logger.propagate = False
        logger.setLevel(level.upper())
