"""Finding objects by what is known about them, within one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, text, true

from rinofs.server.catalog.database import kind_of
from rinofs.server.catalog.queries.conditions import distinct_values
from rinofs.server.catalog.tables import objects

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from rinofs.server.catalog.queries.conditions import CompiledQuery
    from rinofs.server.catalog.records import User

__all__ = ["field_names", "known_values", "mine"]

MAX_SUGGESTIONS = 1000
"""Names or values that are suggested at most."""


def mine(user: User, wanted: CompiledQuery | None = None) -> ColumnElement[bool]:
    """Return the condition of being a current object of a user; `wanted` is what else holds for it."""
    if wanted is not None and wanted.is_indexed:
        # The signs keep SQLite from looking at all objects of a user, for want of statistics.
        found = text("+objects.owner = :mine AND +objects.version_of IS NULL").bindparams(mine=user.id)
        return and_(true(), found)
    return and_(objects.c.owner == user.id, objects.c.version_of.is_(None))


def field_names(connection: Connection, user: User) -> list[str]:
    """Return the keys that the metadata of a user's objects have, in order."""
    dialect = kind_of(connection).queries
    keys = f"objects, {dialect.keys('objects.metadata', 'field')}"
    mine = "objects.owner = :user AND objects.version_of IS NULL"
    each = dialect.sorted_text("field.key")
    found = text(f"SELECT DISTINCT {each} AS key FROM {keys} WHERE {mine} ORDER BY {each} LIMIT :most")  # noqa: S608
    return list(connection.scalars(found, {"user": user.id, "most": MAX_SUGGESTIONS}))


def known_values(connection: Connection, user: User, field: str, *, digests: bool) -> list[object]:
    """Return the different values that a field has among a user's objects, in order."""
    found = distinct_values(kind_of(connection).queries, user, field, digests=digests)
    rows = connection.execute(found.bindparams(limit=MAX_SUGGESTIONS))
    return [_plain(row.value, row.kind) for row in rows]


def _plain(value: Any, kind: str) -> object:
    """Return a value out of the database, where it may be JSON text, as in all lists and objects."""
    loaded: object = json.loads(value) if isinstance(value, str) and kind != "text" else value
    if isinstance(loaded, int) and not -(2**63) <= loaded < 2**63:
        return float(loaded)
    return bool(loaded) if kind in {"true", "false"} else loaded
