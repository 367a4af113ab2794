"""Many small contents that are made durable together.

The disk takes about as long for one content as for many that wait for it at the same time: all are written,
and on their way, before the first of them is waited for; they are waited for by several threads, whose
commands to empty the disk's cache become one; and each folder is waited for once.
"""

from __future__ import annotations

import hashlib
import os
import threading
from concurrent.futures import ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from typing import TYPE_CHECKING, BinaryIO, TypeVar

from rinofs.protocol.digests import EtagHasher
from rinofs.server.blobs.leases import sync_folder
from rinofs.server.blobs.store import Blob
from rinofs.server.errors import storage_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping
    from pathlib import Path

    from rinofs.server.blobs.disk import DiskBlobStore
    from rinofs.server.blobs.store import Data

__all__ = ["MOST", "Batches", "blob_of"]

T = TypeVar("T")

MOST = 64
"""Contents of one batch. Each takes a file descriptor, of which a process often has no more than 1024."""

_AT_ONCE = 4  # batches, for the same reason

_WAITING = 8  # threads that wait for the disk


def blob_of(content: Data) -> Blob:
    """Return what a content is known by."""
    etag = EtagHasher()
    etag.update(content)
    return Blob(hashlib.sha256(content).hexdigest(), etag.etag(), etag.size)


class Batches:
    """Keeps many contents at once.

    Parameters
    ----------
    blobs : DiskBlobStore
        Where they are kept.
    """

    def __init__(self, blobs: DiskBlobStore) -> None:
        self._blobs = blobs
        self._turns = threading.BoundedSemaphore(_AT_ONCE)
        self._threads = ThreadPoolExecutor(_WAITING, thread_name_prefix="rinofs-sync")

    def close(self) -> None:
        """Let go of the threads."""
        self._threads.shutdown()

    @contextmanager
    def keeping(self, contents: Mapping[Blob, Data]) -> Iterator[None]:
        """Store contents durably, and keep them from being collected until the context is left.

        Parameters
        ----------
        contents : mapping
            At most `MOST` contents, by what they are known by.

        Raises
        ------
        InsufficientStorage, Unavailable
            If they cannot be stored. What was begun of them goes with the next collection at the latest.
        """
        with self._turns, ExitStack() as leases:
            with storage_failures():
                self._store(contents, leases)
            yield

    def _store(self, contents: Mapping[Blob, Data], leases: ExitStack) -> None:
        targets = {blob: self._blobs.path(blob.sha256) for blob in contents}
        folders = {target.parent for target in targets.values()}
        self._blobs.make_folders(folders)
        with ExitStack() as temporaries:
            written = []
            for blob, target in targets.items():
                present = self._blobs.existing(target, blob.size)
                if present is not None:
                    leases.enter_context(present)
                    continue
                temporary, file = self._blobs.temporary_file()
                temporaries.callback(_remove, temporary)
                _write(leases.enter_context(file), contents[blob])
                written.append((temporary, file, target, blob.size))
            self._each(os.fsync, [file.fileno() for _, file, _, _ in written])
            for temporary, file, target, size in written:
                leases.enter_context(self._blobs.link(temporary, file, target, size))
            # Also where another upload made the name: its own sync may not have happened yet.
            self._each(sync_folder, folders)

    def _each(self, sync: Callable[[T], None], things: Iterable[T]) -> None:
        waiting = [self._threads.submit(sync, thing) for thing in things]
        wait(waiting)  # also after a failure: what is being synced must not be closed
        for done in waiting:
            done.result()


def _write(file: BinaryIO, content: Data) -> None:
    view = memoryview(content)
    while view:
        view = view[file.write(view) :]
    if hasattr(os, "posix_fadvise"):  # not on every system
        # So that it is on its way to the disk while the others are being written.
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink(missing_ok=True)
