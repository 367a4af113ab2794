"""State that the requests of one session share: authorization, connections, slots, and ``Retry-After``."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import deque
from collections.abc import Callable, Mapping
from typing import TYPE_CHECKING, NoReturn, Protocol

from rinofs.errors import CredentialsError

if TYPE_CHECKING:
    from rinofs.http.connection.limits import Limits
    from rinofs.http.connection.transport import Transport

Observer = Callable[[int, Mapping[str, str]], None]

_SLOT_PATIENCE = 2.0  # seconds
_ROUND_TRIPS = 32


class Auth(Protocol):
    """Provides the ``Authorization`` header of a session; thread-safe."""

    def header(self) -> str:
        """Return the header's value for the next request; empty to send none."""
        ...

    def renew(self, refused: str) -> bool:
        """Get a new value after a refusal (401).

        Parameters
        ----------
        refused : str
            Value that was refused; another thread may have renewed it already.

        Returns
        -------
        bool
            Whether `header` now returns another value, so that another attempt makes sense.
        """
        ...


class StaticAuth:
    """A fixed token.

    Parameters
    ----------
    scheme : str
        Authorization scheme, ``Token`` or ``Bearer``.
    token : str
        Token.

    Raises
    ------
    CredentialsError
        If the token is empty or contains characters that are not allowed in a header.
    """

    __slots__ = ("_header", "scheme")

    def __init__(self, scheme: str, token: str) -> None:
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise CredentialsError(
                "the token is empty or contains spaces, line breaks or non-ASCII characters; copy it again"
            )
        self.scheme = scheme
        self._header = f"{scheme} {token}"

    def header(self) -> str:
        """Return the scheme and the token."""
        return self._header

    def renew(self, refused: str) -> bool:  # noqa: ARG002 - the protocol's signature
        """Return False: there is no other token."""
        return False

    def __repr__(self) -> str:
        return f"StaticAuth({self.scheme!r}, '***')"

    def __reduce__(self) -> NoReturn:
        raise TypeError("credentials cannot be pickled; create them from the options")


class RetryAfter:
    """The time before which the service wants no request; shared by all threads of a session."""

    def __init__(self) -> None:
        self._until = 0.0

    def wait_for(self, seconds: float) -> None:
        """Send no request for at least `seconds`."""
        self._until = max(self._until, time.monotonic() + seconds)

    def seconds_left(self) -> float:
        """Return the seconds until the next request may be sent."""
        if not self._until:  # avoids a system call in the usual case
            return 0.0
        return max(self._until - time.monotonic(), 0.0)


class Slot:
    """A place for a connection. When nothing refers to it any more, as after an interrupt, it is free."""

    __slots__ = ("__weakref__", "owner")

    def __init__(self, owner: int) -> None:
        self.owner = owner


class Slots:
    """Limits the number of connections in use.

    A thread waits while others hold all slots, but not for a slot that it holds itself (it would wait for its
    own open stream), and not for long: a slot held by a stream that is never read must not block the program.

    Parameters
    ----------
    count : int
        Number of slots.
    patience : float
        Maximum wait for a slot, in seconds.
    """

    def __init__(self, count: int, patience: float) -> None:
        self._count = count
        self._patience = patience
        # The garbage collector may give a slot back in a thread that is taking one.
        self._lock = threading.RLock()
        self._changed = threading.Condition(self._lock)  # an interrupt can leave `with` this one locked
        self._taken: set[weakref.ref[Slot]] = set()

    @property
    def free(self) -> int:
        """Number of free slots."""
        return max(self._count - len(self._taken), 0)

    def take(self) -> Slot:
        """Take a slot, to be passed to `give`."""
        slot = Slot(threading.get_ident())
        with self._lock:
            if not self.free and not self._has_one(slot.owner):
                self._changed.wait_for(lambda: self.free > 0, self._patience)
            self._taken.add(weakref.ref(slot, self._taken.discard))
        return slot

    def _has_one(self, owner: int) -> bool:
        taken = [reference() for reference in list(self._taken)]
        return any(slot is not None and slot.owner == owner for slot in taken)

    def give(self, slot: Slot) -> None:
        """Return a slot."""
        with self._lock:
            self._taken.discard(weakref.ref(slot))
            self._changed.notify()


class SessionState:
    """State that the requests of one session share; created again after a fork.

    Parameters
    ----------
    auth : Auth
        Provides the ``Authorization`` header.
    limits : Limits
        Time limits.
    max_concurrency : int
        Maximum number of connections in use.
    observe : callable, optional
        Called with the status and headers of each response from the endpoint itself.
    token_advice : str, optional
        Part of the error when the service refuses the token.
    """

    def __init__(
        self,
        auth: Auth,
        limits: Limits,
        max_concurrency: int,
        observe: Observer | None = None,
        token_advice: str | None = None,
    ) -> None:
        self.auth = auth
        self.observe = observe
        self.token_advice = token_advice
        self.limits = limits
        self.retry_after = RetryAfter()
        self.round_trips: deque[float] = deque(maxlen=_ROUND_TRIPS)  # seconds, of recent requests
        self._max_concurrency = max_concurrency
        self._parents: list[Transport | None] = []
        self._make()
        _all_shared.add(self)

    def _make(self) -> None:
        self._lock = threading.Lock()
        self._transport: Transport | None = None
        self.slots = Slots(self._max_concurrency, _SLOT_PATIENCE)

    def renew(self) -> None:
        """Replace connections and locks after a fork, since they belong to the parent.

        The old ones are not closed: closing needs locks that a thread of the parent may have held during the
        fork.
        """
        self._parents.append(self._transport)
        self._make()

    def take_slot(self) -> Callable[[], None]:
        """Take a slot for a connection; returns a function that releases it."""
        slots = self.slots
        slot = slots.take()

        def release() -> None:
            if slots is self.slots:  # after a fork, the old slots' lock may be held for ever
                slots.give(slot)

        return release

    def transport(self) -> Transport:
        """Return the connections, created on first use."""
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
        """Return the header's value, empty for none; checked here, since urllib3's error would quote it."""
        value = self.auth.header()
        if not value.isascii() or not value.isprintable():
            raise CredentialsError("the token contains line breaks or non-ASCII characters; log in again")
        return value


_all_shared: weakref.WeakSet[SessionState] = weakref.WeakSet()


def _after_fork() -> None:
    for shared in list(_all_shared):
        shared.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
