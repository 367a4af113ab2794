"""Contents on the local disk.

A content is written to a temporary file while its digests are computed, and then gets a name below ``b3/``,
which is its BLAKE3. It replaces a file that has the name already, which may be damaged. Contents that an
earlier version stored by SHA-256 stay below ``contents/``. Two rules make removal safe while other threads
and processes store contents:

- A writer holds a shared lock, its lease, on the file that it stores, from the first byte until
  `DiskBlobUpload.release`. The kernel releases the lock when the process dies.
- A name is only created by a link, where none exists, and only removed, or given to another file, under the
  exclusive lock on the file behind it. So nothing is removed that an upload is about to refer to, and whoever
  gets the exclusive lock on a temporary file knows that its writer is gone.

Many small contents are made durable together, since the disk takes about as long for one as for many at the
same time. All files are written, and their writeback has started, before the first fsync; several threads
run fsync, so that their flushes of the disk's cache are merged; and each folder is synced once.

The locks are in this module because every upload takes them, and they mean nothing without the names above.
"""

from __future__ import annotations

import errno
import fcntl
import hashlib
import os
import re
import secrets
import threading
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO, TypeVar

import blake3

from rinofs.protocol.digests import BLAKE3, SHA256, EtagHasher
from rinofs.server.blobs.store import (
    Blob,
    BlobReader,
    BlobUpload,
    Collected,
    FileRange,
    Verified,
    chunks,
    verify,
)
from rinofs.server.errors import Unavailable, refuse_full, storage_failures

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rinofs.protocol.digests import Hasher
    from rinofs.server.blobs.store import Data, Digests

__all__ = ["DiskBlobStore", "DiskBlobUpload", "UnsuitableDiskError", "path_below"]

T = TypeVar("T")

_FOLDER, _CONTENT, _TEMPORARY = (re.compile(f"[0-9a-f]{{{length}}}") for length in (2, 64, 32))

BY_BLAKE3 = "b3"
"""Folder of the contents named by BLAKE3, and the first part of their keys."""
BY_SHA256 = "contents"
"""Folder of the contents named by SHA-256, which is their whole key."""

SHA1 = "sha1"

# For fewer bytes, handing a hash to another thread costs more than computing it.
_PARALLEL_FROM = 64 * 1024
_PIECE = 1024 * 1024
_BATCHES = 4  # written concurrently: each content takes a file descriptor, and a process often has 1024
_SYNC_THREADS = 8


class UnsuitableDiskError(Unavailable):
    """A folder is on a disk where contents cannot be kept safely."""


