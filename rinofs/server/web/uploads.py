"""Receive uploads into the blob store, or small ones into memory."""

from __future__ import annotations

import asyncio
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from anyio import to_thread

from rinofs.protocol.digests import BLAKE3, DIGESTS, SHA256, new_hasher
from rinofs.protocol.extensions import RINOCLOUD_PAYLOAD
from rinofs.server.blobs.store import SHA256_AT_ONCE, Blob
from rinofs.server.budgets import HELD, SMALL_BODY
from rinofs.server.errors import BadRequest, TooLarge, Unprocessable, UnsupportedMedia
from rinofs.server.web.bodies import (
    FILE_PART,
    FORM,
    MULTIPART,
    TEXT_FIELDS,
    body_stream,
    content_type_of,
    join,
    multipart_body,
    parse_object,
    settings_of,
)

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Mapping

    from starlette.requests import Request

    from rinofs.server.blobs.store import BlobStore, BlobUpload
    from rinofs.server.budgets import HeldMemory
    from rinofs.server.settings import ServerSettings

__all__ = ["ReceivedUpload", "read_upload", "receive_binary", "receive_upload"]


@dataclass(frozen=True, slots=True)
class ReceivedUpload:
    """A completely received content, and its fields.

    Attributes
    ----------
    fields : dict
        Fields of the upload; those in the part ``json`` take precedence.
    filename : str or None
        Filename, if the client sent one.
    blob : Blob
        The stored content, which is protected from garbage collection until the context ends.
    said : str
        The digest that identifies the content when an idempotent request is repeated, in hex.
    """

    fields: dict[str, object]
    filename: str | None
    blob: Blob
    said: str


@asynccontextmanager
async def receive_upload(
    request: Request, blobs: BlobStore, *, any_part: bool = False, sha1: bool = False
) -> AsyncIterator[ReceivedUpload]:
    """Receive a multipart upload with the part ``file`` and fields before or after it.

    Parameters
    ----------
    request : Request
        The request, whose body has not been read.
    blobs : BlobStore
        Store for the content.
    any_part : bool
        Whether the part with the content may have any name.
    sha1 : bool
        Whether to compute the SHA-1 as well.

    Yields
    ------
    ReceivedUpload
        The upload; refer to its content in the database before leaving the context.

    Raises
    ------
    BadRequest
        If the body is malformed, ends too early or has no file. Nothing is stored then.
    TooLarge
        If the content or the fields are too long.
    Unprocessable
        If the content does not match the digest in the part ``blake3`` or ``sha256``.
    UnsupportedMedia
        If the body is compressed or not multipart.
    """
    settings = settings_of(request)
    _needs_multipart(request, any_part=any_part)
    body = multipart_body(request, takes_file=True, any_part=any_part)
    held: HeldMemory | None = request.scope.get(HELD)
    async with receiving(blobs, settings.max_content_bytes, sha1=sha1, held=held) as sink:
        beside = 0  # bytes of the fields and the framing
        async for data in body_stream(request, None):
            contained = 0
            for piece in body.feed(data):
                contained += len(piece)
                await sink.add(piece)
            beside += len(data) - contained
            if held is not None:
                count = held.add if beside > SMALL_BODY else held.note
                count(len(data) - contained)
        body.close()
        pairs, sent = _without_digests(body.fields, settings)
        fields = await join(pairs, settings, TEXT_FIELDS)
        blob = await sink.finish(sent)
        yield ReceivedUpload(fields, body.filename, blob, _said_digest(blob, sent))


async def read_upload(request: Request, limit: int) -> tuple[dict[str, object], bytes, str]:
    """Read a multipart upload with a small content into memory.

    Parameters
    ----------
    request : Request
        The request, whose body has not been read.
    limit : int
        Maximum size of the content in bytes.

    Returns
    -------
    dict
        The fields.
    bytes
        The content.
    str
        A digest of the content, in hex: the one that the client sent, or its BLAKE3.

    Raises
    ------
    BadRequest, TooLarge, Unprocessable, UnsupportedMedia
        As for `receive_upload`.
    """
    settings = settings_of(request)
    _needs_multipart(request)
    body = multipart_body(request, takes_file=True)
    pieces, size = [], 0
    async for data in body_stream(request, limit + 2 * settings.max_json_bytes, kept=True):
        for piece in body.feed(data):
            size += len(piece)
            if size > limit:
                raise TooLarge(f"the content is longer than {limit} bytes")
            pieces.append(bytes(piece))
    body.close()
    content = b"".join(pieces)
    pairs, sent = _without_digests(body.fields, settings)
    taken = {name: _digest(name, content) for name in sent or (BLAKE3,)}
    _check(sent, taken)
    return await join(pairs, settings, TEXT_FIELDS), content, next(iter(taken.values()))


