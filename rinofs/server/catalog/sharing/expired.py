"""Deletion of expired rows.

They are deleted periodically, not by the transactions that add rows: these would wait for each other and
repeat each other's work.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_

from rinofs.server.catalog.database import OUTCOME_LIFETIME
from rinofs.server.catalog.sharing.locks import CHUNK, delete_unlocked
from rinofs.server.catalog.tables import oauth_codes, outcomes, sent_forms, sessions, throttles, tokens
from rinofs.server.catalog.users import audit
from rinofs.server.catalog.users.signins import REMEMBERED

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Table

    from rinofs.server.catalog.database import Database

__all__ = ["CODE_KEPT", "remove_expired"]

CODE_KEPT = 24 * 3600
"""Seconds for which an expired code is still recognised, so that its reuse is detected."""


def remove_expired(database: Database) -> None:
    """Delete expired rows, a bounded number at a time."""
    with database.read() as connection:
        moment = int(database.moment(connection))
        failures = audit.oldest_failure(connection)
    for table, old in (*_expired(moment), *audit.expired(moment, failures)):
        while True:
            with database.write() as connection:
                gone = delete_unlocked(connection, table, old)
            if gone < CHUNK:
                break


def _expired(moment: int) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    yield outcomes, outcomes.c.created <= moment - int(OUTCOME_LIFETIME)
    yield tokens, tokens.c.expires <= moment
    yield oauth_codes, oauth_codes.c.expires < moment - CODE_KEPT
    yield sessions, sessions.c.expires <= moment
    yield sent_forms, sent_forms.c.expires <= moment
    yield throttles, and_(throttles.c.seen < moment - REMEMBERED, throttles.c.until < moment)
