"""The file object for reading: one version of a content, fetched on demand."""

from __future__ import annotations

import hashlib
import uuid
from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from fsspec.caching import BaseCache, register_cache
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from rinofs.errors import ContentChangedError
from rinofs.fs.blocks import BLOCK, shared_blocks
from rinofs.http.content.content import open_content
from rinofs.http.content.slices import read_content, read_spans
from rinofs.http.content.verify import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rinofs.http.content.content import Content, ContentStream
    from rinofs.http.session.session import HttpSession

HEADER = 64 * 1024
"""A first read of more than this starts a download of the whole file; a shorter one only reads a header."""

SMALL = 128 * 1024
"""Contents up to this many bytes are downloaded whole by the first read at the beginning."""


class Origin(Protocol):
    """What a file object reads from."""

    @property
    def key(self) -> str:
        """Key of the version, unique among all endpoints, users and contents."""
        ...

    @property
    def size(self) -> int | None:
        """Size in bytes; None if not known."""
        ...

    def load(self, start: int, stop: int) -> bytes:
        """Download the bytes [start, stop)."""
        ...

    def stream(self) -> Sequential | None:
        """Start a sequential download of the whole content; None if not possible."""
        ...


class Source(Origin, Protocol):
    """One version of a content, as a backend returns it."""

    def sized(self) -> Self:
        """Return the same source with its size, asking the service if it is not known."""
        ...

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop), as a slice; the whole content is verified."""
        ...

    def load_many(self, spans: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return several ranges, in one request if possible."""
        ...


