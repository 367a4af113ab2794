"""A folder's database is copied to PostgreSQL, row by row: nothing of it gets lost or changes."""

from __future__ import annotations

import json
import sqlite3
from contextlib import closing
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner
from sqlalchemy import select

from rinofs.cli.main import main
from rinofs.server.auth.accounts import Accounts
from rinofs.server.auth.initial import prepare_user
from rinofs.server.catalog.database import Database
from rinofs.server.catalog.postgres import database_copy
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError
from rinofs.server.catalog.queries.indexes import FieldIndexes
from rinofs.server.catalog.sharing.leases import DatabaseRegistry
from rinofs.server.catalog.sharing.machines import FILE
from rinofs.server.catalog.tables import datapack_contents, metadata
from rinofs.server.folder import DATABASE
from rinofs.server.maintenance import fsck
from rinofs.server.moving import copy_folder
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing import live_server
from tests import postgres
from tests.breaking import Interrupting
from tests.server.catalog.test_upgrade import unpacked
from tests.server.client import Api

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Rows = dict[str, list[tuple[Any, ...]]]


@pytest.fixture(autouse=True)
def _in_folders(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.delenv("RINOFS_DATABASE", raising=False)


@pytest.fixture
def url() -> Iterator[str]:
    made = postgres.shared().new_database(schema=True)
    yield made
    postgres.shared().drop(made)


def filled(folder: Path) -> tuple[Path, dict[str, Any]]:
    """A folder with something in every table that outlives a day, and ids in no particular order."""
    data, known = unpacked(folder)
    with live_server(data_dir=data) as server:
        api = Api(server.endpoint_url, known["api"])
        first, second = api.folder("a"), api.folder("b")
        api.ok("files/move", {"id": first["id"], "parent": second["id"]})
        for number in range(10):
            api.file(f"ä{number}", b"%d" % number, parent=first["id"], metadata={"é\0": [number, {}]})
        api.session.headers["Idempotency-Key"] = "again"
        api.file("again", b"again")
        del api.session.headers["Idempotency-Key"]
        api.ok("files/delete", {"id": api.file("gone", b"gone")["id"]}, 204)
    with closing(open_services(ServerSettings(data))) as services:
        FieldIndexes(services.database).add("rate")
        assert fsck(services).problems == ()  # which adds digests that the earlier release did not take
    return data, known


def rows(database: Database) -> Rows:
    with closing(database), database.read() as connection:
        return {
            table.name: sorted(map(tuple, connection.execute(select(table))), key=repr)
            for table in metadata.sorted_tables
        }


def run(*arguments: str | Path) -> tuple[int, str, str]:
    done = CliRunner().invoke(main, ["admin", "copy", *map(str, arguments)], prog_name="rinofs")
    return done.exit_code, done.stdout, done.stderr


def test_everything_is_there_afterwards(tmp_path: Path, url: str) -> None:
    data, known = filled(tmp_path)
    before = rows(Database(data / DATABASE))
    for name in ("objects", "datapacks", "datapack_contents", "blobs", "tokens", "oauth_grants", "outcomes"):
        assert before[name], name
    with closing(Database(url)) as database:
        prepare_user(Accounts(database), "rino", token=None, password=None)
    code, output, errors = run("--from", data, "--to-database", url, "--json")
    assert code == 0, errors
    report = json.loads(output)
    assert report["problems"] == []
    assert report["rows"] == report["copied"]
    after = rows(Database(url))
    assert after.pop("audit")[: len(before["audit"])] == before.pop("audit")
    assert before.pop("properties") == []
    del after["properties"], before["workers"], after["workers"]
    assert after == before

    last = max(row[0] for row in before["objects"])
    with live_server(data_dir=data, configure=lambda made: replace(made, database_url=url)) as server:
        api = Api(server.endpoint_url, known["api"])
        assert api.content(known["file"]) == b"third"
        # The number of what was deleted last is not given again.
        assert api.file("new", b"new")["id"] > last + 1
        assert api.ok("files/query", {"query": {"rate": 100}})
    with closing(Database(url)) as database:
        assert FieldIndexes(database).fields() == {"rate"}
    code, _, errors = run("--from", data, "--to-database", url)
    assert code == 1
    assert "the database is in use already: it has objects" in errors


def test_interrupted_anywhere_it_continues(tmp_path: Path, url: str, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(database_copy, "_ROWS", 3)
    data, _ = filled(tmp_path)
    total = sum(map(len, rows(Database(data / DATABASE)).values()))
    for number in range(0, total, total // 4):
        with pytest.raises(KeyboardInterrupt):
            copy_folder(data, url, Interrupting(number))
        with pytest.raises(UnusableDatabaseError, match="a copy into it was not finished"):
            open_services(ServerSettings(data, database_url=url))
    report = copy_folder(data, url, Interrupting(total))
    assert report.copied < report.rows
    before, after = rows(Database(data / DATABASE)), rows(Database(url))
    assert {name for name in before if before[name] != after[name]} == {"properties"}


def test_interrupted_in_the_check_at_its_end_it_continues(tmp_path: Path, url: str) -> None:
    data, _ = filled(tmp_path)
    copied = copy_folder(data, url, Interrupting(10**9))
    code, output, errors = run("--from", data, "--to-database", url, "--json")
    assert (code, errors) == (0, "")
    report = json.loads(output)
    assert (report["rows"], report["copied"], report["problems"]) == (copied.rows, 0, [])
    code, _, errors = run("--from", data, "--to-database", url)  # this time, nothing was interrupted
    assert (code, "the database is in use already" in errors) == (1, True)


def on(database: str | None, *arguments: str | Path) -> tuple[int, str]:
    """Run a command with and without the variable that names the database."""
    environment = {"RINOFS_DATABASE": database}
    done = CliRunner().invoke(main, [*map(str, arguments)], prog_name="rinofs", env=environment)
    return done.exit_code, done.stderr


def test_the_database_of_a_folder_that_was_copied_is_not_used_again(tmp_path: Path, url: str) -> None:
    """It does not know what was stored since, which a garbage collection would remove."""
    data, known = filled(tmp_path)
    other = postgres.shared().new_database(schema=True)
    assert run("--from", data, "--to-database", url)[0] == 0
    with live_server(data_dir=data, configure=lambda made: replace(made, database_url=url)) as server:
        number = Api(server.endpoint_url, known["api"]).file("since", b"stored since")["id"]
    for command in (
        ("admin", "gc", "--data", data),
        ("admin", "fsck", "--data", data),
        ("admin", "user", "list", "--data", data),
        ("admin", "backup", tmp_path / "backup", "--data", data),
        ("admin", "copy-blobs", "--data", data, "--to", "folder"),
        ("serve", "--data", data, "--port", "0"),
    ):
        code, errors = on(None, *command)
        assert code in {1, 2}, command
        assert f"{data / DATABASE}: the contents of this folder belong to a PostgreSQL database" in errors
        assert str(data / "blobs" / FILE) in errors
    assert not (tmp_path / "backup" / "backup.json").exists()
    for command in (
        ("admin", "gc", "--data", data),
        ("serve", "--data", data, "--port", "0"),
        ("admin", "copy", "--from", data),
    ):
        code, errors = on(other, *command)
        assert code == 2, command
        assert "these contents belong to another PostgreSQL database" in errors
    assert on(url, "admin", "gc", "--data", data)[0] == 0
    with live_server(data_dir=data, configure=lambda made: replace(made, database_url=url)) as server:
        assert Api(server.endpoint_url, known["api"]).content(number) == b"stored since"
    assert on(url, "admin", "fsck", "--data", data)[0] == 0
    (data / "blobs" / FILE).unlink()  # that database is given up
    assert on(None, "admin", "gc", "--data", data)[0] == 0
    assert on(None, "admin", "fsck", "--data", data)[0] == 0
    postgres.shared().drop(other)


def test_a_folder_is_not_served_with_a_database_that_it_was_not_copied_to(tmp_path: Path, url: str) -> None:
    data, _ = filled(tmp_path)
    for command in (("admin", "gc", "--data", data), ("serve", "--data", data, "--port", "0")):
        code, errors = on(url, *command)
        assert code == 2
        assert f"these contents belong to {data / DATABASE}, and would be removed" in errors
        assert f"`rinofs admin copy --from {data}`" in errors
    assert on(None, "admin", "gc", "--data", data)[0] == 0
    assert on(None, "admin", "fsck", "--data", data)[0] == 0


def test_no_worker_changes_the_database_during_a_copy(tmp_path: Path, url: str) -> None:
    data, known = filled(tmp_path)

    def configure(settings: ServerSettings) -> ServerSettings:
        return replace(settings, database_url=url)

    with live_server(data_dir=tmp_path / "other", configure=configure):
        code, output, errors = run("--from", data, "--to-database", url)
        assert (code, output) == (1, "")
        assert "workers use the database; stop them" in errors
    with pytest.raises(KeyboardInterrupt):
        copy_folder(data, url, Interrupting(5))
    with pytest.raises(UnusableDatabaseError, match="a copy into it was not finished"):
        DatabaseRegistry(Database(url)).join()
    assert run("--from", data, "--to-database", url)[0] == 0
    with live_server(data_dir=data, configure=configure) as server:
        assert Api(server.endpoint_url, known["api"]).content(known["file"]) == b"third"


def with_nul(folder: Path, column: str) -> Path:
    data, _ = filled(folder)
    table, _, name = column.partition(".")
    with closing(sqlite3.connect(data / DATABASE)) as connection, connection:
        connection.execute(f"UPDATE {table} SET {name} = ?", ("left\0arm.csv",))
    return data


def test_a_name_for_saving_a_content_loses_its_nul(tmp_path: Path, url: str) -> None:
    """PostgreSQL stores none, and servers before this release kept some."""
    data = with_nul(tmp_path, "datapack_contents.filename")
    total = sum(map(len, rows(Database(data / DATABASE)).values()))
    with pytest.raises(KeyboardInterrupt):
        copy_folder(data, url, Interrupting(total - 1))
    code, output, errors = run("--from", data, "--to-database", url, "--json")  # compares what is there
    assert (code, errors) == (0, "")
    assert json.loads(output)["problems"] == []
    with closing(Database(url)) as database, database.read() as connection:
        assert set(connection.scalars(select(datapack_contents.c.filename))) == {"left_arm.csv"}


def test_a_nul_in_any_other_text_is_named(tmp_path: Path, url: str) -> None:
    code, _, errors = run("--from", with_nul(tmp_path, "users.email"), "--to-database", url)
    assert (code, "a text in users 1 has a NUL" in errors) == (1, True), errors


@pytest.mark.parametrize("change", ["changed", "added", "removed"])
def test_a_folder_that_was_changed_meanwhile_is_not_mixed(
    tmp_path: Path, url: str, change: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(database_copy, "_ROWS", 3)
    data, known = filled(tmp_path)
    total = sum(map(len, rows(Database(data / DATABASE)).values()))
    with pytest.raises(KeyboardInterrupt):
        copy_folder(data, url, Interrupting(total - 1))
    with live_server(data_dir=data) as server:
        api = Api(server.endpoint_url, known["api"])
        if change == "changed":
            api.ok("files/update_metadata", {"id": known["file"], "metadata": {"rate": 1}})
        elif change == "added":
            api.file("more")
        else:
            api.ok("files/delete", {"id": known["file"]}, 204)
    with pytest.raises(database_copy.DatabaseCopyError, match="the folder was changed since the copy began"):
        copy_folder(data, url, Interrupting(2 * total))


def test_what_cannot_be_meant_is_refused(tmp_path: Path, url: str) -> None:
    server = postgres.shared()
    (tmp_path / "empty").mkdir()
    empty = server.new_database()
    data, _ = unpacked(tmp_path)
    for source, target, status, what in (
        (tmp_path / "empty", url, 1, "not a data folder of `rinofs serve`"),
        (data, empty, 2, "run `rinofs admin init`"),
        (data, f"{url}_missing", 2, "cannot be reached"),
    ):
        code, output, errors = run("--from", source, "--to-database", target)
        assert (code, output) == (status, "")
        assert what in errors
    secret = url.replace("rinofs@", "rinofs:hidden@")
    code, _, errors = run("--from", data, "--to-database", secret)
    assert code == 2
    assert "RINOFS_DATABASE" in errors
    assert "hidden" not in errors
    with live_server(data_dir=data):
        code, _, errors = run("--from", data, "--to-database", url)
        assert (code, "is being served by another process" in errors) == (1, True)
    server.drop(empty)
