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
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy import URL, create_engine, event, text
from sqlalchemy.exc import DBAPIError

from rinofs.server.budgets import is_over, limited
from rinofs.server.catalog.sqlite.functions import python_functions
from rinofs.server.catalog.sqlite.inline_reader import InlineReader
from rinofs.server.catalog.transactions import WouldWait
from rinofs.server.errors import (
    database_busy,
    database_failed,
    database_full,
    refuse_full,
    takes_too_long,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine

    from rinofs.server.catalog.transactions import Reader
    from rinofs.server.errors import ApiError

__all__ = [
    "CommitError",
    "GroupCommit",
    "SqliteTransactions",
    "driver_of",
    "file_problems",
    "is_busy",
    "sqlite_engine",
]

_IMMEDIATE = {"rinofs_write": True}  # execution options of a connection whose transactions write

_WRITES = 3
"""How many times longer a transaction that writes may take: deleting or copying a large folder is one."""

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


def is_busy(error: BaseException | None) -> bool:
    """Tell whether a failure means that somebody else holds the lock."""
    return getattr(error, "sqlite_errorname", "").startswith(("SQLITE_BUSY", "SQLITE_LOCKED"))


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


class SqliteTransactions:
    """Transactions on an SQLite file.

    Parameters
    ----------
    url : URL
        An SQLAlchemy URL of the file.
    busy_timeout : float
        Seconds that a transaction waits for others to end.
    statement_timeout : float
        Seconds of processor time that the statements of a transaction may take that reads.

    Attributes
    ----------
    engine : Engine
        What opens connections.
    errors : tuple of type
        What fails with an error of the database; `refusal` tells what that means to a client.
    """

    errors = (CommitError, DBAPIError, sqlite3.Error)  # the last one while a connection is set up

    def __init__(self, url: URL, busy_timeout: float, statement_timeout: float) -> None:
        self._timeout = statement_timeout
        self._folder = Path(url.database or "").resolve().parent
        self.engine = sqlite_engine(url, busy_timeout, keep_sql=True, begins=True)
        self._forgetful = sqlite_engine(url, busy_timeout, keep_sql=False, begins=True)
        self._inline = InlineReader(lambda: sqlite_engine(url, 0, keep_sql=True, begins=False).connect())
        # SQLite lets writers wait by sleeping and trying again; those of one process queue up here instead.
        self._commits = GroupCommit(
            lambda: sqlite_engine(url, busy_timeout, keep_sql=True, begins=False).connect(), busy_timeout
        )

    @property
    def name(self) -> str:
        """What messages call the database: its path."""
        return self.engine.url.database or ""

    @property
    def commits(self) -> int:
        """How many transactions have become durable, those that were committed together counting as one."""
        return self._commits.made

    @contextmanager
    def read(self, *, keep_sql: bool) -> Iterator[Connection]:
        """Run a transaction that changes nothing; see `Database.read`."""
        engine = self.engine if keep_sql else self._forgetful
        with limited(self._timeout, ends_with_client=True), engine.connect() as connection:
            yield connection

    def lookups(self) -> AbstractContextManager[Reader]:
        """Look up rows; see `Database.lookups`."""
        return self.read(keep_sql=True)

    @contextmanager
    def look(self) -> Iterator[Reader]:
        """Look up a few rows; see `Database.look`."""
        try:
            with self._inline.look() as reader:
                yield reader
        except DBAPIError as error:  # while the connection is opened
            raise WouldWait from error

    @contextmanager
    def write(self, owner: int | None) -> Iterator[Connection]:  # noqa: ARG002 (there is one writer at a time)
        """Run a transaction that is durable once the context is left; see `Database.write`."""
        # Also for a client that has left: SQLite takes back all of a transaction that is interrupted while it
        # writes, with what others have done in it. https://www.sqlite.org/c3ref/interrupt.html
        with (
            limited(_WRITES * self._timeout, ends_with_client=False),
            self._commits.transaction() as connection,
        ):
            yield connection

    @contextmanager
    def rebuild(self) -> Iterator[Connection]:
        """Run a transaction that may change tables; see `Database.rebuild`."""
        with self.engine.connect() as connection:
            writer = connection.execution_options(**_IMMEDIATE)
            with writer.begin():
                yield writer

    index_changes = rebuild

    def refuse_full(self) -> None:
        """Refuse to store more where the reserve of the disk would be used up."""
        refuse_full(self._folder)

    def refusal(self, error: BaseException) -> ApiError:
        """Return what a failure means to a client."""
        if isinstance(error, CommitError):
            reason = error.reason
            if _is_interrupted(_below(reason)) and error.__context__ is not reason:
                return database_busy()  # another one took too long, and took back what this one did
            return _refusal(_below(reason))
        return _refusal(_below(error))

    def close(self) -> None:
        """Close all connections."""
        self._inline.close()
        self._commits.close()
        self.engine.dispose()
        self._forgetful.dispose()


def _below(error: BaseException) -> BaseException | None:
    """Return what the driver said."""
    return error.orig if isinstance(error, DBAPIError) else error


def _refusal(error: BaseException | None) -> ApiError:
    if is_busy(error):
        return database_busy()
    if _is_interrupted(error):
        return takes_too_long()
    is_full = getattr(error, "sqlite_errorname", "").startswith("SQLITE_FULL")
    return database_full() if is_full else database_failed(error)


def _is_interrupted(error: BaseException | None) -> bool:
    return getattr(error, "sqlite_errorname", "").startswith("SQLITE_INTERRUPT")
