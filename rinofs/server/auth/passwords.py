"""Check passwords, with limits on the number of attempts."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from rinofs.server.catalog.users.signins import Limit
from rinofs.server.errors import BadRequest
from rinofs.server.web.connections import network_of

__all__ = ["Attempt", "Passwords", "check_new_password"]

SHORTEST = 8
LONGEST = 1024
"""Maximum length of a password in characters."""

FREE_ATTEMPTS = 5
"""Wrong passwords per account and address after which each further attempt has to wait."""
FREE_PER_ACCOUNT = 20
"""The same per account over all addresses, except for addresses that signed in recently."""
FREE_PER_ADDRESS = 100
"""The same per address over all accounts."""
LONGEST_WAIT = 300
"""Maximum wait before an attempt, in seconds."""
LONGEST_SHARED_WAIT = 60
"""The same if others may have caused the wait."""


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


@dataclass(frozen=True, slots=True)
class Attempt:
    """An attempt to sign in with a password.

    Attributes
    ----------
    account : str
        Name of the account.
    address : str
        Address of the client.
    """

    account: str
    address: str

    def limits(self, *, known: bool) -> list[Limit]:
        """Return the limits for the attempt; `known` is whether the address signed in recently."""
        network = network_of(self.address)
        limits = [
            Limit(_digest("both", self.account, network), FREE_ATTEMPTS, LONGEST_WAIT),
            Limit(_digest("address", network), FREE_PER_ADDRESS, LONGEST_SHARED_WAIT),
        ]
        if not known:
            limits.append(Limit(_digest("account", self.account), FREE_PER_ACCOUNT, LONGEST_SHARED_WAIT))
        return limits

    @property
    def known_digest(self) -> str:
        """Digest of account and address, stored after a successful sign-in."""
        return _digest("known", self.account, network_of(self.address))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


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
