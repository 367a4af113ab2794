"""Work on many things at once, bounded, in order, and stopped as one."""

from __future__ import annotations

import threading
import time
from typing import TYPE_CHECKING, Generic, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Job = TypeVar("Job")
Result = TypeVar("Result")


LONG_WAIT = 0.002
"""Seconds of waiting in a job from which on more threads are worth their while."""

HIRED_AT_ONCE = 3
"""Threads that join after such a job; so that a dozen work after a few round trips."""


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
    crew = _Crew(work, list(jobs), concurrency, stop or Stop())
    return crew.finish()


class _Crew(Generic[Job, Result]):
    """The threads that share a work."""

    def __init__(self, work: Callable[[Job], Result], jobs: list[Job], concurrency: int, stop: Stop) -> None:
        self._work = work
        self._results: dict[int, Result] = {}
        self._left = list(enumerate(jobs))[::-1]
        self._most = min(concurrency, len(jobs))
        self._stop = stop
        self._failures: list[BaseException] = []
        self._lock = threading.Lock()
        self._threads: list[threading.Thread] = []

    def finish(self) -> list[Result]:
        """Take part until all is done, and return the results in order."""
        count = len(self._left)
        try:
            self._help()
            self._join()
        except BaseException:
            # The user interrupts. Those who are at work clean up after themselves, which nobody should miss.
            self._stop.set()
            self._join()
            raise
        for failure in sorted(self._failures, key=lambda error: isinstance(error, Stopped)):
            raise failure
        return [self._results[number] for number in range(count)]

    def _join(self) -> None:
        while self._threads:
            if self._threads[-1].ident is not None:  # an interruption may come just before a thread starts
                self._threads[-1].join()
            self._threads.pop()

    def _take_part(self) -> None:
        while (taken := self._next()) is not None:
            number, job = taken
            began, computed = time.perf_counter(), time.thread_time()
            self._results[number] = self._work(job)
            computed = time.thread_time() - computed
            waited = time.perf_counter() - began - computed
            if waited > LONG_WAIT and waited > 2 * computed:
                self._hire()

    def _next(self) -> tuple[int, Job] | None:
        with self._lock:
            return self._left.pop() if self._left and not self._stop.is_set() else None

    def _hire(self) -> None:
        with self._lock:
            for _ in range(min(HIRED_AT_ONCE, self._most - 1 - len(self._threads), len(self._left))):
                thread = threading.Thread(target=self._help, name="rinofs", daemon=True)
                self._threads.append(thread)
                thread.start()

    def _help(self) -> None:
        try:
            self._take_part()
        except Exception as error:  # noqa: BLE001 - raised again by the thread that waits for all
            self._failures.append(error)
            self._stop.set()
