"""What processes that write to one database concurrently need besides the lock on an owner's row.

`Database.write` serializes the changes of one owner. The statements here write rows that belong to nobody, or
to many. SQLite has one writer at a time: there no statement locks anything.
"""

from __future__ import annotations

from functools import cache
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, select, text, tuple_

from rinofs.server.catalog.tables import properties

if TYPE_CHECKING:
    from collections.abc import Iterable

    from sqlalchemy import ColumnElement, Connection, Select, Table, TextClause
    from sqlalchemy.exc import IntegrityError

__all__ = [
    "CHUNK",
    "add_unless_present",
    "delete_unlocked",
    "is_dangling",
    "is_duplicate",
    "put",
    "shared",
    "take_turn",
]

CHUNK = 1000
"""Rows deleted at a time."""


@cache
def put(table: Table, *columns: str, changed: tuple[str, ...] = ()) -> TextClause:
    """Return the statement that adds a row, or updates the one with the same primary key.

    Parameters
    ----------
    table : Table
        The table.
    columns : str
        Columns that are set if the row is added.
    changed : tuple of str
        Those of them that are updated otherwise; by default the row is only locked.
    """
    key = [column.name for column in table.primary_key]
    values = ", ".join(f'"{name}" = excluded."{name}"' for name in changed or key[:1])
    return text(f"{_added(table, columns)} ON CONFLICT ({_names(key)}) DO UPDATE SET {values}")


@cache
def add_unless_present(table: Table, *columns: str) -> TextClause:
    """Return the statement that adds a row unless it conflicts with an existing one.

    The result holds the primary key if the row was added. If another process is adding a conflicting row, the
    statement waits for the outcome.
    """
    returned = [column.name for column in table.primary_key]
    return text(f"{_added(table, columns)} ON CONFLICT DO NOTHING RETURNING {_names(returned)}")


def _added(table: Table, columns: tuple[str, ...]) -> str:
    values = ", ".join(f":{name}" for name in columns)
    return f"INSERT INTO {table.name} ({_names(columns)}) VALUES ({values})"  # noqa: S608 (names of our own)


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def shared(statement: Select[Any]) -> Select[Any]:
    """Lock the rows that a statement finds against deletion and key changes until the transaction ends."""
    return statement.with_for_update(read=True, key_share=True)


def delete_unlocked(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> int:
    """Delete rows, except those that another transaction has locked; return how many were deleted.

    Deletes at most `CHUNK` rows, and never waits. The rest is left for the next call.
    """
    key = tuple_(*table.primary_key)
    found = select(*table.primary_key).where(*conditions).limit(CHUNK).with_for_update(skip_locked=True)
    return connection.execute(delete(table).where(key.in_(found))).rowcount


def is_dangling(error: IntegrityError) -> bool:
    """Return whether a row was rejected because what it refers to does not exist, or no longer does."""
    below = error.orig
    known = {getattr(below, "sqlstate", None), getattr(below, "sqlite_errorname", None)}
    return bool(known & {"23503", "SQLITE_CONSTRAINT_FOREIGNKEY"})


def is_duplicate(error: IntegrityError, table: Table) -> bool:
    """Return whether a row of a table was rejected since another one has its name, by a unique index."""
    below = error.orig
    if getattr(below, "sqlite_errorname", None) == "SQLITE_CONSTRAINT_UNIQUE":
        return f" {table.name}." in str(below)
    index = str(getattr(getattr(below, "diag", None), "constraint_name", None))
    return getattr(below, "sqlstate", None) == "23505" and index.startswith(f"uq_{table.name}_")


def take_turn(connection: Connection, name: str, moment: float, every: float) -> bool:
    """Return whether a periodic task that only one of all processes runs is due.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    name : str
        The task; the property of this name holds when it last began.
    moment : float
        Seconds since 1970, by the clock of the database.
    every : float
        Seconds between two runs.
    """
    connection.execute(put(properties, "name", "value"), {"name": name, "value": "0"})
    last = connection.scalar(select(properties.c.value).where(properties.c.name == name))
    if abs(moment - float(last or 0)) < every:  # the clock may have been set back
        return False
    row = {"name": name, "value": f"{moment:.3f}"}
    connection.execute(put(properties, "name", "value", changed=("value",)), row)
    return True
