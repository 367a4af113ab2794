"""Consistent copies of the database, made while others write to it, and the contents that they refer to."""

from __future__ import annotations

import os
import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

from rinofs.server.blobs.folders import CopyError, Expected, writing
from rinofs.server.blobs.store import OBJECTS
from rinofs.server.catalog.tables import blobs

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["contents_of", "number_in_objects", "referred_in", "take_snapshot", "total_of"]

_IN_OBJECTS = f"key LIKE '{OBJECTS}/%'"
_PAGES = 1024  # copied between two checks for cancellation


def take_snapshot(source: Path, target: Path, count: Callable[[int], object]) -> list[str]:
    """Copy the current state of a database, make the copy durable, and check it.

    https://www.sqlite.org/backup.html

    Parameters
    ----------
    source : Path
        The database; others may write to it meanwhile.
    target : Path
        The copy, a single file.
    count : callable
        Called repeatedly with the number of pages that are left.

    Returns
    -------
    list of str
        The problems of the copy.

    Raises
    ------
    CopyError
        If the copy cannot be made.
    """
    with writing(target):
        # The mode of a file made by SQLite would depend on the umask.
        os.close(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600))
    try:
        problems = _copied(source, target, count)
    except sqlite3.Error as error:
        raise CopyError(target, f"the copy of {source} failed: {error}") from error
    with writing(target), target.open("rb") as file:
        os.fsync(file.fileno())
    return [f"database: {problem}" for problem in problems]


def _copied(source: Path, target: Path, count: Callable[[int], object]) -> list[str]:
    """Copy a database into an empty file; return its problems."""
    with (
        closing(sqlite3.connect(source, isolation_level=None)) as origin,
        closing(sqlite3.connect(target, isolation_level=None)) as copy,
    ):
        # One transaction, which sees one state: otherwise the copy would restart after each change.
        origin.execute("BEGIN")
        origin.execute("SELECT 1 FROM sqlite_master").fetchone()
        origin.backup(copy, pages=_PAGES, progress=lambda _status, left, _total: count(left))
        origin.execute("ROLLBACK")
        copy.execute("PRAGMA journal_mode=DELETE")
        return [line for (line,) in copy.execute("PRAGMA integrity_check") if line != "ok"]


def number_in_objects(path: Path) -> int:
    """Return the number of contents that a copy refers to in an object store."""
    with closing(sqlite3.connect(path)) as connection:
        if _before(connection):
            return 0
        number: int = connection.execute(f"SELECT count(*) FROM blobs WHERE {_IN_OBJECTS}").fetchone()[0]  # noqa: S608
        return number


def total_of(path: Path) -> tuple[int, int]:
    """Return the number of contents that a copy refers to in the folder, and their total size."""
    with closing(sqlite3.connect(path)) as connection:
        found = connection.execute(f"SELECT count(*), coalesce(sum(size), 0) FROM ({_contents(connection)})")  # noqa: S608
        number, size = found.fetchone()
        return number, size


def contents_of(path: Path) -> Iterator[Expected]:
    """Yield what a copy records about every content that it refers to in the folder, ordered by key."""
    with closing(sqlite3.connect(path)) as connection:
        for row in connection.execute(f"{_contents(connection)} ORDER BY key"):
            yield Expected(*row)


def referred_in(path: Path, keys: Iterable[str]) -> Iterator[tuple[str, bool]]:
    """Yield each key with whether a copy refers to its content."""
    with closing(sqlite3.connect(path)) as connection:
        before = _before(connection)
        places = [f"{table} WHERE sha256 = ?1" for table in before] or ["blobs WHERE key = ?1"]
        wanted = " UNION ALL ".join(f"SELECT 1 FROM {place}" for place in places)  # noqa: S608
        for key in keys:
            yield key, connection.execute(f"SELECT EXISTS ({wanted})", (key,)).fetchone()[0] == 1


def _contents(connection: sqlite3.Connection) -> str:
    before = _before(connection)
    if not before:
        return f"SELECT key, size, blake3, sha256 FROM blobs WHERE NOT {_IN_OBJECTS}"  # noqa: S608
    every = " UNION ALL ".join(
        f"SELECT sha256, size FROM {table} WHERE sha256 IS NOT NULL"  # noqa: S608
        for table in before
    )
    return f"SELECT sha256 AS key, max(size) AS size, NULL, sha256 FROM ({every}) GROUP BY sha256"  # noqa: S608


def _before(connection: sqlite3.Connection) -> list[str]:
    """Return the tables that refer to contents by SHA-256; none if it has a table `blobs`."""
    tables = {name for (name,) in connection.execute("SELECT name FROM sqlite_master WHERE type = 'table'")}
    found = ("objects", "datapack_contents") if blobs.name not in tables else ()
    return [table for table in found if table in tables]
