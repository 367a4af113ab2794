"""Reading the bodies of requests: documents into memory, contents to where they are kept."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyio import to_thread
from starlette.requests import ClientDisconnect

from rinofs.server.documents import TEXT_FIELDS, form_fields, parse_form, parse_object
from rinofs.server.errors import BadRequest, TooLarge, Unprocessable, UnsupportedMedia
from rinofs.server.multipart import FILE_PART, MultipartBody, boundary_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from starlette.requests import Request

    from rinofs.server.blobs import Blob, BlobStore, BlobUpload
    from rinofs.server.settings import ServerSettings

__all__ = ["PAYLOAD_HEADER", "Upload", "read_fields", "receive_binary", "receive_upload"]

PAYLOAD_HEADER = "rinocloud-api-payload"
"""The header that carries the fields of an upload whose body is the bare content."""

BATCH_SIZE = 1024 * 1024
"""Bytes of content that are handed to the disk at a time."""

_FORM = "application/x-www-form-urlencoded"
_MULTIPART = "multipart/form-data"


@dataclass(frozen=True, slots=True)
class Upload:
    """A content that was received whole, and what was said about it.

    Attributes
    ----------
    fields : dict
        The fields that came with it; those of the part ``json`` win.
    filename : str or None
        The name of the file that was sent, if it has one.
    blob : Blob
        The stored content. It is kept from being collected until the context of the upload is left.
    """

    fields: dict[str, object]
    filename: str | None
    blob: Blob


async def read_fields(request: Request, *, text_fields: Collection[str] = ()) -> dict[str, object]:
    """Read a body of JSON, of a form, or of multipart without a file.

    Parameters
    ----------
    request : Request
        The request; its body was not read yet.
    text_fields : collection of str
        Fields of a form that are text, beside those that are everywhere.

    Returns
    -------
    dict
        The fields; none where there is no body.

    Raises
    ------
    BadRequest
        If the body is malformed.
    TooLarge
        If it is longer than documents may be.
    UnsupportedMedia
        If it is compressed or of another type.
    """
    settings = settings_of(request)
    kind = _content_type(request)
    texts = TEXT_FIELDS | frozenset(text_fields)
    if kind == _MULTIPART:
        body = _multipart(request, takes_file=False)
        async for data in _stream(request, settings.max_json_bytes):
            for _ in body.feed(data):
                pass
        body.close()
        return _joined(body.fields, settings, texts)
    raw = b"".join([data async for data in _stream(request, settings.max_json_bytes)])
    if kind == _FORM:
        return parse_form(raw, settings, texts)
    if not raw or kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return parse_object(raw, settings)
    if not kind:
        return parse_object(raw, settings, what="the body, which has no Content-Type,")
    raise UnsupportedMedia(f"a body of type {kind} is not read here; send JSON or a form")


@asynccontextmanager
async def receive_upload(request: Request, blobs: BlobStore) -> AsyncIterator[Upload]:
    """Receive a multipart upload: the part ``file``, and fields before or after it.

    Parameters
    ----------
    request : Request
        The request; its body was not read yet.
    blobs : BlobStore
        Where the content goes.

    Yields
    ------
    Upload
        The upload; refer to its content in the database before leaving the context.

    Raises
    ------
    BadRequest
        If the body is malformed, ends too early or has no file. Nothing of it stays.
    TooLarge
        If the content or the fields are longer than allowed.
    Unprocessable
        If the content has not the digest that the part ``sha256`` announces.
    UnsupportedMedia
        If the body is compressed or no multipart.
    """
    settings = settings_of(request)
    if _content_type(request) != _MULTIPART:
        raise UnsupportedMedia(f"an upload has to be {_MULTIPART}, its content in the part {FILE_PART!r}")
    body = _multipart(request, takes_file=True)
    async with _receiving(blobs, settings.max_content_bytes) as sink:
        async for data in _stream(request, None):
            for piece in body.feed(data):
                await sink.add(piece)
        body.close()
        pairs, digest = _without_digest(body.fields, settings)
        fields = _joined(pairs, settings, TEXT_FIELDS)
        yield Upload(fields, body.filename, await sink.finish(digest))


@asynccontextmanager
async def receive_binary(request: Request, blobs: BlobStore) -> AsyncIterator[Upload]:
    """Receive an upload whose body is the content itself, with its fields as JSON in a header.

    Parameters
    ----------
    request : Request
        The request; its body was not read yet.
    blobs : BlobStore
        Where the content goes.

    Yields
    ------
    Upload
        The upload; refer to its content in the database before leaving the context.

    Raises
    ------
    BadRequest
        If the header is missing or malformed.
    TooLarge
        If the content is longer than allowed.
    UnsupportedMedia
        If the body is compressed.
    """
    settings = settings_of(request)
    _content_type(request)
    payload = request.headers.get(PAYLOAD_HEADER)
    if payload is None:
        raise BadRequest(f"the header {PAYLOAD_HEADER} with the name of the file is missing")
    fields = parse_object(payload.encode("latin-1"), settings, what=f"the header {PAYLOAD_HEADER}")
    async with _receiving(blobs, settings.max_content_bytes) as sink:
        async for data in _stream(request, None):
            await sink.add(data)
        yield Upload(fields, None, await sink.finish(None))


def settings_of(request: Request) -> ServerSettings:
    """Return the settings of the server that a request came to."""
    settings: ServerSettings = request.app.state.settings
    return settings


class _Sink:
    """Hands a content on in batches: one is being written while the next one comes in."""

    def __init__(self, upload: BlobUpload, limit: int | None) -> None:
        self._upload = upload
        self._limit = limit
        self._size = 0
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._work: asyncio.Future[Blob] | asyncio.Future[None] | None = None

    async def add(self, data: bytes) -> None:
        self._size += len(data)
        if self._limit is not None and self._size > self._limit:
            raise TooLarge(f"the content is longer than {self._limit} bytes")
        self._batch.append(data)
        self._batch_size += len(data)
        if self._batch_size >= BATCH_SIZE:
            await self.settle()
            batch, self._batch, self._batch_size = self._batch, [], 0
            self._work = asyncio.ensure_future(to_thread.run_sync(self._write, batch))

    async def settle(self) -> Blob | None:
        """Wait for what is being done in the worker thread, and return what comes of it.

        A cancelled request leaves its worker alone: the file must not be closed while it is being written.
        """
        work = self._work
        if work is None:
            return None
        await asyncio.wait([work])
        self._work = None
        return work.result()

    async def finish(self, sha256: str | None) -> Blob:
        await self.settle()
        self._work = asyncio.ensure_future(to_thread.run_sync(self._finish, sha256))
        blob = await self.settle()
        assert blob is not None
        return blob

    def _write(self, batch: list[bytes]) -> None:
        self._upload.write(batch[0] if len(batch) == 1 else b"".join(batch))

    def _finish(self, sha256: str | None) -> Blob:
        self._write(self._batch)
        if sha256 is not None and sha256 != self._upload.sha256():
            raise Unprocessable("the content has not the digest that the part 'sha256' names", field="sha256")
        return self._upload.finish()


@asynccontextmanager
async def _receiving(blobs: BlobStore, limit: int | None) -> AsyncIterator[_Sink]:
    upload = await to_thread.run_sync(blobs.new_upload)
    sink = _Sink(upload, limit)
    try:
        yield sink
    finally:
        try:
            await sink.settle()
        finally:
            # Also right after success: then it only gives the content free for collection.
            upload.discard()


def _content_type(request: Request) -> str:
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        # Unpacking would let a small body become a large one.
        raise UnsupportedMedia(f"a body with Content-Encoding {encoding} is not read here; send it as it is")
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _multipart(request: Request, *, takes_file: bool) -> MultipartBody:
    boundary = boundary_of(request.headers["content-type"])
    return MultipartBody(boundary, settings_of(request).max_json_bytes, takes_file=takes_file)


async def _stream(request: Request, limit: int | None) -> AsyncIterator[bytes]:
    message = f"the body is longer than {limit} bytes"
    announced = request.headers.get("content-length", "0")
    if limit is not None and int(announced) > limit:
        raise TooLarge(message)
    size = 0
    try:
        async for data in request.stream():
            size += len(data)
            if limit is not None and size > limit:
                raise TooLarge(message)
            if data:
                yield data
    except ClientDisconnect as error:
        raise BadRequest(f"the body ended after {size} bytes, before its announced end") from error


def _without_digest(
    pairs: list[tuple[str, str]], settings: ServerSettings
) -> tuple[list[tuple[str, str]], str | None]:
    digests = [value.strip().lower() for name, value in pairs if name == "sha256"]
    rest = [(name, value) for name, value in pairs if name != "sha256"]
    if not digests or not settings.extensions:
        return rest, None
    if not re.fullmatch("[0-9a-f]{64}", digests[0]) or len(digests) > 1:
        raise BadRequest("the part 'sha256' has to be one digest of 64 hex digits", field="sha256")
    return rest, digests[0]


def _joined(
    pairs: list[tuple[str, str]], settings: ServerSettings, texts: Collection[str]
) -> dict[str, object]:
    fields = form_fields([pair for pair in pairs if pair[0] != "json"], settings, texts)
    for name, value in pairs:
        if name == "json":
            fields |= parse_object(value.encode(), settings, what="the part 'json'")
    return fields
