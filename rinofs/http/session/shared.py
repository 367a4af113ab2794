"""What the requests of one session share: connections, places, the gate; all of it made anew in a fork."""

from __future__ import annotations

import os
import threading
import weakref
from typing import TYPE_CHECKING

from rinofs.errors import CredentialsError
from rinofs.http.connection.link import Link
from rinofs.http.session.gate import Gate, Slots

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

    from rinofs.http.connection.transport import Transport
    from rinofs.http.session.auth import Auth
    from rinofs.http.session.retry import Limits

    Observer = Callable[[int, Mapping[str, str]], None]

_SLOT_PATIENCE = 2.0  # seconds


class Shared:
    """What the requests of one session share; made anew in a forked child.

    Parameters
    ----------
    auth : Auth
        Gives the ``Authorization`` header.
    limits : Limits
        How long things may take.
    max_concurrency : int
        Connections in use at a time.
    observe : callable, optional
        Takes status and headers of each answer of the endpoint's own.
    """

    def __init__(
        self, auth: Auth, limits: Limits, max_concurrency: int, observe: Observer | None = None
    ) -> None:
        self.auth = auth
        self.observe = observe
        self.limits = limits
        self.gate = Gate()
        self.link = Link()
        self._max_concurrency = max_concurrency
        self._parents: list[Transport | None] = []
        self._make()
        _all_shared.add(self)

    def _make(self) -> None:
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self.slots = Slots(self._max_concurrency, _SLOT_PATIENCE)

    def renew(self) -> None:
        """Leave connections and locks to the parent, after a fork.

        They are kept, not closed: closing takes locks that a thread of the parent's may hold for ever.
        """
        self._parents.append(self._transport)
        self._make()

    def give_back(self, slots: Slots, owner: int) -> None:
        """Give a place back, unless it is the parent's: its lock may be held for ever."""
        if slots is self.slots:
            slots.give(owner)

    def transport(self) -> Transport:
        """Return the connections, made at the first use."""
        if self._transport is None:
            from rinofs.http.connection.transport import Transport  # requests is slow to import

            with self._lock:
                self._transport = self._transport or Transport()
        return self._transport

    def close(self) -> None:
        """Close idle connections."""
        with self._lock:
            transport, self._transport = self._transport, None
        if transport is not None:
            transport.close()

    def authorization(self) -> str:
        """Return the header's value, empty for none; checked, since a refusal further down would quote it."""
        value = self.auth.header()
        if not value.isascii() or not value.isprintable():
            raise CredentialsError("the token holds line ends or characters beyond ASCII: log in again")
        return value


_all_shared: weakref.WeakSet[Shared] = weakref.WeakSet()


def _after_fork() -> None:
    for shared in list(_all_shared):
        shared.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
