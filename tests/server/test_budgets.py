"""A request ends when its time is over or its client has left, and users share the threads."""

from __future__ import annotations

import asyncio
import json
import random
import socket
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from functools import partial
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
import pytest

from rinofs.protocol.limits import MAX_FIELDS, MAX_IDS, MAX_TAGS
from rinofs.server.api.repovizz import contents
from rinofs.server.budgets import CLIENT_GONE, FairQueue
from rinofs.server.catalog import structures
from rinofs.server.errors import BadRequest, Unavailable
from rinofs.server.settings import ServerSettings
from rinofs.server.web.bodies import in_time, parse_json
from rinofs.server.web.uploads import Sink
from rinofs.testing import LiveServer, live_server
from tests.campaign import rounds
from tests.server.client import Api
from tests.server.packs import Api as Datapacks
from tests.server.packs import data, pack
from tests.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    import requests

OBJECTS = 8
SLOW = {"$or": [{"values": number} for number in range(1, 91)]}
"""A query that looks at all values of all objects about ninety times, which takes a minute on any machine."""


def with_timeout(seconds: float) -> Any:
    def configure(settings: ServerSettings) -> ServerSettings:
        return replace(settings, statement_timeout=seconds)

    return configure


def fill(api: Api) -> None:
    metadata = {"values": [0] * 200_000, "rest": {str(number): "some text" for number in range(5000)}}
    number = api.ok("files/create_object", {"name": "object 0", "metadata": metadata}, 201)["id"]
    for copy in range(1, OBJECTS):
        api.ok("files/copy", {"items": [number], "name": f"object {copy}"}, 201)


@pytest.fixture(scope="module")
def hurried() -> Iterator[Api]:
    with live_server(configure=with_timeout(0.05)) as server:
        api = Api(server.endpoint_url, server.token)
        fill(api)
        yield api


@pytest.fixture(scope="module")
def endless() -> Iterator[LiveServer]:
    """A server whose statements may take for ever, and do."""
    with live_server(configure=with_timeout(1e6)) as server:
        fill(Api(server.endpoint_url, server.token))
        yield server


HEAVY = {
    "query": ("files/query", {"query": SLOW}),
    "sorted": ("files/query", {"query": SLOW, "sort": "-values"}),
    "count": ("files/query_count", {"query": SLOW}),
    "negated": ("files/query_count", {"query": {"$nor": [SLOW]}}),
    "words": ("files/search", {"query": " OR ".join(f"word{number}" for number in range(60))}),
    "everything": ("files/query", {"query": {"*": {"$matches": "nothing of this"}}}),
    "paths": ("files/query", {"query": {"$or": [{f"rest.b{number}": 0} for number in range(90)]}}),
}


@pytest.mark.parametrize("name", HEAVY)
def test_a_query_that_takes_too_long_is_refused(hurried: Api, name: str) -> None:
    endpoint, body = HEAVY[name]
    answer = hurried.post(endpoint, body | {"truncate_metadata": True})
    assert answer.status_code == 400, answer.text[:300]
    assert "too long" in answer.json()["error"]
    assert hurried.ok("files/children", {"limit": 1})["count"] == OBJECTS


def searching() -> int:
    """Return how many threads look for objects."""
    found = 0
    for frame in sys._current_frames().values():
        names = set()
        here: Any = frame
        while here is not None:
            names.add(here.f_code.co_qualname)
            here = here.f_back
        found += "Store.query" in names
    return found


