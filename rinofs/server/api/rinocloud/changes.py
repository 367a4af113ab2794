"""Endpoints of the Rinocloud API that create and change objects."""

from __future__ import annotations

from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import Response

from rinofs.server.api.calls import known_contents
from rinofs.server.api.rinocloud.requests import (
    change_of,
    flag,
    identifier,
    identifiers,
    name_of,
    needed_identifier,
    new_object,
    path_of,
    text,
    uploaded_file,
)
from rinofs.server.blobs.store import SHA256_AT_ONCE
from rinofs.server.catalog.records import Kind, Record
from rinofs.server.catalog.store import FolderExists, made_before
from rinofs.server.errors import BadRequest, Conflict
from rinofs.server.web.preconditions import etags_in
from rinofs.server.web.responses import json_response
from rinofs.server.web.uploads import ReceivedUpload, receive_binary, receive_upload

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rinofs.server.api.calls import Call
    from rinofs.server.blobs.store import BlobUpload
    from rinofs.server.catalog.database import RequestKey
    from rinofs.server.catalog.records import User

_COPY_SIZE = 1024 * 1024
_APPEND_TRIES = 20


async def create_folder(call: Call) -> Response:
    """Create a folder."""
    fields = await call.fields()
    new = new_object(fields, extended=call.extended, nested=True, kind=Kind.FOLDER)

    def change(user: User, key: RequestKey | None) -> list[Record]:
        return [call.services.store.create_folder(user, new, key=key)]

    return await _created(call, fields, change)


async def create_folder_if_not_exist(call: Call) -> Response:
    """Create a folder, or return the existing one."""
    try:
        return await create_folder(call)
    except FolderExists as found:
        return call.respond(found.record)


async def create_object(call: Call) -> Response:
    """Create an object without content, or update the one with the given id."""
    fields = await call.fields()
    number = identifier(fields)
    if number is not None:
        return await _updated(call, fields, number, 201)
    new = new_object(fields, extended=call.extended, nested=False, kind=Kind.OBJECT)
    present = replace(change_of(fields, extended=call.extended), name=None)

    def change(user: User, key: RequestKey | None) -> list[Record]:
        return [call.services.store.create_object(user, new, present, key=key)]

    return await _created(call, fields, change)


async def upload(call: Call) -> Response:
    """Create a file from a multipart body."""
    async with receive_upload(call.request, call.services.blobs) as received:
        return await _store(call, received)


async def upload_binary(call: Call) -> Response:
    """Create a file whose content is the body."""
    async with receive_binary(call.request, call.services.blobs) as received:
        return await _store(call, received)


async def _store(call: Call, received: ReceivedUpload) -> Response:
    new = uploaded_file(
        received.fields, extended=call.extended, filename=received.filename, size=received.blob.size
    )
    headers = call.request.headers
    only_new = call.extended and headers.get("if-none-match", "").strip() == "*"
    # Only requests with a condition need to read it.
    expected = etags_in(headers["if-match"]) if call.extended and "if-match" in headers else None

    def change(user: User, key: RequestKey | None) -> list[Record]:
        store = call.services.store
        with known_contents(call.services, [received.blob]) as (blob,):
            return [store.upload(user, new, blob, only_new=only_new, expected=expected, key=key)]

    said = [received.fields, received.filename, received.said]
    return await _created(call, said, change)


async def update(call: Call) -> Response:
    """Change the name, the metadata or the tags of an object."""
    fields = await call.fields()
    return await _updated(call, fields, needed_identifier(fields))


async def _updated(call: Call, fields: Mapping[str, object], number: int, status: int = 200) -> Response:
    changed = change_of(fields, extended=call.extended)
    exact = _exact(call, fields)

    def change(user: User, key: RequestKey | None) -> list[Record]:
        return [call.services.store.update(user, number, changed, exact=exact, key=key)]

    return await _changed(call, fields, change, status)


def _exact(call: Call, fields: Mapping[str, object]) -> bool:
    """Return whether the id of an earlier version means that version rather than the current object."""
    return call.extended and flag(fields, "exact")


async def delete_metadata_field(call: Call) -> Response:
    """Remove a key from the metadata of an object."""
    fields = await call.fields()
    field = text(fields, "field")
    if field is None:
        raise BadRequest("field: the name of a metadata field is missing", field="field")
    number, exact = needed_identifier(fields), _exact(call, fields)

    def change(user: User, key: RequestKey | None) -> list[Record]:
        return [call.services.store.delete_field(user, number, field, exact=exact, key=key)]

    return await _changed(call, fields, change)


