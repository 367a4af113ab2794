"""Limits on the cost of a request, and fair sharing of resources between users and addresses.

Context variables tell every layer two things about a request, so that no layer has to pass them on: whether
its client has left, and the client's address.
"""

from __future__ import annotations

import asyncio
import hashlib
import threading
import time
from collections import Counter, deque
from contextlib import contextmanager
from contextvars import ContextVar
from typing import TYPE_CHECKING, Generic, TypeVar

from anyio import CapacityLimiter, to_thread
from cachetools import TTLCache

from rinofs.server.errors import BadRequest, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

K = TypeVar("K", str, int)
T = TypeVar("T")
V = TypeVar("V")

__all__ = [
    "CLIENT_ADDRESS",
    "CLIENT_GONE",
    "HELD",
    "SMALL_BODY",
    "BodyMemory",
    "FairQueue",
    "HeldMemory",
    "Remembered",
    "check_time",
    "is_over",
    "limited",
]

CLIENT_GONE: ContextVar[Callable[[], bool] | None] = ContextVar("rinofs_client_gone", default=None)
"""Returns whether the client of the current request has left. `web.connections` sets it for each request;
`is_over` calls it during work that is pointless once the client has left."""

CLIENT_ADDRESS: ContextVar[str | None] = ContextVar("rinofs_client_address", default=None)
"""The address of the current request's client, for the audit log. `web.connections` sets it, and
`web.proxies` replaces it if a trusted proxy names another one."""

SMALL_BODY = 16 * 1024
"""Bytes of a body that are accepted regardless of the memory in use."""

HELD = "rinofs.held"
"""Key in the scope of a user's request for its `HeldMemory`."""

PATIENCE = 3
"""Ratio of the wall-clock limit to the limit of CPU time: on a busy machine, work has to wait."""


# Time


class _Limits(threading.local):
    """The limits of this thread's current work; none by default."""

    processor = clock = float("inf")
    ends_with_client = False


_limits = _Limits()


@contextmanager
def limited(seconds: float, *, ends_with_client: bool) -> Iterator[None]:
    """Limit the time of this thread's work, if it is done for a request.

    Work for an administrator or the garbage collection has no limit.

    Parameters
    ----------
    seconds : float
        Limit of the CPU time; `PATIENCE` times as much is the limit of the wall-clock time.
    ends_with_client : bool
        Whether the work also ends when the client has left.
    """
    if CLIENT_GONE.get() is None:
        yield
        return
    before = _limits.processor, _limits.clock, _limits.ends_with_client
    _limits.processor = time.thread_time() + seconds
    _limits.clock = time.monotonic() + PATIENCE * seconds
    _limits.ends_with_client = ends_with_client
    try:
        yield
    finally:
        _limits.processor, _limits.clock, _limits.ends_with_client = before


def is_over() -> bool:
    """Return whether this thread's work has to end."""
    if time.thread_time() > _limits.processor or time.monotonic() > _limits.clock:
        return True
    gone = CLIENT_GONE.get() if _limits.ends_with_client else None
    return gone is not None and gone()


def check_time() -> None:
    """Reject a request whose body takes too long to parse and check. Called at each step of that work.

    Raises
    ------
    BadRequest
        If the work has to end.
    """
    if is_over():
        raise BadRequest("checking the body takes too long; send less in one request")


# Look-ups


