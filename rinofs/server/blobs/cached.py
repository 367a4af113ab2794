"""A cache on the local disk for another store, so that repeated reads do not cross the network.

The content under a key never changes, so a copy is never stale. A copy is verified by its digest before its
first use. Copies are not synced, and the folder is emptied at startup.
"""

from __future__ import annotations

import os
import shutil
import threading
import time
from collections import Counter, OrderedDict
from concurrent.futures import ThreadPoolExecutor
from contextlib import contextmanager, suppress
from dataclasses import dataclass
from io import BytesIO
from typing import TYPE_CHECKING, BinaryIO
from uuid import uuid4

from blake3 import blake3

from rinofs.server.blobs.store import BlobReader, BlobUpload, FileRange
from rinofs.server.errors import ApiError, Unavailable, refuse_full

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta
    from pathlib import Path

    from rinofs.server.blobs.mixed import ObjectBlobStore
    from rinofs.server.blobs.store import Blob, Collected, Data, Digests, SignedUrl, Verified

__all__ = ["READS", "CachedBlobStore"]

READS: Counter[str] = Counter()
"""Number of reads since the process started: from a copy (``hit``) or from the store (``miss``)."""

MIB = 1024 * 1024
SMALL = MIB
"""Maximum size in bytes of contents that are copied by the first read, or when they are stored."""
LARGEST = 8
"""A content larger than the size of the cache divided by this number is not copied."""

_IN_USE = 10.0  # seconds for which a file stays after its path was returned
_COUNTED = 10_000  # contents for which the bytes read are counted


@dataclass(slots=True)
class _Copy:
    path: Path
    size: int
    used: float

    def is_complete(self) -> bool:
        """Return whether the file is still there, with its size: someone may have emptied the folder."""
        try:
            return self.path.stat().st_size == self.size
        except OSError:
            return False


class _Copies:
    """The copies in a folder, the least recently used first."""

    def __init__(self, folder: Path, limit: int) -> None:
        self._folder = folder
        self._limit = limit
        self._lock = threading.Lock()
        self._copies: OrderedDict[str, _Copy] = OrderedDict()
        self._size = 0
        shutil.rmtree(folder, ignore_errors=True)
        folder.mkdir(mode=0o700, parents=True)

    def takes(self, size: int) -> bool:
        """Return whether a content is small enough for a copy, and the disk has room for it."""
        if size > self._limit // LARGEST:
            return False
        try:
            refuse_full(self._folder, size)
        except ApiError:
            return False
        return True

    def path(self, key: str) -> Path | None:
        """Return the path of a copy, which stays for at least a few seconds; None if there is none."""
        with self._lock:
            copy = self._copies.get(key)
            if copy is None:
                return None
            if not copy.is_complete():
                self._forget(key)
                return None
            self._copies.move_to_end(key)
            copy.used = time.monotonic()
            READS["hit"] += 1
            return copy.path

    def new_file(self) -> Path:
        """Return a path for a new copy."""
        return self._folder / uuid4().hex

    def add(self, key: str, path: Path, size: int) -> None:
        """Keep a complete copy; remove it if that would evict copies in use."""
        with self._lock:
            fits = key not in self._copies and self._make_room(size)
            if fits:
                self._copies[key] = _Copy(path, size, time.monotonic())
                self._size += size
        if not fits:
            path.unlink(missing_ok=True)

    def _make_room(self, size: int) -> bool:
        while self._size + size > self._limit:
            key, oldest = next(iter(self._copies.items()), (None, None))
            if key is None or oldest is None or time.monotonic() - oldest.used < _IN_USE:
                return False
            self._forget(key)
        return True

    def remove(self, key: str) -> None:
        """Remove the copy of a content."""
        with self._lock:
            if key in self._copies:
                self._forget(key)

    def _forget(self, key: str) -> None:
        copy = self._copies.pop(key)
        self._size -= copy.size
        with suppress(OSError):
            copy.path.unlink(missing_ok=True)


