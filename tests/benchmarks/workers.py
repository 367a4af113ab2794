"""Workers on PostgreSQL and an S3 store: the cost of several, of distance, and of nginx."""

from __future__ import annotations

import asyncio
import json
import os
import time
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from unittest.mock import patch
from uuid import uuid4

import aiohttp
import trustme

from rinofs import RinoFileSystem
from rinofs.server.auth.account_tokens import new_token
from rinofs.server.auth.accounts import Accounts
from rinofs.server.catalog.database import Database
from tests.benchmarks.contenders import AFTER, MEBIBYTE, Place, scratch
from tests.benchmarks.data import make_file
from tests.benchmarks.goals import Case, Goal
from tests.benchmarks.servers import WINDOW, Clocked, seaweed, served, started
from tests.cluster.workers import site
from tests.postgres import postgres
from tests.server import nginx

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
    from pathlib import Path
    from typing import TypeAlias

    from tests.benchmarks.contenders import Work

    Clients: TypeAlias = list[tuple[str, str]]
    Setting: TypeAlias = tuple[Place, Clocked, Sequence[Clocked]]

FOLDER, PLAIN, STORE = "a folder", "PostgreSQL and a folder", "PostgreSQL and S3"
DIRECT, NGINX, TLS = "direct", "through nginx", "through nginx, with TLS"
FEW, MANY, SEVERAL = "one worker, 2 clients", "one worker, 16 clients", "4 workers, 8 clients"
COUNT = 4
USERS = 16
MIXED = ("upload", "download", "metadata")

CASES = (
    Case(
        "workers-cpu",
        "workers: 500 times 1 KiB stored, read, and its metadata, by 4 clients each",
        (Goal("one worker", 1.2, None, "4 workers", figure="served"),),
        setting="workers",
    ),
    Case(
        "workers-far",
        "workers 20 ms from database and store: 48 times 1 KiB stored, read, and its metadata",
        (Goal(FEW, 0.33, None, SEVERAL), Goal(FEW, 0.33, None, MANY)),
        setting="workers-far",
    ),
    Case(
        "workers-download",
        "a worker: 2,000 downloads of 1 KiB",
        (Goal(FOLDER, 3.0, None, STORE), Goal(FOLDER, 3.0, None, PLAIN)),
        setting="workers",
    ),
    Case(
        "workers-metadata",
        "a worker: 2,000 times get_metadata",
        (Goal(FOLDER, None, None, STORE), Goal(FOLDER, None, None, PLAIN)),
        setting="workers",
    ),
    Case(
        "workers-upload",
        "a worker: 500 uploads of 1 KiB",
        (Goal(FOLDER, None, None, STORE), Goal(FOLDER, None, None, PLAIN)),
        setting="workers",
    ),
    Case(
        "nginx-get",
        "a worker behind nginx: get_file of 1 GiB",
        (Goal(DIRECT, 2.0, None, NGINX),),
        (TLS,),
        setting="nginx",
    ),
    Case(
        "nginx-put",
        "a worker behind nginx: put_file of 1 GiB",
        (Goal(DIRECT, 2.0, None, NGINX),),
        (TLS,),
        setting="nginx",
    ),
)


class _Servers:
    """Starts workers, and the databases and the store that they share.

    There are three databases, since the contents of a database are either in the store or in one folder.
    """

    def __init__(self, stack: ExitStack, folder: Path) -> None:
        self._stack = stack
        self._folder = folder / "workers"
        self._folder.mkdir()
        self._database = stack.enter_context(postgres())
        self._names = {}
        self.tokens = {}
        for contents in ("s3", "folder", "folder behind nginx"):
            url = self._database.new_database(schema=True)
            self._names[contents] = url.rpartition("/")[2]
            self.tokens[contents] = _add_users(url)
        store = stack.enter_context(seaweed(folder / "s3-of-workers"))
        self._ports = (self._database.port, _port(store))
        self.shared = (Clocked("", _pid(self._database.data / "postmaster.pid")), store)

    def worker(self, name: str, *arguments: str, contents: str = "s3", far: Sequence[int] = ()) -> Clocked:
        """Start a worker, near the database and the store, or connected to them by proxies."""
        database, store = far or self._ports
        variables = {
            "RINOFS_DATABASE": self._database.url(self._names[contents], port=database, scheme="postgresql"),
            "RINOFS_BLOBS": "s3://bench/workers" if contents == "s3" else "folder",
            "AWS_ENDPOINT_URL": f"http://127.0.0.1:{store}",
            "AWS_ACCESS_KEY_ID": "any",
            "AWS_SECRET_ACCESS_KEY": "any",
            "AWS_REGION": "us-east-1",
        }
        options = ("--trusted-proxy=127.0.0.1", *arguments)
        with patch.dict(os.environ, variables):
            return self._stack.enter_context(started(self._folder / name, *options))

    def proxies(self) -> list[Clocked]:
        """Start a proxy that simulates distance to the database, and one for the store."""
        late = [
            self._stack.enter_context(served("late", "127.0.0.1", str(port), WINDOW, "inf"))
            for port in self._ports
        ]
        return [Clocked(one.url, one.pid, counted=False) for one in late]


