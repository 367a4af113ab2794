"""Compute digests of contents during the transfer, and compare them at its end.

Hashing and writing release the GIL, so with a second core, threads do them in parallel with the transfer. All
share a few buffers. If all buffers are waiting for a thread, the transfer waits, so memory is bounded.
"""

from __future__ import annotations

import contextlib
import hashlib
import os
import queue
import re
import threading
import weakref
from collections.abc import Callable
from typing import TYPE_CHECKING

from rinofs.errors import ContentMismatchError
from rinofs.http.content.buffers import MORE_BUFFERS, Buffer, BufferRing, SharedBuffer, budget
from rinofs.protocol.digests import (
    BLAKE3,
    PART_SIZE,
    best_digest,
    etag_of_parts,
    new_hasher,
    parse_repr_digest,
)
from rinofs.protocol.extensions import REPR_DIGEST

if TYPE_CHECKING:
    import io
    from collections.abc import Mapping

INLINE = 1024 * 1024
"""Contents up to this size in bytes are hashed without threads: starting one would take longer."""

_BUFFERS = 2
_QUEUED = 8
_WRITES = 3  # the lane that writes
_Update = Callable[[memoryview], object]
_Task = tuple[_Update, memoryview, SharedBuffer]


class _Lane:
    """A thread that runs ``update(view)`` in order, until one fails.

    In a forked child it does not exist, and the parent's may hold the locks of the queue.

    Attributes
    ----------
    failures : list of BaseException
        The error, if one failed.
    """

    def __init__(self) -> None:
        self.failures: list[BaseException] = []
        self._process = os.getpid()
        self._tasks: queue.Queue[_Task | None] = queue.Queue(_QUEUED)
        self._dropped = threading.Event()
        work = (self._tasks, self._dropped, self.failures)
        self._thread = threading.Thread(target=_work, args=work, name="rinofs-transfer", daemon=True)
        self._thread.start()

    @property
    def is_here(self) -> bool:
        """Whether the thread belongs to this process."""
        return self._process == os.getpid()

    def put(self, task: _Task) -> None:
        self._tasks.put(task)

    def drop(self) -> None:
        """Discard the queued work."""
        if not self.is_here:
            return
        self._dropped.set()
        with contextlib.suppress(queue.Full):  # then the thread is busy, and checks the flag next
            self._tasks.put_nowait(None)

    def join(self) -> None:
        if not self.is_here:
            return
        self._tasks.put(None)
        self._thread.join()


def _work(tasks: queue.Queue[_Task | None], dropped: threading.Event, failures: list[BaseException]) -> None:
    while not dropped.is_set() and (task := tasks.get()) is not None:
        update, view, share = task
        try:
            if not failures:
                update(view)
        except BaseException as error:  # noqa: BLE001 - raised again by the thread that transfers
            failures.append(error)
        del update, view, task
        share.done()


