"""Contents stored under keys: the interface between the server and its stores.

A key is the store's own name for a content; the table ``blobs`` of the database maps digests to keys. In a
store outside the data folder, keys are ``c/WORKER/NAME``, with the worker's name from `WorkerRegistry.own`:
deletion, backups and leases recognise them by this form. Otherwise keys are opaque to everything but the
store. `BlobStore` has no paths, except for stores that offer them (`BlobStore.local_path`). "Where to make
common changes" in docs/architecture.md says what another store needs.
"""

from __future__ import annotations

import hashlib
from contextlib import closing
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, TypeAlias

import blake3

from rinofs.protocol.digests import EtagHasher
from rinofs.server.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Generator, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

__all__ = [
    "OBJECTS",
    "SHA256_AT_ONCE",
    "Blob",
    "BlobReader",
    "BlobStore",
    "BlobUpload",
    "BucketError",
    "Collected",
    "ContentHasher",
    "Data",
    "Digests",
    "FileRange",
    "SignedUrl",
    "Verified",
    "chunks",
    "digests_of",
    "is_object_key",
    "verify",
]

SHA256_AT_ONCE = 1024 * 1024
"""Maximum size in bytes of contents whose SHA-256 is computed on arrival; others get theirs later."""

OBJECTS = "c"
"""First part of the keys in an object store; no other store uses it."""

_READ_SIZE = 1024 * 1024
_CHUNK = 500

Data: TypeAlias = bytes | bytearray | memoryview
"""A piece of content."""


class BucketError(Exception):
    """An object store is not usable as configured; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """The digests and the size of a content, independent of where it is stored.

    Attributes
    ----------
    blake3 : str
        Its BLAKE3, in hex.
    size : int
        Its size in bytes.
    etag : str
        The etag that Rinocloud uses for the content.
    sha256 : str or None
        Its SHA-256, in hex; None until it is computed.
    taken_sha1 : str or None
        Its SHA-1, in hex, which only links in datapacks need; None if it was not requested.
    """

    blake3: str
    size: int
    etag: str
    sha256: str | None = None
    taken_sha1: str | None = None

    @property
    def sha1(self) -> str:
        """Return the SHA-1, which links in datapacks use.

        Raises
        ------
        ValueError
            If it was not requested.
        """
        if self.taken_sha1 is None:
            raise ValueError("the sha-1 of this content was not taken")
        return self.taken_sha1

    def stored(self, key: str) -> Blob:
        """Return the `Blob` of this content under a key."""
        return Blob(
            key=key,
            blake3=self.blake3,
            size=self.size,
            etag=self.etag,
            sha256=self.sha256,
            taken_sha1=self.taken_sha1,
        )


@dataclass(frozen=True, slots=True, kw_only=True)
class Blob(Digests):
    """A stored content.

    Attributes
    ----------
    key : str
        Its key in the store.
    former_key : str or None
        The key that the database had for the same bytes when this was stored. Its row gets the new key, under
        which the bytes have just been verified.
    """

    key: str
    former_key: str | None = None


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """A URL with which anyone can read a content directly from an object store for a limited time.

    Attributes
    ----------
    url : str
        The URL; as good as a password for this content.
    etag : str
        The object store's etag of the object.
    """

    url: str = field(repr=False)
    etag: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What a garbage collection removed: contents, their size in bytes, and temporary files."""

    blobs: int
    bytes: int
    temporary: int


@dataclass(frozen=True, slots=True)
class Verified:
    """The result of reading a content.

    Attributes
    ----------
    found : Digests
        All digests of the bytes that were read.
    problem : str or None
        Why the content could not be read, as the end of a sentence about it; None if it could.
    """

    found: Digests
    problem: str | None

    def problem_of(self, *, blake3: str | None, sha256: str | None) -> str | None:
        """Return what is wrong with a content that should have the given digests; None skips a digest."""
        if self.problem is not None:
            return self.problem
        for wanted, found in ((blake3, self.found.blake3), (sha256, self.found.sha256)):
            if wanted not in {None, found}:
                return f"is damaged: its {self.found.size} stored bytes have the digest {found}"
        return None


class BlobUpload(Protocol):
    """An upload of a content. Only one thread may use it at a time."""

    def write(self, data: Data) -> None:
        """Append bytes; the caller may reuse the buffer on return."""

    def blake3(self) -> str:
        """Return the BLAKE3 of the bytes written so far, in hex."""

    def sha256(self) -> str:
        """Return the SHA-256 of the bytes written so far, in hex.

        If it was not requested at the start, all bytes are read again; a store that cannot do that always
        computes it.
        """

    def finish(self) -> Blob:
        """Store the content durably, and hold a lease on it until `release`."""

    def release(self) -> None:
        """Release the lease; the content can be garbage collected if nothing refers to it. Idempotent."""

    def discard(self) -> None:
        """Abort the upload, leaving nothing behind; after `finish`, only release the lease. Idempotent."""

    def __enter__(self) -> Self:
        """Return the upload itself; leaving the context discards and releases."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class BlobReader(Protocol):
    """A range of a content, read from start to end. Only one thread may use it at a time."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most `size` if it is given; none at the end."""

    def close(self) -> None:
        """Release the resources of the reader."""

    def __enter__(self) -> Self:
        """Return the reader itself; leaving the context closes it."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.close()


class FileRange(BlobReader):
    """A range of an open file."""

    def __init__(self, file: BinaryIO, start: int, stop: int) -> None:
        self._file = file
        self._left = stop - start
        file.seek(start)

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes; see `BlobReader`."""
        data = self._file.read(self._left if size < 0 else min(size, self._left))
        self._left -= len(data)
        return data

    def close(self) -> None:
        """Close the file."""
        self._file.close()


