from __future__ import annotations

import hashlib
import http.client
import json
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import orjson
import pytest
import requests
from blake3 import blake3
from sqlalchemy import func, select

from rinofs.server.blobs.store import SHA256_AT_ONCE
from rinofs.server.catalog.database import OUTCOME_LIFETIME, Repeated, RequestKey
from rinofs.server.catalog.records import Change, NewObject
from rinofs.server.catalog.store import made_before
from rinofs.server.catalog.tables import outcomes
from rinofs.testing import Fault, LiveServer, live_server
from tests.forkserver import server_process
from tests.server.packs import Api as Datapacks
from tests.server.packs import data, pack

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with live_server() as server:
        yield server


class Client:
    """Sends requests with a key."""

    def __init__(self, url: str, token: str) -> None:
        self._base = f"{url}/api/1/files/"
        self._headers = {"Authorization": f"Token {token}"}
        self.datapacks = Datapacks(url, token)

    def post(
        self, endpoint: str, key: str | None, payload: dict[str, Any] | None = None, **how: Any
    ) -> requests.Response:
        headers = self._headers | ({"Idempotency-Key": key} if key is not None else {})
        if payload is not None:
            headers["Rinocloud-API-Payload"] = json.dumps(payload)
        return requests.post(f"{self._base}{endpoint}/", headers=headers, timeout=30, **how)

    def names(self) -> list[str]:
        answer = self.post("children", None, json={"limit": 1000}).json()
        return [record["name"] for record in answer["result"]]


@pytest.fixture
def client(server: LiveServer) -> Client:
    return Client(server.endpoint_url, server.token)


def upload(name: str = "f", content: bytes = b"content", **parts: Any) -> dict[str, Any]:
    # Otherwise what is uploaded again would be the same object, key or no key.
    fields = json.dumps({"name": name, "new_version": True})
    return {"files": {"json": (None, fields), **parts, "file": ("f", content)}}


CREATING = [
    ("create_folder", {"json": {"name": "f"}}),
    ("create_folder_if_not_exist", {"json": {"name": "f"}}),
    ("create_object", {"json": {"name": "f", "x": 1}}),
    ("create_empty", {"data": {"name": "f", "x": "1"}}),
    ("upload", upload()),
    ("upload_multipart", upload()),
]


@pytest.mark.parametrize(("endpoint", "how"), CREATING)
def test_the_first_answer_is_given_again(client: Client, endpoint: str, how: dict[str, Any]) -> None:
    # Multipart bodies of the same content differ in their boundary.
    first, second = client.post(endpoint, "key-1", **how), client.post(endpoint, "key-1", **how)
    assert (first.status_code, second.status_code) == (201, 201)
    assert second.content == first.content
    assert second.headers["Content-Type"] == "application/json"
    assert [answer.headers.get("Idempotency-Replayed") for answer in (first, second)] == [None, "true"]
    assert client.names() == ["f"]


def test_copying(client: Client) -> None:
    number = client.post("upload", None, **upload()).json()["id"]
    folder = client.post("create_folder", None, json={"name": "d"}).json()["id"]
    how = {"json": {"items": [number], "parent": folder}}
    first, second = client.post("copy", "key-1", **how), client.post("copy", "key-1", **how)
    assert first.status_code == 201
    assert second.content == first.content
    assert client.post("children", None, json={"id": folder}).json()["count"] == 1


