"""Many small files in one request: their contents in one response, or in one body."""

from __future__ import annotations

import re
import secrets
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING
from urllib.parse import quote

from starlette.responses import Response

from rinofs.protocol.digests import BLAKE3, DIGESTS, SHA256, repr_digest
from rinofs.protocol.extensions import REPR_DIGEST, RINOCLOUD_ALONE, WANT_REPR_DIGEST
from rinofs.protocol.limits import MAX_BUNDLE, MAX_BUNDLE_DOWNLOAD, MAX_BUNDLE_UPLOAD, MAX_BUNDLED_FILE
from rinofs.server.api.calls import known_contents
from rinofs.server.api.rinocloud.changes import respond_with_list
from rinofs.server.api.rinocloud.requests import new_object, path_of, text, whole_number
from rinofs.server.blobs.store import digests_of, is_object_key
from rinofs.server.catalog.bulk_insert import about
from rinofs.server.catalog.database import WouldWait
from rinofs.server.catalog.records import Kind
from rinofs.server.catalog.store import made_before
from rinofs.server.errors import ApiError, BadRequest, NotFound, Unprocessable
from rinofs.server.web.downloads import wanted_digests
from rinofs.server.web.sending import SMALL, read_at_once
from rinofs.server.web.uploads import read_upload

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping, Sequence

    from starlette.requests import Request

    from rinofs.server.api.calls import Call
    from rinofs.server.blobs.store import Digests
    from rinofs.server.catalog.database import RequestKey
    from rinofs.server.catalog.records import NewObject, Record, User

__all__ = ["download_many", "upload_many"]

_DIGEST = re.compile("[0-9a-f]{64}")
_OF_CONTENT = ("size", *DIGESTS)

MAX_AT_ONCE = 32
"""Maximum number of contents to read in the event loop, while other requests wait."""
NAMES_AT_ONCE = 2048
"""Maximum number of names in all paths of a request that is read and answered in the event loop."""
CHARACTERS_AT_ONCE = 32 * 1024
"""Maximum number of characters of these names."""
FETCHED_AT_ONCE = 8
"""Number of contents that a request fetches from an object store at a time: most of it is waiting."""


async def download_many(call: Call) -> Response:
    """Send the contents of small files; tell the client to request the others separately."""
    if not call.extended:
        raise NotFound("files/download_many/ does not exist on this server")
    fields = await call.fields()
    paths = fields.get("paths")
    if not isinstance(paths, list) or not 0 < len(paths) <= MAX_BUNDLE_DOWNLOAD:
        raise BadRequest(f"paths: a list of 1 to {MAX_BUNDLE_DOWNLOAD} paths is expected", field="paths")
    few = _are_few(paths)
    wanted = _wanted(paths) if few else await call.work(partial(_wanted, paths))
    records = await call.find_many(wanted)
    boundary = secrets.token_hex(16)
    body = _at_once(call, wanted, records, boundary) if few else None
    if body is None:
        body = await call.run_in_thread(_answer, call, wanted, records, boundary)
    return Response(body, media_type=f"multipart/mixed; boundary={boundary}")


def _are_few(paths: Sequence[object]) -> bool:
    """Return whether paths that are not checked yet are handled faster than a thread is found for them."""
    listed = [path if isinstance(path, list) else [path] for path in paths]
    if sum(map(len, listed)) > NAMES_AT_ONCE:
        return False
    return sum(len(name) for path in listed for name in path if isinstance(name, str)) <= CHARACTERS_AT_ONCE


def _wanted(paths: Sequence[object]) -> list[list[str]]:
    return [path_of(path) for path in paths]


def _at_once(
    call: Call, paths: Sequence[Sequence[str]], records: Sequence[Record | None], boundary: str
) -> bytes | None:
    """Return the response if it is small and in memory: switching to a thread would take longer."""
    sizes = [record.size or 0 for record in records if record is not None]
    if len(sizes) > MAX_AT_ONCE or sum(size for size in sizes if size <= MAX_BUNDLED_FILE) > SMALL:
        return None
    with suppress(WouldWait):
        return b"".join(_parts(call, paths, records, boundary, _content_at_once))
    return None


def _answer(
    _user: object,
    call: Call,
    paths: Sequence[Sequence[str]],
    records: Sequence[Record | None],
    boundary: str,
) -> bytes:
    far = _far_contents(call, records)

    def read(call: Call, key: str, size: int) -> bytes | None:
        return far[key] if key in far else _content(call, key, size)

    return b"".join(_parts(call, paths, records, boundary, read))


