"""The audit log: what happened to accounts and data, when, and from where.

It is a table, written in the transaction that does what it tells of. It holds names and numbers, and neither
secrets nor digests of them.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import StrEnum
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, insert, select

from rinofs.server.catalog.tables import audit

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import ColumnElement, Connection, Table

__all__ = ["AuditEvent", "Entry", "add", "entries", "expired", "oldest_failure"]

KEPT = 400 * 24 * 3600
"""Seconds for which entries are kept."""
MOST_FAILURES = 100_000
"""Failed sign-ins that are kept, so that who guesses passwords does not fill the disk."""
_LONGEST_TEXT = 1000


class AuditEvent(StrEnum):
    """What an entry tells of."""

    SIGN_IN = "sign-in"
    SIGN_IN_FAILED = "sign-in-failed"
    GRANT = "grant"
    GRANT_ENDED = "grant-ended"
    TOKEN_ADDED = "token-added"  # noqa: S105
    TOKEN_REVOKED = "token-revoked"  # noqa: S105
    PASSWORD_CHANGED = "password-changed"  # noqa: S105
    USER_ADDED = "user-added"
    USER_REMOVED = "user-removed"
    DELETED = "deleted"
    ADMIN = "admin"


@dataclass(frozen=True, slots=True)
class Entry:
    """One entry.

    Attributes
    ----------
    id : int
        Its number; later ones have larger numbers.
    moment : int
        The second since 1970.
    event : str
        What it tells of.
    username : str or None
        Whose account, where that is known.
    source : str or None
        The address that it came from, or ``command line``.
    details : dict
        More about it.
    """

    id: int
    moment: int
    event: str
    username: str | None
    source: str | None
    details: dict[str, Any]


def add(
    connection: Connection,
    moment: float,
    event: AuditEvent,
    username: str | None,
    source: str | None,
    **details: object,
) -> None:
    """Add an entry; see `Entry`. Text is cut at 1,000 characters."""
    short = {
        name: value[:_LONGEST_TEXT] if isinstance(value, str) else value for name, value in details.items()
    }
    row = {
        "moment": int(moment),
        "event": event,
        "username": username,
        "source": source,
        "details": json.dumps(short),
    }
    connection.execute(insert(audit).values(row))


def entries(
    connection: Connection, *, limit: int, username: str | None = None, event: str | None = None
) -> list[Entry]:
    """Return the last entries, the latest last, of one user or one kind where that is asked for."""
    wanted = select(audit).order_by(audit.c.id.desc()).limit(limit)
    if username is not None:
        wanted = wanted.where(audit.c.username == username)
    if event is not None:
        wanted = wanted.where(audit.c.event == event)
    found = [
        Entry(row.id, row.moment, row.event, row.username, row.source, json.loads(row.details))
        for row in connection.execute(wanted)
    ]
    return found[::-1]


def oldest_failure(connection: Connection) -> int:
    """Return the number of the last failed sign-in that is not kept."""
    failures = select(audit.c.id).where(audit.c.event == AuditEvent.SIGN_IN_FAILED)
    return connection.scalar(failures.order_by(audit.c.id.desc()).offset(MOST_FAILURES).limit(1)) or 0


def expired(moment: int, failure: int) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Yield what entries are not kept: the old ones, and failed sign-ins up to a number."""
    yield audit, audit.c.moment < moment - KEPT
    yield audit, and_(audit.c.event == AuditEvent.SIGN_IN_FAILED, audit.c.id <= failure)
