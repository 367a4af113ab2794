"""Heads of requests that the parser cannot be left alone with: upgrades, tunnels and unknown codings."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httptools

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["new_parser", "refusal", "without_upgrade"]


def new_parser(protocol: object) -> Any:
    """Return a parser for a protocol, as uvicorn makes it."""
    parser = httptools.HttpRequestParser(protocol)
    # What follows a request that asks to close the connection is ignored, and no error.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


def refusal(method: bytes, headers: Sequence[tuple[bytes, bytes]]) -> tuple[int, str] | None:
    """Return the status and message with which to refuse a request whose body is not understood, or None.

    Parameters
    ----------
    method : bytes
        Its method.
    headers : sequence of pair
        Its headers, with names in lower case.
    """
    if method == b"CONNECT":
        return 501, "CONNECT: this server is not a proxy; send the request itself"
    codings = [value for name, value in headers if name == b"transfer-encoding"]
    if codings and b",".join(codings).lower().strip(b", \t") != b"chunked":
        return 501, "Transfer-Encoding: the server knows chunked alone; send the body without other codings"
    return None


def without_upgrade(
    method: bytes, target: bytes, version: str, headers: Sequence[tuple[bytes, bytes]]
) -> bytes:
    """Return the head of a request without its ``Upgrade`` headers.

    Parameters
    ----------
    method, target : bytes
        The method, and the target as it was sent.
    version : str
        The version of HTTP.
    headers : sequence of pair
        The headers, with names in lower case.
    """
    lines = [b"%b %b HTTP/%b" % (method, target, version.encode())]
    lines += [b"%b: %b" % header for header in headers if header[0] != b"upgrade"]
    return b"\r\n".join([*lines, b"", b""])
