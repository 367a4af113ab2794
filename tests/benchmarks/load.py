"""What clients ask of workers, in a fresh process: many at once, or one for a large file."""

from __future__ import annotations

import asyncio
import json
import os
import time
from typing import TYPE_CHECKING, Any
from uuid import uuid4

from tests.benchmarks.contenders import AFTER, scratch

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    import aiohttp

    from tests.benchmarks.contenders import Place, Work

MIXED = ("upload", "download", "metadata")


class _Client:
    """Sends one request after the other."""

    def __init__(self, session: aiohttp.ClientSession, url: str, token: str) -> None:
        self.times: list[float] = []
        self._session = session
        self._url = f"{url}/api/1/files"
        self._headers = {"Authorization": f"Token {token}"}
        self._id = 0

    async def upload(self) -> None:
        """Store a new file of 1 KiB, as rinofs does."""
        from aiohttp import FormData

        form = FormData()
        form.add_field("json", json.dumps({"name": f"load-{uuid4().hex}"}))
        form.add_field("file", os.urandom(1024), filename="file")
        made = await self._send("POST", "upload/", data=form, headers={"Idempotency-Key": uuid4().hex})
        self._id = json.loads(made)["id"]

    async def download(self) -> None:
        """Read the file that it stored last."""
        assert len(await self._send("GET", f"download/?id={self._id}")) == 1024

    async def metadata(self) -> None:
        """Read the record of that file."""
        assert await self._send("POST", "get_metadata/", json={"id": self._id})

    async def _send(
        self, method: str, path: str, headers: Mapping[str, str] | None = None, **what: Any
    ) -> bytes:
        began = time.perf_counter()
        named = {**self._headers, **(headers or {})}
        async with self._session.request(method, f"{self._url}/{path}", headers=named, **what) as answer:
            content = await answer.read()
            answer.raise_for_status()
        self.times.append(time.perf_counter() - began)
        return content


def _load(requests: Sequence[str], count: int) -> Callable[[str, Place], Work]:
    """Return what sends requests, one kind after the other, `count` times, from all clients at once."""

    def prepare(contender: str, place: Place) -> Work:
        loop = asyncio.new_event_loop()
        session = loop.run_until_complete(_session())
        AFTER.append(lambda: loop.run_until_complete(session.close()))
        clients = [_Client(session, url, token) for url, token in place.clients[contender]]
        loop.run_until_complete(_ask_once(clients))
        left = iter(range(count))

        async def go_on(client: _Client) -> None:
            for _ in left:
                for name in requests:
                    await getattr(client, name)()

        async def all_of_them() -> None:
            await asyncio.gather(*map(go_on, clients))

        def work() -> dict[str, float]:
            began = time.perf_counter()
            loop.run_until_complete(all_of_them())
            seconds = time.perf_counter() - began
            times = sorted(moment for client in clients for moment in client.times)
            return {"rate": len(times) / seconds, "p99": times[len(times) * 99 // 100]}

        return work

    return prepare


async def _session() -> aiohttp.ClientSession:
    import aiohttp

    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def _ask_once(clients: Sequence[_Client]) -> None:
    """Have all clients ask everything once, so that workers know them."""
    for name in MIXED:
        await asyncio.gather(*(getattr(client, name)() for client in clients))
    for client in clients:
        client.times.clear()


def _get(contender: str, place: Place) -> Work:
    fs = _filesystem(contender, place)
    target = scratch("gibi")
    return lambda: fs.get_file("gibi", target)


def _put(contender: str, place: Place) -> Work:
    fs = _filesystem(contender, place)
    return lambda: fs.put_file(f"{place.folder}/gibi", "put")


def _filesystem(contender: str, place: Place) -> Any:
    from rinofs import RinoFileSystem

    ((url, token),) = place.clients[contender]
    os.environ["REQUESTS_CA_BUNDLE"] = f"{place.folder}/authority.pem"
    fs = RinoFileSystem(endpoint_url=url, token=token)
    fs.ls("")
    return fs


BY_CASE: dict[str, Callable[[str, Place], Work]] = {
    "workers-cpu": _load(MIXED, 500),
    "workers-far": _load(MIXED, 48),
    "workers-download": _load(["download"], 2000),
    "workers-metadata": _load(["metadata"], 2000),
    "workers-upload": _load(["upload"], 500),
    "nginx-get": _get,
    "nginx-put": _put,
}
