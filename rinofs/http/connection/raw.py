"""An answer whose body is read as it arrives."""

from __future__ import annotations

import http.client
from typing import TYPE_CHECKING, Any, Self

import urllib3.exceptions

from rinofs.errors import ConnectionFailedError, DeadlineError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rinofs.http.connection.transport import Sent

_PIECE = 256 * 1024
_MOST_DIGITS = 18


class RawAnswer:
    """An answer whose body is still on its way; a context manager.

    Attributes
    ----------
    status : int
        The HTTP status.
    headers : Mapping
        The headers; names in any case.
    url : str
        The URL that answered, after redirects.
    foreign : bool
        Whether another origin than the session's answered.
    length : int or None
        Bytes of the body, where its headers say.
    framed : bool
        Whether an end of the connection can be told from the end of the body.
    """

    def __init__(
        self, sent: Sent, *, method: str, url: str, foreign: bool, label: str, on_close: Callable[[], None]
    ) -> None:
        self.status = sent.status
        self.headers: Mapping[str, str] = sent.headers
        self.url = url
        self.foreign = foreign
        self.length = _body_length(method, sent.status, sent.headers)
        self.framed = self.length is not None or _is_chunked(sent.headers)
        self._label = label
        self._response = sent.raw
        self._source = getattr(sent.raw, "_fp", None)
        # Other implementations of urllib3's interface have no readinto here.
        self._readinto: Callable[[memoryview], int] | None = getattr(self._source, "readinto", None)
        self._left = self.length
        self._on_close: Callable[[], None] | None = on_close
        if self._left == 0:
            self._finish()

    def readinto(self, buffer: memoryview) -> int:
        """Read into `buffer`; 0 only at the end of a complete body.

        Raises
        ------
        ConnectionFailedError
            If the body ended early.
        DeadlineError
            If it stopped coming.
        """
        if self._on_close is None:
            return 0
        if self._left is not None and len(buffer) > self._left:
            buffer = buffer[: self._left]
        try:
            count = self._read_some(buffer)
        except (OSError, http.client.HTTPException, urllib3.exceptions.HTTPError, ValueError) as error:
            raise self._broken(error) from None
        if count and self._left is not None:
            self._left -= count
        if self._left == 0:
            self._finish()
        elif not count and len(buffer):
            self._end()
        return count

    def read(self, size: int = -1) -> bytes:
        """Read up to `size` bytes, all that is left where negative."""
        if size < 0:
            return self.read_all()
        buffer = bytearray(size)
        count = self.readinto(memoryview(buffer))
        return bytes(memoryview(buffer)[:count])

    def read_all(self, limit: int | None = None) -> bytes:
        """Read all that is left; ProtocolError beyond `limit` bytes."""
        pieces: list[bytes] = []
        count = 0
        while limit is None or count <= limit:
            piece = self.read(_PIECE if self._left is None else min(self._left, 16 * _PIECE))
            if not piece:
                return pieces[0] if len(pieces) == 1 else b"".join(pieces)
            pieces.append(piece)
            count += len(piece)
        self.close()
        raise ProtocolError(f"the answer is longer than {limit} bytes", self._label)

    def read_start(self, size: int) -> bytes:
        """Read at most `size` bytes, what comes of them, and close."""
        with self:
            try:
                return self.read(size)
            except (ConnectionFailedError, DeadlineError):
                return b""

    def close(self) -> None:
        """Let go of the connection; it is closed where the body was not read to its end."""
        self._give_back(reuse=False)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self.close()

    def __del__(self) -> None:
        on_close = getattr(self, "_on_close", None)
        if on_close is not None:
            # Not into the pool: its lock may be held by the very thread that collects this.
            self._response.close()
            on_close()

    def _read_some(self, buffer: memoryview) -> int:
        if self._readinto is not None:
            return self._readinto(buffer)
        data = self._response.read(len(buffer))
        buffer[: len(data)] = data
        return len(data)

    def _end(self) -> None:
        """Accept the end of the body, or say that it is none."""
        failure = getattr(self._source, "failure", None)
        if failure is not None or self._left:
            raise self._broken(failure)
        self._finish()

    def _finish(self) -> None:
        if self._source is not None:
            self._source.close()  # tells the connection that its answer was read
        self._give_back(reuse=True)

    def _broken(self, error: Exception | None) -> ConnectionFailedError | DeadlineError:
        self._give_back(reuse=False)
        got = (
            "" if self.length is None else f" after {self.length - (self._left or 0)} of {self.length} bytes"
        )
        if isinstance(error, TimeoutError | urllib3.exceptions.TimeoutError):
            return DeadlineError(f"the answer stopped coming{got}; try again", self._label)
        reason = type(error).__name__ if error is not None else "the server ended it"
        return ConnectionFailedError(f"the answer broke off{got} ({reason}); try again", self._label)

    def _give_back(self, *, reuse: bool) -> None:
        on_close, self._on_close = self._on_close, None
        if on_close is None:
            return
        try:
            if not reuse:
                self._response.close()
            release: Any = getattr(self._response, "release_conn", None)
            if release is not None:
                release()
        finally:
            on_close()


def _body_length(method: str, status: int, headers: Mapping[str, str]) -> int | None:
    if method == "HEAD" or status in {204, 304}:
        return 0
    if _is_chunked(headers):
        return None
    return length_of(headers)


def length_of(headers: Mapping[str, str]) -> int | None:
    """Return what a ``Content-Length`` header says; None without one, or if it makes no sense."""
    value = headers.get("content-length", "")
    return int(value) if value.isascii() and value.isdecimal() and len(value) <= _MOST_DIGITS else None


def _is_chunked(headers: Mapping[str, str]) -> bool:
    return "chunked" in headers.get("transfer-encoding", "").lower()
