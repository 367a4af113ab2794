"""Contents on the local disk.

A content is written to a temporary file while its digests are taken, and then linked to the name that its
BLAKE3 gives it, below ``b3/``. What an earlier version stored by SHA-256 stays below ``contents/``, where it
is. What makes removing safe while other threads and processes store contents:

- A writer holds a shared lock on the file that it stores, from its first byte until `DiskBlobUpload.release`.
  The kernel lets go of it when the process dies.
- A name is only ever made where there is none, by a link, and only taken away by one who holds the exclusive
  lock on the very file behind the name. So nothing is removed that an upload is about to refer to, and
  whoever gets the exclusive lock on a temporary file knows that its writer is gone.

Many small contents are made durable together. The disk takes about as long for one content as for many that
wait for it at the same time: all are written, and on their way, before the first of them is waited for; they
are waited for by several threads, whose commands to empty the disk's cache become one; and each folder is
waited for once.

The locks are in this module, and not beside it: every upload takes them, and they mean nothing without the
names above.
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
from itertools import chain
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
"""The folder of contents by their BLAKE3, and the first part of their keys."""
BY_SHA256 = "contents"
"""The folder of contents by their SHA-256, which is their whole key."""

SHA1 = "sha1"

# Below this many bytes, handing a digest to another thread costs more than taking it.
_PARALLEL_FROM = 64 * 1024
_BATCHES = 4  # that are written at once: each content takes a file descriptor, and a process often has 1024
_SYNC_THREADS = 8


class UnsuitableDiskError(Unavailable):
    """A folder is on a disk where contents cannot be kept safely."""


class DiskBlobUpload(BlobUpload):
    """A content on its way to a folder; made by `DiskBlobStore.new_upload`."""

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
        """Add the next bytes of the content, unless they would use up the reserve of the disk.

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
        # md5 is by far the slowest, so the rest has time to run in one other thread.
        beside = [self._store.beside(hasher.update, data) for hasher in self._hashers.values()]
        beside.append(self._store.beside(self._append, data))
        try:
            self._etag.update(data)
        finally:
            wait(beside)  # the buffer is the caller's again on return, also after a failure
        for work in beside:
            work.result()

    def _append(self, data: Data) -> None:
        with storage_failures():
            _write_through(self._file, data)

    def blake3(self) -> str:
        """Return the BLAKE3 of what was written so far, in hex."""
        return self._hashers[BLAKE3].hexdigest()

    def sha256(self) -> str:
        """Return the SHA-256 of what was written so far, in hex; see `BlobUpload`."""
        if self._sha256 is None and SHA256 in self._hashers:
            return self._hashers[SHA256].hexdigest()
        if self._sha256 is None:
            with storage_failures(), self._temporary.open("rb", buffering=0) as file:
                self._sha256 = hashlib.file_digest(file, "sha256").hexdigest()
        return self._sha256

    def finish(self) -> Blob:
        """Store the content durably, and keep it from being collected until `release`.

        Returns
        -------
        Blob
            What the content is known by from now on.
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
        """Allow the content to be collected if nothing refers to it."""
        if self._lease is not None:
            self._lease.close()
            self._lease = None

    def discard(self) -> None:
        """Give up; nothing stays behind."""
        with suppress(OSError):
            self._temporary.unlink(missing_ok=True)
        self.release()


class DiskBlobStore:
    """Contents in a folder of the local disk.

    Parameters
    ----------
    root : Path
        The folder; made where missing.

    Raises
    ------
    UnsuitableDiskError
        If the disk lacks what the store relies on.
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
        """Begin a new content.

        Parameters
        ----------
        sha1, sha256 : bool
            Which digests will be asked for beside the BLAKE3 and the etag; each takes time to find out.

        Raises
        ------
        InsufficientStorage, Unavailable
            If no file can be made.
        """
        with storage_failures():
            return DiskBlobUpload(self, sha1=sha1, sha256=sha256)

    def refuse_full(self, size: int) -> None:
        """Refuse to store a number of bytes that would use up the reserve of the disk."""
        refuse_full(self._temporary, size)

    def local_path(self, key: str) -> Path:
        """Return the file that holds, or would hold, a content."""
        # Asked for with every download; joining takes three times as long.
        return Path(f"{self._root}/{path_below(key)}")

    def size(self, key: str) -> int | None:
        """Return the bytes of a content; None where it is not stored."""
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
            What it is known by.
        size : int
            Bytes of the whole content.
        start, stop : int
            What of it is wanted; all by default.

        Raises
        ------
        Unavailable
            If it is not there, or not whole; ``rinofs admin fsck`` tells more.
        """
        with storage_failures():
            file = self.local_path(key).open("rb", buffering=0)
        if os.fstat(file.fileno()).st_size != size:
            file.close()
            raise Unavailable(f"the content {key} is damaged on the server's disk")
        return FileRange(file, start, size if stop is None else stop)

    def verify(self, key: str) -> Verified:
        """Read a content whole, and take all its digests."""
        return verify(lambda: self.local_path(key).open("rb", buffering=0))

    def close(self) -> None:
        """Let go of the threads that take digests and wait for the disk."""
        self._threads.shutdown()
        self._sync_threads.shutdown()

    def beside(self, work: Callable[[Data], object], data: Data) -> Future[object]:
        """Begin some work on a piece of content in another thread."""
        return self._threads.submit(work, data)

    def temporary_file(self) -> tuple[Path, BinaryIO]:
        """Make a file that is known to be in use."""
        while True:
            path = self._temporary / secrets.token_hex(16)
            file = path.open("xb", buffering=0)
            fcntl.flock(file, fcntl.LOCK_SH)
            # Between its making and the lock, a collection may have taken it for a dead one.
            if is_behind(file, path):
                return path, file
            file.close()

    def settle(self, temporary: Path, file: BinaryIO, blob: Blob) -> BinaryIO:
        """Give a whole temporary file its name, or let go of it where the content is there already.

        Returns
        -------
        BinaryIO
            The file behind the name, locked against collection.
        """
        target = self.local_path(blob.key)
        self.make_folders([target.parent])
        os.fsync(file.fileno())
        with ExitStack() as spare:
            lease = self.link(temporary, file, target, blob.size, spare)
            # Also where another upload made the name: its own sync may not have happened yet.
            sync_folder(target.parent)
        temporary.unlink(missing_ok=True)
        return lease

    def make_folders(self, paths: Iterable[Path]) -> None:
        """Make those folders that contents go into which are missing, and have the names of all last."""
        # One that is there may be another upload's: its sync may not have happened yet, or never will.
        fresh = [path for path in paths if path not in self._durable]
        for path in fresh:
            path.mkdir(exist_ok=True)
        if fresh:
            sync_folder(self._root / BY_BLAKE3)
            self._durable.update(fresh)

    def link(self, temporary: Path, file: BinaryIO, target: Path, size: int, spare: ExitStack) -> BinaryIO:
        """Give a durable temporary file its name, unless there is one of it; return what `settle` does.

        What is there already takes the same work, so that no time tells what others have stored: the file
        gets a spare name then, which `spare` takes away once the folder is durable.
        """
        while True:
            lease = self.existing(target, size)
            if lease is not None:
                name = target.with_name(temporary.name)
                os.link(temporary, name)
                spare.callback(_remove, name)
                return lease
            with suppress(FileExistsError):
                os.link(temporary, target)
                return file

    def existing(self, target: Path, size: int) -> BinaryIO | None:
        """Lock the file that has a content already; None where there is none, or a damaged one."""
        lease = _leased(target, size)
        if lease is None:
            with exclusive(target, wait=True) as mine:
                if mine and target.stat().st_size != size:
                    target.unlink()
        return lease

    @contextmanager
    def keep(self, key: str, size: int) -> Iterator[bool]:
        """Keep a content from being collected until the context is left; tell whether it is stored whole."""
        with storage_failures():
            lease = _leased(self.local_path(key), size)
        try:
            yield lease is not None
        finally:
            if lease is not None:
                lease.close()

    @contextmanager
    def write_many(self, contents: Mapping[Digests, Data]) -> Iterator[dict[Digests, Blob]]:
        """Store contents durably, and keep them from being collected until the context is left.

        Parameters
        ----------
        contents : mapping
            At most `rinofs.protocol.limits.MAX_BUNDLE_UPLOAD` contents, by their digests.

        Yields
        ------
        dict
            What each is known by from now on.

        Raises
        ------
        InsufficientStorage, Unavailable
            If they cannot be stored. What was begun of them goes with the next collection at the latest.
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
                _write_through(leases.enter_context(file), contents[blob])
                written.append((temporary, file, target, blob.size))
            self._each(os.fsync, [file.fileno() for _, file, _, _ in written])
            for temporary, file, target, size in written:
                lease = leases.enter_context(self.link(temporary, file, target, size, temporaries))
                if lease is not file:
                    file.close()
            # Also where another upload made the name: its own sync may not have happened yet.
            self._each(sync_folder, folders)

    def _each(self, sync: Callable[[T], None], things: Iterable[T]) -> None:
        waiting = [self._sync_threads.submit(sync, thing) for thing in things]
        wait(waiting)  # also after a failure: what is being synced must not be closed
        for done in waiting:
            done.result()

    def stored(self) -> Iterator[tuple[str, int]]:
        """List the contents: keys and bytes on the disk."""
        for key in keys_below(self._root):
            with suppress(FileNotFoundError):
                yield key, self.local_path(key).stat().st_size

    def collect(self, referred: Callable[[Sequence[str]], set[str]], *, own: bool = False) -> Collected:
        """Remove what nothing refers to and no upload keeps, and what killed processes left behind."""
        if own:  # what this process left behind is as that of others
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
        """Remove those of some contents that nothing refers to and no upload keeps."""
        for key in keys:
            with storage_failures():
                self.remove_unless(key, lambda one: bool(referred([one])))

    def remove_unless(self, key: str, wanted: Callable[[str], bool]) -> bool:
        """Remove a content that nobody is about to refer to; nothing while a backup is being made.

        Parameters
        ----------
        key : str
            What it is known by.
        wanted : callable
            Asked while no upload can hold the content: is it referred to?

        Returns
        -------
        bool
            Whether it was removed.
        """
        path = self.local_path(key)
        with may_remove(self._root) as allowed, exclusive(path, wait=False) as mine:
            if not allowed or not mine or wanted(key):
                return False
            path.unlink()
            return True

    def remove_abandoned(self) -> int:
        """Remove the temporary files of processes that are gone; return how many there were."""
        removed = 0
        spare = (path for folder in folders_below(self._root / BY_BLAKE3) for path in folder.iterdir())
        for path in chain(self._temporary.iterdir(), spare):
            if not _TEMPORARY.fullmatch(path.name):
                continue  # not this store's
            with exclusive(path, wait=False) as mine:
                if mine:
                    path.unlink()
                    removed += 1
        return removed


