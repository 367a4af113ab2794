"""Connections to SQLite files: opening, setup, and problems of a file."""

from __future__ import annotations

import sqlite3
import time
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, event, text

from rinofs.server.budgets import is_over
from rinofs.server.catalog.sqlite.functions import python_functions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Engine

__all__ = ["file_problems", "is_busy", "sqlite_engine"]

_LONGEST_SWITCH = 5.0  # seconds

_STEPS = 10_000  # of SQLite's virtual machine between two checks of the time: a fraction of a millisecond


def sqlite_engine(url: str | URL, busy_timeout: float, *, keep_sql: bool, begins: bool) -> Engine:
    """Make an engine whose commits are durable.

    Parameters
    ----------
    url : str or URL
        An SQLAlchemy URL of a file.
    busy_timeout : float
        Seconds that a transaction waits for those of other processes.
    keep_sql : bool
        Whether compiled statements are cached.
    begins : bool
        Whether SQLAlchemy begins transactions; if not, the caller does.
    """
    arguments = {
        "check_same_thread": False,
        "timeout": busy_timeout,
        "cached_statements": 128 if keep_sql else 0,
    }
    engine = create_engine(
        url,
        connect_args=arguments,
        pool_size=8 if keep_sql else 1,
        max_overflow=-1,
        query_cache_size=500 if keep_sql else 0,
        hide_parameters=True,
    )
    event.listen(engine, "connect", _set_up)
    if begins:
        event.listen(engine, "begin", _begin)
    return engine


def is_busy(error: BaseException | None) -> bool:
    """Return whether a failure means that another connection holds the lock."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def file_problems(connection: Connection) -> Iterator[str]:
    """Yield the problems that SQLite finds in its file, and in references between rows."""
    for (line,) in connection.execute(text("PRAGMA integrity_check")):
        if line != "ok":
            yield f"database: {line}"
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"database: row {row[1]} of {row[0]} refers to a missing row of {row[2]}"


def _set_up(connection: Any, _record: object) -> None:
    # The driver would begin transactions by its own rules, and only before writes.
    connection.isolation_level = None
    connection.set_progress_handler(is_over, _STEPS)
    for name, function in python_functions().items():
        connection.create_function(name, 2, function, deterministic=True)
    cursor = connection.cursor()
    _switch_to_wal(cursor)
    for pragma in ("synchronous=FULL", "foreign_keys=ON", "cache_size=-8192"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _switch_to_wal(cursor: sqlite3.Cursor) -> None:
    """Switch to the write-ahead log, once per file; processes that start together take turns.

    SQLite does not wait for the others here, whatever its busy timeout is: https://www.sqlite.org/wal.html
    """
    deadline = time.monotonic() + _LONGEST_SWITCH
    while True:
        try:
            cursor.execute("PRAGMA journal_mode=WAL")
        except sqlite3.OperationalError as error:
            if not is_busy(error) or time.monotonic() >= deadline:
                raise
            time.sleep(0.01)
        else:
            return


def _begin(connection: Connection) -> None:
    # A transaction that reads first and then writes fails at once if another one wrote in between:
    # https://www.sqlite.org/lang_transaction.html
    immediate = connection.get_execution_options().get("rinofs_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")
