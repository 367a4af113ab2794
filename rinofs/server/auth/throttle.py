"""Limits on wrong passwords: for an account, an address, and both together."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.server.catalog.users import signins
from rinofs.server.catalog.users.signins import Limit
from rinofs.server.errors import TooManyRequests
from rinofs.server.web.connections import network_of

if TYPE_CHECKING:
    from rinofs.server.catalog.database import Connection, Database

__all__ = ["Attempt", "SignInThrottle"]

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
KNOWN_FOR = 30 * 24 * 3600
"""Seconds for which an address that signed in to an account is exempt from the limit per account."""


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


class SignInThrottle:
    """Counts wrong passwords in the database, so that all workers share the limits.

    Parameters
    ----------
    database : Database
        The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def begin(self, attempt: Attempt) -> None:
        """Count an attempt as a failure, before its password is checked; `succeed` undoes that.

        Raises
        ------
        TooManyRequests
            If there were too many failures recently. The attempt is not counted then.
        """
        with self._database.write() as connection:
            limits = self._limits(connection, attempt)
            signins.lock(connection, (limit.digest for limit in limits))
            moment = self._database.moment(connection)  # after locking, so not before what others counted
            left = signins.seconds_to_wait(connection, limits, moment)
            if left <= 0:
                signins.count_attempt(connection, limits, moment)
                return
        seconds = str(int(left) + 1)
        raise TooManyRequests(
            f"too many wrong passwords; try again in {seconds} s", headers={"Retry-After": seconds}
        )

    def succeed(self, connection: Connection, attempt: Attempt) -> None:
        """Count an attempt as a success.

        Parameters
        ----------
        connection : Connection
            The transaction in which the user signs in.
        attempt : Attempt
            The attempt, which `begin` has counted.
        """
        limits = self._limits(connection, attempt)
        signins.lock(connection, [attempt.known_digest, *(limit.digest for limit in limits)])
        moment = self._database.moment(connection)
        signins.note_success(
            connection,
            limits,
            known=attempt.known_digest,
            until=int(moment + KNOWN_FOR),
            moment=moment,
        )

    def _limits(self, connection: Connection, attempt: Attempt) -> list[Limit]:
        moment = self._database.moment(connection)
        known = signins.is_known(connection, attempt.known_digest, moment)
        return attempt.limits(known=known)


def _digest(*parts: str) -> str:
    return hashlib.sha256("\0".join(parts).encode("utf-8", "surrogatepass")).hexdigest()
