"""Users and their passwords.

A sign-in creates a token, and a new password or the removal of a user ends tokens, each in one transaction;
everything else about tokens is in `account_tokens`.
"""

from __future__ import annotations

import time
from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING, ParamSpec, TypeVar

from rinofs.server.auth.account_tokens import LONGEST_NAME, AccountTokens, is_name, new_token, token_digest
from rinofs.server.auth.passwords import LONGEST, Passwords, check_new_password
from rinofs.server.auth.throttle import Attempt, SignInThrottle
from rinofs.server.budgets import FairQueue
from rinofs.server.catalog.users import accounts as rows
from rinofs.server.catalog.users import grants, signins
from rinofs.server.catalog.users.accounts import ACCESS
from rinofs.server.catalog.users.audit import COMMAND_LINE, AuditEvent
from rinofs.server.errors import BadRequest, Conflict, Unauthorized
from rinofs.server.web.connections import network_of

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.server.catalog.database import Connection, Database
    from rinofs.server.catalog.records import User
    from rinofs.server.catalog.users.accounts import UserSummary

P = ParamSpec("P")
T = TypeVar("T")

__all__ = ["Accounts"]

CHECKS_AT_ONCE = 2
"""Maximum number of concurrent password checks; they are expensive, and anybody can request one."""
MOST_CHECKS, MOST_CHECKS_EACH = 64, 8
"""Maximum number of waiting checks: in total, and for one address."""

_WRONG = "wrong username or password"


@dataclass(frozen=True, slots=True)
class _Proof:
    """A checked name and password.

    Attributes
    ----------
    attempt : Attempt
        The attempt, which the throttle has counted.
    user : User
        The user.
    stored : str or None
        The hash that the password matched.
    """

    attempt: Attempt
    user: User
    stored: str | None


class Accounts:
    """The users of a server.

    Parameters
    ----------
    database : Database
        The database. It has only hashes of tokens and passwords.
    timer : callable
        Returns seconds; measures how long a valid token is remembered.

    Attributes
    ----------
    tokens : AccountTokens
        Their tokens.
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
        self._passwords = Passwords()
        self._throttle = SignInThrottle(database)
        self.tokens = AccountTokens(database, timer=timer)

    def close(self) -> None:
        """Wait until the last uses of tokens are written."""
        self.tokens.close()

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
        if not is_name(username) or "/" in username:
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
        self.tokens.remembered.forget()

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
        self.tokens.remembered.forget()

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
        check_new_password(new)
        proof = self._prove(user.username, present, address)
        hashed = self._passwords.hash(new)  # expensive, so only now, and in no transaction
        self._proven(proof, lambda connection, found: self._set_password(connection, found, hashed, address))
        self.tokens.remembered.forget()

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

    # Signing in

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
        return self._proven(self._prove(username, password, address), act)

    def _prove(self, username: str, password: str, address: str) -> _Proof:
        """Check a name and a password; raises what `log_in` raises."""
        if len(username) > LONGEST_NAME or len(password) > LONGEST:
            raise Unauthorized(_WRONG)  # too long for any account, and not stored in the throttle
        with self._database.read() as connection:
            username = rows.name_of(connection, username)
            stored = rows.password_of(connection, username)
            user = rows.find_user(connection, username)
        attempt = Attempt(username, address)
        self._throttle.begin(attempt)
        if not self._passwords.matches(stored, password) or user is None:
            raise self._failed(user, address)
        return _Proof(attempt, user, stored)

    def _proven(self, proof: _Proof, act: Callable[[Connection, User], T]) -> T:
        """Run a function in a transaction in which the checked password is still the user's."""
        with self._database.write(proof.user.id) as connection:
            if rows.password_of(connection, proof.attempt.account) == proof.stored:
                self._throttle.succeed(connection, proof.attempt)
                return act(connection, proof.user)
        raise self._failed(proof.user, proof.attempt.address)

    def _failed(self, user: User | None, address: str) -> Unauthorized:
        """Log a failed sign-in, and return its error."""
        with self._database.write() as connection:
            # An unknown name is not logged: it may be a password, entered in the wrong field.
            name = None if user is None else user.username
            self._database.note(connection, AuditEvent.SIGN_IN_FAILED, name, address)
        return Unauthorized(_WRONG)

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
