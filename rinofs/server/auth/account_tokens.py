"""The tokens of users: creating, finding and revoking them."""

from __future__ import annotations

import hashlib
import secrets
import time
from typing import TYPE_CHECKING

from rinofs.server.auth.token_uses import TokenUses
from rinofs.server.budgets import Remembered
from rinofs.server.catalog.users import accounts as rows
from rinofs.server.catalog.users.accounts import ACCESS, API, EXCHANGED, OAUTH, PRIMARY, READ, StoredToken
from rinofs.server.catalog.users.audit import COMMAND_LINE, AuditEvent
from rinofs.server.errors import BadRequest, Conflict, Forbidden, NotFound, Unauthorized

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.server.catalog.database import Connection, Database
    from rinofs.server.catalog.records import User

__all__ = [
    "ACCESS",
    "API",
    "OAUTH",
    "PRIMARY",
    "READ",
    "AccountTokens",
    "is_name",
    "new_token",
    "token_digest",
]

REMEMBERED = 5.0
"""Seconds for which a valid token is not looked up again."""
USE_NOTED_EVERY = 3600
"""Resolution in seconds of the time when a token was last used."""
MOST_TOKENS = 1000
"""Maximum number of tokens of a user; beyond it, no further named token is created."""
LONGEST_NAME = 255
"""Maximum length in characters of the name of a user or a token."""


def new_token() -> str:
    """Return a new random token of 256 bits, with a prefix that secret scanners can recognise."""
    return f"rino_{secrets.token_urlsafe(32)}"


class AccountTokens:
    """The tokens of all users.

    Parameters
    ----------
    database : Database
        The database. It has only hashes of tokens.
    timer : callable
        Returns seconds; measures how long `remembered` keeps a token.

    Attributes
    ----------
    remembered : Remembered
        Recently valid tokens, which are accepted without a query.
    """

    def __init__(self, database: Database, *, timer: Callable[[], float] = time.monotonic) -> None:
        self._database = database
        self.remembered = Remembered[StoredToken](REMEMBERED, timer)
        self._uses = TokenUses(database)

    def close(self) -> None:
        """Wait until the last uses of tokens are written."""
        self._uses.flush()

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

    def set_primary(self, user: User, token: str) -> None:
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

    def create(
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
        if name is not None and not is_name(name):
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

    def derive(
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
        return self.create(
            parent.user,
            lifetime=lifetime,
            scope=scope,
            name=name,
            by_password=parent.by_password,
            parent=parent,
            source=source,
        )

    def lasting(self, presented: str, *, source: str | None = None) -> str:
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

    def of_user(self, user: User) -> list[StoredToken]:
        """Return the valid tokens of a user, the oldest first."""
        self._uses.flush()
        with self._database.read() as connection:
            return rows.tokens_of(connection, user, self._database.moment(connection))

    def revoke_by_name(self, user: User, called: str | int, *, source: str | None = None) -> StoredToken:
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

    def revoke(self, token: str, *, source: str | None = None) -> bool:
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

    def _note(
        self, connection: Connection, event: AuditEvent, user: User, source: str | None, **details: object
    ) -> None:
        self._database.note(connection, event, user.username, source or COMMAND_LINE, **details)


def is_name(name: str) -> bool:
    """Return whether a user or a token can have this name."""
    return bool(name.strip()) and name.isprintable() and len(name) <= LONGEST_NAME


def _called(present: list[StoredToken], called: str | int) -> StoredToken | None:
    named = [one for one in present if one.name == called]
    if named:
        return named[0]
    number = str(called).lstrip("0")  # as text, since Python refuses to convert thousands of digits
    return next((one for one in present if str(one.id) == number), None)


def token_digest(token: str) -> str:
    """Return the hash by which the database knows a token."""
    return hashlib.sha256(token.encode("utf-8", "surrogatepass")).hexdigest()
