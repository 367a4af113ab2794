"""The two kinds of responses: one whose body is read as it arrives, and one read whole."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from functools import lru_cache
from typing import TYPE_CHECKING, Any, NoReturn, Self

from rinofs.errors import ConnectionFailedError, DeadlineError, ProtocolError
from rinofs.http.connection.redact import excerpt
from rinofs.protocol.limits import CLIENT_PAGE

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

_PIECE = 256 * 1024
_MOST_DIGITS = 18
_PLAIN_NAME = re.compile("[a-z0-9-]+").fullmatch
_STATUS_LINE = re.compile(r"HTTP/1\.1 ([2-9][0-9][0-9])( [ -~]*|)").fullmatch
_MOST_LINES = 100
_LONGEST_NAME = 64


class Headers(dict[str, str]):
    """The headers of a response, by lower-case name; lookups ignore case."""

    def __getitem__(self, name: str) -> str:
        return super().__getitem__(name.lower())

    def __contains__(self, name: object) -> bool:
        return isinstance(name, str) and super().__contains__(name.lower())

    def get(self, name: str, default: Any = None) -> Any:
        """Return the value of a header."""
        return super().get(name.lower(), default)


def plain_head(head: bytes) -> tuple[int, str, Headers] | None:
    """Parse the head of a response: status, reason and headers; None if anything about it is unusual.

    Parameters
    ----------
    head : bytes
        Bytes up to the end of the last header line.
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
    """Return the lower-case name of a header, None if it has unusual characters."""
    key = name.lower()
    return key if _PLAIN_NAME(key) else None


def content_length(headers: Mapping[str, str]) -> int | None:
    """Return the value of ``Content-Length``; None if it is missing or not valid."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= _MOST_DIGITS else None


def etag_header(headers: Mapping[str, str]) -> str | None:
    """Return the strong etag in a response's headers without its quotes, or None."""
    value = headers.get("etag", "").strip()
    if len(value) < 3 or value[0] != '"' or value[-1] != '"':
        return None
    return value[1:-1]


def is_web_page(headers: Mapping[str, str], content: bytes = b"") -> bool:
    """Return whether a response is HTML, by its type or its first bytes."""
    kind = headers.get("content-type", "").partition(";")[0].strip().lower()
    if kind in {"text/html", "application/xhtml+xml"}:
        return True
    return content[:64].lstrip()[:14].lower().startswith((b"<!doctype html", b"<html"))


def web_page_message(status: int) -> str:
    """Return the error message for an unexpected web page."""
    return f"got HTML ({status}): a proxy or login page? check endpoint_url and the network's sign-in"


