"""Rows of users and their tokens. Tokens and passwords are stored as hashes only."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, func, insert, or_, select, update
from sqlalchemy.exc import IntegrityError

from rinofs.server.catalog.records import User, now
from rinofs.server.catalog.tables import datapack_contents, datapacks, objects, outcomes, tokens, users
from rinofs.server.errors import Conflict

if TYPE_CHECKING:
    from collections.abc import Mapping

    from sqlalchemy import Column, Connection, ScalarSelect, Table

__all__ = [
    "ACCESS",
    "API",
    "EXCHANGED",
    "OAUTH",
    "PRIMARY",
    "READ",
    "USER",
    "StoredToken",
    "UserSummary",
    "add_token",
    "add_user",
    "find_token",
    "find_user",
    "mark_exchanged",
    "name_of",
    "note_uses",
    "password_of",
    "remove_token",
    "remove_user",
    "set_password",
    "set_primary_token",
    "summaries",
    "tokens_of",
]

PRIMARY = "primary"
"""The token created with the user, or its replacement."""
API = "api"
"""An additional token."""
ACCESS = "access"
"""A token from a sign-in with the password; it expires."""
EXCHANGED = "exchanged"
"""An `ACCESS` token that was exchanged for one that does not expire."""
OAUTH = "oauth"
"""A token of a program to which the user has granted access to datapacks."""

READ = "read"
"""The scope of read-only tokens; those without a scope have all rights of the user."""

USER = (users.c.id, users.c.username, users.c.email, users.c.project)
"""The columns of a `User`, in its order."""

_TOKEN = select(
    *USER,
    tokens.c.id.label("number"),
    tokens.c.kind,
    (func.coalesce(tokens.c.scope, "") == READ).label("read_only"),
    tokens.c.expires,
    tokens.c.name,
    tokens.c.used,
    tokens.c.by_password,
    tokens.c.created_on,
).join(tokens, tokens.c.user == users.c.id)


@dataclass(frozen=True, slots=True)
class StoredToken:
    """A token as stored, without the token itself.

    Attributes
    ----------
    user : User
        The user whom it signs in.
    id : int
        Number of the token.
    kind : str
        One of the kinds in this module.
    read_only : bool
        Whether it allows reading only.
    expires : int or None
        Unix time at which it expires.
    name : str or None
        Name given by the user.
    used : int or None
        Unix time of its last use, to the hour.
    by_password : bool
        Whether it comes from a sign-in with the password, and becomes invalid when that changes.
    created_on : str
        When it was created.
    """

    user: User
    id: int
    kind: str
    read_only: bool = False
    expires: int | None = None
    name: str | None = None
    used: int | None = None
    by_password: bool = False
    created_on: str = ""

    def to_json(self) -> dict[str, object]:
        """Return the token as users see it in lists."""
        return {
            "id": self.id,
            "name": self.name,
            "kind": self.kind,
            "scope": "read" if self.read_only else "all",
            "created_on": self.created_on,
            "expires": self.expires,
            "last_used": self.used,
        }


@dataclass(frozen=True, slots=True)
class UserSummary:
    """A user, as administrators see it.

    Attributes
    ----------
    user : User
        The user.
    created_on : str
        When the user was created.
    has_password : bool
        Whether the user has a password.
    tokens, objects, datapacks : int
        Numbers of each.
    """

    user: User
    created_on: str
    has_password: bool
    tokens: int
    objects: int
    datapacks: int


def add_user(connection: Connection, username: str, email: str, project: str, password: str | None) -> User:
    """Create a user; `password` is a hash.

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
    """Return the user with a name, or None."""
    row = connection.execute(select(*USER).where(users.c.username == username)).one_or_none()
    return None if row is None else User(*row)


def name_of(connection: Connection, called: str) -> str:
    """Return the name of the user with a name or an e-mail address.

    An address that several users have is not accepted. Then, and for unknown names, `called` is returned.
    """
    if find_user(connection, called) is not None or "@" not in called:
        return called
    wanted = select(users.c.username).where(func.lower(users.c.email) == func.lower(called)).limit(2)
    names = connection.scalars(wanted).all()
    return names[0] if len(names) == 1 else called


def password_of(connection: Connection, username: str) -> str | None:
    """Return the hash of a user's password; None if the user has none, or does not exist."""
    found: str | None = connection.scalar(select(users.c.password).where(users.c.username == username))
    return found


