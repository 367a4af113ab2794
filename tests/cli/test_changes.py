"""`mv` and `rm`."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import contents

if TYPE_CHECKING:
    from pathlib import Path

    from fsspec import AbstractFileSystem

    from tests.cli.conftest import Run


def test_rm_deletes_files(run: Run, runs: Path) -> None:
    result = run("rm", runs / "a.csv", runs / "b [1].csv")
    assert result.exit_code == 0
    assert {path.name for path in runs.iterdir()} == {"empty", "run 1", "run 2"}


def test_rm_of_a_folder_needs_to_be_told(run: Run, runs: Path) -> None:
    before = contents(runs)
    result = run("rm", runs / "run 1")
    assert result.exit_code == 1
    assert "use -r" in result.stderr
    assert contents(runs) == before
    assert run("rm", "-r", runs / "run 1").exit_code == 0
    assert not (runs / "run 1").exists()


def test_rm_deletes_the_rest_where_something_is_not_there(run: Run, runs: Path) -> None:
    result = run("rm", runs / "gone", runs / "a.csv")
    assert result.exit_code == 1
    assert result.stderr == f"rinofs: {runs}/gone: no such file or directory\n"
    assert not (runs / "a.csv").exists()


def test_rm_force_says_nothing_of_what_is_not_there(run: Run, runs: Path) -> None:
    result = run("rm", "-f", runs / "gone", runs / "a.csv")
    assert (result.exit_code, result.stderr) == (0, "")
    assert not (runs / "a.csv").exists()


def test_rm_takes_patterns_of_urls_only(run: Run, runs: Path) -> None:
    assert run("rm", f"{runs}/*.csv").exit_code == 1
    assert (runs / "a.csv").exists()
    assert run("rm", f"file://{runs}/*.csv").exit_code == 0
    assert not list(runs.glob("*.csv"))


@pytest.mark.parametrize("url", ["memory://", "memory:///"])
def test_rm_of_everything_is_refused(run: Run, memory: AbstractFileSystem, url: str) -> None:
    memory.pipe("/a", b"1")
    result = run("rm", "-r", "-f", url)
    assert result.exit_code == 1
    assert "refusing" in result.stderr
    assert memory.exists("/a")


def test_mv_renames(run: Run, runs: Path) -> None:
    assert run("mv", runs / "a.csv", runs / "c.csv").exit_code == 0
    assert run("mv", runs / "run 1", runs / "run 3").exit_code == 0
    assert {path.name for path in runs.iterdir()} == {"b [1].csv", "c.csv", "empty", "run 2", "run 3"}
    assert (runs / "run 3" / "deep" / "ünïcode #?%.txt").read_text() == "hello"


def test_mv_into_a_folder(run: Run, runs: Path) -> None:
    assert run("mv", runs / "a.csv", runs / "run 2", runs / "empty").exit_code == 0
    assert {path.name for path in (runs / "empty").iterdir()} == {"a.csv", "run 2"}


def test_mv_replaces_files_but_not_folders(run: Run, runs: Path) -> None:
    assert run("mv", runs / "a.csv", runs / "b [1].csv").exit_code == 0
    assert (runs / "b [1].csv").read_text() == "x,y\n1,2\n"
    (runs / "empty" / "run 1").mkdir()
    before = contents(runs)
    for source, target in [("run 1", "empty"), ("run 1", "b [1].csv")]:
        result = run("mv", runs / source, runs / target)
        assert result.exit_code == 1
        assert "already exists" in result.stderr
    assert contents(runs) == before


@pytest.mark.parametrize("target", ["run 1", "run 1/deep", "run 1/deep/x"])
def test_mv_does_not_move_a_folder_into_itself(run: Run, runs: Path, target: str) -> None:
    before = contents(runs)
    result = run("mv", runs / "run 1", runs / target)
    assert result.exit_code == 1
    assert contents(runs) == before


def test_mv_between_filesystems_deletes_what_was_copied(
    run: Run, runs: Path, memory: AbstractFileSystem
) -> None:
    assert run("mv", runs / "run 1", "memory://there").exit_code == 0
    assert not (runs / "run 1").exists()
    assert memory.cat("/there/data.csv") == b"1\n2\n3\n"
    assert run("mv", "memory://there", runs).exit_code == 0
    assert (runs / "there" / "data.csv").read_text() == "1\n2\n3\n"
    assert not memory.exists("/there")


def test_mv_between_filesystems_deletes_nothing_if_something_was_not_copied(
    run: Run, runs: Path, memory: AbstractFileSystem
) -> None:
    (runs / "run 1" / "broken").symlink_to("nowhere")
    result = run("mv", runs / "run 1", "memory://there")
    assert result.exit_code == 1
    assert "was not deleted" in result.stderr
    assert (runs / "run 1" / "data.csv").exists()
    assert memory.cat("/there/data.csv") == b"1\n2\n3\n"


def test_mv_of_several_needs_a_folder(run: Run, runs: Path) -> None:
    before = contents(runs)
    result = run("mv", runs / "a.csv", runs / "b [1].csv", runs / "new")
    assert result.exit_code == 1
    assert contents(runs) == before
    assert run("mv", runs / "a.csv", runs / "b [1].csv", f"{runs}/new/").exit_code == 0
    assert {path.name for path in (runs / "new").iterdir()} == {"a.csv", "b [1].csv"}
