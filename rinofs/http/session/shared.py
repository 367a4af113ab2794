"""What the requests of one session share: credentials, connections, slots for them, and ``Retry-After``."""

from __future__ import annotations

import os
import threading
import time
import weakref
from collections import Counter, deque
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
    """Gives a session its ``Authorization`` header; thread-safe."""

    def header(self) -> str:
        """Return the value of the header for the next request; empty to send none."""
        ...

    def renew(self, refused: str) -> bool:
        """Get a new value after a refusal (401).

        Parameters
        ----------
        refused : str
            The header value that was refused; another thread may have renewed it already.

        Returns
        -------
        bool
            Whether `header` now gives something else, so that trying once more makes sense.
        """
        ...


class StaticAuth:
    """A token that does not change.

    Parameters
    ----------
    scheme : str
        The word before the token: ``Token`` or ``Bearer``.
    token : str
        The secret.

    Raises
    ------
    CredentialsError
        If the token is empty or holds characters that no header can carry.
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
    """When the service wants the next request; shared by all threads of a session."""

    def __init__(self) -> None:
        self._until = 0.0

    def wait_for(self, seconds: float) -> None:
        """Send nothing for at least `seconds` from now."""
        self._until = max(self._until, time.monotonic() + seconds)

    def seconds_left(self) -> float:
        """Return the seconds until the next request may be sent."""
        if not self._until:  # no clock in the common case
            return 0.0
        return max(self._until - time.monotonic(), 0.0)


class Slots:
    """Limits the connections in use.

    A thread waits for a slot while others hold all of them, but not for one that it holds itself (a
    stream left open would wait for itself), and not for long: a slot held by a stream that nobody
    reads must not stop the program.

    Parameters
    ----------
    count : int
        Slots.
    patience : float
        Longest wait for one, in seconds.
    """

    def __init__(self, count: int, patience: float) -> None:
        self._free = count
        self._patience = patience
        self._changed = threading.Condition()
        self._held: Counter[int] = Counter()

    @property
    def free(self) -> int:
        """Slots that nobody has taken."""
        return max(self._free, 0)

    def take(self) -> int:
        """Take a slot and return the thread to give it back for."""
        owner = threading.get_ident()
        with self._changed:
            if self._free <= 0 and not self._held[owner]:
                self._changed.wait_for(lambda: self._free > 0, self._patience)
            self._free -= 1
            self._held[owner] += 1
        return owner

    def give(self, owner: int) -> None:
        """Give back a slot that `owner` took."""
        with self._changed:
            self._free += 1
            self._held[owner] -= 1
            if self._held[owner] <= 0:
                del self._held[owner]
            self._changed.notify()


class SessionState:
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
        Called with the status and headers of each response from the endpoint itself.
    token_advice : str, optional
        What an error says when the service refuses the token.
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
        """Leave connections and locks to the parent, after a fork.

        They are kept, not closed: closing takes locks that a thread of the parent's may hold for ever.
        """
        self._parents.append(self._transport)
        self._make()

    def take_slot(self) -> Callable[[], None]:
        """Take a slot for a connection; return what gives it back."""
        slots = self.slots
        owner = slots.take()

        def release() -> None:
            if slots is self.slots:  # after a fork they are the parent's, whose lock may be held for ever
                slots.give(owner)

        return release

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
            raise CredentialsError("the token contains line breaks or non-ASCII characters; log in again")
        return value


_all_shared: weakref.WeakSet[SessionState] = weakref.WeakSet()


def _after_fork() -> None:
    for shared in list(_all_shared):
        shared.renew()


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)
