"""Reused buffers of a transfer, shared with the threads that hash and write their bytes."""

from __future__ import annotations

import mmap
import os
import queue
import sys
import threading

Buffer = bytes | bytearray | memoryview

PIECE = 1024 * 1024
"""Size of a reused buffer in bytes."""

MORE_BUFFERS = 3
"""Number of additional buffers in `budget`."""


def new_buffer(size: int) -> memoryview:
    """Return a writable buffer that starts at a page of the memory.

    Large buffers of `malloc` start 16 bytes after a page. On AMD's Zen 3, the kernel copies the pages of a
    file or a socket to such an address at less than half the speed
    (https://sourceware.org/bugzilla/show_bug.cgi?id=30994).
    """
    if sys.platform == "win32":
        return memoryview(mmap.mmap(-1, size))
    return memoryview(mmap.mmap(-1, size, flags=mmap.MAP_PRIVATE | mmap.MAP_ANONYMOUS))


class _BufferBudget:
    """Additional buffers, shared by all transfers of the process, so that threads can work in parallel."""

    def __init__(self, count: int) -> None:
        self._count = count
        self._lock = threading.Lock()
        if hasattr(os, "register_at_fork"):
            os.register_at_fork(after_in_child=self._renew)

    def take(self, count: int) -> int:
        with self._lock:
            granted = min(count, self._count)
            self._count -= granted
        return granted

    def give(self, count: int) -> None:
        with self._lock:
            self._count += count

    def _renew(self) -> None:
        self._lock = threading.Lock()


budget = _BufferBudget(MORE_BUFFERS)


class BufferRing:
    """Buffers that circulate between a transfer and its threads."""

    def __init__(self, count: int) -> None:
        self._unmade = count
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._own: dict[int, memoryview] = {}

    def get(self) -> memoryview:
        """Return a free buffer; waits while there is none."""
        if self._unmade and self._free.empty():
            self._unmade -= 1
            view = new_buffer(PIECE)
            self._own[id(view.obj)] = view
            return view
        return self._free.get()

    def put(self, view: memoryview) -> None:
        """Take back a buffer that nothing uses any more."""
        self._free.put(view)

    def find(self, data: Buffer) -> memoryview | None:
        """Return the buffer of this ring that contains `data`, or None."""
        return self._own.get(id(data.obj)) if isinstance(data, memoryview) else None


class SharedBuffer:
    """A buffer that returns to its ring when all its users are done."""

    def __init__(self, ring: BufferRing | None, view: memoryview | None, users: int) -> None:
        self._ring = ring
        self._view = view
        self._users = users
        self._lock = threading.Lock()

    def done(self) -> None:
        """Count one user that is done."""
        with self._lock:
            self._users -= 1
            last = not self._users
        if last and self._ring is not None and self._view is not None:
            self._ring.put(self._view)
