"""An index on a field is made on PostgreSQL while others write, and is whole or not there."""

from __future__ import annotations

import os
import signal
import subprocess
from contextlib import closing, contextmanager
from typing import TYPE_CHECKING

import psycopg
import pytest

from rinofs.server.catalog.queries.indexes import FieldIndexes, indexed
from rinofs.server.catalog.queries.query_dialect import INDEX_PREFIX
from rinofs.server.catalog.records import NewObject
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing.process import COMMAND
from tests import postgres
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.server.services import Services


@pytest.fixture
def url() -> Iterator[str]:
    made = postgres.shared().new_database(schema=True)
    yield made
    postgres.shared().drop(made)


@pytest.fixture
def services(url: str, tmp_path: Path) -> Iterator[Services]:
    with closing(open_services(ServerSettings(tmp_path / "server", url))) as services:
        ada = services.accounts.add_user("ada")
        services.store.create_object(ada, NewObject(None, "a", metadata={"rate": 1}))
        yield services


@contextmanager
def unfinished_write(url: str) -> Iterator[None]:
    """Have a transaction open that has changed an object, for whose end an index waits."""
    with psycopg.connect(url.replace("+psycopg", "")) as connection:
        connection.execute("UPDATE objects SET name = 'b' WHERE name = 'a'")
        yield


def adding(url: str, folder: Path, field: str = "rate") -> subprocess.Popen[str]:
    folder.mkdir(exist_ok=True)
    command = [*COMMAND, "admin", "index", "add", field, f"--data={folder}"]
    return subprocess.Popen(
        command, env={**os.environ, "RINOFS_DATABASE": url}, stderr=subprocess.PIPE, text=True
    )


def made(services: Services) -> list[str]:
    with services.database.read() as connection:
        return indexed(connection)


def in_database(url: str) -> list[tuple[object, ...]]:
    """Return which indexes on fields there are, whole or not, and whether they are valid."""
    found = "SELECT relname, indisvalid FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
    database = url.rpartition("/")[2]
    return postgres.shared().execute(f"{found} WHERE relname LIKE '{INDEX_PREFIX}%'", database)


def waits(url: str, how: str = "CREATE INDEX%") -> list[int]:
    """Return the processes of the database that wait for others before an index is made."""
    found = f"SELECT pid FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND query LIKE '{how}'"
    rows = postgres.shared().execute(f"{found} AND datname = '{url.rpartition('/')[2]}'")
    return [int(str(pid)) for (pid,) in rows]


def test_others_write_meanwhile(services: Services, url: str, tmp_path: Path) -> None:
    bob = services.accounts.add_user("bob")
    with unfinished_write(url):
        process = adding(url, tmp_path / "server")
        wait_until(lambda: process.poll() is not None or waits(url))
        services.store.create_object(bob, NewObject(None, "meanwhile", metadata={"rate": 2}))
        assert services.store.count(bob, {"rate": 2}) == 1
        assert made(services) == []
    assert process.wait(60) == 0, process.communicate()
    assert made(services) == ["rate"]
    fields = FieldIndexes(services.database)
    assert fields.drop("rate") == "rate"
    assert (made(services), in_database(url)) == ([], [])


def test_an_interrupted_one_leaves_nothing(services: Services, url: str, tmp_path: Path) -> None:
    with unfinished_write(url):
        process = adding(url, tmp_path / "server")
        wait_until(lambda: process.poll() is not None or waits(url))
        assert in_database(url)
        process.send_signal(signal.SIGINT)
        wait_until(lambda: process.poll() is not None or waits(url, "DROP INDEX%"))
    _, told = process.communicate(timeout=60)
    assert process.returncode != 0
    assert "Traceback" not in told
    assert in_database(url) == []


def test_what_a_killed_one_left_is_made_anew(services: Services, url: str, tmp_path: Path) -> None:
    fields = FieldIndexes(services.database)
    with unfinished_write(url):
        process = adding(url, tmp_path / "server")
        wait_until(lambda: process.poll() is not None or waits(url))
        process.kill()
        process.communicate(timeout=60)
        (pid,) = waits(url)
        postgres.shared().execute(f"SELECT pg_terminate_backend({pid})")
        wait_until(lambda: not waits(url))
    ((_, is_valid),) = in_database(url)
    assert not is_valid
    assert made(services) == []
    assert fields.add("rate") == "rate"
    assert [is_valid for _, is_valid in in_database(url)] == [True]
    assert made(services) == ["rate"]
    fields.drop("rate")


def test_of_two_at_once_the_second_finds_it(services: Services, url: str, tmp_path: Path) -> None:
    with unfinished_write(url):
        first = adding(url, tmp_path / "server")
        wait_until(lambda: first.poll() is not None or waits(url))
        second, other = adding(url, tmp_path / "server"), adding(url, tmp_path / "server", "other")
    assert (first.wait(60), other.wait(60), second.wait(60)) == (0, 0, 1)
    assert "has an index" in str(second.communicate()[1])
    assert made(services) == ["other", "rate"]
