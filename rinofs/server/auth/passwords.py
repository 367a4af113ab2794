"""Passwords: which are allowed, and their hashes."""

from __future__ import annotations

import secrets
import threading

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from rinofs.server.errors import BadRequest

__all__ = ["Passwords", "check_new_password"]

SHORTEST = 8
LONGEST = 1024
"""Maximum length of a password in characters."""


def check_new_password(password: str) -> str:
    """Return a new password if it is allowed.

    Raises
    ------
    BadRequest
        If the password is too short or too long.
    """
    if not SHORTEST <= len(password) <= LONGEST:
        raise BadRequest(
            f"password: at least {SHORTEST} and at most {LONGEST} characters are needed", field="password"
        )
    return password


class Passwords:
    """Creates and checks hashes of passwords at a bounded cost."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        # Each hash fills 64 MiB of memory.
        self._turns = threading.BoundedSemaphore(2)
        self._nobodys: str | None = None

    def hash(self, password: str) -> str:
        """Return the hash of a password for storage."""
        with self._turns:
            return self._hasher.hash(password.encode("utf-8", "surrogatepass"))

    def matches(self, stored: str | None, password: str) -> bool:
        """Return whether a password matches a hash.

        Parameters
        ----------
        stored : str or None
            The hash, or None for an account without a password, which takes the same time.
        password : str
            The password.
        """
        compared = stored or self._stand_in()
        with self._turns:
            try:
                good = self._hasher.verify(compared, password.encode("utf-8", "surrogatepass"))
            except Argon2Error:
                return False
        return good and stored is not None

    def _stand_in(self) -> str:
        """Return a hash that matches no password, so that unknown users take the same time as known ones."""
        if self._nobodys is None:
            self._nobodys = self.hash(secrets.token_urlsafe(32))
        return self._nobodys
