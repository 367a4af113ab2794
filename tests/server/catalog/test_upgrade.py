"""A data folder of the previous release, as that release left it, becomes one of this.

``previous_release.zip`` was written by commit 9d49653: two users, a file with two earlier versions, a
datapack with a content, tokens of each kind, and two grants to a program, one of which was refreshed.
"""

from __future__ import annotations

import json
import sqlite3
import subprocess
import sys
import time
import zipfile
from pathlib import Path
from typing import TYPE_CHECKING, Any

import requests
from click.testing import CliRunner

from rinofs.cli.main import main
from rinofs.server.maintenance import fsck, gc
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing import live_server
from tests.campaign import rounds
from tests.server.browsing import Program
from tests.server.client import Api

if TYPE_CHECKING:
    from rinofs.testing import LiveServer

ARCHIVE = Path(__file__).with_name("previous_release.zip")


def unpacked(folder: Path) -> tuple[Path, dict[str, Any]]:
    """Unpack the folder as if that release had stopped a moment ago; returns it, and what is known of it."""
    with zipfile.ZipFile(ARCHIVE) as archive:
        archive.extractall(folder)
    data = folder / "data"
    now = int(time.time())
    hour = now + 3600
    with sqlite3.connect(data / "rinofs.sqlite3") as connection:
        connection.execute("UPDATE tokens SET expires = ? WHERE expires IS NOT NULL", (hour,))
        connection.execute("UPDATE oauth_grants SET expires = ?, rotated = ?", (hour, hour - 7200))
        connection.execute("UPDATE answers SET created = ?", (now,))
    connection.close()
    return data, json.loads((folder / "known.json").read_text())


def grant(server: LiveServer, password: str) -> int:
    form = {"grant_type": "password", "client_id": "x", "username": "ada", "password": password}
    return requests.post(f"{server.endpoint_url}/o/token/", data=form, timeout=60).status_code


def test_everything_is_there_and_everybody_gets_in(tmp_path: Path) -> None:
    data, known = unpacked(tmp_path)
    with live_server(data_dir=data, token="previous-primary") as server:
        api = Api(server.endpoint_url, known["api"])
        contents = [api.content(number) for number in (*known["versions"], known["file"])]
        assert sorted(contents) == [b"first", b"second", b"third"]
        record = api.ok("files/get_metadata", {"id": known["file"]})
        assert (record["metadata"], record["tags"], record["versions"]) == (
            {"rate": 100},
            ["pilot"],
            known["versions"],
        )
        headers = {"Authorization": f"Bearer {known['api']}"}
        url = f"{server.endpoint_url}/api/v1.0/datapacks/{known['datapack']}/content/"
        link = next(iter(requests.get(url.removesuffix("/"), headers=headers, timeout=60).json()))
        assert requests.get(url + link, headers=headers, timeout=60).content == b"1,2\n"
        key = {"Idempotency-Key": "upload"}
        again = api.post("files/create_object", {"name": "object", "x": 1}, headers=key)
        assert (again.json()["id"], again.headers["idempotency-replayed"]) == (known["keyed"], "true")
        for token in ("api", "access", "lasting"):
            assert Api(server.endpoint_url, known[token]).post("files/children", {}).status_code == 200
        assert grant(server, known["password"]) == 200
        program = Program(server, known["client_id"], known["client_secret"])
        for which in ("fresh", "rotated"):
            assert program.opens(known[which]["access"])
            assert program.refresh(known[which]["refresh"]).status_code == 200
        # Long after its exchange, a former refresh token ends its grant, as it did.
        assert program.refresh(known["rotated_former"]).status_code == 400
        assert not program.opens(known["rotated"]["access"])


def test_a_new_password_ends_what_earlier_sign_ins_left(tmp_path: Path) -> None:
    data, known = unpacked(tmp_path)
    with live_server(data_dir=data, token="previous-primary") as server:
        accounts = server._services.accounts
        ada = accounts.user("ada")
        assert ada is not None
        accounts.set_password(ada, "analytical engine")
        for token in ("access", "lasting"):
            assert Api(server.endpoint_url, known[token]).post("files/children", {}).status_code == 401
        program = Program(server, known["client_id"], known["client_secret"])
        assert not any(program.opens(known[which]["access"]) for which in ("fresh", "rotated"))
        assert Api(server.endpoint_url, server.token).post("files/children", {}).status_code == 200


