"""A system that allows few threads, as a container with few processes, or one that is out of memory."""

from __future__ import annotations

import contextlib
import threading
from typing import TYPE_CHECKING, TypeVar

from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

Result = TypeVar("Result")

OWN = ("rinofs", "rinofs-part", "rinofs-transfer", "rinofs-zarr")
"""Names of the threads that a client starts."""


@contextlib.contextmanager
def few_threads(count: int, *names: str, error: type[Exception] = RuntimeError) -> Iterator[list[str]]:
    """Allow `count` more threads of these names; yields the names of those that were refused."""
    start, lock = threading.Thread.start, threading.Lock()
    left, refused = count, []

    def limited(thread: threading.Thread) -> None:
        nonlocal left
        if thread.name.partition("_")[0] in (names or OWN):  # an executor numbers its own
            with lock:
                left -= 1
                if left < 0:
                    refused.append(thread.name)
                    raise error("can't start new thread")
        start(thread)

    threading.Thread.start = limited  # type: ignore[method-assign]
    try:
        yield refused
    finally:
        threading.Thread.start = start  # type: ignore[method-assign]


def finished(work: Callable[[], Result]) -> Result:
    """Return the result of a function, or raise its error; fails if it hangs."""
    outcomes: list[Callable[[], Result]] = []

    def run() -> None:
        try:
            result = work()
        except BaseException as error:  # noqa: BLE001 - raised below
            outcomes.append(lambda error=error: _raise(error))  # type: ignore[misc]
        else:
            outcomes.append(lambda: result)

    thread = threading.Thread(target=run, name="finished", daemon=True)
    thread.start()
    thread.join(PATIENCE)
    assert outcomes, "it hangs"
    return outcomes[0]()


def _raise(error: BaseException) -> None:
    raise error
