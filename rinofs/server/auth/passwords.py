"""Checking passwords, slowly enough for nobody to try many."""

from __future__ import annotations

import secrets
import threading
from typing import TYPE_CHECKING

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error
from cachetools import TTLCache

from rinofs.server.errors import TooManyRequests, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["FREE_ATTEMPTS", "LONGEST_WAIT", "Passwords"]

FREE_ATTEMPTS = 5
"""Wrong passwords per account and address before each next attempt has to wait."""
LONGEST_WAIT = 300.0
"""Seconds that an attempt has to wait at most."""


class Passwords:
    """Hashes of passwords, made and checked at a bounded cost.

    Parameters
    ----------
    clock : callable
        Seconds, for waiting times.
    """

    def __init__(self, clock: Callable[[], float]) -> None:
        self._hasher = PasswordHasher()
        self._clock = clock
        # Each hash fills 64 MiB of memory.
        self._turns = threading.BoundedSemaphore(2)
        self._lock = threading.Lock()
        self._wrong: TTLCache[tuple[str, str], tuple[int, float]] = TTLCache(10_000, 900.0, timer=clock)
        self._nobodys: str | None = None

    def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        with self._turns:
            return self._hasher.hash(password.encode("utf-8", "surrogatepass"))

    def check(self, stored: str | None, password: str, attempt: tuple[str, str]) -> None:
        """Refuse a password that is not the one behind a hash.

        Parameters
        ----------
        stored : str or None
            The hash; None, which costs the same, where nothing opens the account.
        password : str
            The password.
        attempt : tuple of (str, str)
            Account and address.

        Raises
        ------
        Unauthorized
            If it is another one.
        TooManyRequests
            If there were too many wrong ones lately.
        """
        self._begin(attempt)
        nobodys = self._stand_in()
        if not self._matches(stored or nobodys, password) or stored is None:
            raise Unauthorized("wrong username or password")
        with self._lock:
            self._wrong.pop(attempt, None)

    def _begin(self, attempt: tuple[str, str]) -> None:
        """Count an attempt as a wrong one until it turns out right, so that many at once count too."""
        with self._lock:
            count, until = self._wrong.get(attempt, (0, 0.0))
            left = until - self._clock()
            if left > 0:
                seconds = str(int(left) + 1)
                raise TooManyRequests(
                    f"too many wrong passwords; try again in {seconds} s", headers={"Retry-After": seconds}
                )
            wait = min(2.0 ** min(count - FREE_ATTEMPTS, 30), LONGEST_WAIT) if count >= FREE_ATTEMPTS else 0.0
            self._wrong[attempt] = (count + 1, self._clock() + wait)

    def _matches(self, stored: str, password: str) -> bool:
        with self._turns:
            try:
                return self._hasher.verify(stored, password.encode("utf-8", "surrogatepass"))
            except Argon2Error:
                return False

    def _stand_in(self) -> str:
        """Return a hash that no password has, so that unknown users cost what known ones do."""
        if self._nobodys is None:
            self._nobodys = self.hash(secrets.token_urlsafe(32))
        return self._nobodys
