"""Receiving contents: to where they are kept, or small ones into memory."""

from __future__ import annotations

import hashlib
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.server.errors import BadRequest, TooLarge, UnsupportedMedia
from rinofs.server.web.bodies import (
    MULTIPART,
    body_stream,
    content_type_of,
    joined,
    multipart_body,
    settings_of,
)
from rinofs.server.web.multipart import FILE_PART
from rinofs.server.web.parsing import TEXT_FIELDS, parse_object
from rinofs.server.web.sinks import receiving, wrong_digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from starlette.requests import Request

    from rinofs.server.blobs.store import Blob, BlobStore
    from rinofs.server.settings import ServerSettings

__all__ = ["PAYLOAD_HEADER", "Upload", "read_upload", "receive_binary", "receive_upload"]

PAYLOAD_HEADER = "rinocloud-api-payload"
"""The header that carries the fields of an upload whose body is the bare content."""


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


@asynccontextmanager
async def receive_upload(
    request: Request, blobs: BlobStore, *, any_part: bool = False, sha1: bool = False
) -> AsyncIterator[Upload]:
    """Receive a multipart upload: the part ``file``, and fields before or after it.

    Parameters
    ----------
    request : Request
        The request; its body was not read yet.
    blobs : BlobStore
        Where the content goes.
    any_part : bool
        Whether the content may come as a part of any name.
    sha1 : bool
        Whether its sha-1 is taken too.

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
    _needs_multipart(request, any_part=any_part)
    body = multipart_body(request, takes_file=True, any_part=any_part)
    async with receiving(blobs, settings.max_content_bytes, sha1=sha1) as sink:
        async for data in body_stream(request, None):
            for piece in body.feed(data):
                await sink.add(piece)
        body.close()
        pairs, digest = _without_digest(body.fields, settings)
        fields = joined(pairs, settings, TEXT_FIELDS)
        yield Upload(fields, body.filename, await sink.finish(digest))


async def read_upload(request: Request, limit: int) -> tuple[dict[str, object], bytes, str]:
    """Read a multipart upload, whose content is small, into memory.

    Parameters
    ----------
    request : Request
        The request; its body was not read yet.
    limit : int
        Bytes that the content may have.

    Returns
    -------
    dict
        The fields.
    bytes
        The content.
    str
        Its sha-256, in hex.

    Raises
    ------
    BadRequest, TooLarge, Unprocessable, UnsupportedMedia
        As for `receive_upload`.
    """
    settings = settings_of(request)
    _needs_multipart(request)
    body = multipart_body(request, takes_file=True)
    hasher = hashlib.sha256()
    pieces, size = [], 0
    async for data in body_stream(request, limit + 2 * settings.max_json_bytes):
        for piece in body.feed(data):
            size += len(piece)
            if size > limit:
                raise TooLarge(f"the content is longer than {limit} bytes")
            hasher.update(piece)
            pieces.append(bytes(piece))
    body.close()
    pairs, digest = _without_digest(body.fields, settings)
    if digest not in {None, hasher.hexdigest()}:
        raise wrong_digest()
    return joined(pairs, settings, TEXT_FIELDS), b"".join(pieces), hasher.hexdigest()


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
    content_type_of(request)
    payload = request.headers.get(PAYLOAD_HEADER)
    if payload is None:
        raise BadRequest(f"the header {PAYLOAD_HEADER} with the name of the file is missing")
    fields = parse_object(payload.encode("latin-1"), settings, what=f"the header {PAYLOAD_HEADER}")
    async with receiving(blobs, settings.max_content_bytes) as sink:
        async for data in body_stream(request, None):
            await sink.add(data)
        yield Upload(fields, None, await sink.finish(None))


def _needs_multipart(request: Request, *, any_part: bool = False) -> None:
    if content_type_of(request) != MULTIPART:
        where = "one part" if any_part else f"the part {FILE_PART!r}"
        raise UnsupportedMedia(f"an upload has to be {MULTIPART}, its content in {where}")


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
