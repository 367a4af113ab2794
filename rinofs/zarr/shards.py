"""Reads of a shard by one task or thread: first its index, then its chunks.

Versions of zarr before 3.3 request the chunks one after the other, later ones all of them together, with
`Store.get_ranges`. zarr's fused pipeline does the same in threads, with `Store.get_ranges_sync`.
"""

from __future__ import annotations

import asyncio
import threading
import time
from typing import TYPE_CHECKING, Any, cast
from weakref import WeakKeyDictionary

from rinofs.fs.blocks import BLOCK, shared_blocks
from rinofs.fs.process import after_fork_in_child
from rinofs.fs.reading import fetches_of
from rinofs.fs.transfer import ranges
from rinofs.fs.transfer.pool import run
from rinofs.zarr.batching import Batcher, BatchLimits

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import TypeAlias

    from rinofs.fs.files.reader import RemoteReader, Source
    from rinofs.fs.filesystem import RemoteFileSystem

    Part: TypeAlias = "tuple[_Shard, int, int]"

_ONE = BatchLimits(items=1, size=0, calls=8)

_CONCURRENT = 4

PATIENCE = 1.0
"""Maximum seconds between two reads of a task; after that, the second one reads the current version."""

SMALL = 256 * 1024
"""Maximum size in bytes of a chunk whose surroundings are read with it."""

MOST_AHEAD = 4 * 1024 * 1024
"""Maximum number of bytes to read around a chunk."""


class ShardReads:
    """The shards whose index tasks have read.

    The index of a shard is in the last bytes of its value. After a task, or a thread that runs no event loop,
    has read these, it gets further parts from the same version, since an index does not apply to the chunks
    of another version. As the version is fixed, each read of a single part can include more than was
    requested: as much as was requested before, so the total is at most doubled.

    Parameters
    ----------
    fs : RemoteFileSystem
        The filesystem.
    """

    def __init__(self, fs: RemoteFileSystem) -> None:
        self._fs = fs
        self._make_lock()
        after_fork_in_child(self._make_lock)
        self._shards: WeakKeyDictionary[asyncio.Task[Any] | threading.Thread, _Shard] = WeakKeyDictionary()
        self._opening: Batcher[str, _Shard] = Batcher(self._open, _ONE)
        self._parts: Batcher[Part, bytes] = Batcher(_read, _ONE)

    def _make_lock(self) -> None:
        self._lock = threading.Lock()  # of the mapping, which all tasks and threads change

    async def last(self, path: str, count: int) -> bytes:
        """Return the last bytes of a value, and remember its version for the task."""
        shard = await self._opening.ask(path)
        self._remember(shard)
        return await self._part(shard, max(shard.size - count, 0), shard.size)

    def last_now(self, path: str, count: int) -> bytes:
        """Return the last bytes as `last` does, for a thread."""
        [shard] = self._open([path])
        self._remember(shard)
        return shard.read_one(-count, None)

    def _remember(self, shard: _Shard) -> None:
        with self._lock:
            self._shards[_reader()] = shard

    def opened(self, path: str) -> _Shard | None:
        """Return the version whose end the task or thread has just read; None if it has not."""
        with self._lock:
            shard = self._shards.get(_reader())
        return None if shard is None or shard.path != path or time.monotonic() > shard.expires else shard

    async def part(self, path: str, start: int, stop: int) -> bytes | None:
        """Return a part of a value; None unless the task has just read the end of the value."""
        shard = self.opened(path)
        if shard is None:
            return None
        return await self._part(shard, start, min(stop, shard.size))

    async def _part(self, shard: _Shard, start: int, stop: int) -> bytes:
        if start >= stop:
            return b""
        data = shard.held(start, stop)
        if data is None:
            data = await self._parts.ask((shard, start, stop))
        shard.asked += stop - start
        shard.expires = time.monotonic() + PATIENCE
        return data

    def forget(self, path: str) -> None:
        """Forget a value that has changed, and all below it if it is a folder, so that they are read anew."""
        with self._lock:
            for reader, shard in list(self._shards.items()):
                if shard.path == path or shard.path.startswith(f"{path}/"):
                    self._shards.pop(reader, None)

    def _open(self, paths: Sequence[str]) -> list[_Shard]:
        return [_Shard(path, self._fs.open(path, "rb")) for path in paths]


def _reader() -> asyncio.Task[Any] | threading.Thread:
    """Return the current task, or the current thread if it runs no event loop."""
    try:
        task = asyncio.current_task()
    except RuntimeError:
        task = None
    return threading.current_thread() if task is None else task


class _Shard:
    """One version of a value, whose blocks are in the cache."""

    def __init__(self, path: str, file: RemoteReader) -> None:
        self.path = path
        self.size = int(file.size)
        self.asked = 0
        self.expires = 0.0
        self._file = file
        self._blocks: set[int] = set()

    def held(self, start: int, stop: int) -> bytes | None:
        return shared_blocks.held(self._file.version_key, start, stop)

    def read(self, start: int, stop: int) -> bytes:
        first, last = self._widened(start, stop)
        data = shared_blocks.read(
            self._file.version_key,
            self.size,
            first,
            last,
            self._file._fetch_range,  # noqa: SLF001 - fsspec's
        )
        self._blocks.update(range(first // BLOCK, (last - 1) // BLOCK + 1))
        return data[start - first : stop - first]

    def read_many(self, spans: Sequence[tuple[int | None, int | None]]) -> list[bytes | Exception]:
        """Return parts, given by start and stop as in slices, by few requests."""
        wanted = [ranges.Wanted(number, *span) for number, span in enumerate(spans)]
        found: list[bytes | Exception] = [b""] * len(spans)
        source = cast("Source", self._file._source)  # noqa: SLF001 - the version that is open
        fetches = fetches_of(source, wanted, ranges.MAX_GAP)
        for parts in run(lambda fetch: fetch.run("return"), fetches, _CONCURRENT):
            for number, data in parts:
                found[number] = data
        self.expires = time.monotonic() + PATIENCE
        return found

    def read_one(self, start: int | None, stop: int | None) -> bytes:
        """Return a part as `read_many` does, or raise its error."""
        [data] = self.read_many([(start, stop)])
        if isinstance(data, Exception):
            raise data
        return data

    def _widened(self, start: int, stop: int) -> tuple[int, int]:
        """Return the range to read for a part: extended by unread blocks, first after it, then before it."""
        if stop - start > SMALL:
            return start, stop
        more = min(self.asked, MOST_AHEAD, shared_blocks.max_bytes // 16) // BLOCK
        first, last = start // BLOCK, (stop - 1) // BLOCK
        while more and (last + 1) * BLOCK < self.size and last + 1 not in self._blocks:
            last, more = last + 1, more - 1
        while more and first and first - 1 not in self._blocks:
            first, more = first - 1, more - 1
        return min(start, first * BLOCK), max(stop, min((last + 1) * BLOCK, self.size))


def _read(parts: Sequence[Part]) -> Sequence[bytes | Exception]:
    return [shard.read(start, stop) for shard, start, stop in parts]
