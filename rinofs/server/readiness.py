"""The readiness check: ``GET /ready`` tells a proxy or a supervisor whether the server can handle requests.

``GET /health`` succeeds as long as the process responds. This checks what requests depend on: the database,
its schema, and the storage of contents. Responses contain no paths; the log has the details.
"""

from __future__ import annotations

import asyncio
import logging
import time
from contextvars import Context
from typing import TYPE_CHECKING

from anyio import CapacityLimiter, to_thread

from rinofs.server.catalog.migrations import schema_problem
from rinofs.server.catalog.postgres.database_copy import COPYING
from rinofs.server.errors import InsufficientStorage
from rinofs.server.web.responses import error_response, json_response

if TYPE_CHECKING:
    from starlette.requests import Request
    from starlette.responses import Response

    from rinofs.server.services import Services

__all__ = ["READY", "Readiness"]

READY = "/ready"
"""Path of the readiness check."""

KEPT = 1.0
"""Seconds for which a result is reused: anyone may request it, as often as they like."""

LONGEST = 5.0
"""Timeout in seconds of the database and the storage."""

_RETRY = {"Retry-After": "5"}
_ABSENT = "c/absent"  # key that no store has; it is looked up in the object store, if there is one
_STOPPING = "the server is stopping"
_SILENT = f"the database or the storage did not answer within {LONGEST:g} seconds"

_log = logging.getLogger("rinofs.server")


class Readiness:
    """Checks whether a server can handle requests, at most once a second.

    Parameters
    ----------
    services : Services
        Services of the server.
    """

    def __init__(self, services: Services) -> None:
        self._services = services
        self._stopping = False
        self._check: asyncio.Task[str | None] | None = None
        self._checked_at = float("-inf")
        self._logged: str | None = None
        # A thread of its own, to report a hanging storage even if all other threads wait for it.
        self._thread = CapacityLimiter(1)

    def stop(self) -> None:
        """Report from now on that the server is not ready, since it is stopping."""
        self._stopping = True

    async def answer(self, _request: Request) -> Response:
        """Respond to a request for `READY`."""
        reason = _STOPPING if self._stopping else await self._reason()
        if reason is None:
            return json_response({"status": "ready"})
        return error_response(503, reason, _RETRY)

    async def _reason(self) -> str | None:
        """Return why the server cannot handle requests; None if it can."""
        if self._check is None or (self._check.done() and time.monotonic() > self._checked_at + KEPT):
            # Concurrent requests wait for the same check, which must go on if one of their clients leaves.
            self._check = asyncio.create_task(self._look(), context=Context())
        try:
            return await asyncio.wait_for(asyncio.shield(self._check), LONGEST)
        except TimeoutError:
            self._report(_SILENT, None)
            return _SILENT

    async def _look(self) -> str | None:
        reason, error = await to_thread.run_sync(_problem, self._services, limiter=self._thread)
        self._checked_at = time.monotonic()
        self._report(reason, error)
        return reason

    def _report(self, reason: str | None, error: Exception | None) -> None:
        """Log a change of the state."""
        if reason == self._logged:
            return
        self._logged = reason
        if reason is None:
            _log.warning("ready again")
        else:
            _log.warning("not ready: %s", reason, exc_info=error)


def _problem(services: Services) -> tuple[str | None, Exception | None]:
    """Return why the server cannot handle requests, and the exception that showed it."""
    try:
        with services.database.read() as connection:
            problem = schema_problem(connection)
        copying = services.database.get_property(COPYING) is not None
    except Exception as error:  # noqa: BLE001 (whatever it is, requests would fail too)
        return "the database cannot be used", error
    if problem is not None:
        return "the schema of the database is of another release; restart the server with that release", None
    if copying:
        return "another database is being copied into this one; restart the server afterwards", None
    try:
        _try_storage(services)
    except InsufficientStorage:
        pass  # reading still works, and so does deleting, which frees space
    except Exception as error:  # noqa: BLE001
        return "the storage of contents cannot be used", error
    return None, None


def _try_storage(services: Services) -> None:
    """Look up a content, and start an upload that is aborted."""
    services.blobs.size(_ABSENT)
    with services.blobs.new_upload() as upload:
        upload.write(b"ready")
