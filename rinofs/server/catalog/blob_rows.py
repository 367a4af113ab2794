"""Rows of contents: filling in digests that are computed later, merging and removing them.

A content is removed in two steps. One transaction deletes its row, if nothing refers to it any more; then the
store removes the key. A crash in between leaves a content without a row, which garbage collection finds.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, exists, func, insert, select, union_all, update
from sqlalchemy.exc import IntegrityError

from rinofs.server.blobs.store import OBJECTS, is_object_key
from rinofs.server.catalog.database import database_time
from rinofs.server.catalog.sharing.leases import hold_workers
from rinofs.server.catalog.tables import BLOB_REFERENCES, blobs, doomed

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Iterator, Sequence

    from sqlalchemy import Connection, Update

    from rinofs.server.blobs.store import Blob, Digests
    from rinofs.server.catalog.database import Database

__all__ = [
    "BlobRow",
    "all_rows",
    "drop_unreferenced",
    "fill",
    "merge",
    "referred",
    "remove_unreferenced",
    "set_sha256",
    "without_sha256",
]

_CHUNK = 500


@dataclass(frozen=True, slots=True)
class BlobRow:
    """What the database knows about a content.

    Attributes
    ----------
    id : int
        Its number.
    key : str
        Its key in the store.
    size : int
        Size in bytes.
    etag : str
        Its etag.
    blake3, sha256 : str or None
        Its digests, in hex, as far as computed.
    """

    id: int
    key: str
    size: int
    etag: str
    blake3: str | None
    sha256: str | None


_COLUMNS = tuple(blobs.c[name] for name in BlobRow.__dataclass_fields__)
_UNREFERENCED = and_(*(~exists().where(column == blobs.c.id) for column in BLOB_REFERENCES))


def drop_unreferenced(connection: Connection, numbers: Iterable[int]) -> set[str]:
    """Remove those rows that nothing refers to any more.

    Returns
    -------
    set of str
        Their keys, except those that are deleted from an object store later.
    """
    left = sorted(set(numbers))
    keys: set[str] = set()
    for start in range(0, len(left), _CHUNK):
        chunk = left[start : start + _CHUNK]
        # Skip rows that another transaction is about to refer to. One that refers to the others has either
        # done so by now, which the next statement sees, or waits, and finds the row gone.
        free = select(blobs.c.id).where(blobs.c.id.in_(chunk)).with_for_update(skip_locked=True)
        gone = delete(blobs).where(blobs.c.id.in_(connection.scalars(free).all()), _UNREFERENCED)
        keys.update(connection.scalars(gone.returning(blobs.c.key)))
    return keys - doom(connection, keys)


def remove_unreferenced(database: Database) -> None:
    """Remove all rows that nothing refers to."""
    last = 0
    while True:
        wanted = select(blobs.c.id).where(blobs.c.id > last, _UNREFERENCED).order_by(blobs.c.id).limit(_CHUNK)
        with database.read() as connection:
            numbers = connection.scalars(wanted).all()
        if not numbers:
            return
        with database.write() as connection:
            drop_unreferenced(connection, numbers)
        last = numbers[-1]


def doom(connection: Connection, keys: Iterable[str]) -> set[str]:
    """Mark the keys that belong to an object store, so that their objects are deleted after a while.

    Until then, earlier states of the database and readers that have just looked them up can use them.

    Returns
    -------
    set of str
        The marked keys.
    """
    mine = {key for key in keys if is_object_key(key)}
    if mine:
        moment = int(database_time(connection))
        connection.execute(insert(doomed), [{"key": key, "moment": moment} for key in sorted(mine)])
    return mine


def due(database: Database, delay: float) -> Iterator[list[str]]:
    """Yield keys that were doomed at least `delay` seconds ago; forget each list before taking the next."""
    while True:
        with database.read() as connection:
            before = database.moment(connection) - delay
            wanted = select(doomed.c.key).where(doomed.c.moment <= before).order_by(doomed.c.moment)
            keys = list(connection.scalars(wanted.limit(_CHUNK)))
        if not keys:
            return
        yield keys


def forget_doomed(database: Database, keys: Sequence[str]) -> None:
    """Remove doomed keys whose objects were deleted."""
    with database.write() as connection:
        connection.execute(delete(doomed).where(doomed.c.key.in_(keys)))


def with_row(database: Database, keys: Sequence[str]) -> set[str]:
    """Return the keys that have a row."""
    with database.read() as connection:
        return set(connection.scalars(select(blobs.c.key).where(blobs.c.key.in_(keys))))


def referred(database: Database, keys: Sequence[str]) -> set[str]:
    """Return the keys that have a row, or had one until recently."""
    found = union_all(
        select(blobs.c.key).where(blobs.c.key.in_(keys)), select(doomed.c.key).where(doomed.c.key.in_(keys))
    )
    with database.read() as connection:
        return set(connection.scalars(found))


def blake3_of(database: Database, key: str) -> str | None:
    """Return the BLAKE3 of a content, in hex; None if it is not known."""
    with database.read() as connection:
        return connection.scalar(select(blobs.c.blake3).where(blobs.c.key == key))


def size_of(database: Database, *, in_objects: bool) -> int:
    """Return the total size of all contents in an object store, or of all others."""
    there = blobs.c.key.like(f"{OBJECTS}/%")
    with database.read() as connection:
        found = connection.scalar(select(func.sum(blobs.c.size)).where(there if in_objects else ~there))
    return int(found or 0)


def move(database: Database, row: BlobRow, blob: Blob) -> bool:
    """Change the key of a content to another one, under which all of it is stored.

    If another row has that key, which is a content that was stored twice, the two are merged.

    Returns
    -------
    bool
        Whether its row still existed, with its old key.
    """
    with database.write() as connection:
        hold_workers(connection, [blob.key])
        other = connection.execute(select(*_COLUMNS).where(blobs.c.key == blob.key)).one_or_none()
        if other is not None:
            return _merge(connection, BlobRow(*other), row, blob)
        same = (blobs.c.id == row.id) & (blobs.c.key == row.key)
        changed = connection.execute(update(blobs).where(same).values(key=blob.key))
        if changed.rowcount:
            doom(connection, [row.key])
        return bool(changed.rowcount)


def has_objects(database: Database) -> bool:
    """Return whether any content is in an object store, or waits to be deleted there."""
    in_store = select(blobs.c.id).where(blobs.c.key.like(f"{OBJECTS}/%")).limit(1)
    with database.read() as connection:
        found = connection.scalar(in_store) or connection.scalar(select(doomed.c.key).limit(1))
    return found is not None


def all_rows(database: Database) -> Iterator[BlobRow]:
    """Yield the rows of all contents, in batches, each as of the time when it is read."""
    last = 0
    while True:
        wanted = select(*_COLUMNS).where(blobs.c.id > last).order_by(blobs.c.id).limit(_CHUNK)
        with database.read() as connection:
            rows = [BlobRow(*row) for row in connection.execute(wanted)]
        if not rows:
            return
        yield from rows
        last = rows[-1].id


def row_of(database: Database, number: int) -> BlobRow | None:
    """Return the row of a content as it is now; None if it is gone."""
    with database.read() as connection:
        row = connection.execute(select(*_COLUMNS).where(blobs.c.id == number)).one_or_none()
    return None if row is None else BlobRow(*row)


def stored_again(database: Database, row: BlobRow) -> BlobRow | None:
    """Return another row of the same content, by its SHA-256; None if there is none."""
    same = select(*_COLUMNS).where(blobs.c.sha256 == row.sha256, blobs.c.id != row.id).limit(1)
    with database.read() as connection:
        other = connection.execute(same).one_or_none()
    return None if other is None else BlobRow(*other)


def without_sha256(database: Database, passed_over: Collection[int] = ()) -> BlobRow | None:
    """Return a content without SHA-256, or None."""
    wanted = select(*_COLUMNS).where(blobs.c.sha256.is_(None), blobs.c.blake3.is_not(None))
    wanted = wanted.where(blobs.c.id.not_in(sorted(passed_over))).order_by(blobs.c.id).limit(1)
    with database.read() as connection:
        row = connection.execute(wanted).one_or_none()
    return None if row is None else BlobRow(*row)


def set_sha256(database: Database, row: BlobRow, sha256: str) -> None:
    """Store the SHA-256 of a content; change nothing else."""
    same = (blobs.c.id == row.id) & (blobs.c.blake3 == row.blake3)
    with database.write() as connection:
        connection.execute(update(blobs).where(same).values(sha256=sha256))


def fill(database: Database, row: BlobRow, found: Digests) -> BlobRow | None:
    """Store the missing digests of a content that was read.

    Returns
    -------
    BlobRow or None
        Another row of the same content, if there is one: then nothing was stored; see `merge`.
    """
    same = select(*_COLUMNS).where(blobs.c.blake3 == found.blake3, blobs.c.id != row.id)
    present = and_(blobs.c.id == row.id, blobs.c.key == row.key)
    known = {"blake3": found.blake3, "sha256": found.sha256}
    try:
        with database.write() as connection:
            other = connection.execute(same).one_or_none()
            if other is None:
                _fill(connection, update(blobs).where(present).values(known))
    except _StoredAgainError:
        with database.read() as connection:
            other = connection.execute(same).one_or_none()
        if other is None:  # deleted in between
            return fill(database, row, found)
    return None if other is None else BlobRow(*other)


class _StoredAgainError(Exception):
    """The same content has just been stored again."""


def _fill(connection: Connection, change: Update) -> None:
    try:
        connection.execute(change)
    except IntegrityError as error:
        raise _StoredAgainError from error


def merge(database: Database, kept: BlobRow, given_up: BlobRow, found: Digests) -> bool:
    """Redirect all references from one of two rows of the same content to the other one.

    Parameters
    ----------
    database : Database
        The database.
    kept : BlobRow
        The row that stays; the caller keeps its content, which is intact, from being collected.
    given_up : BlobRow
        The row that is deleted.
    found : Digests
        The digests of the content.

    Returns
    -------
    bool
        Whether the rows were still as given; otherwise nothing is changed.
    """
    with database.write() as connection:
        return _merge(connection, kept, given_up, found)


def _merge(connection: Connection, kept: BlobRow, given_up: BlobRow, found: Digests) -> bool:
    wanted = select(*_COLUMNS).where(blobs.c.id.in_([kept.id, given_up.id])).order_by(blobs.c.id)
    if {BlobRow(*row) for row in connection.execute(wanted.with_for_update())} != {kept, given_up}:
        return False
    for column in BLOB_REFERENCES:
        table = column.table
        connection.execute(update(table).where(column == given_up.id).values({column.name: kept.id}))
    connection.execute(delete(blobs).where(blobs.c.id == given_up.id))
    doom(connection, [given_up.key])
    known = {"blake3": found.blake3, "sha256": found.sha256}
    connection.execute(update(blobs).where(blobs.c.id == kept.id).values(known))
    return True
