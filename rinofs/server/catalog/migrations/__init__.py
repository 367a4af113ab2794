"""The steps by which the database became what it is.

Each is a file in ``versions/``, written for Alembic; a server runs those that are missing when it starts.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import inspect, text

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from rinofs.server.catalog.database import Database

__all__ = ["HEAD", "config", "downgrade", "is_current", "upgrade"]

_ALEMBIC = threading.Lock()

HEAD = "0004"
"""The last step; known here so that a start with nothing to do need not load Alembic."""


def config(connection: Connection) -> Config:
    """Return what Alembic's own commands take, bound to a connection."""
    from alembic.config import Config

    bound = Config(attributes={"connection": connection})
    bound.set_main_option("script_location", str(Path(__file__).parent).replace("%", "%%"))
    return bound


def upgrade(database: Database) -> None:
    """Bring a database up to date, in one transaction.

    Parameters
    ----------
    database : Database
        Empty, or of any earlier version.

    Raises
    ------
    Unavailable
        If it is locked for too long.
    """
    with database.read() as connection:
        if is_current(connection):
            return
    from alembic import command

    # Alembic keeps what it works on in a global variable.
    with _ALEMBIC, database.rebuild() as connection:
        command.upgrade(config(connection), "head")


def downgrade(database: Database, revision: str = "base") -> None:
    """Take a database back to an earlier version; what that version has no place for is lost."""
    from alembic import command

    with _ALEMBIC, database.rebuild() as connection:
        command.downgrade(config(connection), revision)


def is_current(connection: Connection) -> bool:
    """Tell whether a database has the schema of this release."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found == HEAD
