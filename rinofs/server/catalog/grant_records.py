"""Codes, grants and refresh tokens, as rows of the database have them."""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from rinofs.server.auth.accounts import USER, token_digest
from rinofs.server.catalog.records import User, now
from rinofs.server.catalog.tables import oauth_codes, oauth_grants, tokens, users

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import Connection

__all__ = ["GRANT", "Code", "Grant", "add_grant", "end_grants", "family_of", "find_code", "new_refresh_token"]

_PREFIX = "rino_"
_PART = 43  # characters of 256 random bits

_CODE = select(
    *USER,
    oauth_codes.c.client,
    oauth_codes.c.redirect_uri,
    oauth_codes.c.scope,
    oauth_codes.c.challenge,
    oauth_codes.c.expires,
    oauth_codes.c.grant,
).join(users, users.c.id == oauth_codes.c.user)
GRANT = select(
    *USER,
    oauth_grants.c.id.label("grant"),
    oauth_grants.c.scope,
    oauth_grants.c.refresh,
    oauth_grants.c.previous,
    oauth_grants.c.rotated,
    oauth_grants.c.expires,
).join(users, users.c.id == oauth_grants.c.user)


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
class Grant:
    """What a user has granted to a program.

    Attributes
    ----------
    id : int
        Its number.
    user : User
        Who granted it.
    scope : str
        What for.
    repeated : bool
        Whether its refresh token was exchanged just before, and the answer may have been lost.
    """

    id: int
    user: User
    scope: str
    repeated: bool


def new_refresh_token(former: str | None = None) -> str:
    """Return a fresh refresh token; where one is given that it replaces, both are of one family."""
    family = family_of(former) if former else None
    return f"{_PREFIX}{family or secrets.token_urlsafe(32)}{secrets.token_urlsafe(32)}"


def end_grants(connection: Connection, grants: Sequence[int]) -> None:
    """Make void whatever belongs to some grants."""
    connection.execute(delete(tokens).where(tokens.c.grant.in_(grants)))
    connection.execute(delete(oauth_codes).where(oauth_codes.c.grant.in_(grants)))
    connection.execute(delete(oauth_grants).where(oauth_grants.c.id.in_(grants)))


def find_code(connection: Connection, code: str) -> Code | None:
    """Return what a code stands for, good or not; None for an unknown one."""
    row = connection.execute(_CODE.where(oauth_codes.c.sha256 == token_digest(code))).one_or_none()
    if row is None:
        return None
    return Code(
        User(*row[:4]), row.client, row.redirect_uri, row.scope, row.challenge, row.expires, row.grant
    )


def add_grant(connection: Connection, code: Code, refresh: str, expires: int) -> int:
    """Begin a grant for a code that is being exchanged, and return its number."""
    family = family_of(refresh)
    assert family is not None
    row = {
        "user": code.user.id,
        "client": code.client_id,
        "scope": code.scope,
        "family": token_digest(family),
        "refresh": token_digest(refresh),
        "expires": expires,
        "created_on": now(),
    }
    made = insert(oauth_grants).values(row).returning(oauth_grants.c.id)
    number: int = connection.execute(made).scalar_one()
    return number


def family_of(refresh: str) -> str | None:
    """Return the part of a refresh token that all of its family share; None for what cannot be one."""
    if not refresh.startswith(_PREFIX) or len(refresh) != len(_PREFIX) + 2 * _PART:
        return None
    return refresh[len(_PREFIX) : len(_PREFIX) + _PART]