def send_query(server: LiveServer, token: str) -> socket.socket:
    parts = urlsplit(server.endpoint_url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
    body = orjson.dumps({"query": SLOW})
    head = (
        f"POST /api/1/files/query/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {len(body)}\r\n\r\n"
    )
    connection.sendall(head.encode() + body)
    return connection


@contextmanager
def queries(server: LiveServer, count: int) -> Iterator[list[socket.socket]]:
    with ExitStack() as stack:
        yield [stack.enter_context(send_query(server, server.token)) for _ in range(count)]


@pytest.mark.parametrize("leaves", ["closes", "resets", "ends its side"])
def test_a_query_ends_when_its_client_leaves(endless: LiveServer, leaves: str) -> None:
    with queries(endless, 1) as [connection]:
        wait_until(lambda: searching() == 1)
        if leaves == "resets":
            linger = (1).to_bytes(4, "little") + (0).to_bytes(4, "little")
            connection.setsockopt(socket.SOL_SOCKET, socket.SO_LINGER, linger)
        if leaves == "ends its side":
            connection.shutdown(socket.SHUT_WR)
        else:
            connection.close()
        wait_until(lambda: searching() == 0)


def test_queries_of_one_user_leave_room_for_others(endless: LiveServer) -> None:
    other = endless.add_user("other")
    api, datapacks = Api(endless.endpoint_url, other), Datapacks(endless.endpoint_url, other)
    with queries(endless, 60):
        wait_until(lambda: searching() == 2)
        api.file("mine", b"content", x=1)
        assert api.names() == ["mine"]
        assert api.ok("files/query", {"query": {"x": 1}})["result"][0]["name"] == "mine"
        assert datapacks.get("/datapacks").json() == {"items": []}
        # The one who asks too much can still see to his files.
        own = Api(endless.endpoint_url, endless.token)
        own.file("important", b"content")
        assert searching() == 2
    # What still waits for a thread when its client has left never gets one.
    wait_until(lambda: searching() == 0)
    assert own.ok("files/query", {"query": {"name": "important"}, "limit": 1})["result"]


def test_who_sends_too_much_at_once_is_told_when_to_come_back(
    endless: LiveServer, monkeypatch: pytest.MonkeyPatch
) -> None:
    application: Any = endless._recorder._app
    searches = application.state.workers.searches
    monkeypatch.setattr(searches, "most_waiting_each", 3)
    api = Api(endless.endpoint_url, endless.token)
    with queries(endless, 2):
        wait_until(lambda: searching() == 2)
        monkeypatch.setattr(searches, "longest_wait", 0.1)
        answer = api.post("files/query_count", {"query": {}})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        monkeypatch.setattr(searches, "longest_wait", PATIENCE)
        with queries(endless, 3):

            def crowded() -> bool:
                with send_query(endless, endless.token) as connection:
                    connection.settimeout(1)
                    try:
                        return connection.recv(100).startswith(b"HTTP/1.1 503 ")
                    except TimeoutError:
                        return False

            wait_until(crowded)
    wait_until(lambda: searches.is_idle)
    assert api.ok("files/query_count", {"query": {"name": "object 1"}}) == {"count": 1}


# Documents

MANY = 5
PARSING: dict[str, Callable[[Datapacks, str, int], requests.Response]] = {
    "list contents": lambda api, identifier, _: api.get(f"/datapacks/{identifier}/content"),
    "put a content": lambda api, identifier, number: api.put(identifier, f"file {number}", b"content"),
    "store a content": lambda api, identifier, _: api.post(
        f"/datapacks/{identifier}/content", files={"file": b"content"}
    ),
    "edit": lambda api, identifier, number: api.post(
        f"/datapacks/{identifier}", json={"structure": pack("edited", data("n", f"file {number}"))}
    ),
}


@pytest.mark.parametrize("name", PARSING)
def test_one_document_of_a_user_is_parsed_at_a_time(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    """A parsed document takes many times the memory of its text."""
    parsing: list[str] = []
    go_on = threading.Event()

    def loads(text: str) -> Any:
        parsing.append(text)
        assert go_on.wait(PATIENCE)
        return orjson.loads(text)

    monkeypatch.setattr(contents, "SMALL_DOCUMENT", 0)
    held = SimpleNamespace(loads=loads, dumps=orjson.dumps, JSONEncodeError=orjson.JSONEncodeError)
    with live_server() as server, ThreadPoolExecutor(MANY) as pool:
        application: Any = server._recorder._app
        workers = application.state.workers
        mine = [Datapacks(server.endpoint_url, server.token) for _ in range(MANY)]
        other = Datapacks(server.endpoint_url, server.add_user("other"))
        identifier = mine[0].create(pack("x", *[data("n", f"file {number}") for number in range(MANY)]))
        monkeypatch.setattr(structures, "orjson", held)
        answers = [pool.submit(PARSING[name], api, identifier, number) for number, api in enumerate(mine)]
        try:
            # All have arrived: each has a thread, or waits for one.
            wait_until(lambda: _present(workers.documents) + _present(workers.changes) == MANY and parsing)
            assert (len(parsing), workers.documents._size) == (1, MANY - 1)
            assert other.get("/datapacks").json() == {"items": []}
        finally:
            go_on.set()
        assert {answer.result().status_code for answer in answers} == {200}
        wait_until(lambda: workers.documents.is_idle)


@pytest.mark.parametrize("name", ["put a content", "store a content"])
def test_contents_of_small_documents_are_stored_together(monkeypatch: pytest.MonkeyPatch, name: str) -> None:
    together = threading.Barrier(MANY)
    known = contents.known_contents

    def waiting(*arguments: Any) -> Any:
        together.wait(PATIENCE)
        return known(*arguments)

    monkeypatch.setattr(contents, "known_contents", waiting)
    with live_server() as server, ThreadPoolExecutor(MANY) as pool:
        mine = [Datapacks(server.endpoint_url, server.token) for _ in range(MANY)]
        identifier = mine[0].create(pack("x", *[data("n", f"file {number}") for number in range(MANY)]))
        answers = [pool.submit(PARSING[name], api, identifier, number) for number, api in enumerate(mine)]
        assert {answer.result().status_code for answer in answers} == {200}


def _present(queue: FairQueue[int]) -> int:
    return sum(queue._working.values()) + queue._size


# Bodies


@pytest.fixture(scope="module")
def impatient() -> Iterator[Api]:
    """A server that has next to no time for reading what it is sent."""
    with live_server(configure=lambda settings: replace(settings, parse_timeout=1e-6)) as server:
        yield Api(server.endpoint_url, server.token)


NUMBERS = list(range(20_000))


def send_datapack(api: Api) -> requests.Response:
    token = str(api.session.headers["Authorization"]).split()[1]
    structure = pack("x", *[data(f"node {number}", "a") for number in range(500)])
    return Datapacks(api.endpoint_url, token).post("/datapacks", json={"name": "x", "structure": structure})


LARGE: dict[str, Callable[[Api], requests.Response]] = {
    "JSON": lambda api: api.post("files/create_object", {"name": "x", "metadata": {"values": NUMBERS}}),
    "a query": lambda api: api.post("files/query", {"query": {"x": {"$in": NUMBERS}}}),
    "a form": lambda api: api.form("files/create_object", {"name": "x", "values": str(NUMBERS)}),
    "fields of an upload": lambda api: api.upload(b"content", name="x", metadata={"values": NUMBERS}),
    "fields of many uploads": lambda api: api.upload(
        b"", "files/upload_many", files=[{"name": "x", "size": 0, "metadata": {"values": NUMBERS}}]
    ),
    "parts": lambda api: api.session.post(
        api.url("files/create_object"), files={"json": (None, json.dumps({"name": "x", "values": NUMBERS}))}
    ),
    "rows of a table": lambda api: api.post("objects", {"data": [NUMBERS], "name": "x"}),
    "a datapack": send_datapack,
}


@pytest.mark.parametrize("name", LARGE)
def test_a_body_that_takes_too_long_to_read_is_refused(impatient: Api, name: str) -> None:
    answer = LARGE[name](impatient)
    assert answer.status_code == 400, answer.text[:300]
    assert "too long" in answer.json()["error"]
    assert impatient.names() == []
    impatient.ok("files/query_count", {"query": {}})


def test_a_body_is_no_longer_read_when_its_client_has_left(tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path)
    gone = CLIENT_GONE.set(lambda: True)
    try:
        for raw in (b"[0]", b'{"a": {}}'):
            with pytest.raises(BadRequest):
                in_time(settings, partial(parse_json, raw, settings))
    finally:
        CLIENT_GONE.reset(gone)
    assert in_time(settings, partial(parse_json, b"[0]", settings)) == [0]


@pytest.mark.parametrize(
    "fields",
    [
        {"tags": ["a"] * (MAX_TAGS + 1)},
        {"versions": [1] * (MAX_IDS + 1)},
        {f"key {number}": number for number in range(MAX_FIELDS)},
    ],
)
def test_what_is_checked_at_once_is_bounded(hurried: Api, fields: dict[str, Any]) -> None:
    for endpoint in ("create_object", "create_folder", "update"):
        answer = hurried.post(f"files/{endpoint}", {"id": 1, "name": "many", **fields})
        assert (answer.status_code, "at most" in answer.text) == (400, True), answer.text[:300]


# Memory

KEPT = [
    ("/api/1/files/create_object/", b'{"name": "', 900_000),
    ("/api/v1.0/datapacks", b'{"name": "', 900_000),
]


@pytest.fixture(scope="module")
def forgetful() -> Iterator[LiveServer]:
    """A server that keeps little in memory: 4 MB of bodies, and 1 MB of those of one user."""
    with live_server(configure=lambda settings: replace(settings, max_body_bytes=4_000_000)) as server:
        yield server


def begin_body(server: LiveServer, token: str, path: str, begin: bytes, size: int) -> socket.socket:
    parts = urlsplit(server.endpoint_url)
    connection = socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE)
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {size + 1000}\r\n\r\n"
    )
    connection.sendall(head.encode() + begin + b"x" * (size - len(begin)))
    return connection


