"""Transactions on SQLite: writing ones are committed together, and single rows are looked up on a fast path.

A commit has to reach the disk, which takes as long for one transaction as for twenty. So transactions that
would wait for each other anyway run within one SQLite transaction, each in its own savepoint; the last one
waiting commits for all, and none of them returns before that.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager
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

_IMMEDIATE = {"rinofs_write": True}  # execution options of a connection for writing transactions

_WRITES = 3
"""Factor by which a writing transaction may take longer: it may delete or copy a large folder."""

LARGEST_GROUP = 64
"""Maximum number of transactions per commit, so that the first one need not wait long."""

_NAMED = sqlite.dialect(paramstyle="named")

_RECHECK = 0.05  # seconds between checks whether the commit was left to a thread that gave up


def driver_of(connection: Connection) -> sqlite3.Connection:
    """Return the driver's connection below an SQLAlchemy connection."""
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver


class CommitError(Exception):
    """A transaction could not be made durable, and was rolled back.

    Attributes
    ----------
    reason : BaseException
        The error of the database.
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
    """Runs transactions one at a time, and commits together those that arrive meanwhile.

    Parameters
    ----------
    connect : callable
        Opens the SQLite connection that they share, on which no transaction begins implicitly.
    timeout : float
        Seconds that a transaction waits for its turn.

    Attributes
    ----------
    made : int
        Number of commits.
    """

    def __init__(self, connect: Callable[[], Connection], timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._turn = threading.Lock()
        self._connection: Connection | None = None  # this and the next are guarded by `_turn`
        self._batch: _Batch | None = None
        self._counting = threading.Lock()
        self._waiting = 0
        self.made = 0

    @contextmanager
    def transaction(self) -> Iterator[Connection]:
        """Run a transaction that is durable once the context exits, or else has no effect.

        Raises
        ------
        TimeoutError
            If other transactions take too long.
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
            # Even after a failure: it may be due to what the others did, which has to be durable first.
            if batch is not None:
                self._wait_for(batch)

    def close(self) -> None:
        """Close the connection."""
        with self._turn:
            self._close()

    def _close(self) -> None:
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
            driver.execute("RELEASE this")
        except BaseException as error:
            failure: BaseException = error
            if driver.in_transaction:
                try:
                    driver.execute("ROLLBACK TO this")
                    driver.execute("RELEASE this")
                except sqlite3.Error as refused:
                    failure = refused
                else:
                    raise
            # It cannot be undone alone, and must not be committed by halves. If the disk is full, SQLite has
            # rolled back everything already.
            self._roll_back(driver)
            self._end(batch, failure)
            raise

    def _commit(self, batch: _Batch) -> None:
        assert self._connection is not None
        driver = driver_of(self._connection)
        failure = None
        try:
            driver.execute("COMMIT")
        except sqlite3.Error as error:
            failure = error
            self._roll_back(driver)
        else:
            self.made += 1
        self._end(batch, failure)

    def _roll_back(self, driver: sqlite3.Connection) -> None:
        if driver.in_transaction:
            try:
                driver.execute("ROLLBACK")
            except sqlite3.Error:
                assert self._connection is not None
                self._connection.invalidate()  # it is closed, which rolls back as well
                self._close()

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

    Finding a row in a file takes less time than handing the query to another thread, and SQLite's writers do
    not block readers. SQLAlchemy's overhead per statement exceeds both: so a statement is compiled once and
    runs without it; its columns and parameters are numbers and text as SQLite stores them.

    Parameters
    ----------
    connect : callable
        Opens the connection, on which no transaction begins implicitly and nothing waits.
    """

    def __init__(self, connect: Callable[[], Connection]) -> None:
        self._connect = connect
        self._turn = threading.Lock()
        self._connection: Connection | None = None
        self._driver: sqlite3.Connection | None = None
        self._compiled: dict[Select[Any], str] = {}

    @contextmanager
    def look(self) -> Iterator[Reader]:
        """Look up a few rows in one consistent snapshot.

        Raises
        ------
        WouldWait
            If another thread is using the connection, or the database is busy or fails.
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
        """Run a statement and keep its first row. Compiled statements are cached forever: use only a few."""
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
        Seconds of processor time that the statements of a reading transaction may take.

    Attributes
    ----------
    engine : Engine
        Opens connections.
    errors : tuple of type
        The errors of the database; `refusal` returns what clients see instead.
    """

    errors = (CommitError, DBAPIError, sqlite3.Error)  # the last one while a connection is set up

    def __init__(self, url: URL, busy_timeout: float, statement_timeout: float) -> None:
        self._timeout = statement_timeout
        self._folder = Path(url.database or "").resolve().parent
        self.engine = sqlite_engine(url, busy_timeout, keep_sql=True, begins=True)
        self._forgetful = sqlite_engine(url, busy_timeout, keep_sql=False, begins=True)
        self._inline = InlineReader(lambda: sqlite_engine(url, 0, keep_sql=True, begins=False).connect())
        # SQLite makes writers wait by sleeping and retrying; those of one process queue up here instead.
        self._commits = GroupCommit(
            lambda: sqlite_engine(url, busy_timeout, keep_sql=True, begins=False).connect(), busy_timeout
        )

    @property
    def name(self) -> str:
        """Name of the database in messages: its path."""
        return self.engine.url.database or ""

    @property
    def commits(self) -> int:
        """Number of transactions that became durable; those committed together count as one."""
        return self._commits.made

    @contextmanager
    def read(self, *, keep_sql: bool) -> Iterator[Connection]:
        """Run a read-only transaction; see `Database.read`."""
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
        """Run a transaction that is durable once the context exits; see `Database.write`."""
        # Not ended when the client leaves: SQLite rolls back all of a transaction that is interrupted while
        # it writes, including what others did in it. https://www.sqlite.org/c3ref/interrupt.html
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
        """Refuse to store more if that would use up the disk reserve."""
        refuse_full(self._folder)

    def refusal(self, error: BaseException) -> ApiError:
        """Return the error that clients see for a failure."""
        if isinstance(error, CommitError):
            reason = error.reason
            if _is_interrupted(_below(reason)) and error.__context__ is not reason:
                return database_busy()  # another one took too long, and its rollback undid this one
            return _refusal(_below(reason))
        return _refusal(_below(error))

    def close(self) -> None:
        """Close all connections."""
        self._inline.close()
        self._commits.close()
        self.engine.dispose()
        self._forgetful.dispose()


def _below(error: BaseException) -> BaseException | None:
    """Return the driver's error."""
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
