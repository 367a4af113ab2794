"""Browser sessions of the login pages."""

from __future__ import annotations

import hashlib
import hmac
import secrets
import threading
import time
from typing import TYPE_CHECKING

from cachetools import TTLCache

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.server.catalog.records import User

__all__ = ["LIFETIME", "Sessions"]

LIFETIME = 3600.0
"""Seconds for which a browser stays signed in, and a form may be sent."""
_REMEMBERED = 10_000


class Sessions:
    """What is known about the browsers that look at the pages; it goes with the process.

    A browser is known by a random value in a cookie, of which a digest is kept once somebody signed in.

    Parameters
    ----------
    clock : callable
        Seconds.
    """

    def __init__(self, *, clock: Callable[[], float] = time.time) -> None:
        self._clock = clock
        self._key = secrets.token_bytes(32)
        self._lock = threading.Lock()
        self._users: TTLCache[str, User] = TTLCache(_REMEMBERED, LIFETIME, timer=clock)
        self._sent: TTLCache[str, bool] = TTLCache(_REMEMBERED, LIFETIME, timer=clock)

    def sign_in(self, user: User) -> str:
        """Return a fresh value for the cookie of a browser with which a user has signed in."""
        session = secrets.token_urlsafe(32)
        with self._lock:
            self._users[_digest(session)] = user
        return session

    def user(self, session: str) -> User | None:
        """Return who is signed in, or None."""
        with self._lock:
            return self._users.get(_digest(session))

    def sign_out(self, session: str) -> None:
        """Forget who is signed in."""
        with self._lock:
            self._users.pop(_digest(session), None)

    def form_token(self, session: str, purpose: str) -> str:
        """Return what a form has to carry to count as sent by the browser that it was shown to.

        Parameters
        ----------
        session : str
            The cookie of the browser.
        purpose : str
            What exactly the form is for.
        """
        head = f"{int(self._clock())}.{secrets.token_urlsafe(12)}"
        return f"{head}.{self._mac(session, purpose, head)}"

    def is_good(self, token: str, session: str, purpose: str) -> bool:
        """Tell whether a form comes from the browser that it was shown to; each may be sent once."""
        head, _, mac = token.rpartition(".")
        if not token.isascii() or not hmac.compare_digest(mac, self._mac(session, purpose, head)):
            return False
        if self._clock() - int(head.partition(".")[0]) > LIFETIME:
            return False
        with self._lock:
            if mac in self._sent:
                return False
            self._sent[mac] = True
        return True

    def _mac(self, session: str, purpose: str, head: str) -> str:
        signed = f"{session}\0{purpose}\0{head}".encode("utf-8", "surrogatepass")
        return hmac.new(self._key, signed, hashlib.sha256).hexdigest()


def _digest(session: str) -> str:
    return hashlib.sha256(session.encode("utf-8", "surrogatepass")).hexdigest()
