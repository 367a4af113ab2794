"""The servers of the measurements, each in a process of its own; ends when its standard input does.

Prints one JSON line with where it answers. The embedded server answers each further line of input with what
it was asked since the last one.
"""

from __future__ import annotations

import asyncio
import contextlib
import json
import os
import sys
import threading

HALF_WAY = 0.010
"""Seconds that the late proxy holds back each byte, in each direction."""


def _tell(**what: object) -> None:
    print(json.dumps(what), flush=True)


def embedded() -> None:
    """Run the embedded server."""
    from rinofs.testing import live_server

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
    """Run an application of one route that does nothing."""
    import socket

    import uvicorn
    from starlette.applications import Starlette
    from starlette.responses import Response
    from starlette.routing import Route

    async def answer(_request: object) -> Response:
        return Response(b"x" * 1024)

    listener = socket.create_server(("127.0.0.1", 0))
    config = uvicorn.Config(
        Starlette(routes=[Route("/", answer)]),
        http="httptools",
        loop="uvloop",
        log_level="error",
        access_log=False,
    )
    server = uvicorn.Server(config)
    threading.Thread(target=server.run, args=([listener],), daemon=True).start()
    _tell(url=f"http://127.0.0.1:{listener.getsockname()[1]}/")
    sys.stdin.read()


async def _pass_on(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
    loop = asyncio.get_running_loop()
    waiting: asyncio.Queue[tuple[float, bytes]] = asyncio.Queue(1024)

    async def send() -> None:
        while True:
            due, data = await waiting.get()
            await asyncio.sleep(due - loop.time())
            if not data:
                writer.close()
                return
            writer.write(data)
            await writer.drain()

    sending = asyncio.create_task(send())
    try:
        while data := await reader.read(256 * 1024):
            await waiting.put((loop.time() + HALF_WAY, data))
    except ConnectionError:
        pass
    await waiting.put((loop.time() + HALF_WAY, b""))
    with contextlib.suppress(ConnectionError):
        await sending


def late(host: str, port: str) -> None:
    """Run a proxy that adds latency, and limits nothing else."""
    import uvloop

    async def connected(reader: asyncio.StreamReader, writer: asyncio.StreamWriter) -> None:
        to_server = await asyncio.open_connection(host, int(port))
        await asyncio.gather(_pass_on(reader, to_server[1]), _pass_on(to_server[0], writer))

    async def serve() -> None:
        server = await asyncio.start_server(connected, "127.0.0.1", 0)
        _tell(url=f"http://127.0.0.1:{server.sockets[0].getsockname()[1]}")
        await asyncio.to_thread(sys.stdin.read)
        os._exit(0)

    uvloop.run(serve())


if __name__ == "__main__":
    {"embedded": embedded, "bare": bare, "late": late}[sys.argv[1]](*sys.argv[2:])
