"""Contents, kept by keys: what the server wants of whatever keeps them.

A key is the store's own name of a content; the table ``blobs`` of the database maps digests to keys. In a
store outside the data folder, keys are ``c/WORKER/NAME``, with a name of the worker from
`WorkerRegistry.own`: that is how deletion, backup and leases know them. Otherwise a key is opaque to
everybody else. `BlobStore` knows no paths, except where a store has some to offer (`BlobStore.local_path`).
"Where to make common changes" in docs/architecture.md says what another store needs.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, BinaryIO, Protocol, Self, TypeAlias

import blake3

from rinofs.protocol.digests import EtagHasher
from rinofs.server.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
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
"""Bytes of the largest contents whose SHA-256 is taken while they come in; that of others is taken later."""

OBJECTS = "c"
"""The first part of keys in an object store, which no other store has."""

_READ_SIZE = 1024 * 1024
_CHUNK = 500

Data: TypeAlias = bytes | bytearray | memoryview
"""A piece of content."""


class BucketError(Exception):
    """An object store cannot be used as it is set up; the message says why and what to do."""


@dataclass(frozen=True, slots=True, kw_only=True)
class Digests:
    """What a content is known by, wherever it is.

    Attributes
    ----------
    blake3 : str
        Its BLAKE3, in hex.
    size : int
        Bytes.
    etag : str
        The etag by which Rinocloud names the content.
    sha256 : str or None
        Its SHA-256, in hex; None while it was not taken.
    taken_sha1 : str or None
        Another digest, which only links in datapacks need; None where nobody asked for it.
    """

    blake3: str
    size: int
    etag: str
    sha256: str | None = None
    taken_sha1: str | None = None

    @property
    def sha1(self) -> str:
        """Return the digest that datapacks link to.

        Raises
        ------
        ValueError
            If it was not asked for.
        """
        if self.taken_sha1 is None:
            raise ValueError("the sha-1 of this content was not taken")
        return self.taken_sha1

    def stored(self, key: str) -> Blob:
        """Return the content as one that is stored under a key."""
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
        The store's name of it.
    known_key : str or None
        Another name under which the store has the same bytes, whole, since an earlier upload. It is used if
        the database has it still.
    lost_key : str or None
        The name that the database had for the same bytes, which the store does not have whole under it.
    """

    key: str
    known_key: str | None = None
    lost_key: str | None = None


@dataclass(frozen=True, slots=True)
class SignedUrl:
    """Where anybody can read a content for some time, past the server.

    Attributes
    ----------
    url : str
        The address in the object store; as good as a password for this content.
    etag : str
        What the object store names the object by.
    """

    url: str = field(repr=False)
    etag: str


@dataclass(frozen=True, slots=True)
class Collected:
    """What a collection removed: contents, their bytes, and what aborted uploads left behind."""

    blobs: int
    bytes: int
    temporary: int


@dataclass(frozen=True, slots=True)
class Verified:
    """What reading a content showed.

    Attributes
    ----------
    found : Digests
        What was read, with all its digests.
    problem : str or None
        Why it could not be read, as the end of a sentence about the content; None where it could.
    """

    found: Digests
    problem: str | None

    def problem_of(self, *, blake3: str | None, sha256: str | None) -> str | None:
        """Return what is wrong with a content that should have some digests, as far as they are known."""
        if self.problem is not None:
            return self.problem
        for wanted, found in ((blake3, self.found.blake3), (sha256, self.found.sha256)):
            if wanted not in {None, found}:
                return f"is damaged: its {self.found.size} stored bytes have the digest {found}"
        return None


class BlobUpload(Protocol):
    """A content on its way in. Used by one thread at a time."""

    def write(self, data: Data) -> None:
        """Add the next bytes; the buffer may be reused on return."""

    def blake3(self) -> str:
        """Return the BLAKE3 of what was written so far, in hex."""

    def sha256(self) -> str:
        """Return the SHA-256 of what was written so far, in hex.

        Where it was not asked for at the start, all of it is read again; a store that could not do that takes
        it in any case.
        """

    def finish(self) -> Blob:
        """Store the content durably, and keep it from being collected until `release`."""

    def release(self) -> None:
        """Allow the content to be collected if nothing refers to it. Harmless when repeated."""

    def discard(self) -> None:
        """Give up before `finish`; nothing stays behind. Harmless afterwards and when repeated."""

    def __enter__(self) -> Self:
        """Return the upload itself; leaving the context discards and releases."""
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self.discard()


