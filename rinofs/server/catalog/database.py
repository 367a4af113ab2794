"""Transactions on the database, and what their failures mean to a client."""

from __future__ import annotations

import sqlite3
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

from sqlalchemy import create_engine, event, make_url
from sqlalchemy.exc import DBAPIError, IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rinofs.server.catalog.commits import CommitError, Commits
from rinofs.server.catalog.inline_reader import Glances, WouldWait
from rinofs.server.errors import ApiError, InsufficientStorage, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Connection, Engine

    from rinofs.server.catalog.inline_reader import Reader

__all__ = ["Database", "WouldWait"]

BUSY_TIMEOUT = 10.0
"""Seconds that a transaction waits for others to end."""


class Database:
    """A database, opened.

    Parameters
    ----------
    url : str or URL
        An SQLAlchemy URL.
    busy_timeout : float
        Seconds that a transaction waits for others to end.
    """

    def __init__(self, url: str | URL, *, busy_timeout: float = BUSY_TIMEOUT) -> None:
        self.engine = _engine(url, busy_timeout)
        self._forgetful = _engine(url, busy_timeout, keep_sql=False)
        self._glances: Glances | None = None
        # SQLite lets writers wait by sleeping and trying again; those of one process queue up here instead.
        self._commits: Commits | None = None
        if self.engine.dialect.name == "sqlite":
            self._glances = Glances(lambda: _engine(url, 0, begins=False).connect())
            self._commits = Commits(lambda: _engine(url, busy_timeout, begins=False).connect(), busy_timeout)

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
        if self._glances is None:
            raise WouldWait
        try:
            with self._glances.look() as reader:
                yield reader
        except DBAPIError as error:  # while the connection is opened
            raise WouldWait from error

    @contextmanager
    def write(self) -> Iterator[Connection]:
        """Run a transaction that is durable once the context is left, or else never was.

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
                    yield connection

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
        if self._glances is not None:
            self._glances.close()
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
    except ApiError:
        raise
    except IntegrityError:
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
