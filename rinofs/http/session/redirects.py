"""Decide which redirects are followed."""

from __future__ import annotations

from urllib.parse import urljoin, urlsplit

from rinofs.errors import ProtocolError

MAX_REDIRECTS = 5

REDIRECTS = frozenset({301, 302, 303, 307, 308})

_DEFAULT_PORTS = {"http": 80, "https": 443}


def origin(url: str) -> tuple[str, str, int]:
    """Return scheme, host and port of a URL; credentials are sent to one origin only.

    Raises
    ------
    ValueError
        If it is not an http or https URL with a host.
    """
    parts = urlsplit(url)
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise ValueError("not an http or https URL with a host")
    return parts.scheme, parts.hostname, parts.port or _DEFAULT_PORTS[parts.scheme]


def redirect_target(method: str, url: str, status: int, location: str, *, label: str) -> str:
    """Return the target of a redirect, or refuse it.

    A read is redirected anywhere, except from https to http. A write is redirected within its origin only,
    and only with a status that keeps the method (307, 308).

    Raises
    ------
    ProtocolError
        If the redirect is refused.
    """
    target = urljoin(url, location).partition("#")[0]
    try:
        here, there = origin(url), origin(target)
    except ValueError:
        raise ProtocolError(f"a redirect ({status}) has no valid URL; check endpoint_url", label) from None
    shown = f"{there[0]}://{there[1]}:{there[2]}"
    if here[0] == "https" and there[0] == "http":
        raise ProtocolError(f"a redirect ({status}) from https to {shown} is not followed", label)
    if method not in {"GET", "HEAD"} and (here != there or status not in {307, 308}):
        raise ProtocolError(
            f"a redirect ({status}) of a {method} to {shown} is not followed;"
            " if the service has moved, set endpoint_url to its new address",
            label,
        )
    return target
