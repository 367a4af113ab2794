"""The file object for reading: one version of a content, fetched as it is wanted."""

from __future__ import annotations

import uuid
from typing import TYPE_CHECKING, Any

from fsspec.caching import BaseCache, register_cache
from fsspec.spec import AbstractBufferedFile, AbstractFileSystem

from rinofs.errors import ContentChangedError
from rinofs.fs.blocks import BLOCK, shared_blocks
from rinofs.fs.files.origins import FetcherSource

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.fs.files.origins import Origin, Sequential

HEADER = 64 * 1024
"""A first read of more than this is the beginning of a read of everything, not a look at a header."""

SMALL = 128 * 1024
"""Bytes up to which a content is fetched whole at the first touch of its beginning."""


class SharedCache(BaseCache):  # type: ignore[misc]
    """Serve a file from the shared blocks, and fetch what they lack in the way that the reads suggest.

    A read at the beginning of more than a header opens a stream, which goes on for as long as the reads do
    not jump. Reads in order elsewhere read ahead, twice as far each time. All other reads fetch the blocks
    that they touch.

    Parameters
    ----------
    blocksize : int
        Bytes to read ahead at most.
    fetcher : callable
        Downloads the bytes between two offsets.
    size : int
        Bytes of the content.
    source : Origin, optional
        Where the bytes come from; by default the fetcher, and nothing is shared.
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
        # Content larger than the cache would push everything else out, itself at last.
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
        """Return how far to fetch when a read goes on where the last one ended."""
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
            # What does not match its digest must not be served from the cache either.
            shared_blocks.drop(self._source.key)
            self.close()
            raise
        if self._stream.position >= self.size:
            self.close()
        return data

    def _keep_block(self, start: int, data: bytes) -> None:
        shared_blocks.keep(self._source.key, start, data)

    def close(self) -> None:
        """End a download that is under way."""
        stream, self._stream = self._stream, None
        if stream is not None:
            stream.close()


register_cache(SharedCache, clobber=True)


class RemoteReader(AbstractBufferedFile):  # type: ignore[misc]
    """A file that is read from a service; it stays at the version that it was opened at.

    Parameters
    ----------
    fs : AbstractFileSystem
        The filesystem.
    path : str
        Where the file was found.
    source : Origin
        Its content.
    info : dict
        What the filesystem knows of it.
    version_id : int, str or None
        Opens this version again, wherever the file is by then.
    block_size : int
        Bytes to read ahead at most.
    cache_type : str
        ``rinofs`` or one of fsspec's.
    cache_options : dict, optional
        Passed to a cache of fsspec's.
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

    def _fetch_range(self, start: int, end: int) -> bytes:
        return self._source.load(start, min(end, self.size))

    def close(self) -> None:
        """End a download that is under way, and close the file."""
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
    """Open the very version of a file that a pickle was made of.

    Raises
    ------
    ContentChangedError
        If that version has other content by now.
    """
    file: RemoteReader = fs.open(
        path, "rb", version_id=version_id, block_size=block_size, cache_type=cache_type
    )
    if file._source.key.rpartition(" ")[2] != key.rpartition(" ")[2]:
        raise ContentChangedError("the content was changed since the file was pickled", file.full_name)
    file.seek(position)
    return file
