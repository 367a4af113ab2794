"""Answering with the content of a file: whole, in part, or not at all."""

from __future__ import annotations

import asyncio
import base64
import os
import re
import secrets
from dataclasses import dataclass
from email.utils import format_datetime
from typing import TYPE_CHECKING, BinaryIO
from urllib.parse import quote

from anyio import to_thread
from starlette.responses import Response

from rinofs.server.conditions import failed_precondition, holds_for_range
from rinofs.server.errors import Unavailable, storage_failures
from rinofs.server.page_cache import read_at_once
from rinofs.server.ranges import ByteRange, parse_ranges
from rinofs.server.responses import error_response

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence
    from datetime import datetime
    from pathlib import Path

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

__all__ = ["ContentDamagedError", "content_disposition", "content_response"]

CHUNK_SIZE = 1024 * 1024
"""Bytes read and sent at a time; smaller pieces cost a hop between threads each."""

SMALL = 256 * 1024
"""Bytes that are read without a thread, if they are in memory."""

_BINARY = "application/octet-stream"
_SAFE_HEADERS = {
    # What users upload is data: no browser is to run or show it, whatever it may be.
    "content-security-policy": "sandbox; default-src 'none'",
    "cache-control": "private, no-cache",
}


class ContentDamagedError(Exception):
    """The file that holds a content has become shorter while it was being sent."""


@dataclass(frozen=True, slots=True)
class _Source:
    path: Path
    size: int


@dataclass(frozen=True, slots=True)
class _Part:
    head: bytes
    span: ByteRange


def content_response(
    request: Request,
    *,
    blob_path: Path,
    size: int,
    etag: str,
    sha256: str,
    filename: str,
    modified: datetime,
    headers: Mapping[str, str],
    digests: bool,
    offset: int = 0,
) -> Response:
    """Answer a GET, HEAD or POST for a content, as RFC 9110 says.

    Parameters
    ----------
    request : Request
        The request; its ``Range`` is honoured, its conditions where `digests` is set.
    blob_path : Path
        The file that holds the content.
    size : int
        Bytes of the content.
    etag, sha256 : str
        Etag and SHA-256 of the content, in hex and without quotes.
    filename : str
        The name to save the content under.
    modified : datetime
        When the content was last modified, with its time zone.
    headers : mapping of str
        Further headers of a successful answer.
    digests : bool
        Whether validators and digests are sent, and conditions honoured.
    offset : int
        The first byte wanted, for clients that do not ask by ``Range``.

    Returns
    -------
    Response
        200, 206, 304, 412 or 416.
    """
    known = _validators(etag, sha256, modified) if digests else {}
    status = failed_precondition(request.method, request.headers, etag, modified) if digests else None
    if status == 304:
        known.pop("repr-digest")
        return Response(status_code=304, headers={**_SAFE_HEADERS, **known})
    if status == 412:
        return error_response(412, "the content is not the one that the request is about", known)
    ranges = _wanted(request, size, etag, modified, digests=digests)
    if ranges is None and offset > 0:
        ranges = [ByteRange(offset, size)] if offset < size else []
    if ranges == []:
        message = f"the content has {size} bytes, none of them in the range that was asked for"
        return error_response(416, message, {"content-range": f"bytes */{size}"})
    described = {**headers, **_SAFE_HEADERS, **known, "content-disposition": content_disposition(filename)}
    source = _Source(blob_path, size)
    return _respond(source, ranges, described)


def content_disposition(filename: str) -> str:
    """Return the value of ``Content-Disposition`` that saves a content under any name (RFC 6266, RFC 8187).

    Parameters
    ----------
    filename : str
        The name; characters that the plain form cannot carry are left to the encoded one.
    """
    plain = re.sub(r"[^A-Za-z0-9 !#$&'()+,.;=@^_`{}~\[\]-]", "_", filename)
    if plain == filename:
        return f'attachment; filename="{plain}"'
    # Half a surrogate pair has no encoding; it can only come from a name that never passed the checks.
    encoded = quote(filename.encode("utf-8", "replace"), safe="!#$&+-.^_`|~")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def _validators(etag: str, sha256: str, modified: datetime) -> dict[str, str]:
    digest = base64.b64encode(bytes.fromhex(sha256)).decode("ascii")
    return {
        "accept-ranges": "bytes",
        "etag": f'"{etag}"',
        "last-modified": format_datetime(modified, usegmt=True),
        "repr-digest": f"sha-256=:{digest}:",
    }


def _wanted(
    request: Request, size: int, etag: str, modified: datetime, *, digests: bool
) -> list[ByteRange] | None:
    asked = request.headers.getlist("range")
    if request.method == "HEAD" or len(asked) != 1:
        return None
    condition = request.headers.get("if-range")
    # Without validators no condition can be met, and joining ranges of two versions must not happen.
    if not (holds_for_range(condition, etag, modified) if digests else condition is None):
        return None
    return parse_ranges(asked[0], size)


