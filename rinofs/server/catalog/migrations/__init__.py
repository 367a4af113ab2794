"""The steps by which the database became what it is.

Each is a file in ``versions/``, written for Alembic; a server runs those that are missing when it starts.
A new database gets the tables as they are now, without the steps.
"""

from __future__ import annotations

import threading
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import Column, MetaData, PrimaryKeyConstraint, String, Table, inspect, text

from rinofs.server.catalog.queries import indexes
from rinofs.server.catalog.tables import metadata

if TYPE_CHECKING:
    from alembic.config import Config
    from sqlalchemy import Connection

    from rinofs.server.catalog.database import Database

__all__ = ["HEAD", "apply_steps", "config", "downgrade", "is_current", "upgrade"]

_ALEMBIC = threading.Lock()
_TURN = 0x72696E6F  # the number of an advisory lock

HEAD = "0006"
"""The last step; known here so that most starts need not load Alembic."""

_VERSION = Table(  # as Alembic makes it
    "alembic_version",
    MetaData(),
    Column("version_num", String(32), nullable=False),
    PrimaryKeyConstraint("version_num", name="alembic_version_pkc"),
)


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
    with database.rebuild() as connection:
        _take_turn(connection)
        is_new = not inspect(connection).get_table_names()
        if is_new:
            metadata.create_all(connection, checkfirst=False)
            _VERSION.create(connection)
            connection.execute(_VERSION.insert().values(version_num=HEAD))
    if not is_new:
        apply_steps(database)


def apply_steps(database: Database) -> None:
    """Apply the steps that are missing, in one transaction."""
    from alembic import command

    # Alembic keeps what it works on in a global variable.
    with _ALEMBIC, database.rebuild() as connection:
        _take_turn(connection)
        fields = indexes.indexed(connection)
        command.upgrade(config(connection), "head")
        indexes.restore(connection, fields)  # a step that makes a table anew knows nothing of them


def downgrade(database: Database, revision: str = "base") -> None:
    """Take a database back to an earlier version; what that version has no place for is lost."""
    from alembic import command

    with _ALEMBIC, database.rebuild() as connection:
        command.downgrade(config(connection), revision)


def _take_turn(connection: Connection) -> None:
    """Have processes that change the tables of one database do so one after the other."""
    if connection.dialect.name == "postgresql":  # SQLite has one writer at a time anyway
        connection.execute(text("SELECT pg_advisory_xact_lock(:number)"), {"number": _TURN})


def is_current(connection: Connection) -> bool:
    """Tell whether a database has the schema of this release."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    found: str | None = connection.scalar(text("SELECT version_num FROM alembic_version"))
    return found == HEAD
