"""Folders of contents by their digests: verified copies for backups, and what keeps others away meanwhile."""

from __future__ import annotations

import fcntl
import os
import re
import time
from contextlib import contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO

from rinofs.server.blobs.disk import lock_at_once, opened_folder, sync_folder
from rinofs.server.blobs.store import BlobReader, verify

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rinofs.server.blobs.store import Verified

__all__ = ["ContentFolder", "FolderInUseError", "keeping_all", "only_user"]

_PATIENCE = 10.0  # seconds for which those that remove a content at the moment are waited for
_FOLDER, _CONTENT = re.compile("[0-9a-f]{2}"), re.compile("[0-9a-f]{64}")


class FolderInUseError(Exception):
    """Another process works with a folder."""


@contextmanager
def keeping_all(folder: Path) -> Iterator[None]:
    """Have nothing removed from a folder of contents, by whatever process, until the context is left.

    Raises
    ------
    FolderInUseError
        If another process does so already.
    """
    deadline = time.monotonic() + _PATIENCE
    with opened_folder(folder) as descriptor:
        while not lock_at_once(descriptor, fcntl.LOCK_EX):
            if time.monotonic() > deadline:
                raise FolderInUseError(f"{folder}: another backup of it is being made")
            time.sleep(0.005)
        yield


@contextmanager
def only_user(folder: Path) -> Iterator[None]:
    """Keep other processes that ask in the same way away from a folder.

    Raises
    ------
    FolderInUseError
        If another process has it.
    """
    with opened_folder(folder) as descriptor:
        if not lock_at_once(descriptor, fcntl.LOCK_EX):
            raise FolderInUseError(f"{folder}: another process is writing or reading this backup")
        yield


class ContentFolder:
    """A folder of contents, each below its digest and verified before it gets that name.

    Parameters
    ----------
    root : Path
        The folder; made where missing.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        root.mkdir(mode=0o700, parents=True, exist_ok=True)
        sync_folder(root.parent)
        self._changed: set[Path] = {root}

    def path(self, sha256: str) -> Path:
        """Return the file that holds, or would hold, a content."""
        return self._root / sha256[:2] / sha256

    def size(self, sha256: str) -> int | None:
        """Return the bytes of a content; None where it is not there."""
        with suppress(FileNotFoundError):
            return self.path(sha256).stat().st_size
        return None

    def names(self) -> Iterator[str]:
        """Yield the digests of what is there, in order; files that are not contents are passed over."""
        for folder in sorted(self._root.iterdir()):
            if _FOLDER.fullmatch(folder.name) and folder.is_dir():
                yield from sorted(file.name for file in folder.iterdir() if _CONTENT.fullmatch(file.name))

    def add(self, sha256: str, source: Path, *, link: bool, count: Callable[[int], object]) -> Verified:
        """Copy a content, reading it whole; it is there only if its digest is right.

        Parameters
        ----------
        sha256 : str
            Its digest, in hex.
        source : Path
            The file to copy.
        link : bool
            Whether a hard link will do, where one can be made.
        count : callable
            Called with the number of bytes of every piece.
        """
        target = self.path(sha256)
        target.parent.mkdir(mode=0o700, exist_ok=True)
        temporary = target.with_suffix(".partial")
        temporary.unlink(missing_ok=True)
        try:
            if link and _linked(source, temporary):
                verified = verify(sha256, lambda: _Copying(temporary.open("rb", buffering=0), None, count))
            else:
                with os.fdopen(os.open(temporary, os.O_WRONLY | os.O_CREAT | os.O_EXCL, 0o600), "wb") as file:
                    verified = verify(sha256, lambda: _Copying(source.open("rb", buffering=0), file, count))
                    file.flush()
                    os.fsync(file.fileno())
            if verified.problem is None:
                temporary.rename(target)
        finally:
            temporary.unlink(missing_ok=True)
        self._changed.add(target.parent)
        return verified

    def verify(self, sha256: str, count: Callable[[int], object]) -> Verified:
        """Read a content whole and compare it with its digest."""
        return verify(sha256, lambda: _Copying(self.path(sha256).open("rb", buffering=0), None, count))

    def remove(self, sha256: str) -> None:
        """Remove a content."""
        self.path(sha256).unlink(missing_ok=True)

    def sync(self) -> None:
        """Make the names of what was added durable."""
        for folder in sorted(self._changed, reverse=True):
            sync_folder(folder)
        self._changed = {self._root}


def _linked(source: Path, target: Path) -> bool:
    try:
        os.link(source, target)
    except OSError:  # another disk, or one without hard links; what else it is shows when it is copied
        return False
    return True


class _Copying(BlobReader):
    """A file that is copied as it is read."""

    def __init__(self, source: BinaryIO, target: BinaryIO | None, count: Callable[[int], object]) -> None:
        self._source = source
        self._target = target
        self._count = count

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        if self._target is not None:
            self._target.write(data)
        self._count(len(data))
        return data

    def close(self) -> None:
        self._source.close()