def set_password(connection: Connection, user: User, password: str) -> int:
    """Set the hash of a user's password; return the number of tokens that this removed.

    These are the tokens from sign-ins with the former password.
    """
    connection.execute(update(users).where(users.c.id == user.id).values(password=password))
    mine = (tokens.c.user == user.id, tokens.c.by_password)
    return connection.execute(delete(tokens).where(*mine)).rowcount


def summaries(connection: Connection) -> list[UserSummary]:
    """Return a summary of each user, sorted by name."""

    def count(table: Table, owner: Column[int]) -> ScalarSelect[int]:
        return select(func.count()).select_from(table).where(owner == users.c.id).scalar_subquery()

    counts = (
        count(tokens, tokens.c.user),
        count(objects, objects.c.owner),
        count(datapacks, datapacks.c.owner),
    )
    wanted = select(*USER, users.c.created_on, users.c.password.is_not(None), *counts)
    rows = connection.execute(wanted.order_by(users.c.username))
    return [UserSummary(User(*row[:4]), *row[4:]) for row in rows]


def remove_user(connection: Connection, user: User) -> None:
    """Remove a user with all data; grants and sessions must be removed first."""
    mine = select(datapacks.c.id).where(datapacks.c.owner == user.id)
    connection.execute(delete(datapack_contents).where(datapack_contents.c.datapack.in_(mine)))
    connection.execute(delete(datapacks).where(datapacks.c.owner == user.id))
    connection.execute(delete(objects).where(objects.c.owner == user.id))
    connection.execute(delete(outcomes).where(outcomes.c.owner == user.id))
    connection.execute(delete(tokens).where(tokens.c.user == user.id))
    connection.execute(delete(users).where(users.c.id == user.id))


def set_primary_token(connection: Connection, user: User, digest: str) -> None:
    """Set the primary token of a user; the former one is removed.

    Raises
    ------
    Conflict
        If the token belongs to another user.
    """
    holder = connection.scalar(select(tokens.c.user).where(tokens.c.sha256 == digest))
    if holder not in {None, user.id}:
        raise _chosen()
    mine = tokens.c.user == user.id
    connection.execute(delete(tokens).where(mine, tokens.c.kind == PRIMARY))
    connection.execute(delete(tokens).where(mine, tokens.c.sha256 == digest))
    try:
        add_token(connection, user, digest, PRIMARY)
    except IntegrityError as error:  # another user has just got it
        raise _chosen() from error


def _chosen() -> Conflict:
    return Conflict("token: choose another one", field="token")


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
    name: str | None = None,
    by_password: bool = False,
) -> int:
    """Add a token of a user, and return its number."""
    row = {
        "sha256": digest,
        "user": user.id,
        "kind": kind,
        "scope": scope,
        "client": client,
        "expires": expires,
        "created_on": now(),
        "grant": grant,
        "name": name,
        "by_password": by_password,
    }
    number: int = connection.execute(insert(tokens).values(row).returning(tokens.c.id)).scalar_one()
    return number


def find_token(connection: Connection, digest: str) -> StoredToken | None:
    """Return a token, even if it has expired; None if there is none."""
    row = connection.execute(_TOKEN.where(tokens.c.sha256 == digest)).one_or_none()
    return None if row is None else StoredToken(User(*row[:4]), *row[4:])


def tokens_of(connection: Connection, user: User, moment: float) -> list[StoredToken]:
    """Return the valid tokens of a user, the oldest first, without those of programs."""
    good = or_(tokens.c.expires.is_(None), tokens.c.expires > int(moment))
    mine = (tokens.c.user == user.id, tokens.c.kind != OAUTH, good)
    rows = connection.execute(_TOKEN.where(*mine).order_by(tokens.c.id))
    return [StoredToken(User(*row[:4]), *row[4:]) for row in rows]


def note_uses(connection: Connection, used: Mapping[int, int]) -> None:
    """Store when tokens were last used, by their numbers; skip those that are being changed."""
    free = select(tokens.c.id).where(tokens.c.id.in_(sorted(used))).with_for_update(skip_locked=True)
    for number in connection.scalars(free).all():
        connection.execute(update(tokens).where(tokens.c.id == number).values(used=used[number]))


def mark_exchanged(connection: Connection, token: StoredToken) -> bool:
    """Mark an access token as exchanged; return False if it already was."""
    mine = (tokens.c.id == token.id, tokens.c.kind == ACCESS)
    return connection.execute(update(tokens).where(*mine).values(kind=EXCHANGED)).rowcount > 0


def remove_token(connection: Connection, number: int) -> None:
    """Remove a token, if it exists."""
    connection.execute(delete(tokens).where(tokens.c.id == number))
