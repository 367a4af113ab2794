"""Users, their passwords and their tokens.

Tokens are not in a module of their own: a sign-in creates one, and a new password or the removal of a user
ends them, each in one transaction. The module is long because it is documented in full.
"""

from __future__ import annotations

import hashlib
import secrets
import time
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from rinofs.server.auth.passwords import LONGEST, Passwords, check_new_password
from rinofs.server.auth.throttle import Attempt, SignInThrottle
from rinofs.server.auth.token_uses import TokenUses
from rinofs.server.budgets import FairQueue, Remembered
from rinofs.server.catalog.users import accounts as rows
from rinofs.server.catalog.users import grants, signins
from rinofs.server.catalog.users.accounts import ACCESS, API, EXCHANGED, OAUTH, PRIMARY, READ, StoredToken
from rinofs.server.catalog.users.audit import AuditEvent
from rinofs.server.errors import (
    BadRequest,
    Conflict,
    Forbidden,
    NotFound,
    Unauthorized,
)
from rinofs.server.web.connections import network_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.server.catalog.database import Connection, Database
    from rinofs.server.catalog.records import User
    from rinofs.server.catalog.users.accounts import UserSummary

P = ParamSpec("P")
T = TypeVar("T")

__all__ = [
    "ACCESS",
    "API",
    "COMMAND_LINE",
    "OAUTH",
    "PRIMARY",
    "READ",
    "Accounts",
    "new_token",
    "token_digest",
]

REMEMBERED = 5.0
"""Seconds for which a valid token is not looked up again."""
USE_NOTED_EVERY = 3600
"""Resolution in seconds of the time when a token was last used."""
MOST_TOKENS = 1000
"""Maximum number of tokens of a user; beyond it, no further named token is created."""
CHECKS_AT_ONCE = 2
"""Maximum number of concurrent password checks; they are expensive, and anybody can request one."""
MOST_CHECKS, MOST_CHECKS_EACH = 64, 8
"""Maximum number of waiting checks: in total, and for one address."""
COMMAND_LINE = "command line"
"""Source, in the audit log, of changes that were not made by a request."""

_LONGEST_NAME = 255
_WRONG = "wrong username or password"


def new_token() -> str:
    """Return a new random token of 256 bits, with a prefix that secret scanners can recognise."""
    return f"rino_{secrets.token_urlsafe(32)}"


