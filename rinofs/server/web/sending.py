"""Sending parts of files: by the kernel where it can, from memory where they are there, else by threads."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO

from anyio import to_thread
from starlette.responses import Response

from rinofs.server.errors import Unavailable, storage_failures
from rinofs.server.web.connections import EXTENSION

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from rinofs.server.web.ranges import ByteRange

__all__ = ["CHUNK_SIZE", "ContentDamagedError", "FileResponse", "Part", "Source", "read_at_once"]

CHUNK_SIZE = 1024 * 1024
"""Bytes read and sent at a time; smaller pieces cost a hop between threads each."""

FILE_CHUNK_SIZE = 64 * CHUNK_SIZE
"""Bytes that the kernel is told to send at a time; it looks up now and then whether the client is there."""

SMALL = 256 * 1024
"""Bytes that are read without a thread, if they are in memory."""


class ContentDamagedError(Exception):
    """The file that holds a content has become shorter while it was being sent."""


@dataclass(frozen=True, slots=True)
class Source:
    """A file.

    Attributes
    ----------
    path : Path
        Where it is.
    size : int
        Bytes that it has to have.
    """

    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class Part:
    """A part of an answer.

    Attributes
    ----------
    head : bytes
        What is sent first.
    span : ByteRange
        What of the file is sent then.
    """

    head: bytes
    span: ByteRange


class FileResponse(Response):
    """Parts of a file, each behind a head of its own.

    Parameters
    ----------
    source : Source
        The file.
    parts : list of Part
        What of it is sent.
    tail : bytes
        What is sent at the end.
    status : int
        The status of the answer.
    headers : dict of str
        Its headers, ``Content-Length`` among them.
    """

    def __init__(
        self, source: Source, parts: list[Part], tail: bytes, status: int, headers: dict[str, str]
    ) -> None:
        self.status_code = status
        self.background = None
        self.body = b""
        self.raw_headers = [
            (key.encode("latin-1"), value.encode("latin-1")) for key, value in headers.items()
        ]
        self._source = source
        self._parts = parts
        self._tail = tail
        self._fits = sum(len(part.span) for part in parts) <= CHUNK_SIZE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the answer; end the connection if the file turns out to be shorter than it has to be."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        small = self._small()
        if small is not None:
            await send(start)
            await send({"type": "http.response.body", "body": small, "more_body": False})
            return
        # The file is opened before the answer starts, so that a failure is still an honest 500.
        file, whole = await to_thread.run_sync(self._open)
        with file, suppress(ConnectionError):  # nobody is left to be told that the client has gone
            await send(start)
            if whole is not None:
                await send({"type": "http.response.body", "body": whole, "more_body": False})
                return
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                await self._send_parts(file, send, gone, by_kernel=EXTENSION in scope.get("extensions", {}))
            finally:
                gone.cancel()

    def _small(self) -> bytes | None:
        """Return the whole answer if it is small and in memory, where a turn of a thread takes longest."""
        span = self._parts[0].span
        if len(self._parts) > 1 or len(span) > SMALL:
            return None
        return read_at_once(self._source.path, self._source.size, span.start, span.stop)

    def _open(self) -> tuple[BinaryIO, bytes | None]:
        """Open the file, and read the whole answer if it fits into a chunk."""
        with storage_failures():
            file = self._source.path.open("rb", buffering=0)
        try:
            self._check_size(file)
            return file, b"".join(self._pieces(file)) if self._fits else None
        except BaseException:
            file.close()
            raise

    def _check_size(self, file: BinaryIO) -> None:
        if os.fstat(file.fileno()).st_size != self._source.size:
            raise Unavailable(f"the content {self._source.path.name} is damaged on the server's disk")

    def _pieces(self, file: BinaryIO) -> Iterator[bytes]:
        for part in self._parts:
            yield part.head
            position, left = part.span.start, len(part.span)
            while left:
                data = self._read(file, position, left)
                position, left = position + len(data), left - len(data)
                yield data
        yield self._tail

    async def _send_parts(
        self, file: BinaryIO, send: Send, gone: asyncio.Future[None], *, by_kernel: bool
    ) -> None:
        for part in self._parts:
            if part.head:
                await send({"type": "http.response.body", "body": part.head, "more_body": True})
            ends = part is self._parts[-1] and not self._tail
            send_span = self._send_by_kernel if by_kernel else self._send_by_threads
            await send_span(file, part.span, send, gone, ends=ends)
        if self._tail and not gone.done():
            await send({"type": "http.response.body", "body": self._tail, "more_body": False})

    async def _send_by_kernel(
        self, file: BinaryIO, span: ByteRange, send: Send, gone: asyncio.Future[None], *, ends: bool
    ) -> None:
        position = span.start
        while position < span.stop and not gone.done():
            count = min(span.stop - position, FILE_CHUNK_SIZE)
            message = {"type": EXTENSION, "file": file.fileno(), "offset": position, "count": count}
            position += count
            try:
                await send({**message, "more_body": position < span.stop or not ends})
            except EOFError:
                raise self._damaged() from None

    async def _send_by_threads(
        self, file: BinaryIO, span: ByteRange, send: Send, gone: asyncio.Future[None], *, ends: bool
    ) -> None:
        """Read and send; while one chunk is sent, the next one is read."""
        position = span.start
        ahead: asyncio.Future[bytes] | None = None
        try:
            while position < span.stop and not gone.done():
                chunk = await (ahead or self._reading(file, position, span.stop))
                position += len(chunk)
                left = position < span.stop
                ahead = self._reading(file, position, span.stop) if left else None
                await send({"type": "http.response.body", "body": chunk, "more_body": left or not ends})
        finally:
            if ahead is not None:
                await asyncio.wait([ahead])  # the file must not be closed while it is being read
                ahead.cancelled() or ahead.exception()

    def _reading(self, file: BinaryIO, position: int, stop: int) -> asyncio.Future[bytes]:
        length = min(stop - position, CHUNK_SIZE)
        return asyncio.ensure_future(to_thread.run_sync(self._read, file, position, length))

    def _read(self, file: BinaryIO, position: int, length: int) -> bytes:
        data = os.pread(file.fileno(), length, position)
        if not data and length:
            raise self._damaged()
        return data

    def _damaged(self) -> ContentDamagedError:
        return ContentDamagedError(
            f"the content {self._source.path.name} has become shorter than {self._source.size} bytes"
        )


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def read_at_once(path: Path, size: int, start: int, stop: int) -> bytes | None:
    """Return a part of a file if the disk need not be waited for, for threads that must not wait.

    Parameters
    ----------
    path : Path
        The file.
    size : int
        Bytes that it has to have.
    start, stop : int
        The part of it that is wanted.

    Returns
    -------
    bytes or None
        None if the part is not in memory, the system cannot tell, or the file is not there or not whole.
    """
    try:
        file = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError:
        return None
    try:
        if os.fstat(file).st_size != size:
            return None
        buffer = bytearray(stop - start)
        read = os.preadv(file, [buffer], start, os.RWF_NOWAIT)
    except (AttributeError, OSError):  # not on every system, nor every file system
        return None
    finally:
        os.close(file)
    return bytes(buffer) if read == len(buffer) else None
