"""Backups of a folder that is being served, and restoring them elsewhere."""

from __future__ import annotations

import errno
import json
import os
import random
import resource
import shutil
import signal
import subprocess
import threading
import time
from contextlib import AbstractContextManager, closing, contextmanager, suppress
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

import pytest
from sqlalchemy import insert

from rinofs import RinoFileSystem
from rinofs.cli.main import main
from rinofs.server import backups, maintenance
from rinofs.server.backups import back_up
from rinofs.server.blobs.disk import may_remove
from rinofs.server.blobs.folders import FolderInUseError, keeping_all
from rinofs.server.catalog.tables import blobs
from rinofs.server.catalog.users.audit import entries
from rinofs.server.folder import DataDirError
from rinofs.server.runner import exclusive
from rinofs.server.services import BLOBS_URL, open_database, open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing import live_server
from rinofs.testing.process import COMMAND
from tests.campaign import rounds
from tests.forkserver import run_command
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.testing import LiveServer

    Run = Callable[..., tuple[int, Any]]


class Silent:
    """Watches a backup, and ends it after so many pieces."""

    def __init__(self, ends_after: float = float("inf")) -> None:
        self.left = ends_after

    def expect(self, total: int) -> None:
        self.total = total

    def add(self, size: int) -> None:
        if size:
            self.left -= 1
        if self.left < 0:
            raise KeyboardInterrupt


@pytest.fixture
def run(capsys: pytest.CaptureFixture[str]) -> Run:
    """Run a command of ``rinofs admin``, and return its exit code and what it printed."""

    def run(*args: object) -> tuple[int, Any]:
        with pytest.raises(SystemExit) as ended:
            main.main(["admin", *map(str, args)])
        output, errors = capsys.readouterr()
        return int(ended.value.code or 0), json.loads(output) if "--json" in args else output + errors

    return run


def filesystem(server: LiveServer) -> RinoFileSystem:
    return RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token, skip_instance_cache=True)


def filled(server: LiveServer, count: int = 20) -> RinoFileSystem:
    fs = filesystem(server)
    fs.pipe({f"few/{number}": b"content %d " % number * 50 for number in range(count)})
    fs.pipe_file("few/again", b"content 0 " * 50)
    return fs


def restored(run: Run, backup: Path, target: Path) -> dict[str, bytes]:
    """Restore a backup, check it, and return the files in it."""
    code, report = run("restore", backup, target, "--json")
    assert (code, report["problems"]) == (0, [])
    code, checked = run("fsck", "--data", target, "--json")
    assert (code, checked["problems"]) == (0, [])
    with live_server(data_dir=target, token="restored") as server:
        fs = filesystem(server)
        return dict(fs.cat(fs.find(""))) if fs.find("") else {}


def contents(folder: Path) -> list[Path]:
    return [path for path in (folder / "b3").rglob("*") if path.is_file()]


@contextmanager
def no_larger_files(size: int) -> Iterator[None]:
    """Have this process fail to write what is beyond so many bytes of a file, as if the disk were full."""
    before = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, before[1]))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, before)


@contextmanager
def no_syncs(below: Path) -> Iterator[None]:
    """Have files in a folder fail to be synced, as on a disk that finds room only when it writes."""

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        if path.is_file() and below in path.parents:
            raise OSError(errno.ENOSPC, os.strerror(errno.ENOSPC))
        real(descriptor)

    real = os.fsync
    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        yield


@contextmanager
def no_folders(below: Path) -> Iterator[None]:
    """Have no folders for contents be made in a folder: files have their names."""
    names = [below / f"{number:02x}" for number in range(256)]
    taken = [path for path in names if not path.exists()]
    below.mkdir(parents=True, exist_ok=True)
    for path in taken:
        path.touch()
    try:
        yield
    finally:
        for path in taken:
            path.unlink()


KIB = 1024
DISKS: dict[str, Callable[[Path], AbstractContextManager[None]]] = {
    "without room for a content": lambda _: no_larger_files(1024 * KIB),
    "without room for the database": lambda _: no_larger_files(32 * KIB),
    "full when files are synced": no_syncs,
    "where no folder can be made": no_folders,
}
"""Disks on which a copy, with a content of `LARGE` bytes, fails: by the folder with its contents."""
LARGE = {"without room for a content": 2048 * KIB}


