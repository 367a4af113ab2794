"""Endpoint URLs: validation and comparison."""

from __future__ import annotations

from urllib.parse import urlsplit

from rinofs.errors import InvalidOptionError
from rinofs.protocol import names

__all__ = ["canonical_endpoint", "check_endpoint", "is_loopback", "same_endpoint"]

_DEFAULT_PORTS = {"http": 80, "https": 443}


def check_endpoint(endpoint_url: str) -> None:
    """Raise an error for anything but the URL of a server.

    Raises
    ------
    InvalidOptionError
        If it is not an http or https URL, or contains a user, a password, a query or a fragment.
    """
    _origin(endpoint_url)


def canonical_endpoint(endpoint_url: str) -> str:
    """Return an endpoint URL in canonical form: host in lower case, no default port, no trailing slash.

    Raises
    ------
    InvalidOptionError
        If it is not the URL of a server.
    """
    scheme, host, port, path = _origin(endpoint_url)
    name = f"[{host}]" if ":" in host else host
    return f"{scheme}://{name}{'' if port == _DEFAULT_PORTS[scheme] else f':{port}'}{path}"


def is_loopback(endpoint_url: str) -> bool:
    """Return whether the endpoint is on this machine.

    Raises
    ------
    InvalidOptionError
        If it is not the URL of a server.
    """
    return names.is_loopback(_origin(endpoint_url)[1])


def same_endpoint(one: str, other: str) -> bool:
    """Return whether two endpoint URLs stand for the same server and path.

    Raises
    ------
    InvalidOptionError
        If one of them is not an http or https URL.
    """
    return _origin(one) == _origin(other)


def _origin(endpoint_url: str) -> tuple[str, str, int, str]:
    try:
        parts = urlsplit(endpoint_url)
        port = parts.port
    except (ValueError, AttributeError, TypeError):
        parts, port = urlsplit(""), None
    if parts.scheme not in _DEFAULT_PORTS or not parts.hostname:
        raise InvalidOptionError(
            f"{names.without_login(str(endpoint_url))!r} is not a valid endpoint; use a URL such as https://rinocloud.com"
        )
    # An @ in the path is that of a password with a slash.
    if "@" in endpoint_url or parts.query or parts.fragment:
        raise InvalidOptionError("an endpoint URL must not contain a user, password, query or fragment")
    if parts.path.rstrip("/").endswith("/api/1"):
        # With it, the response to every request would be "not found", as if nothing existed.
        shown = names.without_login(endpoint_url)
        raise InvalidOptionError(f"{shown!r}: remove /api/1 from the endpoint URL")
    return parts.scheme, parts.hostname, port or _DEFAULT_PORTS[parts.scheme], parts.path.rstrip("/")
