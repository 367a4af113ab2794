"""The queue for work that is expensive and open to everybody: checking passwords."""

from __future__ import annotations

import asyncio
from collections import OrderedDict, deque
from contextlib import asynccontextmanager
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from anyio import CapacityLimiter, to_thread

from rinofs.server.errors import Unavailable
from rinofs.server.web.connections import network_of

if TYPE_CHECKING:
    from collections.abc import AsyncIterator, Callable

    P = ParamSpec("P")
    T = TypeVar("T")

__all__ = ["LoginQueue"]

AT_ONCE = 2
"""Checks that run at once."""
MOST_WAITING = 64
"""Checks that wait, in all."""
MOST_PER_ADDRESS = 8
"""Checks that wait, of one address."""


class LoginQueue:
    """Turns for checks, which the addresses that ask for them take one after the other.

    Whoever sends many waits for its own alone, and is refused beyond a bound: nothing here grows.
    """

    def __init__(self) -> None:
        self._running = 0
        self._size = 0
        self._waiting: OrderedDict[str, deque[asyncio.Future[None]]] = OrderedDict()
        self._threads: CapacityLimiter | None = None

    async def run(self, address: str, work: Callable[P, T], /, *arguments: P.args, **options: P.kwargs) -> T:
        """Do some work in a thread, when it is the turn of an address.

        Raises
        ------
        Unavailable
            If too many wait already.
        """
        if self._threads is None:  # waiting must not take the threads that other requests need
            self._threads = CapacityLimiter(AT_ONCE)
        async with self._turn(network_of(address)):
            return await to_thread.run_sync(partial(work, *arguments, **options), limiter=self._threads)

    @asynccontextmanager
    async def _turn(self, network: str) -> AsyncIterator[None]:
        if self._running >= AT_ONCE:
            await self._wait(network)
        else:
            self._running += 1
        try:
            yield
        finally:
            self._pass_on()

    async def _wait(self, network: str) -> None:
        mine = self._waiting.get(network, ())
        if self._size >= MOST_WAITING or len(mine) >= MOST_PER_ADDRESS:
            raise Unavailable("too many sign-ins at once; try again", headers={"Retry-After": "1"})
        turn: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.setdefault(network, deque()).append(turn)
        self._size += 1
        try:
            await turn
        except asyncio.CancelledError:
            if turn.done() and not turn.cancelled():
                self._pass_on()  # the turn had come already
            else:
                self._forget(network, turn)
            raise

    def _pass_on(self) -> None:
        """Give the turn to the address that has waited longest, or to nobody."""
        while self._waiting:
            network, turns = self._waiting.popitem(last=False)
            turn = turns.popleft()
            self._size -= 1
            if turns:
                self._waiting[network] = turns  # at the end: the others come first
            if not turn.done():
                turn.set_result(None)
                return
        self._running -= 1

    def _forget(self, network: str, turn: asyncio.Future[None]) -> None:
        turns = self._waiting.get(network)
        if turns is not None and turn in turns:
            turns.remove(turn)
            self._size -= 1
            if not turns:
                del self._waiting[network]
