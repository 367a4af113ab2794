"""Contents in an S3 store.

Each content gets a key of its own, ``c/<worker>/<uuid>``, which is written once and never reused. So deleting
an object can never hit a content that is being stored: an upload of the same bytes has another key. A worker
is a process that stores contents. Garbage collection covers the objects of workers that are gone, and the
keys that this worker has released; objects of other workers are left to them.
"""

from __future__ import annotations

import threading
from collections import Counter, deque
from concurrent.futures import Future, ThreadPoolExecutor, wait
from contextlib import contextmanager, suppress
from itertools import islice
from typing import TYPE_CHECKING, TypeVar
from uuid import uuid4

from rinofs.server.blobs.bucket import MAX_PARTS, PART_SIZE, Refusal
from rinofs.server.blobs.store import (
    OBJECTS,
    BlobReader,
    BlobUpload,
    Collected,
    ContentHasher,
    SignedUrl,
    verify,
)
from rinofs.server.errors import TooLarge, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from datetime import timedelta

    from rinofs.server.blobs.bucket import Bucket
    from rinofs.server.blobs.store import Blob, Data, Digests, Verified
    from rinofs.server.blobs.workers import WorkerRegistry

__all__ = ["S3BlobStore", "S3BlobUpload", "answered"]

T = TypeVar("T")

MIB = 1024 * 1024
ONE_REQUEST = 8 * MIB
"""Maximum size in bytes of contents written in one request; larger ones are sent in parts as they arrive."""

_FIRST_PIECE, _PIECE = MIB, 4 * MIB  # the first is small, since a client waits for it
_PIECES_AHEAD = 16  # of all readers together: each takes _PIECE of memory
_THREADS = 16
_QUEUED = 2  # pieces of an upload that wait for the store, 1 MiB each
_LET_GO = 100_000  # keys remembered until the next collection; others wait for the worker's end
_DELETED_AT_ONCE = 1000


class _GivenUpError(Exception):
    """An upload was aborted."""


class _Parts:
    """An upload of an object in parts, which a thread sends."""

    def __init__(self, bucket: Bucket, key: str) -> None:
        self._changed = threading.Condition()
        self._pieces: deque[bytes] = deque()
        self._whole = self._given_up = False
        self._result: Future[None] = Future()
        sender = threading.Thread(target=self._send, args=(bucket, key), name="rinofs-s3-parts", daemon=True)
        sender.start()

    def feed(self, piece: bytes) -> None:
        """Queue the next bytes, once there is room for them."""
        with self._changed:
            while len(self._pieces) >= _QUEUED and not self._result.done():
                self._changed.wait()
            if self._result.done():
                self._result.result()
            self._pieces.append(piece)
            self._changed.notify_all()

    def close(self) -> None:
        """Complete the object from the queued bytes, and wait until it is stored."""
        with self._changed:
            self._whole = True
            self._changed.notify_all()
        self._result.result()

    def give_up(self) -> None:
        """Abort the upload, and wait for the thread."""
        with self._changed:
            self._given_up = True
            self._changed.notify_all()
        with suppress(Exception):
            self._result.result()

    def _send(self, bucket: Bucket, key: str) -> None:
        try:
            bucket.put_parts(key, self._taken())
        except BaseException as error:  # noqa: BLE001 (raised by `feed` or `close`)
            self._result.set_exception(error)
        else:
            self._result.set_result(None)
        with self._changed:
            self._changed.notify_all()

    def _taken(self) -> Iterator[bytes]:
        while True:
            with self._changed:
                while not (self._pieces or self._whole or self._given_up):
                    self._changed.wait()
                if self._given_up:
                    raise _GivenUpError
                if not self._pieces:
                    return
                piece = self._pieces.popleft()
                self._changed.notify_all()
            yield piece