MINE_AND_THEIRS: dict[str, tuple[str, dict[str, Any], str, dict[str, Any]]] = {
    # Endpoint and body of a change, and of what another client changes before it is repeated.
    "update": ("update", {"id": "FILE", "x": "mine"}, "update", {"id": "FILE", "x": "theirs"}),
    "its other name": (
        "update_metadata",
        {"id": "FILE", "x": "mine"},
        "update",
        {"id": "FILE", "x": "theirs"},
    ),
    "rename": ("update", {"id": "FILE", "name": "mine"}, "update", {"id": "FILE", "name": "theirs"}),
    "tags": ("update", {"id": "FILE", "tags": ["mine"]}, "update", {"id": "FILE", "tags": ["theirs"]}),
    "create an existing one": (
        "create_object",
        {"id": "FILE", "metadata": {"x": "mine"}},
        "update",
        {"id": "FILE", "metadata": {"x": "theirs"}},
    ),
    "delete a field": (
        "delete_metadata_field",
        {"id": "FILE", "field": "x"},
        "update",
        {"id": "FILE", "x": "theirs"},
    ),
    "move": ("move", {"items": ["FILE"], "parent": "FOLDER"}, "move", {"items": ["FILE"], "parent": None}),
}


@pytest.mark.parametrize("name", MINE_AND_THEIRS)
def test_a_repeated_change_undoes_nothing(client: Client, name: str) -> None:
    numbers = {
        "FILE": client.post("upload", None, **upload()).json()["id"],
        "FOLDER": client.post("create_folder", None, json={"name": "folder"}).json()["id"],
    }
    client.post("update", None, json={"id": numbers["FILE"], "x": "before"})

    def filled(body: dict[str, Any]) -> dict[str, Any]:
        return json.loads(
            json.dumps(body)
            .replace('"FILE"', str(numbers["FILE"]))
            .replace('"FOLDER"', str(numbers["FOLDER"]))
        )

    def record() -> Any:
        return client.post("get_metadata", None, json={"id": numbers["FILE"]}).json()

    endpoint, mine, other_endpoint, theirs = MINE_AND_THEIRS[name]
    first = client.post(endpoint, "key-1", json=filled(mine))
    assert first.ok, first.text
    assert client.post(other_endpoint, None, json=filled(theirs)).ok
    there = record()
    second = client.post(endpoint, "key-1", json=filled(mine))
    assert (second.status_code, second.content) == (first.status_code, first.content)
    assert [answer.headers.get("Idempotency-Replayed") for answer in (first, second)] == [None, "true"]
    assert record() == there
    assert client.post(endpoint, "key-1", json=filled(theirs)).status_code in {400, 422}
    assert client.post(endpoint, None, json=filled(mine)).ok
    assert record() != there


LARGE_VALUE = "y" * 30_000
LARGE_DETAILS: dict[str, Any] = {
    "metadata": {"metadata": {"x": LARGE_VALUE}},
    "tags": {"tags": [LARGE_VALUE]},
    "versions": {"metadata": {"x": "y" * 15_000}, "tags": ["z" * 2_000]},
}
KEPT = 4096
"""Most bytes of a stored outcome with one record without its details."""


def kept(server: LiveServer) -> int:
    """Return the size of all stored outcomes."""
    with server._services.database.read() as connection:
        return int(connection.scalar(select(func.sum(func.length(outcomes.c.outcome)))) or 0)


CHANGING_LARGE: list[tuple[str, dict[str, Any]]] = [
    ("create_folder", {"name": "new", "DETAILS": True}),
    ("create_object", {"name": "new", "DETAILS": True}),
    ("create_object", {"name": "object", "DETAILS": True}),
    ("update", {"id": "OBJECT", "y": "mine"}),
    ("update", {"id": "OBJECT", "name": "new"}),
    ("delete_metadata_field", {"id": "OBJECT", "field": "z"}),
    ("move", {"items": ["OBJECT"], "parent": "FOLDER"}),
    ("copy", {"items": ["OBJECT"], "parent": "FOLDER"}),
]


