"""Calls of coroutines that wait at the same time, carried out together by a function that blocks."""

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
"""Seconds: a service that can answer within them is on this machine, or on a network like it."""

_RECENT = 16


async def run_in_thread(work: Callable[[], Result]) -> Result:
    """Return what a function returns, without holding up the event loop.

    By a daemon thread: Python waits at its end for the threads of an executor, even for those that a server
    keeps waiting (https://docs.python.org/3/library/concurrent.futures.html#threadpoolexecutor).
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
        with contextlib.suppress(RuntimeError):  # the loop was closed: nobody waits any more
            loop.call_soon_threadsafe(finish, result, error)

    threading.Thread(target=run, name="rinofs-zarr", daemon=True).start()
    return await future


@dataclass(frozen=True, slots=True)
class BatchLimits:
    """What may be under way at once.

    Attributes
    ----------
    items : int
        Items of one call.
    size : int
        Bytes of one call that has more than one item.
    calls : int
        Calls, where the service is far away. Where it is near, one after the other has more items each, and
        costs less.
    patience : float
        Seconds that a call waits for as many items as the one before had: whoever got an item of that usually
        has the next one soon.
    """

    items: int
    size: int
    calls: int
    patience: float = 0.0


class Batcher(Generic[Item, Result]):
    """Collect items that wait at the same time, and work on them by one call.

    Without patience nobody waits for others to come: a call begins at the end of the event loop's turn in
    which its first item came, unless as many as may be are under way. What comes meanwhile goes into the next
    one.

    Parameters
    ----------
    work : callable
        Returns the result of each item, or the exception in its place. It runs on a thread.
    limits : BatchLimits
        What may be under way at once.
    size_of : callable
        Returns the bytes that an item takes, as far as that is known.
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
    """The items of one event loop, which alone touches this."""

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
                self._calls.add(task)  # or it may be collected as garbage
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
            if not future.done():  # else whoever waited was cancelled
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
