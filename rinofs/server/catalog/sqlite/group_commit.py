"""Transactions that are committed together.

What is committed has to be on the disk, and the disk takes as long for one transaction as for twenty. So
transactions that wait for each other anyway run within one of SQLite's, each in a savepoint of its own; the
last of those that wait commits for all, and none of them returns before that.
"""

from __future__ import annotations

import sqlite3
import threading
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING

from rinofs.server.catalog.sqlite.driver import driver_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

__all__ = ["CommitError", "GroupCommit"]

LARGEST_GROUP = 64
"""Transactions that are committed at once, so that the first of them need not wait for long."""

_RECHECK = 0.05  # seconds after which one looks whether the commit was left to somebody who gave up


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
    """

    def __init__(self, connect: Callable[[], Connection], timeout: float) -> None:
        self._connect = connect
        self._timeout = timeout
        self._turn = threading.Lock()
        self._connection: Connection | None = None  # this and the next belong to who has the turn
        self._batch: _Batch | None = None
        self._counting = threading.Lock()
        self._waiting = 0

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
