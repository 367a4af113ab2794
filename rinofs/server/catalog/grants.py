"""Programs that may act in the name of users, and what they were granted, as rows: of secrets only digests.

The parameters that are digests are what `rinofs.server.auth` keeps of codes, tokens and secrets.
"""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete, insert, select, update

from rinofs.server.catalog.accounts import OAUTH, USER
from rinofs.server.catalog.records import User, now
from rinofs.server.catalog.tables import oauth_clients, oauth_codes, oauth_grants, tokens, users

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
    "all_clients",
    "end_family",
    "end_grants",
    "find_client",
    "find_code",
    "find_grant",
    "mark_exchanged",
    "remove_client",
    "remove_client_token",
    "remove_old_codes",
    "rotate",
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
    oauth_grants.c.refresh,
    oauth_grants.c.previous,
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
        What users see.
    redirect_uris : tuple of str
        Where users may be sent back to.
    secret : str or None
        The digest of its secret; None for a program that cannot keep one.
    """

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    secret: str | None = field(default=None, repr=False)

    @property
    def public(self) -> bool:
        """Whether it has no secret, since it cannot keep one."""
        return self.secret is None


@dataclass(frozen=True, slots=True)
class Code:
    """What an authorization code stands for.

    Attributes
    ----------
    user : User
        Who consented.
    client_id, redirect_uri, scope : str
        To what.
    challenge : str or None
        The PKCE challenge (S256).
    expires : int
        The second since 1970 from which on it is void.
    grant : int or None
        What it was exchanged for already.
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
        Who granted it.
    scope : str
        What for.
    refresh, previous : str, str or None
        Digests of the refresh token that is good, and of the one that was exchanged for it.
    rotated : int or None
        The second since 1970 of that exchange.
    expires : int
        The second since 1970 from which on it is void.
    """

    id: int
    user: User
    scope: str
    refresh: str
    previous: str | None
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
    """Return a program; None where there is none of this id."""
    found = connection.execute(select(oauth_clients).where(oauth_clients.c.id == client_id))
    row = found.one_or_none()
    return None if row is None else _client(row)


def remove_client(connection: Connection, client_id: str) -> bool:
    """Remove a program with all that was granted to it; tell whether there was one."""
    found = select(oauth_grants.c.id).where(oauth_grants.c.client == client_id)
    end_grants(connection, connection.scalars(found).all())
    connection.execute(delete(oauth_codes).where(oauth_codes.c.client == client_id))
    return connection.execute(delete(oauth_clients).where(oauth_clients.c.id == client_id)).rowcount > 0


def _client(row: Row[Any]) -> Client:
    return Client(row.id, row.name, tuple(json.loads(row.redirect_uris)), row.secret)


def add_code(connection: Connection, digest: str, code: Code) -> None:
    """Keep a code that a program may exchange for tokens."""
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


def find_code(connection: Connection, digest: str) -> Code | None:
    """Return what a code stands for, good or not; None for an unknown one."""
    row = connection.execute(_CODE.where(oauth_codes.c.sha256 == digest)).one_or_none()
    if row is None:
        return None
    return Code(
        User(*row[:4]), row.client, row.redirect_uri, row.scope, row.challenge, row.expires, row.grant
    )


def mark_exchanged(connection: Connection, digest: str, grant: int) -> None:
    """Note which grant a code was exchanged for."""
    connection.execute(update(oauth_codes).where(oauth_codes.c.sha256 == digest).values(grant=grant))


def remove_old_codes(connection: Connection, moment: int) -> None:
    """Forget codes that were void before a second since 1970."""
    connection.execute(delete(oauth_codes).where(oauth_codes.c.expires < moment))


def add_grant(connection: Connection, code: Code, *, family: str, refresh: str, expires: int) -> int:
    """Begin a grant for a code that is being exchanged, and return its number."""
    row = {
        "user": code.user.id,
        "client": code.client_id,
        "scope": code.scope,
        "family": family,
        "refresh": refresh,
        "expires": expires,
        "created_on": now(),
    }
    made = insert(oauth_grants).values(row).returning(oauth_grants.c.id)
    number: int = connection.execute(made).scalar_one()
    return number


def find_grant(connection: Connection, family: str, client_id: str) -> StoredGrant | None:
    """Return the grant of a program that refresh tokens of a family belong to; None where there is none."""
    of_family = (oauth_grants.c.family == family, oauth_grants.c.client == client_id)
    row = connection.execute(_GRANT.where(*of_family)).one_or_none()
    if row is None:
        return None
    return StoredGrant(
        row.grant, User(*row[:4]), row.scope, row.refresh, row.previous, row.rotated, row.expires
    )


def rotate(
    connection: Connection, grant: int, refresh: str, expires: int, *, former: str | None, moment: int
) -> None:
    """Let another refresh token be the good one; `former` is the one that it takes the place of, if any."""
    changes: dict[str, object] = {"refresh": refresh, "expires": expires}
    if former is not None:
        changes |= {"previous": former, "rotated": moment}
    connection.execute(update(oauth_grants).where(oauth_grants.c.id == grant).values(changes))


def end_grants(connection: Connection, grants: Sequence[int]) -> None:
    """Make void whatever belongs to some grants."""
    connection.execute(delete(tokens).where(tokens.c.grant.in_(grants)))
    connection.execute(delete(oauth_codes).where(oauth_codes.c.grant.in_(grants)))
    connection.execute(delete(oauth_grants).where(oauth_grants.c.id.in_(grants)))


def end_family(connection: Connection, family: str, client_id: str) -> None:
    """Make void whatever belongs to the grant of a family of refresh tokens."""
    found = find_grant(connection, family, client_id)
    if found is not None:
        end_grants(connection, [found.id])


def remove_client_token(connection: Connection, digest: str, client_id: str) -> None:
    """Make an access token of a program void."""
    mine = (tokens.c.sha256 == digest, tokens.c.kind == OAUTH, tokens.c.client == client_id)
    connection.execute(delete(tokens).where(*mine))
