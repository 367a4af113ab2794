"""Users, tokens and passwords."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from dataclasses import dataclass, field
from typing import TYPE_CHECKING

from cachetools import TTLCache

from rinofs.server.auth.passwords import Passwords
from rinofs.server.catalog import accounts as rows
from rinofs.server.catalog.accounts import ACCESS, API, OAUTH, PRIMARY
from rinofs.server.errors import BadRequest, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.server.catalog.database import Database
    from rinofs.server.catalog.records import User

__all__ = [
    "ACCESS",
    "API",
    "OAUTH",
    "PRIMARY",
    "Accounts",
    "InitialCredentials",
    "new_token",
    "prepare_user",
    "token_digest",
]

REMEMBERED = 5.0
"""Seconds for which a token that was found good is not looked up again."""


def new_token() -> str:
    """Return a fresh random token of 256 bits, in a form that secret scanners can know."""
    return f"rino_{secrets.token_urlsafe(32)}"


class Accounts:
    """The users of a server.

    Parameters
    ----------
    database : Database
        Where they are kept; of tokens and passwords only hashes.
    clock : callable
        Seconds, for waiting times and expiry.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock
        self._known: TTLCache[str, User] = TTLCache(4096, REMEMBERED, timer=clock)
        self._lock = threading.Lock()
        self._passwords = Passwords(clock)

    def add_user(
        self,
        username: str,
        *,
        email: str = "",
        project: str | None = None,
        password: str | None = None,
    ) -> User:
        """Make an account.

        Parameters
        ----------
        username : str
            Its name.
        email, project : str, optional
            What its records show; the project is called like the user by default.
        password : str, optional
            What opens it; nothing does by default.

        Raises
        ------
        Conflict
            If the name is taken.
        BadRequest
            If it cannot be a name.
        """
        if not username.isprintable() or not username.strip() or len(username) > 255 or "/" in username:
            message = "username: 1 to 255 printable characters without a slash are allowed"
            raise BadRequest(message, field="username")
        hashed = None if password is None else self._passwords.hash(password)
        with self._database.write() as connection:
            return rows.add_user(connection, username, email, project or username, hashed)

    def user(self, username: str) -> User | None:
        """Return the user of a name, or None."""
        with self._database.read() as connection:
            return rows.find_user(connection, username)

    def set_password(self, user: User, password: str) -> None:
        """Let a password open an account, in place of any that did."""
        hashed = self._passwords.hash(password)
        with self._database.write(user.id) as connection:
            rows.set_password(connection, user, hashed)

    def set_token(self, user: User, token: str) -> None:
        """Make a token the primary one of a user; the one that was it opens the account no longer.

        Raises
        ------
        Conflict
            If the token is another user's.
        BadRequest
            If it is empty or not plain ASCII, which no header could carry.
        """
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise BadRequest(
                "token: only printable ASCII characters without spaces are allowed", field="token"
            )
        with self._database.write(user.id) as connection:
            rows.set_primary_token(connection, user, token_digest(token))
        self._forget()

    def mint_token(
        self,
        user: User,
        *,
        kind: str = API,
        lifetime: float | None = None,
        scope: str | None = None,
        client: str | None = None,
    ) -> str:
        """Make a further token.

        Parameters
        ----------
        user : User
            Whom it signs in.
        kind : str
            What sort of token it is.
        lifetime : float, optional
            Seconds until it is void; it does not expire by default.
        scope, client : str, optional
            What it was granted for, and to whom.

        Returns
        -------
        str
            The token; only its hash is kept.
        """
        token = new_token()
        moment = self._clock()
        expires = None if lifetime is None else int(moment + lifetime)
        with self._database.write(user.id) as connection:
            if lifetime is not None:
                rows.remove_expired_tokens(connection, int(moment))
            rows.add_token(
                connection, user, token_digest(token), kind, scope=scope, client=client, expires=expires
            )
        return token

    def lasting_token(self, user: User, presented: str) -> str:
        """Return a token that does not expire: the one that a user came with, or else a new one."""
        with self._database.read() as connection:
            found = rows.find_token(connection, token_digest(presented))
        return presented if found is not None and found.expires is None else self.mint_token(user)

    def revoke_token(self, token: str) -> bool:
        """Make a token void; nothing happens if it is already.

        Returns
        -------
        bool
            False, and nothing happens, if it is the primary one of a user, or was granted to a program.
        """
        digest = token_digest(token)
        with self._database.write() as connection:
            found = rows.find_token(connection, digest)
            if found is not None and found.kind not in {ACCESS, API}:
                return False
            rows.remove_token(connection, digest)
        self._forget()
        return True

    def remembered(self, token: str) -> User | None:
        """Return the user of a token that was found good a moment ago, without asking the database."""
        with self._lock:
            return self._known.get(token_digest(token))

    def authenticate(self, token: str, *, granted: bool = False) -> User:
        """Return the user whom a token signs in.

        Parameters
        ----------
        token : str
            The token.
        granted : bool
            Whether tokens that programs were given count: those open datapacks, and nothing else.

        Raises
        ------
        Unauthorized
            If it is nobody's, or expired.
        """
        digest = token_digest(token)
        with self._database.read() as connection:
            found = rows.find_token(connection, digest)
        if found is None or (found.expires is not None and found.expires <= int(self._clock())):
            raise Unauthorized("invalid token")
        if found.kind == OAUTH and not granted:
            raise Unauthorized("this token is for the repovizz2 API only")
        if found.expires is None:
            with self._lock:
                self._known[digest] = found.user
        return found.user

    def log_in(self, username: str, password: str, address: str) -> User:
        """Return the user whom a name and a password sign in. Takes a tenth of a second of one core.

        Parameters
        ----------
        username, password : str
            As they were typed; an e-mail address does in place of the name, if no other account has it.
        address : str
            Where the attempt comes from; too many wrong ones from there have to wait.

        Raises
        ------
        Unauthorized
            If the two do not belong together; an unknown name looks and costs the same.
        TooManyRequests
            If there were too many wrong attempts lately.
        """
        with self._database.read() as connection:
            username = rows.name_of(connection, username)
            stored = rows.password_of(connection, username)
        self._passwords.check(stored, password, (username, address))
        user = self.user(username)
        if user is None:
            raise Unauthorized("wrong username or password")
        return user

    def _forget(self) -> None:
        with self._lock:
            self._known.clear()


@dataclass(frozen=True, slots=True)
class InitialCredentials:
    """What opens an account, as far as it is known: stored are hashes only.

    Attributes
    ----------
    token, password : str or None
        The one that was given or just made; None where an earlier one still holds.
    """

    token: str | None = field(repr=False)
    password: str | None = field(repr=False)


def prepare_user(
    accounts: Accounts, username: str, *, token: str | None, password: str | None
) -> InitialCredentials:
    """See to it that a user can sign in.

    Parameters
    ----------
    accounts : Accounts
        The users.
    username : str
        The user; made where missing, with a random token and password in place of omitted ones.
    token, password : str or None
        What holds from now on in place of earlier ones; None to keep them.

    Raises
    ------
    BadRequest, Conflict
        If the token cannot be one, or is another user's.
    """
    user = accounts.user(username)
    if user is None:
        token = token or new_token()
        password = password or secrets.token_urlsafe(12)
        user = accounts.add_user(username)
    if token is not None:
        accounts.set_token(user, token)
    if password is not None:
        accounts.set_password(user, password)
    return InitialCredentials(token, password)


def token_digest(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
