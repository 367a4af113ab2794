"""Rows of programs that may act for users, and of what they were granted. Secrets are stored as digests only.

Digests in parameters are those that `rinofs.server.auth` takes of codes, tokens and secrets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, func, insert, select, update

from rinofs.server.catalog.records import User, now
from rinofs.server.catalog.sharing.locks import shared
from rinofs.server.catalog.tables import (
    oauth_clients,
    oauth_codes,
    oauth_grants,
    oauth_refresh_tokens,
    tokens,
    users,
)
from rinofs.server.catalog.users.accounts import OAUTH, USER

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection, Row

__all__ = [
    "Client",
    "Code",
    "StoredGrant",
    "add_client",
    "add_code",
    "add_grant",
    "add_sibling",
    "all_clients",
    "end_family",
    "end_grants",
    "end_grants_of",
    "find_client",
    "find_code",
    "find_grant",
    "generation_of",
    "grants_of",
    "hold_client",
    "mark_exchanged",
    "remove_client",
    "remove_client_token",
    "rotate",
    "size_of_generation",
]

_CODE = select(
    *USER,
    oauth_codes.c.client,
    oauth_codes.c.redirect_uri,
    oauth_codes.c.scope,
    oauth_codes.c.challenge,
    oauth_codes.c.expires,
    oauth_codes.c.grant,
).join(users, users.c.id == oauth_codes.c.user)
_GRANT = select(
    *USER,
    oauth_grants.c.id.label("grant"),
    oauth_grants.c.scope,
    oauth_grants.c.generation,
    oauth_grants.c.rotated,
    oauth_grants.c.expires,
).join(users, users.c.id == oauth_grants.c.user)


@dataclass(frozen=True, slots=True)
class Client:
    """A program that may ask users for access.

    Attributes
    ----------
    client_id : str
        Its UUID.
    name : str
        The name that users see.
    redirect_uris : tuple of str
        Where users may be redirected to.
    secret : str or None
        The digest of its secret; None for a program that cannot keep one.
    """

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    secret: str | None = field(default=None, repr=False)

    @property
    def public(self) -> bool:
        """Whether it has no secret because it cannot keep one."""
        return self.secret is None


@dataclass(frozen=True, slots=True)
class Code:
    """What an authorization code stands for.

    Attributes
    ----------
    user : User
        The user who consented.
    client_id, redirect_uri, scope : str
        What the user consented to.
    challenge : str or None
        The PKCE challenge (S256).
    expires : int
        Unix time at which it expires.
    grant : int or None
        Number of the grant that it was already exchanged for.
    """

    user: User
    client_id: str
    redirect_uri: str
    scope: str
    challenge: str | None
    expires: int
    grant: int | None = None


@dataclass(frozen=True, slots=True)
class StoredGrant:
    """What a user has granted to a program.

    Attributes
    ----------
    id : int
        Its number.
    user : User
        The user who granted it.
    scope : str
        What it allows.
    generation : int
        The current generation of its refresh tokens.
    rotated : int or None
        Unix time at which the first of these was issued in exchange for one of the previous generation.
    expires : int
        Unix time at which it expires.
    """

    id: int
    user: User
    scope: str
    generation: int
    rotated: int | None
    expires: int


def add_client(connection: Connection, client: Client) -> None:
    """Register a program."""
    row = {
        "id": client.client_id,
        "name": client.name,
        "secret": client.secret,
        "redirect_uris": json.dumps(client.redirect_uris),
        "created_on": now(),
    }
    connection.execute(insert(oauth_clients).values(row))


def all_clients(connection: Connection) -> list[Client]:
    """Return the programs, the oldest first."""
    wanted = select(oauth_clients).order_by(oauth_clients.c.created_on, oauth_clients.c.id)
    return [_client(row) for row in connection.execute(wanted)]


def find_client(connection: Connection, client_id: str) -> Client | None:
    """Return the program with an id, or None."""
    found = connection.execute(select(oauth_clients).where(oauth_clients.c.id == client_id))
    row = found.one_or_none()
    return None if row is None else _client(row)


def hold_client(connection: Connection, client_id: str) -> bool:
    """Keep a program from being removed until a writing transaction ends; return whether it still exists."""
    return (
        connection.scalar(shared(select(oauth_clients.c.id).where(oauth_clients.c.id == client_id)))
        is not None
    )


def remove_client(connection: Connection, client_id: str) -> bool:
    """Remove a program with all that was granted to it; return whether it existed."""
    # Wait for what is being granted to it right now, so that this ends as well.
    connection.execute(select(oauth_clients.c.id).where(oauth_clients.c.id == client_id).with_for_update())
    found = select(oauth_grants.c.id).where(oauth_grants.c.client == client_id).order_by(oauth_grants.c.id)
    end_grants(connection, connection.scalars(found.with_for_update()).all())
    connection.execute(delete(oauth_codes).where(oauth_codes.c.client == client_id))
    return connection.execute(delete(oauth_clients).where(oauth_clients.c.id == client_id)).rowcount > 0


def _client(row: Row[Any]) -> Client:
    return Client(row.id, row.name, tuple(json.loads(row.redirect_uris)), row.secret)


def add_code(connection: Connection, digest: str, code: Code) -> None:
    """Store a code that a program may exchange for tokens."""
    row = {
        "sha256": digest,
        "user": code.user.id,
        "client": code.client_id,
        "redirect_uri": code.redirect_uri,
        "scope": code.scope,
        "challenge": code.challenge,
        "expires": code.expires,
    }
    connection.execute(insert(oauth_codes).values(row))


def find_code(connection: Connection, digest: str, *, locked: bool = False) -> Code | None:
    """Return what a code stands for, valid or not; None for an unknown one.

    It can be locked until the end of a writing transaction, once its program is held.
    """
    wanted = _CODE.where(oauth_codes.c.sha256 == digest)
    row = connection.execute(wanted.with_for_update(of=oauth_codes) if locked else wanted).one_or_none()
    if row is None:
        return None
    return Code(
        User(*row[:4]), row.client, row.redirect_uri, row.scope, row.challenge, row.expires, row.grant
    )


def mark_exchanged(connection: Connection, digest: str, grant: int) -> None:
    """Record which grant a code was exchanged for."""
    connection.execute(update(oauth_codes).where(oauth_codes.c.sha256 == digest).values(grant=grant))


def add_grant(connection: Connection, code: Code, *, family: str, refresh: str, expires: int) -> int:
    """Add the grant that a code is exchanged for, and return its number."""
    row = {
        "user": code.user.id,
        "client": code.client_id,
        "scope": code.scope,
        "family": family,
        "generation": 0,
        "expires": expires,
        "created_on": now(),
    }
    made = insert(oauth_grants).values(row).returning(oauth_grants.c.id)
    number: int = connection.execute(made).scalar_one()
    _add_refresh_token(connection, number, refresh, 0)
    return number


def find_grant(
    connection: Connection, family: str, client_id: str, *, locked: bool = False
) -> StoredGrant | None:
    """Return the grant of a program that a family of refresh tokens belongs to, or None.

    It can be locked until the end of a writing transaction.
    """
    wanted = _GRANT.where(oauth_grants.c.family == family, oauth_grants.c.client == client_id)
    row = connection.execute(wanted.with_for_update(of=oauth_grants) if locked else wanted).one_or_none()
    if row is None:
        return None
    return StoredGrant(row.grant, User(*row[:4]), row.scope, row.generation, row.rotated, row.expires)


def generation_of(connection: Connection, grant: int, refresh: str) -> int | None:
    """Return the generation of a refresh token of a grant; None if it belongs to neither of the last two."""
    mine = (oauth_refresh_tokens.c.grant == grant, oauth_refresh_tokens.c.sha256 == refresh)
    found: int | None = connection.scalar(select(oauth_refresh_tokens.c.generation).where(*mine))
    return found


def size_of_generation(connection: Connection, grant: StoredGrant) -> int:
    """Return how many refresh tokens a grant has in its current generation."""
    good = (
        oauth_refresh_tokens.c.grant == grant.id,
        oauth_refresh_tokens.c.generation == grant.generation,
    )
    return connection.scalar(select(func.count()).select_from(oauth_refresh_tokens).where(*good)) or 0


def add_sibling(connection: Connection, grant: StoredGrant, refresh: str, expires: int) -> None:
    """Add a refresh token of the same generation."""
    _add_refresh_token(connection, grant.id, refresh, grant.generation)
    connection.execute(update(oauth_grants).where(oauth_grants.c.id == grant.id).values(expires=expires))


def rotate(connection: Connection, grant: StoredGrant, refresh: str, expires: int, *, moment: int) -> None:
    """Begin a generation with a refresh token; tokens of the previous one stay valid for a while."""
    changes = {"generation": grant.generation + 1, "rotated": moment, "expires": expires}
    connection.execute(update(oauth_grants).where(oauth_grants.c.id == grant.id).values(changes))
    old = (
        oauth_refresh_tokens.c.grant == grant.id,
        oauth_refresh_tokens.c.generation < grant.generation,
    )
    connection.execute(delete(oauth_refresh_tokens).where(*old))
    _add_refresh_token(connection, grant.id, refresh, grant.generation + 1)


def _add_refresh_token(connection: Connection, grant: int, refresh: str, generation: int) -> None:
    row = {"sha256": refresh, "grant": grant, "generation": generation}
    connection.execute(insert(oauth_refresh_tokens).values(row))


def grants_of(connection: Connection, user: User) -> Sequence[int]:
    """Return the numbers of a user's grants."""
    return connection.scalars(select(oauth_grants.c.id).where(oauth_grants.c.user == user.id)).all()


