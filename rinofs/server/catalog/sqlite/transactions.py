"""Connections to SQLite, and transactions on them that are committed together.

What is committed has to be on the disk, and the disk takes as long for one transaction as for twenty. So
transactions that wait for each other anyway run within one of SQLite's, each in a savepoint of its own; the
last of those that wait commits for all, and none of them returns before that.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, event, text

from rinofs.server.budgets import is_over
from rinofs.server.catalog.sqlite.functions import python_functions

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection, Engine

__all__ = [
    "IMMEDIATE",
    "CommitError",
    "GroupCommit",
    "driver_of",
    "file_problems",
    "is_busy",
    "is_full",
    "is_interrupted",
    "is_sqlite",
    "sqlite_engine",
]

IMMEDIATE = {"rinofs_write": True}
"""Execution options of a connection whose transactions write."""

_LONGEST_SWITCH = 5.0  # seconds

LARGEST_GROUP = 64
"""Transactions that are committed at once, so that the first of them need not wait for long."""

_RECHECK = 0.05  # seconds after which one looks whether the commit was left to somebody who gave up

_STEPS = 10_000  # of SQLite's virtual machine between two looks at the time: a fraction of a millisecond


def sqlite_engine(url: str | URL, busy_timeout: float, *, keep_sql: bool, begins: bool) -> Engine:
    """Make an engine whose commits are durable.

    Parameters
    ----------
    url : str or URL
        An SQLAlchemy URL of a file.
    busy_timeout : float
        Seconds that a transaction waits for those of other processes.
    keep_sql : bool
        Whether compiled statements are kept for the next time.
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


def driver_of(connection: Connection) -> sqlite3.Connection:
    """Return the connection of the driver below one of SQLAlchemy's."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


def is_sqlite(connection: Connection) -> bool:
    """Tell whether a connection leads to SQLite."""
    return connection.dialect.name == "sqlite"


def is_busy(error: BaseException | None) -> bool:
    """Tell whether a failure means that somebody else holds the lock."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


def is_full(error: BaseException | None) -> bool:
    """Tell whether a failure means that the disk is full."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL")


def is_interrupted(error: BaseException | None) -> bool:
    """Tell whether a failure means that a statement took too long, or that nobody waits for it any more."""
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_INTERRUPT")


def file_problems(connection: Connection) -> Iterator[str]:
    """Yield what SQLite finds wrong with its file, and with references between rows."""
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
    """Switch to the write-ahead log, once in the life of a file; processes that start together take turns.

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


class CommitError(Exception):
    """What was done could not be made durable, and is undone.

    Attributes
    ----------
    reason : BaseException
        What the database said.
    """

    def __init__(self, reason: BaseException) -> None:
        super().__init__(f"nothing was committed: {reason}")
        self.reason = reason


class _Batch:
    """Transactions that are committed together."""

    def __init__(self) -> None:
        self.size = 0
        self.ended = threading.Event()
        self.failure: BaseException | None = None


class GroupCommit:
    """Runs transactions one after the other, and commits together those that came meanwhile.

    Parameters
    ----------
    connect : callable
        Opens the connection to SQLite that they share, on which nothing begins by itself.
    timeout : float
        Seconds that a transaction waits for its turn.

    Attributes
    ----------
    made : int
        How many commits were made.
    """

    def __init__(self, connect: Callable[[], Connection], timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._turn = threading.Lock()
        self._connection: Connection | None = None  # this and the next belong to who has the turn
        self._batch: _Batch | None = None
        self._counting = threading.Lock()
        self._waiting = 0
        self.made = 0

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a transaction that is durable once the context is left, or else never was.

        Raises
        ------
        TimeoutError
            If others take too long.
        CommitError
            If it cannot be committed.
        sqlite3.Error
            If the database is locked by another process, or fails.
        """
        self._take_turn()
        batch = None
        try:
            connection, batch = self._opened()
            with self._savepoint(connection, batch):
                yield connection
        finally:
            if (
                batch is not None
                and self._batch is batch
                and not (self._waiting and batch.size < LARGEST_GROUP)
            ):
                self._commit(batch)
            self._turn.release()
            # Also when it failed: that may be for what the others did, which has to be true by then.
            if batch is not None:
                self._wait_for(batch)

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            if self._connection is not None:
                self._connection.close()
                self._connection.engine.dispose()
                self._connection = None

    def _take_turn(self) -> None:
        with self._counting:
            self._waiting += 1
        taken = self._turn.acquire(timeout=self._timeout)
        with self._counting:
            self._waiting -= 1
        if not taken:
            raise TimeoutError

    def _opened(self) -> tuple[Connection, _Batch]:
        if self._connection is None:
            self._connection = self._connect()
        if self._batch is None:
            driver_of(self._connection).execute("BEGIN IMMEDIATE")
            self._batch = _Batch()
        self._batch.size += 1
        return self._connection, self._batch

    @contextmanager
    def _savepoint(self, connection: Connection, batch: _Batch) -> Iterator[None]:
        driver = driver_of(connection)
        driver.execute("SAVEPOINT this")
        try:
            yield
        except BaseException as error:
            if driver.in_transaction:
                driver.execute("ROLLBACK TO this")
                driver.execute("RELEASE this")
            else:  # where the disk is full, SQLite takes everything back
                self._end(batch, error)
            raise
        driver.execute("RELEASE this")

    def _commit(self, batch: _Batch) -> None:
        assert self._connection is not None
        driver = driver_of(self._connection)
        failure = None
        try:
            driver.execute("COMMIT")
        except sqlite3.Error as error:
            failure = error
            if driver.in_transaction:
                with suppress(sqlite3.Error):
                    driver.execute("ROLLBACK")
        else:
            self.made += 1
        self._end(batch, failure)

    def _end(self, batch: _Batch, failure: BaseException | None) -> None:
        self._batch = None
        batch.failure = failure
        batch.ended.set()

    def _wait_for(self, batch: _Batch) -> None:
        while not batch.ended.wait(_RECHECK):
            if self._turn.acquire(blocking=False):
                try:
                    if self._batch is batch:
                        self._commit(batch)
                finally:
                    self._turn.release()
        if batch.failure is not None:
            raise CommitError(batch.failure)
