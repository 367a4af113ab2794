"""Look up single rows on PostgreSQL in one round trip each, without SQLAlchemy's overhead per statement."""

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
    """Looks up rows with statements that need no transaction around them.

    Parameters
    ----------
    engine : Engine
        Opens connections, on which each statement is a transaction of its own.
    error : type
        The driver's base class of errors.
    """

    def __init__(self, engine: Engine, error: type[psycopg.Error]) -> None:
        self._engine = engine
        self._error = error
        self._compiled: dict[Select[Any], bytes] = {}

    def execute(self, statement: Select[Any], parameters: Mapping[str, Any], /) -> RowResult:
        """Run a statement and keep its first row. Compiled statements are cached forever: use only a few."""
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
                    if made < start:  # it was already dead; the pool may have good ones
                        continue
                raise
            finally:
                connection.close()
