"""Batch the calls of coroutines that wait at the same time into one call of a blocking function."""

from __future__ import annotations

import asyncio
import contextlib
import threading
import time
from collections import deque
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, Generic, TypeVar
from weakref import WeakKeyDictionary

if TYPE_CHECKING:
    from asyncio import AbstractEventLoop, Future
    from collections.abc import Callable, Sequence

Item = TypeVar("Item")
Result = TypeVar("Result")

NEAR = 0.005
"""A service that responds within this many seconds is on this machine, or on a network as fast."""

_RECENT = 16


async def run_in_thread(work: Callable[[], Result]) -> Result:
    """Run a blocking function in a thread, and return its result.

    A daemon thread is used because, at exit, Python waits for the threads of an executor, even if they are
    waiting for a server (https://docs.python.org/3/library/concurrent.futures.html#threadpoolexecutor).
    If the system allows no more threads, the event loop waits for the function.
    """
    loop = asyncio.get_running_loop()
    future: Future[Result] = loop.create_future()

    def finish(result: Result | None, error: BaseException | None) -> None:
        if future.done():
            return
        if error is None:
            future.set_result(result)  # type: ignore[arg-type]
        else:
            future.set_exception(error)

    def run() -> None:
        result, error = None, None
        try:
            result = work()
        except Exception as raised:  # noqa: BLE001 - raised by whoever waits
            error = raised
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody is waiting any more
            loop.call_soon_threadsafe(finish, result, error)

    try:
        threading.Thread(target=run, name="rinofs-zarr", daemon=True).start()
    except (RuntimeError, MemoryError):
        run()
    return await future


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """Limits on concurrent calls.

    Attributes
    ----------
    items : int
        Maximum number of items in a call.
    size : int
        Maximum size in bytes of a call with more than one item.
    calls : int
        Maximum number of concurrent calls to a distant service. If the service is near, calls run one after
        the other: each has more items, which costs less.
    patience : float
        Maximum seconds that a call waits for as many items as the previous one had: whoever received one of
        those usually asks for the next one soon.
    """

    items: int
    size: int
    calls: int
    patience: float = 0.0


class Batcher(Generic[Item, Result]):
    """Collect items that are requested at the same time, and handle them in one call.

    Without patience, no item waits for others: a call starts at the end of the event loop iteration in which
    its first item arrived, unless the maximum number of calls is running. Items that arrive meanwhile go into
    the next call.

    Parameters
    ----------
    work : callable
        Returns the result of each item, or the exception in its place. It runs in a thread.
    limits : BatchLimits
        Limits on concurrent calls.
    size_of : callable
        Returns the size of an item in bytes, as far as known.
    """

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Result | Exception]],
        limits: BatchLimits,
        size_of: Callable[[Item], int] = lambda _: 0,
    ) -> None:
        self._work = work
        self._limits = limits
        self._size_of = size_of
        self._queues: WeakKeyDictionary[AbstractEventLoop, _BatchQueue[Item, Result]] = WeakKeyDictionary()

    async def ask(self, item: Item) -> Result:
        """Return the result of one item."""
        loop = asyncio.get_running_loop()
        queue = self._queues.get(loop)
        if queue is None:
            queue = self._queues[loop] = _BatchQueue(self._work, self._limits, self._size_of)
        return await queue.put(item)


class _BatchQueue(Generic[Item, Result]):
    """The items of one event loop; nothing else accesses them."""

    def __init__(
        self,
        work: Callable[[list[Item]], Sequence[Result | Exception]],
        limits: BatchLimits,
        size_of: Callable[[Item], int],
    ) -> None:
        self._work = work
        self._limits = limits
        self._size_of = size_of
        self._waiting: deque[tuple[Item, Future[Result]]] = deque()
        self._times: deque[float] = deque(maxlen=_RECENT)
        self._running = 0
        self._scheduled = False
        self._expected = 0
        self._expected_until = 0.0
        self._timer: asyncio.TimerHandle | None = None
        self._calls: set[asyncio.Task[None]] = set()

    def put(self, item: Item) -> Future[Result]:
        future: Future[Result] = asyncio.get_running_loop().create_future()
        self._waiting.append((item, future))
        self._schedule()
        return future

    def _schedule(self) -> None:
        if self._scheduled:
            return
        loop = asyncio.get_running_loop()
        if len(self._waiting) >= self._expected or loop.time() >= self._expected_until:
            self._scheduled = True
            loop.call_soon(self._begin)
        elif self._timer is None:
            self._timer = loop.call_at(self._expected_until, self._begin)

    def _begin(self) -> None:
        self._scheduled = False
        if self._timer is not None:
            self._timer.cancel()
            self._timer = None
        while self._waiting and self._running < self._places():
            if batch := self._take():
                self._running += 1
                task = asyncio.get_running_loop().create_task(self._call(batch))
                self._calls.add(task)  # otherwise it may be garbage-collected
                task.add_done_callback(self._calls.discard)

    def _places(self) -> int:
        return 1 if self._times and min(self._times) < NEAR else self._limits.calls

    def _take(self) -> list[tuple[Item, Future[Result]]]:
        batch: list[tuple[Item, Future[Result]]] = []
        room = self._limits.size
        while self._waiting and len(batch) < self._limits.items:
            item, future = self._waiting[0]
            room -= self._size_of(item)
            if batch and room < 0:
                break
            self._waiting.popleft()
            if not future.done():  # otherwise the waiting task was cancelled
                batch.append((item, future))
        return batch

    async def _call(self, batch: list[tuple[Item, Future[Result]]]) -> None:
        results: Sequence[Any]
        start = time.perf_counter()
        items = [item for item, _ in batch]
        try:
            results = await run_in_thread(lambda: self._work(items))
            self._times.append(time.perf_counter() - start)
        except Exception as error:  # noqa: BLE001 - raised by those who wait
            results = [error] * len(batch)
        finally:
            self._running -= 1
            self._expected = len(batch)
            self._expected_until = asyncio.get_running_loop().time() + self._limits.patience
            if self._waiting:
                self._schedule()
        for (_, future), result in zip(batch, results, strict=True):
            if future.done():
                continue
            if isinstance(result, Exception):
                future.set_exception(result)
            else:
                future.set_result(result)