async def append(call: Call) -> Response:
    """Append text to the content of a file."""
    fields = await call.fields()
    number = needed_identifier(fields)
    chunk = text(fields, "chunk")
    if chunk is None:
        raise BadRequest("chunk: the text to append is missing", field="chunk")
    exact = _exact(call, fields)
    # One at a time: of several requests that copy the same content, only one could succeed.
    async with call.workers.lock(number):
        return call.respond(await call.work(partial(_append, call, number, chunk.encode(), exact=exact)))


def _append(call: Call, number: int, chunk: bytes, *, exact: bool) -> Record:
    for _ in range(_APPEND_TRIES):
        record = call.services.store.get(call.user, number)
        if record.version_of is not None:
            if exact:
                raise Conflict(f"id: {number} is an earlier version, read-only", field="id")
            number = record.version_of
            continue
        if record.type == Kind.FOLDER:
            raise BadRequest(f"id: {number} is a folder, which has no content", field="id")
        at_once = (record.size or 0) + len(chunk) <= SHA256_AT_ONCE
        with call.services.blobs.new_upload(sha256=at_once) as grown:
            _copy_content(call, record, grown)
            grown.write(chunk)
            with known_contents(call.services, [grown.finish()]) as (blob,):
                changed = call.services.store.replace_content(call.user, number, blob, expected=record.blob)
        if changed is not None:
            grown_record, unreferenced = changed
            call.services.remove(unreferenced)
            return grown_record
    raise Conflict(f"id: too many requests append to {number} at once", field="id")


def _copy_content(call: Call, record: Record, target: BlobUpload) -> None:
    if record.key is None or record.size is None:
        return
    with call.services.blobs.open_range(record.key, record.size) as source:
        while data := source.read(_COPY_SIZE):
            target.write(data)


async def move(call: Call) -> Response:
    """Move objects into another folder."""
    fields = await call.fields()
    numbers = identifiers(fields, "items", "id")
    name = name_of(fields) if call.extended else None
    replace, paths = call.extended and flag(fields, "replace"), _places(call, fields, numbers)
    parent = identifier(fields, "parent")

    def change(user: User, key: RequestKey | None) -> list[Record]:
        return call.services.store.move(user, numbers, parent, name, replace=replace, paths=paths, key=key)

    return await call.once(fields, change, partial(respond_with_list, call, status=200), made_before)


async def copy(call: Call) -> Response:
    """Copy objects into a folder."""
    fields = await call.fields()
    numbers = identifiers(fields, "items", "id")
    parent, name = identifier(fields, "parent"), name_of(fields)
    replace, paths = call.extended and flag(fields, "replace"), _places(call, fields, numbers)

    def change(user: User, key: RequestKey | None) -> list[Record]:
        return call.services.store.copy(user, numbers, parent, name, replace=replace, paths=paths, key=key)

    return await call.once(fields, change, partial(respond_with_list, call), made_before)


async def delete(call: Call) -> Response:
    """Delete objects or, with ``version``, only earlier versions."""
    fields = await call.fields()
    numbers, exact = identifiers(fields, "id"), _exact(call, fields)
    # Even without the extension: a request for one version must not delete the object.
    if flag(fields, "version"):
        await call.work(partial(_prune, call, numbers))
        return Response(status_code=204)
    empty, paths = call.extended and flag(fields, "empty"), _places(call, fields, numbers)
    await call.work(partial(_delete, call, numbers, exact=exact, empty=empty, paths=paths))
    return Response(status_code=204)


def _places(call: Call, fields: Mapping[str, object], numbers: Sequence[int]) -> list[list[str]] | None:
    """Return where the objects of a request have to be, or None if that does not matter."""
    paths = fields.get("paths") if call.extended else None
    if paths is None:
        return None
    if not isinstance(paths, list) or len(paths) != len(numbers):
        raise BadRequest("paths: a list of paths is expected, one for each id", field="paths")
    return [path_of(path) for path in paths]


def _prune(call: Call, numbers: Sequence[int]) -> None:
    call.services.remove(call.services.store.prune(call.user, numbers))


def _delete(
    call: Call, numbers: Sequence[int], *, exact: bool, empty: bool, paths: list[list[str]] | None
) -> None:
    gone = call.services.store.delete(call.user, numbers, exact=exact, empty=empty, paths=paths)
    call.services.remove(gone)


async def _created(
    call: Call, said: object, change: Callable[[User, RequestKey | None], list[Record]]
) -> Response:
    """Create an object once, and respond with it."""
    return await _changed(call, said, change, 201)


async def _changed(
    call: Call, said: object, change: Callable[[User, RequestKey | None], list[Record]], status: int = 200
) -> Response:
    """Create or change an object once, and respond with it."""
    return await call.once(said, change, lambda made: call.respond(made[0], status), made_before)


def respond_with_list(call: Call, made: Sequence[Record], *, status: int = 201) -> Response:
    """Respond with created or moved objects."""
    return json_response({"result": [call.to_json(record) for record in made]}, status)
