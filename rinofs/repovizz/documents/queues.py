"""Queues of edits by the threads of one process, and of uploads, which change documents too."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rinofs.errors import ConflictError, NotFoundError
from rinofs.fs.process import after_fork_in_child
from rinofs.repovizz.paths import is_id, part_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.datapack import Document
    from rinofs.repovizz.records import Datapack


_PATIENCE = 0.2  # seconds until a wait checks again, in case an interrupt kept it from being notified


class Job:
    """An edit that a thread waits for.

    Parameters
    ----------
    edit : callable
        Takes the document and returns the new one.
    label : str
        Name of the edited object for messages.
    part : str, optional
        Part of a path that stands for the datapack: the edit fails if that has another name by now.
    """

    def __init__(self, edit: Callable[[Document], Document], label: str, part: str | None = None) -> None:
        self.label = label
        self.part = part
        self.done = False
        self.result: Datapack | None = None
        self.error: BaseException | None = None
        self._edit = edit

    def apply(self, datapack: Datapack, document: Document) -> Document:
        """Return the edited document, which begins as that of a state of the datapack."""
        if self.part is not None:
            check_name(datapack, self.part, self.label)
        try:
            return self._edit(document)
        except (FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise _named(error, self.label) from None

    def finish(self, result: Datapack | None, error: BaseException | None = None) -> None:
        """Set the result, and wake the waiting thread."""
        self.done, self.result, self.error = True, result, error


def check_name(datapack: Datapack, part: str, label: str) -> None:
    """Raise NotFoundError if a part of a path, unless it is an id, stands for a datapack no more."""
    if not is_id(part) and part_of(datapack) != part:
        message = f"another client has renamed {part} to {datapack.name!r}; list it again, then retry"
        raise NotFoundError(message, label, status=404)


def _named(error: OSError, label: str) -> OSError:
    if isinstance(error, FileExistsError):
        return ConflictError("already exists", label)
    if isinstance(error, FileNotFoundError):
        return NotFoundError(path=label)
    return type(error)(error.errno, error.strerror, label)


class _Queue:
    """The edits and uploads of one datapack."""

    def __init__(self) -> None:
        self.waiting: list[Job] = []
        self.editing = False
        self.uploads: set[object] = set()
        self.users = 0


class Queues:
    """Queues of edits for the datapacks of one endpoint and user, shared by all threads."""

    def __init__(self) -> None:
        self._start_empty()
        after_fork_in_child(self._start_empty)

    def _start_empty(self) -> None:
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)  # an interrupt can leave `with` this one locked
        self._queues: dict[str, _Queue] = {}

    @contextmanager
    def _queue(self, identifier: str) -> Iterator[_Queue]:
        with self._lock:
            queue = self._queues.setdefault(identifier, _Queue())
            queue.users += 1
            try:
                yield queue
            finally:
                queue.users -= 1
                if not queue.users:
                    self._queues.pop(identifier, None)

    @contextmanager
    def uploading(self, identifier: str) -> Iterator[None]:
        """Block edits by this process while a content is stored, which changes the document."""
        with self._queue(identifier) as queue:
            while queue.editing or queue.waiting:
                self._changed.wait(_PATIENCE)
            upload = object()
            queue.uploads |= {upload}  # without a call, at which an interrupt may come
            try:
                self._lock.release()
                yield
            finally:
                try:
                    queue.uploads.discard(upload)  # first: an interrupt may come at any call
                finally:
                    self._lock.acquire()
                    self._changed.notify_all()

    @contextmanager
    def alone(self, identifier: str) -> Iterator[None]:
        """Block edits and uploads by this process."""
        with self._queue(identifier) as queue:
            while queue.editing or queue.uploads:
                self._changed.wait(_PATIENCE)
            queue.editing = True
            try:
                self._lock.release()
                yield
            finally:
                queue.editing = False  # first: an interrupt may come at any call
                self._lock.acquire()
                self._changed.notify_all()

    def work(self, identifier: str, job: Job, commit: Callable[[list[Job]], None]) -> None:
        """Carry out an edit, in this thread or in the one that is currently sending.

        Parameters
        ----------
        identifier : str
            Id of the datapack.
        job : Job
            Edit.
        commit : callable
            Carries out several edits with one request; called without holding a lock.
        """
        with self._queue(identifier) as queue:
            try:
                queue.waiting.append(job)
                while (queue.editing or queue.uploads) and not job.done:
                    self._changed.wait(_PATIENCE)
            except BaseException:
                # Interrupted: nobody may be left to carry it out, and uploads wait for all edits.
                queue.waiting = [other for other in queue.waiting if other is not job]
                raise
            if job.done:
                return
            batch, queue.waiting = queue.waiting, []
            if job not in batch:  # the thread that took it was interrupted before it began
                batch.append(job)
            queue.editing = True  # last: an interrupt may come at any call
            try:
                self._lock.release()
                _do(commit, batch)
            finally:
                queue.editing = False  # first: an interrupt may come at any call
                self._lock.acquire()
                self._changed.notify_all()


def _do(commit: Callable[[list[Job]], None], batch: list[Job]) -> None:
    try:
        commit(batch)
    except BaseException as error:
        for job in batch:
            if not job.done:
                job.finish(None, error)
        if not isinstance(error, Exception):
            raise
