"""Checking passwords, slowly enough for nobody to try many."""

from __future__ import annotations

import hashlib
import secrets
import threading
from dataclasses import dataclass

from argon2 import PasswordHasher
from argon2.exceptions import Argon2Error

from rinofs.server.catalog.signins import Limit
from rinofs.server.errors import BadRequest
from rinofs.server.web.connections import network_of

__all__ = ["Attempt", "Passwords", "check_new_password"]

SHORTEST = 8
LONGEST = 1024
"""Characters of a password."""

FREE_ATTEMPTS = 5
"""Wrong passwords per account and address before each next attempt has to wait."""
FREE_PER_ACCOUNT = 20
"""The same per account, whatever the addresses; addresses that signed in lately are spared."""
FREE_PER_ADDRESS = 100
"""The same per address, whatever the accounts."""
LONGEST_WAIT = 300
"""Seconds that an attempt has to wait at most."""
LONGEST_SHARED_WAIT = 60
"""The same where others than the one who waits may have been wrong."""


def check_new_password(password: str) -> str:
    """Return a password that may open an account.

    Raises
    ------
    BadRequest
        If it is too short, or longer than anybody types.
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
        The name of the account.
    address : str
        Where it comes from.
    """

    account: str
    address: str

    def limits(self, *, known: bool) -> list[Limit]:
        """Return what it is counted for; `known` is whether the address signed in to the account lately."""
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
        """What account and address are known by once they belong together."""
        return _digest("known", self.account, network_of(self.address))


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()


class Passwords:
    """Hashes of passwords, made and checked at a bounded cost."""

    def __init__(self) -> None:
        self._hasher = PasswordHasher()
        # Each hash fills 64 MiB of memory.
        self._turns = threading.BoundedSemaphore(2)
        self._nobodys: str | None = None

    def hash(self, password: str) -> str:
        """Return what is kept of a password."""
        with self._turns:
            return self._hasher.hash(password.encode("utf-8", "surrogatepass"))

    def matches(self, stored: str | None, password: str) -> bool:
        """Tell whether a password is the one behind a hash.

        Parameters
        ----------
        stored : str or None
            The hash; None, which costs the same, where nothing opens the account.
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
        """Return a hash that no password has, so that unknown users cost what known ones do."""
        if self._nobodys is None:
            self._nobodys = self.hash(secrets.token_urlsafe(32))
        return self._nobodys
