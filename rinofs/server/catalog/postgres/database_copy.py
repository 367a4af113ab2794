"""Copying a database, row by row, to an empty one in PostgreSQL; an interrupted copy can be continued.

Rows are copied in batches, ordered by key. A continued copy compares existing rows with the source before it
adds others. Until the copy is complete, a property marks the database, and servers reject it.
"""

from __future__ import annotations

from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any, Protocol, TypeAlias

from sqlalchemy import Text, TypeDecorator, delete, func, insert, select, text, tuple_, type_coerce

from rinofs.server.catalog.postgres.driver import driver_of
from rinofs.server.catalog.queries import indexes
from rinofs.server.catalog.tables import (
    blobs,
    datapack_contents,
    datapacks,
    metadata,
    oauth_clients,
    objects,
    properties,
    users,
    workers,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection, Dialect, Row, Select, Table

    from rinofs.server.catalog.database import Database

__all__ = [
    "COPYING",
    "UNCHECKED",
    "CopyReport",
    "CopyWatcher",
    "DatabaseCopyError",
    "copy_database",
    "count_rows",
]

COPYING = "copying"
"""The property that a database has until a copy into it is complete."""

UNFINISHED = "a copy into it was not finished; run `rinofs admin copy` again"
"""Why no worker accepts it until then."""

UNCHECKED = "copy_unchecked"
"""The property that a database has from then on, until everything is checked."""

_ROWS = 2000
"""Maximum rows per batch; a batch is held in memory."""
_BYTES = 8 * 1024 * 1024
"""Size of the text in a batch, in characters, after which no more rows are added."""

_COPIED = [table for table in metadata.sorted_tables if table not in (properties, workers)]
_PARENTS = ("parent", "version_of")
"""Columns of `objects` that name other objects, which may come later."""

_Key: TypeAlias = tuple[Any, ...]


class DatabaseCopyError(Exception):
    """A database cannot be copied to the other; the message says why."""


class CopyWatcher(Protocol):
    """Receives the progress of a copy, and may raise to abort it."""

    def expect(self, total: int) -> None:
        """Expect this many rows."""

    def add(self, size: int) -> None:
        """Count rows as done."""


@dataclass(frozen=True, slots=True)
class CopyReport:
    """The result of a copy.

    Attributes
    ----------
    rows : int
        Rows in the database.
    copied : int
        Those that were not there before.
    """

    rows: int
    copied: int


def copy_database(
    source: Database, target: Database, watcher: CopyWatcher, claim: Callable[[Connection], None]
) -> CopyReport:
    """Copy everything, or what an earlier copy lacks; all ids are kept.

    Parameters
    ----------
    source : Database
        An SQLite database with the schema of this release, which must not change meanwhile.
    target : Database
        A PostgreSQL database with tables; a user without data in it is removed.
    watcher : CopyWatcher
        Receives the progress.
    claim : callable
        Called in the transaction that completes the copy, to claim the folder of the contents.

    Raises
    ------
    DatabaseCopyError
        If the target holds other data, or the source has changed since an earlier copy began.
    """
    total = count_rows(source)
    _begin(target)
    watcher.expect(total)
    copied = sum(_copy_table(source, target, table, watcher) for table in _COPIED)
    _finish(source, target, claim)
    return CopyReport(total, copied)


def count_rows(source: Database) -> int:
    """Return the number of rows to copy."""
    with source.read() as connection:
        return sum(_count(connection, table) for table in _COPIED)


def _begin(target: Database) -> None:
    """Keep servers off the target, and let rows refer to others that are not there yet."""
    with target.rebuild() as connection:
        connection.execute(text(f"LOCK TABLE {properties.name} IN EXCLUSIVE MODE"))
        if connection.scalar(select(properties.c.value).where(properties.c.name == COPYING)) is None:
            _check_unused(connection, target.moment(connection))
            for table in reversed(_COPIED):  # the user that `rinofs admin init` created
                connection.execute(delete(table))
            connection.execute(insert(properties).values(name=COPYING, value="1"))
        for column in _PARENTS:
            drop = f"ALTER TABLE {objects.name} DROP CONSTRAINT IF EXISTS {_constraint(column)}"
            connection.execute(text(drop))


def _check_unused(connection: Connection, moment: float) -> None:
    alive = select(workers.c.name).where(workers.c.fenced.is_(None), workers.c.expires >= int(moment))
    if connection.scalar(alive) is not None:
        raise DatabaseCopyError(
            "workers use the database; stop them, and wait a minute if one was killed: they would change it "
            "during the copy"
        )
    present = [
        table.name for table in (objects, datapacks, blobs, oauth_clients) if _count(connection, table)
    ]
    if present or _count(connection, users) > 1:
        raise DatabaseCopyError(
            f"the database is in use already: it has {' and '.join(present) or 'users'}; "
            "name a new one, on which only `rinofs admin init` was run"
        )


def _finish(source: Database, target: Database, claim: Callable[[Connection], None]) -> None:
    """Make the target a regular database: ids continue from the last one, and all constraints hold again."""
    with source.read() as connection:
        fields = indexes.indexed(connection)
        numbered = connection.execute(text("SELECT name, seq FROM sqlite_sequence"))
        last = dict(map(tuple, numbered))
        kept = connection.execute(select(properties)).all()
    with target.rebuild() as connection:
        for table in _COPIED:
            if last.get(table.name):
                _number_from(connection, table, last[table.name])
        for column in _PARENTS:
            rule = f"FOREIGN KEY ({column}) REFERENCES {objects.name} (id)"
            add = f"ALTER TABLE {objects.name} ADD CONSTRAINT {_constraint(column)} {rule}"
            connection.execute(text(add))
        if fields:
            indexes.restore(connection, fields)
        names = [COPYING, *(name for name, _ in kept)]
        connection.execute(delete(properties).where(properties.c.name.in_(names)))
        for name, value in kept:
            connection.execute(insert(properties).values(name=name, value=value))
        connection.execute(insert(properties).values(name=UNCHECKED, value="1"))
        connection.execute(text("ANALYZE"))
        claim(connection)


def _copy_table(source: Database, target: Database, table: Table, watcher: CopyWatcher) -> int:
    """Copy the rows of a table that are missing, and return their number."""
    with target.read() as connection:
        is_new = not connection.scalar(select(select(table).exists()))
    copied, before = 0, None
    with source.read() as connection:
        rows = connection.execution_options(yield_per=_ROWS).execute(_ordered(table))
        for batch in _batches(iter(rows)):
            with target.rebuild() as writer:
                last = _key(table, batch[-1])
                present = set() if is_new else _compared(writer, table, batch, before, last)
                missing = [row for row in batch if _key(table, row) not in present]
                _add(writer, table, missing)
            copied += len(missing)
            watcher.add(len(batch))
            before = last
    with target.read() as connection:
        if not is_new and _between(connection, table, before, None):
            raise _changed(table)
    return copied


def _batches(rows: Iterator[Row[Any]]) -> Iterator[list[Row[Any]]]:
    while first := list(islice(rows, 1)):
        batch, size = first, _length(first[0])
        while size < _BYTES and len(batch) < _ROWS and (more := next(rows, None)) is not None:
            batch.append(more)
            size += _length(more)
        yield batch


def _length(row: Row[Any]) -> int:
    return sum(len(value) for value in row if isinstance(value, str))


def _compared(
    connection: Connection, table: Table, batch: Sequence[Row[Any]], before: _Key | None, last: _Key
) -> set[_Key]:
    """Return the keys of the rows in a batch that an earlier copy has copied; raise if they differ."""
    wanted = {_key(table, row): tuple(row) for row in batch}
    found = {_key(table, row): tuple(row) for row in _between(connection, table, before, last)}
    if any(wanted.get(key) != row for key, row in found.items()):
        raise _changed(table)
    return set(found)


def _between(
    connection: Connection, table: Table, before: _Key | None, last: _Key | None
) -> Sequence[Row[Any]]:
    """Return the target's rows after a key, up to another one; only the first row if that is None."""
    columns, query = tuple_(*table.primary_key), _ordered(table)
    if before is not None:
        query = query.where(columns > before)
    query = query.limit(1) if last is None else query.where(columns <= last)
    return connection.execute(query).all()


def _changed(table: Table) -> DatabaseCopyError:
    return DatabaseCopyError(
        f"the folder was changed since the copy began (table {table.name}); begin again with a new database"
    )


class _WithoutNul(TypeDecorator[str]):
    """Text that PostgreSQL can store."""

    impl = Text
    cache_ok = True

    def process_result_value(self, value: str | None, dialect: Dialect) -> str | None:  # noqa: ARG002
        """Return the text with another character in place of each NUL."""
        return None if value is None else value.replace("\0", "_")


def _ordered(table: Table) -> Select[Any]:
    # Names for saving contents: servers before this release kept a NUL in them.
    cleaned = datapack_contents.c.filename
    columns = (
        type_coerce(column, _WithoutNul).label(column.name) if column is cleaned else column
        for column in table.columns
    )
    return select(*columns).order_by(*table.primary_key)


def _key(table: Table, row: Row[Any]) -> _Key:
    return tuple(getattr(row, column.name) for column in table.primary_key)


def _count(connection: Connection, table: Table) -> int:
    return connection.scalar(select(func.count()).select_from(table)) or 0


def _constraint(column: str) -> str:
    return f"fk_{objects.name}_{column}"


def _number_from(connection: Connection, table: Table, last: int) -> None:
    """Give the next row of a table the id after the last one that was ever assigned."""
    sequence = f"pg_get_serial_sequence('{table.name}', 'id')"
    connection.execute(text(f"SELECT setval({sequence}, :last, true)"), {"last": last})


def _add(connection: Connection, table: Table, rows: Sequence[Row[Any]]) -> None:
    for row in rows:
        if any(isinstance(value, str) and "\0" in value for value in row):
            key = ", ".join(map(str, _key(table, row)))
            raise DatabaseCopyError(f"a text in {table.name} {key} has a NUL, which PostgreSQL cannot store")
    names = ", ".join(f'"{column.name}"' for column in table.columns)
    with (
        driver_of(connection).cursor() as cursor,
        cursor.copy(f'COPY "{table.name}" ({names}) FROM STDIN') as copy,
    ):
        for row in rows:
            copy.write_row(row)