class Load:
    """Threads that upload, replace, delete and collect until the context is left."""

    def __init__(self, server: LiveServer) -> None:
        self.kept: dict[str, bytes] = {}
        self.failures: list[Exception] = []
        self._server = server
        self._ended = threading.Event()
        works = [partial(self._write, worker) for worker in range(3)]
        self._threads = [
            threading.Thread(target=self._guard, args=(work,)) for work in [*works, self._collect]
        ]

    def __enter__(self) -> Self:
        for thread in self._threads:
            thread.start()
        return self

    def __exit__(self, *raised: object) -> None:
        self._ended.set()
        for thread in self._threads:
            thread.join()
        assert not self.failures, self.failures

    def _guard(self, work: Callable[[], None]) -> None:
        try:
            work()
        except Exception as error:  # noqa: BLE001 (told to the test's own thread)
            self.failures.append(error)

    def _write(self, worker: int) -> None:
        fs = filesystem(self._server)
        number = 0
        while not self._ended.is_set():
            number += 1
            content = random.Random(f"{worker} {number}").randbytes(3000)
            fs.pipe_file(f"kept/{worker}-{number}", content)
            self.kept[f"kept/{worker}-{number}"] = content
            fs.pipe_file(f"changing/{worker}", content[:2000])
            if number % 3 == 0:
                fs.rm(f"changing/{worker}")

    def _collect(self) -> None:
        services = open_services(ServerSettings(self._server.data_dir))
        while not self._ended.wait(0.05):
            maintenance.gc(services)
        services.close()


def test_everything_that_was_acknowledged_is_in_a_backup_made_under_load(tmp_path: Path, run: Run) -> None:
    backup = tmp_path / "backup"
    with live_server(data_dir=tmp_path / "data") as server, Load(server) as load:
        for turn in range(rounds(quick=3, soak=30)):
            wanted = 20 * (turn + 1)
            wait_until(lambda wanted=wanted: len(load.kept) >= wanted or bool(load.failures))
            acknowledged = dict(load.kept)
            report = back_up(server.data_dir, backup, Silent(), link=turn % 2 == 0)
            assert report.problems == ()
    found = restored(run, backup, tmp_path / "elsewhere")
    assert {path: found.get(path) for path in acknowledged} == acknowledged