@asynccontextmanager
async def receive_binary(request: Request, blobs: BlobStore) -> AsyncIterator[ReceivedUpload]:
    """Receive an upload whose body is the content, with the fields as JSON in a header.

    Parameters
    ----------
    request : Request
        The request, whose body has not been read.
    blobs : BlobStore
        Store for the content.

    Yields
    ------
    ReceivedUpload
        The upload; refer to its content in the database before leaving the context.

    Raises
    ------
    BadRequest
        If the header is missing or malformed.
    TooLarge
        If the content is too long.
    UnsupportedMedia
        If the body is compressed.
    """
    settings = settings_of(request)
    content_type_of(request)
    payload = request.headers.get(RINOCLOUD_PAYLOAD)
    if payload is None:
        raise BadRequest(f"the header {RINOCLOUD_PAYLOAD} with the name of the file is missing")
    fields = parse_object(_utf_8(payload), settings, what=f"the header {RINOCLOUD_PAYLOAD}")
    async with receiving(blobs, settings.max_content_bytes, held=request.scope.get(HELD)) as sink:
        async for data in body_stream(request, None):
            await sink.add(data)
        blob = await sink.finish({})
        yield ReceivedUpload(fields, None, blob, _said_digest(blob, {}))


def _said_digest(blob: Blob, sent: Mapping[str, str]) -> str:
    """Return the digest that identifies the content when an idempotent request is repeated.

    It is the SHA-256 of small contents, or if the client sent it, as in earlier versions of the server: a
    client may send a request to one of those, and repeat it to this one. Whether the SHA-256 of another
    content is known depends on the store, and on the memory in use when it arrived.
    """
    if SHA256 in sent or blob.size <= SHA256_AT_ONCE:
        return blob.sha256 or blob.blake3
    return blob.blake3


def _utf_8(header: str) -> bytes:
    """Decode a header as UTF-8. Java on Windows sends Latin-1."""
    raw = header.encode("latin-1")
    try:
        raw.decode()
    except UnicodeDecodeError:
        return header.encode()
    return raw


def _needs_multipart(request: Request, *, any_part: bool = False) -> None:
    kind = content_type_of(request)
    if kind == FORM:
        raise BadRequest(
            f"the form has no file; send {MULTIPART} with the part {FILE_PART!r}", field=FILE_PART
        )
    if kind != MULTIPART:
        where = "one part" if any_part else f"the part {FILE_PART!r}"
        raise UnsupportedMedia(f"an upload has to be {MULTIPART}, its content in {where}")


def _without_digests(
    pairs: list[tuple[str, str]], settings: ServerSettings
) -> tuple[list[tuple[str, str]], dict[str, str]]:
    """Split fields into those of the upload and the digests of its content, by name."""
    rest = [(name, value) for name, value in pairs if name not in DIGESTS]
    sent: dict[str, str] = {}
    for name in DIGESTS if settings.extensions else ():
        values = [value.strip().lower() for field, value in pairs if field == name]
        if not values:
            continue
        if not re.fullmatch("[0-9a-f]{64}", values[0]) or len(values) > 1:
            raise BadRequest(f"the part {name!r} has to be one digest of 64 hex digits", field=name)
        sent[name] = values[0]
    return rest, sent


def _digest(name: str, content: bytes) -> str:
    hasher = new_hasher(name)
    hasher.update(content)
    return hasher.hexdigest()


def _check(sent: Mapping[str, str], taken: Mapping[str, str]) -> None:
    """Raise an error for a content that does not match its announced digests."""
    for name, digest in sent.items():
        if taken[name] != digest:
            raise Unprocessable(
                f"the content does not have the digest that the part {name!r} names", field=name
            )


