from __future__ import annotations

import json
import re
import sqlite3
import time
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Any

import pytest
import requests
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from rinofs.server.catalog import migrations
from rinofs.server.catalog.database import Database
from rinofs.server.catalog.tables import metadata
from rinofs.testing import LiveServer, live_server

if TYPE_CHECKING:
    from collections.abc import Callable

# What a server of the version before kept: objects, a datapack, and answers to requests with a key.
BEFORE = Path(__file__).with_name("schema_0002.sql")


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'rinofs.sqlite3'}")


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names())


def schema(database: Database) -> dict[str, list[str]]:
    """Return the words of each definition: the order of columns and constraints is no difference.

    Neither is whether a reference is said in the column or beside the columns.
    """
    with database.read() as connection:
        made = connection.exec_driver_sql("SELECT name, sql FROM sqlite_master").all()
    definitions = {name: re.sub(r"FOREIGN KEY\s*\(.*?\)", "", sql or "") for name, sql in made}
    return {name: sorted(re.split(r"[\s,()\"']+", sql)) for name, sql in definitions.items()}


def test_the_migrations_make_the_tables(database: Database) -> None:
    migrations.apply_steps(database)
    assert tables(database) == {*metadata.tables, "alembic_version"}
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_a_new_database_is_as_the_migrations_make_it(database: Database, tmp_path: Path) -> None:
    migrations.apply_steps(database)
    new = Database(f"sqlite:///{tmp_path / 'new.sqlite3'}")
    migrations.upgrade(new)
    assert schema(new) == schema(database)
    migrations.apply_steps(new)  # nothing is left to be done
    migrations.downgrade(new)
    assert tables(new) == {"alembic_version"}


def test_every_step_can_be_taken_back_and_again(database: Database) -> None:
    migrations.apply_steps(database)
    migrations.downgrade(database)
    assert tables(database) == {"alembic_version"}
    migrations.upgrade(database)
    assert tables(database) == {*metadata.tables, "alembic_version"}


def test_the_last_step_is_known_without_alembic(database: Database) -> None:
    with database.read() as connection:
        script = ScriptDirectory.from_config(migrations.config(connection))
    assert script.get_heads() == [migrations.HEAD]


def test_a_migration_that_fails_changes_nothing(database: Database, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "rinofs.sqlite3") as other:
        other.execute("CREATE TABLE objects (mine TEXT)")
    other.close()
    with pytest.raises(Exception, match="objects"):
        migrations.upgrade(database)
    assert tables(database) == {"objects"}


@pytest.mark.parametrize("make", [migrations.upgrade, migrations.apply_steps])
def test_several_processes_may_start_at_once(make: Callable[[Database], None], tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rinofs.sqlite3'}"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(make, [Database(url) for _ in range(4)]))
    assert "objects" in tables(Database(url))


def test_numbers_are_never_given_twice(database: Database) -> None:
    migrations.upgrade(database)
    with database.read() as connection:
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'objects'").scalar_one()
    assert "AUTOINCREMENT" in made


def load_before(folder: Path) -> dict[str, str]:
    """Make the database of the version before, its answers just given; return these by key."""
    with sqlite3.connect(folder / "rinofs.sqlite3") as connection:
        connection.executescript(BEFORE.read_text("utf-8"))
        connection.execute("UPDATE answers SET created = ?", (int(time.time()),))
        answers = dict(connection.execute("SELECT key, body FROM answers").fetchall())
    connection.close()
    return {key: body.decode() for key, body in answers.items()}


def post(server: LiveServer, path: str, key: str, **how: Any) -> requests.Response:
    headers = {"Authorization": f"Token {server.token}", "Idempotency-Key": key}
    return requests.post(server.endpoint_url + path, headers=headers, timeout=30, **how)


def repeat(server: LiveServer) -> dict[str, requests.Response]:
    """Send the requests once more that the version before has answered."""
    node = {"class": "data", "name": "n", "text": "", "link": "l"}
    info = {"name": "pack", "author": "", "description": "", "keywords": []}
    upload = {"json": (None, json.dumps({"name": "file"})), "file": ("f", b"content")}
    pack = {"name": "pack", "structure": {"info": info, "children": [node]}}
    return {
        "object": post(server, "/api/1/files/create_object/", "object", json={"name": "object", "x": 1}),
        "upload": post(server, "/api/1/files/upload/", "upload", files=upload),
        "pack": post(server, "/api/v1.0/datapacks", "pack", json=pack),
    }


def test_requests_that_the_version_before_answered_get_the_same_answers(tmp_path: Path) -> None:
    wanted = load_before(tmp_path)
    with live_server(data_dir=tmp_path, token="previous") as server:
        answers = repeat(server)
        other = post(server, "/api/1/files/create_object/", "object", json={"name": "other"})
    assert {key: answer.text for key, answer in answers.items()} == wanted
    assert {key: answer.status_code for key, answer in answers.items()} == {
        "object": 201,
        "upload": 201,
        "pack": 200,
    }
    assert {answer.headers["idempotency-replayed"] for answer in answers.values()} == {"true"}
    assert {answer.headers["content-type"] for answer in answers.values()} == {"application/json"}
    assert other.status_code == 422


def test_what_the_version_before_kept_is_still_there(tmp_path: Path) -> None:
    load_before(tmp_path)
    with live_server(data_dir=tmp_path, token="previous") as server:
        headers = {"Authorization": f"Token {server.token}"}
        listed = requests.post(f"{server.endpoint_url}/api/1/files/children/", headers=headers, timeout=30)
        packs = requests.get(f"{server.endpoint_url}/api/v1.0/datapacks", headers=headers, timeout=30)
    assert [record["name"] for record in listed.json()["result"]] == ["object", "file"]
    assert [pack["name"] for pack in packs.json()["items"]] == ["pack"]


def test_a_step_back_forgets_requests_and_nothing_else(tmp_path: Path) -> None:
    load_before(tmp_path)
    database = Database(f"sqlite:///{tmp_path / 'rinofs.sqlite3'}")
    migrations.upgrade(database)
    migrations.downgrade(database, "0002")
    with database.read() as connection:
        counts = {
            table: connection.exec_driver_sql(f"SELECT count(*) FROM {table}").scalar_one()
            for table in ("users", "objects", "datapacks", "answers")
        }
    assert counts == {"users": 1, "objects": 2, "datapacks": 1, "answers": 0}
