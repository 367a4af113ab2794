"""The data folder: whose it is, and who else on the machine can access it."""

from __future__ import annotations

import os
import stat
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = [
    "DATABASE",
    "LOCK",
    "NO_DATA",
    "RESTORING",
    "DataDirError",
    "close_to_others",
    "prepare_folder",
    "private_files",
    "refuse_unfinished",
]

DATABASE = "rinofs.sqlite3"
"""The name of the database in the folder."""
LOCK = "serve.lock"
"""The name of the lock file that keeps a second server off the folder."""
RESTORING = "restore-unfinished"
"""The name of the file that marks a folder into which a backup is being restored."""
NO_DATA = frozenset({LOCK, "lost+found"})
"""Names of what may be in a folder that counts as empty."""

_BLOBS = "blobs"
_OWN_FILES = (DATABASE, f"{DATABASE}-wal", f"{DATABASE}-shm", f"{DATABASE}-journal", LOCK)
_CONTENTS = frozenset({_BLOBS, "workers", "cache"})


class DataDirError(Exception):
    """A folder cannot, or must not, be used by a server."""


def prepare_folder(data_dir: Path, *, has_database: bool = True) -> list[str]:
    """Create a folder if it is missing, and check that it is the server's own, and not world-writable.

    Parameters
    ----------
    data_dir : Path
        The folder.
    has_database : bool
        Whether the database is a file in it.

    Returns
    -------
    list of str
        Warnings for the administrator.

    Raises
    ------
    DataDirError
        If it holds other files or an unfinished restore, or is world-writable.
    """
    data_dir.mkdir(mode=0o700, parents=True, exist_ok=True)
    refuse_unfinished(data_dir)
    _check_own(data_dir, NO_DATA if has_database else NO_DATA | _CONTENTS)
    return _check_rights(data_dir)


def refuse_unfinished(data_dir: Path) -> None:
    """Raise `DataDirError` if a restore into a folder was not finished."""
    if (data_dir / RESTORING).exists():
        raise DataDirError(
            f"{data_dir}: the restore into this folder was not finished; "
            f"run `rinofs admin restore BACKUP {data_dir}` again, which continues it"
        )


def _check_own(data_dir: Path, own: frozenset[str]) -> None:
    names = {path.name for path in data_dir.iterdir()}
    if DATABASE not in names and names - own:
        raise DataDirError(
            f"{data_dir}: this folder has other files in it, and no {DATABASE}; "
            "name a new or empty folder for the server to keep its data in"
        )


def _check_rights(data_dir: Path) -> list[str]:
    mode = data_dir.stat().st_mode
    if mode & stat.S_IWOTH:
        raise DataDirError(
            f"{data_dir}: every user of this machine can write to this folder; run `chmod o-w` on it"
        )
    if mode & stat.S_IWGRP:
        return [f"{data_dir}: the group of this folder can write to it; `chmod g-w` prevents that"]
    return []


def close_to_others(data_dir: Path, *, make_database: bool = True) -> None:
    """Make the database and everything that is stored readable by the owner only.

    Parameters
    ----------
    data_dir : Path
        The folder.
    make_database : bool
        Whether to create an empty one if it is missing, so that it is private from the start.

    Raises
    ------
    DataDirError
        If one of them is a symbolic link, or a restore into the folder was not finished.
    """
    refuse_unfinished(data_dir)
    for name in _OWN_FILES:
        _close_file(data_dir / name, make=make_database and name == DATABASE)
    blobs = data_dir / _BLOBS
    if blobs.is_symlink():
        raise _link(blobs)
    blobs.mkdir(mode=0o700, exist_ok=True)
    if blobs.stat().st_mode & 0o077:
        # What is below may be open as well; the folder itself comes last, so that a restart continues here.
        for path in _all_below(blobs):
            path.chmod(0o700 if path.is_dir() else 0o600)
        blobs.chmod(0o700)


@contextmanager
def private_files() -> Iterator[None]:
    """Make this process create files that only the owner can read, whatever the shell's umask is."""
    before = os.umask(0o077)
    try:
        yield
    finally:
        os.umask(before)


def _close_file(path: Path, *, make: bool) -> None:
    # Not opened if it exists: closing it would release the locks that this process holds on it, see
    # https://www.sqlite.org/howtocorrupt.html (section 2.2).
    try:
        mode = path.lstat().st_mode
    except FileNotFoundError:
        if make:
            flags = os.O_RDONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW
            with suppress(FileExistsError):
                os.close(os.open(path, flags, 0o600))
        return
    if stat.S_ISLNK(mode):
        raise _link(path)
    if stat.S_IMODE(mode) & 0o177:
        path.chmod(0o600)


def _all_below(folder: Path) -> Iterator[Path]:
    for entry in os.scandir(folder):
        path = Path(entry.path)
        if entry.is_dir(follow_symlinks=False):
            yield from _all_below(path)
        if not entry.is_symlink():
            yield path


def _link(path: Path) -> DataDirError:
    return DataDirError(f"{path}: a symbolic link, which the server does not follow; move its target here")
