"""Work on many things at once, bounded, in order, and stopped as one."""

from __future__ import annotations

import threading
from concurrent.futures import FIRST_EXCEPTION, ThreadPoolExecutor, wait
from typing import TYPE_CHECKING, TypeVar

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

Job = TypeVar("Job")
Result = TypeVar("Result")


class Stopped(Exception):  # noqa: N818 - not an error, and never seen outside
    """The work was given up because another part of it failed, or the user interrupted it."""


class Stop:
    """Tells the parts of a common work that it was given up."""

    def __init__(self) -> None:
        self._event = threading.Event()

    def set(self) -> None:
        """Give the work up."""
        self._event.set()

    def check(self) -> None:
        """Raise `Stopped` if the work was given up."""
        if self._event.is_set():
            raise Stopped


def run(
    work: Callable[[Job], Result], jobs: Iterable[Job], concurrency: int, stop: Stop | None = None
) -> list[Result]:
    """Do the same work on many things, some at a time.

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
    jobs = list(jobs)
    if len(jobs) <= 1 or concurrency == 1:
        return [work(job) for job in jobs]
    stop = stop or Stop()
    with ThreadPoolExecutor(min(concurrency, len(jobs)), "rinofs") as executor:
        futures = [executor.submit(work, job) for job in jobs]
        try:
            wait(futures, return_when=FIRST_EXCEPTION)
        finally:
            if not all(future.done() and not future.exception() for future in futures):
                stop.set()
                executor.shutdown(wait=False, cancel_futures=True)
    failures = [f.exception() for f in futures if not f.cancelled() and f.exception() is not None]
    for failure in sorted(failures, key=lambda error: isinstance(error, Stopped)):
        assert failure is not None
        raise failure
    return [future.result() for future in futures]
