from __future__ import annotations

import sqlite3
from contextlib import closing
from typing import TYPE_CHECKING

import pytest
import requests

from rinofs.testing import ServerProcess, live_server
from tests.forkserver import server_process
from tests.server.client import Api
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path


@pytest.fixture(scope="module")
def data(tmp_path_factory: pytest.TempPathFactory) -> Path:
    return tmp_path_factory.mktemp("ready") / "data"


@pytest.fixture(scope="module")
def server(data: Path) -> Iterator[ServerProcess]:
    with server_process(data) as process:
        yield process


def ready(server: ServerProcess) -> requests.Response:
    return requests.get(f"{server.endpoint_url}/ready", headers={"Host": "any.example"}, timeout=60)


def statements(data: Path, *texts: str) -> None:
    with closing(sqlite3.connect(data / "rinofs.sqlite3")) as connection, connection:
        for text in texts:
            connection.execute(text)


def another_schema(data: Path) -> Callable[[], None]:
    statements(data, "UPDATE alembic_version SET version_num = 'x' || version_num")
    return lambda: statements(data, "UPDATE alembic_version SET version_num = substr(version_num, 2)")


def no_schema(data: Path) -> Callable[[], None]:
    statements(data, "ALTER TABLE alembic_version RENAME TO elsewhere")
    return lambda: statements(data, "ALTER TABLE elsewhere RENAME TO alembic_version")


def no_storage(data: Path) -> Callable[[], None]:
    (data / "blobs").rename(data / "unmounted")

    def repair() -> None:
        (data / "unmounted").rename(data / "blobs")

    return repair


def being_filled(data: Path) -> Callable[[], None]:
    statements(data, "INSERT INTO properties VALUES ('copying', '1')")
    return lambda: statements(data, "DELETE FROM properties WHERE name = 'copying'")


@pytest.mark.parametrize(
    ("damage", "reason"),
    [
        (being_filled, "another database is being copied into this one"),
        (another_schema, "the schema of the database"),
        (no_schema, "the schema of the database"),
        (no_storage, "the storage of contents cannot be used"),
    ],
)
def test_what_keeps_requests_from_being_answered_is_named(
    server: ServerProcess, data: Path, damage: Callable[[Path], Callable[[], None]], reason: str
) -> None:
    wait_until(lambda: ready(server).status_code == 200)
    repair = damage(data)
    wait_until(lambda: ready(server).status_code != 200)
    answer = ready(server)
    assert (answer.status_code, answer.json().keys()) == (503, {"error"})
    assert answer.headers["Retry-After"].isdigit()
    assert reason in answer.json()["error"]
    assert str(data) not in answer.text
    assert requests.get(f"{server.endpoint_url}/health", timeout=60).status_code == 200
    repair()
    wait_until(lambda: ready(server).status_code == 200)
    assert f"not ready: {reason}" in server.errors()
    assert "ready again" in server.errors()


def test_asking_leaves_nothing_behind(tmp_path: Path) -> None:
    with live_server(data_dir=tmp_path / "data") as server:
        Api(server.endpoint_url, server.token).file("a", b"content")
        before = {path: path.stat().st_size for path in server.data_dir.rglob("*")}
        for _ in range(3):
            answer = requests.get(f"{server.endpoint_url}/ready", headers={"Host": "x.example"}, timeout=60)
            assert (answer.status_code, answer.json()) == (200, {"status": "ready"})
        assert requests.head(f"{server.endpoint_url}/ready", timeout=60).status_code == 200
        assert {path: path.stat().st_size for path in server.data_dir.rglob("*")} == before


def test_a_database_that_cannot_be_read(tmp_path: Path) -> None:
    with server_process(tmp_path / "data") as server:
        wait_until(lambda: ready(server).status_code == 200)
        statements(tmp_path / "data", "PRAGMA wal_checkpoint(TRUNCATE)")
        database = tmp_path / "data" / "rinofs.sqlite3"
        with database.open("r+b") as file:
            file.write(bytes(database.stat().st_size))
        wait_until(lambda: ready(server).status_code != 200)
        answer = ready(server)
        assert (answer.status_code, answer.json()) == (503, {"error": "the database cannot be used"})