@pytest.mark.parametrize(("path", "begin", "size"), KEPT)
def test_bodies_that_are_kept_in_memory_are_bounded(
    forgetful: LiveServer, path: str, begin: bytes, size: int
) -> None:
    server = forgetful
    other = Api(server.endpoint_url, server.add_user(f"other {path}".replace("/", " ")))
    application: Any = server._recorder._app
    memory = application.state.workers.memory
    with begin_body(server, server.token, path, begin, size):
        wait_until(lambda: memory._total - memory._free == size)
        with begin_body(server, server.token, path, begin, size) as second:
            assert second.recv(100).startswith(b"HTTP/1.1 503 ")
        other.ok("files/create_object", {"name": "large", "metadata": {"text": "x" * size}}, 201)
        wait_until(lambda: memory._total - memory._free == size)
    wait_until(lambda: memory._free == memory._total and not memory._used)
    api = Api(server.endpoint_url, server.token)
    api.ok("files/create_object", {"name": f"{size} {path[-9:-1]}", "metadata": {"text": "x" * size}}, 201)


def test_uploads_that_are_received_at_the_same_time_keep_little_in_memory(
    monkeypatch: pytest.MonkeyPatch,
) -> None:
    sinks: list[Sink] = []
    start = Sink.__init__

    def noted(sink: Sink, *args: Any, **options: Any) -> None:
        start(sink, *args, **options)
        sinks.append(sink)

    monkeypatch.setattr(Sink, "__init__", noted)
    most_bytes = (
        16_000_000  # and 4 MB of one user, half of which are held before what comes is written at once
    )
    with live_server(configure=lambda settings: replace(settings, max_body_bytes=most_bytes)) as server:
        send_slow_uploads(server, sinks)


