"""The file object for reading: one version of a content, fetched on demand."""

from __future__ import annotations

import uuid
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, Protocol, Self

from fsspec.caching import BaseCache, register_cache
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from rinofs.errors import ContentChangedError, ContentMismatchError
from rinofs.fs.blocks import BLOCK, shared_blocks
from rinofs.fs.files.unstreamed import FetcherSource
from rinofs.http.content.content import BrokenReadError, open_content
from rinofs.http.content.slices import read_content, read_spans
from rinofs.http.content.verify import Verifier

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rinofs.http.content.content import Content, ContentStream
    from rinofs.http.session.session import HttpSession

HEADER = 64 * 1024
"""A first read of more than this starts a download of the whole file; a shorter one only reads a header."""

SMALL = 128 * 1024
"""Contents up to this many bytes are downloaded whole by the first read at the beginning."""

PIECE = 256 * 1024
"""Bytes that are taken from a stream at once for shorter reads than `SMALL`."""

LARGE = 8 * 1024 * 1024
BEGINNING = 1024 * 1024
"""Of a content of more than `LARGE` bytes, this many are read in short pieces before a stream is opened: who
reads only the beginning would waste what is on its way, and the connection."""


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

    def stream(self, start: int, before: Iterable[bytes | None]) -> Sequential | None:
        """Start a sequential download of everything from `start` on; None if not possible.

        `before` is what precedes it, which is verified, too; see `Sequential`.
        """
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
    """Read a content to its end, in pieces of any size, and verify it there.

    Downloads in multiples of blocks, so that whole blocks can be cached; the remaining bytes are kept for the
    next read.

    Parameters
    ----------
    stream : ContentStream
        The stream, at the first byte to read.
    size : int
        Size of the content in bytes.
    verifier : Verifier or None
        Has received everything before that byte; None to verify nothing.

    Attributes
    ----------
    start : int
        Offset of the first byte.
    position : int
        Offset of the next read.
    """

    def __init__(self, stream: ContentStream, size: int, verifier: Verifier | None) -> None:
        self.start = self.position = self._received = stream.position
        self._stream = stream
        self._size = size
        self._rest = b""
        self._verifier = verifier

    @classmethod
    def open(
        cls,
        session: HttpSession,
        content: Content,
        start: int,
        before: Iterable[bytes | None],
        *,
        verify: bool,
    ) -> Self:
        """Start the download of a content of known size.

        Parameters
        ----------
        session : HttpSession
            Sends the request.
        content : Content
            Content to read.
        start : int
            First byte to download.
        before : iterable of bytes or None
            Everything before it, in order. If a piece is None, the content is not verified.
        verify : bool
            Whether to verify the whole content when its last byte is read.
        """
        size = content.size or 0
        stream = open_content(session, content, start)
        verifier = None
        if verify:
            verifier = Verifier.for_response(
                stream.headers, content.etag, size, label=content.label, passing=True
            )
            for piece in before:
                if piece is None:
                    verifier.abandon()
                    verifier = None
                    break
                verifier.feed(piece)
        return cls(stream, size, verifier)

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

    def stream(self, start: int, before: Iterable[bytes | None]) -> Sequential:
        """Start a sequential download of everything from `start` on, after `before`."""
        return Sequential.open(self.session, self.content, start, before, verify=self.verify)