@pytest.mark.parametrize("details", LARGE_DETAILS)
@pytest.mark.parametrize(("endpoint", "body"), CHANGING_LARGE)
def test_large_details_are_not_stored_again_with_the_outcome(
    server: LiveServer, client: Client, endpoint: str, body: dict[str, Any], details: str
) -> None:
    large = LARGE_DETAILS[details]
    numbers = {
        "OBJECT": client.post("create_object", None, json={"name": "object", **large}).json()["id"],
        "FOLDER": client.post("create_folder", None, json={"name": "folder"}).json()["id"],
    }
    client.post("update", None, json={"id": numbers["OBJECT"], "y": "before", "z": 1})
    filled = {name: numbers.get(value, value) for name, value in body.items() if isinstance(value, str)}
    filled |= {"items": [numbers["OBJECT"]]} if "items" in body else {}
    filled |= large if "DETAILS" in body else {}
    first = client.post(endpoint, "key-1", json=filled)
    assert first.ok, first.text
    assert len(first.content) > 15_000
    assert 0 < kept(server) < KEPT
    second = client.post(endpoint, "key-1", json=filled)
    assert second.headers["Idempotency-Replayed"] == "true"
    assert (second.status_code, second.content) == (first.status_code, first.content)

    def record(answer: requests.Response) -> Any:
        said = answer.json()
        return said["result"][0] if "result" in said else said

    number = record(first)["id"]
    changed = {"name": "theirs", "metadata": {"theirs": LARGE_VALUE}, "tags": ["theirs"]}
    assert client.post("update", None, json={"id": number, **changed}).ok
    now = record(client.post(endpoint, "key-1", json=filled))
    assert (now["metadata"], now["tags"]) == (changed["metadata"], changed["tags"])
    assert now["name"] == record(first)["name"]
    assert client.post("delete", None, json={"id": number}).ok
    gone = record(client.post(endpoint, "key-1", json=filled))
    nothing = {"metadata": {}, "tags": [], "versions": []}
    assert gone == record(first) | nothing


def test_many_changes_of_an_object_with_large_metadata_store_little(
    server: LiveServer, client: Client
) -> None:
    body = {"name": "object", "metadata": {"x": "y" * 900_000}}
    number = client.post("create_object", "key-1", json=body).json()["id"]
    folders = [client.post("create_folder", None, json={"name": name}).json()["id"] for name in "ab"]
    for turn in range(20):
        assert client.post("update", f"u{turn}", json={"id": number, "small": turn}).ok
        moved = {"items": [number], "parent": folders[turn % 2]}
        assert client.post("move", f"m{turn}", json=moved).ok
    assert kept(server) < 41 * KEPT


def test_objects_that_are_large_together_store_little(server: LiveServer, client: Client) -> None:
    made = [
        client.post("create_object", None, json={"name": f"o{number}", "x": "y" * 1000}).json()["id"]
        for number in range(40)
    ]
    folder = client.post("create_folder", None, json={"name": "folder"}).json()["id"]
    body = {"items": made, "parent": folder}
    first, size = client.post("move", "key-1", json=body), kept(server)
    assert client.post("delete", None, json={"id": made[0]}).ok
    second = client.post("move", "key-1", json=body)
    assert 0 < size < 40 * 1000
    wanted = first.json()["result"]
    wanted[0]["metadata"] = {}
    assert second.json()["result"] == wanted


def test_an_outcome_of_the_release_before_is_as_it_was(server: LiveServer, client: Client) -> None:
    """It was stored with all metadata, and one of this release can be read by workers of that one."""
    services = server._services
    user = services.accounts.user("rino")
    assert user is not None
    store, key = services.store, RequestKey("key-1", "digest")
    made = store.create_object(user, NewObject(None, "o", metadata={"x": LARGE_VALUE}))
    with services.database.once(user.id, key) as unit:
        unit.keep([made])
    change = Change(metadata={"x": "z" + LARGE_VALUE})
    changed = store.update(user, made.id, change, key=RequestKey("key-2", "digest"))
    with pytest.raises(Repeated) as repeated:
        store.update(user, made.id, change, key=key)
    assert made_before(repeated.value) == [made]
    with pytest.raises(Repeated) as stored, services.database.once(user.id, RequestKey("key-2", "digest")):
        pass
    (read,) = made_before(stored.value)
    shown = json.loads(orjson.dumps(read.to_json(user)))
    assert shown == json.loads(orjson.dumps(changed.to_json(user))) | {"metadata": {}}


