"""Which database a query is written for."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.server.catalog.postgres.functions import POSTGRESQL
from rinofs.server.catalog.sqlite.functions import SQLITE

if TYPE_CHECKING:
    from sqlalchemy import Connection, Engine

    from rinofs.server.catalog.queries.query_dialect import QueryDialect

__all__ = ["dialect_of"]

_DIALECTS: dict[str, QueryDialect] = {"sqlite": SQLITE, "postgresql": POSTGRESQL}


def dialect_of(database: Connection | Engine) -> QueryDialect:
    """Return the SQL of a database for what a query needs."""
    return _DIALECTS[database.dialect.name]
