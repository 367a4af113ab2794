"""Digests taken on other threads while bytes are transferred.

hashlib lets go of the interpreter while it hashes, so a transfer and its digests run at the same time
where there is a second core. What they share is a few buffers: when all are being hashed, the transfer
waits, so memory stays bounded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import threading
import weakref
from collections.abc import Callable

from rinofs.protocol.digests import PART_SIZE, etag_of_parts

Buffer = bytes | bytearray | memoryview

PIECE = 512 * 1024
"""Size of a reused buffer."""

INLINE = 1024 * 1024
"""A content up to this size is hashed at once: starting a thread costs more."""

_BUFFERS = 3
_MORE_BUFFERS = 11
_QUEUED = 8


class _Budget:
    """Further buffers, for all transfers of the process: hashing parts side by side needs a part ahead."""

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


_budget = _Budget(_MORE_BUFFERS)


class _Ring:
    """Buffers that go round between a transfer and those who hash."""

    def __init__(self, count: int) -> None:
        self._unmade = count
        self._free: queue.SimpleQueue[memoryview] = queue.SimpleQueue()
        self._own: dict[int, memoryview] = {}

    def get(self) -> memoryview:
        if self._unmade and self._free.empty():
            self._unmade -= 1
            view = memoryview(bytearray(PIECE))
            self._own[id(view.obj)] = view
            return view
        return self._free.get()

    def put(self, view: memoryview) -> None:
        self._free.put(view)

    def find(self, data: Buffer) -> memoryview | None:
        """Return the buffer that `data` is a part of, if it is one of these."""
        return self._own.get(id(data.obj)) if isinstance(data, memoryview) else None


class _Share:
    """A buffer that goes back to its ring when all have hashed their part of it."""

    def __init__(self, ring: _Ring, view: memoryview | None, users: int) -> None:
        self._ring = ring
        self._view = view
        self._users = users
        self._lock = threading.Lock()

    def done(self) -> None:
        with self._lock:
            self._users -= 1
            last = not self._users
        if last and self._view is not None:
            self._ring.put(self._view)


_Update = Callable[[memoryview], None]
_Task = tuple[_Update, memoryview, _Share]


class _Lane:
    """A thread that runs ``update(view)`` in order."""

    def __init__(self) -> None:
        self._tasks: queue.Queue[_Task | None] = queue.Queue(_QUEUED)
        self._dropped = threading.Event()
        work = (self._tasks, self._dropped)
        self._thread = threading.Thread(target=_work, args=work, name="rinofs-hash", daemon=True)
        self._thread.start()

    def put(self, task: _Task) -> None:
        self._tasks.put(task)

    def drop(self) -> None:
        """Leave the rest unhashed."""
        self._dropped.set()
        with contextlib.suppress(queue.Full):  # then the thread is at work, and looks up after it
            self._tasks.put_nowait(None)

    def join(self) -> None:
        self._tasks.put(None)
        self._thread.join()


def _work(tasks: queue.Queue[_Task | None], dropped: threading.Event) -> None:
    while not dropped.is_set() and (task := tasks.get()) is not None:
        update, view, share = task
        update(view)
        del view, task
        share.done()


class SideDigests:
    """Takes the sha-256 or the etag of a content, or both, beside its transfer.

    Parameters
    ----------
    sha256, etag : bool
        What to take.
    size : int, optional
        Bytes to come, where known; a small content is hashed without threads.
    """

    def __init__(self, *, sha256: bool, etag: bool, size: int | None) -> None:
        self.count = 0
        self._sha256 = hashlib.sha256() if sha256 else None
        self._parts: list[hashlib._Hash] | None = [] if etag else None
        self._inline = not (sha256 or etag) or (size is not None and size <= INLINE)
        self._lanes: dict[int, _Lane] = {}
        self._more = 0 if self._inline else _budget.take(_MORE_BUFFERS)
        self._ring = _Ring(1 if self._inline else _BUFFERS + self._more)
        self._finalizer = weakref.finalize(self, _drop, self._lanes, self._more)
        self._finalizer.atexit = False

    def buffer(self) -> memoryview:
        """Return a free buffer; waits while all are being hashed. It must be fed, or all are used up."""
        return self._ring.get()

    def feed(self, data: Buffer, *, stable: bool) -> None:
        """Hash the next bytes; see `Verifier.feed`."""
        view = memoryview(data)
        own = self._ring.find(data)
        if own is None and not stable and not self._inline and not isinstance(view.obj, bytes):
            view = memoryview(bytes(view))
        tasks = self._tasks(view)
        share = _Share(self._ring, own, len(tasks))
        for update, part, lane in tasks:
            if self._inline:
                update(part)
                share.done()
            else:
                self._lane(lane).put((update, part, share))
        if own is not None and not tasks:
            self._ring.put(own)

    def finish(self) -> tuple[str | None, str | None]:
        """Wait, and return the hex sha-256 and the etag; None for what was not asked for."""
        for lane in self._lanes.values():
            lane.join()
        self._lanes.clear()
        self._finalizer()
        sha256 = None if self._sha256 is None else self._sha256.hexdigest()
        etag = None if self._parts is None else etag_of_parts([part.digest() for part in self._parts])
        return sha256, etag

    def abandon(self) -> None:
        """Stop; what was taken is lost."""
        self._finalizer()

    def _tasks(self, view: memoryview) -> list[tuple[_Update, memoryview, int]]:
        """Say who hashes what of the next bytes: (update, bytes, lane)."""
        tasks: list[tuple[_Update, memoryview, int]] = []
        if not len(view):
            return tasks
        if self._sha256 is not None:
            tasks.append((self._sha256.update, view, 2))
        start = self.count
        self.count += len(view)
        while self._parts is not None and len(view):
            part, offset = divmod(start, PART_SIZE)
            if part == len(self._parts):
                self._parts.append(hashlib.md5(usedforsecurity=False))
            piece = view[: PART_SIZE - offset]
            tasks.append((self._parts[part].update, piece, part % 2))
            start += len(piece)
            view = view[len(piece) :]
        return tasks

    def _lane(self, number: int) -> _Lane:
        if number not in self._lanes:
            self._lanes[number] = _Lane()
        return self._lanes[number]


def _drop(lanes: dict[int, _Lane], more: int) -> None:
    for lane in lanes.values():
        lane.drop()
    lanes.clear()
    _budget.give(more)
