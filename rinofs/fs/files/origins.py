"""Where the bytes of one version of a file come from."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Protocol, Self

from rinofs.http.content.content import open_content, read_content
from rinofs.http.content.multirange import read_spans
from rinofs.http.content.verify import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rinofs.http.content.content import Content, ContentStream
    from rinofs.http.session.session import HttpSession


class Origin(Protocol):
    """What a file object reads from."""

    @property
    def key(self) -> str:
        """Names the version among all contents of all endpoints and users."""
        ...

    @property
    def size(self) -> int | None:
        """Bytes; None if that is not known."""
        ...

    def load(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop)."""
        ...

    def stream(self) -> Sequential | None:
        """Begin to download everything, in order; None where that is not possible."""
        ...


class Source(Origin, Protocol):
    """One version of a content, as a backend finds it."""

    def sized(self) -> Self:
        """Return the same with its size, which is found out if it is not known."""
        ...

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop), as slices do; checked if that is everything."""
        ...

    def load_many(self, spans: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return several parts, by one request where that is possible."""
        ...


class Sequential:
    """Read a content from its first byte on, in pieces of any size.

    What is taken from the network ends at a block, so that whole blocks can be kept; the rest waits for
    the next read.

    Parameters
    ----------
    stream : ContentStream
        The content, from its first byte.
    content : Content
        What it is, for the check.
    size : int
        Its bytes.
    verify : bool
        Whether to check it when its last byte is read.

    Attributes
    ----------
    position : int
        Where the next read begins.
    """

    def __init__(self, stream: ContentStream, content: Content, size: int, verify: bool) -> None:
        self.position = 0
        self._stream = stream
        self._size = size
        self._received = 0
        self._rest = b""
        self._verifier = (
            Verifier.for_response(stream.headers, content.etag, size, label=content.label) if verify else None
        )

    def read(self, count: int, block: int, keep: Callable[[int, bytes], None] | None) -> bytes:
        """Return the next bytes.

        Parameters
        ----------
        count : int
            How many; not beyond the end.
        block : int
            Bytes in a block.
        keep : callable, optional
            Is given whole blocks as they arrive, with the offset at which they begin.

        Returns
        -------
        bytes
            Exactly `count` bytes.

        Raises
        ------
        ContentMismatchError
            If the content turns out, at its end, not to be what the service vouches for.
        """
        missing = count - len(self._rest)
        fresh = b""
        if missing > 0:
            end = min(-(-(self._received + missing) // block) * block, self._size)
            fresh = self._receive(end - self._received, keep)
        self.position += count
        if not self._rest:
            data, self._rest = fresh[:count], fresh[count:]
        elif missing > 0:
            data, self._rest = self._rest + fresh[:missing], fresh[missing:]
        else:
            data, self._rest = self._rest[:count], self._rest[count:]
        return data

    def _receive(self, count: int, keep: Callable[[int, bytes], None] | None) -> bytes:
        data = self._stream.read(count) or b""
        if len(data) < count:
            pieces = [data]
            while (length := sum(map(len, pieces))) < count:
                pieces.append(self._stream.read(count - length) or b"")
            data = b"".join(pieces)
        if self._verifier is not None:
            self._verifier.feed(data)
        if keep is not None:
            keep(self._received, data)
        self._received += count
        if self._received >= self._size and self._verifier is not None:
            self._verifier.finish()
        return data

    def close(self) -> None:
        """End the download, whether or not it is complete."""
        self._rest = b""
        if self._verifier is not None:
            self._verifier.abandon()
        self._stream.close()


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A content that comes by HTTP.

    Attributes
    ----------
    session : HttpSession
        Sends the requests.
    content : Content
        What to read.
    key : str
        Names the version among all contents of all endpoints and users; empty if no version is named yet.
    verify : bool
        Whether a content that is read in order from its first to its last byte is checked.
    """

    session: HttpSession
    content: Content
    key: str
    verify: bool

    @property
    def size(self) -> int | None:
        """Bytes; None if that is not known."""
        return self.content.size

    def sized(self) -> Self:
        """Return the same with its size, which is found out if it is not known."""
        if self.content.size is not None:
            return self
        return replace(self, content=replace(self.content, size=self._find_size()))

    def _find_size(self) -> int:
        with open_content(self.session, self.content) as stream:
            scratch = bytearray(1024 * 1024)
            while stream.size is None and stream.readinto(scratch):
                pass  # a body without a length has to be read to its end
            return stream.position if stream.size is None else stream.size

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop), as slices do; checked if that is everything."""
        return read_content(self.session, self.content, start, stop, verify=self.verify)

    def load(self, start: int, stop: int) -> bytes:
        """Download the bytes [start, stop)."""
        return read_content(self.session, self.content, start, stop)

    def load_many(self, spans: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return several parts, by one request where that is possible."""
        return read_spans(self.session, self.content, spans)

    def stream(self) -> Sequential:
        """Begin to download everything, in order."""
        size = self.content.size or 0
        return Sequential(open_content(self.session, self.content), self.content, size, self.verify)


@dataclass(frozen=True, slots=True)
class MemorySource:
    """A content that is in memory already.

    Attributes
    ----------
    data : bytes
        The content.
    key : str
        Names it.
    """

    data: bytes = field(repr=False)
    key: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Make one of bytes, named by what they are."""
        return cls(data, f"memory {hashlib.sha256(data).hexdigest()}")

    @property
    def size(self) -> int:
        """Bytes."""
        return len(self.data)

    def sized(self) -> Self:
        """Return the same."""
        return self

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop), as slices do."""
        return self.data[start:stop]

    def load(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop)."""
        return self.data[start:stop]

    def load_many(self, spans: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return several parts."""
        return [self.data[start:stop] for start, stop in spans]

    def stream(self) -> None:
        """Return None: there is nothing to download."""


@dataclass(slots=True)
class FetcherSource:
    """What a file of another filesystem can offer: ranges only, shared with no one."""

    load: Callable[[int, int], bytes]
    size: int
    key: str

    def stream(self) -> None:
        """Return None: there is nothing but ranges."""
