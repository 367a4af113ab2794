"""Contents move to an S3 store and back, while a server serves them."""

from __future__ import annotations

import json
import os
import subprocess
from typing import TYPE_CHECKING

import fsspec
import pytest
from click.testing import CliRunner

from rinofs.cli.main import main
from rinofs.server.blobs.bucket import Bucket
from rinofs.server.catalog.records import NewObject
from rinofs.server.maintenance import fsck, gc
from rinofs.server.moving import move_contents
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from tests.breaking import Interrupting
from tests.forkserver import server_process
from tests.server.catalog.test_blob_rows import read, stored_before
from tests.server.catalog.test_blob_rows import store as upload

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.server.blobs.store import Verified
    from rinofs.server.services import Services
    from rinofs.testing import ServerProcess

MIB = 1024 * 1024
CONTENTS = {f"f{number}": os.urandom(size) for number, size in enumerate([0, 1, 70_000, 9 * MIB])}


def run(*arguments: str | Path) -> subprocess.CompletedProcess[str]:
    """Run a command in this process, which is faster than in one of its own."""
    done = CliRunner().invoke(main, ["admin", *map(str, arguments)], prog_name="rinofs")
    return subprocess.CompletedProcess(arguments, done.exit_code, done.stdout, done.stderr)


def filesystem(server: ServerProcess, token: str | None) -> fsspec.AbstractFileSystem:
    return fsspec.filesystem("rino", endpoint_url=server.endpoint_url, token=token, skip_instance_cache=True)


def in_folder(data: Path) -> int:
    return sum(path.is_file() and len(path.name) == 64 for path in (data / "blobs").rglob("*"))


def test_there_and_back_while_a_server_runs(s3_url: str, tmp_path: Path) -> None:
    data = tmp_path / "data"
    with server_process(data) as server:
        token = server.token
        for name, content in CONTENTS.items():
            filesystem(server, token).pipe_file(name, content)
        refused = run("copy-blobs", "--data", data, "--to", s3_url)
        assert refused.returncode == 1
        assert "is being served, and new contents go elsewhere; stop the server, or start" in refused.stderr
    with server_process(data, "--blobs", s3_url, "--cache-size", "0") as server:
        fs = filesystem(server, token)
        fs.pipe_file("new", b"new")
        assert {name: fs.cat_file(name) for name in CONTENTS} == CONTENTS
        moved = run("copy-blobs", "--data", data, "--to", s3_url, "--json")
        assert (moved.returncode, moved.stderr) == (0, "")
        report = json.loads(moved.stdout)
        assert (report["moved"], report["left"], report["problems"]) == (4, 0, [])
        assert {name: fs.cat_file(name) for name in CONTENTS} == CONTENTS
        assert run("gc", "--data", data).returncode == 0
        assert in_folder(data) == 0
        assert {name: fs.cat_file(name) for name in CONTENTS} == CONTENTS
        assert len(list(Bucket(s3_url).objects("c"))) == 5
    with server_process(data, "--blobs", "folder") as server:
        fs = filesystem(server, token)
        fs.pipe_file("newer", b"newer")
        assert in_folder(data) == 1
        assert {name: fs.cat_file(name) for name in CONTENTS} == CONTENTS
        moved = run("copy-blobs", "--data", data, "--to", "folder")
        assert moved.stdout.startswith("moved 5 contents"), moved.stderr
        assert in_folder(data) == 6
        # For a day, an earlier state of the database finds what it looks for.
        assert len(list(Bucket(s3_url).objects("c"))) == 5
        assert run("gc", "--gc-delay", "0", "--data", data).returncode == 0
        assert list(Bucket(s3_url).objects("c")) == []
        assert {name: fs.cat_file(name) for name in CONTENTS} == CONTENTS
        assert fs.cat_file("new") == b"new"
    assert run("fsck", "--data", data).returncode == 0


