"""Find objects by their fields, within one transaction."""

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
"""Maximum number of suggested names or values."""


def mine(user: User, wanted: CompiledQuery | None = None) -> ColumnElement[bool]:
    """Return the condition for current objects of a user; `wanted` is a further condition."""
    if wanted is not None and wanted.is_indexed:
        # The signs keep SQLite, which lacks statistics, from scanning all objects of a user.
        found = text("+objects.owner = :mine AND +objects.version_of IS NULL").bindparams(mine=user.id)
        return and_(true(), found)
    return and_(objects.c.owner == user.id, objects.c.version_of.is_(None))


def field_names(connection: Connection, user: User) -> list[str]:
    """Return the metadata keys of a user's objects, sorted."""
    dialect = kind_of(connection).queries
    keys = f"objects, {dialect.keys('objects.metadata', 'field')}"
    mine = "objects.owner = :user AND objects.version_of IS NULL"
    each = dialect.sorted_text("field.key")
    found = text(f"SELECT DISTINCT {each} AS key FROM {keys} WHERE {mine} ORDER BY {each} LIMIT :most")  # noqa: S608
    return list(connection.scalars(found, {"user": user.id, "most": MAX_SUGGESTIONS}))


def known_values(connection: Connection, user: User, field: str, *, digests: bool) -> list[object]:
    """Return the distinct values of a field among a user's objects, sorted."""
    found = distinct_values(kind_of(connection).queries, user, field, digests=digests)
    rows = connection.execute(found.bindparams(limit=MAX_SUGGESTIONS))
    return [_plain(row.value, row.kind) for row in rows]


def _plain(value: Any, kind: str) -> object:
    """Return a value from the database, where it may be JSON text, as lists and objects always are."""
    loaded: object = json.loads(value) if isinstance(value, str) and kind != "text" else value
    if isinstance(loaded, int) and not -(2**63) <= loaded < 2**63:
        return float(loaded)
    return bool(loaded) if kind in {"true", "false"} else loaded
