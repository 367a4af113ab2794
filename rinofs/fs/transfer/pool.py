"""A bounded thread pool: results in order, stopped as one; errors can be collected per file."""

from __future__ import annotations

import contextlib
import math
import queue
import threading
import time
from typing import TYPE_CHECKING, Generic, TypeAlias, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

Job = TypeVar("Job")
Result = TypeVar("Result")
OnError: TypeAlias = "str | Callable[[str, Exception], object]"

LONG_WAIT = 0.002
"""Seconds of waiting in a job from which on more threads are worth starting."""

STARTED_AT_ONCE = 3
"""Threads that are started after such a job, so that a dozen work after a few round trips."""

GRACE = 3.0
"""Seconds for which an interruption waits for the threads to clean up."""


class Stopped(Exception):  # noqa: N818 - not an error, and never seen outside
    """The work was given up because another part of it failed, or the user interrupted it."""


class Stop:
    """Tells the parts of a common work that it was given up."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Give the work up."""
        self._event.set()

    def is_set(self) -> bool:
        """Return whether the work was given up."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Stopped` if the work was given up."""
        if self._event.is_set():
            raise Stopped


class FileErrors:
    """What becomes of an error that concerns one file of many.

    Parameters
    ----------
    on_error : str or callable
        ``raise`` ends the work with the first error. ``omit`` and ``return`` go on with the other files;
        with ``return``, `result` has the errors. A function is called with each path and its error, at once
        and by the thread that met it.

    Raises
    ------
    ValueError
        If it is none of them.
    """

    def __init__(self, on_error: OnError) -> None:
        if not callable(on_error) and on_error not in {"raise", "omit", "return"}:
            raise ValueError(f"on_error must be 'raise', 'omit', 'return' or a function, not {on_error!r}")
        self._on_error = on_error
        self._found: dict[str, Exception] = {}

    @property
    def raised(self) -> bool:
        """Whether the first error ends the work."""
        return self._on_error == "raise"

    @contextlib.contextmanager
    def about(self, path: str) -> Iterator[None]:
        """Handle what is raised inside as an error of one file."""
        try:
            yield
        except Stopped:
            raise
        except Exception as error:
            if self.raised:
                raise
            self.add(path, error)

    def add(self, path: str, error: Exception) -> None:
        """Take an error of one file."""
        if callable(self._on_error):
            self._on_error(path, error)
        else:
            self._found[path] = error

    def result(self) -> dict[str, Exception] | None:
        """Return the errors by path, where they are to be returned."""
        return self._found if self._on_error == "return" else None


def run(
    work: Callable[[Job], Result], jobs: Iterable[Job], concurrency: int, stop: Stop | None = None
) -> list[Result]:
    """Do the same work on many things, some at a time.

    The calling thread works too. Others join it for as long as the jobs turn out to be spent waiting, as they
    are where the service is far away; where they are spent computing, more threads would only be in the way.

    Parameters
    ----------
    work : callable
        Is called with each of `jobs`, on several threads.
    jobs : iterable
        What to work on.
    concurrency : int
        How many at a time, at most.
    stop : Stop, optional
        Is set when the work is given up, so that what is under way can end early.

    Returns
    -------
    list
        The results, in the order of the jobs.

    Raises
    ------
    Exception
        The first that the work raised. What was not begun by then is not begun any more.
    """
    return _Workers(work, list(jobs), concurrency, stop or Stop()).finish()


class _Workers(Generic[Job, Result]):
    """The threads that share a work.

    They are daemons: the interpreter waits at its end for the threads of `concurrent.futures`, but where the
    user interrupts, one that a server keeps waiting must not keep the program from ending
    (https://docs.python.org/3/library/concurrent.futures.html#threadpoolexecutor).
    """

    def __init__(self, work: Callable[[Job], Result], jobs: list[Job], concurrency: int, stop: Stop) -> None:
        self._work = work
        self._results: dict[int, Result] = {}
        self._left = list(enumerate(jobs))[::-1]
        self._most = min(concurrency, len(jobs))
        self._stop = stop
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._started = 0
        self._running = 0
        self._ended: queue.SimpleQueue[None] = queue.SimpleQueue()

    def finish(self) -> list[Result]:
        """Take part until all is done, and return the results in order."""
        count = len(self._left)
        try:
            self._help()
            self._wait()
        except BaseException:
            # The user interrupts. Those who are at work clean up after themselves, unless a server keeps
            # them waiting: they do so later then, and what they were filling is removed at exit.
            self._stop.set()
            self._wait(GRACE)
            raise
        for failure in sorted(self._failures, key=lambda error: isinstance(error, Stopped)):
            raise failure
        return [self._results[number] for number in range(count)]

    def _wait(self, seconds: float = math.inf) -> None:
        """Wait for the threads to end.

        Not by Thread.join, which takes a thread for ended once it was interrupted
        (https://github.com/python/cpython/issues/90882), nor without a limit, since a wait without one
        cannot be interrupted on Windows.
        """
        deadline = time.monotonic() + seconds
        while self._running and time.monotonic() < deadline:
            with contextlib.suppress(queue.Empty):
                self._ended.get(timeout=0.2)
                with self._lock:
                    self._running -= 1

    def _take_part(self) -> None:
        while (taken := self._next()) is not None:
            number, job = taken
            began, computed = time.perf_counter(), time.thread_time()
            self._results[number] = self._work(job)
            computed = time.thread_time() - computed
            waited = time.perf_counter() - began - computed
            if waited > LONG_WAIT and waited > 2 * computed:
                self._start_more()

    def _next(self) -> tuple[int, Job] | None:
        with self._lock:
            return self._left.pop() if self._left and not self._stop.is_set() else None

    def _start_more(self) -> None:
        with self._lock:
            for _ in range(min(STARTED_AT_ONCE, self._most - 1 - self._started, len(self._left))):
                self._started += 1
                self._running += 1
                threading.Thread(target=self._thread, name="rinofs", daemon=True).start()

    def _thread(self) -> None:
        try:
            self._help()
        finally:
            self._ended.put(None)

    def _help(self) -> None:
        try:
            self._take_part()
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits for all
            self._failures.append(error)
            self._stop.set()
