"""Move the data of a folder: contents to an object store or back, and the database to PostgreSQL."""

from __future__ import annotations

from contextlib import closing
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.server.blobs.mixed import MixedBlobStore
from rinofs.server.blobs.object_store import blobs_folder
from rinofs.server.blobs.store import is_object_key
from rinofs.server.catalog import blob_rows
from rinofs.server.catalog.database import Database
from rinofs.server.catalog.migrations import upgrade
from rinofs.server.catalog.postgres.database_copy import (
    UNCHECKED,
    CopyReport,
    DatabaseCopyError,
    copy_database,
    count_rows,
)
from rinofs.server.catalog.sharing.machines import Machine, claim_folder, is_claimed, refuse_foreign
from rinofs.server.catalog.users.audit import COMMAND_LINE, AuditEvent
from rinofs.server.errors import ApiError
from rinofs.server.folder import DATABASE, refuse_unfinished
from rinofs.server.maintenance import fsck
from rinofs.server.services import open_database, open_services
from rinofs.server.settings import ServerSettings

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.server.backups import Watcher
    from rinofs.server.blobs.store import BlobStore
    from rinofs.server.catalog.blob_rows import BlobRow
    from rinofs.server.catalog.database import Connection
    from rinofs.server.maintenance import FsckReport
    from rinofs.server.services import Services

__all__ = ["MoveReport", "check_copy", "copy_folder", "move_contents"]

_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MoveReport:
    """The result of a move.

    Attributes
    ----------
    moved : int
        Number of contents that were moved.
    bytes_moved : int
        Their total size in bytes.
    left : int
        Number of contents that were not moved.
    problems : tuple of str
        Why they were not moved; empty if there were no problems.
    """

    moved: int
    bytes_moved: int
    left: int
    problems: tuple[str, ...]


def move_contents(services: Services, watcher: Watcher, *, to_objects: bool) -> MoveReport:
    """Move all contents to the object store or to the folder; another call continues an interrupted move.

    Each content is read, verified by its digests and stored durably before the database refers to the new
    place. The old copy is then removed like any content without references.

    Parameters
    ----------
    services : Services
        Services of the server, with an object store opened.
    watcher : Watcher
        Receives the progress in bytes.
    to_objects : bool
        Whether to move contents to the object store, or to the folder.
    """
    blobs = services.blobs
    assert isinstance(blobs, MixedBlobStore)
    target = blobs.objects if to_objects else blobs.folder
    watcher.expect(blob_rows.size_of(services.database, in_objects=not to_objects))
    moved = size = left = 0
    problems: list[str] = []
    for row in blob_rows.all_rows(services.database):
        if is_object_key(row.key) == to_objects:
            continue
        try:
            problem = _move(services, row, target, watcher)
        except ApiError as error:
            problem = f"was not moved: {error.message}"
        if problem is None:
            moved, size = moved + 1, size + row.size
        elif row.key in blob_rows.with_row(services.database, [row.key]):
            left += 1
            problems.append(f"content {row.key} {problem}")
    return MoveReport(moved, size, left, tuple(problems))


def _move(services: Services, row: BlobRow, target: BlobStore, watcher: Watcher) -> str | None:
    """Move a content; return why that failed, as the end of a sentence about it, or None."""
    with services.blobs.open_range(row.key, row.size) as reader, target.new_upload(sha256=True) as upload:
        while data := reader.read(_PIECE):
            upload.write(data)
            watcher.add(len(data))
        wanted = ((row.blake3, upload.blake3()), (row.sha256, upload.sha256()))
        if any(known not in {None, found} for known, found in wanted):
            return "is damaged; `rinofs admin fsck` tells what it belongs to"
        blob = upload.finish()
        if not blob_rows.move(services.database, row, blob):
            return "was changed meanwhile"
    return None


def copy_folder(data_dir: Path, url: str, watcher: Watcher) -> CopyReport:
    """Copy the database of a folder, without a running server, to PostgreSQL; another call continues.

    Parameters
    ----------
    data_dir : Path
        The folder.
    url : str
        The database, which has the schema of this release and nothing else.
    watcher : Watcher
        Receives the progress in rows.

    Raises
    ------
    DatabaseCopyError, DataDirError, UnusableDatabaseError
        If the copy is not possible.
    """
    refuse_unfinished(data_dir)
    if not (data_dir / DATABASE).is_file():
        raise DatabaseCopyError(f"{data_dir}: not a data folder of `rinofs serve`")
    settings, root, machine = (
        ServerSettings(data_dir, database_url=url),
        blobs_folder(data_dir),
        Machine.here(),
    )
    with closing(Database(data_dir / DATABASE)) as source, closing(open_database(settings)) as target:
        upgrade(source)
        known = target.properties()
        refuse_foreign(root, known)
        if UNCHECKED in known and is_claimed(root, known):
            return CopyReport(count_rows(source), 0)  # only the check is left

        def claim(connection: Connection) -> None:  # from now on, the folder's own database is out of date
            claim_folder(connection, root, machine, target.moment(connection), copied=True)

        return copy_database(source, target, watcher, claim)


def check_copy(data_dir: Path, url: str, report: CopyReport) -> FsckReport:
    """Check a copied database and all contents, and record the copy in its audit log."""
    with closing(open_services(ServerSettings(data_dir, database_url=url))) as services:
        checked = fsck(services)
        with services.database.write() as connection:
            told = {"action": "copy", "rows": report.rows}
            services.database.note(connection, AuditEvent.ADMIN, None, COMMAND_LINE, **told)
        services.database.set_property(UNCHECKED, None)
        return checked