KILLED = """
import os, shutil, signal, sqlite3, sys
from pathlib import Path
from sqlalchemy import event
from rinofs.server.catalog import migrations
from rinofs.server.catalog.database import Database
from alembic import command

source, copy = map(Path, sys.argv[1:3])
STEP = int(sys.argv[3])

def upgraded(kill_at):
    database = Database(copy)
    seen = 0

    def count(*_):
        nonlocal seen
        seen += 1
        if seen == kill_at:
            os.kill(os.getpid(), signal.SIGKILL)

    for name in ("before_cursor_execute", "commit", "begin"):
        event.listen(database.engine, name, count)
    migrations.upgrade(database)
    database.close()

def in_child(kill_at):
    child = os.fork()
    if not child:
        upgraded(kill_at)
        os._exit(0)
    return os.waitpid(child, 0)[1]

killed = 0
while True:
    for path in copy.parent.iterdir():
        path.unlink()
    shutil.copy(source, copy)
    ended = in_child(killed + 1)
    assert ended in (0, signal.SIGKILL), ended
    assert in_child(0) == 0
    with sqlite3.connect(copy) as connection:
        assert connection.execute("PRAGMA integrity_check").fetchall() == [("ok",)]
        assert connection.execute("PRAGMA foreign_key_check").fetchall() == []
        assert connection.execute("SELECT version_num FROM alembic_version").fetchone()[0] == migrations.HEAD
        counts = [
            connection.execute(f"SELECT count(*) FROM {table}").fetchone()[0]
            for table in sys.argv[4:]
        ]
    connection.close()
    if ended == 0:
        break
    killed += STEP
print(killed, counts)
"""


def test_killed_anywhere_it_goes_on_at_the_next_start(tmp_path: Path) -> None:
    data, _ = unpacked(tmp_path)
    (tmp_path / "copy").mkdir()
    step = str(rounds(10, 1))
    command = [
        sys.executable,
        "-c",
        KILLED,
        str(data / "rinofs.sqlite3"),
        str(tmp_path / "copy" / "db"),
        step,
    ]
    command += ["users", "tokens", "objects", "datapacks", "oauth_grants", "oauth_refresh_tokens", "blobs"]
    done = subprocess.run(command, capture_output=True, text=True, timeout=600, check=False)
    assert done.returncode == 0, done.stderr
    killed, _, counts = done.stdout.partition(" ")
    assert int(killed) >= 25  # the upgrade has more statements than that, and was killed at each
    assert json.loads(counts) == [2, 7, 5, 1, 2, 3, 4]


def test_nothing_is_wrong_with_the_folder(tmp_path: Path) -> None:
    data, _ = unpacked(tmp_path)
    services = open_services(ServerSettings(data))
    first, second = fsck(services), fsck(services)
    assert (first.problems, first.blobs_filled, first.blobs_merged) == ((), 4, 0)
    assert (second.problems, second.blobs_filled) == ((), 0)
    services.close()


def test_contents_stay_where_they_are_until_they_are_uploaded_again(tmp_path: Path) -> None:
    data, known = unpacked(tmp_path)
    blobs = data / "blobs"
    before = {path.relative_to(blobs): path.read_bytes() for path in blobs.rglob("*") if path.is_file()}
    assert len(before) == 4
    with live_server(data_dir=data, token="previous-primary") as server:
        api = Api(server.endpoint_url, known["api"])
        record = api.ok("files/get_metadata", {"id": known["file"]})
        assert "blake3" not in record
        again = api.file("again", api.content(known["file"]))
        assert (again["sha256"], again["etag"]) == (record["sha256"], record["etag"])
        assert api.ok("files/get_metadata", {"id": known["file"]})["blake3"] == again["blake3"]
        new = api.file("new", b"new")
        assert gc(server._services).blobs_removed <= 1  # the hourly one may have been there first
    after = {path.relative_to(blobs): path.read_bytes() for path in blobs.rglob("*") if path.is_file()}
    replaced = before.pop(Path("contents", record["sha256"][:2], record["sha256"]))
    uploaded = {again["blake3"]: replaced, new["blake3"]: b"new"}
    assert after == {**before, **{Path("b3", key[:2], key): content for key, content in uploaded.items()}}


def test_a_folder_of_a_later_release_is_refused_and_stays_as_it_is(tmp_path: Path) -> None:
    open_services(ServerSettings(tmp_path)).close()
    with sqlite3.connect(tmp_path / "rinofs.sqlite3") as connection:
        connection.execute("UPDATE alembic_version SET version_num = '9999'")
    connection.close()
    command = ["admin", "fsck", "--data", str(tmp_path)]
    refused = CliRunner().invoke(main, command, env={"RINOFS_DATABASE": None})
    assert refused.exit_code == 2
    told = refused.stderr
    assert f"{tmp_path / 'rinofs.sqlite3'}: its schema 9999 is of a later release; upgrade rinofs" in told
