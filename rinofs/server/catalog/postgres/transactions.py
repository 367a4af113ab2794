"""Transactions on PostgreSQL, and finding out whether a COMMIT whose response was lost took effect.

A transaction begins with one message: BEGIN, its limits, and the lock on the owner. If the connection turns
out to be dead, nothing was done yet, and another one is used: no round trip is spent on checking it.
"""

from __future__ import annotations

import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy.exc import DBAPIError

from rinofs.server.budgets import CLIENT_GONE, limited
from rinofs.server.catalog.postgres.driver import driver_of, postgresql_engine, refusal, shown
from rinofs.server.catalog.postgres.lookups import RowReader
from rinofs.server.catalog.transactions import WouldWait
from rinofs.server.errors import Unavailable, count_failure

if TYPE_CHECKING:
    from collections.abc import Iterator
    from contextlib import AbstractContextManager

    import psycopg
    from sqlalchemy import URL, Connection

    from rinofs.server.catalog.transactions import Reader
    from rinofs.server.errors import ApiError

__all__ = ["PostgresqlTransactions"]

_WRITES = 3
"""Factor by which the statements of a writing transaction may take longer."""

_IDLE = 60
"""Seconds that a transaction may be idle between two statements; then a hanging process loses its locks."""

_READ = "BEGIN ISOLATION LEVEL REPEATABLE READ READ ONLY"
_WRITE = "BEGIN ISOLATION LEVEL READ COMMITTED READ WRITE"
# Without this, a crash may lose commits; `local` and `remote_apply` are the administrator's choice.
_DURABLE = (
    "SELECT set_config('synchronous_commit', 'on', true) WHERE current_setting('synchronous_commit') = 'off'"
)
_LOCK = "SELECT 1 FROM users WHERE id = {:d} FOR NO KEY UPDATE"
_MARK = "SELECT pg_current_xact_id()::text, pg_backend_pid()"

_OUTCOME = "SELECT pg_xact_status(%s::text::xid8)"
_END = (
    "SELECT pg_terminate_backend(pid) FROM pg_stat_activity WHERE pid = %s "
    "AND backend_xid::text = (%s::text::numeric %% 4294967296)::text"
)
_INDEXING = 0x72696E71  # the number of an advisory lock

_LARGEST = 2**31 - 1  # milliseconds, the maximum of a timeout
_PATIENCE = 3.0  # seconds after which a transaction whose COMMIT was lost is terminated
_LONGEST = 20.0  # seconds within which its outcome must be known
_UNKNOWN_ID = "22023"  # SQLSTATE of a database that has lost the transaction


class _Mark(NamedTuple):
    """Identifies a transaction to other connections."""

    transaction: str
    process: int


