"""The processes that store contents in the same object store, and which of them are gone.

Processes that share a folder each hold a lock on a file there, which the kernel releases when the process
dies. So no clock is needed to guess whether a process is alive. For processes that share a database,
`rinofs.server.catalog.sharing.leases` does the same.
"""

from __future__ import annotations

import fcntl
import re
import threading
from typing import TYPE_CHECKING, BinaryIO, Protocol
from uuid import uuid4

from rinofs.server.blobs.disk import exclusive, is_behind, sync_folder
from rinofs.server.errors import storage_failures

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["FolderRegistry", "WorkerRegistry"]

_NAME = re.compile("[0-9a-f]{32}")


class WorkerRegistry(Protocol):
    """The processes that store contents, including this one."""

    @property
    def own(self) -> str:
        """The name of this process, never used by another. It may change at any time."""

    def gone(self) -> Iterator[str]:
        """Yield the processes that no longer add contents, and may have left some; see `FolderRegistry`."""

    def left_behind(self, worker: str) -> None:
        """Record that this process has stored something under a name that it may no longer have."""

    def close(self) -> None:
        """Unregister this process."""


class FolderRegistry:
    """The processes that store contents, by files in a folder.

    Parameters
    ----------
    folder : Path
        Folder of the files; created if missing.
    """

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._lock = threading.Lock()
        self._file: BinaryIO | None = None
        self._own = ""
        folder.mkdir(mode=0o700, parents=True, exist_ok=True)

    @property
    def own(self) -> str:
        """The name of this process, never used by another. It is assigned on first use."""
        with self._lock:
            while self._file is None:
                with storage_failures():
                    self._register(uuid4().hex)
            return self._own

    def _register(self, name: str) -> None:
        path = self._folder / name
        file = path.open("xb")
        try:
            fcntl.flock(file, fcntl.LOCK_SH | fcntl.LOCK_NB)
            # Before it was locked, a garbage collection may have removed it as that of a dead process.
            mine = is_behind(file, path)
        except BlockingIOError:
            mine = False
        if not mine:
            file.close()
            return
        sync_folder(self._folder)
        self._file, self._own = file, name

    def gone(self) -> Iterator[str]:
        """Yield the processes that are gone; each is forgotten when the next one is requested."""
        for path in sorted(self._folder.iterdir()):
            if not _NAME.fullmatch(path.name):
                continue
            # Hold the lock meanwhile: a process that is just starting must not take the name.
            with exclusive(path) as mine:
                if mine:
                    yield path.name
                    path.unlink()

    def left_behind(self, worker: str) -> None:
        """Do nothing: a live process never counts as gone."""

    def close(self) -> None:
        """Unregister this process."""
        with self._lock:
            if self._file is not None:
                self._file.close()
                self._file = None
