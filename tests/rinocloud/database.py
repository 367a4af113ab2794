"""The server's database, for what no request would make it hold: other servers hold such things."""

from __future__ import annotations

import sqlite3
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer


@contextmanager
def database_of(server: LiveServer) -> Iterator[sqlite3.Connection]:
    """Open the database; what was changed is committed at the end."""
    with closing(sqlite3.connect(server.data_dir / "rinofs.sqlite3")) as database, database:
        yield database


def exchange(server: LiveServer, one: int, other: int) -> None:
    """Have two objects of a folder trade names: at once, and also while the server waits for its faults."""
    with database_of(server) as database:
        names = {
            number: database.execute("SELECT name FROM objects WHERE id = ?", (number,)).fetchone()[0]
            for number in (one, other)
        }
        for number, name in ((one, " "), (other, names[one]), (one, names[other])):
            database.execute("UPDATE objects SET name = ? WHERE id = ?", (name, number))


def rename(server: LiveServer, record_id: int, name: str) -> None:
    """Give an object a name that the server would refuse."""
    with database_of(server) as database:
        database.execute("UPDATE objects SET name = ? WHERE id = ?", (name, record_id))
