"""Reading the bodies of requests: documents into memory, contents to where they are kept."""

from __future__ import annotations

import hashlib
import re
from contextlib import asynccontextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from rinofs.server.documents import TEXT_FIELDS, form_fields, parse_form, parse_object
from rinofs.server.errors import BadRequest, TooLarge, UnsupportedMedia
from rinofs.server.multipart import FILE_PART, MultipartBody, boundary_of
from rinofs.server.sinks import receiving, wrong_digest

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from starlette.requests import Request

    from rinofs.server.blobs import Blob, BlobStore
    from rinofs.server.settings import ServerSettings

__all__ = [
    "PAYLOAD_HEADER",
    "Upload",
    "body_stream",
    "content_type_of",
    "read_fields",
    "read_upload",
    "receive_binary",
    "receive_upload",
    "settings_of",
]

PAYLOAD_HEADER = "rinocloud-api-payload"
"""The header that carries the fields of an upload whose body is the bare content."""

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
    kind = content_type_of(request)
    texts = TEXT_FIELDS | frozenset(text_fields)
    if kind == _MULTIPART:
        body = _multipart(request, takes_file=False)
        async for data in body_stream(request, settings.max_json_bytes):
            for _ in body.feed(data):
                pass
        body.close()
        return _joined(body.fields, settings, texts)
    raw = b"".join([data async for data in body_stream(request, settings.max_json_bytes)])
    if kind == _FORM:
        return parse_form(raw, settings, texts)
    if not raw or kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return parse_object(raw, settings)
    if not kind:
        return parse_object(raw, settings, what="the body, which has no Content-Type,")
    raise UnsupportedMedia(f"a body of type {kind} is not read here; send JSON or a form")


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
    body = _multipart(request, takes_file=True, any_part=any_part)
    async with receiving(blobs, settings.max_content_bytes, sha1=sha1) as sink:
        async for data in body_stream(request, None):
            for piece in body.feed(data):
                await sink.add(piece)
        body.close()
        pairs, digest = _without_digest(body.fields, settings)
        fields = _joined(pairs, settings, TEXT_FIELDS)
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
    body = _multipart(request, takes_file=True)
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
    return _joined(pairs, settings, TEXT_FIELDS), b"".join(pieces), hasher.hexdigest()


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


def settings_of(request: Request) -> ServerSettings:
    """Return the settings of the server that a request came to."""
    settings: ServerSettings = request.app.state.settings
    return settings


def content_type_of(request: Request) -> str:
    """Return the type of a body, without parameters and in lower case.

    Raises
    ------
    UnsupportedMedia
        If the body is compressed.
    """
    encoding = request.headers.get("content-encoding", "identity").strip().lower()
    if encoding != "identity":
        # Unpacking would let a small body become a large one.
        raise UnsupportedMedia(f"a body with Content-Encoding {encoding} is not read here; send it as it is")
    return request.headers.get("content-type", "").partition(";")[0].strip().lower()


def _needs_multipart(request: Request, *, any_part: bool = False) -> None:
    if content_type_of(request) != _MULTIPART:
        where = "one part" if any_part else f"the part {FILE_PART!r}"
        raise UnsupportedMedia(f"an upload has to be {_MULTIPART}, its content in {where}")


def _multipart(request: Request, *, takes_file: bool, any_part: bool = False) -> MultipartBody:
    boundary = boundary_of(request.headers["content-type"])
    limit = settings_of(request).max_json_bytes
    return MultipartBody(boundary, limit, takes_file=takes_file, any_part=any_part)


async def body_stream(request: Request, limit: int | None) -> AsyncIterator[bytes]:
    """Yield the pieces of a body.

    Raises
    ------
    TooLarge
        If it is longer than `limit` bytes.
    BadRequest
        If it ends before it is complete.
    """
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