class BlobReader(Protocol):
    """A range of a content, read from its start to its end. Used by one thread at a time."""

    def read(self, size: int = -1, /) -> bytes:
        """Return the next bytes, at most `size` where that is given; none at the end."""

    def close(self) -> None:
        """Let go of what it reads from."""

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
    """Where contents are kept. Methods block, and may be called from several threads.

    A failure of the storage is raised as `Unavailable`, a full one as `InsufficientStorage`.
    """

    def new_upload(self, *, sha1: bool = False, sha256: bool = False) -> BlobUpload:
        """Begin a new content; its BLAKE3 and etag are always taken, other digests where they are wanted."""

    def write_many(self, contents: Mapping[Digests, Data]) -> AbstractContextManager[dict[Digests, Blob]]:
        """Store at most `MAX_BUNDLE_UPLOAD` contents durably, and keep them until the context is left.

        The context has what each of them is known by from now on.
        """

    def open_range(self, key: str, size: int, start: int = 0, stop: int | None = None) -> BlobReader:
        """Open the bytes from `start` up to `stop` of a content, which must have `size` bytes."""

    def local_path(self, key: str) -> Path | None:
        """Return the local file that holds, or would hold, a content; None where the store has none."""

    def size(self, key: str) -> int | None:
        """Return the bytes of a content; None where it is not stored."""

    def stored(self) -> Iterator[tuple[str, int]]:
        """List the contents: keys and bytes."""

    def keep(self, key: str, size: int) -> AbstractContextManager[bool]:
        """Keep a content from being collected until the context is left; tell whether it is stored whole."""

    def collect(self, referred: Callable[[Sequence[str]], set[str]], *, own: bool = False) -> Collected:
        """Remove what nothing refers to and no upload keeps, and what aborted uploads left behind.

        `referred` returns those of some keys that the database knows. With `own`, only what this process has
        left behind is looked for.
        """

    def remove(self, keys: Iterable[str], referred: Callable[[Sequence[str]], set[str]]) -> None:
        """Remove those of some contents that nothing refers to and no upload keeps; see `collect`."""

    def verify(self, key: str) -> Verified:
        """Read a content whole, and take all its digests."""

    def close(self) -> None:
        """Let go of threads."""


def is_object_key(key: str) -> bool:
    """Tell whether a key is an object store's: written once, and deleted some time after its row."""
    return key.startswith(f"{OBJECTS}/")


class ContentHasher:
    """Takes the digests of a content from pieces of any size.

    Parameters
    ----------
    sha1, sha256 : bool
        Which digests are taken beside the BLAKE3 and the etag.

    Attributes
    ----------
    etag : EtagHasher
        By far the slowest.
    fast : list
        All others, as objects of `hashlib` are.
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
        """Add the next bytes of the content."""
        self.etag.update(data)
        for hasher in self.fast:
            hasher.update(data)

    def blake3(self) -> str:
        """Return the BLAKE3 of the bytes so far, in hex."""
        return self._blake3.hexdigest()

    def sha256(self) -> str | None:
        """Return the SHA-256 of the bytes so far, in hex; None where it is not taken."""
        return None if self._sha256 is None else self._sha256.hexdigest()

    def digests(self) -> Digests:
        """Return what the bytes so far are known by."""
        return Digests(
            blake3=self.blake3(),
            size=self.etag.size,
            etag=self.etag.etag(),
            sha256=self.sha256(),
            taken_sha1=None if self._sha1 is None else self._sha1.hexdigest(),
        )


def digests_of(content: Data) -> Digests:
    """Return what a content is known by, its SHA-256 included up to `SHA256_AT_ONCE` bytes."""
    hasher = ContentHasher(sha256=len(content) <= SHA256_AT_ONCE)
    hasher.update(content)
    return hasher.digests()


def verify(opened: Callable[[], BlobReader]) -> Verified:
    """Read a content whole, from what `opened` returns, and take all its digests."""
    hasher = ContentHasher(sha1=True, sha256=True)
    problem = None
    try:
        with opened() as reader:
            while data := reader.read(_READ_SIZE):
                hasher.update(data)
    except FileNotFoundError:
        problem = "is missing"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except ApiError as error:
        problem = f"cannot be read: {error.message}"
    return Verified(hasher.digests(), problem)


def chunks(pairs: Iterable[tuple[str, int]]) -> Iterator[list[tuple[str, int]]]:
    """Cut a listing of contents into lists of bounded length."""
    chunk: list[tuple[str, int]] = []
    for pair in pairs:
        chunk.append(pair)
        if len(chunk) == _CHUNK:
            yield chunk
            chunk = []
    if chunk:
        yield chunk
