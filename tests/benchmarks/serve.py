"""The servers of the measurements, each in its own process; each ends when its standard input does.

Prints one JSON line with its address. The embedded server answers each line of input with counts of the
requests since the last one.
"""

from __future__ import annotations

import json
import os
import socket
import sys
import tempfile
import threading
from typing import TYPE_CHECKING

from tests.benchmarks import distance

if TYPE_CHECKING:
    from collections.abc import Callable

    from starlette.requests import Request


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


def embedded(largest_group: str = "") -> None:
    """Run the embedded server, which commits at most `largest_group` transactions at once."""
    from rinofs.server.catalog.sqlite import transactions
    from rinofs.testing import live_server

    if largest_group:
        transactions.LARGEST_GROUP = int(largest_group)
    with live_server() as server:
        _tell(url=server.endpoint_url, token=server.token, data=str(server.data_dir))
        before = sum(os.times()[:2])
        for _ in sys.stdin:
            seen, now = list(server.requests), sum(os.times()[:2])
            server.reset()
            _tell(
                requests=len(seen),
                sent=sum(request.bytes_out for request in seen),
                cpu=now - before,
            )
            before = now


def bare() -> None:
    """Run an application with a route that does nothing, and one that stores what it receives."""
    import uvicorn
    from starlette.applications import Starlette
    from starlette.concurrency import run_in_threadpool
    from starlette.responses import Response
    from starlette.routing import Route

    async def answer(_request: object) -> Response:
        return Response(b"x" * 1024)

    async def store(request: Request) -> Response:
        with tempfile.NamedTemporaryFile(buffering=0) as file:
            async for piece in request.stream():
                file.write(piece)
            await run_in_threadpool(os.fsync, file.fileno())
        return Response(status_code=201)

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Starlette(routes=[Route("/", answer), Route("/stored", store, methods=["PUT"])]),
        http="httptools",
        loop="uvloop",
        log_level="error",
        access_log=False,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    _tell(url=f"http://127.0.0.1:{listener.getsockname()[1]}/")
    sys.stdin.read()


def late(host: str, port: str, window: str, rate: str) -> None:
    """Run a proxy that simulates distance; `window` and `rate` limit each connection."""
    listener = socket.create_server(("127.0.0.1", 0), backlog=128)
    _tell(url=f"http://127.0.0.1:{listener.getsockname()[1]}")
    way = distance.Way(float(window), float(rate))
    threading.Thread(target=distance.run, args=(listener, host, int(port), way), daemon=True).start()
    sys.stdin.read()
    os._exit(0)


SERVERS: dict[str, Callable[..., None]] = {"embedded": embedded, "bare": bare, "late": late}

if __name__ == "__main__":
    SERVERS[sys.argv[1]](*sys.argv[2:])