class DiskBlobUpload(BlobUpload):
    """An upload to a folder; created by `DiskBlobStore.new_upload`."""

    def __init__(self, store: DiskBlobStore, *, sha1: bool = False, sha256: bool = False) -> None:
        self._store = store
        self._etag = EtagHasher()
        self._hashers: dict[str, Hasher] = {BLAKE3: blake3.blake3()}
        if sha1:
            self._hashers[SHA1] = hashlib.sha1(usedforsecurity=False)
        if sha256:
            self._hashers[SHA256] = hashlib.sha256()
        self._sha256: str | None = None
        self._temporary, self._file = store.temporary_file()
        self._lease: BinaryIO | None = self._file

    def write(self, data: Data) -> None:
        """Append bytes to the content, unless they would use up the disk's reserve.

        Raises
        ------
        InsufficientStorage, Unavailable
            If they cannot be written.
        """
        self._store.refuse_full(len(data))
        if len(data) < _PARALLEL_FROM:
            self._etag.update(data)
            for hasher in self._hashers.values():
                hasher.update(data)
            self._append(data)
            return
        # MD5 is by far the slowest, so everything else runs in other threads meanwhile.
        beside = [self._store.beside(hasher.update, data) for hasher in self._hashers.values()]
        beside.append(self._store.beside(self._append, data))
        try:
            self._etag.update(data)
        finally:
            wait(beside)  # the caller may reuse the buffer on return, also after a failure
        for work in beside:
            work.result()

    def _append(self, data: Data) -> None:
        with storage_failures():
            write_through(self._file, data)

    def blake3(self) -> str:
        """Return the BLAKE3 of the bytes written so far, in hex."""
        return self._hashers[BLAKE3].hexdigest()

    def sha256(self) -> str:
        """Return the SHA-256 of the bytes written so far, in hex; see `BlobUpload`."""
        if self._sha256 is None and SHA256 in self._hashers:
            return self._hashers[SHA256].hexdigest()
        if self._sha256 is None:
            with storage_failures(), self._temporary.open("rb", buffering=0) as file:
                self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return self._sha256

    def finish(self) -> Blob:
        """Store the content durably, and hold a lease on it until `release`.

        Returns
        -------
        Blob
            The key and the digests of the content.
        """
        digests = {name: hasher.hexdigest() for name, hasher in self._hashers.items()}
        blob = Blob(
            key=key_of(digests[BLAKE3]),
            blake3=digests[BLAKE3],
            size=self._etag.size,
            etag=self._etag.etag(),
            sha256=digests.get(SHA256, self._sha256),
            taken_sha1=digests.get(SHA1),
        )
        with storage_failures():
            lease = self._store.settle(self._temporary, self._file, blob)
        if lease is not self._file:
            self._file.close()
        self._lease = lease
        return blob

    def release(self) -> None:
        """Release the lease, so that the content can be garbage collected if nothing refers to it."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    def discard(self) -> None:
        """Abort the upload, and remove its temporary file."""
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        self.release()


class DiskBlobStore:
    """Contents in a folder of the local disk.

    Parameters
    ----------
    root : Path
        The folder; created if missing.

    Raises
    ------
    UnsuitableDiskError
        If the disk lacks a feature that the store relies on.
    """

    def __init__(self, root: Path) -> None:
        self._root = root
        self._temporary = root / "temporary"
        for name in (BY_BLAKE3, BY_SHA256):
            (root / name).mkdir(parents=True, exist_ok=True)
        self._temporary.mkdir(exist_ok=True)
        probe(self._temporary)
        sync_folder(root)
        self._durable: set[Path] = set()
        self._threads = ThreadPoolExecutor(thread_name_prefix="rinofs-digest")
        self._turns = threading.BoundedSemaphore(_BATCHES)
        self._sync_threads = ThreadPoolExecutor(_SYNC_THREADS, thread_name_prefix="rinofs-sync")

    def new_upload(self, *, sha1: bool = False, sha256: bool = False) -> DiskBlobUpload:
        """Start an upload.

        Parameters
        ----------
        sha1, sha256 : bool
            Which digests are needed besides the BLAKE3 and the etag; each takes time to compute.

        Raises
        ------
        InsufficientStorage, Unavailable
            If no file can be created.
        """
        with storage_failures():
            return DiskBlobUpload(self, sha1=sha1, sha256=sha256)

    def refuse_full(self, size: int) -> None:
        """Raise an error if storing `size` bytes would use up the disk's reserve."""
        refuse_full(self._temporary, size)

    def local_path(self, key: str) -> Path:
        """Return the file that holds, or would hold, a content."""
        # Called for every download; joining paths takes three times as long.
        return Path(f"{self._root}/{path_below(key)}")

    def size(self, key: str) -> int | None:
        """Return the size of a content in bytes; None if it is not stored."""
        with storage_failures():
            try:
                return self.local_path(key).stat().st_size
            except FileNotFoundError:
                return None

    def open_range(self, key: str, size: int, start: int = 0, stop: int | None = None) -> BlobReader:
        """Open a range of a content for reading.

        Parameters
        ----------
        key : str
            Key of the content.
        size : int
            Size of the whole content in bytes.
        start, stop : int
            Range of bytes, `stop` exclusive; the whole content by default.

        Raises
        ------
        Unavailable
            If the content is missing or incomplete; ``rinofs admin fsck`` tells more.
        """
        with storage_failures():
            file = self.local_path(key).open("rb", buffering=0)
        if os.fstat(file.fileno()).st_size != size:
            file.close()
            raise Unavailable(f"the content {key} is damaged on the server's disk")
        return FileRange(file, start, size if stop is None else stop)

    def verify(self, key: str) -> Verified:
        """Read a content completely, and compute all its digests."""
        return verify(lambda: self.local_path(key).open("rb", buffering=0))

    def close(self) -> None:
        """Stop the threads that compute digests and run fsync."""
        self._threads.shutdown()
        self._sync_threads.shutdown()

    def beside(self, work: Callable[[Data], object], data: Data) -> Future[object]:
        """Start work on a piece of content in another thread."""
        return self._threads.submit(work, data)

    def temporary_file(self) -> tuple[Path, BinaryIO]:
        """Create a temporary file, with a shared lock that marks it as in use."""
        while True:
            path = self._temporary / secrets.token_hex(16)
            file = path.open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_SH)
            # Before it was locked, a garbage collection may have removed it as abandoned.
            if is_behind(file, path):
                return path, file
            file.close()

    def settle(self, temporary: Path, file: BinaryIO, blob: Blob) -> BinaryIO:
        """Make a complete temporary file durable, and give it its name; see `link`.

        Returns
        -------
        BinaryIO
            The file behind the name, with a shared lock against garbage collection.
        """
        target = self.local_path(blob.key)
        self.make_folders([target.parent])
        os.fsync(file.fileno())
        lease = self.link(temporary, file, target, blob.blake3)
        # Also if another upload created the name: its own sync may not have happened yet.
        sync_folder(target.parent)
        temporary.unlink(missing_ok=True)
        return lease

    def make_folders(self, paths: Iterable[Path]) -> None:
        """Create the folders that are missing, and make the names of all of them durable."""
        # An existing one may be another upload's, whose sync has not happened yet, or never will.
        fresh = [path for path in paths if path not in self._durable]
        for path in fresh:
            path.mkdir(exist_ok=True)
        if fresh:
            sync_folder(self._root / BY_BLAKE3)
            self._durable.update(fresh)

    def link(self, temporary: Path, file: BinaryIO, target: Path, digest: str) -> BinaryIO:
        """Give a durable temporary file its name, in place of any file that has it; return as `settle` does.

        So an upload repairs a damaged content. The present file is not read: that would tell, by the time it
        takes, what others have stored. Only if another upload has a lease on it, it is compared with the
        digest, and keeps its name if it is whole.
        """
        while True:
            with suppress(FileExistsError):
                os.link(temporary, target)
                return file
            with ExitStack() as opened, suppress(FileNotFoundError):
                present = opened.enter_context(target.open("rb", buffering=0))
                if not lock_at_once(present.fileno(), fcntl.LOCK_EX):
                    fcntl.flock(present, fcntl.LOCK_SH)
                    if is_behind(present, target) and _is_whole(present, digest):
                        opened.pop_all()
                        return present
                    fcntl.flock(present, fcntl.LOCK_EX)  # waits for others that compare it
                if is_behind(present, target):
                    temporary.replace(target)
                    return file

    @contextmanager
    def keep(self, key: str, size: int) -> Iterator[bool]:
        """Hold a lease on a content until the context ends; yield whether it is stored completely."""
        with storage_failures():
            lease = _leased(self.local_path(key), size)
        try:
            yield lease is not None
        finally:
            if lease is not None:
                lease.close()

    @contextmanager
    def write_many(self, contents: Mapping[Digests, Data]) -> Iterator[dict[Digests, Blob]]:
        """Store contents durably, and hold leases on them until the context ends.

        Parameters
        ----------
        contents : mapping
            At most `rinofs.protocol.limits.MAX_BUNDLE_UPLOAD` contents, by their digests.

        Yields
        ------
        dict
            The key and the digests of each.

        Raises
        ------
        InsufficientStorage, Unavailable
            If they cannot be stored. The next garbage collection removes what remains of them.
        """
        self.refuse_full(sum(digests.size for digests in contents))
        blobs = {digests: digests.stored(key_of(digests.blake3)) for digests in contents}
        with self._turns, ExitStack() as leases:
            with storage_failures():
                self._write_all({blob: contents[digests] for digests, blob in blobs.items()}, leases)
            yield blobs

    def _write_all(self, contents: Mapping[Blob, Data], leases: ExitStack) -> None:
        targets = {blob: self.local_path(blob.key) for blob in contents}
        folders = {target.parent for target in targets.values()}
        self.make_folders(folders)
        with ExitStack() as temporaries:
            written = []
            for blob, target in targets.items():
                temporary, file = self.temporary_file()
                temporaries.callback(_remove, temporary)
                write_through(leases.enter_context(file), contents[blob])
                written.append((temporary, file, target, blob.blake3))
            self._each(os.fsync, [file.fileno() for _, file, _, _ in written])
            for temporary, file, target, digest in written:
                lease = leases.enter_context(self.link(temporary, file, target, digest))
                if lease is not file:
                    file.close()
            # Also if another upload created the name: its own sync may not have happened yet.
            self._each(sync_folder, folders)

    def _each(self, sync: Callable[[T], None], things: Iterable[T]) -> None:
        waiting = [self._sync_threads.submit(sync, thing) for thing in things]
        wait(waiting)  # also after a failure: files must not be closed while they are synced
        for done in waiting:
            done.result()

    def stored(self) -> Iterator[tuple[str, int]]:
        """List the contents: keys and sizes on the disk in bytes."""
        for key in keys_below(self._root):
            with suppress(FileNotFoundError):
                yield key, self.local_path(key).stat().st_size

    def collect(self, referred: Callable[[Sequence[str]], set[str]], *, own: bool = False) -> Collected:
        """Remove contents without references or leases, and temporary files of killed processes."""
        if own:  # what this process left behind cannot be told from that of others
            return Collected(0, 0, 0)
        temporary = self.remove_abandoned()
        removed = size = 0
        for chunk in chunks(self.stored()):
            wanted = referred([key for key, _ in chunk])
            for key, length in chunk:
                if key not in wanted and self.remove_unless(key, lambda one: bool(referred([one]))):
                    removed, size = removed + 1, size + length
        return Collected(removed, size, temporary)

    def remove(self, keys: Iterable[str], referred: Callable[[Sequence[str]], set[str]]) -> None:
        """Remove those of the given contents that have no references or leases."""
        for key in keys:
            with storage_failures():
                self.remove_unless(key, lambda one: bool(referred([one])))

    def remove_unless(self, key: str, wanted: Callable[[str], bool]) -> bool:
        """Remove a content without references or leases; do nothing while a backup is being made.

        Parameters
        ----------
        key : str
            Key of the content.
        wanted : callable
            Called while no upload can lease the content; returns whether anything refers to it.

        Returns
        -------
        bool
            Whether the content was removed.
        """
        path = self.local_path(key)
        with may_remove(self._root) as allowed, exclusive(path) as mine:
            if not allowed or not mine or wanted(key):
                return False
            path.unlink()
            return True

    def remove_abandoned(self) -> int:
        """Remove the temporary files of processes that are gone; return their number."""
        removed = 0
        for path in self._temporary.iterdir():
            if not _TEMPORARY.fullmatch(path.name):
                continue  # not this store's
            with exclusive(path) as mine:
                if mine:
                    path.unlink()
                    removed += 1
        return removed