class SideDigests:
    """Computes a digest, the etag, or both, of a content during its transfer; can write it, too.

    Parameters
    ----------
    digest : str or None
        Name of the digest, one of `DIGESTS`; None for none.
    etag : bool
        Whether to compute the etag.
    size : int, optional
        Size in bytes, if known; a small content is hashed without threads.
    passing : bool
        Whether to compute BLAKE3 without a thread. By the time a thread reached a piece, the piece would have
        left the processor's cache, or its memory could not be reused for the next one, which costs more.
    write_thread : bool
        Whether `feed` writes in a thread.
    """

    def __init__(
        self,
        digest: str | None,
        *,
        etag: bool,
        size: int | None,
        passing: bool = False,
        write_thread: bool = False,
    ) -> None:
        self.count = 0
        self._hasher = None if digest is None else new_hasher(digest)
        self._parts: list[hashlib._Hash] | None = [] if etag else None
        self._small = size is not None and size <= INLINE
        fast = passing and digest == BLAKE3 and not etag
        self._inline = self._small or fast or not (digest or etag)
        self._write_thread = write_thread and not self._small
        alone = self._inline and not self._write_thread
        self._lanes: dict[int, _Lane] = {}
        self._more = 0 if alone else budget.take(MORE_BUFFERS)
        self._buffers = 1 if alone else _BUFFERS + self._more
        self._ring: BufferRing | None = None
        self._finalizer = weakref.finalize(self, _drop, self._lanes, self._more)
        self._finalizer.atexit = False

    def buffer(self) -> memoryview:
        """Return a free buffer; waits while all are being hashed. Pass it to `feed`, or it is lost."""
        if self._ring is None:
            self._ring = BufferRing(self._buffers)
        return self._ring.get()

    def feed(
        self, data: Buffer, *, stable: bool, write: Callable[[memoryview], object] | None = None
    ) -> None:
        """Hash the next bytes, and write them; see `Verifier.feed`."""
        view = memoryview(data)
        if self.is_lost:
            if write is not None:
                write(view)
            return
        own = None if self._ring is None else self._ring.find(data)
        threads = not self._inline or (write is not None and self._write_thread)
        if own is None and not stable and threads and not isinstance(view.obj, bytes):
            view = memoryview(bytes(view))
        tasks = self._tasks(view)
        if write is not None and len(view):
            # First if in a thread, so that it starts at once; last if not, so that the others start at once.
            tasks.insert(0 if self._write_thread else len(tasks), (write, view, _WRITES))
        if self._ring is None and not threads:
            for update, part, _ in tasks:
                update(part)
            return
        share = SharedBuffer(self._ring, own, len(tasks))
        for update, part, number in tasks:
            threaded = self._write_thread if number == _WRITES else not self._inline
            lane = self._lane(number) if threaded else None
            if lane is None:
                update(part)
                share.done()
            else:
                lane.put((update, part, share))
                _raise_failure(lane)
        if self._ring is not None and own is not None and not tasks:
            self._ring.put(own)

    @property
    def is_lost(self) -> bool:
        """Whether the digests cannot be known: threads of the process that forked this one compute them."""
        return not all(lane.is_here for lane in self._lanes.values())

    def finish_writes(self) -> None:
        """Wait until everything is written; raises the error of `write`, if any."""
        lane = self._lanes.pop(_WRITES, None)
        if lane is not None:
            lane.join()
            _raise_failure(lane)

    def finish(self) -> tuple[str | None, str | None]:
        """Wait, and return the hex digest and the etag; None for what was not requested, or is lost."""
        if self.is_lost:
            return None, None
        self.finish_writes()
        for lane in self._lanes.values():
            lane.join()
            _raise_failure(lane)
        self._lanes.clear()
        self._finalizer()
        digest = None if self._hasher is None else self._hasher.hexdigest()
        etag = None if self._parts is None else etag_of_parts([part.digest() for part in self._parts])
        return digest, etag

    def abandon(self) -> None:
        """Stop, discard the digests, and wait until nothing writes any more."""
        lane = self._lanes.pop(_WRITES, None)
        self._finalizer()
        if lane is not None:
            lane.join()

    def _tasks(self, view: memoryview) -> list[tuple[_Update, memoryview, int]]:
        """Return the hashing work for the next bytes: (update, bytes, lane)."""
        tasks: list[tuple[_Update, memoryview, int]] = []
        if not len(view):
            return tasks
        if self._hasher is not None:
            tasks.append((self._hasher.update, view, 2))
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

    def _lane(self, number: int) -> _Lane | None:
        """Return a lane, started on first use; None if the system allows no more threads."""
        if number not in self._lanes:
            try:
                self._lanes[number] = _Lane()
            except (RuntimeError, MemoryError):
                return None
        return self._lanes[number]


def _raise_failure(lane: _Lane) -> None:
    if lane.failures:
        raise lane.failures[0]


def _drop(lanes: dict[int, _Lane], more: int) -> None:
    for lane in lanes.values():
        lane.drop()
    lanes.clear()
    if more:
        budget.give(more)


ETAG = "etag"
"""Name of the etag among what a `Verifier` compares."""

_ETAG = re.compile(r"[0-9a-f]{32}-(\d{1,9})")