def send_slow_uploads(server: LiveServer, sinks: list[Sink]) -> None:
    application: Any = server._recorder._app
    memory = application.state.workers.memory
    size, parts = 900_000, urlsplit(server.endpoint_url)
    payload = 'Rinocloud-API-Payload: {"name": "slow %d"}'
    head = (
        "POST /api/1/files/upload_binary/ HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n"
        f"Authorization: Token {server.token}\r\n{payload}\r\nContent-Length: {size}\r\n\r\n"
    )
    with ExitStack() as stack:
        where = parts.hostname or "", parts.port or 0
        clients = [stack.enter_context(socket.create_connection(where, timeout=PATIENCE)) for _ in range(8)]
        for number, client in enumerate(clients):
            client.sendall((head % number).encode())
        # All but the last bytes, so that what is held of them stays for as long as one likes to look.
        for number, client in enumerate(clients):
            client.sendall(bytes([number]) * (size - 1))
        wait_until(lambda: sum(sink._size for sink in sinks) == 8 * (size - 1))
        assert memory._total - memory._free <= 2_000_000 + 8 * 256 * 1024
        for number, client in enumerate(clients):
            client.sendall(bytes([number]))
            assert client.recv(100).startswith(b"HTTP/1.1 201 ")
    api = Api(server.endpoint_url, server.token)
    names = {record["name"]: record["id"] for record in api.ok("files/children", {"limit": 100})["result"]}
    for number in range(8):
        assert api.content(names[f"slow {number}"]) == bytes([number]) * size
    wait_until(lambda: memory._free == memory._total)


# The queue of threads

MOST, EACH = 64, 8