class _Filling(BlobReader):
    """Copies a content while it is read from start to end."""

    def __init__(self, source: BlobReader, path: Path, size: int, done: Callable[[str], None]) -> None:
        self._source = source
        self._path = path
        self._left = size
        self._done = done
        self._hasher = blake3()
        self._file: BinaryIO | None = path.open("xb")

    def read(self, size: int = -1, /) -> bytes:
        data = self._source.read(size)
        self._left -= len(data)
        if self._file is not None:
            try:
                self._file.write(data)
            except OSError:  # such as a full disk: reading continues
                self._give_up()
            else:
                self._hasher.update(data)
        return data

    def close(self) -> None:
        self._source.close()
        if self._file is None:
            return
        if self._left:
            self._give_up()
            return
        try:
            self._file.close()
        except OSError:
            self._give_up()
        else:
            self._file = None
            self._done(self._hasher.hexdigest())

    def _give_up(self) -> None:
        if self._file is not None:
            with suppress(OSError):
                self._file.close()
            self._file = None
        self._path.unlink(missing_ok=True)


def _opened(path: Path, size: int, start: int, stop: int) -> BlobReader:
    """Open a range of a copy."""
    file = path.open("rb", buffering=0)
    if os.fstat(file.fileno()).st_size != size:
        file.close()
        raise Unavailable("the copy of a content on the server's disk has another size than the content")
    return FileRange(file, start, stop)


class _CopiedUpload(BlobUpload):
    """An upload that is copied to the cache if it is small."""

    def __init__(self, upload: BlobUpload, keep: Callable[[str, bytes], None]) -> None:
        self._upload = upload
        self._keep = keep
        self._content: bytearray | None = bytearray()

    def write(self, data: Data) -> None:
        if self._content is not None:
            self._content += data
            if len(self._content) > SMALL:
                self._content = None
        self._upload.write(data)

    def blake3(self) -> str:
        return self._upload.blake3()

    def sha256(self) -> str:
        return self._upload.sha256()

    def finish(self) -> Blob:
        blob = self._upload.finish()
        if self._content is not None:
            self._keep(blob.key, bytes(self._content))
            self._content = None
        return blob

    def release(self) -> None:
        self._upload.release()

    def discard(self) -> None:
        self._content = None
        self._upload.discard()


