"""A request ends when its time is over or its client has left, and users share the threads."""

from __future__ import annotations

import socket
import sys
from contextlib import ExitStack, contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
import pytest

from rinofs.server.api import calls
from rinofs.testing import LiveServer, live_server
from tests.server.client import Api
from tests.server.packs import Api as Datapacks
from tests.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.server.settings import ServerSettings

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
    monkeypatch.setattr(calls, "MOST_WAITING", 3)
    api = Api(endless.endpoint_url, endless.token)
    with queries(endless, 2):
        wait_until(lambda: searching() == 2)
        monkeypatch.setattr(calls, "LONGEST_WAIT", 0.1)
        answer = api.post("files/query_count", {"query": {}})
        assert answer.status_code == 503
        assert int(answer.headers["retry-after"]) > 0
        monkeypatch.setattr(calls, "LONGEST_WAIT", PATIENCE)
        with queries(endless, 3):

            def crowded() -> bool:
                with send_query(endless, endless.token) as connection:
                    connection.settimeout(1)
                    try:
                        return connection.recv(100).startswith(b"HTTP/1.1 503 ")
                    except TimeoutError:
                        return False

            wait_until(crowded)
    wait_until(lambda: searching() == 0)
    assert api.ok("files/query_count", {"query": {"name": "object 1"}}) == {"count": 1}
