"""The database of a server, opened by a test beside it, whatever kind it is."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import select

from rinofs.server.catalog.database import Database
from rinofs.server.catalog.tables import metadata
from rinofs.server.folder import DATABASE

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.server.settings import ServerSettings


def opened_database(settings: ServerSettings, clock: Callable[[], float] | None = None) -> Database:
    """Open the database of a server once more, with a clock of the test's own; to be closed."""
    return Database(settings.database_url or settings.data_dir / DATABASE, clock=clock)


def kept_bytes(settings: ServerSettings) -> bytes:
    """Return all that a database keeps: the bytes of the files, or what all rows of PostgreSQL say."""
    if settings.database_url is None:
        return b"".join(path.read_bytes() for path in settings.data_dir.glob(f"{DATABASE}*"))
    database = opened_database(settings)
    with database.read() as connection:
        rows = [list(connection.execute(select(table))) for table in metadata.sorted_tables]
    database.close()
    return repr(rows).encode()
