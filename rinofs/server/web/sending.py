"""Sending parts of contents: by the kernel where it can, else from memory, else read by threads."""

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
"""Bytes read and sent at a time; smaller pieces cost a hop between threads each."""

FILE_CHUNK_SIZE = 64 * CHUNK_SIZE
"""Bytes that the kernel is told to send at a time; it looks up now and then whether the client is there."""

SMALL = 256 * 1024
"""Bytes that are read without a thread, if they are in memory."""


class ContentDamagedError(Exception):
    """A content has become shorter while it was being sent."""


@dataclass(frozen=True, slots=True)
class StoredContent:
    """A content, and where it is kept.

    Attributes
    ----------
    blobs : BlobStore
        Where it is kept.
    key : str
        What it is stored under.
    size : int
        Bytes that it has to have.
    digests : mapping of str
        Its digests by name, in hex, as far as they are known, the best first.
    """

    blobs: BlobStore
    key: str
    size: int
    digests: Mapping[str, str]

    def open(self, span: ByteRange) -> BlobReader:
        """Open a range of it for reading."""
        return self.blobs.open_range(self.key, self.size, span.start, span.stop)


@dataclass(frozen=True, slots=True)
class BodyPart:
    """A part of an answer.

    Attributes
    ----------
    head : bytes
        What is sent first.
    span : ByteRange
        What of the content is sent then.
    """

    head: bytes
    span: ByteRange


class ContentResponse(Response):
    """Parts of a content, each behind a head of its own.

    Parameters
    ----------
    content : StoredContent
        The content.
    parts : list of BodyPart
        What of it is sent.
    tail : bytes
        What is sent at the end.
    status : int
        The status of the answer.
    headers : dict of str
        Its headers, ``Content-Length`` among them.
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
        """Send the answer; end the connection if the content turns out to be shorter than it has to be."""
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
        # The content is opened before the answer starts, so that a failure is still an honest 503.
        if self._fits:
            whole = await to_thread.run_sync(self._whole)
            with suppress(ConnectionError):  # nobody is left to be told that the client has gone
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
        """Return the whole answer if it is small and in memory, where a turn of a thread takes longest."""
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
        """Read and send; while one chunk is sent, the next one is read."""
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
                await asyncio.wait([ahead])  # the reader must not be closed while it is in use
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
