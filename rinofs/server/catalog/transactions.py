"""Transactions, as `rinofs.server.catalog.database` uses them: SQLite's and PostgreSQL's are made alike."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, Protocol

if TYPE_CHECKING:
    from collections.abc import Mapping
    from contextlib import AbstractContextManager

    from sqlalchemy import Connection, Engine, Select

    from rinofs.server.errors import ApiError

__all__ = ["Reader", "RowResult", "Transactions", "WouldWait"]


class WouldWait(Exception):  # noqa: N818 (no failure: the question is for where waiting is allowed)
    """The database cannot answer at once."""


class RowResult(Protocol):
    """What a statement has found."""

    def one_or_none(self) -> Any:
        """Return the row, if there is one."""

    def first(self) -> Any:
        """Return the first row, if there is one."""


class Reader(Protocol):
    """Looks up rows: a connection of SQLAlchemy's, or what takes less time than one."""

    def execute(self, statement: Select[Any], parameters: Mapping[str, Any], /) -> RowResult:
        """Run a statement."""


class Transactions(Protocol):
    """Transactions on one database, opened."""

    @property
    def errors(self) -> tuple[type[Exception], ...]:
        """What statements and commits raise if they fail; `refusal` returns what that means to a client."""

    @property
    def engine(self) -> Engine:
        """What opens connections."""

    @property
    def name(self) -> str:
        """What messages call the database: a path, or a URL without secrets."""

    @property
    def commits(self) -> int:
        """How many transactions have become durable, those that were committed together counting as one."""

    def read(self, *, keep_sql: bool) -> AbstractContextManager[Connection]:
        """Run a transaction that changes nothing; see `Database.read`."""

    def lookups(self) -> AbstractContextManager[Reader]:
        """Look up rows, each in the state of its moment; see `Database.lookups`."""

    def look(self) -> AbstractContextManager[Reader]:
        """Look up a few rows in a thread that must not wait; see `Database.look`."""

    def write(self, owner: int | None) -> AbstractContextManager[Connection]:
        """Run a transaction that is durable once the context is left; see `Database.write`."""

    def rebuild(self) -> AbstractContextManager[Connection]:
        """Run a transaction that may change tables; see `Database.rebuild`."""

    def index_changes(self) -> AbstractContextManager[Connection]:
        """Make or remove indexes; see `Database.index_changes`."""

    def refuse_full(self) -> None:
        """Refuse to store more where the reserve of the disk would be used up."""

    def refusal(self, error: BaseException) -> ApiError:
        """Return what a failure means to a client."""

    def close(self) -> None:
        """Close all connections."""