class Verifier:
    """Hashes a content in other threads during its transfer, and compares the digest at the end.

    A loop without copies takes a buffer, fills it, and feeds the filled part. There are never more than a few
    buffers::

        while count := stream.readinto(view := verifier.buffer()):
            verifier.feed(view[:count])
            file.write(view[:count])
        verifier.finish()

    Parameters
    ----------
    checks : str or None
        The digest to compare: one of `DIGESTS` or ``"etag"``; None for the size only.
    expected : str or None
        The digest that the content should have, in hex, or its etag.
    size : int, optional
        Expected size in bytes.
    label : str
        Name of the content for messages.
    passing : bool
        Whether to compute BLAKE3 without a thread; see `SideDigests`.
    write_thread : bool
        Whether `feed` writes in a thread.

    Attributes
    ----------
    checks : str or None
        The digest that is compared.
    """

    def __init__(
        self,
        checks: str | None,
        expected: str | None,
        *,
        size: int | None = None,
        label: str = "",
        passing: bool = False,
        write_thread: bool = False,
    ) -> None:
        self.checks = checks
        self._expected = expected
        self._size = size
        self._label = label
        self._count = 0
        self._digests = SideDigests(
            None if checks == ETAG else checks,
            etag=checks == ETAG,
            size=size,
            passing=passing,
            write_thread=write_thread,
        )

    @classmethod
    def for_response(
        cls,
        headers: Mapping[str, str],
        etag: str | None,
        size: int | None,
        *,
        label: str = "",
        passing: bool = False,
        write_thread: bool = False,
    ) -> Verifier:
        """Choose the cheapest digest that a response offers and this process can compute.

        Parameters
        ----------
        headers : Mapping
            Headers of the response with the content; its ``Repr-Digest`` is preferred.
        etag : str, optional
            Etag of the content; used if it was computed from parts of 6 MiB.
        size : int, optional
            Size of the content in bytes, if known.
        label : str
            Name of the content for messages.
        passing, write_thread : bool
            As for `Verifier`.
        """
        offered = parse_repr_digest(headers.get(REPR_DIGEST, ""))
        best = best_digest(offered)
        if best is not None:
            return cls(
                best, offered[best], size=size, label=label, passing=passing, write_thread=write_thread
            )
        usable = etag is not None and _is_of_parts(etag, size)
        return cls(
            *((ETAG, etag) if usable else (None, None)), size=size, label=label, write_thread=write_thread
        )

    def buffer(self) -> memoryview:
        """Return a buffer to read into; waits while all are being hashed."""
        return self._digests.buffer()

    def feed(
        self,
        data: Buffer,
        *,
        stable: bool = False,
        write: Callable[[memoryview], object] | None = None,
    ) -> None:
        """Hash the next bytes.

        Immutable bytes and filled parts of `buffer` are not copied, nor is anything marked `stable`, which
        the caller must not change before `finish`.

        `write` is called with the bytes; it must write all of them and not keep them. With `write_thread`,
        this or a later call raises its error.
        """
        self._count += len(data)
        self._digests.feed(data, stable=stable, write=write)

    def finish_writes(self) -> None:
        """Wait until everything is written; raises the error of `write`, if any."""
        self._digests.finish_writes()

    def finish(self) -> None:
        """Wait until everything is written and hashed, and compare the digest.

        In a forked child, the digest of a content that the parent began to receive may be lost; it is not
        compared then.

        Raises
        ------
        ContentMismatchError
            If the size or the digest differs.
        """
        lost = self._digests.is_lost
        digest, etag = self._digests.finish()
        if self._size is not None and self._count != self._size:
            raise ContentMismatchError(
                f"content mismatch: received {self._count} bytes instead of {self._size}; try again",
                self._label,
            )
        found = digest if digest is not None else etag
        if found != self._expected and not lost:
            raise ContentMismatchError(
                f"content mismatch: the {self.checks} of the received bytes is {found}, the service says"
                f" {self._expected}; damaged on the way or in the store: try again",
                self._label,
            )

    def abandon(self) -> None:
        """Stop without comparing when nothing writes any more; allowed at any time, also after `finish`."""
        self._digests.abandon()


def _is_of_parts(etag: str, size: int | None) -> bool:
    """Return whether an etag looks as if it was computed from parts of 6 MiB."""
    match = _ETAG.fullmatch(etag)
    return match is not None and size is not None and int(match[1]) == -(-size // PART_SIZE)


def copy_to(
    stream: io.RawIOBase,
    write: Callable[[memoryview], object],
    verifier: Verifier,
    keep_going: Callable[[int], bool] | None = None,
) -> int:
    """Copy the rest of a stream through a few reused buffers, and verify it.

    Parameters
    ----------
    stream : ContentStream
        Stream to read, from its current position.
    write : callable
        Called with each piece; must write all of it and not keep it.
    verifier : Verifier
        Receives each piece, and is finished at the end of the stream.
    keep_going : callable, optional
        Called with the size of each piece; returns whether to continue. If not, the caller must read the rest
        and finish the verifier.

    Returns
    -------
    int
        Number of bytes copied.
    """
    count = 0
    try:
        while True:
            buffer = verifier.buffer()
            got = stream.readinto(buffer)
            if not got:
                break
            verifier.feed(buffer[:got], write=write)
            count += got
            if keep_going is not None and not keep_going(got):
                verifier.finish_writes()
                return count
        verifier.finish()
    except BaseException:
        verifier.abandon()
        raise
    return count
