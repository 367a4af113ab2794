"""What several processes that write to one database at once need beside the lock of an owner's row.

`Database.write` has the changes of one owner come one after the other. Rows that belong to nobody, or to
many, are written by the statements here. SQLite has one writer at a time: there no statement locks anything.
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

__all__ = ["CHUNK", "add_unless_present", "delete_unlocked", "is_dangling", "put", "shared", "take_turn"]

CHUNK = 1000
"""Rows that are deleted at a time."""


@cache
def put(table: Table, *columns: str, changed: tuple[str, ...] = ()) -> TextClause:
    """Return the statement that adds a row, or changes the one of the same primary key.

    Parameters
    ----------
    table : Table
        Where.
    columns : str
        What the row has if it is added.
    changed : tuple of str
        Which of these it gets otherwise; by default it is locked, and stays as it is.
    """
    key = [column.name for column in table.primary_key]
    values = ", ".join(f'"{name}" = excluded."{name}"' for name in changed or key[:1])
    return text(f"{_added(table, columns)} ON CONFLICT ({_names(key)}) DO UPDATE SET {values}")


@cache
def add_unless_present(table: Table, *columns: str) -> TextClause:
    """Return the statement that adds a row unless there is one that it must not be beside.

    The result has its primary key if it was added. Where another process is adding such a row, it waits for
    what comes of that.
    """
    returned = [column.name for column in table.primary_key]
    return text(f"{_added(table, columns)} ON CONFLICT DO NOTHING RETURNING {_names(returned)}")


def _added(table: Table, columns: tuple[str, ...]) -> str:
    values = ", ".join(f":{name}" for name in columns)
    return f"INSERT INTO {table.name} ({_names(columns)}) VALUES ({values})"  # noqa: S608 (names of our own)


def _names(columns: Iterable[str]) -> str:
    return ", ".join(f'"{name}"' for name in columns)


def shared(statement: Select[Any]) -> Select[Any]:
    """Have the rows that a statement finds stay, with what others refer to, until the transaction ends."""
    return statement.with_for_update(read=True, key_share=True)


def delete_unlocked(connection: Connection, table: Table, *conditions: ColumnElement[bool]) -> int:
    """Delete rows, except those that another transaction is working on; return how many there were.

    It deletes some at a time at most, and waits for nobody. What it leaves is for the next time.
    """
    key = tuple_(*table.primary_key)
    found = select(*table.primary_key).where(*conditions).limit(CHUNK).with_for_update(skip_locked=True)
    return connection.execute(delete(table).where(key.in_(found))).rowcount


def is_dangling(error: IntegrityError) -> bool:
    """Tell whether a row was refused since what it refers to is not there, or no longer."""
    below = error.orig
    known = {getattr(below, "sqlstate", None), getattr(below, "sqlite_errorname", None)}
    return bool(known & {"23503", "SQLITE_CONSTRAINT_FOREIGNKEY"})


def take_turn(connection: Connection, name: str, moment: float, every: float) -> bool:
    """Tell whether it is time for something that one of all processes does now and then.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    name : str
        What it is; a property of the database keeps when it was begun last.
    moment : float
        Seconds since 1970, by the clock of the database.
    every : float
        Seconds from one time to the next.
    """
    connection.execute(put(properties, "name", "value"), {"name": name, "value": "0"})
    last = connection.scalar(select(properties.c.value).where(properties.c.name == name))
    if abs(moment - float(last or 0)) < every:  # the clock may have been set back
        return False
    row = {"name": name, "value": f"{moment:.3f}"}
    connection.execute(put(properties, "name", "value", changed=("value",)), row)
    return True