BATCH_SIZE = 1024 * 1024
"""Bytes written to the store at a time."""


class Sink:
    """Writes a content to the store in batches: one is written while the next one is received.

    A content of a single batch takes one run of a worker thread, from creating the file to the end, and its
    SHA-256 is computed immediately.

    Parameters
    ----------
    blobs : BlobStore
        The store.
    limit : int or None
        Maximum size in bytes.
    sha1 : bool
        Whether to compute the SHA-1 as well.
    held : HeldMemory, optional
        Counter of the bytes in memory.
    """

    def __init__(
        self, blobs: BlobStore, limit: int | None, *, sha1: bool = False, held: HeldMemory | None = None
    ) -> None:
        self._blobs = blobs
        self._held = held
        self._writing = 0  # bytes being written
        self._sha1 = sha1
        self._upload: BlobUpload | None = None
        self._limit = limit
        self._size = 0
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._work: asyncio.Future[Blob] | asyncio.Future[BlobUpload] | None = None

    async def add(self, data: bytes) -> None:
        """Add the next bytes.

        Raises
        ------
        TooLarge
            If the content is too long.
        """
        self._size += len(data)
        if self._limit is not None and self._size > self._limit:
            raise TooLarge(f"the content is longer than {self._limit} bytes")
        if self._held is not None:
            # An upload that has started continues at the speed of the store.
            count = self._held.add if self._size == len(data) else self._held.note
            count(len(data))
        self._batch.append(data)
        self._batch_size += len(data)
        scarce = self._held is not None and self._held.is_scarce
        if scarce or (self._batch_size >= BATCH_SIZE and self._size > SHA256_AT_ONCE):
            await self.settle()
            batch, self._batch = self._batch, []
            self._writing, self._batch_size = self._batch_size, 0
            self._work = asyncio.ensure_future(to_thread.run_sync(self._write, batch))
        if scarce:
            await self.settle()

    async def settle(self) -> Blob | BlobUpload | None:
        """Wait for the worker thread and return its result.

        Waits even if the request is cancelled: the file must not be closed while it is being written.
        """
        work = self._work
        if work is None:
            return None
        await asyncio.wait([work])
        self._work = None
        if self._held is not None:
            self._held.note(-self._writing)
        self._writing = 0
        return work.result()

    async def finish(self, sent: Mapping[str, str]) -> Blob:
        """Store the content if it matches the announced digests, given by name.

        Raises
        ------
        Unprocessable
            If a digest differs.
        """
        await self.settle()
        self._work = asyncio.ensure_future(to_thread.run_sync(self._finish, sent))
        blob = await self.settle()
        assert isinstance(blob, Blob)
        return blob

    def discard(self) -> None:
        """Discard an unfinished content; release a finished one for garbage collection."""
        if self._upload is not None:
            self._upload.discard()

    def _write(self, batch: list[bytes]) -> BlobUpload:
        if self._upload is None:
            at_once = self._size <= SHA256_AT_ONCE
            self._upload = self._blobs.new_upload(sha1=self._sha1, sha256=at_once)
        self._upload.write(batch[0] if len(batch) == 1 else b"".join(batch))
        return self._upload

    def _finish(self, sent: Mapping[str, str]) -> Blob:
        upload = self._write(self._batch)
        _check(sent, {name: upload.blake3() if name == BLAKE3 else upload.sha256() for name in sent})
        return upload.finish()


@asynccontextmanager
async def receiving(
    blobs: BlobStore, limit: int | None, *, sha1: bool = False, held: HeldMemory | None = None
) -> AsyncIterator[Sink]:
    """Receive a content. The end of the context discards an unfinished one, and releases a finished one.

    Parameters
    ----------
    blobs : BlobStore
        The store.
    limit : int or None
        Maximum size in bytes.
    sha1 : bool
        Whether to compute the SHA-1 as well.
    held : HeldMemory, optional
        Counter of the bytes in memory.
    """
    sink = Sink(blobs, limit, sha1=sha1, held=held)
    try:
        yield sink
    finally:
        try:
            await sink.settle()
        finally:
            sink.discard()
