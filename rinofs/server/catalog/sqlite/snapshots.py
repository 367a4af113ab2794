"""Copies of the database at one moment, while others write to it, and what such a copy refers to."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from rinofs.server.catalog.tables import BLOB_REFERENCES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["contents_of", "referred_in", "take_snapshot", "total_of"]

_PAGES = 1024  # copied between two looks at whether the user wants it to end


def take_snapshot(source: Path, target: Path, count: Callable[[int], object]) -> list[str]:
    """Copy a database as it is at this moment, make the copy durable, and check it.

    https://www.sqlite.org/backup.html

    Parameters
    ----------
    source : Path
        The database; others may write to it meanwhile.
    target : Path
        The copy, a single file.
    count : callable
        Called with the number of pages that are left, again and again.

    Returns
    -------
    list of str
        What is wrong with the copy.
    """
    os.close(
        os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600)
    )  # SQLite's own would depend on the umask
    with (
        closing(sqlite3.connect(source, isolation_level=None)) as origin,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        # A transaction that sees one state all the time: the copy would begin again after each change.
        origin.execute("BEGIN")
        origin.execute("SELECT 1 FROM sqlite_master").fetchone()
        origin.backup(copy, pages=_PAGES, progress=lambda _status, left, _total: count(left))
        origin.execute("ROLLBACK")
        copy.execute("PRAGMA journal_mode=DELETE")
        problems = [line for (line,) in copy.execute("PRAGMA integrity_check") if line != "ok"]
    with target.open("rb") as file:
        os.fsync(file.fileno())
    return [f"database: {problem}" for problem in problems]


def total_of(path: Path) -> tuple[int, int]:
    """Return the number of contents that a copy refers to, and their bytes."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM ({_contents(connection)})")  # noqa: S608
        number, size = found.fetchone()
        return number, size


def contents_of(path: Path) -> Iterator[tuple[str, int]]:
    """Yield SHA-256 and bytes of every content that a copy refers to, in order."""
    with closing(sqlite3.connect(path)) as connection:
        yield from connection.execute(_contents(connection))


def referred_in(path: Path, sha256s: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Tell of each of some contents whether a copy refers to it."""
    with closing(sqlite3.connect(path)) as connection:
        wanted = " UNION ALL ".join(
            f"SELECT 1 FROM {table} WHERE {column} = ?1"  # noqa: S608
            for table, column in _references(connection)
        )
        for sha256 in sha256s:
            yield sha256, connection.execute(f"SELECT EXISTS ({wanted})", (sha256,)).fetchone()[0] == 1


def _contents(connection: sqlite3.Connection) -> str:
    every = " UNION ALL ".join(
        f"SELECT {column} AS sha256, size FROM {table} WHERE {column} IS NOT NULL"  # noqa: S608
        for table, column in _references(connection)
    )
    return f"SELECT sha256, max(size) AS size FROM ({every}) GROUP BY sha256 ORDER BY sha256"  # noqa: S608


def _references(connection: sqlite3.Connection) -> list[tuple[str, str]]:
    """Return the tables and columns that refer to contents; a database of an earlier version has fewer."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found = [(f'"{column.table.name}"', f'"{column.name}"') for column in BLOB_REFERENCES]
    return [(table, column) for table, column in found if table.strip('"') in tables]
