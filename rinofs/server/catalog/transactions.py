"""The interface that `rinofs.server.catalog.database` uses for transactions on SQLite and PostgreSQL."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine, Select

    from rinofs.server.errors import ApiError

__all__ = ["Reader", "RowResult", "Transactions", "WouldWait"]


class WouldWait(Exception):  # noqa: N818 (not a failure: ask where waiting is allowed)
    """The database cannot answer at once."""


class RowResult(Protocol):
    """The result of a statement."""

    def one_or_none(self) -> Any:
        """Return the row, if there is one."""

    def first(self) -> Any:
        """Return the first row, if there is one."""


class Reader(Protocol):
    """Looks up rows: an SQLAlchemy connection, or something faster."""

    def execute(self, statement: Select[Any], parameters: Mapping[str, Any], /) -> RowResult:
        """Run a statement."""


class Transactions(Protocol):
    """Transactions on one open database."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """The errors of failed statements and commits; `refusal` returns what clients see instead."""

    @property
    def engine(self) -> Engine:
        """The engine, which opens connections."""

    @property
    def name(self) -> str:
        """Name of the database in messages: a path, or a URL without secrets."""

    @property
    def commits(self) -> int:
        """Number of transactions that became durable; those committed together count as one."""

    def read(self, *, keep_sql: bool) -> AbstractContextManager[Connection]:
        """Run a read-only transaction; see `Database.read`."""

    def lookups(self) -> AbstractContextManager[Reader]:
        """Look up rows, each in a snapshot of its own; see `Database.lookups`."""

    def look(self) -> AbstractContextManager[Reader]:
        """Look up a few rows in a thread that must not wait; see `Database.look`."""

    def write(self, owner: int | None) -> AbstractContextManager[Connection]:
        """Run a transaction that is durable once the context exits; see `Database.write`."""

    def rebuild(self) -> AbstractContextManager[Connection]:
        """Run a transaction that may change tables; see `Database.rebuild`."""

    def index_changes(self) -> AbstractContextManager[Connection]:
        """Make or remove indexes; see `Database.index_changes`."""

    def refuse_full(self) -> None:
        """Refuse to store more if that would use up the disk reserve."""

    def refusal(self, error: BaseException) -> ApiError:
        """Return the error that clients see for a failure."""

    def close(self) -> None:
        """Close all connections."""
