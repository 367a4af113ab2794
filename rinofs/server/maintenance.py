"""Maintenance: garbage collection, consistency checks, and digests that are computed after an upload.

All of it may run while a server is running.
"""

from __future__ import annotations

import hashlib
import logging
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

import blake3

from rinofs.server.catalog import blob_rows, integrity
from rinofs.server.catalog.sharing.expired import remove_expired
from rinofs.server.catalog.sharing.locks import take_turn
from rinofs.server.errors import ApiError

if TYPE_CHECKING:
    import threading

    from rinofs.server.blobs.store import Digests, Verified
    from rinofs.server.catalog.blob_rows import BlobRow
    from rinofs.server.catalog.database import Database
    from rinofs.server.services import Services

__all__ = ["FsckReport", "GcReport", "check_catalog", "fsck", "gc", "gc_in_turn", "take_sha256s"]

LOOK_EVERY = 600.0
"""Seconds between two searches for contents without SHA-256, which another process may have left."""
_PAUSE = 5.0  # seconds after a failure
_PIECE = 1024 * 1024

_log = logging.getLogger("rinofs.server")


@dataclass(frozen=True, slots=True)
class GcReport:
    """Result of a garbage collection.

    Attributes
    ----------
    blobs_removed : int
        Number of unreferenced contents that were removed.
    bytes_removed : int
        Their size.
    temporary_removed : int
        Number of temporary files of ended processes that were removed.
    """

    blobs_removed: int
    bytes_removed: int
    temporary_removed: int


@dataclass(frozen=True, slots=True)
class FsckReport:
    """Result of a consistency check.

    Attributes
    ----------
    objects_checked : int
        Objects in the database.
    datapacks_checked : int
        Datapacks in the database.
    blobs_checked : int
        Contents that were read and hashed.
    bytes_checked : int
        Their size.
    problems : tuple of str
        The problems found, each with the objects concerned.
    blobs_filled : int
        Contents whose missing digests were stored.
    blobs_merged : int
        Contents that were stored twice, and were merged.
    """

    objects_checked: int
    datapacks_checked: int
    blobs_checked: int
    bytes_checked: int
    problems: tuple[str, ...]
    blobs_filled: int = 0
    blobs_merged: int = 0


def gc(services: Services) -> GcReport:
    """Remove unreferenced contents, and what killed processes left behind.

    The content of an upload in progress stays, whichever process receives it.

    Parameters
    ----------
    services : Services
        The services of the server.
    """
    remove_expired(services.database)
    services.datapacks.forget_unlinked()
    blob_rows.remove_unreferenced(services.database)
    deleted = 0
    for keys in blob_rows.due(services.database, services.settings.gc_delay):
        services.blobs.remove(keys, partial(blob_rows.with_row, services.database))
        blob_rows.forget_doomed(services.database, keys)
        deleted += len(keys)
    removed = services.blobs.collect(partial(blob_rows.referred, services.database))
    return GcReport(removed.blobs + deleted, removed.bytes, removed.temporary)


def gc_in_turn(services: Services, every: float) -> GcReport:
    """Collect garbage as `gc` does, unless another process on the same database has done so recently.

    In that case, only what this process itself left behind is removed: others do not know about it.

    Parameters
    ----------
    services : Services
        The services of the server.
    every : float
        Seconds between two collections.
    """
    database = services.database
    if services.workers is not None:
        with database.write() as connection:
            mine = take_turn(connection, "collected", database.moment(connection), every)
        if not mine:
            removed = services.blobs.collect(partial(blob_rows.referred, database), own=True)
            return GcReport(removed.blobs, removed.bytes, removed.temporary)
    return gc(services)


def check_catalog(database: Database) -> list[str]:
    """Check the database only, and return the problems."""
    return [*integrity.check_rows(database)[1], *integrity.check_datapacks(database)[1]]


