"""Work on many files at once, with a progress bar, that Ctrl-C can end."""

from __future__ import annotations

import contextlib
import queue
import sys
import threading
import time
from typing import TYPE_CHECKING, Any, Self, TypeVar

from fsspec.callbacks import Callback

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator
    from pathlib import Path

__all__ = ["CancelledError", "FileTicks", "Progress", "for_each"]

T = TypeVar("T")

WORKERS = 8
_GRACE_SECONDS = 1.0


class CancelledError(Exception):
    """The work was ended by the user; raised in the middle of a transfer, so that it cleans up."""


class Progress:
    """Bytes done of all bytes to do, on a bar where someone watches.

    Parameters
    ----------
    what : str
        What is going on, shown before the bar.
    total : int
        Bytes to do.
    shown : bool
        Whether to draw a bar on standard error.
    """

    def __init__(self, what: str, total: int, *, shown: bool) -> None:
        self.cancelled = threading.Event()
        self._lock = threading.Lock()
        self._unfinished: dict[Path, bool] = {}
        self._bar: Any = None
        if shown:
            from tqdm import tqdm

            self._bar = tqdm(desc=what, total=total, unit="B", unit_scale=True, unit_divisor=1024, leave=True)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def add(self, size: int) -> None:
        """Count `size` more bytes (fewer, where something starts over).

        Raises
        ------
        CancelledError
            If the work is to end.
        """
        if self.cancelled.is_set():
            raise CancelledError
        if self._bar is not None:
            with self._lock:
                self._bar.update(size)

    def expect(self, total: int) -> None:
        """Say how many bytes there are to do, where that was not known at the beginning."""
        if self._bar is not None:
            with self._lock:
                self._bar.reset(total)

    @contextlib.contextmanager
    def unfinished(self, path: Path, *, worth_keeping: bool) -> Iterator[None]:
        """Remember a file that the work inside is filling, in case that the work cannot clean up itself.

        Parameters
        ----------
        path : Path
            The file.
        worth_keeping : bool
            Whether it is kept if there is anything in it.
        """
        self._unfinished[path] = worth_keeping
        try:
            yield
        finally:
            del self._unfinished[path]

    def remove_unfinished(self) -> None:
        """Remove what threads that no longer answer are filling; for the end of the command."""
        for path, worth_keeping in list(self._unfinished.items()):
            with contextlib.suppress(OSError):
                if not (worth_keeping and path.stat().st_size):
                    path.unlink()

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Make room for other lines on standard error."""
        if self._bar is None:
            yield
            return
        with self._lock, self._bar.external_write_mode(file=sys.stderr):
            yield


class FileTicks(Callback):  # type: ignore[misc]
    """Tell fsspec's callback for one file to the progress of all.

    Parameters
    ----------
    progress : Progress
        Where the bytes are counted.

    Attributes
    ----------
    progress : Progress
        The same.
    """

    def __init__(self, progress: Progress) -> None:
        super().__init__()
        self.progress = progress

    def relative_update(self, inc: int = 1) -> None:
        """Count `inc` more bytes of the file."""
        self.value += inc
        self.progress.add(inc)

    def absolute_update(self, value: int) -> None:
        """Count the file's bytes as `value`."""
        self.relative_update(value - self.value)


def for_each(items: Iterable[T], work: Callable[[T], None], progress: Progress) -> None:
    """Do `work` on every item, some at once, in any order.

    Where the user ends it, what is under way is told so and given some seconds to clean up. The threads
    are daemons, so that one that a server keeps waiting does not keep the command from ending.

    Parameters
    ----------
    items : iterable
        What to work on.
    work : callable
        Takes an item; raises nothing but `CancelledError`.
    progress : Progress
        Says when to end.
    """
    waiting: queue.SimpleQueue[T] = queue.SimpleQueue()
    for item in items:
        waiting.put(item)
    workers = min(WORKERS, waiting.qsize())
    ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def worker() -> None:
        try:
            with contextlib.suppress(queue.Empty, CancelledError):
                while not progress.cancelled.is_set():
                    work(waiting.get_nowait())
        finally:
            ended.put(None)

    left = 0
    try:
        for _ in range(workers):
            left += 1  # first: an interruption may come at any moment, also while the first are at work
            threading.Thread(target=worker, daemon=True).start()
        while left:
            left -= _one_ended(ended)
    except BaseException:
        progress.cancelled.set()
        deadline = time.monotonic() + _GRACE_SECONDS
        while left and time.monotonic() < deadline:
            left -= _one_ended(ended)
        progress.remove_unfinished()
        raise


def _one_ended(ended: queue.SimpleQueue[None]) -> bool:
    # Not Thread.join: one that was interrupted takes its thread for ended. And not without a limit, since
    # on Windows a wait without one cannot be interrupted.
    try:
        ended.get(timeout=0.2)
    except queue.Empty:
        return False
    return True