class S3BlobUpload(BlobUpload):
    """An upload to an S3 store; created by `S3BlobStore.new_upload`."""

    def __init__(self, store: S3BlobStore, *, sha1: bool) -> None:
        self._store = store
        self._key = store.new_key()
        # The SHA-256 too: reading the content from the store later would take far longer.
        self._hasher = ContentHasher(sha1=sha1, sha256=True)
        self._start = bytearray()
        self._parts: _Parts | None = None
        self._held = True
        self._written = False

    def write(self, data: Data) -> None:
        """Append bytes to the content.

        Raises
        ------
        InsufficientStorage, Unavailable
            If the store rejects them.
        TooLarge
            If the content becomes too large for an object of the store.
        """
        if self._hasher.etag.size + len(data) > MAX_PARTS * PART_SIZE:
            raise TooLarge(f"the store of the server takes contents of at most {MAX_PARTS * PART_SIZE} bytes")
        # Before computing the digests, so that the store works meanwhile.
        if self._parts is not None:
            self._feed(self._parts, bytes(data))
        else:
            self._start += data
            if len(self._start) > ONE_REQUEST:
                self._parts = _Parts(self._store.bucket, self._key)
                self._feed(self._parts, bytes(self._start))
                self._start = bytearray()
        self._hasher.update(data)

    @staticmethod
    def _feed(parts: _Parts, piece: bytes) -> None:
        with answered():
            parts.feed(piece)

    def blake3(self) -> str:
        """Return the BLAKE3 of the bytes written so far, in hex."""
        return self._hasher.blake3()

    def sha256(self) -> str:
        """Return the SHA-256 of the bytes written so far, in hex."""
        taken = self._hasher.sha256()
        assert taken is not None
        return taken

    def finish(self) -> Blob:
        """Store the content durably, and hold a lease on it until `release`.

        Returns
        -------
        Blob
            The key and the digests of the content.
        """
        digests = self._hasher.digests()
        self._written = True  # perhaps, whatever the response
        with answered():
            if self._parts is None:
                self._store.bucket.put(self._key, self._start)
                self._start = bytearray()
            else:
                self._parts.close()
                self._parts = None
                # The store returns no checksum of the whole object if it was written in parts.
                if self._store.bucket.size(self._key) != digests.size:
                    raise Unavailable("the store that keeps the contents did not store all of it")
        return digests.stored(self._key)

    def release(self) -> None:
        """Release the lease, so that the content can be garbage collected if nothing refers to it."""
        if self._held:
            self._held = False
            self._store.let_go(self._key, written=self._written)

    def discard(self) -> None:
        """Abort the upload, and release its key."""
        if self._parts is not None:
            self._parts.give_up()
            self._parts = None
        self._start = bytearray()
        self.release()


class _ObjectRange(BlobReader):
    """A range of an object, read in pieces, so that a slow client keeps no connection to the store open."""

    def __init__(self, store: S3BlobStore, key: str, size: int, start: int, stop: int) -> None:
        self._store = store
        self._key = key
        self._size = size
        self._position = start  # end of the bytes requested so far
        self._stop = stop
        self._ahead: Future[memoryview] | None = None
        self._piece = self._next(_FIRST_PIECE) if start < stop else self._nothing()

    def _nothing(self) -> memoryview:
        found = self._store.size(self._key)
        if found != self._size:
            wrong = "missing" if found is None else "damaged"
            raise Unavailable(f"the content {self._key} is {wrong} in the store of the server")
        return memoryview(b"")

    def _next(self, length: int) -> memoryview:
        start, stop = self._position, min(self._position + length, self._stop)
        self._position = stop
        with answered():
            return self._store.read(self._key, self._size, start, stop)

    def read(self, size: int = -1, /) -> bytes:
        if size < 0:
            return b"".join(iter(lambda: self.read(MIB), b""))
        if not self._piece:
            if self._ahead is not None:
                with answered():
                    self._piece = self._ahead.result()
                self._store.forget_ahead(self._ahead)
                self._ahead = None
            elif self._position < self._stop:
                self._piece = self._next(_PIECE)
        if self._ahead is None and self._position < self._stop:
            stop = min(self._position + _PIECE, self._stop)
            self._ahead = self._store.read_ahead(self._key, self._size, self._position, stop)
            if self._ahead is not None:
                self._position = stop
        data = bytes(self._piece[:size])
        self._piece = self._piece[size:]
        return data

    def close(self) -> None:
        self._piece = memoryview(b"")
        if self._ahead is not None:
            self._store.forget_ahead(self._ahead)
            self._ahead = None


