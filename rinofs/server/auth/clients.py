"""OAuth clients: programs that may ask users for access."""

from __future__ import annotations

import secrets
import uuid
from typing import TYPE_CHECKING

from rinofs.server.auth.account_tokens import new_token, token_digest
from rinofs.server.auth.redirect_uris import check_redirect_uri
from rinofs.server.catalog.users import grants as rows
from rinofs.server.catalog.users.audit import COMMAND_LINE, AuditEvent
from rinofs.server.catalog.users.grants import Client
from rinofs.server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rinofs.server.catalog.database import Connection, Database

__all__ = ["Client", "Clients"]


class Clients:
    """The programs that are registered with a server.

    Parameters
    ----------
    database : Database
        Database for the programs, and for digests of their secrets.
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
            Name that users see.
        redirect_uris : sequence of str
            Redirect URIs that the program may use.
        public : bool
            Whether the program gets no secret.

        Returns
        -------
        tuple of Client and str or None
            The program, and its secret, of which only a digest is stored.

        Raises
        ------
        BadRequest
            If the name or a redirect URI is not valid.
        """
        if not name.strip() or not name.isprintable() or len(name) > 255:
            raise BadRequest("name: 1 to 255 printable characters are allowed", field="name")
        if not redirect_uris:
            raise BadRequest("redirect_uri: at least one is needed", field="redirect_uri")
        for uri in redirect_uris:
            check_redirect_uri(uri)
        secret = None if public else new_token()
        digest = None if secret is None else token_digest(secret)
        client = Client(str(uuid.uuid4()), name, tuple(redirect_uris), digest)
        with self._database.write() as connection:
            rows.add_client(connection, client)
            self._note(connection, "client-added", client.client_id, name=name)
        return client, secret

    def all(self) -> list[Client]:
        """Return all programs, the oldest first."""
        with self._database.read() as connection:
            return rows.all_clients(connection)

    def get(self, client_id: str) -> Client | None:
        """Return the program with an id, or None."""
        with self._database.read() as connection:
            return rows.find_client(connection, client_id)

    def authenticate(self, client_id: str, secret: str) -> Client | None:
        """Return the program with an id and secret, or None if they do not match."""
        with self._database.read() as connection:
            found = rows.find_client(connection, client_id)
        digest = token_digest(secret)
        if found is None or found.secret is None or not secrets.compare_digest(found.secret, digest):
            return None
        return found

    def remove(self, client_id: str) -> bool:
        """Remove a program and everything granted to it; return whether it existed."""
        with self._database.write() as connection:
            removed = rows.remove_client(connection, client_id)
            if removed:
                self._note(connection, "client-removed", client_id)
        return removed

    def _note(self, connection: Connection, action: str, client_id: str, **details: str) -> None:
        described = {"action": action, "client": client_id, **details}
        self._database.note(connection, AuditEvent.ADMIN, None, COMMAND_LINE, **described)