def _respond(source: _Source, ranges: Sequence[ByteRange] | None, headers: dict[str, str]) -> Response:
    if ranges is None:
        headers |= {"content-type": _BINARY, "content-length": str(source.size)}
        return _ContentResponse(source, [_Part(b"", ByteRange(0, source.size))], b"", 200, headers)
    if len(ranges) == 1:
        span = ranges[0]
        headers |= {"content-type": _BINARY, "content-length": str(len(span))}
        headers["content-range"] = span.content_range(source.size)
        return _ContentResponse(source, [_Part(b"", span)], b"", 206, headers)
    boundary = secrets.token_hex(16)
    head = f"\r\n--{boundary}\r\nContent-Type: {_BINARY}\r\nContent-Range: "
    parts = [_Part(f"{head}{span.content_range(source.size)}\r\n\r\n".encode(), span) for span in ranges]
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = sum(len(part.head) + len(part.span) for part in parts) + len(tail)
    headers |= {
        "content-type": f"multipart/byteranges; boundary={boundary}",
        "content-length": str(length),
    }
    return _ContentResponse(source, parts, tail, 206, headers)


class _ContentResponse(Response):
    """Parts of a file, each behind a head of its own, read chunk by chunk in worker threads."""

    def __init__(
        self, source: _Source, parts: list[_Part], tail: bytes, status: int, headers: dict[str, str]
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
        file, chunk = await to_thread.run_sync(self._open)
        with file:
            await send(start)
            if self._fits:
                await send({"type": "http.response.body", "body": chunk, "more_body": False})
                return
            gone = asyncio.ensure_future(_disconnected(receive))
            try:
                await self._send_parts(file, chunk, send, gone)
            finally:
                gone.cancel()

    def _small(self) -> bytes | None:
        """Return the whole answer if it is small and in memory, where a turn of a thread takes longest."""
        span = self._parts[0].span
        if len(self._parts) > 1 or len(span) > SMALL:
            return None
        return read_at_once(self._source.path, self._source.size, span.start, span.stop)

    def _open(self) -> tuple[BinaryIO, bytes]:
        """Open the file, and read the whole answer if it fits into a chunk, else the first chunk."""
        with storage_failures():
            file = self._source.path.open("rb", buffering=0)
        try:
            self._check_size(file)
            if self._fits:
                return file, b"".join(self._pieces(file))
            span = self._parts[0].span
            file.seek(span.start)
            return file, self._read(file, min(len(span), CHUNK_SIZE))
        except BaseException:
            file.close()
            raise

    def _pieces(self, file: BinaryIO) -> Iterator[bytes]:
        for part in self._parts:
            yield part.head
            file.seek(part.span.start)
            left = len(part.span)
            while left:
                data = self._read(file, left)
                left -= len(data)
                yield data
        yield self._tail

    def _check_size(self, file: BinaryIO) -> None:
        if os.fstat(file.fileno()).st_size != self._source.size:
            raise Unavailable(f"the content {self._source.path.name} is damaged on the server's disk")

    async def _send_parts(self, file: BinaryIO, chunk: bytes, send: Send, gone: asyncio.Future[None]) -> None:
        for index, part in enumerate(self._parts):
            if part.head:
                await send({"type": "http.response.body", "body": part.head, "more_body": True})
            if index:
                file.seek(part.span.start)
                chunk = b""
            ends = part is self._parts[-1] and not self._tail
            await self._send_span(file, chunk, len(part.span), send, gone, ends=ends)
        if self._tail and not gone.done():
            await send({"type": "http.response.body", "body": self._tail, "more_body": False})

    async def _send_span(
        self,
        file: BinaryIO,
        chunk: bytes,
        left: int,
        send: Send,
        gone: asyncio.Future[None],
        *,
        ends: bool,
    ) -> None:
        """Send `left` bytes, of which `chunk` is the beginning; while one is sent, the next one is read."""
        ahead: asyncio.Future[bytes] | None = None
        try:
            while left and not gone.done():
                if not chunk:
                    chunk = await (ahead or self._reading(file, left))
                left -= len(chunk)
                ahead = self._reading(file, left) if left else None
                await send({"type": "http.response.body", "body": chunk, "more_body": bool(left) or not ends})
                chunk = b""
        finally:
            if ahead is not None:
                await asyncio.wait([ahead])  # the file must not be closed while it is being read
                ahead.cancelled() or ahead.exception()

    def _reading(self, file: BinaryIO, left: int) -> asyncio.Future[bytes]:
        return asyncio.ensure_future(to_thread.run_sync(self._read, file, min(left, CHUNK_SIZE)))

    def _read(self, file: BinaryIO, length: int) -> bytes:
        data = file.read(length)
        if not data and length:
            raise ContentDamagedError(
                f"the content {self._source.path.name} has become shorter than {self._source.size} bytes"
            )
        return data


async def _disconnected(receive: Receive) -> None:
    while (await receive())["type"] != "http.disconnect":
        pass
