"""The requirements that a PostgreSQL database must meet for a server to keep its guarantees."""

from __future__ import annotations

from typing import TYPE_CHECKING, NamedTuple

from sqlalchemy import text
from sqlalchemy.exc import DBAPIError

from rinofs.server.catalog.postgres.driver import UnusableDatabaseError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.server.catalog.transactions import Transactions

__all__ = ["ServerFacts", "check_requirements"]

OLDEST = 15

_FACTS = text(
    "SELECT current_setting('server_version_num')::int AS version, pg_is_in_recovery() AS replica, "
    "current_setting('server_encoding') AS encoding, current_setting('fsync') AS fsync, "
    "current_setting('full_page_writes') AS full_page_writes"
)


class ServerFacts(NamedTuple):
    """What a database reports about itself."""

    version: int
    replica: bool
    encoding: str
    fsync: str
    full_page_writes: str

    def problems(self) -> Iterator[str]:
        """Yield the reasons why a server cannot use it, each with a remedy."""
        if self.version // 10_000 < OLDEST:
            yield f"this is PostgreSQL {self.version // 10_000}; rinofs needs {OLDEST} or later"
        if self.replica:
            yield "this is a replica, which can only be read; name the primary server"
        if self.encoding != "UTF8":
            yield f"its encoding is {self.encoding}; make a database with ENCODING 'UTF8' TEMPLATE template0"
        for name in ("fsync", "full_page_writes"):
            if getattr(self, name) != "on":
                yield f"{name} is off, so a crash may damage it; turn it on in postgresql.conf"


def check_requirements(transactions: Transactions) -> None:
    """Reject a database that a server cannot use.

    Raises
    ------
    UnusableDatabaseError
        With the first reason.
    """
    name = transactions.name
    try:
        with transactions.read(keep_sql=True) as connection:
            facts = ServerFacts(*connection.execute(_FACTS).one())
    except transactions.errors as error:
        raise UnusableDatabaseError(f"{name}: {_reason(error)}") from error
    for problem in facts.problems():
        raise UnusableDatabaseError(f"{name}: {problem}")


def _reason(error: BaseException) -> str:
    """Return in one line why connecting failed: libpq names host, user and database, but no password."""
    below = error.orig if isinstance(error, DBAPIError) else error
    lines = [line.strip(" \t-") for line in str(below).splitlines()]
    told = next((line for line in lines if "failed: " in line or "FATAL: " in line), lines[0])
    return f"cannot be reached: {told.removeprefix('connection failed: ')}"
