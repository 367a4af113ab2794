"""Backups of a data folder, made while it is served, and restoring them.

A backup is a folder with ``b3/`` and ``contents/``, as in ``blobs/`` of a data folder, a copy of the
database, and ``backup.json``, which names that copy and is replaced last: until then the earlier backup is
intact. Contents are stored by digest, so that the next backup copies only new ones, and an interrupted one
can be continued.
"""

from __future__ import annotations

import hashlib
import json
import os
import secrets
import shutil
from contextlib import suppress
from dataclasses import dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, Protocol

from rinofs.server.blobs.disk import path_below, sync_folder
from rinofs.server.blobs.folders import ContentFolder, keeping_all, only_user, writing
from rinofs.server.catalog.sharing.machines import refuse_claimed
from rinofs.server.catalog.sqlite.snapshots import (
    contents_of,
    number_in_objects,
    referred_in,
    take_snapshot,
    total_of,
)
from rinofs.server.folder import DATABASE, NO_DATA, RESTORING, refuse_unfinished
from rinofs.server.runner import exclusive

if TYPE_CHECKING:
    from pathlib import Path

__all__ = ["BackupError", "BackupReport", "Watcher", "back_up", "restore"]

MANIFEST = "backup.json"
FORMAT = 2
BEFORE = 1
"""The format without contents by BLAKE3, which this version reads and upgrades."""


class BackupError(Exception):
    """A backup cannot be made or restored there; the message says why."""


class Watcher(Protocol):
    """Receives the progress of a backup, and may raise to abort it."""

    def expect(self, total: int) -> None:
        """Expect this many bytes of contents."""

    def add(self, size: int) -> None:
        """Count bytes as done."""


@dataclass(frozen=True, slots=True)
class BackupReport:
    """What a backup or a restored folder holds.

    Attributes
    ----------
    contents : int
        Number of contents.
    bytes : int
        Their size.
    copied : int
        Number of contents that were not there before.
    bytes_copied : int
        Their size.
    problems : tuple of str
        What is missing or damaged; empty if nothing is.
    in_object_store : int
        Number of contents that are in an object store, and so not in the backup.
    """

    contents: int
    bytes: int
    copied: int
    bytes_copied: int
    problems: tuple[str, ...]
    in_object_store: int = 0


def back_up(
    data_dir: Path, destination: Path, watcher: Watcher, *, link: bool = True, verify: bool = False
) -> BackupReport:
    """Update a backup of a data folder, which may be served meanwhile.

    The backup has everything that was acknowledged before the call. Until it is done, nothing is removed from
    the data folder, and the previous backup stays intact.

    Parameters
    ----------
    data_dir : Path
        The folder of a server.
    destination : Path
        The folder of the backup; created if missing.
    watcher : Watcher
        Receives the progress.
    link : bool
        Whether contents on the same disk may be hard links instead of copies.
    verify : bool
        Whether contents that are already in the backup are read again.

    Raises
    ------
    BackupError, DataDirError, FolderInUseError, CopyError, UnusableDatabaseError
        If the backup cannot be made there.
    """
    data_dir, destination = data_dir.resolve(), destination.resolve()
    refuse_unfinished(data_dir)
    if not (data_dir / DATABASE).is_file():
        raise BackupError(f"{data_dir}: not a data folder of `rinofs serve`")
    refuse_claimed(data_dir / "blobs", data_dir / DATABASE)
    if data_dir == destination or data_dir in destination.parents or destination in data_dir.parents:
        raise BackupError(f"{destination}: the backup must be outside of {data_dir}, and not around it")
    _prepare(destination)
    with only_user(destination), keeping_all(data_dir / "blobs"):
        before = _manifest(destination)["database"]
        _remove_databases(destination, but=before)
        database = destination / f"database-{secrets.token_hex(8)}.sqlite3"
        problems = take_snapshot(data_dir / DATABASE, database, lambda _left: watcher.add(0))
        target = ContentFolder(destination)
        report = _copy(
            database, data_dir / "blobs", target, watcher, link=link, verify=verify, problems=problems
        )
        _publish(destination, database, report)
        _remove_databases(destination, but=database.name)
        for key, wanted in referred_in(database, target.keys()):
            if not wanted:
                target.remove(key)
    return report


def restore(backup: Path, data_dir: Path, watcher: Watcher) -> BackupReport:
    """Make a data folder from a backup, on which a server can be started.

    Every content is read and compared with its digest. Another call continues an interrupted one.

    Parameters
    ----------
    backup : Path
        The folder of the backup.
    data_dir : Path
        The new folder, which must be missing or empty.
    watcher : Watcher
        Receives the progress.

    Raises
    ------
    BackupError, CopyError, DataDirBusyError, FolderInUseError
        If the backup cannot be restored there.
    """
    if not (backup / MANIFEST).is_file():
        raise BackupError(f"{backup}: not a backup; `rinofs admin backup` makes them")
    _refuse_filled(data_dir)
    with only_user(backup):
        manifest = _manifest(backup)
        if manifest["database"] is None:
            raise BackupError(f"{backup}: this backup was never finished; make it again")
        database = backup / manifest["database"]
        if not database.is_file() or _digest(database) != manifest["database_sha256"]:
            raise BackupError(f"{database}: the database of this backup is missing or damaged")
        _make(data_dir)
        with exclusive(data_dir):
            return _restore(database, data_dir, watcher)