class Accounts:
    """The users of a server.

    Parameters
    ----------
    database : Database
        The database. It has only hashes of tokens and passwords.
    timer : callable
        Returns seconds; measures how long `remembered` keeps a token.

    Attributes
    ----------
    remembered : Remembered
        Recently valid tokens, which are accepted without a query.
    """

    def __init__(self, database: Database, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._queue = FairQueue[str](
            CHECKS_AT_ONCE,
            CHECKS_AT_ONCE,
            most_waiting=MOST_CHECKS,
            most_waiting_each=MOST_CHECKS_EACH,
            refusal="too many sign-ins at once; try again",
        )
        self._database = database
        self.remembered = Remembered[StoredToken](REMEMBERED, timer)
        self._passwords = Passwords()
        self._throttle = SignInThrottle(database)
        self._uses = TokenUses(database)

    def close(self) -> None:
        """Wait until the last uses of tokens are written."""
        self._uses.flush()

    async def in_turn(self, address: str, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Run a function that checks a password in a thread, when it is the turn of the client's address.

        Parameters
        ----------
        address : str
            Address of the client.
        work : callable
            The function.
        *args, **kwargs
            Its arguments.

        Returns
        -------
        object
            What the function returns.

        Raises
        ------
        Unavailable
            If too many checks are waiting.
        """
        return await self._queue.run(network_of(address), partial(work, *args, **kwargs))

    # Users

    def add_user(
        self,
        username: str,
        *,
        email: str = "",
        project: str | None = None,
        password: str | None = None,
    ) -> User:
        """Create a user.

        Parameters
        ----------
        username : str
            Name of the user.
        email, project : str, optional
            Shown in the records of the user's objects; the project is named after the user by default.
        password : str, optional
            Password; by default the user has none, and cannot sign in with one.

        Returns
        -------
        User
            The new user.

        Raises
        ------
        Conflict
            If the name is taken.
        BadRequest
            If the name is not allowed, or the password is too short or too long.
        """
        if not _is_name(username) or "/" in username:
            message = "username: 1 to 255 printable characters without a slash are allowed"
            raise BadRequest(message, field="username")
        hashed = None if password is None else self._passwords.hash(check_new_password(password))
        with self._database.write() as connection:
            user = rows.add_user(connection, username, email, project or username, hashed)
            self._note(connection, AuditEvent.USER_ADDED, user, None)
        return user

    def user(self, username: str) -> User | None:
        """Return the user with a name, or None."""
        with self._database.read() as connection:
            return rows.find_user(connection, username)

    def summaries(self) -> list[UserSummary]:
        """Return a summary of each user, sorted by name."""
        with self._database.read() as connection:
            return rows.summaries(connection)

    def remove_user(self, user: User, *, with_data: bool = False) -> None:
        """Remove a user with all tokens, sessions and grants.

        Parameters
        ----------
        user : User
            The user.
        with_data : bool
            Whether to remove the user's objects and datapacks too.

        Raises
        ------
        Conflict
            If the user has objects or datapacks, and `with_data` is not set.
        """
        with self._database.write(user.id) as connection:
            mine = next((one for one in rows.summaries(connection) if one.user.id == user.id), None)
            if mine is not None and (mine.objects or mine.datapacks) and not with_data:
                stored = f"{mine.objects} objects and {mine.datapacks} datapacks"
                raise Conflict(f"username: {user.username!r} has {stored}", field="username")
            grants.end_grants_of(connection, user)
            signins.end_sessions_of(connection, user)
            rows.remove_user(connection, user)
            lost = {} if mine is None else {"objects": mine.objects, "datapacks": mine.datapacks}
            self._note(connection, AuditEvent.USER_REMOVED, user, None, **lost)
        self.remembered.forget()

    def set_password(self, user: User, password: str, *, source: str | None = None) -> None:
        """Set the password of a user.

        This ends the user's sessions, all grants to programs, and the tokens from sign-ins with the old
        password.

        Parameters
        ----------
        user : User
            The user.
        password : str
            The new password.
        source : str, optional
            Address of the client, for the audit log; by default the command line.

        Raises
        ------
        BadRequest
            If the password is too short or too long.
        """
        hashed = self._passwords.hash(check_new_password(password))
        with self._database.write(user.id) as connection:
            self._set_password(connection, user, hashed, source)
        self.remembered.forget()

    def change_password(self, user: User, present: str, new: str, address: str) -> None:
        """Change a password; see `set_password`.

        Parameters
        ----------
        user : User
            The user.
        present, new : str
            The current and the new password.
        address : str
            Address of the client.

        Raises
        ------
        BadRequest
            If the new password is too short or too long.
        Unauthorized, TooManyRequests
            As for `log_in`.
        """
        hashed = self._passwords.hash(check_new_password(new))
        self.with_password(
            user.username,
            present,
            address,
            lambda connection, found: self._set_password(connection, found, hashed, address),
        )
        self.remembered.forget()

    def _set_password(self, connection: Connection, user: User, hashed: str, source: str | None) -> None:
        ended = {
            "grants": grants.end_grants_of(connection, user),
            "sessions": signins.end_sessions_of(connection, user),
            "tokens": rows.set_password(connection, user, hashed),
        }
        self._note(connection, AuditEvent.PASSWORD_CHANGED, user, source, **ended)

    def is_password(self, user: User, password: str) -> bool:
        """Return whether this is the password of a user, without any limit on attempts."""
        with self._database.read() as connection:
            stored = rows.password_of(connection, user.username)
        return stored is not None and self._passwords.matches(stored, password)

    # Tokens

    def set_token(self, user: User, token: str) -> None:
        """Set the primary token of a user; the former one becomes invalid.

        Raises
        ------
        Conflict
            If the token belongs to another user.
        BadRequest
            If it is empty or not plain ASCII, so that it cannot be sent in a header.
        """
        if not token or not token.isascii() or not token.isprintable() or " " in token:
            raise BadRequest(
                "token: only printable ASCII characters without spaces are allowed", field="token"
            )
        digest = token_digest(token)
        with self._database.write(user.id) as connection:
            found = rows.find_token(connection, digest)
            if found is not None and found.user.id == user.id and found.kind == PRIMARY:
                return
            rows.set_primary_token(connection, user, digest)
            self._note(connection, AuditEvent.TOKEN_ADDED, user, None, kind=PRIMARY)
        self.remembered.forget()

    def mint_token(
        self,
        user: User,
        *,
        kind: str = API,
        lifetime: float | None = None,
        scope: str | None = None,
        name: str | None = None,
        by_password: bool = False,
        parent: StoredToken | None = None,
        source: str | None = None,
    ) -> str:
        """Create a token in addition to the primary one.

        Parameters
        ----------
        user : User
            The user whom the token signs in.
        kind : str
            One of the kinds in `rinofs.server.catalog.users.accounts`.
        lifetime : float, optional
            Seconds until the token expires; it does not expire by default.
        scope : str, optional
            `READ` for a read-only token.
        name : str, optional
            Name of the token.
        by_password : bool
            Whether it comes from a sign-in with the password, and becomes invalid when that changes.
        parent : StoredToken, optional
            The token that authorized the request.
        source : str, optional
            Address of the client, for the audit log; by default the command line.

        Returns
        -------
        str
            The token. The database has only its hash.

        Raises
        ------
        BadRequest, Conflict
            If the name is not allowed or taken, or if there are too many tokens.
        Unauthorized
            If `parent` has become invalid.
        """
        if name is not None and not _is_name(name):
            raise BadRequest("name: 1 to 255 printable characters are allowed", field="name")
        token = new_token()
        with self._database.write(user.id) as connection:
            moment = self._database.moment(connection)
            if parent is not None and parent.id not in {
                one.id for one in rows.tokens_of(connection, user, moment)
            }:
                raise Unauthorized("invalid token")  # this process may still remember it
            self._check_room(connection, user, name, moment)
            expires = None if lifetime is None else int(moment + lifetime)
            rows.add_token(
                connection,
                user,
                token_digest(token),
                kind,
                scope=scope,
                expires=expires,
                name=name,
                by_password=by_password,
            )
            described = {"kind": kind, "name": name, "scope": scope, "expires": expires}
            self._note(connection, AuditEvent.TOKEN_ADDED, user, source, **described)
        return token

    def _check_room(self, connection: Connection, user: User, name: str | None, moment: float) -> None:
        if name is None:
            return
        present = rows.tokens_of(connection, user, moment)
        if any(one.name == name for one in present):
            raise Conflict(f"name: there is a token {name!r} already", field="name")
        if len(present) >= MOST_TOKENS:
            raise Conflict(f"at most {MOST_TOKENS} tokens are allowed; revoke some")

    def derive_token(
        self,
        parent: StoredToken,
        name: str,
        *,
        scope: str | None = None,
        lifetime: float | None = None,
        source: str | None = None,
    ) -> str:
        """Create a token with at most the rights of another one.

        Parameters
        ----------
        parent : StoredToken
            The token that authorized the request.
        name : str
            Name of the new token.
        scope : str, optional
            `READ` for a read-only token.
        lifetime : float, optional
            Seconds until it expires; by default it expires with `parent`.
        source : str, optional
            Address of the client, for the audit log.

        Returns
        -------
        str
            The token.

        Raises
        ------
        Forbidden
            If `parent` is read-only or was issued to a program, or if the new token would outlive it.
        BadRequest, Conflict
            If the name is not allowed or taken, or if there are too many tokens.
        """
        if parent.read_only or parent.kind == OAUTH:
            raise Forbidden("this token cannot make tokens")
        if parent.expires is not None:
            with self._database.read() as connection:
                left = parent.expires - self._database.moment(connection)
            if lifetime is not None and lifetime > left:
                raise Forbidden("lifetime: a token cannot be good for longer than the one that makes it")
            lifetime = left if lifetime is None else lifetime
        return self.mint_token(
            parent.user,
            lifetime=lifetime,
            scope=scope,
            name=name,
            by_password=parent.by_password,
            parent=parent,
            source=source,
        )

    def lasting_token(self, presented: str, *, source: str | None = None) -> str:
        """Return the token that a client should store: the presented one, or one that does not expire.

        The token from a sign-in with the password can be exchanged once for a token that is valid until the
        password changes, because published clients rely on that. Every other token is returned as it is.

        Parameters
        ----------
        presented : str
            The token that authorized the request.
        source : str, optional
            Address of the client, for the audit log.
        """
        digest = token_digest(presented)
        with self._database.read() as connection:
            found = rows.find_token(connection, digest)
        if found is None or found.kind != ACCESS:
            return presented
        with self._database.write(found.user.id) as connection:
            if not rows.mark_exchanged(connection, found):
                return presented
            token = new_token()
            rows.add_token(connection, found.user, token_digest(token), API, by_password=True)
            described = {"kind": API, "name": None, "scope": None, "expires": None}
            self._note(connection, AuditEvent.TOKEN_ADDED, found.user, source, **described)
        return token

    def tokens(self, user: User) -> list[StoredToken]:
        """Return the valid tokens of a user, the oldest first."""
        self._uses.flush()
        with self._database.read() as connection:
            return rows.tokens_of(connection, user, self._database.moment(connection))

    def end_token(self, user: User, called: str | int, *, source: str | None = None) -> StoredToken:
        """Revoke a token of a user by its name or number.

        Parameters
        ----------
        user : User
            The user.
        called : str or int
            Name or number of the token.
        source : str, optional
            Address of the client, for the audit log; by default the command line.

        Returns
        -------
        StoredToken
            The token that was revoked.

        Raises
        ------
        NotFound
            If the user has no token with that name or number.
        """
        with self._database.write(user.id) as connection:
            present = rows.tokens_of(connection, user, self._database.moment(connection))
            found = _called(present, called)
            if found is None:
                if isinstance(called, str) and rows.find_token(connection, token_digest(called)) is not None:
                    raise NotFound("id: this is a token itself; its name or number is expected", field="id")
                raise NotFound(f"id: there is no token {called!r}", field="id")
            rows.remove_token(connection, found.id)
            self._note(connection, AuditEvent.TOKEN_REVOKED, user, source, id=found.id, name=found.name)
        self.remembered.forget()
        return found

    def revoke_token(self, token: str, *, source: str | None = None) -> bool:
        """Revoke a token; unknown tokens are ignored.

        Returns
        -------
        bool
            False if the token is a primary one, or was issued to a program; it stays valid then.
        """
        digest = token_digest(token)
        with self._database.read() as connection:
            found = rows.find_token(connection, digest)
        if found is None:
            return True
        with self._database.write(found.user.id) as connection:
            found = rows.find_token(connection, digest)
            if found is not None:
                if found.kind not in {ACCESS, API, EXCHANGED}:
                    return False
                rows.remove_token(connection, found.id)
                described = {"id": found.id, "name": found.name}
                self._note(connection, AuditEvent.TOKEN_REVOKED, found.user, source, **described)
        self.remembered.forget()
        return True

    # Signing in

    def authenticate(self, token: str, *, granted: bool = False) -> StoredToken:
        """Return the user and the rights of a token.

        Parameters
        ----------
        token : str
            The token.
        granted : bool
            Whether to accept tokens that were issued to programs; they are for datapacks only.

        Raises
        ------
        Unauthorized
            If the token is unknown or expired.
        """
        digest = token_digest(token)
        with self._database.read() as connection:
            found = rows.find_token(connection, digest)
            moment = self._database.moment(connection)
        if found is None or (found.expires is not None and found.expires <= int(moment)):
            raise Unauthorized("invalid token")
        if found.kind == OAUTH and not granted:
            raise Unauthorized("this token is for the repovizz2 API only")
        if found.used is None or abs(moment - found.used) >= USE_NOTED_EVERY:
            self._uses.note(found.id, int(moment))
        if found.expires is None:
            self.remembered.keep(token, found)
        return found

    def log_in(self, username: str, password: str, address: str) -> User:
        """Check a name and a password, which takes about 0.1 s of one core.

        Parameters
        ----------
        username, password : str
            As entered. An e-mail address is accepted as the name if only one user has it.
        address : str
            Address of the client; attempts are limited per address too.

        Returns
        -------
        User
            The user.

        Raises
        ------
        Unauthorized
            If the password is wrong. Unknown names get the same answer after the same time.
        TooManyRequests
            If there were too many wrong passwords recently.
        """
        return self.with_password(username, password, address, lambda _connection, user: user)

    def with_password(
        self, username: str, password: str, address: str, act: Callable[[Connection, User], T]
    ) -> T:
        """Check a name and a password as `log_in` does, and run a function in the same transaction.

        The function therefore has no effect if the password has been changed meanwhile.

        Parameters
        ----------
        username, password, address : str
            As for `log_in`.
        act : callable
            The function, which is called with the connection and the user.

        Returns
        -------
        object
            What the function returns.
        """
        if len(username) > _LONGEST_NAME or len(password) > LONGEST:
            raise Unauthorized(_WRONG)  # too long for any account, and not stored in the throttle
        with self._database.read() as connection:
            username = rows.name_of(connection, username)
            stored = rows.password_of(connection, username)
            user = rows.find_user(connection, username)
        attempt = Attempt(username, address)
        self._throttle.begin(attempt)
        if self._passwords.matches(stored, password) and user is not None:
            with self._database.write(user.id) as connection:
                if rows.password_of(connection, username) == stored:
                    self._throttle.succeed(connection, attempt)
                    return act(connection, user)
        with self._database.write() as connection:
            # An unknown name is not logged: it may be a password, entered in the wrong field.
            name = None if user is None else user.username
            self._database.note(connection, AuditEvent.SIGN_IN_FAILED, name, address)
        raise Unauthorized(_WRONG)

    def access_token(self, username: str, password: str, address: str, *, lifetime: float) -> str:
        """Check a name and a password as `log_in` does, and create a token.

        Parameters
        ----------
        username, password, address : str
            As for `log_in`.
        lifetime : float
            Seconds until the token expires. It becomes invalid before that if the password changes.

        Returns
        -------
        str
            The token.
        """

        def make(connection: Connection, user: User) -> str:
            token = new_token()
            expires = int(self._database.moment(connection) + lifetime)
            rows.add_token(connection, user, token_digest(token), ACCESS, expires=expires, by_password=True)
            self._note(connection, AuditEvent.SIGN_IN, user, address)
            return token

        return self.with_password(username, password, address, make)

    def _note(
        self, connection: Connection, event: AuditEvent, user: User, source: str | None, **details: object
    ) -> None:
        self._database.note(connection, event, user.username, source or COMMAND_LINE, **details)


def _is_name(name: str) -> bool:
    return bool(name.strip()) and name.isprintable() and len(name) <= _LONGEST_NAME


def _called(present: list[StoredToken], called: str | int) -> StoredToken | None:
    named = [one for one in present if one.name == called]
    if named:
        return named[0]
    number = int(called) if isinstance(called, int) or (called.isascii() and called.isdigit()) else None
    return next((one for one in present if one.id == number), None)


def token_digest(token: str) -> str:
    """Return the hash by which the database knows a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
