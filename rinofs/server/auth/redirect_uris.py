"""Check redirect URIs of OAuth clients."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from rinofs.protocol.names import is_loopback, without_login
from rinofs.server.errors import BadRequest

__all__ = ["SHOW_TOKEN", "check_redirect_uri", "policy_source"]

SHOW_TOKEN = "/oauth/show_token"  # noqa: S105 (a path)
"""Path of this server's page that shows a code, for programs that a browser cannot redirect to."""

_ALLOWED = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,=%-]{1,2000}")
_RUNNING = frozenset({"javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "ws", "wss"})


def check_redirect_uri(uri: str) -> None:
    """Refuse a URI to which users must not be sent with a code.

    Parameters
    ----------
    uri : str
        The URI, exactly as in the requests of the program.

    Raises
    ------
    BadRequest
        If it is not an absolute URI without a fragment, or would send the code unencrypted over a network.
    """
    if not _ALLOWED.fullmatch(uri):
        raise _refusal(uri, "an absolute URI of plain ASCII characters without a fragment is needed")
    try:
        parts = urlsplit(uri)
        host, _ = parts.hostname, parts.port
    except ValueError as error:
        raise _refusal(uri, str(error)) from error
    if "@" in parts.netloc:
        raise _refusal(uri, "a name or password in it would be sent along")
    if parts.scheme in {"http", "https"}:
        _check_web(uri, parts, host)
    elif not parts.scheme or parts.scheme in _RUNNING or "." not in parts.scheme:
        raise _refusal(uri, "https, http to this very machine, or a scheme with a dot in it is needed")


def _check_web(uri: str, parts: SplitResult, host: str | None) -> None:
    if not host:
        raise _refusal(uri, "it names no host")
    # A user who reaches this server's own page unencrypted has just sent the password that way too.
    # A proxy may serve the page below another path.
    shown = parts.path.endswith(SHOW_TOKEN)
    if parts.scheme == "http" and not is_loopback(host) and not shown:
        raise _refusal(uri, "https is needed where it leads to another machine")


def policy_source(uri: str) -> str:
    """Return the source in a Content-Security-Policy for a checked redirect URI."""
    parts = urlsplit(uri)
    # Such policies do not allow the brackets of IPv6 addresses.
    if parts.scheme not in {"http", "https"} or "[" in parts.netloc:
        return f"{parts.scheme}:"
    return f"{parts.scheme}://{parts.netloc}"


def _refusal(uri: str, reason: str) -> BadRequest:
    return BadRequest(f"redirect_uri: {without_login(uri)!r} cannot be used: {reason}", field="redirect_uri")
