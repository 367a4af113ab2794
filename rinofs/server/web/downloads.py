"""Respond with the content of a file: whole, in ranges, or not modified."""

from __future__ import annotations

import re
import secrets
from email.utils import format_datetime
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from rinofs.protocol.digests import parse_want_repr_digest, repr_digest
from rinofs.protocol.extensions import REPR_DIGEST, WANT_REPR_DIGEST
from rinofs.server.web.preconditions import failed_precondition, holds_for_range
from rinofs.server.web.ranges import ByteRange, parse_ranges
from rinofs.server.web.responses import error_response
from rinofs.server.web.sending import BodyPart, ContentResponse, StoredContent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence
    from datetime import datetime

    from starlette.requests import Request

__all__ = ["content_disposition", "content_response", "nothing_response", "wanted_digests"]

_BINARY = "application/octet-stream"
_SAFE_HEADERS = {
    # User content must never run or be displayed in a browser as a page of this server.
    "content-security-policy": "sandbox; default-src 'none'",
    "cache-control": "private, no-cache",
}


def content_response(
    request: Request,
    *,
    content: StoredContent,
    etag: str,
    filename: str,
    modified: datetime,
    headers: Mapping[str, str],
    digests: bool,
    offset: int = 0,
) -> Response:
    """Respond to a GET, HEAD or POST for a content, as RFC 9110 specifies.

    Parameters
    ----------
    request : Request
        The request. Its ``Range`` is honoured, and its conditions if `digests` is set.
    content : StoredContent
        The content.
    etag : str
        Etag of the content, without quotes.
    filename : str
        Name for saving the content.
    modified : datetime
        When the content was last modified, with its time zone.
    headers : mapping of str
        Additional headers of a successful response.
    digests : bool
        Whether to send validators and digests, and to honour conditions.
    offset : int
        First byte to send, for clients that do not use ``Range``.

    Returns
    -------
    Response
        200, 206, 304, 412 or 416.
    """
    known = _validators(request, etag, content.digests, modified) if digests else {}
    status = failed_precondition(request.method, request.headers, etag, modified) if digests else None
    if status == 304:
        known.pop(REPR_DIGEST, None)
        return Response(status_code=304, headers={**_SAFE_HEADERS, **known})
    if status == 412:
        return error_response(412, "the content is not the one that the request is about", known)
    ranges = _wanted(request, content.size, etag, modified, digests=digests)
    if ranges is None and offset > 0:
        ranges = [ByteRange(offset, content.size)] if offset < content.size else []
    if ranges == []:
        message = f"the content has {content.size} bytes, none of them in the range that was asked for"
        return error_response(416, message, {"content-range": f"bytes */{content.size}"})
    described = {**headers, **_SAFE_HEADERS, **known, "content-disposition": content_disposition(filename)}
    return _respond(content, ranges, described)


def nothing_response(filename: str, headers: Mapping[str, str]) -> Response:
    """Respond with an empty download.

    Parameters
    ----------
    filename : str
        Name for saving it.
    headers : mapping of str
        Additional headers.
    """
    described = {**headers, **_SAFE_HEADERS, "content-disposition": content_disposition(filename)}
    return Response(b"", headers=described, media_type=_BINARY)


def content_disposition(filename: str) -> str:
    """Return a ``Content-Disposition`` for saving a content under any name (RFC 6266, RFC 8187).

    Parameters
    ----------
    filename : str
        The name. Characters outside ASCII are only in the encoded form.
    """
    plain = re.sub(r"[^A-Za-z0-9 !#$&'()+,.;=@^_`{}~\[\]-]", "_", filename)
    if plain == filename:
        return f'attachment; filename="{plain}"'
    # An unpaired surrogate cannot be encoded. Only names from before the name checks can have one.
    encoded = quote(filename.encode("utf-8", "replace"), safe="!#$&+-.^_`|~")
    return f"attachment; filename=\"{plain}\"; filename*=UTF-8''{encoded}"


def wanted_digests(request: Request, known: Mapping[str, str]) -> Mapping[str, str]:
    """Return the digests that ``Want-Repr-Digest`` prefers, by name; all if it names none of them."""
    header = request.headers.get(WANT_REPR_DIGEST)
    if header is None:
        return known
    return {name: known[name] for name in parse_want_repr_digest(header) if name in known} or known


def _validators(
    request: Request, etag: str, digests: Mapping[str, str], modified: datetime
) -> dict[str, str]:
    validators = {
        "accept-ranges": "bytes",
        "etag": f'"{etag}"',
        "last-modified": format_datetime(modified, usegmt=True),
    }
    if digests:
        validators[REPR_DIGEST] = repr_digest(wanted_digests(request, digests))
    return validators


def _wanted(
    request: Request, size: int, etag: str, modified: datetime, *, digests: bool
) -> list[ByteRange] | None:
    asked = request.headers.getlist("range")
    if request.method == "HEAD" or len(asked) != 1:
        return None
    condition = request.headers.get("if-range")
    # Without validators no condition can hold, and clients must not join ranges of two versions.
    if not (holds_for_range(condition, etag, modified) if digests else condition is None):
        return None
    return parse_ranges(asked[0], size)


def _respond(content: StoredContent, ranges: Sequence[ByteRange] | None, headers: dict[str, str]) -> Response:
    if ranges is None:
        headers |= {"content-type": _BINARY, "content-length": str(content.size)}
        return ContentResponse(content, [BodyPart(b"", ByteRange(0, content.size))], b"", 200, headers)
    if len(ranges) == 1:
        span = ranges[0]
        headers |= {"content-type": _BINARY, "content-length": str(len(span))}
        headers["content-range"] = span.content_range(content.size)
        return ContentResponse(content, [BodyPart(b"", span)], b"", 206, headers)
    boundary = secrets.token_hex(16)
    head = f"\r\n--{boundary}\r\nContent-Type: {_BINARY}\r\nContent-Range: "
    parts = [BodyPart(f"{head}{span.content_range(content.size)}\r\n\r\n".encode(), span) for span in ranges]
    tail = f"\r\n--{boundary}--\r\n".encode()
    length = sum(len(part.head) + len(part.span) for part in parts) + len(tail)
    headers |= {
        "content-type": f"multipart/byteranges; boundary={boundary}",
        "content-length": str(length),
    }
    return ContentResponse(content, parts, tail, 206, headers)
