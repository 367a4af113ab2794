"""Endpoints of the repovizz2 API for users and their datapacks."""

from __future__ import annotations

from datetime import UTC, datetime
from functools import partial
from typing import TYPE_CHECKING

import orjson
from starlette.responses import Response

from rinofs.server.api.repovizz.requests import datapack_id, extended, name_of, parse_document, read_document
from rinofs.server.catalog.datapacks import ANY_STATE, ExpectedState
from rinofs.server.catalog.structures import Structure, structure_of
from rinofs.server.errors import Forbidden, PreconditionFailed, Unprocessable
from rinofs.server.web.bodies import in_time
from rinofs.server.web.preconditions import expected_tags, failed_precondition
from rinofs.server.web.responses import json_response, stream_json_list

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.server.api.calls import Call
    from rinofs.server.catalog.database import Repeated, RequestKey
    from rinofs.server.catalog.datapacks import Datapack
    from rinofs.server.catalog.records import User

__all__ = [
    "OK",
    "create",
    "delete",
    "edit",
    "expected_state",
    "known_state",
    "me",
    "show",
    "show_all",
    "user",
]

_PIECE = 1024 * 1024  # maximum total length, in characters, of documents in memory at a time
OK = {"result": "OK"}
"""Fields of the response to every change."""


async def me(call: Call) -> Response:
    """Show the user and the ids of the user's datapacks."""
    user = call.user
    shown = {
        "id": user.id,
        "username": user.username,
        "email": user.email,
        "datapacks": await call.run_in_thread(call.services.datapacks.ids),
        "folders": [],
        "groups": [],
        "_links": {"self": f"/api/v1.0/users/{user.username}", "collection": "/api/v1.0/users"},
    }
    return json_response(shown)


async def user(call: Call) -> Response:
    """Show a user by name; other users are not shown."""
    if call.request.path_params["name"] != call.user.username:
        raise Forbidden("Method not allowed.")
    return await me(call)


async def show_all(call: Call) -> Response:
    """List the datapacks of the user, or only the one with a given name."""
    name = call.request.query_params.get("name")
    found = await call.run_in_thread(call.services.datapacks.ids, name)
    each = call.services.datapacks.each(call.user, found)
    return stream_json_list(_pieces(call, each), run=call.work, key="items")


async def show(call: Call) -> Response:
    """Show a datapack."""
    found = await call.run_in_thread(call.services.datapacks.get, datapack_id(call))
    return _conditional(call, found.etag, lambda: orjson.dumps(_shown(call, found)))


async def delete(call: Call) -> Response:
    """Delete a datapack with its contents."""
    identifier, expected = datapack_id(call), expected_state(call)

    def remove() -> None:
        call.services.remove(call.services.datapacks.delete(call.user, identifier, expected=expected))

    await call.work(remove)
    return json_response(OK)


async def create(call: Call) -> Response:
    """Create a datapack."""
    fields, structure = await _read(call)
    name = name_of(fields)
    if name is None or structure is None:
        missing = "name" if name is None else "structure"
        raise Unprocessable(f"{missing}: a new datapack needs one", field=missing)
    # Only the user can be the owner, given by number, as in the service, or by name.
    owner = fields.get("owner")
    if owner is not None and owner != call.user.id and owner != call.user.username:
        raise Forbidden("Method not allowed.")

    def change(user: User, key: RequestKey | None) -> tuple[str, str]:
        made = call.services.datapacks.create(user, name, structure, key=key)
        return made.id, made.etag

    def render(made: tuple[str, str]) -> Response:
        item = _item(call, made[0], name, structure)
        return json_response({"item": item, **OK}, headers=_named(call, made[1]))

    return await call.once([name, structure.text], change, render, _id_and_etag)


async def edit(call: Call) -> Response:
    """Change the name or the document of a datapack, or both."""
    identifier = datapack_id(call)
    fields, structure = await _read(call)
    name = name_of(fields)
    if name is None and structure is None:
        raise Unprocessable("name, structure: at least one of them is needed")

    expected = expected_state(call)

    def change(user: User, key: RequestKey | None) -> tuple[str, str]:
        changed = call.services.datapacks.edit(
            user, identifier, name=name, structure=structure, expected=expected, key=key
        )
        return changed.id, changed.etag

    def render(changed: tuple[str, str]) -> Response:
        return json_response(OK, headers=_named(call, changed[1]))

    return await call.once([name, structure and structure.text], change, render, _id_and_etag, parses=True)


async def _read(call: Call) -> tuple[dict[str, object], Structure | None]:
    raw = await read_document(call.request)
    return await call.parse(partial(in_time, call.services.settings, partial(_parse, call, raw)))


def _parse(call: Call, raw: bytes) -> tuple[dict[str, object], Structure | None]:
    fields = parse_document(raw, call.services.settings)
    value = fields.pop("structure", None)
    return fields, None if value is None else structure_of(value)


def expected_state(call: Call) -> ExpectedState:
    """Return the state that the request requires the datapack to have."""
    return ExpectedState(*expected_tags(call.request.headers)) if extended(call) else ANY_STATE


def _id_and_etag(repeated: Repeated) -> tuple[str, str]:
    """Return the id and the etag of a datapack from the stored result of a request."""
    return repeated.outcome["id"], repeated.outcome["etag"]


def known_state(call: Call, etag: str) -> int | None:
    """Return a response with 304 or 412 if a condition of the request failed, or None."""
    # Dates do not identify a state, since there may be several within a second.
    return failed_precondition(call.request.method, call.request.headers, etag, datetime.now(UTC))


def _conditional(call: Call, etag: str, render: Callable[[], bytes]) -> Response:
    headers = {"cache-control": "private, no-cache", **_named(call, etag)}
    if extended(call):
        status = known_state(call, etag)
        if status == 304:
            return Response(status_code=304, headers=headers)
        if status == 412:
            raise PreconditionFailed("the datapack is not in this state", headers=headers)
    return Response(render(), headers=headers, media_type="application/json")


def _named(call: Call, etag: str) -> dict[str, str]:
    return {"etag": f'"{etag}"'} if extended(call) else {}


def _shown(call: Call, datapack: Datapack) -> dict[str, object]:
    return _item(call, datapack.id, datapack.name, datapack.structure)


def _item(call: Call, identifier: str, name: str, structure: Structure) -> dict[str, object]:
    return {
        "id": identifier,
        "name": name,
        "owner": call.user.id,
        "folder": None,
        "structure": orjson.Fragment(structure.text),
        "group_edit_permissions": [],
    }


def _pieces(call: Call, found: Iterator[Datapack]) -> Iterator[list[dict[str, object]]]:
    """Iterate over the pieces of a list without keeping references to them."""
    return iter(partial(_piece, call, found), [])


def _piece(call: Call, found: Iterator[Datapack]) -> list[dict[str, object]]:
    piece: list[dict[str, object]] = []
    size = 0
    for datapack in found:
        # So that clients know the state of each without another request.
        piece.append({**_shown(call, datapack), "etag": datapack.etag})
        size += len(datapack.structure.text)
        if size > _PIECE:
            break
    return piece
