"""Reading the bodies of requests: their bytes, and documents."""

from __future__ import annotations

from typing import TYPE_CHECKING

from starlette.requests import ClientDisconnect

from rinofs.server.errors import BadRequest, TooLarge, UnsupportedMedia
from rinofs.server.web.multipart import MultipartBody, boundary_of
from rinofs.server.web.parsing import TEXT_FIELDS, form_fields, parse_form, parse_object

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Collection

    from starlette.requests import Request

    from rinofs.server.settings import ServerSettings

__all__ = [
    "MULTIPART",
    "body_stream",
    "content_type_of",
    "joined",
    "multipart_body",
    "read_fields",
    "settings_of",
]

_FORM = "application/x-www-form-urlencoded"
MULTIPART = "multipart/form-data"


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
    if kind == MULTIPART:
        body = multipart_body(request, takes_file=False)
        async for data in body_stream(request, settings.max_json_bytes):
            for _ in body.feed(data):
                pass
        body.close()
        return joined(body.fields, settings, texts)
    raw = b"".join([data async for data in body_stream(request, settings.max_json_bytes)])
    if kind == _FORM:
        return parse_form(raw, settings, texts)
    if not raw or kind == "application/json" or (kind.startswith("application/") and kind.endswith("+json")):
        return parse_object(raw, settings)
    if not kind:
        return parse_object(raw, settings, what="the body, which has no Content-Type,")
    raise UnsupportedMedia(f"a body of type {kind} is not read here; send JSON or a form")


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


def multipart_body(request: Request, *, takes_file: bool, any_part: bool = False) -> MultipartBody:
    """Begin to take a multipart body apart; see `MultipartBody`."""
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


def joined(
    pairs: list[tuple[str, str]], settings: ServerSettings, texts: Collection[str]
) -> dict[str, object]:
    """Return the fields of a form by name; those of its part ``json`` win."""
    fields = form_fields([pair for pair in pairs if pair[0] != "json"], settings, texts)
    for name, value in pairs:
        if name == "json":
            fields |= parse_object(value.encode(), settings, what="the part 'json'")
    return fields