class BlobStore(Protocol):
    """A store of contents. Its methods block, and are thread-safe.

    They raise `Unavailable` if the storage fails, and `InsufficientStorage` if it is full.
    """

    def new_upload(self, *, sha1: bool = False, sha256: bool = False) -> BlobUpload:
        """Start an upload. Its BLAKE3 and etag are always computed, other digests on request."""

    def write_many(self, contents: Mapping[Digests, Data]) -> AbstractContextManager[dict[Digests, Blob]]:
        """Store at most `MAX_BUNDLE_UPLOAD` contents durably, and hold leases on them until the context ends.

        The context yields the key and the digests of each.
        """

    def open_range(self, key: str, size: int, start: int = 0, stop: int | None = None) -> BlobReader:
        """Open the bytes from `start` up to `stop` of a content, which must have `size` bytes."""

    def local_path(self, key: str) -> Path | None:
        """Return the local file that holds, or would hold, a content; None if the store has no files."""

    def size(self, key: str) -> int | None:
        """Return the size of a content in bytes; None if it is not stored."""

    def stored(self) -> Iterator[tuple[str, int]]:
        """List the contents: keys and sizes in bytes."""

    def keep(self, key: str, size: int) -> AbstractContextManager[bool]:
        """Hold a lease on a content until the context ends; yield whether it is stored completely."""

    def collect(self, referred: Callable[[Sequence[str]], set[str]], *, own: bool = False) -> Collected:
        """Remove contents without references or leases, and what aborted uploads left behind.

        `referred` returns those of the given keys that the database refers to. With `own`, only what this
        process has left behind is collected.
        """

    def remove(self, keys: Iterable[str], referred: Callable[[Sequence[str]], set[str]]) -> None:
        """Remove those of the given contents that have no references or leases; see `collect`."""

    def verify(self, key: str) -> Verified:
        """Read a content completely, and compute all its digests."""

    def close(self) -> None:
        """Stop the threads of the store."""


def is_object_key(key: str) -> bool:
    """Return whether a key is an object store's: written once, and deleted some time after its row."""
    return key.startswith(f"{OBJECTS}/")


class ContentHasher:
    """Computes the digests of a content from pieces of any size.

    Parameters
    ----------
    sha1, sha256 : bool
        Which digests to compute besides the BLAKE3 and the etag.

    Attributes
    ----------
    etag : EtagHasher
        The hasher of the etag, by far the slowest.
    fast : list
        All other hashers, with the interface of `hashlib`.
    """

    def __init__(self, *, sha1: bool = False, sha256: bool = False) -> None:
        self.etag = EtagHasher()
        self._blake3 = blake3.blake3()
        self._sha1 = hashlib.sha1(usedforsecurity=False) if sha1 else None
        self._sha256 = hashlib.sha256() if sha256 else None
        self.fast: list[Any] = [
            taken for taken in (self._blake3, self._sha1, self._sha256) if taken is not None
        ]

    def update(self, data: Data) -> None:
        """Append bytes to the content."""
        self.etag.update(data)
        for hasher in self.fast:
            hasher.update(data)

    def blake3(self) -> str:
        """Return the BLAKE3 of the bytes so far, in hex."""
        return self._blake3.hexdigest()

    def sha256(self) -> str | None:
        """Return the SHA-256 of the bytes so far, in hex; None if it is not computed."""
        return None if self._sha256 is None else self._sha256.hexdigest()

    def digests(self) -> Digests:
        """Return the digests of the bytes so far."""
        return Digests(
            blake3=self.blake3(),
            size=self.etag.size,
            etag=self.etag.etag(),
            sha256=self.sha256(),
            taken_sha1=None if self._sha1 is None else self._sha1.hexdigest(),
        )


def digests_of(content: Data) -> Digests:
    """Return the digests of a content, including its SHA-256 up to `SHA256_AT_ONCE` bytes."""
    hasher = ContentHasher(sha256=len(content) <= SHA256_AT_ONCE)
    hasher.update(content)
    return hasher.digests()


def verify(opened: Callable[[], BlobReader], seen: Callable[[bytes], object] | None = None) -> Verified:
    """Read all of the content that `opened` returns, and compute all its digests.

    `seen` is called with each piece; what it raises says nothing about the content, and is raised here.
    """
    hasher = ContentHasher(sha1=True, sha256=True)
    problems: list[str] = []
    with closing(_pieces(opened, problems.append)) as pieces:
        for data in pieces:
            hasher.update(data)
            if seen is not None:
                seen(data)
    return Verified(hasher.digests(), problems[0] if problems else None)


def _pieces(opened: Callable[[], BlobReader], fail: Callable[[str], object]) -> Generator[bytes]:
    try:
        with opened() as reader:
            while data := reader.read(_READ_SIZE):
                yield data
    except FileNotFoundError:
        fail("is missing")
    except OSError as error:
        fail(f"cannot be read: {error.strerror}")
    except ApiError as error:
        fail(f"cannot be read: {error.message}")


def chunks(pairs: Iterable[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    """Split a listing of contents into lists of bounded length."""
    chunk: list[tuple[str, int]] = []
    for pair in pairs:
        chunk.append(pair)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