class PostgresqlTransactions:
    """Transactions on a PostgreSQL database.

    Parameters
    ----------
    url : URL
        As `rinofs.server.catalog.postgres.driver.parse_url` returns it.
    lock_timeout : float
        Seconds that a transaction waits for locks, and for a connection.
    statement_timeout : float
        Seconds that a statement of a reading transaction may take.
    connections : int
        Maximum number of open connections.

    Attributes
    ----------
    name : str
        Name of the database in messages.
    engine : Engine
        Opens connections.
    errors : tuple of type
        The errors of the database; `refusal` returns what clients see instead.
    commits : int
        Number of transactions that became durable.
    """

    def __init__(self, url: URL, lock_timeout: float, statement_timeout: float, connections: int) -> None:
        self.name = shown(url)
        self.engine = postgresql_engine(url, connections, lock_timeout)
        from psycopg import Error

        self.errors = (DBAPIError, Error)
        self._error = Error
        self._forgetful = self.engine.execution_options(compiled_cache=None)
        self._rows = RowReader(self.engine, Error)
        self._lock_timeout = lock_timeout
        self._timeout = statement_timeout
        self.commits = 0

    @contextmanager
    def read(self, *, keep_sql: bool) -> Iterator[Connection]:
        """Run a read-only transaction; see `Database.read`."""
        connection = self._connection([_READ, *self._limits(self._timeout)], keep_sql=keep_sql)[0]
        try:
            with limited(self._timeout, ends_with_client=True):  # also limits the processing of results
                yield connection
        finally:
            connection.close()  # rolls back, which is as good as COMMIT here

    @contextmanager
    def lookups(self) -> Iterator[Reader]:
        """Look up rows, each in one round trip; see `Database.lookups`."""
        yield self._rows

    def look(self) -> AbstractContextManager[Reader]:
        """Raise `WouldWait`: every lookup takes a network round trip; see `Database.look`."""
        raise WouldWait

    @contextmanager
    def write(self, owner: int | None) -> Iterator[Connection]:
        """Run a transaction that is durable once the context exits; see `Database.write`."""
        lock = [] if owner is None else [_LOCK.format(owner)]
        begin = [_WRITE, *self._limits(_WRITES * self._timeout), _DURABLE, *lock, _MARK]
        with self._committed(begin) as connection:
            yield connection

    @contextmanager
    def rebuild(self) -> Iterator[Connection]:
        """Run a transaction that may change tables; see `Database.rebuild`."""
        with self._committed([_WRITE, *self._limits(0), _DURABLE, _MARK]) as connection:
            yield connection

    @contextmanager
    def index_changes(self) -> Iterator[Connection]:
        """Run statements that are each a transaction of their own; see `Database.index_changes`."""
        with self._turn(_INDEXING), self.engine.connect() as connection:
            yield connection

    @contextmanager
    def _turn(self, number: int) -> Iterator[None]:
        """Let one process at a time do something, for as long as it takes.

        No process waits inside a statement, which holds a snapshot: others may be waiting for its end.
        """
        begin = [_WRITE, "SET LOCAL idle_in_transaction_session_timeout = 0"]
        # No parameters: with them, the statement would keep its snapshot until the next one.
        begin.append(f"SELECT pg_try_advisory_xact_lock({number})")
        pause = 0.05
        while True:
            connection, (is_mine,) = self._connection(begin)
            try:
                if is_mine:
                    yield
                    return
            finally:
                connection.close()
            time.sleep(pause)
            pause = min(2 * pause, 1.0)

    def refuse_full(self) -> None:
        """Do nothing: the database itself reports a full disk."""

    def refusal(self, error: BaseException) -> ApiError:
        """Return the error that clients see for a failure."""
        return refusal(error)

    def close(self) -> None:
        """Close all connections."""
        self.engine.dispose()

    def _limits(self, timeout: float) -> list[str]:
        """Return the settings that limit a transaction; statements without a waiting client have no limit."""
        longest = 0 if CLIENT_GONE.get() is None else min(int(timeout * 1000), _LARGEST)
        return [
            f"SET LOCAL lock_timeout = {int(self._lock_timeout * 1000)}",
            f"SET LOCAL statement_timeout = {longest}",
            f"SET LOCAL idle_in_transaction_session_timeout = '{_IDLE}s'",
        ]

    @contextmanager
    def _committed(self, begin: list[str]) -> Iterator[Connection]:
        connection, told = self._connection(begin)
        driver = driver_of(connection)
        try:
            yield connection
            self._commit(driver, _Mark(*told))
        finally:
            if driver.closed and not connection.invalidated:
                connection.invalidate()
            connection.close()

    def _connection(self, begin: list[str], *, keep_sql: bool = True) -> tuple[Connection, Any]:
        """Return a connection on which a transaction has begun, and the first row of the last statement."""
        statements = "; ".join(begin)
        engine = self.engine if keep_sql else self._forgetful
        start = time.monotonic()
        while True:
            connection = engine.connect()
            driver = driver_of(connection)
            try:
                return connection, _last_row(driver.execute(statements))
            except self._error:
                if driver.closed:
                    made = connection.connection.info["made"]
                    connection.invalidate()
                    if made < start:  # the pool may have good ones
                        connection.close()
                        continue
                connection.close()
                raise

    def _commit(self, driver: psycopg.Connection[Any], mark: _Mark) -> None:
        try:
            ended = driver.execute("COMMIT").statusmessage
        except self._error:
            if not driver.closed:
                raise
            ended = "COMMIT" if self._took_effect(mark) else None
        if ended != "COMMIT":  # ROLLBACK: an earlier statement failed unnoticed
            count_failure("database", "failed")
            raise Unavailable("the database took everything back; try again", headers={"Retry-After": "1"})
        self.commits += 1

    def _took_effect(self, mark: _Mark) -> bool:
        """Find out whether a transaction whose connection was lost was committed.

        Raises
        ------
        Unavailable
            If its outcome cannot be determined.
        """
        start, pause = time.monotonic(), 0.01
        while time.monotonic() < start + _LONGEST:
            with suppress(*self.errors):
                outcome = self._outcome(mark, end=time.monotonic() > start + _PATIENCE)
                if outcome != "in progress":
                    if outcome is None:
                        break
                    return outcome == "committed"
            time.sleep(pause)
            pause = min(2 * pause, 0.5)
        count_failure("database", "failed")
        raise Unavailable(
            "the connection to the database was lost, and whether this was done is not known; try again",
            headers={"Retry-After": "5"},
        )

    def _outcome(self, mark: _Mark, *, end: bool) -> str | None:
        """Return `committed`, `aborted` or `in progress`; None if the database no longer knows."""
        connection = self._connection([_READ])[0]
        try:
            driver = driver_of(connection)
            if end:
                driver.execute(_END, (mark.process, mark.transaction))
            row = driver.execute(_OUTCOME, (mark.transaction,)).fetchone()
        except self._error as error:
            if error.sqlstate == _UNKNOWN_ID:
                return "aborted"
            raise
        finally:
            connection.close()
        return None if row is None else row[0]


def _last_row(cursor: psycopg.Cursor[Any]) -> Any:
    while cursor.nextset():
        pass
    return cursor.fetchone() if cursor.description else None
