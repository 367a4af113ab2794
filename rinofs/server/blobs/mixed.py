"""Contents in two stores at once, while a server moves from a folder to an object store, or back."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING, Protocol

from rinofs.server.blobs.store import BlobStore, Collected, is_object_key

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from datetime import timedelta
    from pathlib import Path

    from rinofs.server.blobs.store import Blob, BlobReader, BlobUpload, Data, Digests, SignedUrl, Verified

__all__ = ["MixedBlobStore", "ObjectBlobStore"]


class ObjectBlobStore(BlobStore, Protocol):
    """A store whose contents clients can read directly."""

    def signed_url(self, key: str, size: int, lifetime: timedelta) -> SignedUrl | None:
        """Return a URL with which anyone can read a content for a limited time; None if it is not whole."""


class MixedBlobStore:
    """An object store and a folder, one of them for new contents. The key of a content tells where it is.

    Parameters
    ----------
    objects : ObjectBlobStore
        The object store.
    folder : BlobStore
        The store of contents whose keys are not an object store's. Both are closed with this one.
    new_in_folder : bool
        Whether new contents go to the folder.
    """

    def __init__(self, objects: ObjectBlobStore, folder: BlobStore, *, new_in_folder: bool = False) -> None:
        self.objects = objects
        self.folder = folder
        self._new = folder if new_in_folder else objects

    def _of(self, key: str) -> BlobStore:
        return self.objects if is_object_key(key) else self.folder

    def new_upload(self, *, sha1: bool = False, sha256: bool = False) -> BlobUpload:
        """Start an upload; see `BlobStore`."""
        return self._new.new_upload(sha1=sha1, sha256=sha256)

    def write_many(self, contents: Mapping[Digests, Data]) -> AbstractContextManager[dict[Digests, Blob]]:
        """Store contents; see `BlobStore`."""
        return self._new.write_many(contents)

    def open_range(self, key: str, size: int, start: int = 0, stop: int | None = None) -> BlobReader:
        """Open a range of a content for reading; see `BlobStore`."""
        return self._of(key).open_range(key, size, start, stop)

    def local_path(self, key: str) -> Path | None:
        """Return the local file that holds, or would hold, a content; None if there is none."""
        return self._of(key).local_path(key)

    def signed_url(self, key: str, size: int, lifetime: timedelta) -> SignedUrl | None:
        """Return a URL for reading a content directly from the store; None if that is not possible."""
        return self.objects.signed_url(key, size, lifetime) if is_object_key(key) else None

    def size(self, key: str) -> int | None:
        """Return the size of a content in bytes; None if it is not stored."""
        return self._of(key).size(key)

    def stored(self) -> Iterator[tuple[str, int]]:
        """List the contents of both stores."""
        yield from self.folder.stored()
        yield from self.objects.stored()

    @contextmanager
    def keep(self, key: str, size: int) -> Iterator[bool]:
        """Hold a lease on a content until the context ends; yield whether it is stored completely."""
        with self._of(key).keep(key, size) as there:
            yield there

    def collect(self, referred: Callable[[Sequence[str]], set[str]], *, own: bool = False) -> Collected:
        """Remove contents without references or leases from both stores."""
        first, second = (store.collect(referred, own=own) for store in (self.folder, self.objects))
        return Collected(
            first.blobs + second.blobs, first.bytes + second.bytes, first.temporary + second.temporary
        )

    def remove(self, keys: Iterable[str], referred: Callable[[Sequence[str]], set[str]]) -> None:
        """Remove those of the given contents that have no references or leases."""
        of_objects: list[str] = []
        of_folder: list[str] = []
        for key in keys:
            (of_objects if is_object_key(key) else of_folder).append(key)
        for store, own in ((self.objects, of_objects), (self.folder, of_folder)):
            if own:
                store.remove(own, referred)

    def verify(self, key: str) -> Verified:
        """Read a content completely, and compute all its digests."""
        return self._of(key).verify(key)

    def close(self) -> None:
        """Close both stores."""
        self.objects.close()
        self.folder.close()
