"""Rows about signing in: recent wrong passwords, browser sessions, and submitted forms.

Digests in parameters are those that `rinofs.server.auth` takes of names, addresses and cookies.
"""

from __future__ import annotations

import math
from dataclasses import dataclass
from typing import TYPE_CHECKING

from sqlalchemy import and_, delete, func, insert, or_, select, update

from rinofs.server.catalog.records import User
from rinofs.server.catalog.sharing.locks import add_unless_present, delete_unlocked, put, shared
from rinofs.server.catalog.tables import sent_forms, sessions, throttles, users
from rinofs.server.catalog.users.accounts import USER

if TYPE_CHECKING:
    from collections.abc import Iterable, Sequence

    from sqlalchemy import Connection

__all__ = [
    "Limit",
    "add_session",
    "count_attempt",
    "end_session",
    "end_sessions_of",
    "hold_session",
    "is_known",
    "lock",
    "mark_sent",
    "note_success",
    "seconds_to_wait",
    "session_user",
]

REMEMBERED = 900
"""Seconds for which wrong passwords count, starting at the last one."""
MOST_ROWS = 10_000
"""Maximum number of rows per table that clients create without signing in; the oldest are deleted first."""

_LOCK = put(throttles, "sha256", "wrong", "seen", "until")
_SENT = add_unless_present(sent_forms, "sha256", "expires")


@dataclass(frozen=True, slots=True)
class Limit:
    """A limit on wrong passwords.

    Attributes
    ----------
    digest : str
        Digest of what they are counted for.
    free : int
        Number of wrong passwords after which each further attempt has to wait.
    longest : int
        Maximum wait in seconds.
    """

    digest: str
    free: int
    longest: int

    def wait(self, wrong: int) -> int:
        """Return the seconds to wait after a number of wrong passwords."""
        return 0 if wrong < self.free else min(2 ** min(wrong - self.free, 30), self.longest)


def lock(connection: Connection, digests: Iterable[str]) -> None:
    """Make attempts that share a digest wait for each other until the transaction ends."""
    # In order, to avoid deadlocks.
    for digest in sorted(digests):
        connection.execute(_LOCK, {"sha256": digest, "wrong": 0, "seen": 0, "until": 0})


def seconds_to_wait(connection: Connection, limits: Sequence[Limit], moment: float) -> float:
    """Return the seconds that an attempt has to wait, or 0; its limits must be locked.

    If the clock was set back, the full wait starts again from the new time.
    """
    mine = throttles.c.sha256.in_([limit.digest for limit in limits])
    later = throttles.c.seen > int(moment) + 1
    kept = {"until": throttles.c.until - throttles.c.seen + int(moment), "seen": int(moment)}
    connection.execute(update(throttles).where(mine, later).values(kept))
    until = connection.scalar(select(func.max(throttles.c.until)).where(mine))
    return 0.0 if until is None else max(0.0, until - moment)


def count_attempt(connection: Connection, limits: Sequence[Limit], moment: float) -> None:
    """Count an attempt as wrong until it succeeds, so that concurrent attempts count too.

    Its limits must be locked.
    """
    second = int(moment)
    old = and_(throttles.c.seen < second - REMEMBERED, throttles.c.until < second)
    mine = throttles.c.sha256.in_([limit.digest for limit in limits])
    rows = connection.execute(select(throttles.c.sha256, throttles.c.wrong).where(mine, ~old))
    wrong = {row.sha256: row.wrong for row in rows}
    for limit in limits:
        before = wrong.get(limit.digest, 0)
        wait = limit.wait(before)
        # Without a wait, do not round up: that would cause a wait of up to a second.
        until = math.ceil(moment + wait) if wait else second
        values = {"wrong": before + 1, "seen": second, "until": until}
        connection.execute(update(throttles).where(throttles.c.sha256 == limit.digest).values(values))
    # Last, to avoid deadlocks: this does not wait, and nothing waits after it.
    delete_unlocked(connection, throttles, old)
    newest = select(throttles.c.sha256).order_by(throttles.c.seen.desc())
    surplus = connection.scalars(newest.offset(MOST_ROWS).limit(100)).all()
    if surplus:
        delete_unlocked(connection, throttles, throttles.c.sha256.in_(surplus))


def note_success(
    connection: Connection,
    limits: Sequence[Limit],
    *,
    known: str,
    until: int,
    moment: float,
) -> None:
    """Undo the count of an attempt that succeeded.

    Parameters
    ----------
    connection : Connection
        A writing transaction; `known` and the limits must be locked.
    limits : sequence of Limit
        The limits that it was counted for; the first is reset.
    known, until : str and int
        Digest of an account and an address, which are known to belong together until that Unix time.
    moment : float
        Seconds since 1970.
    """
    own, *others = (limit.digest for limit in limits)
    connection.execute(delete(throttles).where(throttles.c.sha256 == own))
    mine = throttles.c.sha256.in_(others)
    connection.execute(update(throttles).where(mine).values(wrong=throttles.c.wrong - 1, until=int(moment)))
    kept = {"wrong": 0, "seen": int(moment), "until": until}
    connection.execute(update(throttles).where(throttles.c.sha256 == known).values(kept))


def is_known(connection: Connection, known: str, moment: float) -> bool:
    """Return whether an account was signed in to from an address before; see `note_success`."""
    wanted = select(throttles.c.until).where(throttles.c.sha256 == known, throttles.c.until > moment)
    return connection.scalar(wanted) is not None


def add_session(connection: Connection, digest: str, user: User, expires: int) -> None:
    """Store that a browser is signed in."""
    connection.execute(insert(sessions).values(sha256=digest, user=user.id, expires=expires))


def session_user(connection: Connection, digest: str, moment: float) -> User | None:
    """Return the user who is signed in with a browser, or None."""
    wanted = select(*USER).join(sessions, sessions.c.user == users.c.id)
    row = connection.execute(
        wanted.where(sessions.c.sha256 == digest, sessions.c.expires > moment)
    ).one_or_none()
    return None if row is None else User(*row)


def hold_session(connection: Connection, digest: str, user: User, moment: float) -> bool:
    """Keep a user signed in until a writing transaction ends; return whether the user still is."""
    mine = (sessions.c.sha256 == digest, sessions.c.user == user.id, sessions.c.expires > moment)
    return connection.scalar(shared(select(sessions.c.sha256).where(*mine))) is not None


def end_session(connection: Connection, digest: str) -> None:
    """Sign out a browser."""
    connection.execute(delete(sessions).where(sessions.c.sha256 == digest))


def end_sessions_of(connection: Connection, user: User) -> int:
    """Sign a user out of all browsers; return how many there were."""
    return connection.execute(delete(sessions).where(sessions.c.user == user.id)).rowcount


def mark_sent(connection: Connection, digest: str, moment: float, expires: int) -> bool:
    """Record that a form was submitted; return whether it was the first time."""
    if connection.execute(_SENT, {"sha256": digest, "expires": expires}).one_or_none() is None:
        return False
    recent = select(sent_forms.c.expires).order_by(sent_forms.c.expires.desc()).offset(MOST_ROWS).limit(1)
    oldest = connection.scalar(recent)
    void = sent_forms.c.expires <= int(moment)
    surplus = void if oldest is None else or_(void, sent_forms.c.expires <= oldest)
    delete_unlocked(connection, sent_forms, surplus, sent_forms.c.sha256 != digest)
    return True
