"""Look up single rows on PostgreSQL with one message each, without what SQLAlchemy does for a statement."""

from __future__ import annotations

import time
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Mapping

    import psycopg
    from sqlalchemy import Engine, Select

    from rinofs.server.catalog.transactions import RowResult

__all__ = ["RowReader"]


class _FoundRow:
    """At most one row, the first one."""

    def __init__(self, row: tuple[Any, ...] | None) -> None:
        self._row = row

    def one_or_none(self) -> tuple[Any, ...] | None:
        return self._row

    first = one_or_none


class RowReader:
    """Looks up rows by statements that need no transaction around them.

    Parameters
    ----------
    engine : Engine
        What opens connections, on which each statement is a transaction.
    error : type
        What the driver raises.
    """

    def __init__(self, engine: Engine, error: type[psycopg.Error]) -> None:
        self._engine = engine
        self._error = error
        self._compiled: dict[Select[Any], bytes] = {}

    def execute(self, statement: Select[Any], parameters: Mapping[str, Any], /) -> RowResult:
        """Run a statement of which the first row matters; one of a few, which are kept for ever."""
        sql = self._compiled.get(statement)
        if sql is None:
            sql = self._compiled[statement] = str(statement.compile(dialect=self._engine.dialect)).encode()
        start = time.monotonic()
        while True:
            connection = self._engine.raw_connection()
            driver: psycopg.Connection[Any] = connection.driver_connection  # type: ignore[assignment]
            try:
                return _FoundRow(driver.execute(sql, parameters).fetchone())
            except self._error:
                if driver.closed:
                    made = connection.info["made"]
                    connection.invalidate()
                    if made < start:  # it was dead already; others may be left that are good
                        continue
                raise
            finally:
                connection.close()