def _restore(database: Path, data_dir: Path, watcher: Watcher) -> BackupReport:
    _refuse_filled(data_dir)  # again: another process may have filled it before it was locked
    begun = data_dir / RESTORING
    with writing(begun):
        begun.touch(mode=0o600)
    target = ContentFolder(data_dir / "blobs")
    report = _copy(database, database.parent, target, watcher, link=False, verify=False, problems=[])
    _place_database(database, data_dir)
    with writing(begun):
        begun.unlink()
        sync_folder(data_dir)
    return report


def _refuse_filled(data_dir: Path) -> None:
    if not data_dir.exists() or (data_dir / RESTORING).exists():
        return
    if any(path.name not in NO_DATA for path in data_dir.iterdir()):
        raise BackupError(f"{data_dir}: the folder is not empty; restore into a new one")


def _copy(
    database: Path,
    source: Path,
    target: ContentFolder,
    watcher: Watcher,
    *,
    link: bool,
    verify: bool,
    problems: list[str],
) -> BackupReport:
    """Copy all contents that a database refers to from one folder to another, and make them durable."""
    total, size = total_of(database)
    watcher.expect(size)
    copied = bytes_copied = 0
    for content in contents_of(database):
        key, length, file = content.key, content.size, source / path_below(content.key)
        present = target.size(key) == length and (link or not target.is_file(key, file))
        if present and (not verify or not target.problem_of(content, watcher.add)):
            watcher.add(0 if verify else length)
            continue
        problem = target.add(content, file, link=link, count=watcher.add)
        if problem is None:
            copied, bytes_copied = copied + 1, bytes_copied + length
        else:
            problems.append(f"content {key} {problem}")
    target.sync()
    return BackupReport(
        total, size, copied, bytes_copied, tuple(problems), in_object_store=number_in_objects(database)
    )


def _prepare(destination: Path) -> None:
    """Create the folder of a backup, or reject one that holds something else."""
    if (destination / MANIFEST).exists():
        return
    if destination.exists() and any(destination.iterdir()):
        raise BackupError(f"{destination}: the folder is neither empty nor a backup")
    _make(destination)
    _write_manifest(destination, {"format": FORMAT, "database": None})


def _make(folder: Path) -> None:
    """Create a folder and missing ones above it, and make their names durable."""
    if folder.exists():
        # By an interrupted run, without making that durable; or by others, on disks that may not support it.
        with suppress(OSError):
            sync_folder(folder.parent)
        return
    _make(folder.parent)
    with writing(folder):
        folder.mkdir(mode=0o700, exist_ok=True)
        sync_folder(folder.parent)


def _manifest(folder: Path) -> dict[str, Any]:
    try:
        known: dict[str, Any] = json.loads((folder / MANIFEST).read_text("utf-8"))
        number = known["format"]
    except (OSError, ValueError, KeyError, TypeError) as error:
        raise BackupError(f"{folder / MANIFEST}: cannot be read") from error
    if number not in {FORMAT, BEFORE}:
        raise BackupError(f"{folder}: this backup is of another version of rinofs (format {number})")
    return known


def _publish(destination: Path, database: Path, report: BackupReport) -> None:
    manifest = {
        "format": FORMAT,
        "database": database.name,
        "database_sha256": _digest(database),
        "made": datetime.now(UTC).isoformat(timespec="seconds"),
        "contents": report.contents,
        "bytes": report.bytes,
        "problems": report.problems,
    }
    _write_manifest(destination, manifest)


def _write_manifest(folder: Path, manifest: dict[str, Any]) -> None:
    temporary = folder / f"{MANIFEST}.partial"
    with writing(folder / MANIFEST):
        with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_TRUNC, 0o600), "w") as file:
            json.dump(manifest, file, indent=1)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(folder / MANIFEST)
        sync_folder(folder)


def _remove_databases(folder: Path, *, but: str | None) -> None:
    for path in folder.glob("database-*"):
        if but is None or not path.name.startswith(but):
            path.unlink(missing_ok=True)


def _digest(path: Path) -> str:
    with path.open("rb") as file:
        return hashlib.file_digest(file, "sha256").hexdigest()


def _place_database(source: Path, data_dir: Path) -> None:
    """Copy the database, as the last step: no server serves a folder without it."""
    temporary = data_dir / f"{DATABASE}.partial"
    with writing(data_dir / DATABASE):
        temporary.unlink(missing_ok=True)
        with (
            source.open("rb") as origin,
            os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file,
        ):
            shutil.copyfileobj(origin, file)
            file.flush()
            os.fsync(file.fileno())
        temporary.rename(data_dir / DATABASE)
        sync_folder(data_dir)