def _add_users(url: str) -> list[str]:
    """Create users, and return a token of each: the changes of a single user are sequential."""
    tokens = [new_token() for _ in range(USERS)]
    database = Database(url)
    accounts = Accounts(database)
    for number, token in enumerate(tokens):
        accounts.tokens.set_primary(accounts.add_user(f"user{number}"), token)
    accounts.close()
    database.close()
    return tokens


def _pid(path: Path) -> int:
    return int(path.read_text("utf-8").split()[0])


def _port(server: Clocked) -> int:
    return int(server.url.rpartition(":")[2])


def is_needed(cases: Iterable[Case]) -> bool:
    """Return whether some of the cases need workers."""
    return any(case in CASES for case in cases)


@contextmanager
def servers(cases: Iterable[Case], folder: Path) -> Iterator[dict[str, Setting]]:
    """Run the servers that cases need."""
    needed = {case.setting for case in CASES if case in cases}
    with ExitStack() as stack:
        settings: dict[str, Setting] = {}
        if needed:
            shared = _Servers(stack, folder)
        if "workers" in needed:
            settings["workers"] = _near(shared, stack.enter_context(started(folder / "alone")))
        if "workers-far" in needed:
            settings["workers-far"] = _far(shared)
        if "nginx" in needed:
            settings["nginx"] = _behind_nginx(shared, stack, folder)
        yield settings


def _near(shared: _Servers, alone: Clocked) -> Setting:
    workers = [shared.worker(f"near{number}") for number in range(COUNT)]
    other = shared.worker("near", contents="folder")
    users = shared.tokens["s3"]
    clients = {
        "one worker": _spread(workers[:1], users[:4]),
        "4 workers": _spread(workers, users),
        FOLDER: _spread([alone], [alone.token or ""] * USERS),
        PLAIN: _spread([other], shared.tokens["folder"][:1] * USERS),
        STORE: _spread(workers[:1], users[:1] * USERS),
    }
    return _place(clients), workers[0], (*workers[1:], other, alone, *shared.shared)


def _far(shared: _Servers) -> Setting:
    proxies = shared.proxies()
    ports = [_port(one) for one in proxies]
    # Without local copies, which would hide the distance to the store.
    workers = [shared.worker(f"far{number}", "--cache-size=0", far=ports) for number in range(COUNT)]
    users = shared.tokens["s3"]
    clients = {
        FEW: _spread(workers[:1], users[:2]),
        MANY: _spread(workers[:1], users[:16]),
        SEVERAL: _spread(workers, users[:8]),
    }
    return _place(clients), workers[0], (*workers[1:], *proxies, *shared.shared)


def _behind_nginx(shared: _Servers, stack: ExitStack, folder: Path) -> Setting:
    worker = shared.worker("served", contents="folder behind nginx")
    token = shared.tokens["folder behind nginx"][0]
    address = worker.url.removeprefix("http://")
    plain, secure = folder / "nginx", folder / "nginx-tls"
    for own in (plain, secure):
        own.mkdir()
    port = nginx.free_port()
    stack.enter_context(nginx.running(plain, site([worker.url], port), port))
    authority = trustme.CA()
    authority.cert_pem.write_to_path(folder / "authority.pem")
    secure_port = stack.enter_context(nginx.nginx(authority, secure, address, ""))
    clients = {
        DIRECT: [(worker.url, token)],
        NGINX: [(f"http://127.0.0.1:{port}", token)],
        TLS: [(f"https://localhost:{secure_port}", token)],
    }
    make_file(folder / "gibi", 1024 * MEBIBYTE)
    RinoFileSystem(endpoint_url=worker.url, token=token).put_file(folder / "gibi", "gibi")
    place = replace(_place(clients), folder=str(folder))
    return place, worker, (*(Clocked("", _pid(own / "nginx.pid")) for own in (plain, secure)), *shared.shared)


def _spread(workers: Sequence[Clocked], tokens: Sequence[str]) -> Clients:
    """Return the clients, one for each token, distributed evenly among the workers."""
    return [(workers[number % len(workers)].url, token) for number, token in enumerate(tokens)]


def _place(clients: dict[str, Clients]) -> Place:
    return Place("", "", "", "", {}, "", "", "", "", clients)


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
        form = aiohttp.FormData()
        form.add_field("json", json.dumps({"name": f"load-{uuid4().hex}"}))
        form.add_field("file", os.urandom(1024), filename="file")
        made = await self._send("POST", "upload/", data=form, headers={"Idempotency-Key": uuid4().hex})
        self._id = json.loads(made)["id"]

    async def download(self) -> None:
        """Read the last file that it stored."""
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
    """Return work that sends all kinds of requests `count` times, from all clients at once."""

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
    return aiohttp.ClientSession(connector=aiohttp.TCPConnector(limit=0))


async def _ask_once(clients: Sequence[_Client]) -> None:
    """Send each request once from all clients, so that the workers know them."""
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


def _filesystem(contender: str, place: Place) -> RinoFileSystem:
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
