"""What one request may cost, and how users and addresses share what there is.

Every layer knows two things of a request by its context, so that nobody in between hands them on: whether its
client has left, and the client's address.
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
"""Tells whether the client of the request that is being answered has left. `web.connections` sets it for each
request; `is_over` asks it while work is done for which nobody would wait."""

CLIENT_ADDRESS: ContextVar[str | None] = ContextVar("rinofs_client_address", default=None)
"""The address of the client of the request that is being answered, for the audit log. `web.connections` sets
it, and `web.proxies` where a trusted proxy tells another one."""

SMALL_BODY = 16 * 1024
"""Bytes of a body that are taken whatever else is in memory."""

HELD = "rinofs.held"
"""Where the scope of a request of a user has its `HeldMemory`."""

PATIENCE = 3
"""How many times its processor time some work may take by the clock: a busy machine lets it wait."""


# Time


class _Limits(threading.local):
    """What ends the work that this thread does; nothing does by default."""

    processor = clock = float("inf")
    ends_with_client = False


_limits = _Limits()


@contextmanager
def limited(seconds: float, *, ends_with_client: bool) -> Iterator[None]:
    """End work of this thread that takes too long, if it is done for a request.

    What an administrator or the collector asks for takes as long as it takes.

    Parameters
    ----------
    seconds : float
        Processor time that the work may take, and a third of what it may take by the clock.
    ends_with_client : bool
        Whether it also ends when nobody waits for the answer any more.
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
    """Tell whether the work that this thread does has to end."""
    if time.thread_time() > _limits.processor or time.monotonic() > _limits.clock:
        return True
    gone = CLIENT_GONE.get() if _limits.ends_with_client else None
    return gone is not None and gone()


def check_time() -> None:
    """Refuse a request whose body takes too long to be read and checked; called at each step of that.

    Raises
    ------
    BadRequest
        If the work has to end.
    """
    if is_over():
        raise BadRequest("checking the body takes too long; send less in one request")


# Look-ups


class Remembered(Generic[V]):
    """What secrets, such as tokens, were found to stand for a moment ago, so that no request looks it up.

    It holds digests of them alone. Threads may share it.

    Parameters
    ----------
    seconds : float
        How long it is remembered.
    timer : callable
        Seconds, by any clock.
    """

    def __init__(self, seconds: float, timer: Callable[[], float] = time.monotonic) -> None:
        self._known: TTLCache[bytes, V] = TTLCache(4096, seconds, timer=timer)
        self._lock = threading.Lock()

    def get(self, secret: str) -> V | None:
        """Return what was kept for a secret, or None."""
        with self._lock:
            return self._known.get(_digest(secret))

    def keep(self, secret: str, value: V) -> None:
        """Remember what a secret stands for."""
        with self._lock:
            self._known[_digest(secret)] = value

    def forget(self) -> None:
        """Forget everything, as something has changed."""
        with self._lock:
            self._known.clear()


def _digest(secret: str) -> bytes:
    return hashlib.sha256(secret.encode("utf-8", "surrogatepass")).digest()


# Memory


class BodyMemory:
    """How many bytes of bodies are in memory, in all and of each user, and how many may be.

    Used in the thread of the event loop alone.

    Parameters
    ----------
    total : int
        Bytes in all.
    each : int
        Bytes of one user.
    """

    def __init__(self, total: int, each: int) -> None:
        self._free = total
        self._total = total
        self._each = each
        self._used: Counter[int] = Counter()

    def held_by(self, user: int) -> HeldMemory:
        """Begin to count what one request of a user holds."""
        return HeldMemory(self, user)

    def take(self, user: int, size: int) -> None:
        """Count some more bytes of a user, or, where `size` is negative, fewer."""
        self._free -= size
        self._used[user] += size
        if not self._used[user]:
            del self._used[user]

    def is_scarce(self, user: int, size: int, share: int = 1) -> bool:
        """Tell whether so many more bytes are beyond what there is, or beyond a fraction of it."""
        taken = self._total - self._free
        return taken + size > self._total // share or self._used[user] + size > self._each // share


class HeldMemory:
    """What one request holds of `BodyMemory`, until it is answered."""

    __slots__ = ("_memory", "_size", "_user")

    def __init__(self, memory: BodyMemory, user: int) -> None:
        self._memory = memory
        self._user = user
        self._size = 0

    def add(self, size: int) -> None:
        """Hold some more bytes; a few are always allowed, so that small requests go on.

        Raises
        ------
        Unavailable
            If there are too many bytes of bodies in memory.
        """
        if self._size + size > SMALL_BODY and self._memory.is_scarce(self._user, size):
            message = "too many large requests are being sent; send fewer at the same time"
            raise Unavailable(message, headers={"Retry-After": "2"})
        self.note(size)

    def note(self, size: int) -> None:
        """Count some more bytes, however many there are; where `size` is negative, they are let go of."""
        self._memory.take(self._user, size)
        self._size += size

    @property
    def is_scarce(self) -> bool:
        """Whether half of what there is is used up, so that what can be let go of early had better be."""
        return self._memory.is_scarce(self._user, 0, share=2)

    def release(self) -> None:
        """Hold nothing any more."""
        if self._size:
            self.note(-self._size)


# Turns


class FairQueue(Generic[K]):
    """Worker threads that users, or addresses, share: those who wait take turns, however much one asks for.

    Used in the thread of the event loop alone.

    Parameters
    ----------
    total : int
        How many work at the same time.
    each : int
        How many of them for one user or address.
    most_waiting, most_waiting_each : int
        How many wait for a thread, in all and of one; further ones are refused at once.
    longest_wait : float
        Seconds that one waits: less than clients wait for an answer.
    refusal : str
        What those are told who are refused.
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
        self._waiting: dict[K, deque[asyncio.Future[None]]] = {}  # whose turn is next comes first
        self._size = 0
        self._threads: CapacityLimiter | None = None

    @property
    def is_idle(self) -> bool:
        """Whether nobody works or waits, and nothing is left of those who did."""
        return self._free == self._total and not (self._working or self._waiting or self._size)

    async def run(self, key: K, work: Callable[[], T]) -> T:
        """Call something that blocks in a worker thread, once it is the turn of a user or address.

        Raises
        ------
        Unavailable
            If too many wait already, or it takes too long until there is a thread.
        """
        if self._threads is None:  # a queue never waits for the threads of others; needs an event loop
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
                self._give_back(key)  # the turn had come already
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
                self._waiting[key] = self._waiting.pop(key)  # its next turn comes after the others'
            self._take(key)
            turn.set_result(None)

    def _next(self, key: K) -> asyncio.Future[None] | None:
        """Take the first of those who wait out of the queue, but for who has given up."""
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