def test_without_a_key_every_request_counts(client: Client) -> None:
    numbers = [client.post("upload", None, **upload()).json()["id"] for _ in range(2)]
    assert numbers[0] != numbers[1]


def test_another_key_is_another_request(client: Client) -> None:
    numbers = [client.post("upload", key, **upload()).json()["id"] for key in ("a", "b", '"c"', "c")]
    assert len(set(numbers)) == 3
    assert numbers[2] == numbers[3]


@pytest.mark.parametrize(
    ("endpoint", "how"),
    [
        ("upload", upload("g")),
        ("upload", upload(content=b"else")),
        ("upload_multipart", upload()),
        ("create_object", {"json": {"name": "f"}}),
    ],
)
def test_a_key_of_another_request_is_refused(client: Client, endpoint: str, how: dict[str, Any]) -> None:
    assert client.post("upload", "key-1", **upload()).status_code == 201
    refused = client.post(endpoint, "key-1", **how)
    assert refused.status_code == 422
    assert "Idempotency-Key" in refused.json()["error"]
    assert client.names() == ["f"]


def test_keys_belong_to_their_users(server: LiveServer, client: Client) -> None:
    other = Client(server.endpoint_url, server.add_user("other"))
    mine, theirs = client.post("upload", "key-1", **upload()), other.post("upload", "key-1", **upload())
    assert mine.json()["id"] != theirs.json()["id"]
    assert theirs.status_code == 201


def test_a_request_that_failed_may_be_sent_again(client: Client) -> None:
    client.post("create_folder", None, json={"name": "f"})
    assert client.post("create_object", "key-1", json={"name": "f"}).status_code == 409
    number = client.post("query", None, json={"query": {"name": "f"}}).json()["result"][0]["id"]
    client.post("delete", None, json={"id": number})
    assert client.post("create_object", "key-1", json={"name": "f"}).status_code == 201


@pytest.mark.parametrize("key", ["", "x" * 256, "a b", "\x80", '"open'])
def test_keys_that_are_none(client: Client, key: str) -> None:
    assert client.post("create_object", key, json={"name": "f"}).status_code == 400
    assert client.names() == []


@pytest.mark.parametrize(("endpoint", "how"), CREATING)
def test_many_at_once_are_one(client: Client, endpoint: str, how: dict[str, Any]) -> None:
    with ThreadPoolExecutor(12) as pool:
        answers = list(pool.map(lambda _: client.post(endpoint, "key-1", **how), range(24)))
    assert {answer.status_code for answer in answers} == {201}
    assert len({answer.content for answer in answers}) == 1
    assert client.names() == ["f"]


def test_a_lost_answer_can_be_asked_for_again(server: LiveServer, client: Client) -> None:
    server.faults = lambda _, path: Fault(lose_answer=True) if "upload" in path else None
    with pytest.raises(requests.ConnectionError):
        client.post("upload", "key-1", **upload())
    server.faults = None
    again = client.post("upload", "key-1", **upload())
    assert again.headers["Idempotency-Replayed"] == "true"
    assert client.names() == ["f"]
    assert again.json()["versions"] == []


def test_a_killed_server_remembers(tmp_path: Path) -> None:
    """The answer is in the same transaction as the work: after a crash both are there, or neither."""
    with server_process(tmp_path, "--token", "t") as server:
        first = Client(server.endpoint_url, "t").post("upload", "key-1", **upload())
        server.kill()
    with server_process(tmp_path) as server:
        second = Client(server.endpoint_url, "t").post("upload", "key-1", **upload())
    assert second.content == first.content


