"""Indexes of SQLite on expressions that take fields out of the metadata.

SQLite uses such an index where a query has the very expressions of it, and no values are bound in them. Paths
are written as hexadecimal numbers: nothing in a name can end them. Another database is one more module with
these functions.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import text

from rinofs.server.catalog.sqlite import functions

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

__all__ = ["Expressions", "expressions", "make", "names", "remove"]

_PREFIX = "ix_objects_field_"
_PATH = re.compile(r"X'([0-9a-f]+)'")
_MADE = text("SELECT sql FROM sqlite_master WHERE type = 'index' AND name GLOB :pattern")


@dataclass(frozen=True, slots=True)
class Expressions:
    """A field of an object in SQL.

    Attributes
    ----------
    value, kind : str
        Its value and the JSON type of that; null for objects without it.
    rank : str
        The position of the type in the order of types; null for objects without it.
    plain : str
        The value, unless it is a list or an object.
    """

    value: str
    kind: str
    rank: str
    plain: str


def expressions(paths: Sequence[Sequence[str]], column: str) -> Expressions:
    """Return a field in SQL.

    Parameters
    ----------
    paths : sequence of sequences of str
        Where it may be: keys, one in the other; the first place that has it counts.
    column : str
        The column of the metadata.
    """
    document = functions.compared(column)
    values = [f"json_extract({document}, {_path(path)})" for path in paths]
    kinds = [f"nullif(json_type({document}, {_path(path)}), 'null')" for path in paths]
    value, kind = (one[0] if len(one) == 1 else f"coalesce({', '.join(one)})" for one in (values, kinds))
    return Expressions(value, kind, functions.rank_or_null(kind), functions.plain(value, kind))


def _path(keys: Sequence[str]) -> str:
    path = "$" + "".join(f'."{key}"' for key in keys)
    return f"CAST(X'{path.encode().hex()}' AS TEXT)"


def names(connection: Connection) -> set[str]:
    """Return the fields that have an index."""
    made = connection.scalars(_MADE, {"pattern": f"{_PREFIX}*"})
    paths = [bytes.fromhex(match[1]).decode() for sql in made if (match := _PATH.search(sql))]
    return {path.removeprefix('$."').removesuffix('"') for path in paths}


def make(connection: Connection, field: str, paths: Sequence[Sequence[str]]) -> None:
    """Make the index on a field."""
    found = expressions(paths, "metadata")
    columns = f"owner, {found.rank}, {found.plain}"
    present = f"version_of IS NULL AND {found.rank} IS NOT NULL"
    connection.exec_driver_sql(f"CREATE INDEX {_name(field)} ON objects ({columns}) WHERE {present}")


def remove(connection: Connection, field: str) -> None:
    """Remove the index on a field."""
    connection.exec_driver_sql(f"DROP INDEX IF EXISTS {_name(field)}")


def _name(field: str) -> str:
    return _PREFIX + hashlib.sha256(field.encode()).hexdigest()[:24]