class S3BlobStore:
    """Contents in a bucket below a prefix.

    Parameters
    ----------
    bucket : Bucket
        The bucket.
    workers : WorkerRegistry
        The processes that store contents there, including this one.
    installation : str
        Name of the installation to which the bucket must belong whenever objects are deleted.
    """

    def __init__(self, bucket: Bucket, workers: WorkerRegistry, installation: str) -> None:
        self.bucket = bucket
        self._installation = installation
        self._workers = workers
        self._threads = ThreadPoolExecutor(_THREADS, thread_name_prefix="rinofs-s3")
        self._room_ahead = threading.BoundedSemaphore(_PIECES_AHEAD)
        self._lock = threading.Lock()
        self._held: Counter[str] = Counter()
        self._let_go: set[str] = set()

    def new_upload(self, *, sha1: bool = False, sha256: bool = False) -> S3BlobUpload:  # noqa: ARG002
        """Start an upload, whose SHA-256 is always computed; see `BlobStore`."""
        return S3BlobUpload(self, sha1=sha1)

    @contextmanager
    def write_many(self, contents: Mapping[Digests, Data]) -> Iterator[dict[Digests, Blob]]:
        """Store contents, and hold leases on them until the context ends; see `BlobStore`."""
        stored = {digests: digests.stored(self.new_key()) for digests in contents}
        writing = [
            self._threads.submit(self.bucket.put, stored[digests].key, bytes(content))
            for digests, content in contents.items()
        ]
        try:
            wait(writing)
            with answered():
                for done in writing:
                    done.result()
            yield stored
        finally:
            for blob in stored.values():
                self.let_go(blob.key)

    def local_path(self, key: str) -> None:
        """Return None: there are no files."""

    def signed_url(self, key: str, size: int, lifetime: timedelta) -> SignedUrl | None:
        """Return a URL with which anyone can read a content for a limited time; None if it is not whole."""
        with answered():
            found = self.bucket.describe(key)
            if found is None or found["size"] != size or not found["e_tag"]:
                return None
            return SignedUrl(self.bucket.signed_url(key, lifetime), found["e_tag"].strip('"'))

    def size(self, key: str) -> int | None:
        """Return the size of a content in bytes; None if it is not stored."""
        with answered():
            return self.bucket.size(key)

    def open_range(self, key: str, size: int, start: int = 0, stop: int | None = None) -> BlobReader:
        """Open a range of a content for reading; see `BlobStore`."""
        return _ObjectRange(self, key, size, start, size if stop is None else stop)

    def stored(self) -> Iterator[tuple[str, int]]:
        """List the contents: keys and sizes in bytes."""
        with answered():
            yield from ((key, size) for key, size, _ in self.bucket.objects(OBJECTS))

    @contextmanager
    def keep(self, key: str, size: int) -> Iterator[bool]:
        """Hold a lease on a content until the context ends; yield whether it is stored completely."""
        with self._lock:
            self._held[key] += 1
        try:
            yield self.size(key) == size
        finally:
            self.let_go(key)

    def collect(self, referred: Callable[[Sequence[str]], set[str]], *, own: bool = False) -> Collected:
        """Delete unreferenced objects among the keys released here, and those of workers that are gone."""
        deleted: list[int] = []
        with self._lock:
            let_go = sorted(self._let_go)
        for keys in _in_chunks(let_go):
            kept = referred(keys)
            sizes = ((key, self.size(key)) for key in keys if key not in kept)
            deleted += self._delete([(key, size) for key, size in sizes if size is not None], referred)
            with self._lock:
                self._let_go.difference_update(key for key in keys if key not in self._held)
        for worker in () if own else self._workers.gone():
            with answered():
                for page in _in_chunks(self.bucket.objects(f"{OBJECTS}/{worker}")):
                    deleted += self._delete([(key, length) for key, length, _ in page], referred)
        return Collected(len(deleted), sum(deleted), 0)

    def remove(self, keys: Iterable[str], referred: Callable[[Sequence[str]], set[str]]) -> None:
        """Remove those of the given contents that have no references or leases."""
        for chunk in _in_chunks(keys):
            self._delete([(key, 0) for key in chunk], referred)

    def _delete(
        self, found: list[tuple[str, int]], referred: Callable[[Sequence[str]], set[str]]
    ) -> list[int]:
        """Delete those of the given objects that nothing needs; return the size of each deleted one."""
        if not found:
            return []
        with self._lock:
            held = {key for key, _ in found if key in self._held}
        # In this order: once an upload has released a key, the database knows the key, or never will.
        kept = held | referred([key for key, _ in found if key not in held])
        gone = [(key, length) for key, length in found if key not in kept]
        with answered():
            if gone and self.bucket.installation() != self._installation:
                raise Unavailable(f"{self.bucket.url} belongs to another installation by now")
            self.bucket.delete([key for key, _ in gone])
        return [length for _, length in gone]

    def verify(self, key: str) -> Verified:
        """Read a content completely, and compute all its digests."""

        def opened() -> BlobReader:
            size = self.size(key)
            if size is None:
                raise FileNotFoundError(key)
            return self.open_range(key, size)

        return verify(opened)

    def close(self) -> None:
        """Stop the threads, and unregister this worker, so that the next collection covers its objects."""
        self._threads.shutdown()
        self._workers.close()

    def new_key(self) -> str:
        """Return a new key, with a lease on it until `let_go`."""
        key = f"{OBJECTS}/{self._workers.own}/{uuid4().hex}"
        with self._lock:
            self._held[key] += 1
        return key

    def let_go(self, key: str, *, written: bool = True) -> None:
        """Release a lease on a key; garbage collection considers the key if an object may exist."""
        with self._lock:
            self._held[key] -= 1
            if not self._held[key]:
                del self._held[key]
                if written and len(self._let_go) < _LET_GO:
                    self._let_go.add(key)
        if written:
            self._workers.left_behind(key.removeprefix(f"{OBJECTS}/").partition("/")[0])

    def read(self, key: str, size: int, start: int, stop: int) -> memoryview:
        """Return a range, which must not be empty, of a content that must have `size` bytes."""
        try:
            data, whole = self.bucket.get(key, start, stop)
        except FileNotFoundError:
            raise Unavailable(f"the content {key} is missing in the store of the server") from None
        if whole != size or len(data) != stop - start:
            raise Unavailable(f"the content {key} is damaged in the store of the server")
        return data

    def read_ahead(self, key: str, size: int, start: int, stop: int) -> Future[memoryview] | None:
        """Start to read a range if the memory budget allows it; `forget_ahead` frees its share."""
        if not self._room_ahead.acquire(blocking=False):
            return None
        try:
            return self._threads.submit(self.read, key, size, start, stop)
        except RuntimeError:  # the system allows no more threads
            self._room_ahead.release()
            return None

    def forget_ahead(self, ahead: Future[memoryview]) -> None:
        """Cancel a read started by `read_ahead`, and allow another one."""
        ahead.cancel()
        self._room_ahead.release()


@contextmanager
def answered() -> Iterator[None]:
    """Turn errors of the store into responses."""
    try:
        yield
    except Refusal as refusal:
        raise refusal.answer() from None


def _in_chunks(items: Iterable[T]) -> Iterator[list[T]]:
    rest = iter(items)
    while chunk := list(islice(rest, _DELETED_AT_ONCE)):
        yield chunk