def key_of(blake3: str) -> str:
    """Return the key of a new content."""
    return f"{BY_BLAKE3}/{blake3}"


def path_below(key: str) -> str:
    """Return the path of a content relative to a folder of contents."""
    digest = key.removeprefix(f"{BY_BLAKE3}/")
    return f"{BY_SHA256 if digest == key else BY_BLAKE3}/{digest[:2]}/{digest}"


def folders_below(path: Path) -> list[Path]:
    """Return the folders that hold contents; others do not belong to the store."""
    with suppress(FileNotFoundError):  # nothing was stored yet
        return [one for one in sorted(path.iterdir()) if _FOLDER.fullmatch(one.name) and one.is_dir()]
    return []


def keys_below(root: Path) -> Iterator[str]:
    """Yield the keys of the contents in a folder; other files are skipped."""
    for kind, prefix in ((BY_BLAKE3, f"{BY_BLAKE3}/"), (BY_SHA256, "")):
        for folder in folders_below(root / kind):
            for file in sorted(folder.iterdir()):
                if _CONTENT.fullmatch(file.name) and file.name.startswith(folder.name):
                    yield prefix + file.name


def probe(folder: Path) -> None:
    """Test everything that the safety of contents relies on.

    Raises
    ------
    UnsuitableDiskError
        If something does not work; the message says what.
    """
    path = folder / secrets.token_hex(16)
    linked = path.with_name(secrets.token_hex(16))
    needed = "locks (flock)"
    try:
        with path.open("xb") as file:
            fcntl.flock(file, fcntl.LOCK_SH)
            with path.open("rb") as other:
                needed = "locks that other processes see (flock)"
                try:
                    fcntl.flock(other, fcntl.LOCK_EX | fcntl.LOCK_NB)
                except BlockingIOError:
                    pass
                else:
                    raise OSError(errno.ENOTSUP, os.strerror(errno.ENOTSUP))
            needed = "hard links"
            os.link(path, linked)
            needed = "making the names in a folder durable (fsync)"
            sync_folder(folder)
    except OSError as error:
        if error.errno in {errno.ENOSPC, errno.EDQUOT}:
            return  # requests will find that out
        message = f"{folder}: this disk does not support {needed}, without which contents could be lost"
        raise UnsuitableDiskError(f"{message}; keep the data on a local disk") from error
    finally:
        for name in (path, linked):
            _remove(name)


