"""OAuth2 grants: authorization codes, access tokens and refresh tokens of programs.

The database has only digests of codes and tokens. All tokens from one consent belong to one grant, and are
revoked with it.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.server.auth.account_tokens import OAUTH, token_digest
from rinofs.server.catalog.users import grants as rows
from rinofs.server.catalog.users.accounts import add_token
from rinofs.server.catalog.users.audit import AuditEvent
from rinofs.server.catalog.users.grants import Code

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.server.catalog.database import Connection, Database
    from rinofs.server.catalog.records import User
    from rinofs.server.catalog.users.grants import StoredGrant

__all__ = ["ACCESS_LIFETIME", "CODE_LIFETIME", "Grant", "Grants", "family_of", "new_refresh_token"]

CODE_LIFETIME = 60.0
"""Seconds until an authorization code expires."""
ACCESS_LIFETIME = 3600
"""Seconds until an access token expires."""
GRANT_LIFETIME = 90 * 24 * 3600.0
"""Seconds until an unused grant expires."""
GRACE = 30.0
"""Seconds in which a refresh token may be exchanged again, in case the first response was lost."""
MOST_SIBLINGS = 64
"""Maximum number of tokens issued for one refresh token; all are valid until one of them is exchanged."""

_PREFIX = "rino_"
_PART = 43  # characters of 256 random bits


@dataclass(frozen=True, slots=True)
class Grant:
    """A grant, found by a valid refresh token.

    Attributes
    ----------
    stored : StoredGrant
        The grant as stored.
    repeated : bool
        Whether the refresh token was exchanged a moment ago; that response may have been lost.
    """

    stored: StoredGrant
    repeated: bool

    @property
    def user(self) -> User:
        """The user who granted it."""
        return self.stored.user

    @property
    def scope(self) -> str:
        """The scope."""
        return self.stored.scope


class Grants:
    """The OAuth2 grants of a server.

    Parameters
    ----------
    database : Database
        The database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add_code(
        self,
        code: str,
        user: User,
        client_id: str,
        *,
        redirect_uri: str,
        scope: str,
        challenge: str | None,
        check: Callable[[Connection], None] | None = None,
    ) -> None:
        """Store an authorization code.

        Parameters
        ----------
        code : str
            The code.
        user : User
            The user who consented.
        client_id, redirect_uri, scope : str
            The authorization request that the user consented to.
        challenge : str or None
            The PKCE challenge (S256).
        check : callable, optional
            Called in the transaction that stores the code; raises an error to refuse it.
        """
        with self._database.write(user.id) as connection:
            if check is not None:
                check(connection)
            moment = self._database.moment(connection)
            kept = Code(user, client_id, redirect_uri, scope, challenge, int(moment + CODE_LIFETIME))
            rows.add_code(connection, token_digest(code), kept)
            self._note(connection, AuditEvent.GRANT, user, client=client_id, scope=scope)

    def code(self, code: str, client_id: str) -> Code | None:
        """Return an authorization code; None if the program cannot exchange it.

        A code that is presented again after its exchange revokes the grant (RFC 6749, section 4.1.2).
        """
        with self._database.read() as connection:
            found = rows.find_code(connection, token_digest(code))
            moment = self._database.moment(connection)
        if found is None or found.client_id != client_id:
            return None
        if found.grant is not None:
            self._end(found.grant, found.user)
            return None
        return found if found.expires > moment else None

    def redeem(self, code: str, *, access: str, refresh: str) -> bool:
        """Exchange an authorization code for tokens.

        Parameters
        ----------
        code : str
            The code.
        access, refresh : str
            New tokens, valid from now on.

        Returns
        -------
        bool
            Whether the code was valid. If it was exchanged before, the grant is revoked.
        """
        digest = token_digest(code)
        with self._database.read() as connection:
            found = rows.find_code(connection, digest)
        if found is None:
            return False
        with self._database.write(found.user.id) as connection:
            moment = self._database.moment(connection)
            held = rows.hold_client(connection, found.client_id)
            found = rows.find_code(connection, digest, locked=True)
            if not held or found is None or found.expires <= moment:
                return False
            if found.grant is not None:
                self._end_now(connection, found.grant, found.user)
                return False
            family = family_of(refresh)
            assert family is not None
            grant = rows.add_grant(
                connection,
                found,
                family=token_digest(family),
                refresh=token_digest(refresh),
                expires=int(moment + GRANT_LIFETIME),
            )
            rows.mark_exchanged(connection, digest, grant)
            self._add_access(connection, grant, access, found.client_id, found.user, found.scope)
            return True

    def refreshable(self, refresh: str, client_id: str) -> Grant | None:
        """Return the grant of a refresh token; None if the program cannot exchange it.

        A token that was exchanged earlier, other than a moment ago, revokes the grant (RFC 9700, section
        4.14.2).
        """
        owner = self._owner(refresh, client_id)
        if owner is None:
            return None
        with self._database.write(owner) as connection:
            return self._refreshable(connection, refresh, client_id)

    def rotate(self, former: str, client_id: str, *, access: str, refresh: str) -> bool:
        """Exchange a refresh token for new tokens.

        Parameters
        ----------
        former : str
            The refresh token.
        client_id : str
            The program that sends it.
        access, refresh : str
            The new tokens; the refresh token is of the same family.

        Returns
        -------
        bool
            Whether the refresh token was valid.
        """
        owner = self._owner(former, client_id)
        if owner is None:
            return False
        with self._database.write(owner) as connection:
            grant = self._refreshable(connection, former, client_id)
            if grant is None:
                return False
            moment = self._database.moment(connection)
            digest, expires = token_digest(refresh), int(moment + GRANT_LIFETIME)
            if grant.repeated:
                rows.add_sibling(connection, grant.stored, digest, expires)
            else:
                rows.rotate(connection, grant.stored, digest, expires, moment=int(moment))
            self._add_access(connection, grant.stored.id, access, client_id, grant.user, grant.scope)
            return True

    def revoke(self, token: str, client_id: str) -> None:
        """Revoke a token of a program: only an access token, or the whole grant of a refresh token."""
        family, owner = family_of(token), self._owner(token, client_id)
        with self._database.write(owner) as connection:
            rows.remove_client_token(connection, token_digest(token), client_id)
            if family is not None and owner is not None:
                user = rows.end_family(connection, token_digest(family), client_id)
                if user is not None:
                    self._note(connection, AuditEvent.GRANT_ENDED, user, client=client_id, reason="revoked")

    def _owner(self, refresh: str, client_id: str) -> int | None:
        """Return the id of the user who may have granted a refresh token, or None."""
        family = family_of(refresh)
        if family is None:
            return None
        with self._database.read() as connection:
            found = rows.find_grant(connection, token_digest(family), client_id)
        return None if found is None else found.user.id

    def _refreshable(self, connection: Connection, refresh: str, client_id: str) -> Grant | None:
        family = family_of(refresh)
        if family is None:
            return None
        found = rows.find_grant(connection, token_digest(family), client_id, locked=True)
        if found is None:
            return None
        moment = self._database.moment(connection)
        generation = rows.generation_of(connection, found.id, token_digest(refresh))
        former = generation is not None and generation == found.generation - 1
        repeated = former and moment - (found.rotated or 0) <= GRACE
        if found.expires > moment and (generation == found.generation or repeated):
            full = repeated and rows.size_of_generation(connection, found) >= MOST_SIBLINGS
            return None if full else Grant(found, repeated)
        self._end_now(connection, found.id, found.user)
        return None

    def _add_access(
        self, connection: Connection, grant: int, token: str, client_id: str, user: User, scope: str
    ) -> None:
        moment = int(self._database.moment(connection))
        add_token(
            connection,
            user,
            token_digest(token),
            OAUTH,
            scope=scope,
            client=client_id,
            expires=moment + ACCESS_LIFETIME,
            grant=grant,
        )

    def _end(self, grant: int, user: User) -> None:
        with self._database.write(user.id) as connection:
            self._end_now(connection, grant, user)

    def _end_now(self, connection: Connection, grant: int, user: User) -> None:
        rows.end_grants(connection, [grant])
        self._note(connection, AuditEvent.GRANT_ENDED, user, reason="a code or token was used again, or late")

    def _note(self, connection: Connection, event: AuditEvent, user: User, **details: str) -> None:
        self._database.note(connection, event, user.username, **details)


def new_refresh_token(former: str | None = None) -> str:
    """Return a new refresh token, of the family of the one that it replaces."""
    family = family_of(former) if former else None
    return f"{_PREFIX}{family or secrets.token_urlsafe(32)}{secrets.token_urlsafe(32)}"


def family_of(refresh: str) -> str | None:
    """Return the part that all refresh tokens of a grant share; None if this is not a refresh token."""
    if not refresh.startswith(_PREFIX) or len(refresh) != len(_PREFIX) + 2 * _PART:
        return None
    return refresh[len(_PREFIX) : len(_PREFIX) + _PART]