class StreamedResponse:
    """A response whose body has not been read yet; a context manager.

    Parameters
    ----------
    raw : ConnectionResponse or file
        Body; the raw response of `requests` if an adapter was mounted.
    status, headers
        As the attributes.
    method, url, label : str
        The request.
    on_close : callable
        Called once, when the connection is no longer in use.

    Attributes
    ----------
    status : int
        The HTTP status.
    headers : Mapping
        Headers, by name in any case.
    url : str
        URL that answered, after redirects.
    foreign : bool
        Whether another origin than the session's answered.
    length : int or None
        Size of the body in bytes, if the headers give it.
    framed : bool
        Whether the end of the body is distinguishable from a lost connection.
    """

    def __init__(
        self,
        raw: Any,
        status: int,
        headers: Mapping[str, str],
        *,
        method: str,
        url: str,
        label: str,
        on_close: Callable[[], None],
    ) -> None:
        self.status = status
        self.headers = headers
        self.url = url
        self.foreign = False
        chunked = "chunked" in headers.get("transfer-encoding", "").lower()
        if method == "HEAD" or status in {204, 304}:
            self.length: int | None = 0
        else:
            self.length = None if chunked else content_length(headers)
        self.framed = self.length is not None or chunked
        self._label = label
        self._raw = raw
        # Only ConnectionResponse has `disconnect`. The readinto of urllib3's responses copies; files have
        # none.
        self._disconnect: Callable[[], None] | None = getattr(raw, "disconnect", None)
        self._readinto: Callable[[memoryview], int] = (
            self._read_copied if self._disconnect is None else raw.readinto
        )
        self._left = self.length
        self._on_close: Callable[[], None] | None = on_close
        if self._left == 0:
            self._finish()

    def readinto(self, buffer: memoryview) -> int:
        """Read into `buffer`; returns 0 only at the end of a complete body.

        Raises
        ------
        ConnectionFailedError
            If the connection was lost before the end.
        DeadlineError
            If no data arrived in time.
        """
        if self._on_close is None:
            return 0
        if self._left is not None and len(buffer) > self._left:
            buffer = buffer[: self._left]
        try:
            count = self._readinto(buffer)
        except Exception as error:  # noqa: BLE001 - `_broken` raises again what is not the connection's
            raise self._broken(error) from None
        if count and self._left is not None:
            self._left -= count
        if self._left == 0:
            self._finish()
        elif not count and len(buffer):
            failure = getattr(self._raw, "failure", None)
            if failure is not None or self._left:
                raise self._broken(failure)
            self._finish()
        return count

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, or the rest if negative."""
        if size < 0:
            return self.read_all()
        buffer = bytearray(size)
        count = self.readinto(memoryview(buffer))
        return bytes(memoryview(buffer)[:count])

    def read_all(self, limit: int | None = None) -> bytes:
        """Read the rest; raises ProtocolError if it has more than `limit` bytes."""
        pieces: list[bytes] = []
        count = 0
        while limit is None or count <= limit:
            piece = self.read(_PIECE if self._left is None else min(self._left, 16 * _PIECE))
            if not piece:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.append(piece)
            count += len(piece)
        self.close()
        raise ProtocolError(f"the response is longer than {limit} bytes", self._label)

    def read_start(self, size: int) -> bytes:
        """Read up to `size` bytes of the body, and close."""
        with self:
            try:
                return self.read(size)
            except (ConnectionFailedError, DeadlineError):
                return b""

    def close(self) -> None:
        """Release the connection, or close it if the body was not read to its end."""
        self._release(reuse=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        on_close = getattr(self, "_on_close", None)
        if on_close is not None:
            # Called by the garbage collector: the pool's lock may be held by this very thread, so do not use
            # it.
            self._raw.close()
            connection = getattr(self._raw, "_connection", None)
            if connection is not None:
                connection.close()
            on_close()

    def _read_copied(self, buffer: memoryview) -> int:
        data = self._raw.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _finish(self) -> None:
        if self._disconnect is not None:
            self._raw.close()  # tells http.client that the response was read
        self._release(reuse=True)

    def _broken(self, error: Exception | None) -> ConnectionFailedError | DeadlineError:
        import http.client  # slow to import; loaded already when a response exists

        import urllib3.exceptions

        self._release(reuse=False)
        known = OSError, http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError
        if error is not None and not isinstance(error, known):
            raise error
        got = (
            "" if self.length is None else f" after {self.length - (self._left or 0)} of {self.length} bytes"
        )
        if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
            return DeadlineError(f"the response stalled{got}; try again", self._label)
        reason = type(error).__name__ if error is not None else "the server ended it"
        return ConnectionFailedError(f"the connection broke{got} ({reason}); try again", self._label)

    def _release(self, *, reuse: bool) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is None:
            return
        try:
            if not reuse:
                (self._disconnect or self._raw.close)()
            release: Any = getattr(self._raw, "release_conn", None)
            if release is not None:
                release()
        finally:
            on_close()


@dataclass(frozen=True, slots=True)
class Response:
    """A response that was read whole.

    Attributes
    ----------
    status : int
        The HTTP status.
    headers : Mapping
        Headers, by name in any case.
    content : bytes
        Body.
    url : str
        URL that answered.
    label : str
        Name of the request for messages.
    secrets : tuple of str
        Secrets of the request, which must not be shown even if the response quotes them.
    """

    status: int
    headers: Mapping[str, str] = field(repr=False)
    content: bytes = field(repr=False)
    url: str = field(repr=False)
    label: str = field(default="", repr=False, compare=False)
    secrets: tuple[str, ...] = field(default=(), repr=False, compare=False)
    _parsed: list[Any] = field(default_factory=list, repr=False, compare=False)

    def json(self) -> Any:
        """Return the body as JSON.

        Raises
        ------
        ProtocolError
            If the body is a web page, not JSON, nested too deeply, or contains NaN or Infinity.
        """
        if self._parsed:
            return self._parsed.pop()
        try:
            return parse_json(self.content)
        except ValueError as error:
            # Not as the cause: the decoder's exception contains the whole body.
            reason = str(error) if not isinstance(error, UnicodeDecodeError) else "not UTF-8"
        if is_web_page(self.headers, self.content):
            raise ProtocolError(web_page_message(self.status), self.label or self.url)
        shown = excerpt(self.content, *self.secrets)
        raise ProtocolError(
            f"the response ({self.status}) is not valid JSON ({reason}): {shown!r};"
            " check endpoint_url, or try again",
            self.label or self.url,
        )

    def check_json(self) -> None:
        """Raise what `json` would raise; keeps the parsed value for it."""
        self._parsed.append(self.json())


# An empty object takes 30 times the memory of its text. A page has at most `CLIENT_PAGE` records.
_MOST_CONTAINERS = 200 * CLIENT_PAGE
_MOST_VALUES = 2000 * CLIENT_PAGE


def _has_too_much(content: bytes) -> bool:
    return content.count(b"{") + content.count(b"[") > _MOST_CONTAINERS or content.count(b",") > _MOST_VALUES


def parse_json(content: bytes) -> Any:
    """Parse strict JSON.

    Raises
    ------
    ValueError
        If it is malformed, not UTF-8, nested too deeply, or contains NaN, Infinity or an extremely long
        number.
    """
    if len(content) > _MOST_CONTAINERS and _has_too_much(content):
        raise ValueError("more values than a page can have")
    try:
        return json.loads(content.decode("utf-8-sig"), parse_constant=_refuse_constant)
    except RecursionError:
        raise ValueError("nested too deeply") from None


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not JSON")
