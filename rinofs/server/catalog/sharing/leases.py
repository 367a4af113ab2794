"""The processes that share a database, and which of them are gone, by leases on the database's clock.

A process whose lease expired may only be paused or cut off. So nothing of it is removed before it is fenced
in a transaction, and no transaction that refers to a new content of a fenced process can commit, whatever
any clock says (`hold_workers`). Rows are kept for a day: what a fenced process was writing when it stopped
may reach the store after the first garbage collection.
"""

from __future__ import annotations

import logging
import os
import signal
import threading
from typing import TYPE_CHECKING
from uuid import uuid4

from sqlalchemy import delete, insert, or_, select, update

from rinofs.server.blobs.store import is_object_key
from rinofs.server.catalog.database import kind_of
from rinofs.server.catalog.postgres.database_copy import COPYING, UNFINISHED
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError
from rinofs.server.catalog.sharing.locks import delete_unlocked, put, shared
from rinofs.server.catalog.tables import properties, workers
from rinofs.server.errors import ApiError, Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from sqlalchemy import Connection

    from rinofs.server.catalog.database import Database

__all__ = ["LEASE", "DatabaseRegistry", "hold_workers"]

LEASE = 60.0
"""Seconds after which a process that has not renewed its lease is considered gone."""
RENEWALS = 4
"""How often a lease is renewed during its term."""
KEPT = 24 * 3600
"""Seconds for which the row of a fenced process is kept."""

_log = logging.getLogger("rinofs.server")


def hold_workers(connection: Connection, keys: Iterable[str]) -> None:
    """Keep the processes that stored some contents from being fenced until a writing transaction ends.

    Raises
    ------
    Unavailable
        If one is already fenced: its contents may be gone.
    """
    names = {key.split("/")[1] for key in keys if is_object_key(key)}
    if not names or not kind_of(connection).is_shared:  # there, a lock shows whether a process is gone
        return
    wanted = select(workers.c.name).where(workers.c.name.in_(sorted(names)), workers.c.fenced.is_(None))
    if set(connection.scalars(shared(wanted))) != names:
        message = "this server was stopped or cut off during the upload; send it again"
        raise Unavailable(message, headers={"Retry-After": "1"})