def test_those_who_wait_take_turns() -> None:
    order: list[str] = []
    release = threading.Event()

    async def run() -> None:
        queue = FairQueue[str](
            1, 1, most_waiting=MOST, most_waiting_each=EACH
        )  # of two threads, either may pause

        def work(name: str) -> None:
            release.wait()
            order.append(name)

        many = [asyncio.create_task(queue.run("one who asks much", partial(work, "many"))) for _ in range(8)]
        await asyncio.sleep(0.01)
        one = asyncio.create_task(queue.run("another one", partial(work, "one")))
        await asyncio.sleep(0.01)
        release.set()
        await asyncio.gather(one, *many)

    asyncio.run(run())
    assert order.index("one") <= 2  # one was being looked at, and one more was first in the queue
    assert len(order) == 9


def test_who_sends_too_many_is_refused_and_no_other() -> None:
    release = threading.Event()

    async def run() -> list[BaseException]:
        queue = FairQueue[str](2, 2, most_waiting=MOST, most_waiting_each=EACH)
        many = [asyncio.create_task(queue.run("10.0.0.1", release.wait)) for _ in range(40)]
        await asyncio.sleep(0.01)
        other = asyncio.create_task(queue.run("10.0.0.2", release.wait))
        crowd = [
            asyncio.create_task(queue.run(f"10.1.0.{number}", release.wait)) for number in range(2 * MOST)
        ]
        await asyncio.sleep(0.01)
        release.set()
        done = await asyncio.gather(*many, other, *crowd, return_exceptions=True)
        refused = [one for one in done if isinstance(one, BaseException)]
        assert {type(one) for one in refused} == {Unavailable}
        assert all(isinstance(one, Unavailable) and one.headers["Retry-After"] for one in refused)
        assert done[40] is True
        return [one for one in done[:40] if isinstance(one, BaseException)]

    assert len(asyncio.run(run())) == 40 - 2 - EACH


def test_who_leaves_gives_its_turn_to_the_next() -> None:
    release = threading.Event()

    async def run() -> None:
        queue = FairQueue[str](2, 2, most_waiting=MOST, most_waiting_each=EACH)
        running = [asyncio.create_task(queue.run("10.0.0.1", release.wait)) for _ in range(2)]
        await asyncio.sleep(0.01)
        leaving = [asyncio.create_task(queue.run("10.0.0.1", release.wait)) for _ in range(8)]
        await asyncio.sleep(0.01)
        for task in leaving:
            task.cancel()
        staying = asyncio.create_task(queue.run("10.0.0.1", release.wait))
        await asyncio.sleep(0.01)
        release.set()
        await asyncio.gather(staying, *running)
        assert queue.is_idle

    asyncio.run(asyncio.wait_for(run(), 60))


def test_who_waits_too_long_is_refused_and_leaves_nothing() -> None:
    release = threading.Event()

    async def run() -> None:
        queue = FairQueue[int](2, 1, longest_wait=0.05)
        running = [asyncio.create_task(queue.run(1, release.wait))]
        await asyncio.sleep(0.01)
        with pytest.raises(Unavailable):  # though a thread is free, which is for others
            await queue.run(1, release.wait)
        running.append(asyncio.create_task(queue.run(2, release.wait)))
        release.set()
        assert await asyncio.gather(*running) == [True, True]
        assert queue.is_idle

    asyncio.run(asyncio.wait_for(run(), 60))


def test_any_order_of_coming_and_leaving_leaves_the_queue_empty() -> None:
    async def run(chance: random.Random) -> None:
        queue = FairQueue[int](3, 2, most_waiting=10, most_waiting_each=4, longest_wait=0.02)
        most = 0

        def work() -> None:
            nonlocal most
            most = max(most, 3 - queue._free)
            time.sleep(chance.random() / 300)

        tasks = [asyncio.create_task(queue.run(chance.randrange(4), work)) for _ in range(25)]
        for task in tasks:
            if chance.random() < 0.5:
                await asyncio.sleep(chance.random() / 300)
            if chance.random() < 0.3:
                task.cancel()
        done = await asyncio.gather(*tasks, return_exceptions=True)
        kinds = {type(one) for one in done}
        assert kinds <= {type(None), Unavailable, asyncio.CancelledError}
        assert most <= 3
        assert queue.is_idle

    for seed in range(rounds(30, 3000)):
        asyncio.run(asyncio.wait_for(run(random.Random(seed)), 60))
