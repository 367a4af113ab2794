"""The block cache, shared by all files of a process.

All threads and filesystem objects of a process share one cache. The key of a block contains the endpoint, the
user, the object and its version, so blocks of different versions or users never mix.
"""

from __future__ import annotations

import os
import threading
from typing import TYPE_CHECKING

from cachetools import LRUCache

from rinofs.errors import InvalidOptionError
from rinofs.fs.process import after_fork_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

BLOCK = 16 * 1024
"""Bytes in a block. Small, so that a random read downloads little more than it needs."""

DEFAULT_CACHE_SIZE = 256 * 1024 * 1024
"""Default limit for the bytes in all blocks together."""

_PATIENCE = 0.2  # seconds until a wait checks again, in case an interrupt kept it from being notified


class BlockStore:
    """Blocks of content in memory, evicted least recently used first.

    Parameters
    ----------
    max_bytes : int
        Limit for the bytes in all blocks together.
    """

    def __init__(self, max_bytes: int) -> None:
        self._max_bytes = max_bytes
        self._start_empty()
        after_fork_in_child(self._start_empty)

    def _start_empty(self) -> None:
        self._lock = threading.Lock()
        self._changed = threading.Condition(self._lock)  # an interrupt can leave `with` this one locked
        self._blocks: LRUCache[tuple[str, int], bytes] = LRUCache(self._max_bytes, getsizeof=len)
        self._loading: set[tuple[str, int]] = set()

    @property
    def max_bytes(self) -> int:
        """Limit for the bytes in all blocks together."""
        return self._max_bytes

    @property
    def bytes_held(self) -> int:
        """Bytes in all blocks together."""
        return int(self._blocks.currsize)

    def resize(self, max_bytes: int) -> None:
        """Set the limit, and evict blocks beyond it."""
        with self._lock:
            kept = LRUCache[tuple[str, int], bytes](max_bytes, getsizeof=len)
            for key in list(self._blocks):
                if len(self._blocks[key]) <= max_bytes:
                    kept[key] = self._blocks[key]
            self._max_bytes, self._blocks = max_bytes, kept

    def held(self, content: str, start: int, stop: int) -> bytes | None:
        """Return the bytes [start, stop) of a content if all of them are cached, else None."""
        first, last = start // BLOCK, (stop - 1) // BLOCK
        with self._lock:
            blocks = [self._blocks.get((content, index)) for index in range(first, last + 1)]
        if any(block is None for block in blocks):
            return None
        return _cut([block for block in blocks if block is not None], first, start, stop)

    def keep(self, content: str, start: int, data: bytes | memoryview) -> None:
        """Cache the blocks in `data`, which begins and ends at block boundaries."""
        view = memoryview(data)
        first = start // BLOCK
        blocks = [bytes(view[at : at + BLOCK]) for at in range(0, len(view), BLOCK)]
        with self._lock:
            self._put(content, first, blocks)

    def drop(self, content: str) -> None:
        """Remove all blocks of a content."""
        with self._lock:
            for key in [key for key in self._blocks if key[0] == content]:
                del self._blocks[key]

    def read(
        self, content: str, size: int, start: int, stop: int, load: Callable[[int, int], bytes]
    ) -> bytes:
        """Return the bytes [start, stop) of a content, downloading the blocks that are not cached.

        If two threads miss the same block, only one downloads it.

        Parameters
        ----------
        content : str
            Key of the content and its version.
        size : int
            Size of the whole content in bytes.
        start, stop : int
            Range to return, within the content.
        load : callable
            Downloads the bytes between two offsets.

        Returns
        -------
        bytes
            Exactly ``stop - start`` bytes.
        """
        first, last = start // BLOCK, (stop - 1) // BLOCK
        blocks: list[bytes] = []
        while len(blocks) <= last - first:
            index = first + len(blocks)
            claimed: list[tuple[str, int]] = []
            try:
                blocks.extend(self._take_or_claim(content, index, last, claimed))
                if claimed:
                    blocks.extend(self._load(content, size, claimed[0][1], len(claimed), load))
            finally:
                if claimed:
                    # Without a lock, in one step that no interrupt can prevent: others wait for these blocks.
                    self._loading.difference_update(claimed)
                    with self._lock:
                        self._changed.notify_all()
        return _cut(blocks, first, start, stop)

    def _take_or_claim(
        self, content: str, index: int, last: int, claimed: list[tuple[str, int]]
    ) -> list[bytes]:
        """Return the cached blocks from `index` on; add those after them that this thread downloads."""
        with self._lock:
            while (content, index) in self._loading:
                self._changed.wait(_PATIENCE)
            held: list[bytes] = []
            while index <= last and (block := self._blocks.get((content, index))) is not None:
                held.append(block)
                index += 1
            while index <= last and self._is_free(content, index):
                claimed.append((content, index))  # first, so that it is given up whatever happens
                self._loading.add((content, index))
                index += 1
            return held

    def _is_free(self, content: str, index: int) -> bool:
        return (content, index) not in self._loading and (content, index) not in self._blocks

    def _load(
        self, content: str, size: int, first: int, count: int, load: Callable[[int, int], bytes]
    ) -> list[bytes]:
        data = memoryview(load(first * BLOCK, min((first + count) * BLOCK, size)))
        blocks = [bytes(data[at : at + BLOCK]) for at in range(0, len(data), BLOCK)]
        with self._lock:
            self._put(content, first, blocks)
        return blocks

    def _put(self, content: str, first: int, blocks: Sequence[bytes]) -> None:
        for offset, block in enumerate(blocks):
            if len(block) <= self._max_bytes:
                self._blocks[content, first + offset] = block


def _cut(blocks: list[bytes], first: int, start: int, stop: int) -> bytes:
    """Join blocks, the first of which has index `first`, and cut out the bytes [start, stop)."""
    offset = first * BLOCK
    if len(blocks) == 1:
        return blocks[0][start - offset : stop - offset]
    blocks[-1] = blocks[-1][: stop - offset - BLOCK * (len(blocks) - 1)]
    blocks[0] = blocks[0][start - offset :]
    return b"".join(blocks)


def _size_from_environment() -> int:
    text = os.environ.get("RINOFS_CACHE_SIZE")
    if text is None:
        return DEFAULT_CACHE_SIZE
    if not text.isascii() or not text.isdigit():
        raise InvalidOptionError(f"RINOFS_CACHE_SIZE={text!r} is not a number of bytes")
    return int(text)


shared_blocks = BlockStore(_size_from_environment())


def set_cache_size(max_bytes: int) -> None:
    """Limit the memory for cached content in this process.

    The environment variable ``RINOFS_CACHE_SIZE`` sets the limit at the start of a process.

    Parameters
    ----------
    max_bytes : int
        Bytes; 0 disables the cache. The default is 256 MiB.

    Raises
    ------
    InvalidOptionError
        If it is not an integer, or is negative.
    """
    if isinstance(max_bytes, bool) or not isinstance(max_bytes, int) or max_bytes < 0:
        raise InvalidOptionError(f"the cache size must be a whole number of bytes >= 0, not {max_bytes!r}")
    shared_blocks.resize(max_bytes)
