"""Endpoints of the Rinocloud API that read objects and their contents."""

from __future__ import annotations

from datetime import timedelta
from functools import partial
from typing import TYPE_CHECKING

from rinofs.protocol.extensions import RINOCLOUD_RESULT
from rinofs.protocol.limits import MAX_BUNDLED_FILE
from rinofs.protocol.search_syntax import parse_search
from rinofs.server.api.rinocloud.requests import (
    flag,
    needed_identifier,
    page,
    path_of,
    text,
    where,
    whole_number,
)
from rinofs.server.blobs.mixed import MixedBlobStore
from rinofs.server.catalog.queries.conditions import refusals
from rinofs.server.catalog.records import Kind
from rinofs.server.errors import BadRequest, NotFound
from rinofs.server.web.downloads import content_response, nothing_response
from rinofs.server.web.responses import json_response, stream_json_list
from rinofs.server.web.sending import StoredContent

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from starlette.responses import Response

    from rinofs.server.api.calls import Call
    from rinofs.server.catalog.listings import Item, ListedName, Listing, PageRequest


DIRECT_LIFETIME = timedelta(minutes=5)
"""Lifetime of a URL for reading a content directly from the store."""


async def get_metadata(call: Call) -> Response:
    """Show an object."""
    fields = await call.fields(text_fields=("path",))
    wanted = _needed(where(fields, extended=call.extended))
    truncated = flag(fields, "truncate_metadata")
    record = await call.find(wanted)
    return json_response(call.to_json(record, truncated=truncated))


async def children(call: Call) -> Response:
    """List a folder, or the top level."""
    fields = await call.fields(text_fields=("path",))
    wanted = page(fields, extended=call.extended)
    recursive = call.extended and flag(fields, "recursive")
    start = where(fields, extended=call.extended)
    truncated = flag(fields, "truncate_metadata")
    run = call.search_in_thread if recursive else call.run_in_thread
    if call.extended and flag(fields, "names"):
        folder, names = await run(call.services.store.names, start, wanted, recursive=recursive)
        rest = {**_counts(names.total, wanted), "folder": folder}
        return stream_json_list(map(_named, names.pieces()), run=call.work, rest=rest)
    listing = await run(call.services.store.children, start, wanted, recursive=recursive)
    return _answer(call, listing, truncated=truncated, rest=_counts(listing.total, wanted))


def _counts(total: int | None, page: PageRequest) -> dict[str, object]:
    """Return the counts for a page of a folder; objects after an id are not counted."""
    counted = {} if total is None else {"count": total}
    return {**counted, "limit": page.limit, "offset": page.offset}


def _named(names: Sequence[ListedName]) -> list[dict[str, object]]:
    return [
        {"id": number, "name": name, "type": kind, "parent": parent} for number, name, kind, parent in names
    ]


async def query(call: Call) -> Response:
    """List the objects that match a query."""
    fields = await call.fields(text_fields=("sort",))
    listing = await call.search_in_thread(
        call.services.store.query,
        fields.get("query"),
        page(fields, extended=False),
        sort=fields.get("sort"),
        digests=call.extended,
    )
    return _answer(call, listing, truncated=flag(fields, "truncate_metadata"))


async def query_count(call: Call) -> Response:
    """Count the objects that match a query."""
    fields = await call.fields()
    count = await call.search_in_thread(call.services.store.count, fields.get("query"), digests=call.extended)
    return json_response({"count": count})


async def search(call: Call) -> Response:
    """List the objects that match a search."""
    fields = await call.fields(text_fields=("query",))
    words = text(fields, "query")
    if words is None:
        raise BadRequest("query: the text to search for is missing", field="query")
    with refusals():
        wanted = parse_search(words)
    listing = await call.search_in_thread(
        call.services.store.search, wanted, page(fields, extended=False), digests=call.extended
    )
    return _answer(call, listing, truncated=flag(fields, "truncate_metadata"))


async def autocomplete_search(call: Call) -> Response:
    """List the names of metadata fields."""
    await call.fields()
    return json_response({"result": await call.search_in_thread(call.services.store.field_names)})


async def autocomplete_values(call: Call) -> Response:
    """List the values of a field."""
    fields = await call.fields()
    field = text(fields, "field")
    if not field:
        raise BadRequest("field: the name of a field is missing", field="field")
    found = await call.search_in_thread(call.services.store.field_values, field, digests=call.extended)
    return json_response({"result": found})


async def ancestors(call: Call) -> Response:
    """List the folders above an object."""
    fields = await call.fields()
    found = await call.run_in_thread(call.services.store.ancestors, needed_identifier(fields))
    return json_response([call.to_json(record) for record in found])


async def download(call: Call) -> Response:
    """Send the content of a file."""
    fields = await _download_fields(call)
    wanted = _needed(where(fields, extended=call.extended))
    record = await call.find(wanted)
    # Published clients use ids, and expect an empty file for an object without content.
    by_path = not isinstance(wanted, int)
    if record.type == Kind.FOLDER or (by_path and record.type != Kind.FILE):
        raise BadRequest(f"id: {record.id} is a {record.type}, which has no content", field="id")
    offset = whole_number(fields, "from")
    headers = {RINOCLOUD_RESULT: record.header(call.user, digests=call.extended)}
    if record.key is None or record.size is None or record.etag is None or 0 < offset >= record.size:
        # A client that polls for new content would mistake an error message for it.
        return nothing_response(record.name, headers)
    return content_response(
        call.request,
        content=StoredContent(call.services.blobs, record.key, record.size, record.digests),
        etag=record.etag,
        filename=record.name,
        modified=record.modified,
        headers=headers,
        digests=call.extended,
        offset=offset,
    )


async def direct(call: Call) -> Response:
    """Respond with a URL for reading a content directly from the store, if it is in one."""
    blobs = call.services.blobs
    if not call.extended:
        raise NotFound("files/direct/ does not exist on this server")
    fields = await call.fields()
    record = await call.find(_needed(where(fields, extended=call.extended)))
    if record.key is None or record.size is None:
        raise BadRequest(f"id: {record.id} is a {record.type}, which has no content", field="id")
    answer: dict[str, object] = {"url": None, "size": record.size, "etag": record.etag, **record.digests}
    if isinstance(blobs, MixedBlobStore) and record.size > MAX_BUNDLED_FILE:
        signed = await call.work(partial(blobs.signed_url, record.key, record.size, DIRECT_LIFETIME))
        if signed is not None:
            seconds = int(DIRECT_LIFETIME.total_seconds())
            answer |= {"url": signed.url, "store_etag": signed.etag, "expires_in": seconds}
    return json_response(answer, headers={"cache-control": "no-store"})


async def _download_fields(call: Call) -> dict[str, object]:
    if call.request.method == "POST":
        return await call.fields(text_fields=("path",))
    asked = call.request.query_params
    fields: dict[str, object] = {name: asked[name] for name in ("id", "from") if name in asked}
    if "path" in asked:
        fields["path"] = path_of(asked.getlist("path"))
    return fields


def _needed(found: int | list[str] | None) -> int | list[str]:
    if found is None or found == []:
        raise BadRequest("id: the id of an object is missing", field="id")
    return found


def _answer(
    call: Call, listing: Listing, *, truncated: bool, rest: Mapping[str, object] | None = None
) -> Response:
    def shown(piece: Sequence[Item]) -> list[dict[str, object]]:
        return [
            record.to_json(call.user, digests=call.extended, truncated=truncated, path=path)
            for record, path in piece
        ]

    # A generator would keep a reference to the piece that is being sent.
    return stream_json_list(map(shown, listing.pieces()), run=call.work, rest=rest)