def _far_contents(call: Call, records: Sequence[Record | None]) -> dict[str, bytes | None]:
    """Return the contents that are in an object store by key, fetching several at a time."""
    keys: dict[str, int] = {}
    room = MAX_BUNDLE
    for record in records:
        if record is None or record.key is None or record.size is None or record.size > MAX_BUNDLED_FILE:
            continue
        room -= record.size
        if room < 0:
            break
        if is_object_key(record.key) and call.services.blobs.local_path(record.key) is None:
            keys[record.key] = record.size
    if len(keys) < 2:
        return {}
    with ThreadPoolExecutor(FETCHED_AT_ONCE, thread_name_prefix="rinofs-bundle") as threads:
        return dict(zip(keys, threads.map(partial(_content, call), keys, keys.values()), strict=True))


def _parts(
    call: Call,
    paths: Sequence[Sequence[str]],
    records: Sequence[Record | None],
    boundary: str,
    read: Callable[[Call, str, int], bytes | None],
) -> Iterator[bytes]:
    room = MAX_BUNDLE
    for path, record in zip(paths, records, strict=True):
        content = None
        if record is not None and record.key is not None and record.size is not None:
            fits = record.size <= min(MAX_BUNDLED_FILE, room)
            content = read(call, record.key, record.size) if fits else None
        where = "/".join(quote(name, safe="") for name in path)
        yield f"\r\n--{boundary}\r\nContent-Location: {where}\r\n".encode()
        if content is None or record is None:
            yield f"{RINOCLOUD_ALONE}: true\r\nContent-Length: 0\r\n\r\n".encode()
            continue
        room -= len(content)
        digest = repr_digest(_offered(call.request, record.digests))
        yield f"{REPR_DIGEST}: {digest}\r\nContent-Length: {len(content)}\r\n\r\n".encode()
        yield content
    yield f"\r\n--{boundary}--\r\n".encode()


def _offered(request: Request, known: Mapping[str, str]) -> Mapping[str, str]:
    if WANT_REPR_DIGEST in request.headers or SHA256 not in known:
        return wanted_digests(request, known)
    # SHA-256 only: clients before BLAKE3 compare the whole value.
    return {SHA256: known[SHA256]}


def _content(call: Call, key: str, size: int) -> bytes | None:
    try:
        with call.services.blobs.open_range(key, size) as reader:
            content = reader.read(size)
    except ApiError:
        return None  # a separate request for it gets the error
    return content if len(content) == size else None


def _content_at_once(call: Call, key: str, size: int) -> bytes:
    path = call.services.blobs.local_path(key)
    content = None if path is None else read_at_once(path, size, 0, size)
    if content is None:
        raise WouldWait
    return content


async def upload_many(call: Call) -> Response:
    """Create files from the pieces of one content: all or none of them."""
    if not call.extended:
        raise NotFound("files/upload_many/ does not exist on this server")
    fields, content, digest = await read_upload(call.request, MAX_BUNDLE)

    def change(user: User, key: RequestKey | None) -> list[Record]:
        arriving = _arriving(fields.get("files"), memoryview(content))
        with (
            call.services.blobs.write_many({one.digests: one.content for one in arriving}) as stored,
            known_contents(call.services, list(stored.values())) as known,
        ):
            blobs = dict(zip(stored, known, strict=True))
            files = [(one.new, blobs[one.digests]) for one in arriving]
            return call.services.store.upload_many(user, files, key=key)

    return await call.once([fields, digest], change, partial(respond_with_list, call), made_before)


@dataclass(frozen=True, slots=True)
class _Arriving:
    """A file in the upload."""

    new: NewObject
    digests: Digests
    content: memoryview


def _arriving(files: object, content: memoryview) -> list[_Arriving]:
    if not isinstance(files, list) or not 0 < len(files) <= MAX_BUNDLE_UPLOAD:
        raise BadRequest(f"files: a list of 1 to {MAX_BUNDLE_UPLOAD} files is expected", field="files")
    found, start = [], 0
    for number, fields in enumerate(files):
        with about(number):
            one = _one(fields, content[start:])
        found.append(one)
        start += one.digests.size
    if start != len(content):
        message = f"files: their sizes make {start} bytes, and {len(content)} were sent"
        raise BadRequest(message, field="files")
    return found


def _one(fields: object, rest: memoryview) -> _Arriving:
    if not isinstance(fields, dict):
        raise BadRequest("an object is expected", field="files")
    if fields.get("size") is None:
        raise BadRequest("size: the number of bytes is missing", field="size")
    size = whole_number(fields, "size")
    if size > len(rest):
        raise BadRequest(f"size: {len(rest)} bytes are left of the content, not {size}", field="size")
    new = new_object(
        {key: value for key, value in fields.items() if key not in _OF_CONTENT},
        extended=True,
        nested=True,
        kind=Kind.FILE,
    )
    taken = digests_of(rest[:size])
    for name, found in ((BLAKE3, taken.blake3), (SHA256, taken.sha256)):
        digest = text(fields, name)
        if digest is not None and not _DIGEST.fullmatch(digest):
            raise BadRequest(f"{name}: a digest of 64 hex digits is expected", field=name)
        if digest not in {None, found}:
            raise Unprocessable(f"{name}: the content has another digest", field=name)
    return _Arriving(new, taken, rest[:size])
