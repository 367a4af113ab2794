"""`get`, `put`, `cp`: where things go, what they hold, what is reported."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

from tests.cli.conftest import contents

if TYPE_CHECKING:
    from pathlib import Path

    from fsspec import AbstractFileSystem

    from tests.cli.conftest import Run


@pytest.mark.parametrize("command", ["get", "cp"])
def test_a_folder_arrives_whole(run: Run, runs: Path, tmp_path: Path, command: str) -> None:
    result = run(command, "-r", f"file://{runs}", tmp_path / "new")
    assert (result.exit_code, result.output) == (0, "")
    assert contents(tmp_path / "new") == contents(runs)


def test_a_round_trip_through_another_filesystem(
    run: Run, runs: Path, tmp_path: Path, memory: AbstractFileSystem
) -> None:
    assert run("put", "-r", runs, "memory://exp").exit_code == 0
    assert run("cp", "-r", "memory://exp", "memory://copy").exit_code == 0
    assert run("get", "-r", "memory://copy", tmp_path / "back").exit_code == 0
    assert contents(tmp_path / "back") == contents(runs)


def test_a_file_gets_the_name_or_goes_into_the_folder(run: Run, runs: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    there.mkdir()
    assert run("get", runs / "a.csv", there / "new.csv").exit_code == 0
    assert run("get", runs / "a.csv", there).exit_code == 0
    assert run("get", runs / "a.csv", f"{there}/made/").exit_code == 0
    assert sorted(contents(there)) == ["a.csv", "made", "made/a.csv", "new.csv"]


def test_a_folder_that_exists_gets_what_the_source_holds(run: Run, runs: Path, tmp_path: Path) -> None:
    there = tmp_path / "there"
    for _ in range(2):
        assert run("get", "-r", runs / "run 1", there).exit_code == 0
    assert sorted(path.name for path in there.iterdir()) == ["data.csv", "deep"]


def test_a_missing_source_does_not_change_where_the_other_one_goes(
    run: Run, runs: Path, tmp_path: Path
) -> None:
    assert run("get", "-r", runs / "run 1", runs / "gone", tmp_path / "there").exit_code == 1
    assert (tmp_path / "there" / "run 1" / "data.csv").exists()


def test_everything_is_not_copied_into_a_part_of_itself(
    run: Run, runs: Path, memory: AbstractFileSystem
) -> None:
    memory.pipe("/a", b"1")
    result = run("cp", "-r", "memory://", "memory://copy")
    assert result.exit_code == 1
    assert result.stderr == "rinofs: memory://: cannot be copied or moved into itself (memory://copy)\n"


def test_the_content_of_here_goes_straight_into_the_folder(
    run: Run, runs: Path, memory: AbstractFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    memory.mkdir("/there")
    assert run("put", "-r", ".", "memory://there").exit_code == 0
    assert memory.cat("/there/a.csv") == b"x,y\n1,2\n"


def test_several_sources_and_patterns(run: Run, runs: Path, tmp_path: Path) -> None:
    assert run("get", f"file://{runs}/*.csv", runs / "run 1" / "data.csv", f"{tmp_path}/new/").exit_code == 0
    assert sorted(contents(tmp_path / "new")) == ["a.csv", "b [1].csv", "data.csv"]
    assert run("get", f"file://{runs}/*.csv", tmp_path / "made").exit_code == 0
    assert sorted(contents(tmp_path / "made")) == ["a.csv", "b [1].csv"]
    result = run("get", f"file://{runs}/*.csv", runs / "a.csv")
    assert result.exit_code == 1
    assert result.stderr == (
        f"rinofs: {runs}/a.csv: is a file, and no folder; delete it, or choose another name\n"
    )


def test_the_rest_arrives_where_something_fails(run: Run, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    (tmp_path / "new" / "a.csv").mkdir()
    result = run("get", runs / "a.csv", runs / "gone", runs / "run 1", runs / "b [1].csv", tmp_path / "new")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 3
    assert "a file cannot replace it" in result.stderr
    assert "use -r" in result.stderr
    assert (tmp_path / "new" / "b [1].csv").read_text() == "x\n"
    assert not list((tmp_path / "new").glob(".rinofs*"))


def test_files_are_replaced(run: Run, runs: Path, tmp_path: Path, memory: AbstractFileSystem) -> None:
    (tmp_path / "a.csv").write_text("much longer than what comes in its place")
    memory.pipe("/a.csv", b"much longer than what comes in its place")
    assert run("get", runs / "a.csv", tmp_path).exit_code == 0
    assert run("put", runs / "a.csv", "memory://a.csv").exit_code == 0
    assert (tmp_path / "a.csv").read_text() == "x,y\n1,2\n"
    assert memory.cat("/a.csv") == b"x,y\n1,2\n"


def test_a_target_folder_that_is_not_there_is_named(run: Run, runs: Path, tmp_path: Path) -> None:
    result = run("get", runs / "a.csv", tmp_path / "no" / "such" / "a.csv")
    assert result.stderr == f"rinofs: {tmp_path}/no/such: no such folder; create it first\n"


@pytest.mark.parametrize("target", ["a.csv", "."])
def test_a_file_is_not_copied_onto_itself(run: Run, runs: Path, target: str) -> None:
    result = run("cp", runs / "a.csv", runs / target)
    assert result.exit_code == 1
    assert (runs / "a.csv").read_text() == "x,y\n1,2\n"


def test_a_folder_is_not_copied_into_itself(run: Run, runs: Path) -> None:
    before = contents(runs)
    assert run("cp", "-r", runs, runs / "empty").exit_code == 1
    assert contents(runs) == before


def test_links_are_followed_to_files_and_reported_for_folders(
    run: Run, runs: Path, memory: AbstractFileSystem
) -> None:
    (runs / "link.csv").symlink_to("a.csv")
    (runs / "link to run").symlink_to("run 1")
    (runs / "loop").symlink_to(".")
    os.mkfifo(runs / "pipe")
    result = run("put", "-r", runs, "memory://exp")
    assert result.exit_code == 1
    assert len(result.stderr.splitlines()) == 3
    for name in ["link to run", "loop", "pipe"]:
        assert name in result.stderr
    assert memory.cat("/exp/link.csv") == b"x,y\n1,2\n"
    assert memory.cat("/exp/run 1/data.csv") == b"1\n2\n3\n"


def test_names_that_this_machine_cannot_hold_are_changed_and_reported(
    run: Run, tmp_path: Path, memory: AbstractFileSystem
) -> None:
    long = "ü" * 200 + ".csv"
    memory.pipe({f"/exp/{long}": b"long", "/exp/short.csv": b"short"})
    result = run("get", "-r", "--json", "memory://exp", tmp_path / "new")
    assert result.exit_code == 1
    assert (tmp_path / "new" / "short.csv").read_text() == "short"
    summary = json.loads(result.stdout)
    assert list(summary["renamed"]) == [f"memory://exp/{long}"]
    stored = summary["renamed"][f"memory://exp/{long}"]
    assert f"stored as {stored}" in result.stderr
    assert (tmp_path / "new").joinpath(stored).read_text() == "long"
    assert stored.endswith(".csv")


def test_one_name_too_long_alone_is_changed_too(run: Run, tmp_path: Path, memory: AbstractFileSystem) -> None:
    long = "ü" * 200 + ".csv"
    memory.pipe(f"/{long}", b"long")
    result = run("get", f"memory://{long}", tmp_path)
    assert result.exit_code == 1
    assert [path.read_text() for path in tmp_path.glob("*.csv")] == ["long"]


def test_two_sources_of_one_name_do_not_replace_each_other(run: Run, runs: Path, tmp_path: Path) -> None:
    (tmp_path / "new").mkdir()
    result = run("get", runs / "run 1" / "data.csv", runs / "run 2" / "data.csv", tmp_path / "new")
    assert result.exit_code == 1
    assert "would replace another source" in result.stderr
    assert (tmp_path / "new" / "data.csv").read_text() == "1\n2\n3\n"


def test_json_summary(run: Run, runs: Path, tmp_path: Path) -> None:
    summary = json.loads(run("get", "-r", "--json", runs, tmp_path / "new").stdout)
    assert summary == {"files": 5, "bytes": 21, "renamed": {}, "problems": []}


def test_put_takes_standard_input(run: Run, tmp_path: Path) -> None:
    assert run("put", "-", f"file://{tmp_path}/new.csv", input=b"a\r\n\xff").exit_code == 0
    assert (tmp_path / "new.csv").read_bytes() == b"a\r\n\xff"
    assert run("put", "-", f"file://{tmp_path}/", input=b"").exit_code == 1


def test_no_bar_where_nobody_watches(run: Run, runs: Path, tmp_path: Path) -> None:
    assert run("get", "-r", runs, tmp_path / "new").stderr == ""


def test_unreadable_folders_are_not_left_out_silently(run: Run, runs: Path, tmp_path: Path) -> None:
    if os.geteuid() == 0:
        result = run("get", "-r", runs / "run 1", tmp_path / "new")  # root reads everything
        assert result.exit_code == 0
        return
    (runs / "run 1").chmod(0)
    try:
        result = run("get", "-r", runs, tmp_path / "new")
    finally:
        (runs / "run 1").chmod(0o755)
    assert result.exit_code == 1
    assert "run 1" in result.stderr
