"""A request and the head of its answer over a connection that stands already, with little work.

What is common is done here: a small body or none, an answer whose head is as one would write it. The rest is
left to urllib3 and ``http.client``, which take far longer to find that nothing is the matter.
"""

from __future__ import annotations

import errno
import re
from functools import lru_cache
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

_PLAIN_TARGET = re.compile(r"/[A-Za-z0-9/?=&%._~+-]*").fullmatch
_PLAIN_ORIGIN = re.compile(r"https?://([a-z0-9.-]+(?::[0-9]+)?|\[[0-9a-f:.]+\](?::[0-9]+)?)").fullmatch
_PLAIN_NAME = re.compile("[a-z0-9-]+").fullmatch
_STATUS_LINE = re.compile(r"HTTP/1\.1 ([2-9][0-9][0-9])( [ -~]*|)").fullmatch
_DEFAULT_PORTS = {"http": ":80", "https": ":443"}
_WITHOUT_BODY = frozenset({"DELETE", "GET", "HEAD", "OPTIONS"})
# The service may answer and close before it has taken all: what it said can be read.
_ANSWERED_EARLY = frozenset({errno.EPIPE, errno.ECONNRESET, errno.EPROTOTYPE})
_MOST_LINES = 100
_LONGEST_NAME = 64


class Headers(dict[str, str]):
    """The headers of an answer, by names in lower case; found by names in any case."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a header."""
        return super().get(name.lower(), default)


def request_head(
    method: str, origin: str, target: str, headers: Mapping[str, str], body: bytes | None
) -> bytes | None:
    """Return what a request begins with; None where it is for others to say how it is written.

    Parameters
    ----------
    method : str
        The method.
    origin, target : str
        The two parts of the URL.
    headers : Mapping
        All headers but ``Host`` and ``Content-Length``.
    body : bytes, optional
        What will follow.
    """
    where = _PLAIN_ORIGIN(origin)
    if where is None or _PLAIN_TARGET(target) is None:
        return None
    host = where[1].removesuffix(_DEFAULT_PORTS[origin.partition(":")[0]])
    lines = [f"{method} {target} HTTP/1.1", f"Host: {host}"]
    lines += [f"{name}: {value}" for name, value in headers.items()]
    if body is not None or method not in _WITHOUT_BODY:
        lines.append(f"Content-Length: {len(body or b'')}")
    text = "\n".join(lines)
    if text.count("\n") != len(lines) - 1 or "\r" in text or "\0" in text or not text.isascii():
        return None  # a line end in a header would begin another one
    return (text.replace("\n", "\r\n") + "\r\n\r\n").encode("ascii")


def send(sock: Any, data: bytes) -> None:
    """Send a request."""
    try:
        sock.sendall(data)
    except OSError as error:
        if error.errno not in _ANSWERED_EARLY:
            raise


def plain_head(head: bytes) -> tuple[int, str, Headers] | None:
    """Read the head of an answer: status, reason and headers; None if anything about it is unusual.

    Parameters
    ----------
    head : bytes
        Up to the end of the last header's line.
    """
    text = head.decode("latin-1")
    lines = text.split("\r\n")
    status = _STATUS_LINE(lines[0])
    ends = len(lines) - 1
    if status is None or text.count("\r") != ends or text.count("\n") != ends or ends > _MOST_LINES:
        return None
    headers: dict[str, str] = {}
    for line in lines[1:]:
        name, colon, value = line.partition(":")
        if not colon or len(name) > _LONGEST_NAME:
            return None
        key = _plain_name(name)
        if key is None or key in headers:
            return None
        headers[key] = value.strip(" \t")
    return int(status[1]), status[2].strip(), Headers(headers)


@lru_cache(256)
def _plain_name(name: str) -> str | None:
    """Return the name of a header in lower case, None if it is no usual one."""
    key = name.lower()
    return key if _PLAIN_NAME(key) else None