LARGE = bytes(range(256)) * (3 * SHA256_AT_ONCE // 256)
BLAKE3_PART = {"blake3": (None, blake3(LARGE).hexdigest())}
SHA256_PART = {"sha256": (None, hashlib.sha256(LARGE).hexdigest())}
LARGE_UPLOADS: dict[str, Callable[[Client], requests.Response]] = {
    "parts": lambda client: client.post("upload", "key-1", **upload(content=LARGE)),
    "parts, BLAKE3": lambda client: client.post("upload", "key-1", **upload(content=LARGE, **BLAKE3_PART)),
    "parts, SHA-256": lambda client: client.post("upload", "key-1", **upload(content=LARGE, **SHA256_PART)),
    "binary": lambda client: client.post(
        "upload_binary", "key-1", payload={"name": "f", "new_version": True}, data=LARGE
    ),
    "content of a datapack": lambda client: put_large(client),
    "content of a datapack, SHA-256": lambda client: put_large(client, **SHA256_PART),
}


def put_large(client: Client, **parts: Any) -> requests.Response:
    found = client.datapacks.get("/user").json()["datapacks"]
    identifier = found[0] if found else client.datapacks.create(pack("x", data("n", "f")))
    return client.datapacks.post(
        f"/datapacks/{identifier}/content/f",
        files={**parts, "file": LARGE},
        headers={"Idempotency-Key": "key-1"},
    )


@pytest.mark.parametrize("memory", [(1, 256), (256, 1)], ids=["busy, idle", "idle, busy"])
@pytest.mark.parametrize("name", LARGE_UPLOADS)
def test_a_large_upload_is_the_same_however_busy_the_server(
    tmp_path: Path, name: str, memory: tuple[int, int]
) -> None:
    """A server with little memory left writes what arrives at once, and takes other digests of it."""
    answers = []
    for size in memory:
        limit = partial(replace, max_body_bytes=size * 1024 * 1024)
        with live_server(data_dir=tmp_path, token="t", configure=limit) as server:
            answers.append(LARGE_UPLOADS[name](Client(server.endpoint_url, "t")))
    first, second = answers
    assert (first.ok, second.ok) == (True, True), second.text
    assert second.headers["Idempotency-Replayed"] == "true"
    assert second.content == first.content


def test_answers_are_kept_for_a_day(server: LiveServer, client: Client) -> None:
    first = client.post("upload", "key-1", **upload()).json()["id"]

    def age(seconds: float) -> int:
        with sqlite3.connect(server.data_dir / "rinofs.sqlite3") as connection:
            connection.execute("UPDATE outcomes SET created = ?", (int(time.time() - seconds),))
        connection.close()
        return int(client.post("upload", "key-1", **upload()).json()["id"])

    assert age(OUTCOME_LIFETIME - 60) == first
    assert age(OUTCOME_LIFETIME + 60) != first
    client.post("upload", "key-2", **upload())
    with sqlite3.connect(server.data_dir / "rinofs.sqlite3") as connection:
        assert connection.execute("SELECT count(*) FROM outcomes").fetchone() == (2,)
    connection.close()


def test_the_published_api_has_no_keys() -> None:
    with live_server(extensions=False) as server:
        client = Client(server.endpoint_url, server.token)
        numbers = [
            client.post("upload", "key-1", **upload(content=content)).json()["id"] for content in (b"1", b"2")
        ]
    assert numbers[0] != numbers[1]


def test_a_client_that_gave_up_holds_nobody_up(server: LiveServer, client: Client) -> None:
    parts = urlsplit(server.endpoint_url)
    assert parts.hostname
    headers = {"Authorization": f"Token {server.token}", "Idempotency-Key": "key-1"}
    for _ in range(5):
        connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
        connection.request("POST", "/api/1/files/create_object/", b'{"name": "f"}', headers)
        connection.close()
    assert client.post("create_object", "key-1", json={"name": "f"}).status_code == 201
    assert client.names() == ["f"]
