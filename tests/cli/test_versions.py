"""`versions` and `restore`, `mkdir`, and what `put` stores with files, on a real server."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from tests.cli.conftest import point_to

if TYPE_CHECKING:
    from pathlib import Path

    from fsspec import AbstractFileSystem

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run


@pytest.fixture
def fs(running: LiveServer, monkeypatch: pytest.MonkeyPatch) -> Any:
    point_to(running, monkeypatch)
    return fsspec.filesystem("rino", endpoint_url=running.endpoint_url, token=running.token)


def test_versions_are_listed_read_and_restored(run: Run, fs: Any) -> None:
    url = "rino://history/a.csv"
    for content in (b"1", b"22", b"333"):
        fs.pipe_file("history/a.csv", content)
    lines = run("versions", url).stdout.splitlines()
    assert [line.split()[1] for line in lines] == ["1", "2", "3"]
    assert [line.endswith("current") for line in lines] == [False, False, True]
    listed = json.loads(run("versions", "--json", url).stdout)
    assert [one["id"] for one in listed] == [int(line.split()[0]) for line in lines]
    first = str(listed[0]["id"])
    assert run("cat", f"rino://@{first}").stdout == "1"
    assert run("restore", url, first).exit_code == 0
    assert run("cat", url).stdout == "1"
    assert len(run("versions", url).stdout.splitlines()) == 4


def test_restoring_the_current_version_adds_none(run: Run, fs: Any) -> None:
    fs.pipe_file("history/b.csv", b"1")
    only = run("versions", "rino://history/b.csv").stdout.split()[0]
    assert run("restore", "rino://history/b.csv", only).exit_code == 0
    assert len(fs.versions("history/b.csv")) == 1


def test_rm_deletes_one_version_alone(run: Run, fs: Any) -> None:
    url = "rino://history/pruned.csv"
    for content in (b"1", b"22", b"333"):
        fs.pipe_file("history/pruned.csv", content)
    ids = [line.split()[0] for line in run("versions", url).stdout.splitlines()]
    assert run("rm", "--version", ids[1], url).exit_code == 0
    assert [line.split()[0] for line in run("versions", url).stdout.splitlines()] == [ids[0], ids[2]]
    assert run("rm", "--version", ids[2], url).exit_code == 1  # the current one
    assert run("rm", "--version", ids[0], url, url).exit_code == 2
    assert run("cat", url).stdout == "333"


def test_an_unknown_version_is_an_error_that_says_where_to_look(run: Run, fs: Any) -> None:
    fs.pipe_file("history/c.csv", b"1")
    url = "rino://history/c.csv"
    result = run("restore", url, "999999")
    assert result.exit_code == 1
    assert result.stderr == f"rinofs: {url}: no version 999999; `rinofs versions {url}` lists them\n"
    assert fs.cat_file("history/c.csv") == b"1"


@pytest.mark.parametrize("args", [["versions"], ["restore", "1"]])
def test_other_filesystems_have_no_versions(run: Run, tmp_path: Path, args: list[str]) -> None:
    result = run(args[0], str(tmp_path), *args[1:])
    assert result.exit_code == 1
    assert result.stderr == f"rinofs: {tmp_path}: versions are not supported here; use a rino:// URL\n"


@pytest.mark.parametrize("kind", ["local", "memory", "rino"])
def test_mkdir(run: Run, fs: Any, tmp_path: Path, memory: AbstractFileSystem, kind: str) -> None:
    top = {"local": str(tmp_path), "memory": "memory://", "rino": "rino://"}[kind]
    top = top if top.endswith("/") else f"{top}/"
    assert run("mkdir", f"{top}new").exit_code == 0
    assert run("ls", f"{top}new").exit_code == 0
    again = run("mkdir", f"{top}new")
    assert (again.exit_code, again.stderr) == (1, f"rinofs: {top}new: already exists\n")
    deep = run("mkdir", f"{top}no/such/folder", f"{top}other")
    assert deep.exit_code == 1
    assert "use -p" in deep.stderr
    assert run("ls", f"{top}other").exit_code == 0  # the rest goes on
    assert run("ls", f"{top}no").exit_code == 1
    assert run("mkdir", "-p", f"{top}no/such/folder", f"{top}new").exit_code == 0
    assert run("ls", f"{top}no/such").stdout == "folder/\n"


def test_put_stores_metadata_and_tags(run: Run, fs: Any, runs: Path) -> None:
    given = ["--meta", "subject=A22", "--meta", "rate_hz=100", "--tag", "pilot", "--tag", "left"]
    assert run("put", "-r", runs / "run 1", "rino://tagged", *given).exit_code == 0
    assert run("put", "-", "rino://tagged/in", *given, input="x").exit_code == 0
    for path in ("tagged/data.csv", "tagged/in"):
        assert fs.get_metadata(path) == {"subject": "A22", "rate_hz": 100}
        assert sorted(fs.get_tags(path)) == ["left", "pilot"]


def test_put_with_metadata_to_a_place_without_is_refused_before_anything_is_copied(
    run: Run, runs: Path, memory: AbstractFileSystem
) -> None:
    result = run("put", runs / "a.csv", "memory://a.csv", "--meta", "x=1")
    assert result.exit_code == 2
    assert "--meta and --tag need a rino:// destination" in result.stderr
    assert not memory.exists("/a.csv")


@pytest.mark.parametrize("option", ["--recursive", "--json", "--sidecars"])
def test_what_standard_output_cannot_have_is_refused(run: Run, fs: Any, option: str) -> None:
    fs.pipe_file("history/bytes", b"1")
    result = run("get", option, "rino://history/bytes", "-")
    assert (result.exit_code, result.stdout_bytes) == (2, b"")
    assert f"-: {option} is of no use with standard output" in result.stderr


def test_get_to_a_dash_is_standard_output(
    run: Run, fs: Any, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(tmp_path)
    fs.pipe_file("history/bytes", bytes(range(256)))
    result = run("get", "rino://history/bytes", "-")
    assert (result.exit_code, result.stdout_bytes) == (0, bytes(range(256)))
    assert run("get", "rino://history", "-").exit_code == 1
    assert not (tmp_path / "-").exists()
    assert run("get", "rino://history/bytes", "./-").exit_code == 0
    assert (tmp_path / "-").exists()