def write_through(file: BinaryIO, data: Data) -> None:
    """Append data and start its writeback, so that little is left to write when the file is synced."""
    start = file.tell()
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
    if hasattr(os, "posix_fadvise"):  # not on every system
        # Linux starts to write dirty pages, and drops only clean ones from the cache: none of these.
        os.posix_fadvise(file.fileno(), start, len(data), os.POSIX_FADV_DONTNEED)


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _leased(path: Path, size: int) -> BinaryIO | None:
    """Open a file and lock it against garbage collection; None if it is missing or has another size."""
    try:
        file = path.open("rb", buffering=0)
    except FileNotFoundError:
        return None
    fcntl.flock(file, fcntl.LOCK_SH)
    if is_behind(file, path) and os.fstat(file.fileno()).st_size == size:
        return file
    file.close()
    return None


@contextmanager
def exclusive(path: Path) -> Iterator[bool]:
    """Hold the exclusive lock on the file behind a name; yield whether it was acquired, without waiting."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield False
        return
    with file:
        yield lock_at_once(file.fileno(), fcntl.LOCK_EX) and is_behind(file, path)


def _is_whole(file: BinaryIO, digest: str) -> bool:
    """Return whether an open file has a BLAKE3; False if it cannot be read."""
    check = blake3.blake3()
    with suppress(OSError):
        while data := file.read(_PIECE):
            check.update(data)
        return check.hexdigest() == digest
    return False


def is_behind(file: BinaryIO, path: Path) -> bool:
    """Return whether a path still refers to an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def may_remove(root: Path) -> Iterator[bool]:
    """Yield whether contents may be removed from a folder now: not while it is being backed up."""
    with opened_folder(root / BY_SHA256) as descriptor:
        yield lock_at_once(descriptor, fcntl.LOCK_SH)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    with opened_folder(path) as descriptor:
        os.fsync(descriptor)


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """Open a folder to lock or sync it."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def lock_at_once(descriptor: int, kind: int) -> bool:
    """Lock an open file or folder without waiting; return whether that succeeded."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
