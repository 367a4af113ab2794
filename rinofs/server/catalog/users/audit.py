"""The audit log: what happened to accounts and data, when, and from where.

It is a table, written in the same transaction as the event. It holds names and numbers, but neither secrets
nor digests of them.
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

__all__ = ["COMMAND_LINE", "AuditEvent", "Entry", "add", "entries", "expired", "oldest_failure"]

KEPT = 400 * 24 * 3600
"""Seconds for which entries are kept."""
MOST_FAILURES = 100_000
"""Failed sign-ins that are kept, so that password guessing cannot fill the disk."""
COMMAND_LINE = "command line"
"""Source of changes that were not made by a request."""
_LONGEST_TEXT = 1000


class AuditEvent(StrEnum):
    """The events that are logged."""

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
        Unix time, in seconds.
    event : str
        The event.
    username : str or None
        The account, if known.
    source : str or None
        Address of the client, or ``command line``.
    details : dict
        Further details.
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
    """Return the latest entries, the newest last, optionally of one user or one event only."""
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
    """Return the id of the newest failed sign-in that is not kept; 0 if all are."""
    failures = select(audit.c.id).where(audit.c.event == AuditEvent.SIGN_IN_FAILED)
    return connection.scalar(failures.order_by(audit.c.id.desc()).offset(MOST_FAILURES).limit(1)) or 0


def expired(moment: int, failure: int) -> Iterator[tuple[Table, ColumnElement[bool]]]:
    """Yield the conditions for entries to delete: old ones, and failed sign-ins up to an id."""
    yield audit, audit.c.moment < moment - KEPT
    yield audit, and_(audit.c.event == AuditEvent.SIGN_IN_FAILED, audit.c.id <= failure)
