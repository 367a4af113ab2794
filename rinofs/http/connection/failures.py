"""Classify attempts without a response by their system errors, to decide whether to send again."""

from __future__ import annotations

import http.client
import re
import ssl
from urllib.parse import urlsplit

import requests
import urllib3.exceptions

from rinofs.http.connection.limits import FailureKind, Unanswered
from rinofs.http.connection.redact import excerpt


def root_of(error: BaseException) -> BaseException:
    """Return the innermost cause of an error of urllib3 or requests; outer ones contain request headers."""
    while True:
        inner = getattr(error, "reason", None) or next(
            (arg for arg in error.args if isinstance(arg, Exception)), None
        )
        if not isinstance(inner, Exception):
            return error
        error = inner


def quotes_the_server(root: BaseException) -> bool:
    """Return whether an error contains what the server sent, which may be anything, even the token."""
    return isinstance(root, http.client.HTTPException) and not isinstance(root, OSError)


def _reason(root: BaseException) -> str:
    """Return why an attempt failed, in the operating system's words if possible."""
    if quotes_the_server(root):
        return type(root).__name__
    words = str(root).rpartition("): ")[2]
    from_system = re.search(r"\[Errno -?\d+\] ([^()]+)", words)
    return excerpt(from_system[1].strip() if from_system else words or type(root).__name__)


def unanswered(error: Exception, origin: str) -> Unanswered:
    """Classify a failed attempt."""
    root = root_of(error)
    host = urlsplit(origin).netloc
    kinds = {type(error), type(root)}
    reason = _reason(root)

    def has(*wanted: type) -> bool:
        return any(issubclass(kind, wanted) for kind in kinds)

    if has(urllib3.exceptions.ProxyError, requests.exceptions.ProxyError):
        return Unanswered(FailureKind.NOT_SENT, f"the proxy for {host} did not connect ({reason})")
    is_cut_off = isinstance(root, ssl.SSLEOFError)  # not a certificate error
    if has(urllib3.exceptions.SSLError, requests.exceptions.SSLError) and not is_cut_off:
        advice = "name your certificates in REQUESTS_CA_BUNDLE"
        if "WRONG_VERSION_NUMBER" in reason:
            advice = f"what answers there does not speak https: is it http://{host}?"
        return Unanswered(FailureKind.UNTRUSTED, f"no trusted connection to {host} ({reason}); {advice}")
    if has(
        urllib3.exceptions.NewConnectionError,
        urllib3.exceptions.ConnectTimeoutError,
        requests.exceptions.ConnectTimeout,
    ):
        return Unanswered(
            FailureKind.NOT_SENT,
            f"could not connect to {host} ({reason}); is the server running, and is its URL right?",
        )
    if has(TimeoutError, urllib3.exceptions.TimeoutError, requests.exceptions.Timeout):
        return Unanswered(FailureKind.SLOW, f"no answer from {host} in time")
    return Unanswered(FailureKind.LOST, f"the connection to {host} broke ({reason})")
