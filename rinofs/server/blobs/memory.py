"""Contents in memory: for tests, and the smallest example of a `BlobStore`.

What it keeps ends with the process, whatever is written to the database.
"""

from __future__ import annotations

import hashlib
import threading
from contextlib import contextmanager
from io import BytesIO
from typing import TYPE_CHECKING

from rinofs.server.blobs.store import Blob, BlobUpload, Collected, Verified, blob_of, verify
from rinofs.server.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence

    from rinofs.server.blobs.store import BlobReader, Data

__all__ = ["MemoryBlobStore", "MemoryBlobUpload"]


class MemoryBlobUpload(BlobUpload):
    """A content on its way to memory; made by `MemoryBlobStore.new_upload`."""

    def __init__(self, store: MemoryBlobStore, *, sha1: bool) -> None:
        self._store = store
        self._takes_sha1 = sha1
        self._content = bytearray()
        self._kept: str | None = None

    def write(self, data: Data) -> None:
        """Add the next bytes of the content."""
        self._content += data

    def sha256(self) -> str:
        """Return the digest of what was written so far, in hex."""
        return hashlib.sha256(self._content).hexdigest()

    def finish(self) -> Blob:
        """Store the content, and keep it from being collected until `release`."""
        content = bytes(self._content)
        blob = blob_of(content)
        self._store.put(blob.sha256, content)
        self._kept = blob.sha256
        sha1 = hashlib.sha1(content, usedforsecurity=False).hexdigest() if self._takes_sha1 else None
        return Blob(blob.sha256, blob.etag, blob.size, sha1)

    def release(self) -> None:
        """Allow the content to be collected if nothing refers to it."""
        if self._kept is not None:
            self._store.release(self._kept)
            self._kept = None

    def discard(self) -> None:
        """Give up; nothing stays behind."""
        self._content.clear()
        self.release()


class MemoryBlobStore:
    """Contents in the memory of this process."""

    def __init__(self) -> None:
        self._lock = threading.RLock()
        self._contents: dict[str, bytes] = {}
        self._leases: dict[str, int] = {}

    def new_upload(self, *, sha1: bool = False) -> MemoryBlobUpload:
        """Begin a new content; see `BlobStore`."""
        return MemoryBlobUpload(self, sha1=sha1)

    @contextmanager
    def write_many(self, contents: Mapping[Blob, Data]) -> Iterator[None]:
        """Store contents, and keep them until the context is left."""
        for blob, content in contents.items():
            self.put(blob.sha256, bytes(content))
        try:
            yield
        finally:
            for blob in contents:
                self.release(blob.sha256)

    def open_range(self, sha256: str, size: int, start: int = 0, stop: int | None = None) -> BlobReader:
        """Open a range of a content; see `BlobStore`."""
        content = self._contents.get(sha256)
        if content is None or len(content) != size:
            raise Unavailable(f"the content {sha256} is missing or damaged")
        return BytesIO(content[start:stop])

    def local_path(self, sha256: str) -> None:
        """Return None: there are no files."""

    def size(self, sha256: str) -> int | None:
        """Return the bytes of a content; None where it is not stored."""
        content = self._contents.get(sha256)
        return None if content is None else len(content)

    def stored(self) -> Iterator[tuple[str, int]]:
        """List the contents; see `BlobStore`."""
        with self._lock:
            return iter(sorted((sha256, len(content)) for sha256, content in self._contents.items()))

    @contextmanager
    def keep(self, sha256: str, size: int) -> Iterator[bool]:
        """Keep a content from being collected until the context is left; tell whether it is stored whole."""
        with self._lock:
            there = self.size(sha256) == size
            self._leases[sha256] = self._leases.get(sha256, 0) + 1
        try:
            yield there
        finally:
            self.release(sha256)

    def collect(self, referred: Callable[[Sequence[str]], set[str]]) -> Collected:
        """Remove what nothing refers to and no upload keeps."""
        removed = size = 0
        for sha256, length in self.stored():
            with self._lock:
                if sha256 in self._leases or referred([sha256]):
                    continue
                if self._contents.pop(sha256, None) is not None:
                    removed, size = removed + 1, size + length
        return Collected(removed, size, 0)

    def remove(self, sha256s: Iterable[str], referred: Callable[[Sequence[str]], set[str]]) -> None:
        """Remove those of some contents that nothing refers to and no upload keeps."""
        for sha256 in sha256s:
            with self._lock:
                if sha256 not in self._leases and not referred([sha256]):
                    self._contents.pop(sha256, None)

    def verify(self, sha256: str) -> Verified:
        """Compare a content with its digest."""

        def opened() -> BlobReader:
            try:
                return BytesIO(self._contents[sha256])
            except KeyError as error:
                raise FileNotFoundError(sha256) from error

        return verify(sha256, opened)

    def put(self, sha256: str, content: bytes) -> None:
        """Store a content, in place of a damaged one, and keep it until it is released."""
        with self._lock:
            self._contents[sha256] = content
            self._leases[sha256] = self._leases.get(sha256, 0) + 1

    def release(self, sha256: str) -> None:
        """Let go of a content that was put or kept."""
        with self._lock:
            self._leases[sha256] -= 1
            if not self._leases[sha256]:
                del self._leases[sha256]

    def close(self) -> None:
        """Do nothing: there are no threads."""
