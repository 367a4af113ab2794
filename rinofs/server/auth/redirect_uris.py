"""Check redirect URIs of OAuth clients."""

from __future__ import annotations

import re
from urllib.parse import SplitResult, urlsplit

from rinofs.protocol.names import is_loopback
from rinofs.server.errors import BadRequest

__all__ = ["SHOW_TOKEN", "check_redirect_uri", "policy_source"]

SHOW_TOKEN = "/oauth/show_token"  # noqa: S105 (a path)
"""Path of the page of this server that shows a code, for programs that no browser can come back to."""

_ALLOWED = re.compile(r"[A-Za-z0-9._~:/?\[\]@!$&'()*+,=%-]{1,2000}")
_RUNNING = frozenset({"javascript", "data", "vbscript", "file", "blob", "about", "filesystem", "ws", "wss"})


def check_redirect_uri(uri: str) -> None:
    """Refuse an address that users must not be sent to with a code.

    Parameters
    ----------
    uri : str
        The address, exactly as programs will ask for it.

    Raises
    ------
    BadRequest
        If it is not an absolute URI without a fragment, or would let the code cross a network unencrypted.
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
    # Whoever reaches the page that shows codes without encryption has sent the password so, just before.
    # A proxy may serve it below a path of its own.
    shown = parts.path.endswith(SHOW_TOKEN)
    if parts.scheme == "http" and not is_loopback(host) and not shown:
        raise _refusal(uri, "https is needed where it leads to another machine")


def policy_source(uri: str) -> str:
    """Return what a Content-Security-Policy calls the place that a checked address leads to."""
    parts = urlsplit(uri)
    # Brackets, of IPv6 addresses, have no place in such policies.
    if parts.scheme not in {"http", "https"} or "[" in parts.netloc:
        return f"{parts.scheme}:"
    return f"{parts.scheme}://{parts.netloc}"


def _refusal(uri: str, reason: str) -> BadRequest:
    return BadRequest(f"redirect_uri: {uri!r} cannot be used: {reason}", field="redirect_uri")
