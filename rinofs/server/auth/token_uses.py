"""When tokens were last used.

It is short because it hides a thread, the only one in this room.
"""

from __future__ import annotations

import threading
from contextlib import suppress
from typing import TYPE_CHECKING

from rinofs.server.catalog.users.accounts import note_uses
from rinofs.server.errors import ApiError

if TYPE_CHECKING:
    from rinofs.server.catalog.database import Database

__all__ = ["TokenUses"]


class TokenUses:
    """Records the last use of tokens in its own thread, so that no request waits or fails because of it.

    Parameters
    ----------
    database : Database
        Database for the times.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._lock = threading.Lock()
        self._pending: dict[int, int] = {}
        self._thread: threading.Thread | None = None

    def note(self, token: int, moment: int) -> None:
        """Record that a token is used now."""
        with self._lock:
            self._pending[token] = moment
            if self._thread is None:
                thread = threading.Thread(target=self._write_all, name="rinofs-token-uses", daemon=True)
                with suppress(RuntimeError):  # the system allows no more threads: the next use tries again
                    thread.start()
                    self._thread = thread

    def flush(self) -> None:
        """Wait until everything is written."""
        thread = self._thread
        if thread is not None:
            thread.join(5)

    def _write_all(self) -> None:
        while True:
            with self._lock:
                used, self._pending = self._pending, {}
                if not used:
                    self._thread = None
                    return
            with suppress(ApiError), self._database.write() as connection:
                note_uses(connection, used)
