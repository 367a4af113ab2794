"""Contents, kept by their sha-256: what the server wants of whatever keeps them.

`rinofs.server.blobs.disk` keeps them on the local disk; an object store can fill the same two classes.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, Protocol, Self, TypeAlias

if TYPE_CHECKING:
    from pathlib import Path
    from types import TracebackType

__all__ = ["Blob", "BlobStore", "BlobUpload", "Data"]

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

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None: ...


class BlobStore(Protocol):
    """Where contents are kept."""

    def new_upload(self, *, sha1: bool = False) -> BlobUpload:
        """Begin a new content, and take its sha-1 too if that will be asked for."""

    def open(self, sha256: str, size: int) -> BinaryIO:
        """Open a content of `size` bytes for reading."""

    def path(self, sha256: str) -> Path:
        """Return the file that holds, or would hold, a content."""

    def close(self) -> None:
        """Let go of threads."""
