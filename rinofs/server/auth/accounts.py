"""Users, tokens and passwords."""

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
"""Seconds for which a token that was found good is not looked up again."""
USE_NOTED_EVERY = 3600
"""Seconds to which the last use of a token is kept."""
MOST_TOKENS = 1000
"""Tokens that a user can have."""
CHECKS_AT_ONCE = 2
"""Passwords that are checked at once, which is expensive and open to everybody."""
MOST_CHECKS, MOST_CHECKS_EACH = 64, 8
"""Checks that wait, in all and of one address."""
COMMAND_LINE = "command line"
"""Where changes come from, in the audit log, that no request asked for."""

_LONGEST_NAME = 255
_WRONG = "wrong username or password"


def new_token() -> str:
    """Return a fresh random token of 256 bits, in a form that secret scanners can know."""
    return f"rino_{secrets.token_urlsafe(32)}"


class Accounts:
    """The users of a server.

    Parameters
    ----------
    database : Database
        Where they are kept; of tokens and passwords only hashes.
    timer : callable
        Seconds, for what this process remembers.

    Attributes
    ----------
    remembered : Remembered
        Tokens that were found good a moment ago, without asking the database.

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
        """Finish what is under way."""
        self._uses.flush()

    async def in_turn(self, address: str, work: Callable[P, T], /, *args: P.args, **kwargs: P.kwargs) -> T:
        """Do in a thread what has a password checked, when it is the turn of an address.

        Raises
        ------
        Unavailable
            If too many wait already.
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
            If it cannot be a name, or the password is too short.
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
        """Return the user of a name, or None."""
        with self._database.read() as connection:
            return rows.find_user(connection, username)

    def summaries(self) -> list[UserSummary]:
        """Return all users, by name."""
        with self._database.read() as connection:
            return rows.summaries(connection)

    def remove_user(self, user: User, *, with_data: bool = False) -> None:
        """Remove an account, and everything that signs in to it.

        Raises
        ------
        Conflict
            If it has objects or datapacks, and they are not to go as well.
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
        """Let a password open an account, in place of any that did.

        That ends the user's sessions, what the user granted to programs, and the tokens that came of a
        sign-in with the password before.

        Raises
        ------
        BadRequest
            If it is too short.
        """
        hashed = self._passwords.hash(check_new_password(password))
        with self._database.write(user.id) as connection:
            self._set_password(connection, user, hashed, source)
        self.remembered.forget()

    def change_password(self, user: User, present: str, new: str, address: str) -> None:
        """Let another password open an account, for who knows the present one; see `set_password`.

        Raises
        ------
        BadRequest
            If the new one is too short.
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
        """Tell whether a password opens an account, for those who may know."""
        with self._database.read() as connection:
            stored = rows.password_of(connection, user.username)
        return stored is not None and self._passwords.matches(stored, password)

    # Tokens

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
        """Make a further token.

        Parameters
        ----------
        user : User
            Whom it signs in.
        kind : str
            What sort of token it is.
        lifetime : float, optional
            Seconds until it is void; it does not expire by default.
        scope : str, optional
            `READ` for one that changes nothing.
        name : str, optional
            What it is called.
        by_password : bool
            Whether it comes of a sign-in with the password, and ends with it.
        parent : StoredToken, optional
            The token that asks for it.
        source : str, optional
            Where the request came from.

        Returns
        -------
        str
            The token; only its hash is kept.

        Raises
        ------
        BadRequest, Conflict
            If the name cannot be one, or another token has it; or if there are too many tokens.
        Unauthorized
            If the token that asks for it is void by now.
        """
        if name is not None and not _is_name(name):
            raise BadRequest("name: 1 to 255 printable characters are allowed", field="name")
        token = new_token()
        with self._database.write(user.id) as connection:
            moment = self._database.moment(connection)
            if parent is not None and parent.id not in {
                one.id for one in rows.tokens_of(connection, user, moment)
            }:
                raise Unauthorized("invalid token")  # this process may not have noticed yet
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
        """Make a token in the name of another one, which does nothing that this one does not.

        Parameters
        ----------
        parent : StoredToken
            The token that asks for it.
        name : str
            What it is called.
        scope : str, optional
            `READ` for one that changes nothing.
        lifetime : float, optional
            Seconds until it is void; by default as long as that of the other one.
        source : str, optional
            Where the request came from.

        Raises
        ------
        Forbidden
            If it would change what the other one may not, or be good for longer.
        BadRequest, Conflict
            If the name cannot be one, or another token has it; or if there are too many tokens.
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
        """Return what a program should keep to sign in with: the token that it came with, or a better one.

        A sign-in with the password can be exchanged once for a token that stays until the password changes,
        since published clients ask for that; no other token gets one that lasts longer than itself.
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
        """Return the tokens that sign a user in, the oldest first."""
        self._uses.flush()
        with self._database.read() as connection:
            return rows.tokens_of(connection, user, self._database.moment(connection))

    def end_token(self, user: User, called: str | int, *, source: str | None = None) -> StoredToken:
        """Make a token of a user void, which is known by its number or name, and return what it was.

        Raises
        ------
        NotFound
            If the user has none of that name or number.
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
        """Make a token void; nothing happens if it is already.

        Returns
        -------
        bool
            False, and nothing happens, if it is the primary one of a user, or was granted to a program.
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
        """Return what a token is good for, and whom it signs in.

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
        return self.with_password(username, password, address, lambda _connection, user: user)

    def with_password(
        self, username: str, password: str, address: str, act: Callable[[Connection, User], T]
    ) -> T:
        """Do something in the transaction in which a name and a password sign a user in.

        So nothing comes of a password that is no longer the one of the account by then. The other parameters
        and the errors are those of `log_in`.

        Parameters
        ----------
        username, password, address : str
            As for `log_in`.
        act : callable
            What to do, with the user; what it returns is returned.
        """
        if len(username) > _LONGEST_NAME or len(password) > LONGEST:
            raise Unauthorized(_WRONG)  # nobody has such a name, and nothing of it is kept
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
            # What was typed in place of a name that is none may be a password.
            name = None if user is None else user.username
            self._database.note(connection, AuditEvent.SIGN_IN_FAILED, name, address)
        raise Unauthorized(_WRONG)

    def access_token(self, username: str, password: str, address: str, *, lifetime: float) -> str:
        """Return a token for a name and a password, which ends with that; see `log_in`.

        Parameters
        ----------
        username, password, address : str
            As for `log_in`.
        lifetime : float
            Seconds until it is void.
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
    """Return what is kept of a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
