"""Requests to upgrade, which are served without: the parser takes what follows them for another protocol.

It is short because no other request passes it.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import httptools

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = ["new_parser", "without_upgrade"]


def new_parser(protocol: object) -> Any:
    """Return a parser for a protocol, as uvicorn makes it."""
    parser = httptools.HttpRequestParser(protocol)
    # What follows a request that asks to close the connection is ignored, and no error.
    parser.set_dangerous_leniencies(lenient_data_after_close=True)
    return parser


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