class Remembered(Generic[V]):
    """A short-lived cache of what secrets, such as tokens, stand for, so that most requests need no look-up.

    It stores only hashes of the secrets, and is thread-safe.

    Parameters
    ----------
    seconds : float
        How long an entry is kept.
    timer : callable
        Returns the seconds of any clock.
    """

    def __init__(self, seconds: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._known: TTLCache[bytes, V] = TTLCache(4096, seconds, timer=timer)
        self._lock = threading.Lock()

    def get(self, secret: str) -> V | None:
        """Return the value of a secret, or None."""
        with self._lock:
            return self._known.get(_digest(secret))

    def keep(self, secret: str, value: V) -> None:
        """Remember what a secret stands for."""
        with self._lock:
            self._known[_digest(secret)] = value

    def forget(self) -> None:
        """Clear the cache, after something has changed."""
        with self._lock:
            self._known.clear()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


# Memory


class BodyMemory:
    """The memory budget for request bodies: in total, and for each user.

    Only the thread of the event loop may use it.

    Parameters
    ----------
    total : int
        Maximum number of bytes in total.
    each : int
        Maximum number of bytes of one user.
    """

    def __init__(self, total: int, each: int) -> None:
        self._free = total
        self._total = total
        self._each = each
        self._used: Counter[int] = Counter()

    def held_by(self, user: int) -> HeldMemory:
        """Return a new counter for one request of a user."""
        return HeldMemory(self, user)

    def take(self, user: int, size: int) -> None:
        """Add to the bytes of a user; a negative `size` frees memory."""
        self._free -= size
        self._used[user] += size
        if not self._used[user]:
            del self._used[user]

    def is_scarce(self, user: int, size: int, share: int = 1) -> bool:
        """Return whether `size` more bytes would exceed the budget divided by `share`."""
        taken = self._total - self._free
        return taken + size > self._total // share or self._used[user] + size > self._each // share


class HeldMemory:
    """The part of `BodyMemory` that one request holds until it has ended."""

    __slots__ = ("_memory", "_size", "_user")

    def __init__(self, memory: BodyMemory, user: int) -> None:
        self._memory = memory
        self._user = user
        self._size = 0

    def add(self, size: int) -> None:
        """Hold more bytes; a few are always allowed, so that small requests still succeed.

        Raises
        ------
        Unavailable
            If the memory budget is exhausted.
        """
        if self._size + size > SMALL_BODY and self._memory.is_scarce(self._user, size):
            message = "too many large requests are being sent; send fewer at the same time"
            raise Unavailable(message, headers={"Retry-After": "2"})
        self.note(size)

    def note(self, size: int) -> None:
        """Count more bytes without checking the budget; a negative `size` releases some."""
        self._memory.take(self._user, size)
        self._size += size

    @property
    def is_scarce(self) -> bool:
        """Whether half of the budget is used up, so that memory should be released early."""
        return self._memory.is_scarce(self._user, 0, share=2)

    def release(self) -> None:
        """Release all memory of the request."""
        if self._size:
            self.note(-self._size)


# Turns


class FairQueue(Generic[K]):
    """Worker threads shared fairly: waiting users or addresses take turns, however many requests each sends.

    Only the thread of the event loop may use it.

    Parameters
    ----------
    total : int
        Maximum number of threads.
    each : int
        Maximum number of threads for one user or address.
    most_waiting, most_waiting_each : int
        Maximum length of the queue, in total and for each; further requests are rejected immediately.
    longest_wait : float
        Maximum wait in seconds: less than clients wait for a response.
    refusal : str
        Error message for rejected requests.
    """

    def __init__(
        self,
        total: int,
        each: int,
        *,
        most_waiting: int = 1000,
        most_waiting_each: int = 200,
        longest_wait: float = 25.0,
        refusal: str = "too many requests of this user are being answered; send fewer at the same time",
    ) -> None:
        self.most_waiting = most_waiting
        self.most_waiting_each = most_waiting_each
        self.longest_wait = longest_wait
        self._total = total
        self._free = total
        self._each = each
        self._refusal = refusal
        self._working: Counter[K] = Counter()
        self._waiting: dict[K, deque[asyncio.Future[None]]] = {}  # the next turn comes first
        self._size = 0
        self._threads: CapacityLimiter | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nothing is running or waiting, and all bookkeeping is empty."""
        return self._free == self._total and not (self._working or self._waiting or self._size)

    async def run(self, key: K, work: Callable[[], T]) -> T:
        """Run blocking work in a worker thread when it is the turn of a user or address.

        Raises
        ------
        Unavailable
            If the queue is full, the wait takes too long, or the client left meanwhile.
        """
        if self._threads is None:  # own threads, so that it never waits for others'; needs an event loop
            self._threads = CapacityLimiter(self._total)
        if self._free and self._working[key] < self._each:
            self._take(key)
        else:
            await self._turn(key)
        try:
            return await to_thread.run_sync(work, limiter=self._threads)
        finally:
            self._give_back(key)

    def _take(self, key: K) -> None:
        self._free -= 1
        self._working[key] += 1

    def _give_back(self, key: K) -> None:
        self._free += 1
        self._working[key] -= 1
        if not self._working[key]:
            del self._working[key]
        self._wake()

    async def _turn(self, key: K) -> None:
        mine = self._waiting.get(key, ())
        if self._size >= self.most_waiting or len(mine) >= self.most_waiting_each:
            raise self._refused()
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(key, deque()).append(turn)
        self._size += 1
        try:
            async with asyncio.timeout(self.longest_wait):
                await turn
        except BaseException as error:
            if turn.done() and not turn.cancelled():
                self._give_back(key)  # it already had its turn
            else:
                self._forget(key, turn)
            if isinstance(error, TimeoutError):
                raise self._refused() from error
            raise
        gone = CLIENT_GONE.get()
        if gone is not None and gone():
            self._give_back(key)
            raise self._refused()

    def _wake(self) -> None:
        for key in list(self._waiting):
            if not self._free:
                return
            turn = self._next(key) if self._working[key] < self._each else None
            if turn is None:
                continue
            if key in self._waiting:
                self._waiting[key] = self._waiting.pop(key)  # to the end of the queue
            self._take(key)
            turn.set_result(None)

    def _next(self, key: K) -> asyncio.Future[None] | None:
        """Remove and return the first waiting turn of a user or address that was not given up."""
        while key in self._waiting:
            turn = self._waiting[key][0]
            self._forget(key, turn)
            if not turn.done():
                return turn
        return None

    def _forget(self, key: K, turn: asyncio.Future[None]) -> None:
        waiting = self._waiting.get(key)
        if waiting is not None and turn in waiting:
            waiting.remove(turn)
            self._size -= 1
            if not waiting:
                del self._waiting[key]

    def _refused(self) -> Unavailable:
        return Unavailable(self._refusal, headers={"Retry-After": "2"})