def key_of(blake3: str) -> str:
    """Return the key of a new content."""
    return f"{BY_BLAKE3}/{blake3}"


def path_below(key: str) -> str:
    """Return where a content is, below a folder of contents."""
    digest = key.removeprefix(f"{BY_BLAKE3}/")
    return f"{BY_SHA256 if digest == key else BY_BLAKE3}/{digest[:2]}/{digest}"


def folders_below(path: Path) -> list[Path]:
    """Return the folders that contents are in; others are not the store's."""
    return [one for one in sorted(path.iterdir()) if _FOLDER.fullmatch(one.name) and one.is_dir()]


def keys_below(root: Path) -> Iterator[str]:
    """Yield the keys of what is in a folder of contents; files that are not contents are passed over."""
    for kind, prefix in ((BY_BLAKE3, f"{BY_BLAKE3}/"), (BY_SHA256, "")):
        for folder in folders_below(root / kind):
            for file in sorted(folder.iterdir()):
                if _CONTENT.fullmatch(file.name) and file.name.startswith(folder.name):
                    yield prefix + file.name


def probe(folder: Path) -> None:
    """Try all that the safety of contents relies on.

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
            return  # that is for requests to find out
        message = f"{folder}: this disk does not support {needed}, without which contents could be lost"
        raise UnsuitableDiskError(f"{message}; keep the data on a local disk") from error
    finally:
        for name in (path, linked):
            _remove(name)


def _write_through(file: BinaryIO, data: Data) -> None:
    """Append data, and have the disk begin with it, so that little is left when the file is made durable."""
    start = file.tell()
    view = memoryview(data)
    while view:
        view = view[file.write(view) :]
    if hasattr(os, "posix_fadvise"):  # not on every system
        # Linux begins to write what is dirty, and forgets only what is not: none of this.
        os.posix_fadvise(file.fileno(), start, len(data), os.POSIX_FADV_DONTNEED)


def _remove(temporary: Path) -> None:
    with suppress(OSError):
        temporary.unlink(missing_ok=True)


def _leased(path: Path, size: int) -> BinaryIO | None:
    """Open a file and lock it against collection; None where it is missing or has another size."""
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
def exclusive(path: Path, *, wait: bool) -> Iterator[bool]:
    """Hold the exclusive lock on the file behind a name; tell whether it was to be had."""
    try:
        file = path.open("rb")
    except FileNotFoundError:
        yield False
        return
    with file:
        try:
            fcntl.flock(file, fcntl.LOCK_EX if wait else fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            yield False
            return
        yield is_behind(file, path)


def is_behind(file: BinaryIO, path: Path) -> bool:
    """Tell whether a name still stands for an open file."""
    try:
        return os.path.samestat(os.fstat(file.fileno()), path.stat())
    except FileNotFoundError:
        return False


@contextmanager
def may_remove(root: Path) -> Iterator[bool]:
    """Tell whether contents may be removed from a folder at the moment: not while a backup of it is made."""
    with opened_folder(root / BY_SHA256) as descriptor:
        yield lock_at_once(descriptor, fcntl.LOCK_SH)


def sync_folder(path: Path) -> None:
    """Make the names in a folder durable."""
    with opened_folder(path) as descriptor:
        os.fsync(descriptor)


@contextmanager
def opened_folder(path: Path) -> Iterator[int]:
    """Open a folder, to lock it or make it durable."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        yield descriptor
    finally:
        os.close(descriptor)


def lock_at_once(descriptor: int, kind: int) -> bool:
    """Lock an open file or folder, and tell whether that was possible without waiting."""
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True
