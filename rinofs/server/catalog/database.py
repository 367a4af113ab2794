"""Transactions of the catalog, the errors that clients see, and repeated requests.

A client that did not get the response to a request repeats it with the same idempotency key. The outcome of
the first request is stored, as data, in the transaction that does the work (`Database.once`): it exists if
and only if the work is done. Responses are rendered from it after the commit.
"""

from __future__ import annotations

import logging
import time
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

import orjson
from sqlalchemy import URL, Connection, bindparam, delete, select
from sqlalchemy.exc import IntegrityError
from sqlalchemy.exc import TimeoutError as PoolTimeoutError

from rinofs.protocol.extensions import IDEMPOTENCY_KEY
from rinofs.server.budgets import CLIENT_ADDRESS
from rinofs.server.catalog.kinds import KINDS, kind_for
from rinofs.server.catalog.sharing.locks import add_unless_present, put
from rinofs.server.catalog.tables import outcomes, properties
from rinofs.server.catalog.transactions import WouldWait
from rinofs.server.catalog.users import audit
from rinofs.server.errors import ApiError, Unprocessable, database_busy

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from contextlib import AbstractContextManager

    from sqlalchemy import Engine

    from rinofs.server.catalog.kinds import DatabaseKind
    from rinofs.server.catalog.transactions import Reader
    from rinofs.server.catalog.users.audit import AuditEvent

__all__ = [
    "OUTCOME_LIFETIME",
    "Connection",
    "Database",
    "Repeated",
    "RequestKey",
    "Unit",
    "WouldWait",
    "kind_of",
]

_log = logging.getLogger("rinofs.server")

BUSY_TIMEOUT = 10.0
"""Seconds that a transaction waits for others to end."""

STATEMENT_TIMEOUT = 20.0
"""Seconds of processor time that the statements of one transaction may take."""

CONNECTIONS = 20
"""Connections of one process to a database server."""

OUTCOME_LIFETIME = 24 * 3600.0
"""Seconds for which outcomes of requests with an idempotency key are kept."""

# Below this level it logs parameters and rows, including digests of secrets and users' data.
logging.getLogger("sqlalchemy.engine").setLevel(logging.WARNING)

# Building statements takes longer than running them, so they are built once.
# An expired outcome with the same key may still exist; it is overwritten.
_OUTCOME = ("owner", "key", "request", "outcome", "created")
_REMEMBER = put(outcomes, *_OUTCOME, changed=_OUTCOME[2:])
_SET = put(properties, "name", "value", changed=("value",))
_SET_ONCE = add_unless_present(properties, "name", "value")
_PRESENT = select(outcomes.c.request, outcomes.c.outcome).where(
    outcomes.c.owner == bindparam("owner"),
    outcomes.c.key == bindparam("key"),
    outcomes.c.created > bindparam("oldest"),
)


@dataclass(frozen=True, slots=True)
class RequestKey:
    """Identifies a request that may be repeated.

    Attributes
    ----------
    key : str
        The idempotency key.
    digest : str
        Digest of the request: a different request must not use the same key.
    """

    key: str
    digest: str


