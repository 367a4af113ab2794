"""Endpoints of the repovizz2 API for the contents of datapacks."""

from __future__ import annotations

import hashlib
import re
from functools import partial
from typing import TYPE_CHECKING

from starlette.responses import Response

from rinofs.server.api.calls import known_contents
from rinofs.server.api.repovizz.datapacks import OK, expected_state, known_state
from rinofs.server.api.repovizz.requests import datapack_id, extended, link_of
from rinofs.server.catalog.structures import CONTENT_LINK, json_text
from rinofs.server.web.downloads import content_response
from rinofs.server.web.responses import json_response
from rinofs.server.web.sending import StoredContent
from rinofs.server.web.uploads import receive_upload

if TYPE_CHECKING:
    from rinofs.server.api.calls import Call
    from rinofs.server.blobs.store import Blob
    from rinofs.server.catalog.database import RequestKey
    from rinofs.server.catalog.records import User

__all__ = ["put", "send", "show_all", "store"]

SMALL_DOCUMENT = 256 * 1024
"""Length in characters up to which documents are parsed concurrently, so that several contents of a user are
stored with one fsync."""

_CONTROL = re.compile(r"[\x00-\x1f\x7f-\x9f]")


async def show_all(call: Call) -> Response:
    """List the data nodes of a datapack, by their links."""
    body = await call.parse(partial(_listed, call))
    headers = {"cache-control": "private, no-cache"}
    if extended(call):
        etag = hashlib.sha256(body).hexdigest()[:32]
        headers["etag"] = f'"{etag}"'
        if known_state(call, etag) == 304:
            return Response(status_code=304, headers=headers)
    return Response(body, headers=headers, media_type="application/json")


def _listed(call: Call) -> bytes:
    found, known = call.services.datapacks.contents(call.user, datapack_id(call))
    listed: dict[str, dict[str, object]] = {}
    for node in found.structure.data_nodes():
        link = node["link"]
        content = known.get(link) if extended(call) else None
        if content is not None:
            node |= {"size": content.size, **content.digests}
        listed.setdefault(link, node)
    return json_text(listed)


async def put(call: Call) -> Response:
    """Store a content for the nodes with a link."""
    identifier, link = datapack_id(call), link_of(call)
    # Check before receiving the content, which may take long, and again afterwards.
    length = await call.run_in_thread(call.services.datapacks.check, identifier)
    async with receive_upload(call.request, call.services.blobs, any_part=True, sha1=True) as received:
        blob = received.blob
        filename = _filename(link, received.filename, blob)

        def change(user: User, key: RequestKey | None) -> None:
            with known_contents(call.services, [blob]) as known:
                call.services.datapacks.put_content(
                    user, identifier, link, known[0], filename, expected=expected_state(call), key=key
                )

        # A request with the same key has the same content.
        return await call.once(
            received.said, change, lambda _: _stored(blob), lambda _: None, parses=length > SMALL_DOCUMENT
        )


async def store(call: Call) -> Response:
    """Store a content that a later change of the document will link to."""
    identifier = datapack_id(call)
    length = await call.run_in_thread(call.services.datapacks.check, identifier)
    async with receive_upload(call.request, call.services.blobs, any_part=True, sha1=True) as received:
        blob = received.blob

        def keep() -> None:
            with known_contents(call.services, [blob]) as known:
                call.services.datapacks.store_content(
                    call.user, identifier, known[0], _filename(CONTENT_LINK, received.filename, blob)
                )

        await (call.parse if length > SMALL_DOCUMENT else call.work)(keep)
        return _stored(blob)


def _stored(blob: Blob) -> Response:
    """Respond with the hash of a content, as documented by the service."""
    return json_response({"id": blob.sha1, **OK})


def _filename(link: str, sent: str | None, blob: Blob) -> str:
    name = link.rpartition("/")[2] if not link.startswith(CONTENT_LINK) else sent
    # Only a suggestion for saving the content. Links are any text, and PostgreSQL stores no NUL.
    return _CONTROL.sub("_", name or blob.sha1)


async def send(call: Call) -> Response:
    """Send a content."""
    sha1 = link_of(call).removeprefix(CONTENT_LINK)
    content = await call.run_in_thread(call.services.datapacks.content, datapack_id(call), sha1)
    return content_response(
        call.request,
        content=StoredContent(call.services.blobs, content.key, content.size, content.digests),
        etag=content.etag,
        filename=content.filename,
        modified=content.modified,
        headers={},
        digests=extended(call),
    )
