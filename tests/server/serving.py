"""Small applications around one part of the server each, behind the real HTTP server."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import psutil
from starlette.applications import Starlette

from rinofs.server.app import REFUSALS
from rinofs.server.settings import ServerSettings
from rinofs.testing.live import serving

if TYPE_CHECKING:
    import socket
    from collections.abc import Iterator, Sequence
    from pathlib import Path

    from starlette.routing import Route


@contextmanager
def served(routes: Sequence[Route], data_dir: Path, **changes: Any) -> Iterator[str]:
    """Serve routes with the server's settings and its answers to refusals."""
    settings = replace(ServerSettings(data_dir, shutdown_timeout=1.0), **changes)
    app = Starlette(routes=routes, exception_handlers=REFUSALS)
    app.state.settings = settings
    with serving(app, settings) as url:
        yield url


def is_held(client: socket.socket) -> bool:
    """Tell whether the server, which is in this process, still has its end of a connection."""
    address = client.getsockname()
    return any(held.raddr == address for held in psutil.Process().net_connections("tcp"))
