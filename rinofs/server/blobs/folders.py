"""Folders of contents by key: verified copies for backups, and the locks held meanwhile."""

from __future__ import annotations

import fcntl
import os
import time
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from itertools import chain
from typing import TYPE_CHECKING

from rinofs.server.blobs.disk import (
    BY_BLAKE3,
    BY_SHA256,
    folders_below,
    keys_below,
    lock_at_once,
    opened_folder,
    path_below,
    sync_folder,
    write_through,
)
from rinofs.server.blobs.store import verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rinofs.server.blobs.store import Verified

__all__ = [
    "ContentFolder",
    "CopyError",
    "Expected",
    "FolderInUseError",
    "keeping_all",
    "only_user",
    "writing",
]

_PATIENCE = 10.0  # seconds to wait for processes that are removing a content


class FolderInUseError(Exception):
    """Another process is using a folder."""


class CopyError(Exception):
    """A copy cannot be written; the message names the path, and says what to do."""

    def __init__(self, path: Path, reason: str) -> None:
        super().__init__(
            f"{path}: cannot be written: {reason}; when that is solved, run the command again: it continues"
        )


@contextmanager
def writing(path: Path) -> Iterator[None]:
    """Convert the errors of the disk to which a path is written.

    Raises
    ------
    CopyError
        If the disk is full, or fails.
    """
    try:
        yield
    except OSError as error:
        raise CopyError(path, error.strerror or str(error)) from error


@contextmanager
def keeping_all(root: Path) -> Iterator[None]:
    """Keep all processes from removing anything from a folder of contents until the context ends.

    Raises
    ------
    FolderInUseError
        If another process already does so.
    """
    deadline = time.monotonic() + _PATIENCE
    with opened_folder(root / BY_SHA256) as descriptor:  # exists in folders of every version
        while not lock_at_once(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise FolderInUseError(f"{root}: another backup of it is being made")
            time.sleep(0.005)
        yield


@contextmanager
def only_user(folder: Path) -> Iterator[None]:
    """Lock a folder against other processes that use this function.

    Raises
    ------
    FolderInUseError
        If another process has locked it.
    """
    with opened_folder(folder) as descriptor:
        if not lock_at_once(descriptor, fcntl.LOCK_EX):
            raise FolderInUseError(f"{folder}: another process is writing or reading this backup")
        yield


@dataclass(frozen=True, slots=True)
class Expected:
    """A content as a database knows it.

    Attributes
    ----------
    key : str
        Its key.
    size : int
        Its size in bytes.
    blake3, sha256 : str or None
        Its digests, at least one of which is known.
    """

    key: str
    size: int
    blake3: str | None
    sha256: str | None


class ContentFolder:
    """A folder of contents with the layout of a server's. Each content is verified before it gets its name.

    Parameters
    ----------
    root : Path
        The folder; created if missing.

    Raises
    ------
    CopyError
        If it cannot be created.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        with writing(root):
            root.mkdir(mode=0o700, parents=True, exist_ok=True)
            for name in (BY_BLAKE3, BY_SHA256):
                (root / name).mkdir(mode=0o700, exist_ok=True)
            sync_folder(root.parent)

    def path(self, key: str) -> Path:
        """Return the file that holds, or would hold, a content."""
        return self._root / path_below(key)

    def size(self, key: str) -> int | None:
        """Return the size of a content in bytes; None if it is missing."""
        path = self.path(key)
        with writing(path), suppress(FileNotFoundError):
            return path.stat().st_size
        return None

    def keys(self) -> Iterator[str]:
        """Yield the keys of all contents; other files are skipped."""
        return keys_below(self._root)

    def add(
        self, content: Expected, source: Path, *, link: bool, count: Callable[[int], object]
    ) -> str | None:
        """Copy a content, reading all of it; keep the copy only if its digest is right.

        Parameters
        ----------
        content : Expected
            The expected content.
        source : Path
            The file to copy.
        link : bool
            Whether to use a hard link instead of a copy where possible.
        count : callable
            Called with the number of bytes of every piece.

        Returns
        -------
        str or None
            What is wrong with the content, as the end of a sentence about it.

        Raises
        ------
        CopyError
            If the copy cannot be written.
        """
        target = self.path(content.key)
        temporary = target.with_suffix(".partial")
        with writing(target):
            target.parent.mkdir(mode=0o700, exist_ok=True)
            temporary.unlink(missing_ok=True)
        try:
            linked = link and _linked(source, temporary)
            verified = _read(temporary, count) if linked else _copied(source, temporary, count)
            problem = verified.problem_of(blake3=content.blake3, sha256=content.sha256)
            if problem is None:
                with writing(target):
                    temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)
        return problem

    def problem_of(self, content: Expected, count: Callable[[int], object]) -> str | None:
        """Read a content completely, and return what is wrong with it, as `add` does."""
        read = _read(self.path(content.key), count)
        return read.problem_of(blake3=content.blake3, sha256=content.sha256)

    def is_file(self, key: str, other: Path) -> bool:
        """Return whether a content is a hard link to another file."""
        with suppress(OSError):
            return self.path(key).samefile(other)
        return False

    def remove(self, key: str) -> None:
        """Remove a content."""
        self.path(key).unlink(missing_ok=True)

    def sync(self) -> None:
        """Make the names of all contents durable; their bytes were before they got their names."""
        # Those that were there before too: an interrupted run may have added them.
        kinds = [self._root / name for name in (BY_BLAKE3, BY_SHA256)]
        for folder in (*chain.from_iterable(map(folders_below, kinds)), *kinds, self._root):
            with writing(folder):
                sync_folder(folder)


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another disk, or no hard links; copying reports any other problem
        return False
    return True


def _read(path: Path, count: Callable[[int], object]) -> Verified:
    return verify(lambda: path.open("rb", buffering=0), lambda data: count(len(data)))


def _copied(source: Path, target: Path, count: Callable[[int], object]) -> Verified:
    """Copy a file to a new one, and make that durable."""

    def copy(data: bytes) -> None:
        with writing(target):
            write_through(file, data)
        count(len(data))

    with writing(target):
        file = os.fdopen(os.open(target, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb", buffering=0)
    with file:
        verified = verify(lambda: source.open("rb", buffering=0), copy)
        with writing(target):
            os.fsync(file.fileno())
    return verified
