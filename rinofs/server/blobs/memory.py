"""Contents in memory: for tests, and the smallest example of a `BlobStore`.

The contents are lost when the process ends, even if the database still refers to them.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from dataclasses import replace
from io import BytesIO
from typing import TYPE_CHECKING

from rinofs.server.blobs.store import BlobUpload, Collected, ContentHasher, Verified, verify
from rinofs.server.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rinofs.server.blobs.store import Blob, BlobReader, Data, Digests

__all__ = ["MemoryBlobStore", "MemoryBlobUpload"]


class MemoryBlobUpload(BlobUpload):
    """An upload to memory; created by `MemoryBlobStore.new_upload`."""

    def __init__(self, store: MemoryBlobStore, *, sha1: bool, sha256: bool) -> None:
        self._store = store
        self._hasher = ContentHasher(sha1=sha1, sha256=sha256)
        self._sha256: str | None = None
        self._content = bytearray()
        self._kept: str | None = None

    def write(self, data: Data) -> None:
        """Append bytes to the content."""
        self._hasher.update(data)
        self._content += data

    def blake3(self) -> str:
        """Return the BLAKE3 of the bytes written so far, in hex."""
        return self._hasher.blake3()

    def sha256(self) -> str:
        """Return the SHA-256 of the bytes written so far, in hex."""
        taken = self._hasher.sha256()
        if taken is None:
            taken = self._sha256 = hashlib.sha256(self._content).hexdigest()
        return taken

    def finish(self) -> Blob:
        """Store the content, and hold a lease on it until `release`."""
        digests = self._hasher.digests()
        digests = replace(digests, sha256=digests.sha256 or self._sha256)
        blob = digests.stored(self._store.key_of(digests))
        self._store.put(blob.key, bytes(self._content))
        self._kept = blob.key
        return blob

    def release(self) -> None:
        """Release the lease, so that the content can be garbage collected if nothing refers to it."""
        if self._kept is not None:
            self._store.release(self._kept)
            self._kept = None

    def discard(self) -> None:
        """Abort the upload, and free its memory."""
        self._content.clear()
        self.release()


class MemoryBlobStore:
    """Contents in the memory of this process; their keys are their BLAKE3."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._contents: dict[str, bytes] = {}
        self._leases: dict[str, int] = {}

    def key_of(self, digests: Digests) -> str:
        """Return the key of a new content."""
        return digests.blake3

    def new_upload(self, *, sha1: bool = False, sha256: bool = False) -> MemoryBlobUpload:
        """Start an upload; see `BlobStore`."""
        return MemoryBlobUpload(self, sha1=sha1, sha256=sha256)

    @contextmanager
    def write_many(self, contents: Mapping[Digests, Data]) -> Iterator[dict[Digests, Blob]]:
        """Store contents, and hold leases on them until the context ends; see `BlobStore`."""
        blobs = {digests: digests.stored(self.key_of(digests)) for digests in contents}
        for digests, blob in blobs.items():
            self.put(blob.key, bytes(contents[digests]))
        try:
            yield blobs
        finally:
            for blob in blobs.values():
                self.release(blob.key)

    def open_range(self, key: str, size: int, start: int = 0, stop: int | None = None) -> BlobReader:
        """Open a range of a content; see `BlobStore`."""
        content = self._contents.get(key)
        if content is None or len(content) != size:
            raise Unavailable(f"the content {key} is missing or damaged")
        return BytesIO(content[start:stop])

    def local_path(self, key: str) -> None:
        """Return None: there are no files."""

    def size(self, key: str) -> int | None:
        """Return the size of a content in bytes; None if it is not stored."""
        content = self._contents.get(key)
        return None if content is None else len(content)

    def stored(self) -> Iterator[tuple[str, int]]:
        """List the contents; see `BlobStore`."""
        with self._lock:
            return iter(sorted((key, len(content)) for key, content in self._contents.items()))

    @contextmanager
    def keep(self, key: str, size: int) -> Iterator[bool]:
        """Hold a lease on a content until the context ends; yield whether it is stored completely."""
        with self._lock:
            there = self.size(key) == size
            self._leases[key] = self._leases.get(key, 0) + 1
        try:
            yield there
        finally:
            self.release(key)

    def collect(
        self,
        referred: Callable[[Sequence[str]], set[str]],
        *,
        own: bool = False,  # noqa: ARG002 (there are no other processes)
    ) -> Collected:
        """Remove contents without references or leases."""
        removed = size = 0
        for key, length in self.stored():
            with self._lock:
                if key in self._leases or referred([key]):
                    continue
                if self._contents.pop(key, None) is not None:
                    removed, size = removed + 1, size + length
        return Collected(removed, size, 0)

    def remove(self, keys: Iterable[str], referred: Callable[[Sequence[str]], set[str]]) -> None:
        """Remove those of the given contents that have no references or leases."""
        for key in keys:
            with self._lock:
                if key not in self._leases and not referred([key]):
                    self._contents.pop(key, None)

    def verify(self, key: str) -> Verified:
        """Read a content completely, and compute all its digests."""

        def opened() -> BlobReader:
            try:
                return BytesIO(self._contents[key])
            except KeyError as error:
                raise FileNotFoundError(key) from error

        return verify(opened)

    def put(self, key: str, content: bytes) -> None:
        """Store a content, in place of a damaged one, and hold a lease on it until `release`."""
        with self._lock:
            self._contents[key] = content
            self._leases[key] = self._leases.get(key, 0) + 1

    def release(self, key: str) -> None:
        """Release a lease from `put` or `keep`."""
        with self._lock:
            self._leases[key] -= 1
            if not self._leases[key]:
                del self._leases[key]

    def close(self) -> None:
        """Do nothing: there are no threads."""
