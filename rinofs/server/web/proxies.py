"""Requests through a proxy: the client's address from a trusted proxy, and the root path of the server.

Both are plain ASGI, and the outermost middleware: everything else sees the client's own address, scheme and
host, and the paths of the API.
"""

from __future__ import annotations

import ipaddress
import re
from typing import TYPE_CHECKING, TypeAlias

from rinofs.server.budgets import CLIENT_ADDRESS

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

    from starlette.types import ASGIApp, Receive, Scope, Send

__all__ = ["BelowPath", "TrustedProxies", "check_network", "check_root_path"]

Network: TypeAlias = ipaddress.IPv4Network | ipaddress.IPv6Network
Address: TypeAlias = ipaddress.IPv4Address | ipaddress.IPv6Address

_REMEMBERED = 1024
_TOLD = ("for", "proto", "host")
_OWN_PATHS = ("/api", "/o", "/oauth", "/health", "/ready")
_ROOT = re.compile(r"(/[A-Za-z0-9_~-][A-Za-z0-9._~-]*)+")
# A parameter of the Forwarded header (RFC 7239): for=192.0.2.1, for="[2001:db8::1]:4711".
_PAIR = re.compile(r'\s*([A-Za-z]+)=(?:"((?:[^"\\]|\\.)*)"|([^\s",;]*))\s*(;|,|$)')
_WITH_PORT = re.compile(r"\[([0-9A-Fa-f:.]+)\](?::\d+)?|([0-9.]+):\d+")


def check_network(text: str) -> str:
    """Return an IP address or network unchanged.

    Raises
    ------
    ValueError
        If the text is neither.
    """
    ipaddress.ip_network(text, strict=False)
    return text


def check_root_path(text: str) -> str:
    """Return the path below which a server is mounted, without the trailing slash.

    Raises
    ------
    ValueError
        If the path is not valid as a root path.
    """
    path = text.rstrip("/")
    if path and not _ROOT.fullmatch(path):
        raise ValueError("it begins with a slash and has letters, digits and -._~ between slashes")
    if any(path == own or path.startswith(f"{own}/") for own in _OWN_PATHS):
        raise ValueError("the server's own paths begin so; choose another, such as /rinofs")
    return path


class TrustedProxies:
    """Middleware that takes the client's address, scheme and host from headers of trusted proxies.

    It reads ``X-Forwarded-For``, ``-Proto`` and ``-Host``, and ``Forwarded`` only without
    ``X-Forwarded-For``: a proxy that sets one of them passes the other on as the client sent it.

    Parameters
    ----------
    app : ASGIApp
        The application.
    proxies : iterable of str
        Addresses and networks of the proxies. Headers from other peers are ignored.
    """

    def __init__(self, app: ASGIApp, proxies: Iterable[str]) -> None:
        self._app = app
        self._networks = [ipaddress.ip_network(text, strict=False) for text in proxies]
        self._known: dict[str, bool] = {}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application."""
        if scope["type"] == "http" and scope["client"] and self._trusts(scope["client"][0]):
            scope = self._told(scope)
        await self._app(scope, receive, send)

    def _trusts(self, text: str) -> bool:
        known = self._known.get(text)
        if known is None:
            address = _address(text)
            known = address is not None and any(address in network for network in self._networks)
            if len(self._known) < _REMEMBERED:
                self._known[text] = known
        return known

    def _told(self, scope: Scope) -> Scope:
        headers: dict[bytes, list[str]] = {}
        for name, value in scope["headers"]:
            if name == b"forwarded" or name.startswith(b"x-forwarded-"):
                headers.setdefault(name, []).append(value.decode("latin-1"))
        if b"x-forwarded-for" in headers or b"forwarded" not in headers:
            told = {key: _parts(headers.get(f"x-forwarded-{key}".encode(), ())) for key in _TOLD}
        else:
            elements = _elements(",".join(headers[b"forwarded"]))
            told = {key: [element.get(key, "") for element in elements] for key in _TOLD}
        client, steps = self._client(told["for"])
        changed = dict(scope)
        if client is not None:
            changed["client"] = (client, 0)
            CLIENT_ADDRESS.set(client)
        scheme = _at(told["proto"], steps).lower()
        if scheme in {"http", "https"}:
            changed["scheme"] = scheme
        host = _at(told["host"], steps)
        if host:
            kept = [(name, value) for name, value in scope["headers"] if name != b"host"]
            changed["headers"] = [(b"host", host.encode("latin-1")), *kept]
        return changed

    def _client(self, chain: list[str]) -> tuple[str | None, int]:
        """Return the nearest address that is not a trusted proxy, and its distance in hops."""
        found, steps = None, 1
        for number, text in enumerate(reversed(chain), 1):
            address = _address(text)
            if address is None:
                break  # hidden or invalid: only the proxy that passed it on is known
            found, steps = str(address), number
            if not self._trusts(found):
                break
        return found, steps


def _parts(values: Iterable[str]) -> list[str]:
    return [part.strip() for value in values for part in value.split(",") if part.strip()]


def _at(values: list[str], steps: int) -> str:
    """Return the value from the proxy at a distance in hops; a single value applies to all of them."""
    return values[-min(steps, len(values))] if values else ""


def _elements(text: str) -> list[Mapping[str, str]]:
    """Parse a ``Forwarded`` header; one that is malformed anywhere is ignored."""
    elements: list[Mapping[str, str]] = []
    element: dict[str, str] = {}
    position = 0
    while position < len(text):
        match = _PAIR.match(text, position)
        if match is None:
            return []
        name, quoted, plain, end = match.groups()
        element[name.lower()] = re.sub(r"\\(.)", r"\1", quoted) if quoted is not None else plain
        position = match.end()
        if end != ";":
            elements.append(element)
            element = {}
    return elements


def _address(text: str) -> Address | None:
    match = _WITH_PORT.fullmatch(text)
    if match is not None:
        text = match[1] or match[2]
    try:
        address = ipaddress.ip_address(text)
    except ValueError:
        return None
    return getattr(address, "ipv4_mapped", None) or address


class BelowPath:
    """Middleware that also serves an application below a path, for proxies that do not strip the path.

    Parameters
    ----------
    app : ASGIApp
        The application, which sees paths without the root path.
    root_path : str
        The root path, without a trailing slash.
    """

    def __init__(self, app: ASGIApp, root_path: str) -> None:
        self._app = app
        self._root = root_path
        self._depth = root_path.count("/") + 1

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Call the application without the root path; a proxy may have removed it already."""
        if scope["type"] == "http" and scope["path"].startswith(f"{self._root}/"):
            raw = scope["raw_path"].split(b"/", self._depth)
            if len(raw) > self._depth:
                path = scope["path"][len(self._root) :]
                scope = {**scope, "path": path, "raw_path": b"/" + raw[-1]}
        await self._app(scope, receive, send)
