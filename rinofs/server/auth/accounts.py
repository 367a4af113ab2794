"""Users, and what they sign in with."""

from __future__ import annotations

import hashlib
import secrets
import threading
import time
from typing import TYPE_CHECKING

from cachetools import TTLCache
from sqlalchemy import delete, insert, select, update
from sqlalchemy.exc import IntegrityError

from rinofs.server.auth.passwords import Passwords
from rinofs.server.catalog.records import User, now
from rinofs.server.catalog.tables import tokens, users
from rinofs.server.errors import BadRequest, Conflict, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement

    from rinofs.server.catalog.database import Database

__all__ = ["ACCESS", "API", "OAUTH", "PRIMARY", "USER", "Accounts", "new_token", "token_digest"]

PRIMARY = "primary"
"""The token that a user was given when the account was made, or that took its place."""
API = "api"
"""A further token that does not expire."""
ACCESS = "access"
"""A token that was given for a password, and expires."""
OAUTH = "oauth"
"""A token that was given to a program which the user has granted access to datapacks."""

REMEMBERED = 5.0
"""Seconds for which a token that was found good is not looked up again."""

USER = (users.c.id, users.c.username, users.c.email, users.c.project)


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
            raise BadRequest(
                "username: 1 to 255 printable characters without a slash are allowed", field="username"
            )
        row = {
            "username": username,
            "email": email,
            "project": project or username,
            "password": None if password is None else self._passwords.hash(password),
            "created_on": now(),
        }
        try:
            with self._database.write() as connection:
                made = connection.execute(insert(users).values(row).returning(*USER)).one()
        except IntegrityError as error:
            raise Conflict(f"username: {username!r} is taken", field="username") from error
        return User(*made)

    def user(self, username: str) -> User | None:
        """Return the user of a name, or None."""
        return self._find(users.c.username == username)

    def set_password(self, user: User, password: str) -> None:
        """Let a password open an account, in place of any that did."""
        hashed = self._passwords.hash(password)
        with self._database.write() as connection:
            connection.execute(update(users).where(users.c.id == user.id).values(password=hashed))

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
        digest = token_digest(token)
        with self._database.write() as connection:
            holder = connection.scalar(select(tokens.c.user).where(tokens.c.sha256 == digest))
            if holder not in {None, user.id}:
                raise Conflict("token: choose another one", field="token")
            mine = tokens.c.user == user.id
            connection.execute(delete(tokens).where(mine, tokens.c.kind == PRIMARY))
            connection.execute(delete(tokens).where(mine, tokens.c.sha256 == digest))
            row = {"sha256": digest, "user": user.id, "kind": PRIMARY, "created_on": now()}
            connection.execute(insert(tokens).values(row))
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
        row = {
            "sha256": token_digest(token),
            "user": user.id,
            "kind": kind,
            "scope": scope,
            "client": client,
            "expires": None if lifetime is None else int(self._clock() + lifetime),
            "created_on": now(),
        }
        with self._database.write() as connection:
            if lifetime is not None:
                connection.execute(delete(tokens).where(tokens.c.expires <= int(self._clock())))
            connection.execute(insert(tokens).values(row))
        return token

    def lasting_token(self, user: User, presented: str) -> str:
        """Return a token that does not expire: the one that a user came with, or else a new one."""
        found = select(tokens.c.expires).where(tokens.c.sha256 == token_digest(presented))
        with self._database.read() as connection:
            row = connection.execute(found).one_or_none()
        return presented if row is not None and row.expires is None else self.mint_token(user)

    def revoke_token(self, token: str) -> None:
        """Make a token void. Nothing happens if it is already."""
        with self._database.write() as connection:
            connection.execute(delete(tokens).where(tokens.c.sha256 == token_digest(token)))
        self._forget()

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
        moment = int(self._clock())
        joined = select(*USER, tokens.c.expires, tokens.c.kind).join(tokens, tokens.c.user == users.c.id)
        with self._database.read() as connection:
            row = connection.execute(joined.where(tokens.c.sha256 == digest)).one_or_none()
        if row is None or (row.expires is not None and row.expires <= moment):
            raise Unauthorized("invalid token")
        if row.kind == OAUTH and not granted:
            raise Unauthorized("this token is for the repovizz2 API only")
        user = User(*row[:4])
        if row.expires is None:
            with self._lock:
                self._known[digest] = user
        return user

    def log_in(self, username: str, password: str, address: str) -> User:
        """Return the user whom a name and a password sign in. Takes a tenth of a second of one core.

        Parameters
        ----------
        username, password : str
            As they were typed.
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
            stored = connection.scalar(select(users.c.password).where(users.c.username == username))
        self._passwords.check(stored, password, (username, address))
        user = self.user(username)
        if user is None:
            raise Unauthorized("wrong username or password")
        return user

    def _find(self, condition: ColumnElement[bool]) -> User | None:
        with self._database.read() as connection:
            row = connection.execute(select(*USER).where(condition)).one_or_none()
        return None if row is None else User(*row)

    def _forget(self) -> None:
        with self._lock:
            self._known.clear()


def token_digest(token: str) -> str:
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