class CachedBlobStore:
    """Contents of another store, with copies of those recently read or stored.

    Parameters
    ----------
    store : ObjectBlobStore
        The other store, which is closed with this one.
    folder : Path
        Folder for the copies, emptied at startup. No other process may use it.
    limit : int
        Maximum total size of the copies in bytes.
    blake3_of : callable
        Takes a key and returns the BLAKE3 of its content; None if it is not known.
    """

    def __init__(
        self, store: ObjectBlobStore, folder: Path, limit: int, blake3_of: Callable[[str], str | None]
    ) -> None:
        self._store = store
        self._copies = _Copies(folder, limit)
        self._blake3_of = blake3_of
        self._threads = ThreadPoolExecutor(2, thread_name_prefix="rinofs-cache")
        self._lock = threading.Lock()
        self._read: OrderedDict[str, int] = OrderedDict()

    def new_upload(self, *, sha1: bool = False, sha256: bool = False) -> BlobUpload:
        """Start an upload; see `BlobStore`."""
        return _CopiedUpload(self._store.new_upload(sha1=sha1, sha256=sha256), self._copy)

    @contextmanager
    def write_many(self, contents: Mapping[Digests, Data]) -> Iterator[dict[Digests, Blob]]:
        """Store contents, and hold leases on them until the context ends; see `BlobStore`."""
        with self._store.write_many(contents) as stored:
            for digests, blob in stored.items():
                if blob.size <= SMALL:
                    self._copy(blob.key, contents[digests])
            yield stored

    def open_range(self, key: str, size: int, start: int = 0, stop: int | None = None) -> BlobReader:
        """Open a range of a content for reading; see `BlobStore`."""
        stop = size if stop is None else stop
        path = self._copies.path(key)
        if path is not None:
            with suppress(OSError):
                return _opened(path, size, start, stop)
        with self._lock:
            READS["miss"] += 1
        if size <= SMALL and self._copies.takes(size):
            return BytesIO(self._fetch(key, size)[start:stop])
        reader = self._store.open_range(key, size, start, stop)
        if not self._copies.takes(size):
            return reader
        if (start, stop) == (0, size):
            return self._filling(reader, key, size)
        if self._was_read(key, stop - start) >= size:
            with suppress(RuntimeError):  # the system allows no more threads: the next read tries again
                self._threads.submit(self._fill, key, size)
        return reader

    def local_path(self, key: str) -> Path | None:
        """Return the path of a content's copy; None if there is none."""
        return self._copies.path(key)

    def signed_url(self, key: str, size: int, lifetime: timedelta) -> SignedUrl | None:
        """Return a URL for reading a content directly from the store; see `ObjectBlobStore`."""
        return self._store.signed_url(key, size, lifetime)

    def size(self, key: str) -> int | None:
        """Return the size of a content in bytes; None if the other store does not have it."""
        return self._store.size(key)

    def stored(self) -> Iterator[tuple[str, int]]:
        """List the contents of the other store."""
        return self._store.stored()

    @contextmanager
    def keep(self, key: str, size: int) -> Iterator[bool]:
        """Hold a lease on a content until the context ends; yield whether it is stored completely."""
        with self._store.keep(key, size) as there:
            yield there

    def collect(self, referred: Callable[[Sequence[str]], set[str]], *, own: bool = False) -> Collected:
        """Remove contents without references or leases; see `BlobStore`."""
        return self._store.collect(referred, own=own)

    def remove(self, keys: Iterable[str], referred: Callable[[Sequence[str]], set[str]]) -> None:
        """Remove those of the given contents that have no references or leases."""
        removed = list(keys)
        self._store.remove(removed, referred)
        for key in removed:
            self._copies.remove(key)

    def verify(self, key: str) -> Verified:
        """Read a content completely from the other store, and compute all its digests."""
        return self._store.verify(key)

    def close(self) -> None:
        """Stop the threads, and close the other store."""
        self._threads.shutdown(cancel_futures=True)
        self._store.close()

    def _fetch(self, key: str, size: int) -> bytes:
        """Read a small content, and keep a copy if its digest is right."""
        with self._store.open_range(key, size) as reader:
            content = b"".join(iter(lambda: reader.read(SMALL), b""))
        if len(content) != size:
            raise Unavailable(f"the content {key} is damaged in the store of the server")
        if self._is_right(key, blake3(content).hexdigest()):
            self._copy(key, content)
        return content

    def _copy(self, key: str, content: Data) -> None:
        if not self._copies.takes(len(content)):
            return
        path = self._copies.new_file()
        try:
            path.write_bytes(content)
        except OSError:  # such as a full disk
            path.unlink(missing_ok=True)
        else:
            self._copies.add(key, path, len(content))

    def _filling(self, reader: BlobReader, key: str, size: int) -> BlobReader:
        path = self._copies.new_file()

        def done(digest: str) -> None:
            if self._is_right(key, digest):
                self._copies.add(key, path, size)
            else:
                path.unlink(missing_ok=True)

        try:
            return _Filling(reader, path, size, done)
        except OSError:
            return reader

    def _fill(self, key: str, size: int) -> None:
        """Copy a content of which parts have been read repeatedly."""
        if self._copies.path(key) is not None:
            return
        with suppress(ApiError), self._filling(self._store.open_range(key, size), key, size) as reader:
            while reader.read(MIB):
                pass

    def _was_read(self, key: str, size: int) -> int:
        """Add to the number of bytes read from a content, and return the total."""
        with self._lock:
            total = self._read.pop(key, 0) + size
            self._read[key] = total
            if len(self._read) > _COUNTED:
                self._read.popitem(last=False)
            return total

    def _is_right(self, key: str, digest: str) -> bool:
        return self._blake3_of(key) == digest
