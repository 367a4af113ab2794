"""Look up single rows in the event loop's thread."""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import sqlite

from rinofs.server.catalog.transactions import WouldWait

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from sqlalchemy import Connection, Select

    from rinofs.server.catalog.transactions import Reader, RowResult

__all__ = ["InlineReader"]

_NAMED = sqlite.dialect(paramstyle="named")


class _Row:
    """At most one row; statements that it runs find no more."""

    def __init__(self, row: tuple[Any, ...] | None) -> None:
        self._row = row

    def one_or_none(self) -> tuple[Any, ...] | None:
        return self._row


class InlineReader:
    """One connection for threads that must not wait.

    To find a row in a file takes less time than to hand the question to another thread, and SQLite's writers
    keep no reader waiting. What SQLAlchemy does around a statement takes longer than both: so a statement is
    compiled once and runs without it, its columns and parameters being numbers and text as SQLite has them.

    Parameters
    ----------
    connect : callable
        Opens the connection, on which nothing begins by itself and nothing waits.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._driver: sqlite3.Connection | None = None
        self._compiled: dict[Select[Any], str] = {}

    @contextmanager
    def look(self) -> Iterator[Reader]:
        """Look up a few rows, in one state of everything.

        Raises
        ------
        WouldWait
            If somebody else is looking, or the database is busy or fails.
        """
        if not self._turn.acquire(blocking=False):
            raise WouldWait
        try:
            driver = self._driver or self._opened()
            driver.execute("BEGIN")
            try:
                yield self
            finally:
                driver.execute("ROLLBACK")
        except sqlite3.Error as error:
            raise WouldWait from error
        finally:
            self._turn.release()

    def execute(self, statement: Select[Any], parameters: Mapping[str, Any], /) -> RowResult:
        """Run a statement that finds one row at most; one of a few, which are kept for ever."""
        text = self._compiled.get(statement)
        if text is None:
            text = self._compiled[statement] = str(statement.compile(dialect=_NAMED))
        assert self._driver is not None
        row: tuple[Any, ...] | None = self._driver.execute(text, parameters).fetchone()
        return _Row(row)

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection.engine.dispose()
            self._connection = self._driver = None

    def _opened(self) -> sqlite3.Connection:
        self._connection = self._connect()
        driver = self._connection.connection.driver_connection
        assert isinstance(driver, sqlite3.Connection)
        self._driver = driver
        return driver