class Sequential:
    """Read a content from its first byte on, in pieces of any size.

    Downloads in multiples of blocks, so that whole blocks can be cached; the remaining bytes are kept for the
    next read.

    Parameters
    ----------
    stream : ContentStream
        The stream, at the first byte.
    content : Content
        Describes the content, for verification.
    size : int
        Size in bytes.
    verify : bool
        Whether to verify the content when its last byte is read.

    Attributes
    ----------
    position : int
        Offset of the next read.
    """

    def __init__(self, stream: ContentStream, content: Content, size: int, verify: bool) -> None:
        self.position = 0
        self._stream = stream
        self._size = size
        self._received = 0
        self._rest = b""
        self._verifier: Verifier | None = None
        if verify:
            self._verifier = Verifier.for_response(
                stream.headers, content.etag, size, label=content.label, passing=True
            )

    def read(self, count: int, block: int, keep: Callable[[int, bytes], None] | None) -> bytes:
        """Return the next bytes.

        Parameters
        ----------
        count : int
            Number of bytes; not beyond the end.
        block : int
            Size of a block in bytes.
        keep : callable, optional
            Called with the offset and the bytes of whole blocks as they arrive.

        Returns
        -------
        bytes
            Exactly `count` bytes.

        Raises
        ------
        ContentMismatchError
            If the content does not match the service's digest when the end is reached.
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
        """Close the stream, complete or not."""
        self._rest = b""
        if self._verifier is not None:
            self._verifier.abandon()
        self._stream.close()


@dataclass(frozen=True, slots=True)
class RemoteSource:
    """A content that is read by HTTP.

    Attributes
    ----------
    session : HttpSession
        Sends the requests.
    content : Content
        Content to read.
    key : str
        Key of the version among all endpoints, users and contents; empty if the version is not known yet.
    verify : bool
        Whether to verify a content that is read sequentially from the first to the last byte.
    """

    session: HttpSession
    content: Content
    key: str
    verify: bool

    @property
    def size(self) -> int | None:
        """Size in bytes; None if not known."""
        return self.content.size

    def sized(self) -> Self:
        """Return the same source with its size, asking the service if it is not known."""
        if self.content.size is not None:
            return self
        return replace(self, content=replace(self.content, size=self._find_size()))

    def whole(self) -> tuple[HttpSession, Content]:
        """Return where the whole content is best read from."""
        return self.session, self.content

    def elsewhere(self) -> RemoteSource | None:
        """Return a source for the same version in another place, after a failure in the best one."""
        return None

    def _find_size(self) -> int:
        with open_content(self.session, self.content) as stream:
            scratch = bytearray(1024 * 1024)
            while stream.size is None and stream.readinto(scratch):
                pass  # a response without a length has to be read to its end
            return stream.position if stream.size is None else stream.size

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop), as a slice; the whole content is verified."""
        return read_content(self.session, self.content, start, stop, verify=self.verify)

    def load(self, start: int, stop: int) -> bytes:
        """Download the bytes [start, stop)."""
        return read_content(self.session, self.content, start, stop)

    def load_many(self, spans: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return several ranges, in one request if possible."""
        return read_spans(self.session, self.content, spans)

    def stream(self) -> Sequential:
        """Start a sequential download of the whole content."""
        size = self.content.size or 0
        return Sequential(open_content(self.session, self.content), self.content, size, self.verify)


@dataclass(frozen=True, slots=True)
class MemorySource:
    """A content in memory.

    Attributes
    ----------
    data : bytes
        The content.
    key : str
        Key of the content.
    """

    data: bytes = field(repr=False)
    key: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Create a source for bytes, with their digest as its key."""
        return cls(data, f"memory {hashlib.sha256(data).hexdigest()}")

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.data)

    def sized(self) -> Self:
        """Return this source."""
        return self

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop), as a slice."""
        return self.data[start:stop]

    def load(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop)."""
        return self.data[start:stop]

    def load_many(self, spans: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return several ranges."""
        return [self.data[start:stop] for start, stop in spans]

    def stream(self) -> None:
        """Return None: nothing has to be downloaded."""


@dataclass(slots=True)
class FetcherSource:
    """Reads ranges of a file of another filesystem; its blocks are not shared."""

    load: Callable[[int, int], bytes]
    size: int
    key: str

    def stream(self) -> None:
        """Return None: only ranges can be read."""


class SharedCache(BaseCache):  # type: ignore[misc]
    """Read a file by way of the shared blocks, and adapt the size of downloads to the pattern of reads.

    A read of more than a header at the beginning opens a stream over the whole content, which serves all
    reads until one jumps. Sequential reads elsewhere read ahead, twice as far each time. All other reads
    download only the blocks that they touch.

    Parameters
    ----------
    blocksize : int
        Maximum number of bytes to read ahead.
    fetcher : callable
        Downloads the bytes between two offsets.
    size : int
        Size of the content in bytes.
    source : Origin, optional
        Where to read; by default the fetcher, without sharing blocks.
    """

    name = "rinofs"

    def __init__(
        self,
        blocksize: int,
        fetcher: Callable[[int, int], bytes],
        size: int,
        source: Origin | None = None,
    ) -> None:
        super().__init__(blocksize, fetcher, size)
        self._source = source or FetcherSource(fetcher, size, f"private:{uuid.uuid4()}")
        # A content larger than the cache would evict everything else, and finally its own first blocks.
        self._keep = size <= shared_blocks.max_bytes
        self._stream: Sequential | None = None
        self._expected = -1
        self._ahead_start = 0
        self._ahead = b""
        self._reach: int = 0

    def _fetch(self, start: int | None, stop: int | None) -> bytes:
        first = 0 if start is None else start
        last = self.size if stop is None else min(stop, self.size)
        if first >= last:
            return b""
        data = self._from_memory(first, last)
        if data is None:
            self.miss_count += 1
            data = self._from_source(first, last)
        else:
            self.hit_count += 1
        self._expected = last
        return data

    def _from_memory(self, start: int, stop: int) -> bytes | None:
        at = start - self._ahead_start
        if self._ahead and at >= 0 and stop <= self._ahead_start + len(self._ahead):
            return self._ahead[at : at + stop - start]
        if self._stream is not None and self._stream.position == start:
            return None
        return shared_blocks.held(self._source.key, start, stop)

    def _from_source(self, start: int, stop: int) -> bytes:
        if self._stream is not None and self._stream.position == start:
            return self._from_stream(stop - start)
        self.close()
        if start == 0 and (stop > HEADER or self.size <= SMALL):
            self._stream = self._source.stream()
            if self._stream is not None:
                return self._from_stream(stop)
        self._reach = self._next_reach(stop - start) if start == self._expected else 0
        if self._reach > stop - start:
            return self._read_ahead(start, stop)
        return self._load(start, stop)

    def _next_reach(self, wanted: int) -> int:
        """Return how many bytes to download for a read that continues the last one."""
        farther = 2 * self._reach if self._reach else SMALL
        most: int = max(self.blocksize, wanted)
        return min(max(farther, wanted), most)

    def _read_ahead(self, start: int, stop: int) -> bytes:
        end = min(start + self._reach, self.size)
        self._ahead_start, self._ahead = start, b""
        self._ahead = self._load(start, end)
        return self._ahead[: stop - start]

    def _load(self, start: int, stop: int) -> bytes:
        self.total_requested_bytes += stop - start
        if self._reach and not self._keep:
            return self._source.load(start, stop)
        return shared_blocks.read(self._source.key, self.size, start, stop, self._source.load)

    def _from_stream(self, count: int) -> bytes:
        assert self._stream is not None
        self.total_requested_bytes += count
        keep = self._keep_block if self._keep else None
        try:
            data = self._stream.read(count, BLOCK, keep)
        except BaseException:
            # The blocks of a content that failed verification must not be read from the cache either.
            shared_blocks.drop(self._source.key)
            self.close()
            raise
        if self._stream.position >= self.size:
            self.close()
        return data

    def _keep_block(self, start: int, data: bytes) -> None:
        shared_blocks.keep(self._source.key, start, data)

    def close(self) -> None:
        """Close the stream, if one is open."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


register_cache(SharedCache, clobber=True)


class RemoteReader(AbstractBufferedFile):  # type: ignore[misc]
    """A remote file opened for reading; it always reads the version that was current when it was opened.

    Parameters
    ----------
    fs : AbstractFileSystem
        The filesystem.
    path : str
        Path of the file.
    source : Origin
        Source of the content.
    info : dict
        Info of the file, as the filesystem returns it.
    version_id : int, str or None
        Identifies this version even if the file is moved.
    block_size : int
        Maximum number of bytes to read ahead.
    cache_type : str
        ``rinofs``, or the name of one of fsspec's caches.
    cache_options : dict, optional
        Options of fsspec's cache.
    """

    def __init__(
        self,
        fs: AbstractFileSystem,
        path: str,
        source: Origin,
        *,
        info: dict[str, Any],
        version_id: int | str | None,
        block_size: int,
        cache_type: str,
        cache_options: dict[str, Any] | None,
    ) -> None:
        self._source = source
        self._version_id = version_id
        self._cache_type = cache_type
        own = {"source": source} if cache_type == SharedCache.name else {}
        super().__init__(
            fs,
            path,
            "rb",
            block_size,
            cache_type=cache_type,
            cache_options={**(cache_options or {}), **own},
            size=source.size,
        )
        self.details = info

    @property
    def full_name(self) -> str:
        """The URL of the file."""
        return str(self.fs.unstrip_protocol(self.path))

    @property
    def version_key(self) -> str:
        """Key of this version among all endpoints, users and contents; empty if it has none."""
        return self._source.key

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self._source.load(start, min(end, self.size))

    def close(self) -> None:
        """Close the file, and the stream if one is open."""
        if isinstance(getattr(self, "cache", None), SharedCache):
            self.cache.close()
        super().close()

    def __reduce__(self) -> tuple[Any, ...]:
        return reopen, (
            self.fs,
            self.path,
            self._version_id,
            self._source.key,
            self.loc,
            self.blocksize,
            self._cache_type,
        )


def reopen(
    fs: AbstractFileSystem,
    path: str,
    version_id: int | str | None,
    key: str,
    position: int,
    block_size: int,
    cache_type: str,
) -> RemoteReader:
    """Open the version of a file that a pickled file object had open.

    Raises
    ------
    ContentChangedError
        If that version has another content now.
    """
    file: RemoteReader = fs.open(
        path, "rb", version_id=version_id, block_size=block_size, cache_type=cache_type
    )
    if file._source.key.rpartition(" ")[2] != key.rpartition(" ")[2]:
        raise ContentChangedError(
            "the content changed since the file object was pickled; open it again", file.full_name
        )
    file.seek(position)
    return file
