"""Users, and the tokens that they sign in with, as rows: of tokens and passwords only hashes."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, select, update
from sqlalchemy.exc import IntegrityError

from rinofs.server.catalog.records import User, now
from rinofs.server.catalog.tables import tokens, users
from rinofs.server.errors import Conflict

if TYPE_CHECKING:
    from sqlalchemy import Connection

__all__ = [
    "ACCESS",
    "API",
    "OAUTH",
    "PRIMARY",
    "USER",
    "StoredToken",
    "add_token",
    "add_user",
    "find_token",
    "find_user",
    "name_of",
    "password_of",
    "remove_expired_tokens",
    "remove_token",
    "set_password",
    "set_primary_token",
]

PRIMARY = "primary"
"""The token that a user was given when the account was made, or that took its place."""
API = "api"
"""A further token that does not expire."""
ACCESS = "access"
"""A token that was given for a password, and expires."""
OAUTH = "oauth"
"""A token that was given to a program which the user has granted access to datapacks."""

USER = (users.c.id, users.c.username, users.c.email, users.c.project)
"""The columns of a `User`, in its order."""

_TOKEN = select(*USER, tokens.c.kind, tokens.c.expires).join(tokens, tokens.c.user == users.c.id)


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token, as it is known by its digest.

    Attributes
    ----------
    user : User
        Whom it signs in.
    kind : str
        What sort of token it is.
    expires : int or None
        The second since 1970 from which on it is void.
    """

    user: User
    kind: str
    expires: int | None


def add_user(connection: Connection, username: str, email: str, project: str, password: str | None) -> User:
    """Make an account; `password` is a hash.

    Raises
    ------
    Conflict
        If the name is taken.
    """
    row = {
        "username": username,
        "email": email,
        "project": project,
        "password": password,
        "created_on": now(),
    }
    try:
        return User(*connection.execute(insert(users).values(row).returning(*USER)).one())
    except IntegrityError as error:
        raise Conflict(f"username: {username!r} is taken", field="username") from error


def find_user(connection: Connection, username: str) -> User | None:
    """Return the user of a name, or None."""
    row = connection.execute(select(*USER).where(users.c.username == username)).one_or_none()
    return None if row is None else User(*row)


def name_of(connection: Connection, called: str) -> str:
    """Return the name of the account that somebody signs in to by its name or its e-mail address.

    An address that several accounts have leads to none of them.
    """
    if find_user(connection, called) is not None or "@" not in called:
        return called
    wanted = select(users.c.username).where(func.lower(users.c.email) == func.lower(called)).limit(2)
    names = connection.scalars(wanted).all()
    return names[0] if len(names) == 1 else called


def password_of(connection: Connection, username: str) -> str | None:
    """Return the hash of the password that opens an account; None where nothing does."""
    found: str | None = connection.scalar(select(users.c.password).where(users.c.username == username))
    return found


def set_password(connection: Connection, user: User, password: str) -> None:
    """Let another password, given as its hash, open an account."""
    connection.execute(update(users).where(users.c.id == user.id).values(password=password))


def set_primary_token(connection: Connection, user: User, digest: str) -> None:
    """Make a token the primary one of a user; the one that was it is void.

    Raises
    ------
    Conflict
        If the token is another user's.
    """
    holder = connection.scalar(select(tokens.c.user).where(tokens.c.sha256 == digest))
    if holder not in {None, user.id}:
        raise Conflict("token: choose another one", field="token")
    mine = tokens.c.user == user.id
    connection.execute(delete(tokens).where(mine, tokens.c.kind == PRIMARY))
    connection.execute(delete(tokens).where(mine, tokens.c.sha256 == digest))
    add_token(connection, user, digest, PRIMARY)


def add_token(
    connection: Connection,
    user: User,
    digest: str,
    kind: str,
    *,
    scope: str | None = None,
    client: str | None = None,
    expires: int | None = None,
    grant: int | None = None,
) -> None:
    """Keep a further token of a user."""
    row = {
        "sha256": digest,
        "user": user.id,
        "kind": kind,
        "scope": scope,
        "client": client,
        "expires": expires,
        "created_on": now(),
        "grant": grant,
    }
    connection.execute(insert(tokens).values(row))


def find_token(connection: Connection, digest: str) -> StoredToken | None:
    """Return a token, void or not; None where there is none."""
    row = connection.execute(_TOKEN.where(tokens.c.sha256 == digest)).one_or_none()
    return None if row is None else StoredToken(User(*row[:4]), row.kind, row.expires)


def remove_token(connection: Connection, digest: str) -> None:
    """Make a token void. Nothing happens if it is already."""
    connection.execute(delete(tokens).where(tokens.c.sha256 == digest))


def remove_expired_tokens(connection: Connection, moment: int) -> None:
    """Forget the tokens that are void since a second since 1970."""
    connection.execute(delete(tokens).where(tokens.c.expires <= moment))
