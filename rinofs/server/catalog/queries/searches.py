"""Finding objects by what is known about them, within one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select, text, true

from rinofs.server.catalog.queries.query import MAX_NEEDLE, distinct_values
from rinofs.server.catalog.queries.values import compared, text_value
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
        return text("1")
    if len(words) > MAX_NEEDLE:
        raise BadRequest(f"query: at most {MAX_NEEDLE} characters are searched for", field="query")
    plain = "CASE WHEN part.type IN ('text', 'integer', 'real') THEN part.atom END"
    tags = f"SELECT 1 FROM json_tree({compared('objects.tags')}) AS part WHERE {_holds(plain)}"  # noqa: S608
    metadata = f"SELECT 1 FROM json_tree({compared('objects.metadata')}) AS part"  # noqa: S608
    inside = f"EXISTS ({tags}) OR EXISTS ({metadata} WHERE {_holds(plain)} OR {_holds('part.key')})"
    return text(f"({_holds('objects.name')} OR {inside})").bindparams(words=text_value(words))


def _holds(value: str) -> str:
    return f"instr(lower({value}), lower(:words)) > 0"


def field_names(connection: Connection, user: User) -> list[str]:
    """Return the keys that the metadata of a user's objects have, in order."""
    keys = func.json_each(objects.c.metadata).table_valued("key").alias()
    found = select(keys.c.key).select_from(objects.join(keys, true())).where(mine(user)).distinct()
    return list(connection.scalars(found.order_by(keys.c.key).limit(MAX_SUGGESTIONS)))


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