@pytest.mark.parametrize("options", [(), ("--copy",)])
def test_only_what_is_new_is_copied_and_only_what_is_needed_stays(
    tmp_path: Path, run: Run, options: tuple[str, ...]
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    command = ("backup", backup, "--data", data, "--json", *options)
    with live_server(data_dir=data) as server:
        fs = filled(server)
        code, first = run(*command)
        assert (code, first["contents"], first["copied"]) == (0, 20, 20)
        assert {path.stat().st_nlink for path in contents(backup)} == {1 if options else 2}
        fs.pipe_file("new", b"new content")
        fs.rm("few/1")
        code, second = run(*command)
        assert (code, second["contents"], second["copied"], second["bytes_copied"]) == (0, 20, 1, 11)
        assert len(contents(backup)) == 20
        expected = dict(fs.cat(fs.find("")))
    assert sorted(path.name.partition("-")[0] for path in backup.iterdir()) == [
        "b3",
        "backup.json",
        "contents",
        "database",
    ]
    made = [path for path in backup.rglob("*") if path.stat().st_nlink == 1 or path.is_dir()]
    assert [path for path in made if path.stat().st_mode & 0o077] == []
    assert restored(run, backup, tmp_path / "new" / "data") == expected


@pytest.mark.parametrize("options", [(), ("--verify",)])
def test_copies_replace_the_links_of_earlier_backups(
    tmp_path: Path, run: Run, options: tuple[str, ...]
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    command = ("backup", backup, "--data", data, "--json", *options)
    with live_server(data_dir=data) as server:
        fs = filled(server)
        run(*command)
        fs.pipe_file("new", b"new content")
        expected = dict(fs.cat(fs.find("")))
        assert run(*command, "--copy")[1]["copied"] == 21
        assert {path.stat().st_nlink for path in contents(backup)} == {1}
        assert run(*command, "--copy")[1]["copied"] == 0
        # Links between backups are not to the server's files, and stay.
        subprocess.run(["cp", "-al", backup, tmp_path / "yesterday"], check=True)
        assert run(*command, "--copy")[1]["copied"] == 0
        assert {path.stat().st_nlink for path in contents(backup)} == {2}
    assert restored(run, backup, tmp_path / "target") == expected


@pytest.mark.parametrize("piece", [0, 1, 19])
def test_an_interrupted_backup_leaves_the_one_before_and_continues(
    tmp_path: Path, run: Run, piece: int
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with live_server(data_dir=data) as server:
        fs = filesystem(server)
        fs.pipe_file("before", b"before")
        back_up(data, backup, Silent())
        fs.rm("before")
        filled(server)
        with pytest.raises(KeyboardInterrupt):
            back_up(data, backup, Silent(piece))
        shutil.copytree(backup, tmp_path / "interrupted")
        expected = dict(fs.cat(fs.find("")))
        report = back_up(data, backup, Silent())
        assert report.copied == 20 - piece
    assert restored(run, tmp_path / "interrupted", tmp_path / "one") == {"before": b"before"}
    assert restored(run, backup, tmp_path / "two") == expected


def test_a_first_backup_that_was_interrupted_is_told_from_a_whole_one(tmp_path: Path, run: Run) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with live_server(data_dir=data) as server:
        filled(server)
        with pytest.raises(KeyboardInterrupt):
            back_up(data, backup, Silent(3))
        code, message = run("restore", backup, tmp_path / "target")
        assert code == 1
        assert "never finished" in message
        assert back_up(data, backup, Silent()).copied == 17
    assert len(restored(run, backup, tmp_path / "target")) == 21


@pytest.mark.parametrize("disk", DISKS)
def test_a_backup_that_does_not_fit_leaves_the_one_before_and_continues(
    tmp_path: Path, run: Run, disk: str
) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    command = ("backup", backup, "--data", data, "--copy")
    with live_server(data_dir=data) as server:
        fs = filled(server)
        before = dict(fs.cat(fs.find("")))
        back_up(data, backup, Silent())
        fs.rm("few/2")
        fs.pipe({"large": os.urandom(LARGE.get(disk, 9 * KIB)), "small": b"small"})
        expected = dict(fs.cat(fs.find("")))
    with DISKS[disk](backup / "b3"):
        code, message = run(*command)
    assert (code, f"{backup}/" in message, "cannot be written" in message) == (1, True, True), message
    shutil.copytree(backup, tmp_path / "as it was left")
    assert run(*command)[0] == 0
    assert restored(run, tmp_path / "as it was left", tmp_path / "one") == before
    assert restored(run, backup, tmp_path / "two") == expected


@pytest.mark.parametrize("disk", DISKS)
def test_a_restore_that_does_not_fit_is_told_from_a_whole_one_and_continues(
    tmp_path: Path, run: Run, disk: str
) -> None:
    backup, target = tmp_path / "backup", tmp_path / "target"
    with live_server(data_dir=tmp_path / "data") as server:
        fs = filled(server)
        # Contents are restored in the order of their hashes: that of this one comes late.
        large = random.Random(0).randbytes(LARGE.get(disk, 9 * KIB))
        fs.pipe({"large": large, "small": b"small"})
        expected = dict(fs.cat(fs.find("")))
        back_up(tmp_path / "data", backup, Silent())
    with pytest.raises(KeyboardInterrupt):
        backups.restore(backup, target, Silent(3))
    with DISKS[disk](target / "blobs" / "b3"):
        code, message = run("restore", backup, target)
    assert (code, f"{target}/" in message, "cannot be written" in message) == (1, True, True), message
    assert (target / "restore-unfinished").exists()
    assert restored(run, backup, target) == expected


@contextmanager
def watched_syncs() -> Iterator[list[Path]]:
    """Yield the list of what is synced in the context, in order."""
    synced: list[Path] = []
    real = os.fsync

    def fsync(descriptor: int) -> None:
        synced.append(Path(f"/proc/self/fd/{descriptor}").readlink())
        real(descriptor)

    with pytest.MonkeyPatch.context() as patched:
        patched.setattr(os, "fsync", fsync)
        yield synced


def names_in(root: Path) -> set[Path]:
    """Return the folders with names that must be durable, for a copy to be there after a power failure."""
    return {root.parent, root, *(path.parent for path in root.rglob("*"))}


@pytest.mark.parametrize("ends_after", [0, 1, 10, 19, 20, None])
@pytest.mark.parametrize("options", [{"link": True}, {"link": False}, {"verify": True}])
def test_a_continued_backup_makes_everything_durable_before_it_is_named(
    tmp_path: Path, ends_after: int | None, options: dict[str, bool]
) -> None:
    data, backup = tmp_path / "data", tmp_path / "new" / "backup"
    with live_server(data_dir=data) as server:
        filled(server)
    if ends_after is not None:
        with suppress(KeyboardInterrupt):
            back_up(data, backup, Silent(ends_after), **options)
    with watched_syncs() as synced:
        back_up(data, backup, Silent(), **options)
    published = len(synced) - 1 - synced[::-1].index(backup / "backup.json.partial")
    assert names_in(backup) - set(synced[:published]) == set()


@pytest.mark.parametrize("ends_after", [0, 1, 10, 19, 20, None])
def test_a_continued_restore_makes_everything_durable(
    tmp_path: Path, run: Run, ends_after: int | None
) -> None:
    backup, target = tmp_path / "backup", tmp_path / "new" / "folder" / "target"
    with live_server(data_dir=tmp_path / "data") as server:
        filled(server)
        back_up(tmp_path / "data", backup, Silent())
    with watched_syncs() as at_first:
        if ends_after is not None:
            with suppress(KeyboardInterrupt):
                backups.restore(backup, target, Silent(ends_after))
            (target / "restore-unfinished").touch()  # also if it ended just before it removes that
    with watched_syncs() as synced:
        backups.restore(backup, target, Silent())
    assert names_in(target) - set(synced) == set()
    assert {tmp_path, target.parent.parent} - {*at_first, *synced} == set()
    assert len(restored(run, backup, tmp_path / "another")) == 21


@pytest.mark.parametrize(
    "command",
    [
        ("serve", "--port", "0", "--data"),
        ("admin", "fsck", "--data"),
        ("admin", "gc", "--data"),
        ("admin", "user", "list", "--data"),
        ("admin", "copy-blobs", "--to", "folder", "--data"),
        ("admin", "copy", "--to-database", "postgresql://127.0.0.1:9/none", "--from"),
        ("admin", "backup", "another", "--data"),
    ],
)
@pytest.mark.parametrize("place", ["before the database", "before the end"])
def test_a_folder_whose_restore_was_not_finished_is_used_by_nothing(
    tmp_path: Path, run: Run, command: tuple[str, ...], place: str
) -> None:
    backup, target = tmp_path / "backup", tmp_path / "target"
    with live_server(data_dir=tmp_path / "data") as server:
        filled(server, 3)
        back_up(tmp_path / "data", backup, Silent())
    if place == "before the end":
        backups.restore(backup, target, Silent())
        (target / "restore-unfinished").touch()
    else:
        with pytest.raises(KeyboardInterrupt):
            backups.restore(backup, target, Silent(2))
    done = run_command(*command, str(target))
    assert done.returncode == 1, done
    assert f"{target}: the restore into this folder was not finished" in done.stderr
    assert "rinofs admin restore" in done.stderr
    with pytest.raises(DataDirError, match="not finished"), live_server(data_dir=target):
        pass
    assert len(restored(run, backup, target)) == 4


def test_a_folder_that_is_served_is_not_restored(tmp_path: Path, run: Run) -> None:
    backup, target = tmp_path / "backup", tmp_path / "target"
    with live_server(data_dir=tmp_path / "data") as server:
        filled(server, 3)
        back_up(tmp_path / "data", backup, Silent())
    for marked in (False, True):
        target.mkdir(exist_ok=True)
        if marked:
            (target / "restore-unfinished").touch()
        with exclusive(target):
            code, message = run("restore", backup, target)
        assert (code, f"{target} is being served" in message) == (1, True), message
    assert len(restored(run, backup, target)) == 4


@pytest.mark.soak
def test_a_backup_killed_anywhere(tmp_path: Path, run: Run) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    chance = random.Random(5)
    with live_server(data_dir=data) as server:
        fs = filled(server, rounds(quick=50, soak=100))
        back_up(data, backup, Silent())
        expected = [dict(fs.cat(fs.find("")))]
        for turn in range(rounds(quick=1, soak=15)):
            fs.pipe(
                {
                    f"turn{turn}/{number}": b"%d %d" % (turn, number)
                    for number in range(rounds(quick=50, soak=100))
                }
            )
            expected.append(dict(fs.cat(fs.find(""))))
            command = [*COMMAND, "admin", "backup", str(backup), "--data", str(data), "--copy"]
            with subprocess.Popen(command, stdout=subprocess.DEVNULL) as process:
                time.sleep(chance.uniform(0.3, 3))
                process.send_signal(signal.SIGKILL)
            found = restored(run, backup, tmp_path / f"target{turn}")
            assert found in expected
            shutil.rmtree(tmp_path / f"target{turn}")
        back_up(data, backup, Silent())
    assert restored(run, backup, tmp_path / "target") == expected[-1]


def test_a_restore_that_was_interrupted_continues(tmp_path: Path, run: Run) -> None:
    with live_server(data_dir=tmp_path / "data") as server:
        filled(server)
        back_up(tmp_path / "data", tmp_path / "backup", Silent())
    with pytest.raises(KeyboardInterrupt):
        backups.restore(tmp_path / "backup", tmp_path / "target", Silent(7))
    assert not (tmp_path / "target" / "rinofs.sqlite3").exists()
    assert len(restored(run, tmp_path / "backup", tmp_path / "target")) == 21


def test_nothing_is_collected_meanwhile(tmp_path: Path, run: Run) -> None:
    with live_server(data_dir=tmp_path) as server:
        fs = filled(server)
        # Removed at once or by the collector, which is kept away either way.
        folder = tmp_path / "blobs"
        with keeping_all(folder):
            fs.rm("few", recursive=True)
            assert run("gc", "--data", tmp_path, "--json")[1]["blobs_removed"] == 0
            assert len(contents(folder)) == 20
        assert run("gc", "--data", tmp_path, "--json")[1]["blobs_removed"] == 20


def test_two_backups_take_turns(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("rinofs.server.blobs.folders._PATIENCE", 0.1)
    with live_server(data_dir=tmp_path / "data"):
        folder = tmp_path / "data" / "blobs"
        with keeping_all(folder), pytest.raises(FolderInUseError, match="another backup"):
            back_up(tmp_path / "data", tmp_path / "backup", Silent())
        with may_remove(folder), pytest.raises(FolderInUseError):
            back_up(tmp_path / "data", tmp_path / "backup", Silent())
        assert back_up(tmp_path / "data", tmp_path / "backup", Silent()).contents == 0


@pytest.mark.parametrize("missing", [False, True])
def test_damage_is_told_and_the_rest_is_saved(tmp_path: Path, run: Run, missing: bool) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with live_server(data_dir=data) as server:
        filled(server)
    damaged = next(path for path in sorted(contents(data / "blobs")))
    if missing:
        damaged.unlink()
    else:
        damaged.write_bytes(damaged.read_bytes()[:-1] + b"x")
    for _ in range(2):
        code, report = run("backup", backup, "--data", data, "--json")
        assert (code, len(report["problems"])) == (1, 1)
        assert damaged.name in report["problems"][0]
    code, report = run("restore", backup, tmp_path / "target", "--json")
    assert (code, report["copied"], len(report["problems"])) == (1, 19, 1)


def test_damage_of_a_backup_is_found(tmp_path: Path, run: Run) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with live_server(data_dir=data) as server:
        filled(server)
    command = ("backup", backup, "--data", data, "--copy", "--json")
    run(*command)
    content = contents(backup)[0]
    content.write_bytes(content.read_bytes()[:-1] + b"x")
    assert run("restore", backup, tmp_path / "one", "--json")[0] == 1
    assert run(*command)[1]["copied"] == 0
    assert run(*command, "--verify")[1]["copied"] == 1
    restored(run, backup, tmp_path / "two")
    (database,) = backup.glob("database-*")
    with database.open("r+b") as file:
        file.seek(5000)
        file.write(b"xxxx")
    code, message = run("restore", backup, tmp_path / "three")
    assert code == 1
    assert "damaged" in message
    assert not (tmp_path / "three").exists()


def test_folders_that_cannot_be_meant(tmp_path: Path, run: Run) -> None:
    data = tmp_path / "data"
    with live_server(data_dir=data):
        pass
    other = tmp_path / "other"
    other.mkdir()
    (other / "thesis.txt").write_text("x")
    back_up(data, tmp_path / "backup", Silent())
    for command, words in [
        (("backup", other, "--data", data), "neither empty nor a backup"),
        (("backup", data, "--data", data), "outside"),
        (("backup", data / "backup", "--data", data), "outside"),
        (("backup", tmp_path, "--data", data), "outside"),
        (("backup", tmp_path / "new", "--data", other), "not a data folder"),
        (("restore", tmp_path / "backup", other), "not empty"),
        (("restore", tmp_path / "backup", data), "not empty"),
        (("restore", other, tmp_path / "new"), "not a backup"),
        (("restore", tmp_path / "nowhere", tmp_path / "new"), "not a backup"),
    ]:
        code, message = run(*command)
        assert (code, words in message) == (1, True), (command, message)
    assert not (tmp_path / "new").exists()
    assert [path.name for path in other.iterdir()] == ["thesis.txt"]


def test_files_of_others_are_neither_copied_nor_removed(tmp_path: Path, run: Run) -> None:
    data, backup = tmp_path / "data", tmp_path / "backup"
    with live_server(data_dir=data) as server:
        filled(server)
    run("backup", backup, "--data", data)
    foreign = [
        folder / name
        for kind in ("contents", "b3")
        for folder in (data / "blobs" / kind, backup / kind)
        for name in (".DS_Store", "ab-notes/x", "zz/y")
    ]
    for path in foreign:
        path.parent.mkdir(exist_ok=True)
        path.write_text("mine")
    code, report = run("backup", backup, "--data", data, "--json")
    assert (code, report["copied"]) == (0, 0)
    assert run("gc", "--data", data, "--json")[0] == 0
    assert run("fsck", "--data", data, "--json")[0] == 0
    assert [path for path in foreign if path.read_text() != "mine"] == []
    assert len(restored(run, backup, tmp_path / "target")) == 21
    for kind in ("contents", "b3"):
        assert not (tmp_path / "target" / "blobs" / kind / ".DS_Store").exists()
    assert run("fsck", "--data", tmp_path / "nowhere")[0] == 2


@pytest.mark.parametrize("endpoint", ["http://127.0.0.1:9", "nonsense"])
@pytest.mark.parametrize("as_json", [False, True])
def test_a_restore_tells_what_it_did_before_it_tells_that_the_store_is_not_usable(
    tmp_path: Path, run: Run, monkeypatch: pytest.MonkeyPatch, endpoint: str, as_json: bool
) -> None:
    data, backup, target = tmp_path / "data", tmp_path / "backup", tmp_path / "target"
    with live_server(data_dir=data) as server:
        filled(server)
    with closing(open_services(ServerSettings(data))) as services:
        services.database.set_property(BLOBS_URL, "s3://bucket/prefix")
        with services.database.write() as connection:
            away = insert(blobs).values(blake3="ff" * 32, size=1, etag="e", key="c/worker/1")
            connection.execute(away)
    back_up(data, backup, Silent())
    for name, value in (("ENDPOINT_URL", endpoint), ("ACCESS_KEY_ID", "a"), ("SECRET_ACCESS_KEY", "b")):
        monkeypatch.setenv(f"AWS_{name}", value)
    done = run_command("admin", "restore", str(backup), str(target), *(["--json"] if as_json else []))
    assert done.returncode == 1
    if as_json:
        assert json.loads(done.stdout)["copied"] == 20
    else:
        assert "20 restored" in done.stdout
        assert "1 content in the object store" in done.stdout
    assert "s3://bucket/prefix" in done.stderr or "AWS_ENDPOINT_URL" in done.stderr
    assert "unexpected" not in done.stderr
    assert f"rinofs admin fsck --data {target}" in done.stderr
    with closing(open_database(ServerSettings(target))) as database, database.read() as connection:
        assert [entry.details["action"] for entry in entries(connection, limit=1)] == ["restore"]


def test_a_restore_is_in_the_audit_log(tmp_path: Path, run: Run) -> None:
    with live_server(data_dir=tmp_path / "data"):
        pass
    run("backup", tmp_path / "backup", "--data", tmp_path / "data")
    run("restore", tmp_path / "backup", tmp_path / "target")
    assert "restore" in json.dumps(run("audit", "--data", tmp_path / "target", "--json")[1])
