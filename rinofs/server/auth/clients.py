"""Programs that may ask users to let them act in their name."""

from __future__ import annotations

import json
import secrets
import uuid
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import delete, insert, select

from rinofs.server.auth.accounts import new_token, token_digest
from rinofs.server.auth.redirect_uris import check_redirect_uri
from rinofs.server.catalog.grant_records import end_grants
from rinofs.server.catalog.records import now
from rinofs.server.catalog.tables import oauth_clients, oauth_codes, oauth_grants
from rinofs.server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence
    from typing import Any

    from sqlalchemy import Connection, Row

    from rinofs.server.catalog.database import Database

__all__ = ["Client", "Clients"]


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
    public : bool
        Whether it has no secret, since it cannot keep one.
    """

    client_id: str
    name: str
    redirect_uris: tuple[str, ...]
    public: bool


class Clients:
    """The programs that are registered with a server.

    Parameters
    ----------
    database : Database
        Where they are kept; of secrets only digests.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def add(
        self, name: str, redirect_uris: Sequence[str], *, public: bool = False
    ) -> tuple[Client, str | None]:
        """Register a program.

        Parameters
        ----------
        name : str
            What users are to see.
        redirect_uris : sequence of str
            Where users may be sent back to.
        public : bool
            Whether it gets no secret.

        Returns
        -------
        tuple of Client and str or None
            The program, and its secret, of which only a digest is kept.

        Raises
        ------
        BadRequest
            If something cannot be a name, or a place to send users to.
        """
        if not name.strip() or not name.isprintable() or len(name) > 255:
            raise BadRequest("name: 1 to 255 printable characters are allowed", field="name")
        if not redirect_uris:
            raise BadRequest("redirect_uri: at least one is needed", field="redirect_uri")
        for uri in redirect_uris:
            check_redirect_uri(uri)
        client = Client(str(uuid.uuid4()), name, tuple(redirect_uris), public)
        secret = None if public else new_token()
        row = {
            "id": client.client_id,
            "name": client.name,
            "secret": None if secret is None else token_digest(secret),
            "redirect_uris": json.dumps(client.redirect_uris),
            "created_on": now(),
        }
        with self._database.write() as connection:
            connection.execute(insert(oauth_clients).values(row))
        return client, secret

    def all(self) -> list[Client]:
        """Return the programs, the oldest first."""
        wanted = select(oauth_clients).order_by(oauth_clients.c.created_on, oauth_clients.c.id)
        with self._database.read() as connection:
            return [_client(row) for row in connection.execute(wanted)]

    def get(self, client_id: str) -> Client | None:
        """Return a program; None where there is none of this id."""
        with self._database.read() as connection:
            row = _row(connection, client_id)
        return None if row is None else _client(row)

    def authenticate(self, client_id: str, secret: str) -> Client | None:
        """Return the program that an id and a secret belong to; None where they belong to none."""
        with self._database.read() as connection:
            row = _row(connection, client_id)
        digest = token_digest(secret)
        if row is None or row.secret is None or not secrets.compare_digest(row.secret, digest):
            return None
        return _client(row)

    def remove(self, client_id: str) -> bool:
        """Remove a program with all that was granted to it; tell whether there was one."""
        with self._database.write() as connection:
            found = select(oauth_grants.c.id).where(oauth_grants.c.client == client_id)
            end_grants(connection, connection.scalars(found).all())
            connection.execute(delete(oauth_codes).where(oauth_codes.c.client == client_id))
            removed = connection.execute(delete(oauth_clients).where(oauth_clients.c.id == client_id))
            return removed.rowcount > 0


def _row(connection: Connection, client_id: str) -> Row[Any] | None:
    return connection.execute(select(oauth_clients).where(oauth_clients.c.id == client_id)).one_or_none()


def _client(row: Row[Any]) -> Client:
    return Client(row.id, row.name, tuple(json.loads(row.redirect_uris)), row.secret is None)
