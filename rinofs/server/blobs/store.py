"""Contents, kept by their SHA-256: what the server wants of whatever keeps them.

`BlobStore` knows no paths, except where a store has some to offer (`BlobStore.local_path`). Another place for
contents is one module beside this one that passes ``tests/server/blobs/test_contract.py``, and one line in
`rinofs.server.services`.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Protocol, Self, TypeAlias

from rinofs.protocol.digests import EtagHasher
from rinofs.server.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from contextlib import AbstractContextManager
    from pathlib import Path
    from types import TracebackType

__all__ = [
    "Blob",
    "BlobReader",
    "BlobStore",
    "BlobUpload",
    "Collected",
    "Data",
    "Verified",
    "blob_of",
    "chunks",
    "verify",
]

_READ_SIZE = 1024 * 1024
_CHUNK = 500

Data: TypeAlias = bytes | bytearray | memoryview
"""A piece of content."""


@dataclass(frozen=True, slots=True)
class Blob:
    """What is known about a stored content.

    Attributes
    ----------
    sha256 : str
        Its digest, in hex.
    etag : str
        The etag by which Rinocloud names the content.
    size : int
        Bytes.
    taken_sha1 : str or None
        Another digest, which only links in datapacks need; None where nobody asked for it.
    """

    sha256: str
    etag: str
    size: int
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
    found : Blob
        What was read, with all its digests.
    problem : str or None
        What is wrong, as the end of a sentence about the content; None where nothing is.
    """

    found: Blob
    problem: str | None


class BlobUpload(Protocol):
    """A content on its way in. Used by one thread at a time."""

    def write(self, data: Data) -> None:
        """Add the next bytes; the buffer may be reused on return."""

    def sha256(self) -> str:
        """Return the digest of what was written so far, in hex."""

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


class BlobStore(Protocol):
    """Where contents are kept. Methods block, and may be called from several threads.

    A failure of the storage is raised as `Unavailable`, a full one as `InsufficientStorage`.
    """

    def new_upload(self, *, sha1: bool = False) -> BlobUpload:
        """Begin a new content, and take its SHA-1 too if that will be asked for."""

    def write_many(self, contents: Mapping[Blob, Data]) -> AbstractContextManager[None]:
        """Store at most `MAX_BUNDLE_UPLOAD` contents durably, and keep them until the context is left."""

    def open_range(self, sha256: str, size: int, start: int = 0, stop: int | None = None) -> BlobReader:
        """Open the bytes from `start` up to `stop` of a content, which must have `size` bytes."""

    def local_path(self, sha256: str) -> Path | None:
        """Return the local file that holds, or would hold, a content; None where the store has none."""

    def size(self, sha256: str) -> int | None:
        """Return the bytes of a content; None where it is not stored."""

    def stored(self) -> Iterator[tuple[str, int]]:
        """List the contents: SHA-256 and bytes, in the order of the former."""

    def keep(self, sha256: str, size: int) -> AbstractContextManager[bool]:
        """Keep a content from being collected until the context is left; tell whether it is stored whole."""

    def collect(self, referred: Callable[[Sequence[str]], set[str]]) -> Collected:
        """Remove what nothing refers to and no upload keeps, and what aborted uploads left behind.

        `referred` returns those of some contents that are referred to.
        """

    def remove(self, sha256s: Iterable[str], referred: Callable[[Sequence[str]], set[str]]) -> None:
        """Remove those of some contents that nothing refers to and no upload keeps; see `collect`."""

    def verify(self, sha256: str) -> Verified:
        """Read a content whole and compare it with its digest."""

    def close(self) -> None:
        """Let go of threads."""


def blob_of(content: Data) -> Blob:
    """Return what a content is known by."""
    etag = EtagHasher()
    etag.update(content)
    return Blob(hashlib.sha256(content).hexdigest(), etag.etag(), etag.size)


def verify(sha256: str, opened: Callable[[], BlobReader]) -> Verified:
    """Read a content whole, from what `opened` returns, and compare it with its digest."""
    digest, sha1, etag = hashlib.sha256(), hashlib.sha1(usedforsecurity=False), EtagHasher()
    problem = None
    try:
        with opened() as reader:
            while data := reader.read(_READ_SIZE):
                digest.update(data)
                sha1.update(data)
                etag.update(data)
    except FileNotFoundError:
        problem = "is missing"
    except OSError as error:
        problem = f"cannot be read: {error.strerror}"
    except ApiError as error:
        problem = f"cannot be read: {error.message}"
    else:
        if digest.hexdigest() != sha256:
            problem = f"is damaged: its {etag.size} stored bytes have the digest {digest.hexdigest()}"
    return Verified(Blob(digest.hexdigest(), etag.etag(), etag.size, sha1.hexdigest()), problem)


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
