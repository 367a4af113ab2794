"""Whose the data folder is, who can read it, and where secrets come from."""

from __future__ import annotations

import os
import stat
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
import requests

from rinofs.server.folder import DataDirError, close_to_others, prepare_folder
from rinofs.testing import live_server
from tests.forkserver import run_command, server_process
from tests.server.client import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing.process import ServerProcess

CANARY = "canary-7f3a9b"


def modes(folder: Path) -> dict[str, int]:
    return {str(path.relative_to(folder)): stat.S_IMODE(path.lstat().st_mode) for path in folder.rglob("*")}


@pytest.fixture
def _open_umask() -> Iterator[None]:
    before = os.umask(0o000)
    yield
    os.umask(before)


@pytest.mark.usefixtures("_open_umask")
def test_what_the_server_makes_is_its_owners_alone(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    with server_process(data) as server:
        Api(server.endpoint_url, server.token).file("a.csv", b"1")
        found = modes(data)
        assert any(name.startswith("blobs/b3/") for name in found)
        wrong = {name: oct(mode) for name, mode in found.items() if mode & 0o077}
        assert wrong == {}
        assert server.errors() == ""


@pytest.mark.usefixtures("_open_umask")
def test_a_server_in_a_program_closes_its_folder_too(tmp_path: Path) -> None:
    data = tmp_path / "data"
    data.mkdir(mode=0o755)
    with live_server(data_dir=data) as server:
        Api(server.endpoint_url, server.token).file("a.csv", b"1")
        found = modes(data)
        database = {mode for name, mode in found.items() if name.startswith("rinofs.sqlite3")}
    assert database == {0o600}
    assert found["blobs"] == 0o700


def test_what_is_open_is_closed_at_the_start(tmp_path: Path) -> None:
    data = tmp_path / "data"
    with live_server(data_dir=data) as server:
        Api(server.endpoint_url, server.token).file("a.csv", b"1")
    for path in (data, *data.rglob("*")):
        path.chmod(0o755 if path.is_dir() else 0o644)
    with live_server(data_dir=data):
        assert {name: mode for name, mode in modes(data).items() if mode & 0o077} == {}


def test_a_folder_with_other_files_is_refused(tmp_path: Path) -> None:
    (tmp_path / "thesis.tex").write_text("x")
    for command in (["serve", "--port", "0"], ["admin", "user", "list"]):
        done = run_command(*command, "--data", str(tmp_path))
        assert (done.returncode, done.stdout) == (1, "")
        assert done.stderr.startswith(f"rinofs: {tmp_path}: this folder has other files in it")
    assert [path.name for path in tmp_path.iterdir()] == ["thesis.tex"]


@pytest.mark.parametrize("present", [(), ("lost+found",), ("serve.lock",), ("rinofs.sqlite3", "notes.txt")])
def test_a_new_an_empty_and_its_own_folder_are_taken(tmp_path: Path, present: tuple[str, ...]) -> None:
    for name in present:
        (tmp_path / name).touch()
    assert prepare_folder(tmp_path) == []
    assert prepare_folder(tmp_path / "new" / "one") == []


def test_a_folder_of_everybody_is_refused_and_of_a_group_warned_about(tmp_path: Path) -> None:
    for mode in (0o777, 0o702, 0o1777):
        tmp_path.chmod(mode)
        with pytest.raises(DataDirError, match="every user"):
            prepare_folder(tmp_path)
    tmp_path.chmod(0o770)
    (warning,) = prepare_folder(tmp_path)
    assert "group" in warning
    tmp_path.chmod(0o700)


@pytest.mark.parametrize(
    "name", ["rinofs.sqlite3", "rinofs.sqlite3-wal", "rinofs.sqlite3-shm", "serve.lock", "blobs"]
)
def test_a_link_in_place_of_what_it_owns_is_not_followed(tmp_path: Path, name: str) -> None:
    data, target = tmp_path / "data", tmp_path / "target"
    data.mkdir()
    if name != "rinofs.sqlite3":
        (data / "rinofs.sqlite3").touch()
    (data / name).symlink_to(target)
    with pytest.raises(DataDirError, match="symbolic link"):
        close_to_others(data)
    done = run_command("serve", "--port", "0", "--data", str(data))
    assert (done.returncode, "symbolic link" in done.stderr) == (1, True)
    assert not target.exists()


def status_with(server: ServerProcess, token: str) -> int:
    return Api(server.endpoint_url, token).post("files/children", {}).status_code


def log_in(server: ServerProcess, password: str) -> int:
    form = {"grant_type": "password", "client_id": "x", "username": "rino", "password": password}
    return requests.post(f"{server.endpoint_url}/o/token/", data=form, timeout=60).status_code


def test_secrets_from_files_are_shown_nowhere(tmp_path: Path) -> None:
    token, password = f"{CANARY}-token", f"{CANARY}-password"
    for name, secret in (("token", token), ("password", password)):
        (tmp_path / name).write_text(f"{secret}\n")
        (tmp_path / name).chmod(0o600)
    options = ("--token-file", str(tmp_path / "token"), "--password-file", str(tmp_path / "password"))
    with server_process(tmp_path / "data", *options) as server:
        assert status_with(server, token) == 200
        assert log_in(server, password) == 200
        assert CANARY not in cmdline(server.pid) + server.output + server.errors()


def cmdline(pid: int) -> str:
    return Path(f"/proc/{pid}/cmdline").read_text()


def test_secrets_from_the_environment(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINOFS_TOKEN", f"{CANARY}-token")
    monkeypatch.setenv("RINOFS_PASSWORD", f"{CANARY}-password")
    with server_process(tmp_path / "data") as server:
        assert status_with(server, f"{CANARY}-token") == 200
        assert log_in(server, f"{CANARY}-password") == 200
        assert CANARY not in cmdline(server.pid) + server.output + server.errors()


def test_the_same_password_at_each_start_ends_nothing(tmp_path: Path) -> None:
    options = ("--token", "the-token", "--password", "a password")
    with server_process(tmp_path / "data", *options) as server:
        form = {"grant_type": "password", "client_id": "x", "username": "rino", "password": "a password"}
        answer = requests.post(f"{server.endpoint_url}/o/token/", data=form, timeout=60).json()
        assert server.terminate() == 0
    with server_process(tmp_path / "data", *options) as server:
        assert status_with(server, answer["access_token"]) == 200


@pytest.mark.parametrize("content", ["", "\n", "short"])
def test_a_file_without_a_good_password(tmp_path: Path, content: str) -> None:
    (tmp_path / "password").write_text(content)
    done = run_command(
        *("serve", "--port", "0", "--data", str(tmp_path / "data")),
        *("--password-file", str(tmp_path / "password")),
    )
    assert (done.returncode, done.stdout) == (2, "")
    assert "password" in done.stderr
