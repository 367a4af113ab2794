"""The two kinds of database, and all their differences that matter to the rest of the server.

A data folder has an SQLite file of its own; workers share a PostgreSQL database. Code of more than a few
lines is in the package of the kind, `catalog.sqlite` or `catalog.postgres`.
"""

from __future__ import annotations

import json
from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, ClassVar

from sqlalchemy import make_url, select, text

from rinofs.server.catalog.postgres.driver import parse_url
from rinofs.server.catalog.postgres.functions import POSTGRESQL
from rinofs.server.catalog.postgres.requirements import check_requirements
from rinofs.server.catalog.postgres.transactions import PostgresqlTransactions
from rinofs.server.catalog.sharing.locks import is_dangling
from rinofs.server.catalog.sqlite.database_file import file_problems
from rinofs.server.catalog.sqlite.functions import SQLITE, is_json
from rinofs.server.catalog.sqlite.transactions import SqliteTransactions

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import URL, Column, Connection, TextClause
    from sqlalchemy.exc import IntegrityError

    from rinofs.server.catalog.queries.query_dialect import QueryDialect
    from rinofs.server.catalog.transactions import Transactions

__all__ = ["KINDS", "DatabaseKind", "kind_for"]


class DatabaseKind(ABC):
    """A kind of database.

    Attributes
    ----------
    is_shared : bool
        Whether workers on several machines share it. If so, they hold leases in it (`sharing.leases`), take
        turns at garbage collection, write concurrently, and leave schema changes to `rinofs admin init`. A
        database that is not shared has one writing transaction at a time.
    clock : TextClause
        The statement for the Unix time, by the clock of the database.
    queries : QueryDialect
        Its dialect for users' queries.
    """

    is_shared: ClassVar[bool]
    clock: ClassVar[TextClause]
    queries: ClassVar[QueryDialect]

    @abstractmethod
    def open(
        self, url: str | URL, *, busy_timeout: float, statement_timeout: float, connections: int
    ) -> Transactions:
        """Open a database; see `Database` for the parameters."""

    @abstractmethod
    def check(self, transactions: Transactions) -> None:
        """Reject a database on which a server cannot keep its guarantees.

        Raises
        ------
        UnusableDatabaseError
            With the reason.
        """

    @abstractmethod
    def is_conflict(self, error: IntegrityError) -> bool:
        """Return whether a row was rejected because of another process's change, which a retry will see."""

    @abstractmethod
    def lock_tables(self, connection: Connection, number: int) -> None:
        """Wait until no other process changes tables under the same number; then make others wait."""

    @abstractmethod
    def problems(self, connection: Connection) -> Iterator[str]:
        """Yield the problems of the database's files, as far as it can detect them."""

    @abstractmethod
    def not_json(self, connection: Connection, key: Column[int], column: Column[str]) -> Iterator[int]:
        """Yield the keys of rows in which a column is not JSON."""


class _Sqlite(DatabaseKind):
    """A file in the data folder, used by the processes of one machine."""

    is_shared = False
    clock = text("SELECT (julianday('now') - 2440587.5) * 86400.0")
    queries = SQLITE

    def open(
        self,
        url: str | URL,
        *,
        busy_timeout: float,
        statement_timeout: float,
        connections: int,  # noqa: ARG002 (only a server has a limit)
    ) -> Transactions:
        return SqliteTransactions(make_url(url), busy_timeout, statement_timeout)

    def check(self, transactions: Transactions) -> None:
        """Accept any: the server itself creates the file, and sets it up."""

    def is_conflict(self, error: IntegrityError) -> bool:
        return is_dangling(error)  # all else was checked under the same lock

    def lock_tables(self, connection: Connection, number: int) -> None:
        """Do nothing: SQLite has one writer at a time anyway."""

    def problems(self, connection: Connection) -> Iterator[str]:
        return file_problems(connection)

    def not_json(self, connection: Connection, key: Column[int], column: Column[str]) -> Iterator[int]:
        return iter(connection.scalars(select(key).where(~is_json(column))))


class _Postgresql(DatabaseKind):
    """A database that workers share."""

    is_shared = True
    clock = text("SELECT extract(epoch FROM clock_timestamp())")
    queries = POSTGRESQL

    def open(
        self, url: str | URL, *, busy_timeout: float, statement_timeout: float, connections: int
    ) -> Transactions:
        return PostgresqlTransactions(parse_url(url), busy_timeout, statement_timeout, connections)

    def check(self, transactions: Transactions) -> None:
        check_requirements(transactions)

    def is_conflict(self, error: IntegrityError) -> bool:  # noqa: ARG002 (whatever it is)
        return True

    def lock_tables(self, connection: Connection, number: int) -> None:
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": number})

    def problems(self, connection: Connection) -> Iterator[str]:  # noqa: ARG002
        return iter(())  # amcheck and checksums are up to the database administrator

    def not_json(self, connection: Connection, key: Column[int], column: Column[str]) -> Iterator[int]:
        # Only from version 16 on can PostgreSQL test this without failing.
        wanted = select(key, column).where(column.not_in(["{}", "[]"]))
        for number, value in connection.execute(wanted, execution_options={"yield_per": 50}):
            try:
                json.loads(value)
            except ValueError:
                yield number


KINDS: dict[str, DatabaseKind] = {"sqlite": _Sqlite(), "postgresql": _Postgresql()}
"""The kinds, by the names of their SQLAlchemy dialects."""


def kind_for(url: str | URL) -> DatabaseKind:
    """Return the kind of database that a URL names; any URL that is not SQLite's must be PostgreSQL's."""
    return KINDS["sqlite" if str(url).startswith("sqlite:") else "postgresql"]
