"""A full disk: uploads are refused, and all that makes room or only reads goes on."""

from __future__ import annotations

import os
import subprocess
import uuid
from typing import TYPE_CHECKING, Any

import pytest
import requests

from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing import LiveServer, live_server
from tests.server.client import Api
from tests.server.packs import Api as Datapacks
from tests.server.packs import data, pack

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

MIB = 1024 * 1024


@pytest.fixture
def disk(tmp_path: Path) -> Iterator[Path]:
    folder = tmp_path / "disk"
    folder.mkdir()
    mounted = subprocess.run(
        ["mount", "-t", "tmpfs", "-o", "size=48m", "tmpfs", folder], capture_output=True, check=False
    )
    if mounted.returncode:
        pytest.skip("only root can mount a small disk")
    yield folder
    subprocess.run(["umount", "-l", folder], check=True)


@pytest.fixture
def server(disk: Path) -> Iterator[LiveServer]:
    with live_server(data_dir=disk / "data") as server:
        yield server


def fill(api: Api) -> dict[str, bytes]:
    """Upload until nothing more fits; return what was acknowledged."""
    stored: dict[str, bytes] = {}
    for size in (4 * MIB, MIB, 100_000, 1000):
        while True:
            name, content = f"file {len(stored)}", os.urandom(size)
            answer = api.upload(content, name=name)
            if answer.status_code != 201:
                assert answer.status_code == 507, answer.text
                assert "full" in answer.json()["error"]
                break
            stored[name] = content
    return stored


def log_in(server: LiveServer) -> requests.Response:
    return requests.post(
        f"{server.endpoint_url}/o/token/",
        data={"grant_type": "password", "username": server.username, "password": server.password},
        timeout=60,
    )


def test_uploads_are_refused_and_the_rest_goes_on(server: LiveServer) -> None:
    assert server.password
    api, datapacks = Api(server.endpoint_url, server.token), Datapacks(server.endpoint_url, server.token)
    identifier = datapacks.create(pack("pack", data("a", "a")))
    stored = fill(api)
    metadata = {"x": "y" * 900_000}
    refused: list[Any] = [
        api.upload(b"x" * MIB, name="more"),
        api.upload(b"x" * 10, "files/upload_many", files=[{"name": "many", "size": 10}]),
        api.post("files/create_object", {"name": "object", "metadata": metadata}),
        api.post("files/create_folder", {"name": "folder"}),
        datapacks.put(identifier, "a", b"content"),
    ]
    assert {answer.status_code for answer in refused} == {507}
    for _ in range(3):
        assert log_in(server).status_code == 200
    assert requests.get(f"{server.endpoint_url}/ready", timeout=60).status_code == 200
    assert set(api.names()) == set(stored)
    first, second, *rest = stored
    for name in (first, second):
        number = api.ok("files/get_metadata", {"path": [name]})["id"]
        assert api.post("files/delete", {"id": number}).status_code == 204
    # What was deleted makes room at once.
    stored["after"] = os.urandom(2 * MIB)
    api.file("after", stored["after"])
    for name in [*rest, "after"]:
        assert api.content(api.ok("files/get_metadata", {"path": [name]})["id"]) == stored[name]
    assert datapacks.delete(f"/datapacks/{identifier}").status_code == 200


def test_outcomes_of_repeatable_requests_do_not_use_up_the_reserve(server: LiveServer) -> None:
    api = Api(server.endpoint_url, server.token)
    body = {"name": "object", "metadata": {"x": "y" * 900_000}}
    number = api.ok("files/create_object", body, 201)["id"]
    fill(api)
    changes: dict[str, Any] = {
        "files/delete_metadata_field": {"id": number, "field": "absent"},
        "files/move": {"id": number, "parent": None, "name": "moved"},
        "files/update": {"id": number, "name": "object"},
    }
    for endpoint, change in changes.items():
        for _ in range(20):
            answer = api.post(endpoint, change, headers={"Idempotency-Key": uuid.uuid4().hex})
            assert answer.status_code == 507, (endpoint, answer.text)
    assert api.post("files/delete_metadata_field", {"id": number, "field": "absent"}).status_code == 200
    assert api.post("files/delete", {"id": number}).status_code == 204


def test_a_repeated_request_gets_its_stored_outcome(server: LiveServer) -> None:
    api = Api(server.endpoint_url, server.token)
    number = api.ok("files/create_object", {"name": "object", "x": 1}, 201)["id"]
    key, other = ({"Idempotency-Key": uuid.uuid4().hex} for _ in range(2))
    change = {"id": number, "field": "x"}
    first = api.post("files/delete_metadata_field", change, headers=key)
    assert first.status_code == 200
    fill(api)
    again = api.post("files/delete_metadata_field", change, headers=key)
    assert (again.status_code, again.headers.get("idempotency-replayed")) == (200, "true"), again.text
    assert again.json() == first.json()
    assert api.post("files/delete_metadata_field", change, headers=other).status_code == 507


def test_nothing_that_was_acknowledged_is_lost(disk: Path) -> None:
    with live_server(data_dir=disk / "data") as server:
        stored = fill(Api(server.endpoint_url, server.token))
    services = open_services(ServerSettings(disk / "data"))
    user = services.accounts.user("rino")
    assert user is not None
    for name, content in stored.items():
        record = services.store.get(user, [name])
        assert record.key is not None
        with services.blobs.open_range(record.key, len(content)) as reader:
            assert b"".join(iter(lambda: reader.read(MIB), b"")) == content
    services.close()


def used(server: LiveServer) -> int:
    return sum(path.stat().st_size for path in (server.data_dir / "blobs").rglob("*") if path.is_file())


def test_replaced_and_deleted_contents_are_removed_at_once() -> None:
    with live_server() as server:
        api = Api(server.endpoint_url, server.token)
        number = api.file("log", b"x" * 5 * MIB)["id"]
        for _ in range(8):
            api.ok("files/append", {"id": number, "chunk": "y"})
        assert used(server) == 5 * MIB + 8
        shared = api.ok("files/copy", {"items": [number], "name": "shared"}, 201)["result"][0]["id"]
        api.ok("files/append", {"id": number, "chunk": "z"})
        assert used(server) == 2 * (5 * MIB + 8) + 1
        assert api.content(shared) == b"x" * 5 * MIB + b"y" * 8
        second = api.file("log", b"second")["id"]  # the first one is an earlier version now
        assert api.post("files/delete", {"id": number, "version": True}).status_code == 204
        assert used(server) == 5 * MIB + 8 + len("second")
        folder = api.folder("folder")["id"]
        api.ok("files/move", {"items": [second, shared], "parent": folder})
        assert api.post("files/delete", {"id": folder}).status_code == 204
        assert used(server) == 0
        datapacks = Datapacks(server.endpoint_url, server.token)
        identifier = datapacks.create(pack("pack", data("a", "a")))
        assert datapacks.put(identifier, "a", b"content").status_code == 200
        assert used(server) == len("content")
        assert datapacks.delete(f"/datapacks/{identifier}").status_code == 200
        assert used(server) == 0