@pytest.mark.parametrize("to_objects", [True, False])
def test_a_move_that_is_interrupted_continues(s3_url: str, tmp_path: Path, to_objects: bool) -> None:
    first, then = (None, s3_url) if to_objects else (s3_url, "folder")
    services = open_services(ServerSettings(tmp_path, blobs_url=first))
    store(services, CONTENTS)
    services.close()
    total = sum(map(len, CONTENTS.values()))
    for after in (0, 70_000, total // 2, total + 1):
        services = open_services(ServerSettings(tmp_path, blobs_url=then))
        try:
            report = move_contents(services, Interrupting(after), to_objects=to_objects)
        except KeyboardInterrupt:
            report = None
        assert fsck(services).problems == ()
        services.close()
    assert report is not None
    assert report.left == 0


def test_a_damaged_content_stays_where_it_is(s3_url: str, tmp_path: Path) -> None:
    services = open_services(ServerSettings(tmp_path))
    store(services, {"good": b"good", "bad": b"bad bytes"})
    services.close()
    (bad,) = (path for path in (tmp_path / "blobs").rglob("*") if path.is_file() and path.stat().st_size == 9)
    bad.chmod(0o600)
    bad.write_bytes(b"BAD bytes")
    services = open_services(ServerSettings(tmp_path, blobs_url=s3_url))
    report = move_contents(services, Interrupting(MIB), to_objects=True)
    assert (report.moved, report.left) == (1, 1)
    assert "is damaged; `rinofs admin fsck` tells what it belongs to" in report.problems[0]
    services.close()
    assert [size for _, size, _ in Bucket(s3_url).objects("c")] == [4]


def opened(data: Path, blobs_url: str) -> Services:
    return open_services(ServerSettings(data, blobs_url=blobs_url, gc_delay=0))


def test_a_content_that_was_stored_twice_is_merged_on_the_way_back(s3_url: str, tmp_path: Path) -> None:
    """By an earlier release, and by this one, which did not know the SHA-256 of a large upload."""
    services = open_services(ServerSettings(tmp_path))
    user = services.accounts.add_user("ada")
    before = stored_before(services, user, "before", CONTENTS["f3"])
    records = [before, *services.store.copy(user, [before.id], None, "copy")]
    records.append(upload(services, user, "again", CONTENTS["f3"]))
    assert before.blob != records[-1].blob
    services.close()
    for url, to_objects, moved in (
        (s3_url, True, 2),
        ("folder", False, 2),
        (s3_url, True, 1),
        ("folder", False, 1),
    ):
        services = opened(tmp_path, url)
        report = move_contents(services, Interrupting(10**9), to_objects=to_objects)
        assert (report.moved, report.left, report.problems) == (moved, 0, ())
        gc(services)
        found = [services.store.get(user, record.id) for record in records]
        assert {read(services, record) for record in found} == {CONTENTS["f3"]}
        checked = fsck(services) if moved == 1 else None
        services.close()
    assert checked is not None
    assert (checked.problems, checked.blobs_merged) == ((), 0)
    assert len({record.blob for record in found}) == in_folder(tmp_path) == 1
    assert list(Bucket(s3_url).objects("c")) == []


@pytest.mark.parametrize("to_objects", [True, False])
def test_a_check_reports_nothing_that_is_moved_meanwhile(
    s3_url: str, tmp_path: Path, to_objects: bool, monkeypatch: pytest.MonkeyPatch
) -> None:
    services = open_services(ServerSettings(tmp_path, blobs_url=None if to_objects else s3_url))
    store(services, CONTENTS)
    services.close()
    services = opened(tmp_path, s3_url if to_objects else "folder")
    verify, moved = services.blobs.verify, list[int]()

    def verified(key: str) -> Verified:
        if not moved:  # all rows are known to the check by now
            moved.append(move_contents(services, Interrupting(10**9), to_objects=to_objects).moved)
            assert gc(services).blobs_removed == len(CONTENTS)
        return verify(key)

    monkeypatch.setattr(services.blobs, "verify", verified)
    report = fsck(services)
    assert (report.problems, report.blobs_checked, moved) == ((), len(CONTENTS), [len(CONTENTS)])
    key = services.store.get(services.accounts.user("ada"), ("f2",)).key
    services.blobs.remove([key], lambda _: set())
    assert [problem.startswith(f"content {key} ") for problem in fsck(services).problems] == [True]
    services.close()


def store(services: Services, contents: dict[str, bytes]) -> None:
    user = services.accounts.add_user("ada")
    for name, content in contents.items():
        with services.blobs.new_upload() as upload:
            upload.write(content)
            services.store.upload(user, NewObject(None, name), upload.finish())