def end_grants_of(connection: Connection, user: User) -> int:
    """Revoke all that a user has granted, including unused codes; return how many grants ended."""
    found = grants_of(connection, user)
    end_grants(connection, found)
    connection.execute(delete(oauth_codes).where(oauth_codes.c.user == user.id))
    return len(found)


def end_grants(connection: Connection, grants: Sequence[int]) -> None:
    """Revoke all that belongs to some grants."""
    connection.execute(delete(tokens).where(tokens.c.grant.in_(grants)))
    connection.execute(delete(oauth_codes).where(oauth_codes.c.grant.in_(grants)))
    connection.execute(delete(oauth_refresh_tokens).where(oauth_refresh_tokens.c.grant.in_(grants)))
    connection.execute(delete(oauth_grants).where(oauth_grants.c.id.in_(grants)))


def end_family(connection: Connection, family: str, client_id: str) -> User | None:
    """Revoke all that belongs to the grant of a family of refresh tokens; return its user."""
    found = find_grant(connection, family, client_id, locked=True)
    if found is None:
        return None
    end_grants(connection, [found.id])
    return found.user


def remove_client_token(connection: Connection, digest: str, client_id: str) -> None:
    """Revoke an access token of a program."""
    mine = (tokens.c.sha256 == digest, tokens.c.kind == OAUTH, tokens.c.client == client_id)
    connection.execute(delete(tokens).where(*mine))
