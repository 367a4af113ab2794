"""Send parts of contents: by the kernel if possible, otherwise from memory or by worker threads."""

from __future__ import annotations

import asyncio
import os
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from anyio import to_thread
from starlette.responses import Response

from rinofs.server.errors import Unavailable, storage_failures
from rinofs.server.web.connections import EXTENSION

if TYPE_CHECKING:
    from collections.abc import Mapping
    from pathlib import Path

    from starlette.types import Receive, Scope, Send

    from rinofs.server.blobs.store import BlobReader, BlobStore
    from rinofs.server.web.ranges import ByteRange

__all__ = [
    "CHUNK_SIZE",
    "BodyPart",
    "ContentDamagedError",
    "ContentResponse",
    "StoredContent",
    "read_at_once",
]

CHUNK_SIZE = 1024 * 1024
"""Bytes read and sent at a time; every piece costs a switch between threads."""

FILE_CHUNK_SIZE = 64 * CHUNK_SIZE
"""Bytes that the kernel sends at a time; in between, the server checks whether the client is connected."""

SMALL = 256 * 1024
"""Maximum size in bytes of a part that is read without a thread, if it is in the page cache."""


class ContentDamagedError(Exception):
    """A content became shorter while it was being sent."""


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A content and the store that keeps it.

    Attributes
    ----------
    blobs : BlobStore
        The store.
    key : str
        Key of the content in the store.
    size : int
        Expected size in bytes.
    digests : mapping of str
        Known digests by name, in hex, the preferred one first.
    """

    blobs: BlobStore
    key: str
    size: int
    digests: Mapping[str, str]

    def open(self, span: ByteRange) -> BlobReader:
        """Open a range of the content for reading."""
        return self.blobs.open_range(self.key, self.size, span.start, span.stop)


@dataclass(frozen=True, slots=True)
class BodyPart:
    """A part of a response.

    Attributes
    ----------
    head : bytes
        Bytes before the range.
    span : ByteRange
        Range of the content.
    """

    head: bytes
    span: ByteRange


class ContentResponse(Response):
    """A response with ranges of a content, each after a head of its own.

    Parameters
    ----------
    content : StoredContent
        The content.
    parts : list of BodyPart
        Parts to send.
    tail : bytes
        Bytes after the last part.
    status : int
        HTTP status.
    headers : dict of str
        Headers, including ``Content-Length``.
    """

    def __init__(
        self, content: StoredContent, parts: list[BodyPart], tail: bytes, status: int, headers: dict[str, str]
    ) -> None:
        self.status_code = status
        self.background = None
        self.body = b""
        self.raw_headers = [
            (key.encode("latin-1"), value.encode("latin-1")) for key, value in headers.items()
        ]
        self._content = content
        self._path = content.blobs.local_path(content.key)
        self._parts = parts
        self._tail = tail
        self._fits = sum(len(part.span) for part in parts) <= CHUNK_SIZE

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        """Send the response; close the connection if the content turns out to be too short."""
        start = {"type": "http.response.start", "status": self.status_code, "headers": self.raw_headers}
        if scope["method"] == "HEAD":
            await send(start)
            await send(_body(b"", more=False))
            return
        small = self._small()
        if small is not None:
            await send(start)
            await send(_body(small, more=False))
            return
        # Open the content before the response starts, so that a failure can still become a 503.
        if self._fits:
            whole = await to_thread.run_sync(self._whole)
            with suppress(ConnectionError):  # the client has left: there is nobody to report it to
                await send(start)
                await send(_body(whole, more=False))
            return
        by_kernel = self._path is not None and EXTENSION in scope.get("extensions", {})
        opened = await to_thread.run_sync(self._open_file if by_kernel else self._open_first)
        with opened, suppress(ConnectionError):
            await send(start)
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                await self._send_parts(opened, send, gone, by_kernel=by_kernel)
            finally:
                gone.cancel()

    def _small(self) -> bytes | None:
        """Return the whole response if it is small and in memory, so that it needs no thread."""
        span = self._parts[0].span
        if self._path is None or len(self._parts) > 1 or len(span) > SMALL:
            return None
        return read_at_once(self._path, self._content.size, span.start, span.stop)

    def _whole(self) -> bytes:
        pieces = []
        for part in self._parts:
            pieces.append(part.head)
            with self._content.open(part.span) as reader:
                left = len(part.span)
                while left:
                    pieces.append(self._read(reader, left))
                    left -= len(pieces[-1])
        return b"".join([*pieces, self._tail])

    def _open_file(self) -> BinaryIO:
        assert self._path is not None
        with storage_failures():
            file = self._path.open("rb", buffering=0)
        if os.fstat(file.fileno()).st_size != self._content.size:
            file.close()
            raise Unavailable(f"the content {self._content.key} is damaged on the server's disk")
        return file

    def _open_first(self) -> BlobReader:
        return self._content.open(self._parts[0].span)

    async def _send_parts(
        self, opened: BinaryIO | BlobReader, send: Send, gone: asyncio.Future[None], *, by_kernel: bool
    ) -> None:
        for part in self._parts:
            if part.head:
                await send(_body(part.head, more=True))
            ends = part is self._parts[-1] and not self._tail
            if by_kernel:
                await self._send_by_kernel(cast("BinaryIO", opened), part.span, send, gone, ends=ends)
            elif part is self._parts[0]:
                await self._send_by_threads(opened, part.span, send, gone, ends=ends)
            elif not gone.done():
                with await to_thread.run_sync(self._content.open, part.span) as reader:
                    await self._send_by_threads(reader, part.span, send, gone, ends=ends)
        if self._tail and not gone.done():
            await send(_body(self._tail, more=False))

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
        self, reader: BlobReader, span: ByteRange, send: Send, gone: asyncio.Future[None], *, ends: bool
    ) -> None:
        """Send the part in chunks; the next chunk is read while one is being sent."""
        left = len(span)
        ahead: asyncio.Future[bytes] | None = None
        try:
            while left and not gone.done():
                chunk = await (ahead or self._reading(reader, left))
                left -= len(chunk)
                ahead = self._reading(reader, left) if left else None
                await send(_body(chunk, more=bool(left) or not ends))
        finally:
            if ahead is not None:
                await asyncio.wait([ahead])  # the reader must not be closed while a thread uses it
                ahead.cancelled() or ahead.exception()

    def _reading(self, reader: BlobReader, left: int) -> asyncio.Future[bytes]:
        return asyncio.ensure_future(to_thread.run_sync(self._read, reader, min(left, CHUNK_SIZE)))

    def _read(self, reader: BlobReader, length: int) -> bytes:
        data = reader.read(length)
        if not data and length:
            raise self._damaged()
        return data

    def _damaged(self) -> ContentDamagedError:
        return ContentDamagedError(
            f"the content {self._content.key} has become shorter than {self._content.size} bytes"
        )


def _body(data: bytes, *, more: bool) -> dict[str, object]:
    return {"type": "http.response.body", "body": data, "more_body": more}


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass


def read_at_once(path: Path, size: int, start: int, stop: int) -> bytes | None:
    """Return a part of a file if it can be read without waiting for the disk.

    Parameters
    ----------
    path : Path
        The file.
    size : int
        Expected size in bytes.
    start, stop : int
        Range of bytes; `stop` is exclusive.

    Returns
    -------
    bytes or None
        None if the part is not in the page cache, the system cannot tell, or the file is missing or too
        short.
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
    except (AttributeError, OSError):  # not supported by this system or file system
        return None
    finally:
        os.close(file)
    return bytes(buffer) if read == len(buffer) else None
