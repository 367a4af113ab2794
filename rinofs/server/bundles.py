"""The contents of many small files in one answer."""

from __future__ import annotations

import base64
import secrets
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from rinofs.server.bodies import read_fields
from rinofs.server.errors import ApiError, BadRequest, NotFound
from rinofs.server.rinocloud_requests import path_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from rinofs.server.calls import Call
    from rinofs.server.records import Record

__all__ = ["MOST", "SMALL", "TOGETHER", "download_many"]

MOST = 256
"""Files that can be asked for at once."""

SMALL = 256 * 1024
"""Bytes up to which a file is sent along."""

TOGETHER = 2 * 1024 * 1024
"""Bytes of all that is sent along."""


async def download_many(call: Call) -> Response:
    """Send the contents of small files; of the others say that they are to be asked for alone."""
    if not call.extended:
        raise NotFound("this server has no files/download_many/")
    fields = await read_fields(call.request)
    paths = fields.get("paths")
    if not isinstance(paths, list) or not 0 < len(paths) <= MOST:
        raise BadRequest(f"paths: a list of 1 to {MOST} paths is expected", field="paths")
    wanted = [path_of(path) for path in paths]
    boundary = secrets.token_hex(16)
    body = await call.ask(_answer, call, wanted, boundary)
    return Response(body, media_type=f"multipart/mixed; boundary={boundary}")


def _answer(_user: object, call: Call, paths: Sequence[Sequence[str]], boundary: str) -> bytes:
    records = call.services.store.locate_many(call.user, paths)
    return b"".join(_parts(call, paths, records, boundary))


def _parts(
    call: Call, paths: Sequence[Sequence[str]], records: Sequence[Record | None], boundary: str
) -> Iterator[bytes]:
    room = TOGETHER
    for path, record in zip(paths, records, strict=True):
        content = None if record is None else _content(call, record, min(SMALL, room))
        where = "/".join(quote(name, safe="") for name in path)
        yield f"\r\n--{boundary}\r\nContent-Location: {where}\r\n".encode()
        if content is None or record is None or record.sha256 is None:
            yield b"rinocloud-api-alone: true\r\nContent-Length: 0\r\n\r\n"
            continue
        room -= len(content)
        digest = base64.b64encode(bytes.fromhex(record.sha256)).decode("ascii")
        yield f"Repr-Digest: sha-256=:{digest}:\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        yield content
    yield f"\r\n--{boundary}--\r\n".encode()


def _content(call: Call, record: Record, most: int) -> bytes | None:
    if record.sha256 is None or record.size is None or record.size > most:
        return None
    try:
        with call.services.blobs.open(record.sha256, record.size) as file:
            content = file.read()
    except ApiError:
        return None  # whoever asks for it alone is told what is wrong
    return content if len(content) == record.size else None