class SharedCache(BaseCache):  # type: ignore[misc]
    """Read a file by way of the shared blocks, and adapt the size of downloads to the pattern of reads.

    A read of more than a header at the beginning opens a stream over the whole content. After a shorter one,
    the read that continues it does; of a large content, after more of them. The stream serves all reads until
    one jumps, and verifies the content at its end. Sequential reads elsewhere read ahead, twice as far each
    time. All other reads download only the blocks that they touch.

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
        # The beginning is kept all the same, since a stream that starts behind it verifies it too.
        self._beginning = BEGINNING if min(size, shared_blocks.max_bytes) > LARGE else 0
        self._stream: Sequential | None = None
        self._mismatch: ContentMismatchError | None = None
        self._expected = -1
        self._begun = 0  # the bytes up to here were read without a gap
        self._head = b""
        self._ahead_start = 0
        self._ahead = b""
        self._reach: int = 0

    def _fetch(self, start: int | None, stop: int | None) -> bytes:
        first = 0 if start is None else start
        last = self.size if stop is None else min(stop, self.size)
        if first >= last:
            return b""
        if self._mismatch is not None and first:
            raise ContentMismatchError(self._mismatch.message, self._mismatch.filename)
        self._mismatch = None  # what is read from the beginning again is verified again
        data = self._from_memory(first, last)
        if data is None:
            self.miss_count += 1
            data = self._from_source(first, last)
        else:
            self.hit_count += 1
        self._expected = last
        self._begun = max(self._begun, last) if first <= self._begun else 0
        return data

    def _from_memory(self, start: int, stop: int) -> bytes | None:
        at = start - self._ahead_start
        if self._ahead and at >= 0 and stop <= self._ahead_start + len(self._ahead):
            return self._ahead[at : at + stop - start]
        if self._stream is not None and start <= self._stream.position < stop:
            return None  # the stream goes on where the reads do
        return shared_blocks.held(self._source.key, start, stop)

    def _from_source(self, start: int, stop: int) -> bytes:
        data = self._through_stream(start, stop)
        if data is None:
            again = self._reach > 0
            self._reach = self._next_reach(stop - start) if start == self._expected else 0
            self.close()
            self._start_stream(start, stop, again=again)
            data = self._through_stream(start, stop)
        if data is not None:
            return data
        if self._reach > stop - start:
            return self._read_ahead(start, stop)
        data = self._load(start, stop)
        if start == 0 and stop <= HEADER:
            self._head = data
        return data

    def _through_stream(self, start: int, stop: int) -> bytes | None:
        """Return bytes up to `stop`, of which only the first may be in memory; None if no stream has them."""
        at = -1 if self._stream is None else self._stream.position
        if not start <= at < stop:
            return None
        held = self._from_memory(start, at) if start < at else b""
        return None if held is None else held + self._from_stream(at, stop)

    def _start_stream(self, start: int, stop: int, *, again: bool) -> None:
        """Start a stream if a read suggests that the whole content is read."""
        if start == 0:
            begun, is_whole = 0, stop > HEADER or self.size <= SMALL
        else:
            begun = self._begun
            # A read that leaves less than a block leaves nothing to download, and what is not kept is
            # in memory only once, so no later read can open a stream that verifies these bytes.
            is_last = self.size - stop < BLOCK or not self._keep
            is_long = again or stop - start < SMALL or is_last
            is_whole = start <= begun < stop and is_long and max(begun, stop - SMALL) >= self._beginning
        if is_whole and (start == begun or self._from_memory(start, begun) is not None):
            self._stream = self._source.stream(begun, self._before(begun))

    def _before(self, stop: int) -> Iterator[bytes | None]:
        """Iterate over what was read up to an offset; None stands for what is not in memory any more."""
        if len(self._head) == stop:
            yield self._head
            return
        for start in range(0, stop, PIECE):
            yield shared_blocks.held(self._source.key, start, min(start + PIECE, stop))

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
        if self._reach and not self._keep and start >= self._beginning:
            return self._source.load(start, stop)
        return shared_blocks.read(self._source.key, self.size, start, stop, self._source.load)

    def _from_stream(self, start: int, stop: int) -> bytes:
        assert self._stream is not None
        self._head = b""
        ahead = min(PIECE, self.blocksize) if stop - start < SMALL else 0
        end = min(max(stop, start + ahead), self.size)
        self.total_requested_bytes += end - start
        keep = self._keep_block if self._keep else None
        try:
            data = self._stream.read(end - start, BLOCK, keep)
        except BrokenReadError:
            was_whole = self._stream.start == 0
            self.close()
            if was_whole:
                raise
            return self._load(start, stop)
        except BaseException as error:
            self.close()
            if isinstance(error, ContentMismatchError):
                self._refuse(error)
            raise
        if end == self.size:
            self.close()
        self._ahead_start, self._ahead = (start, data) if end > stop else (0, b"")
        return data[: stop - start]

    def _refuse(self, error: ContentMismatchError) -> None:
        """Return nothing more of a content that failed verification, neither from memory nor by ranges."""
        shared_blocks.drop(self._source.key)
        self._ahead, self._begun = b"", 0
        self._mismatch = ContentMismatchError(error.message, error.filename)  # without its traceback

    def _keep_block(self, start: int, data: bytes) -> None:
        part = -start % BLOCK  # of a block of which the beginning was read before
        shared_blocks.keep(self._source.key, start + part, memoryview(data)[part:])

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
