"""Transactions on SQLite: those that write are committed together, and single rows are found without any.

What is committed has to be on the disk, and the disk takes as long for one transaction as for twenty. So
transactions that wait for each other anyway run within one of SQLite's, each in a savepoint of its own; the
last of those that wait commits for all, and none of them returns before that.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

from sqlalchemy.dialects import sqlite
from sqlalchemy.exc import DBAPIError

from rinofs.server.budgets import limited
from rinofs.server.catalog.sqlite.database_file import is_busy, sqlite_engine
from rinofs.server.catalog.transactions import WouldWait
from rinofs.server.errors import (
    database_busy,
    database_failed,
    database_full,
    refuse_full,
    takes_too_long,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import URL, Connection, Select

    from rinofs.server.catalog.transactions import Reader, RowResult
    from rinofs.server.errors import ApiError

__all__ = [
    "CommitError",
    "GroupCommit",
    "InlineReader",
    "SqliteTransactions",
    "driver_of",
]

_IMMEDIATE = {"rinofs_write": True}  # execution options of a connection whose transactions write

_WRITES = 3
"""How many times longer a transaction that writes may take: deleting or copying a large folder is one."""

LARGEST_GROUP = 64
"""Transactions that are committed at once, so that the first of them need not wait for long."""

_NAMED = sqlite.dialect(paramstyle="named")

_RECHECK = 0.05  # seconds after which one looks whether the commit was left to somebody who gave up


def driver_of(connection: Connection) -> sqlite3.Connection:
    """Return the connection of the driver below one of SQLAlchemy's."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


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


class _Row:
    """At most one row, the first one."""

    def __init__(self, row: tuple[Any, ...] | None) -> None:
        self._row = row

    def one_or_none(self) -> tuple[Any, ...] | None:
        return self._row

    first = one_or_none


class InlineReader:
    """One connection for threads that must not wait, and for others while it is free.

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
        """Run a statement of which the first row matters; one of a few, which are kept for ever."""
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
