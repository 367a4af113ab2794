"""The steps by which the database became what it is.

Each is a file in ``versions/``, written for Alembic. A new database gets the tables as they are now, without
the steps. A server runs those that are missing when it opens a folder. Workers that share a database change
no tables: `rinofs admin init` does, while workers of the release before go on. So a step that they could not
work with, since it removes something, is one of `CONTRACTING`, and waits for `rinofs admin init --finish`.
"""

from __future__ import annotations

import threading
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

from sqlalchemy import (
    Column,
    MetaData,
    PrimaryKeyConstraint,
    String,
    Table,
    delete,
    insert,
    inspect,
    select,
)

from rinofs.server.catalog.postgres.driver import UnusableDatabaseError
from rinofs.server.catalog.queries import indexes
from rinofs.server.catalog.tables import metadata, properties

if TYPE_CHECKING:
    from collections.abc import Iterator

    from alembic.config import Config
    from sqlalchemy import Connection

    from rinofs.server.catalog.database import Database

__all__ = [
    "CONTRACTING",
    "HEAD",
    "OLDEST",
    "apply_steps",
    "config",
    "downgrade",
    "initialize",
    "is_current",
    "require_schema",
    "schema_problem",
    "turn",
    "upgrade",
]

_ALEMBIC = threading.Lock()
_CHANGING, _INITIALIZING = 0x72696E6F, 0x72696E70  # numbers of advisory locks

HEAD = "0007"
"""The last step; known here so that most starts need not load Alembic."""

OLDEST = HEAD
"""The first step after which this release can work with a database: before those that `--finish` applies."""

CONTRACTING: frozenset[str] = frozenset()
"""Steps after which a release cannot work with a database that does not know them."""

_NEEDED = "schema_serves"
"""A property of the database: a release works with it whose `HEAD` is this step or a later one."""

_INIT = "run `rinofs admin init`"

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
    UnusableDatabaseError
        If it is of a later version.
    Unavailable
        If it is locked for too long.
    """
    with database.read() as connection:
        present = _version(connection)
    if present == HEAD:
        return
    if present is not None and present > HEAD:
        raise UnusableDatabaseError(f"{database.name}: {_later(present)}")
    if not _make_new(database):
        apply_steps(database)


def require_schema(database: Database) -> None:
    """See that a database has tables that this release can work with; those of a data folder are upgraded.

    Raises
    ------
    UnusableDatabaseError
        If workers share it, and `rinofs admin init` has not made such tables.
    """
    if not database.kind.is_shared:
        upgrade(database)
        return
    with database.read() as connection:
        problem = schema_problem(connection)
    if problem is not None:
        raise UnusableDatabaseError(f"{database.name}: {problem}")


def initialize(database: Database, *, finish: bool = False) -> str:
    """Make the tables of a database that workers share, or bring them up to date.

    Parameters
    ----------
    database : Database
        Empty, or of any earlier version.
    finish : bool
        Whether no worker of an earlier release runs any more.

    Returns
    -------
    str
        The last step that was applied.
    """
    if _make_new(database):
        return HEAD
    with database.read() as connection:
        present = _version(connection) or "0000"
    waiting = [step for step in sorted(CONTRACTING) if step > present]
    target = HEAD if finish or not waiting else f"{int(waiting[0]) - 1:04d}"
    if present < target:
        apply_steps(database, target)
    if finish:
        with database.write() as connection:
            connection.execute(delete(properties).where(properties.c.name == _NEEDED))
            connection.execute(insert(properties).values(name=_NEEDED, value=HEAD))
    return max(present, target)


def _make_new(database: Database) -> bool:
    """Make the tables of an empty database; tell whether it was one."""
    with database.rebuild() as connection:
        database.kind.lock_tables(connection, _CHANGING)
        is_new = not inspect(connection).get_table_names()
        if is_new:
            metadata.create_all(connection, checkfirst=False)
            _VERSION.create(connection)
            connection.execute(_VERSION.insert().values(version_num=HEAD))
            if database.kind.is_shared:
                connection.execute(insert(properties).values(name=_NEEDED, value=HEAD))
        return is_new


def apply_steps(database: Database, last: str = "head") -> None:
    """Apply the steps that are missing, up to the last one, in one transaction."""
    from alembic import command

    # Alembic keeps what it works on in a global variable.
    with _ALEMBIC, database.rebuild() as connection:
        database.kind.lock_tables(connection, _CHANGING)
        fields = indexes.indexed(connection)
        command.upgrade(config(connection), last)
        indexes.restore(connection, fields)  # a step that makes a table anew knows nothing of them


def downgrade(database: Database, revision: str = "base") -> None:
    """Take a database back to an earlier version; what that version has no place for is lost."""
    from alembic import command

    with _ALEMBIC, database.rebuild() as connection:
        command.downgrade(config(connection), revision)


@contextmanager
def turn(database: Database) -> Iterator[None]:
    """Have processes that make the first user of a database do so one after the other."""
    with database.rebuild() as connection:
        database.kind.lock_tables(connection, _INITIALIZING)
        yield


def is_current(connection: Connection) -> bool:
    """Tell whether a database has the schema of this release."""
    return _version(connection) == HEAD


def schema_problem(connection: Connection) -> str | None:
    """Return why this release cannot work with the tables of a database, and what to do; None if it can."""
    present = _version(connection)
    if present is None:
        return f"it has no tables of rinofs; {_INIT}"
    if present < OLDEST:
        return f"its schema {present} is of an earlier release; {_INIT}"
    needed = present
    if present > HEAD:
        found = connection.scalar(select(properties.c.value).where(properties.c.name == _NEEDED))
        needed = found or present
    if needed > HEAD:
        return _later(present)
    return None


def _later(present: str) -> str:
    return f"its schema {present} is of a later release; upgrade rinofs"


def _version(connection: Connection) -> str | None:
    if not inspect(connection).has_table(_VERSION.name):
        return None
    found: str | None = connection.scalar(select(_VERSION.c.version_num))
    return found