class DatabaseRegistry:
    """The processes that share a database, including this one.

    Parameters
    ----------
    database : Database
        The database in which they are registered.
    lease : float
        Seconds after which one that has not renewed its lease is considered gone.
    """

    def __init__(self, database: Database, lease: float = LEASE) -> None:
        self._database = database
        self._lease = lease
        self._host: str | None = None
        self._claim: Callable[[Connection, float], None] | None = None
        self._lock = threading.Lock()
        self._own = ""
        self._former: set[str] = set()
        self._behind: set[str] = set()
        self._wake = threading.Event()
        self._closed = False
        self._thread: threading.Thread | None = None

    @property
    def own(self) -> str:
        """The name of this process, which is never reused. It is assigned on first use."""
        with self._lock:
            if not self._own:
                self._join()
            return self._own

    def enter(self, host: str, claim: Callable[[Connection, float], None]) -> None:
        """Register that this process keeps contents in a folder.

        Parameters
        ----------
        host : str
            The machine that it runs on.
        claim : callable
            Called in each transaction that registers it, with the Unix time; raises to reject.
        """
        with self._lock:
            self._host, self._claim = host, claim
            self._join()

    def join(self) -> None:
        """Register this process now, not on first use, so that others know that it is at work.

        Raises
        ------
        UnusableDatabaseError
            If a copy into the database was begun, and is not complete.
        """
        with self._lock:
            if not self._own:
                self._join()

    def _join(self) -> None:
        name = uuid4().hex
        with self._database.write() as connection:
            # Locked, so that a copy which begins at this moment sees this process, or the other way round.
            if connection.scalar(_COPYING) is not None:
                raise UnusableDatabaseError(f"{self._database.name}: {UNFINISHED}")
            moment = self._database.moment(connection)
            if self._claim is not None:
                self._claim(connection, moment)
            # Leftovers of processes with a folder are not listed: their old rows are just deleted here.
            ended = (workers.c.host.is_not(None), workers.c.expires < int(moment) - KEPT)
            delete_unlocked(connection, workers, *ended)
            row = {"name": name, "host": self._host, "expires": self._expires(moment)}
            connection.execute(insert(workers).values(row))
        if self._thread is None:
            thread = threading.Thread(target=self._renew, name="rinofs-lease", daemon=True)
            thread.start()  # if the system allows no more threads, the next use joins under another name
            self._thread = thread
        self._own = name

    def gone(self) -> Iterator[str]:
        """Yield the processes that no longer add contents, and may have left some.

        Processes whose lease expired are fenced first.
        """
        self._fence()
        with self._database.read() as connection:
            old = int(self._database.moment(connection)) - KEPT
            wanted = select(workers.c.name, workers.c.fenced).where(
                workers.c.fenced.is_not(None), or_(workers.c.unlisted, workers.c.fenced <= old)
            )
            found = connection.execute(wanted.order_by(workers.c.fenced)).all()
        for name, fenced in found:
            # Before its objects are listed: what it writes meanwhile is left for the next collection.
            self._set(name, unlisted=False)
            try:
                yield name
            except BaseException:
                self._set(name, unlisted=True)
                raise
            if fenced <= old:
                with self._database.write() as connection:
                    connection.execute(delete(workers).where(workers.c.name == name, ~workers.c.unlisted))

    def left_behind(self, worker: str) -> None:
        """Record that this process has stored something under a former name."""
        with self._lock:
            if worker in self._former:
                self._behind.add(worker)
                self._wake.set()

    def close(self) -> None:
        """Fence this process and stop renewing its lease."""
        with self._lock:
            self._closed = True
            self._wake.set()
            thread = self._thread
        if thread is not None:
            thread.join(10)

    def _fence(self) -> None:
        with self._database.write() as connection:
            moment = int(self._database.moment(connection))
            late = select(workers.c.name).where(workers.c.fenced.is_(None), workers.c.expires < moment)
            # A process that is committing right now is alive: check it again next time.
            names = connection.scalars(late.with_for_update(skip_locked=True)).all()
            fenced = update(workers).where(workers.c.name.in_(names))
            connection.execute(fenced.values(fenced=moment, unlisted=True))
        for name in names:
            _log.warning("the lease of worker %s ran out; it adds no contents any more", name)

    def _set(self, name: str, *, unlisted: bool) -> None:
        with self._database.write() as connection:
            connection.execute(update(workers).where(workers.c.name == name).values(unlisted=unlisted))

    def _expires(self, moment: float) -> int:
        return int(moment + self._lease) + 1

    def _renew(self) -> None:
        """Renew the lease until `close`, in a separate thread."""
        while True:
            self._wake.wait(self._lease / RENEWALS)
            self._wake.clear()
            with self._lock:
                closed, own, behind = self._closed, self._own, self._behind
                self._behind = set()
            try:
                self._tell(own, behind, closed=closed)
            except ApiError:  # the lease is long enough for several tries
                with self._lock:
                    self._behind |= behind
            except UnusableDatabaseError as error:
                _log.critical("%s", error)
                os.kill(os.getpid(), signal.SIGTERM)
            if closed:
                return

    def _tell(self, own: str, behind: set[str], *, closed: bool) -> None:
        lost = False
        with self._database.write() as connection:
            mine = update(workers).where(workers.c.name == own, workers.c.fenced.is_(None))
            now = self._database.moment(connection)
            moment = int(now)
            if closed:
                connection.execute(mine.values(fenced=moment, unlisted=True))
            elif own:
                lost = not connection.execute(mine.values(expires=self._expires(now))).rowcount
            for name in sorted(behind | ({own} if lost else set())):
                row = {"name": name, "expires": moment, "fenced": moment, "unlisted": True}
                connection.execute(_LEFT_BEHIND, row)
        if lost:
            _log.warning("the lease of this worker, %s, ran out; it goes on under another name", own)
            with self._lock:
                self._former.add(own)
                self._behind.add(own)  # again: an upload may end in between
                self._own = ""
        with self._lock:
            # Perhaps nothing reads `own`, which would join. It may have failed last time.
            if not self._own and not closed:
                self._join()


_COPYING = select(properties.c.value).where(properties.c.name == COPYING).with_for_update(read=True)
_LEFT_BEHIND = put(workers, "name", "expires", "fenced", "unlisted", changed=("unlisted",))
