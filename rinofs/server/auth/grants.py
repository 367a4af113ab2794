"""What users have granted to programs that act in their name.

Codes and tokens are kept as digests only. All tokens that follow from one consent belong to one grant,
and end with it.
"""

from __future__ import annotations

import time
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select, update

from rinofs.server.auth.accounts import OAUTH, token_digest
from rinofs.server.catalog.grant_records import (
    GRANT,
    Code,
    Grant,
    add_grant,
    end_grants,
    family_of,
    find_code,
)
from rinofs.server.catalog.records import User, now
from rinofs.server.catalog.tables import oauth_codes, oauth_grants, tokens

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import Connection

    from rinofs.server.catalog.database import Database

__all__ = ["ACCESS_LIFETIME", "CODE_LIFETIME", "Grants"]

CODE_LIFETIME = 60.0
"""Seconds in which a code has to be exchanged."""
CODE_KEPT = 24 * 3600.0
"""Seconds for which a code is still recognised after that, so that who sends it again gives itself away."""
ACCESS_LIFETIME = 3600
"""Seconds for which an access token is good."""
GRANT_LIFETIME = 90 * 24 * 3600.0
"""Seconds after which a grant ends that is not used."""
GRACE = 30.0
"""Seconds for which a refresh token may be exchanged again: the first answer may have been lost."""


class Grants:
    """What the users of a server have granted to programs.

    Parameters
    ----------
    database : Database
        Where all that is kept.
    clock : callable
        Seconds since 1970.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def add_code(
        self, code: str, user: User, client_id: str, *, redirect_uri: str, scope: str, challenge: str | None
    ) -> None:
        """Keep a code that a program may exchange for tokens.

        Parameters
        ----------
        code : str
            The code.
        user : User
            Who consented.
        client_id, redirect_uri, scope : str
            To what.
        challenge : str or None
            The PKCE challenge (S256).
        """
        moment = self._clock()
        row = {
            "sha256": token_digest(code),
            "user": user.id,
            "client": client_id,
            "redirect_uri": redirect_uri,
            "scope": scope,
            "challenge": challenge,
            "expires": int(moment + CODE_LIFETIME),
        }
        with self._database.write() as connection:
            connection.execute(delete(oauth_codes).where(oauth_codes.c.expires < int(moment - CODE_KEPT)))
            connection.execute(insert(oauth_codes).values(row))

    def code(self, code: str, client_id: str) -> Code | None:
        """Return what a code stands for; None where it is none that the program may still exchange.

        Whoever sends a code that was exchanged already ends what it was exchanged for.
        """
        with self._database.read() as connection:
            found = find_code(connection, code)
        if found is None or found.client_id != client_id:
            return None
        if found.grant is not None:
            self._end(found.grant)
            return None
        return found if found.expires > self._clock() else None

    def redeem(self, code: str, *, access: str, refresh: str) -> bool:
        """Exchange a code for tokens.

        Parameters
        ----------
        code : str
            The code.
        access, refresh : str
            Fresh tokens, which are good from now on.

        Returns
        -------
        bool
            Whether this was the first to exchange the code; otherwise, all that it stood for has ended.
        """
        moment = self._clock()
        with self._database.write() as connection:
            found = find_code(connection, code)
            if found is None or found.expires <= moment:
                return False
            if found.grant is not None:
                end_grants(connection, [found.grant])
                return False
            grant = add_grant(connection, found, refresh, int(moment + GRANT_LIFETIME))
            redeemed = update(oauth_codes).where(oauth_codes.c.sha256 == token_digest(code))
            connection.execute(redeemed.values(grant=grant))
            self._add_access(connection, grant, access, found.client_id, found.user, found.scope)
            return True

    def refreshable(self, refresh: str, client_id: str) -> Grant | None:
        """Return the grant of a refresh token; None where it is none that the program may exchange.

        Whoever sends one that was exchanged long ago ends the grant.
        """
        with self._database.write() as connection:
            return self._refreshable(connection, refresh, client_id)

    def rotate(self, former: str, client_id: str, *, access: str, refresh: str) -> bool:
        """Exchange a refresh token for fresh tokens.

        Parameters
        ----------
        former : str
            The refresh token.
        client_id : str
            The program that sends it.
        access, refresh : str
            The tokens that are good from now on, the latter of the same family.

        Returns
        -------
        bool
            Whether it was good.
        """
        moment = self._clock()
        with self._database.write() as connection:
            grant = self._refreshable(connection, former, client_id)
            if grant is None:
                return False
            changes: dict[str, object] = {
                "refresh": token_digest(refresh),
                "expires": int(moment + GRANT_LIFETIME),
            }
            if not grant.repeated:
                changes |= {"previous": token_digest(former), "rotated": int(moment)}
            rotated = update(oauth_grants).where(oauth_grants.c.id == grant.id)
            connection.execute(rotated.values(changes))
            self._add_access(connection, grant.id, access, client_id, grant.user, grant.scope)
            return True

    def revoke(self, token: str, client_id: str) -> None:
        """Make a token of a program void: an access token alone, a refresh token with all of its grant."""
        family = family_of(token)
        with self._database.write() as connection:
            mine = (
                tokens.c.sha256 == token_digest(token),
                tokens.c.kind == OAUTH,
                tokens.c.client == client_id,
            )
            connection.execute(delete(tokens).where(*mine))
            if family is not None:
                found = select(oauth_grants.c.id).where(
                    oauth_grants.c.family == token_digest(family), oauth_grants.c.client == client_id
                )
                end_grants(connection, connection.scalars(found).all())

    def _refreshable(self, connection: Connection, refresh: str, client_id: str) -> Grant | None:
        family = family_of(refresh)
        if family is None:
            return None
        of_family = (oauth_grants.c.family == token_digest(family), oauth_grants.c.client == client_id)
        row = connection.execute(GRANT.where(*of_family)).one_or_none()
        if row is None:
            return None
        moment, digest = self._clock(), token_digest(refresh)
        repeated = digest == row.previous and moment - row.rotated <= GRACE
        if row.expires > moment and (digest == row.refresh or repeated):
            return Grant(row.grant, User(*row[:4]), row.scope, repeated)
        end_grants(connection, [row.grant])
        return None

    def _add_access(
        self, connection: Connection, grant: int, token: str, client_id: str, user: User, scope: str
    ) -> None:
        moment = int(self._clock())
        connection.execute(delete(tokens).where(tokens.c.expires <= moment))
        row = {
            "sha256": token_digest(token),
            "user": user.id,
            "kind": OAUTH,
            "scope": scope,
            "client": client_id,
            "expires": moment + ACCESS_LIFETIME,
            "created_on": now(),
            "grant": grant,
        }
        connection.execute(insert(tokens).values(row))

    def _end(self, grant: int) -> None:
        with self._database.write() as connection:
            end_grants(connection, [grant])
