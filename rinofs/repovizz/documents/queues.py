"""The edits of the threads of one process, in turn; and uploads, which change structures too."""

from __future__ import annotations

import threading
from contextlib import contextmanager
from typing import TYPE_CHECKING

from rinofs.errors import ConflictError, NotFoundError
from rinofs.fs.process import after_fork_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.datapack import Document
    from rinofs.repovizz.records import Datapack


class Job:
    """An edit that somebody waits for.

    Parameters
    ----------
    edit : callable
        Takes the document and returns the one that is to take its place.
    label : str
        What is edited, for messages.
    """

    def __init__(self, edit: Callable[[Document], Document], label: str) -> None:
        self.label = label
        self.done = False
        self.result: Datapack | None = None
        self.error: BaseException | None = None
        self._edit = edit

    def apply(self, document: Document) -> Document:
        """Return the edited document."""
        try:
            return self._edit(document)
        except (FileExistsError, FileNotFoundError, NotADirectoryError, IsADirectoryError) as error:
            raise _named(error, self.label) from None

    def finish(self, result: Datapack | None, error: BaseException | None = None) -> None:
        """Tell who waits how it went."""
        self.done, self.result, self.error = True, result, error


def _named(error: OSError, label: str) -> OSError:
    if isinstance(error, FileExistsError):
        return ConflictError("already exists", label)
    if isinstance(error, FileNotFoundError):
        return NotFoundError(path=label)
    return type(error)(error.errno, error.strerror, label)


class _Queue:
    """What goes on in one datapack."""

    def __init__(self) -> None:
        self.waiting: list[Job] = []
        self.editing = False
        self.uploads = 0
        self.users = 0


class Queues:
    """What the threads of one endpoint and user do to datapacks."""

    def __init__(self) -> None:
        self._start_empty()
        after_fork_in_child(self._start_empty)

    def _start_empty(self) -> None:
        self._changed = threading.Condition()
        self._queues: dict[str, _Queue] = {}

    @contextmanager
    def _queue(self, identifier: str) -> Iterator[_Queue]:
        with self._changed:
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
        """Keep edits of this process out while a content is stored, which changes the structure."""
        with self._queue(identifier) as queue:
            while queue.editing or queue.waiting:
                self._changed.wait()
            queue.uploads += 1
            self._changed.release()
            try:
                yield
            finally:
                self._changed.acquire()
                queue.uploads -= 1
                self._changed.notify_all()

    @contextmanager
    def alone(self, identifier: str) -> Iterator[None]:
        """Keep edits and uploads of this process out."""
        with self._queue(identifier) as queue:
            while queue.editing or queue.uploads:
                self._changed.wait()
            queue.editing = True
            self._changed.release()
            try:
                yield
            finally:
                self._changed.acquire()
                queue.editing = False
                self._changed.notify_all()

    def work(self, identifier: str, job: Job, commit: Callable[[list[Job]], None]) -> None:
        """Have a job done, by this thread or by the one whose turn it is.

        Parameters
        ----------
        identifier : str
            The datapack.
        job : Job
            The edit.
        commit : callable
            Does several jobs in one request; called without any lock held.
        """
        with self._queue(identifier) as queue:
            queue.waiting.append(job)
            while (queue.editing or queue.uploads) and not job.done:
                self._changed.wait()
            if job.done:
                return
            queue.editing = True
            batch, queue.waiting = queue.waiting, []
            self._changed.release()
            try:
                _do(commit, batch)
            finally:
                self._changed.acquire()
                queue.editing = False
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
