"""Finding objects by what is known about them, within one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, case, exists, func, literal, or_, select, true

from rinofs.server.errors import BadRequest
from rinofs.server.query import MAX_NEEDLE, field_values
from rinofs.server.query_fields import comparable, text_value
from rinofs.server.tables import objects

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from rinofs.server.records import User

__all__ = ["field_names", "known_values", "matching_text", "mine"]

MAX_SUGGESTIONS = 1000
"""Names or values that are suggested at most."""


def mine(user: User) -> ColumnElement[bool]:
    """Return the condition of being a current object of a user."""
    return and_(objects.c.owner == user.id, objects.c.version_of.is_(None))


def matching_text(text: str) -> ColumnElement[bool]:
    """Return the condition of having a text in the name, a tag, or a key or plain value of the metadata.

    Letters of the ASCII alphabet match in either case; ``*`` and an empty text match everything.

    Raises
    ------
    BadRequest
        If the text is longer than a search can be.
    """
    if text.strip() in {"", "*"}:
        return true()
    if len(text) > MAX_NEEDLE:
        raise BadRequest(f"query: at most {MAX_NEEDLE} characters are searched for", field="query")
    part = func.lower(text_value(text))

    def holds(value: ColumnElement[Any]) -> ColumnElement[bool]:
        return func.instr(func.lower(value), part) > 0

    found = [holds(objects.c.name)]
    for document in (objects.c.tags, objects.c.metadata):
        tree = func.json_tree(comparable(document)).table_valued("key", "atom", "type").alias()
        plain = case((tree.c.type.in_(("text", "integer", "real")), tree.c.atom), else_="")
        inside = [holds(plain)] if document is objects.c.tags else [holds(plain), holds(tree.c.key)]
        found.append(exists(select(literal(1)).select_from(tree).where(or_(*inside)).correlate(objects)))
    return or_(*found)


def field_names(connection: Connection, user: User) -> list[str]:
    """Return the keys that the metadata of a user's objects have, in order."""
    keys = func.json_each(objects.c.metadata).table_valued("key").alias()
    found = select(keys.c.key).select_from(objects.join(keys, true())).where(mine(user)).distinct()
    return list(connection.scalars(found.order_by(keys.c.key).limit(MAX_SUGGESTIONS)))


def known_values(connection: Connection, user: User, field: str, *, digests: bool) -> list[object]:
    """Return the different values that a field has among a user's objects, in order."""
    present, value, kind = field_values(user, field, digests=digests)
    found = select(value.label("value"), kind.label("kind")).where(mine(user), present).distinct()
    rows = connection.execute(found.order_by("kind", "value").limit(MAX_SUGGESTIONS))
    return [_plain(row.value, row.kind) for row in rows]


def _plain(value: Any, kind: str) -> object:
    if kind in {"array", "object"}:
        loaded: object = json.loads(value)
        return loaded
    return bool(value) if kind in {"true", "false"} else value
