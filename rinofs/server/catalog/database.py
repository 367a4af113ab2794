"""Transactions: their commits, what their failures mean to a client, and what of them is remembered.

What is committed has to be on the disk, and the disk takes as long for one transaction as for twenty. So
transactions that wait for each other anyway run within one of SQLite's, each in a savepoint of its own
(`GroupCommit`); the last of those that wait commits for all, and none of them returns before that.

A client that never saw the answer to a request sends it again, with the same key. What came of the first one
is kept, as data, in the transaction that does the work (`Database.once`): it is there if and only if the work
is done. Answers are rendered from it after the commit.
"""

from __future__ import annotations

import sqlite3
import threading
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import URL, Connection, bindparam, create_engine, delete, event, insert, make_url, select
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rinofs.protocol.extensions import IDEMPOTENCY_KEY
from rinofs.server.catalog.inline_reader import InlineReader, WouldWait
from rinofs.server.catalog.tables import outcomes, users
from rinofs.server.errors import ApiError, InsufficientStorage, Unavailable, Unprocessable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from sqlalchemy import Engine

    from rinofs.server.catalog.inline_reader import Reader

__all__ = ["OUTCOME_LIFETIME", "Connection", "Database", "Repeated", "RequestKey", "Unit", "WouldWait"]

BUSY_TIMEOUT = 10.0
"""Seconds that a transaction waits for others to end."""

OUTCOME_LIFETIME = 24 * 3600.0
"""Seconds for which a request of the same key is answered from the outcome of the first."""

LARGEST_GROUP = 64
"""Transactions that are committed at once, so that the first of them need not wait for long."""

_RECHECK = 0.05  # seconds after which one looks whether the commit was left to somebody who gave up

# Putting statements together takes longer than running them.
_REMEMBER = insert(outcomes)
_FORGET = delete(outcomes).where(outcomes.c.created <= bindparam("oldest"))
_PRESENT = select(outcomes.c.request, outcomes.c.outcome).where(
    outcomes.c.owner == bindparam("owner"),
    outcomes.c.key == bindparam("key"),
    outcomes.c.created > bindparam("oldest"),
)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """What a request is known by when it is sent again.

    Attributes
    ----------
    key : str
        The key that the client gave it.
    digest : str
        A digest of all that it says: another request must not have the same key.
    """

    key: str
    digest: str


class Repeated(Exception):  # noqa: N818 (no failure: the work is done already)
    """A request with this key was carried out before.

    Attributes
    ----------
    outcome : object
        What came of it: the JSON value that `Unit.keep` was given.
    """

    def __init__(self, outcome: Any) -> None:
        super().__init__("this request was carried out before")
        self.outcome = outcome


class Unit:
    """A transaction that does the work of one request; made by `Database.once`.

    Attributes
    ----------
    connection : Connection
        Where its statements run.
    """

    def __init__(self, connection: Connection, owner: int, key: RequestKey | None, moment: float) -> None:
        self.connection = connection
        self._owner = owner
        self._key = key
        self._moment = moment

    def begin(self) -> None:
        """Look whether a request of this key was carried out before.

        Raises
        ------
        Repeated
            If it was.
        Unprocessable
            If the key was used for another request.
        """
        if self._key is None:
            return
        wanted = {"owner": self._owner, "key": self._key.key, "oldest": self._oldest}
        row = self.connection.execute(_PRESENT, wanted).one_or_none()
        if row is None:
            return
        if row.request != self._key.digest:
            raise Unprocessable(f"{IDEMPOTENCY_KEY}: this key was used for another request")
        raise Repeated(orjson.loads(row.outcome))

    def keep(self, outcome: object) -> None:
        """Remember what came of the request, if it has a key: any value that `orjson` can write."""
        if self._key is None:
            return
        self.connection.execute(_FORGET, {"oldest": self._oldest})
        row = {
            "owner": self._owner,
            "key": self._key.key,
            "request": self._key.digest,
            "outcome": orjson.dumps(outcome).decode(),
            "created": int(self._moment),
        }
        self.connection.execute(_REMEMBER, row)

    @property
    def _oldest(self) -> int:
        return int(self._moment - OUTCOME_LIFETIME)