class Repeated(Exception):  # noqa: N818 (not a failure: the work is already done)
    """A request with this idempotency key was carried out before.

    Attributes
    ----------
    outcome : object
        Its outcome: the JSON value that was passed to `Unit.keep`.
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
        """Check whether a request with this key was carried out before.

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
        """Store the outcome of the request, if it has a key: any value that `orjson` can serialize."""
        if self._key is None:
            return
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
    """An open database.

    Parameters
    ----------
    url : str, URL or Path
        An SQLAlchemy URL, or a file for SQLite.
    busy_timeout : float
        Seconds that a transaction waits for others to end.
    statement_timeout : float
        Seconds of processor time that the statements of a reading transaction may take; a writing one has
        three times as many. PostgreSQL limits each statement, by elapsed time.
    connections : int
        Maximum number of open connections to PostgreSQL.
    clock : callable, optional
        Returns Unix time; by default, times that processes compare come from the database.

    Attributes
    ----------
    kind : DatabaseKind
        SQLite or PostgreSQL, with its specifics.

    Raises
    ------
    UnusableDatabaseError
        If the URL is of no supported database, or its driver is not installed.
    """

    def __init__(
        self,
        url: str | URL | Path,
        *,
        busy_timeout: float = BUSY_TIMEOUT,
        statement_timeout: float = STATEMENT_TIMEOUT,
        connections: int = CONNECTIONS,
        clock: Callable[[], float] | None = None,
    ) -> None:
        self.clock = clock or time.time
        self._timed_by_caller = clock is not None
        if isinstance(url, Path):
            url = URL.create("sqlite", database=str(url))
        self.kind = kind_for(url)
        self.transactions = self.kind.open(
            url,
            busy_timeout=busy_timeout,
            statement_timeout=statement_timeout,
            connections=connections,
        )

    def moment(self, connection: Connection) -> float:
        """Return the Unix time by the clock of the database, which all processes share."""
        return self.clock() if self._timed_by_caller else database_time(connection)

    def properties(self) -> dict[str, str]:
        """Return all properties of the database by name, such as the store of its contents."""
        with self.read() as connection:
            return dict(map(tuple, connection.execute(select(properties))))

    def get_property(self, name: str) -> str | None:
        """Return a property of the database; None if it is not set."""
        with self.read() as connection:
            return connection.scalar(select(properties.c.value).where(properties.c.name == name))

    def set_property(self, name: str, value: str | None, *, only_first: bool = False) -> None:
        """Set or remove a property of the database.

        Parameters
        ----------
        name : str
            Name of the property.
        value : str, optional
            None to remove it.
        only_first : bool
            Whether to keep the value if it is set already.
        """
        with self.write() as connection:
            if value is None:
                connection.execute(delete(properties).where(properties.c.name == name))
            else:
                row = {"name": name, "value": value}
                connection.execute(_SET_ONCE if only_first else _SET, row)

    def note(
        self,
        connection: Connection,
        event: AuditEvent,
        username: str | None,
        source: str | None = None,
        **details: object,
    ) -> None:
        """Add an entry to the audit log, in a writing transaction; see `rinofs.server.catalog.users.audit`.

        If `source` is None, the entry names the client address of the current request, if any.
        """
        if source is None:
            source = CLIENT_ADDRESS.get()
        audit.add(connection, self.moment(connection), event, username, source, **details)

    @contextmanager
    def read(self, *, keep_sql: bool = True) -> Iterator[Connection]:
        """Run a read-only transaction that sees one consistent snapshot.

        Parameters
        ----------
        keep_sql : bool
            Whether compiled statements are cached. Large ones that clients compose should not be: they
            compile to megabytes, and rarely recur.

        Raises
        ------
        Unavailable
            If the database is locked for too long, or fails.
        BadRequest
            If the statements take too long.
        """
        with self._translated(), self.transactions.read(keep_sql=keep_sql) as connection:
            yield connection

    @contextmanager
    def lookups(self) -> Iterator[Reader]:
        """Look up rows one by one, each in a snapshot of its own: the fastest way.

        Raises
        ------
        Unavailable
            If the database is locked for too long, or fails.
        """
        with self._translated(), self.transactions.lookups() as reader:
            yield reader

    def look(self) -> AbstractContextManager[Reader]:
        """Look up a few rows, in one consistent snapshot, in a thread that must not wait.

        Raises
        ------
        WouldWait
            If the database is not an SQLite file, or is busy: then use `read`.
        """
        return self.transactions.look()

    @contextmanager
    def write(self, owner: int | None = None) -> Iterator[Connection]:
        """Run a transaction that is durable once the context exits, or else has no effect.

        Parameters
        ----------
        owner : int, optional
            The user whose data it changes: such changes run one at a time.

        Raises
        ------
        Unavailable
            If the database is locked for too long, or fails.
        InsufficientStorage
            If the disk is full.
        BadRequest
            If the statements take too long.
        """
        with self._translated(), self.transactions.write(owner) as connection:
            yield connection

    @contextmanager
    def once(self, owner: int, key: RequestKey | None, *, grows: bool = True) -> Iterator[Unit]:
        """Do the work of one request in a transaction, as `write` does, unless it was done before.

        Parameters
        ----------
        owner : int
            The user who sent it.
        key : RequestKey or None
            Identifies the request; None for one that is carried out each time.
        grows : bool
            Whether it stores more than it removes, which must not use up the disk reserve. With a key, it
            always stores its outcome.

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
            if grows or key is not None:  # not before: a full disk hides no outcome that is stored
                self.transactions.refuse_full()
            yield unit

    @contextmanager
    def rebuild(self) -> Iterator[Connection]:
        """Run a transaction as `write` does, on a connection that may be used in any way.

        Raises
        ------
        Unavailable
            If the database is locked for too long, or fails.
        """
        with self._translated(), self.transactions.rebuild() as connection:
            yield connection

    @contextmanager
    def index_changes(self) -> Iterator[Connection]:
        """Make or remove indexes, one process at a time.

        On PostgreSQL each statement is a transaction of its own, without a time limit, so that reading and
        writing go on. On SQLite, all of them are one transaction.

        Raises
        ------
        Unavailable
            If the database is locked for too long, or fails.
        """
        with self._translated(), self.transactions.index_changes() as connection:
            yield connection

    @property
    def engine(self) -> Engine:
        """The engine, which opens connections."""
        return self.transactions.engine

    @property
    def name(self) -> str:
        """Name of the database in messages: a path, or a URL without secrets."""
        return self.transactions.name

    def check(self) -> None:
        """Reject a database that a server cannot use.

        Raises
        ------
        UnusableDatabaseError
            With the reason.
        """
        self.kind.check(self.transactions)

    @property
    def commits(self) -> int:
        """Number of transactions that became durable; those committed together count as one."""
        return self.transactions.commits

    def close(self) -> None:
        """Close all connections."""
        self.transactions.close()

    @contextmanager
    def _translated(self) -> Iterator[None]:
        try:
            yield
        except (ApiError, Repeated):
            raise
        except IntegrityError as error:
            if not self.kind.is_conflict(error):
                raise
            _log.warning("a transaction was refused: %s", type(error.orig).__name__)
            raise database_busy() from error
        except (PoolTimeoutError, TimeoutError) as error:
            raise database_busy() from error
        except self.transactions.errors as error:
            raise self.transactions.refusal(error) from error


def database_time(connection: Connection) -> float:
    """Return the Unix time by the clock of a database."""
    return float(connection.scalar(kind_of(connection).clock))


def kind_of(connection: Connection) -> DatabaseKind:
    """Return the kind of database that a connection belongs to."""
    return KINDS[connection.dialect.name]
