"""A bounded thread pool: results in order, cancelled as a whole; errors can be collected per file."""

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
"""Minimum waiting time in a job, in seconds, that justifies starting more threads."""

STARTED_AT_ONCE = 3
"""Number of threads to start after such a job; a dozen threads work after a few round trips."""

GRACE = 3.0
"""Maximum time that an interrupt waits for the threads to clean up, in seconds."""


class Stopped(Exception):  # noqa: N818 - not an error, and never seen outside
    """The work was cancelled, by an error in another part of it or by the user."""


class Stop:
    """A flag that cancels the parts of a common task."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Cancel the work."""
        self._event.set()

    def is_set(self) -> bool:
        """Return whether the work was cancelled."""
        return self._event.is_set()

    def check(self) -> None:
        """Raise `Stopped` if the work was cancelled."""
        if self._event.is_set():
            raise Stopped


class FileErrors:
    """Handles errors that concern one file of many.

    Parameters
    ----------
    on_error : str or callable
        ``raise`` stops with the first error. ``omit`` and ``return`` continue with the other files; with
        ``return``, `result` returns the errors. A function is called at once with each path and its error, in
        the thread where the error occurred.

    Raises
    ------
    ValueError
        If it has another value.
    """

    def __init__(self, on_error: OnError) -> None:
        if not callable(on_error) and on_error not in {"raise", "omit", "return"}:
            raise ValueError(f"on_error must be 'raise', 'omit', 'return' or a function, not {on_error!r}")
        self._on_error = on_error
        self._found: dict[str, Exception] = {}

    @property
    def raised(self) -> bool:
        """Whether the first error stops the work."""
        return self._on_error == "raise"

    @contextlib.contextmanager
    def about(self, path: str) -> Iterator[None]:
        """Handle exceptions in the context as errors of one file."""
        try:
            yield
        except Stopped:
            raise
        except Exception as error:
            if self.raised:
                raise
            self.add(path, error)

    def add(self, path: str, error: Exception) -> None:
        """Handle an error of one file."""
        if callable(self._on_error):
            self._on_error(path, error)
        else:
            self._found[path] = error

    def result(self) -> dict[str, Exception] | None:
        """Return the errors by path if `on_error` is ``return``, else None."""
        return self._found if self._on_error == "return" else None


def run(
    work: Callable[[Job], Result], jobs: Iterable[Job], concurrency: int, stop: Stop | None = None
) -> list[Result]:
    """Call a function for many jobs, several at a time.

    The calling thread works too. More threads are started while jobs turn out to wait for the network, as
    with a distant service. If jobs spend their time computing, more threads would only slow them down. If the
    system allows no more threads, those that there are do all the work.

    Parameters
    ----------
    work : callable
        Called with each of `jobs`, in several threads.
    jobs : iterable
        Arguments of `work`.
    concurrency : int
        Maximum number of jobs at a time.
    stop : Stop, optional
        Set when the work is cancelled, so that running jobs can end early.

    Returns
    -------
    list
        The results, in the order of the jobs.

    Raises
    ------
    Exception
        The first error of a job. Jobs that have not started by then are not started.
    """
    return _Workers(work, list(jobs), concurrency, stop or Stop()).finish()


class _Workers(Generic[Job, Result]):
    """Threads that share the jobs.

    They are daemon threads. At exit, Python waits for the threads of `concurrent.futures`, so a thread that
    waits for a server would keep an interrupted program from ending
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
        """Work until all jobs are done, and return the results in order."""
        count = len(self._left)
        try:
            self._help()
            self._wait()
        except BaseException:
            # Interrupted by the user. The other threads clean up. One that is waiting for a server cleans up
            # later; its partial file is deleted at exit.
            self._stop.set()
            self._wait(GRACE)
            raise
        for failure in sorted(self._failures, key=lambda error: isinstance(error, Stopped)):
            raise failure
        return [self._results[number] for number in range(count)]

    def _wait(self, seconds: float = math.inf) -> None:
        """Wait for the threads to end.

        Does not use Thread.join, which reports a thread as ended after an interrupt
        (https://github.com/python/cpython/issues/90882), and never waits without a timeout, since such a wait
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
                thread = threading.Thread(target=self._thread, name="rinofs", daemon=True)
                self._started += 1
                self._running += 1
                try:
                    thread.start()
                except (RuntimeError, MemoryError):  # as many as the system allows: those do the work
                    self._started -= 1
                    self._running -= 1
                    return

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