class Database:
    """A database, opened.

    Parameters
    ----------
    url : str, URL or Path
        An SQLAlchemy URL, or a file for SQLite.
    busy_timeout : float
        Seconds that a transaction waits for others to end.
    clock : callable
        Seconds since 1970.
    """

    def __init__(
        self,
        url: str | URL | Path,
        *,
        busy_timeout: float = BUSY_TIMEOUT,
        clock: Callable[[], float] = time.time,
    ) -> None:
        self.clock = clock
        if not isinstance(url, str | URL):
            url = URL.create("sqlite", database=str(url))
        self.engine = _engine(url, busy_timeout)
        self._forgetful = _engine(url, busy_timeout, keep_sql=False)
        self._inline: InlineReader | None = None
        # SQLite lets writers wait by sleeping and trying again; those of one process queue up here instead.
        self._commits: GroupCommit | None = None
        if self.engine.dialect.name == "sqlite":
            self._inline = InlineReader(lambda: _engine(url, 0, begins=False).connect())
            self._commits = GroupCommit(
                lambda: _engine(url, busy_timeout, begins=False).connect(), busy_timeout
            )

    @contextmanager
    def read(self, *, keep_sql: bool = True) -> Iterator[Connection]:
        """Run a transaction that sees one state of everything and changes nothing.

        Parameters
        ----------
        keep_sql : bool
            Whether statements are kept, compiled, for the next time. Large ones that clients put together
            had better not be: what they compile to has megabytes, and no two need be alike.

        Raises
        ------
        Unavailable
            If the database is locked for too long, or fails.
        """
        engine = self.engine if keep_sql else self._forgetful
        with _translated(), engine.connect() as connection:
            yield connection

    @contextmanager
    def look(self) -> Iterator[Reader]:
        """Look up a few rows, in one state of everything, in a thread that must not wait.

        Raises
        ------
        WouldWait
            If the database is no file, or busy; what was asked is for `read` then.
        """
        if self._inline is None:
            raise WouldWait
        try:
            with self._inline.look() as reader:
                yield reader
        except DBAPIError as error:  # while the connection is opened
            raise WouldWait from error

    @contextmanager
    def write(self, owner: int | None = None) -> Iterator[Connection]:
        """Run a transaction that is durable once the context is left, or else never was.

        Parameters
        ----------
        owner : int, optional
            The user whose things it changes: such changes happen one after the other.

        Raises
        ------
        Unavailable
            If the database is locked for too long, or fails.
        InsufficientStorage
            If the disk is full.
        """
        with _translated():
            if self._commits is not None:
                with self._commits.transaction() as connection:
                    yield connection
            else:
                with self.engine.begin() as connection:
                    if owner is not None:  # SQLite has one writer at a time anyway
                        connection.execute(select(users.c.id).where(users.c.id == owner).with_for_update())
                    yield connection

    @contextmanager
    def once(self, owner: int, key: RequestKey | None) -> Iterator[Unit]:
        """Do the work of one request in a transaction, as `write` does, unless it was done before.

        Parameters
        ----------
        owner : int
            The user who sent it.
        key : RequestKey or None
            What it is known by; None for a request that counts each time.

        Raises
        ------
        Repeated
            If it was done before; nothing is changed.
        Unprocessable
            If the key was used for another request.
        """
        with self.write(owner) as connection:
            unit = Unit(connection, owner, key, self.clock())
            unit.begin()
            yield unit

    @contextmanager
    def rebuild(self) -> Iterator[Connection]:
        """Run a transaction as `write` does, on a connection that may be used in any way.

        Raises
        ------
        Unavailable
            If the database is locked for too long, or fails.
        """
        with _translated(), self.engine.connect() as connection:
            writer = connection.execution_options(rinofs_write=True)
            with writer.begin():
                yield writer

    def close(self) -> None:
        """Close all connections."""
        if self._inline is not None:
            self._inline.close()
        if self._commits is not None:
            self._commits.close()
        self.engine.dispose()
        self._forgetful.dispose()


def _engine(url: str | URL, busy_timeout: float, *, keep_sql: bool = True, begins: bool = True) -> Engine:
    kept = 500 if keep_sql else 0
    if make_url(url).get_backend_name() != "sqlite":
        return create_engine(url, query_cache_size=kept)
    arguments = {
        "check_same_thread": False,
        "timeout": busy_timeout,
        "cached_statements": 128 if keep_sql else 0,
    }
    size = 8 if keep_sql else 1
    engine = create_engine(
        url, connect_args=arguments, pool_size=size, max_overflow=-1, query_cache_size=kept
    )
    event.listen(engine, "connect", _set_up)
    if begins:
        event.listen(engine, "begin", _begin)
    return engine


def _set_up(connection: Any, _record: object) -> None:
    # The driver would begin transactions by its own rules, and only before writes.
    connection.isolation_level = None
    cursor = connection.cursor()
    for pragma in ("journal_mode=WAL", "synchronous=FULL", "foreign_keys=ON", "cache_size=-8192"):
        cursor.execute(f"PRAGMA {pragma}")
    cursor.close()


def _begin(connection: Connection) -> None:
    # A transaction that reads first and then writes fails at once if another one wrote in between.
    immediate = connection.get_execution_options().get("rinofs_write", False)
    connection.exec_driver_sql("BEGIN IMMEDIATE" if immediate else "BEGIN")


@contextmanager
def _translated() -> Iterator[None]:
    try:
        yield
    except (ApiError, Repeated, IntegrityError):
        raise
    except (PoolTimeoutError, TimeoutError) as error:
        raise _busy() from error
    except CommitError as error:
        reason = error.reason
        raise _failure(reason.orig if isinstance(reason, DBAPIError) else reason) from error
    except DBAPIError as error:
        raise _failure(error.orig) from error
    except sqlite3.Error as error:  # while a connection is set up
        raise _failure(error) from error


def _busy() -> Unavailable:
    return Unavailable("the database is busy; try again", headers={"Retry-After": "1"})


def _failure(error: BaseException | None) -> ApiError:
    name = getattr(error, "sqlite_errorname", "")
    if name.startswith(("SQLITE_BUSY", "SQLITE_LOCKED")):
        return _busy()
    if name.startswith("SQLITE_FULL"):
        return InsufficientStorage("the server's disk is full")
    return Unavailable(f"the database fails: {error}", headers={"Retry-After": "5"})


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
            _driver(self._connection).execute("BEGIN IMMEDIATE")
            self._batch = _Batch()
        self._batch.size += 1
        return self._connection, self._batch

    @contextmanager
    def _savepoint(self, connection: Connection, batch: _Batch) -> Iterator[None]:
        driver = _driver(connection)
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
        driver = _driver(self._connection)
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


def _driver(connection: Connection) -> sqlite3.Connection:
    driver = connection.connection.driver_connection
    assert isinstance(driver, sqlite3.Connection)
    return driver