def fsck(services: Services) -> FsckReport:
    """Check the database, and read every content that it refers to.

    Missing digests are stored, and contents that are stored twice are merged; nothing else is changed.

    Parameters
    ----------
    services : Services
        The services of the server.
    """
    objects, problems = integrity.check_rows(services.database)
    datapacks, found = integrity.check_datapacks(services.database)
    problems += found
    blobs = size = filled = merged = 0
    damaged: list[tuple[BlobRow, Verified]] = []
    for row, read in map(partial(_verified, services), blob_rows.all_rows(services.database)):
        blobs += 1
        size += read.found.size
        if read.problem_of(blake3=row.blake3, sha256=row.sha256) is not None:
            damaged.append((row, read))
            continue
        problems += integrity.check_content(services.database, row, read)
        if None in {row.blake3, row.sha256}:
            other = blob_rows.fill(services.database, row, read.found)
            filled += other is None
            merged += other is not None and _merge(services, row, other, read.found)
    for row, read in damaged:  # now that all digests are known
        if _merge_into_whole(services, row):
            merged += 1
        else:
            problems += integrity.check_content(services.database, row, read)
    return FsckReport(objects, datapacks, blobs, size, tuple(problems), filled, merged)


def _verified(services: Services, row: BlobRow) -> tuple[BlobRow, Verified]:
    """Read a content, under the key that its row has by then: it may be moved meanwhile."""
    while True:
        read = services.blobs.verify(row.key)
        if read.problem_of(blake3=row.blake3, sha256=row.sha256) is None:
            return row, read
        present = blob_rows.row_of(services.database, row.id)
        if present is None or present.key == row.key:
            return row, read
        row = present


def _merge(services: Services, row: BlobRow, other: BlobRow, found: Digests) -> bool:
    """Merge two rows of the same content, one of which is intact, into one whose content is intact."""
    whole = services.blobs.verify(other.key).problem_of(blake3=other.blake3, sha256=other.sha256) is None
    kept, given_up = (other, row) if whole else (row, other)
    return _merge_into(services, kept, given_up, found)


def _merge_into_whole(services: Services, row: BlobRow) -> bool:
    """Merge the row of a damaged content into another row of the same content, if that is intact."""
    other = None if row.sha256 is None else blob_rows.stored_again(services.database, row)
    if other is None:
        return False
    read = services.blobs.verify(other.key)
    if read.problem_of(blake3=other.blake3, sha256=row.sha256) is not None:
        return False
    return _merge_into(services, other, row, read.found)


def _merge_into(services: Services, kept: BlobRow, given_up: BlobRow, found: Digests) -> bool:
    with services.blobs.keep(kept.key, kept.size) as there:
        if not there or not blob_rows.merge(services.database, kept, given_up, found):
            return False
    services.remove([given_up.key])
    return True


def take_sha256s(services: Services, stopping: threading.Event) -> None:
    """Compute the SHA-256 of contents that were stored without one, until `stopping` is set.

    Rows without SHA-256 are the work to do, so a server that was killed continues at its next start.

    Parameters
    ----------
    services : Services
        The services of the server.
    stopping : Event
        Stops the function, even in the middle of a content; set `Services.without_sha256` too, to wake it.
    """
    unreadable: set[int] = set()
    while True:
        services.without_sha256.clear()
        if stopping.is_set():  # if it was set just before `clear`, nobody sets the other again
            return
        try:
            row = blob_rows.without_sha256(services.database, unreadable)
            if row is None:
                services.without_sha256.wait(LOOK_EVERY)
            elif not _take_sha256(services, row, stopping):
                unreadable.add(row.id)
        except Exception:  # noqa: BLE001 (the next try may succeed, and serving goes on meanwhile)
            _log.exception("taking the SHA-256 of contents failed")
            stopping.wait(_PAUSE)


def _take_sha256(services: Services, row: BlobRow, stopping: threading.Event) -> bool:
    """Compute the SHA-256 of a content; return False if it cannot be read, or is damaged."""
    sha256, check = hashlib.sha256(), blake3.blake3()
    try:
        with services.blobs.open_range(row.key, row.size) as reader:
            while data := reader.read(_PIECE):
                sha256.update(data)
                check.update(data)
                if stopping.is_set():
                    return True
    except ApiError as error:
        _log.warning("the SHA-256 of %s was not taken: %s", row.key, error.message)
        return False
    if check.hexdigest() != row.blake3:
        _log.error("the content %s is damaged; `rinofs admin fsck` tells what it belongs to", row.key)
        return False
    blob_rows.set_sha256(services.database, row, sha256.hexdigest())
    return True
