"""What the layers between the connection and the database have to agree on about the cost of a request.

It reaches the thread that runs a statement by its context, so nobody in between hands it on.
"""

from __future__ import annotations

from contextvars import ContextVar
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable

__all__ = ["CLIENT_GONE"]

CLIENT_GONE: ContextVar[Callable[[], bool] | None] = ContextVar("rinofs_client_gone", default=None)
"""Tells whether the client of the request that is being answered has left. `web.connections` sets it for each
request; `catalog.sqlite.transactions` asks it while a statement runs that only reads."""
