"""Finding objects by what is known about them, within one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, text

from rinofs.protocol.limits import MAX_SEARCH_TEXT
from rinofs.server.catalog.queries.conditions import distinct_values, refusals
from rinofs.server.catalog.queries.values import text_value
from rinofs.server.catalog.sqlite import functions
from rinofs.server.catalog.tables import objects
from rinofs.server.errors import BadRequest

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection, TextClause

    from rinofs.server.catalog.records import User

__all__ = ["field_names", "known_values", "matching_text", "mine"]

MAX_SUGGESTIONS = 1000
"""Names or values that are suggested at most."""


def mine(user: User) -> ColumnElement[bool]:
    """Return the condition of being a current object of a user."""
    return and_(objects.c.owner == user.id, objects.c.version_of.is_(None))


def matching_text(words: str) -> TextClause:
    """Return the condition of having a text in the name, a tag, or a key or plain value of the metadata.

    Letters of the ASCII alphabet match in either case; ``*`` and an empty text match everything.

    Raises
    ------
    BadRequest
        If the text is longer than a search can be.
    """
    if words.strip() in {"", "*"}:
        return text(functions.TRUE)
    if len(words) > MAX_SEARCH_TEXT:
        raise BadRequest(f"query: at most {MAX_SEARCH_TEXT} characters are searched for", field="query")
    with refusals():
        wanted = text_value(words)
    scalar = functions.tree_scalar("part")
    tags = f"SELECT 1 FROM {functions.tree(functions.compared('objects.tags'), 'part')}"  # noqa: S608
    metadata = f"SELECT 1 FROM {functions.tree(functions.compared('objects.metadata'), 'part')}"  # noqa: S608
    in_tags = f"EXISTS ({tags} WHERE {_holds(scalar)})"
    in_metadata = f"EXISTS ({metadata} WHERE {_holds(scalar)} OR {_holds('part.key')})"
    return text(f"({_holds('objects.name')} OR {in_tags} OR {in_metadata})").bindparams(words=wanted)


def _holds(value: str) -> str:
    return functions.contains_caseless(value, ":words")


def field_names(connection: Connection, user: User) -> list[str]:
    """Return the keys that the metadata of a user's objects have, in order."""
    keys = f"objects, {functions.each('objects.metadata', 'field')}"
    mine = "objects.owner = :user AND objects.version_of IS NULL"
    found = text(f"SELECT DISTINCT field.key FROM {keys} WHERE {mine} ORDER BY field.key LIMIT :most")  # noqa: S608
    return list(connection.scalars(found, {"user": user.id, "most": MAX_SUGGESTIONS}))


def known_values(connection: Connection, user: User, field: str, *, digests: bool) -> list[object]:
    """Return the different values that a field has among a user's objects, in order."""
    found = distinct_values(user, field, digests=digests)
    rows = connection.execute(found.bindparams(limit=MAX_SUGGESTIONS))
    return [_plain(row.value, row.kind) for row in rows]


def _plain(value: Any, kind: str) -> object:
    if kind in {"array", "object"}:
        loaded: object = json.loads(value)
        return loaded
    return bool(value) if kind in {"true", "false"} else value
