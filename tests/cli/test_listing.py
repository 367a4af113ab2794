"""`ls`, `tree`, `find`, `du`."""

from __future__ import annotations

import json
import os
from typing import TYPE_CHECKING

import pytest

if TYPE_CHECKING:
    from pathlib import Path

    from fsspec import AbstractFileSystem

    from tests.cli.conftest import Run


def test_ls_lists_a_folder_by_name(run: Run, runs: Path) -> None:
    result = run("ls", runs)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == ["a.csv", "b [1].csv", "empty/", "run 1/", "run 2/"]


def test_ls_of_a_file_shows_what_was_typed(run: Run, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs)
    assert run("ls", "run 1/data.csv").stdout == "run 1/data.csv\n"


def test_ls_of_several_shows_files_first_and_folders_with_titles(
    run: Run, runs: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.chdir(runs)
    result = run("ls", "run 1", "a.csv", "gone", "empty")
    assert result.exit_code == 1
    assert result.stdout == "a.csv\n\nrun 1:\ndata.csv\ndeep/\n\nempty:\n"
    assert result.stderr == "rinofs: gone: no such file or directory\n"


def test_ls_long_shows_sizes_and_times(run: Run, runs: Path) -> None:
    os.utime(runs / "a.csv", (1e9, 1e9))
    lines = run("ls", "-l", runs).stdout.splitlines()
    assert lines[0] == "8  2001-09-09 01:46:40  a.csv"
    assert lines[2].startswith("-  20")
    assert lines[2].endswith("  empty/")


def test_ls_human_sizes(run: Run, tmp_path: Path) -> None:
    for name, size in {"a": 0, "b": 1023, "c": 1024, "d": 1536, "e": 10 * 1024**2}.items():
        with (tmp_path / name).open("wb") as file:
            file.truncate(size)
    shown = [line.split()[0] for line in run("ls", "-l", "-h", tmp_path).stdout.splitlines()]
    assert shown == ["0", "1023", "1.0K", "1.5K", "10M"]
    assert run("ls", "-lh", tmp_path).stdout == run("ls", "-l", "-h", tmp_path).stdout
    assert run("du", "-sh", tmp_path).stdout == f"10M\t{tmp_path}\n"


def test_json_is_one_document_with_everything_known(run: Run, runs: Path) -> None:
    document = json.loads(run("ls", "--json", runs, runs / "run 1").stdout)
    assert [entry["url"] for entry in document[:2]] == [f"{runs}/a.csv", f"{runs}/b [1].csv"]
    assert document[0]["size"] == 8
    assert document[0]["type"] == "file"
    assert len(document) == 7


def test_json_of_nothing_is_still_a_document(run: Run, runs: Path) -> None:
    result = run("ls", "--json", runs / "gone")
    assert result.exit_code == 1
    assert json.loads(result.stdout) == []


def test_a_name_cannot_do_anything_to_the_terminal(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a\x1b[31m\nb").touch()
    assert run("ls", tmp_path).stdout == "a\\x1b[31m\\nb\n"
    assert json.loads(run("ls", "--json", tmp_path).stdout)[0]["name"].endswith("a\x1b[31m\nb")


def test_a_name_that_is_no_unicode_is_shown(run: Run, tmp_path: Path) -> None:
    (tmp_path / os.fsdecode(b"caf\xe9")).touch()
    assert run("ls", tmp_path).stdout == "caf\\udce9\n"
    assert run("ls", "--json", tmp_path).exit_code == 0


def test_tree_draws_the_folders(run: Run, runs: Path) -> None:
    assert run("tree", runs).stdout.splitlines() == [
        str(runs),
        "├── a.csv",
        "├── b [1].csv",
        "├── empty/",
        "├── run 1/",
        "│   ├── data.csv",
        "│   └── deep/",
        "│       └── ünïcode #?%.txt",
        "└── run 2/",
        "    └── data.csv",
        "",
        "4 folders, 5 files",
    ]


def test_tree_in_a_terminal_that_has_no_lines_draws_ascii(run: Run, tmp_path: Path) -> None:
    (tmp_path / "a").touch()
    result = run("tree", tmp_path, env={"PYTHONIOENCODING": "ascii"})
    assert result.exit_code == 0


def test_tree_goes_down_as_far_as_told(run: Run, runs: Path) -> None:
    assert "    data.csv" not in run("tree", "-L", "1", runs).stdout
    assert run("tree", "-L", "1", runs).stdout.splitlines()[-1] == "3 folders, 2 files"


def test_tree_as_json_nests(run: Run, runs: Path) -> None:
    root = json.loads(run("tree", "--json", runs).stdout)
    run_1 = next(child for child in root["children"] if child["name"] == "run 1")
    assert [child["name"] for child in run_1["children"]] == ["data.csv", "deep"]
    assert run_1["children"][1]["children"][0]["size"] == 5


def test_find_lists_everything_below(run: Run, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    assert run("find", "exp").stdout.splitlines() == [
        "exp/a.csv",
        "exp/b [1].csv",
        "exp/empty",
        "exp/run 1",
        "exp/run 1/data.csv",
        "exp/run 1/deep",
        "exp/run 1/deep/ünïcode #?%.txt",
        "exp/run 2",
        "exp/run 2/data.csv",
    ]


@pytest.mark.parametrize(
    ("options", "expected"),
    [
        (["--name", "*.csv"], ["a.csv", "b [1].csv", "run 1/data.csv", "run 2/data.csv"]),
        (["--name", "run*"], ["run 1", "run 2"]),
        (["--name", "RUN*"], []),
        (["--type", "d"], ["empty", "run 1", "run 1/deep", "run 2"]),
        (["--type", "f", "--maxdepth", "1"], ["a.csv", "b [1].csv"]),
        (["--type", "f", "--name", "?.csv"], ["a.csv"]),
    ],
)
def test_find_selects(run: Run, runs: Path, options: list[str], expected: list[str]) -> None:
    result = run("find", *options, f"file://{runs}")
    assert result.stdout.splitlines() == [f"file://{runs}/{path}" for path in expected]


def test_find_ends_urls_with_nul_for_xargs(run: Run, runs: Path) -> None:
    assert run("find", "-0", "--name", "a.csv", runs).stdout == f"{runs}/a.csv\0"


def test_what_find_prints_can_be_used(run: Run, runs: Path) -> None:
    for url in run("find", "--type", "f", f"file://{runs}").stdout.splitlines():
        assert run("cat", url).exit_code == 0, url


def test_patterns_are_for_urls_and_names_come_first(run: Run, runs: Path) -> None:
    matched = run("ls", f"file://{runs}/*.csv").stdout.splitlines()
    assert matched == [f"file://{runs}/a.csv", f"file://{runs}/b [1].csv"]
    assert run("ls", f"file://{runs}/b [1].csv").stdout == f"file://{runs}/b [1].csv\n"
    nothing = run("ls", f"file://{runs}/*.nc")
    assert nothing.exit_code == 1
    assert "nothing matches" in nothing.stderr
    assert run("ls", f"{runs}/*.csv").exit_code == 1  # patterns in local paths are the shell's


def test_names_with_colons_are_no_chains(run: Run, tmp_path: Path) -> None:
    (tmp_path / "Perl::Module").write_text("x")
    assert run("cat", tmp_path / "Perl::Module").stdout == "x"
    assert run("cat", f"file://{tmp_path}/Perl::Module").stdout == "x"
    assert run("find", f"file://{tmp_path}").stdout == f"file://{tmp_path}/Perl::Module\n"


def test_chains_are_chains(run: Run, runs: Path) -> None:
    import shutil

    archive = shutil.make_archive(str(runs.parent / "packed"), "zip", runs)
    lines = run("find", "--name", "data.csv", f"zip://run 1::file://{archive}").stdout.splitlines()
    assert lines == [f"zip://run 1/data.csv::file://{archive}"]
    assert run("cat", lines[0]).stdout == "1\n2\n3\n"
    assert run("ls", f"zip://*.csv::{archive}").stdout.splitlines()[0] == f"zip://a.csv::{archive}"


def test_roots(run: Run, memory: AbstractFileSystem) -> None:
    memory.pipe({"/one": b"1", "/two/three": b"3"})
    assert run("ls", "memory://").stdout.splitlines() == ["one", "two/"]
    assert run("find", "memory://").stdout.splitlines() == [
        "memory://one",
        "memory://two",
        "memory://two/three",
    ]
    assert run("du", "memory://").stdout.splitlines() == ["1\tmemory://two", "2\tmemory://"]


def test_du_adds_up(run: Run, runs: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.chdir(runs.parent)
    assert run("du", "exp").stdout.splitlines() == [
        "0\texp/empty",
        "5\texp/run 1/deep",
        "11\texp/run 1",
        "0\texp/run 2",
        "21\texp",
    ]
    assert run("du", "-s", "exp", "exp/a.csv").stdout.splitlines() == ["21\texp", "8\texp/a.csv"]
    assert json.loads(run("du", "-s", "--json", "exp").stdout) == [{"url": "exp", "size": 21}]


@pytest.mark.parametrize("command", ["ls", "tree", "find", "du"])
def test_what_is_not_there_is_an_error(
    run: Run, tmp_path: Path, memory: AbstractFileSystem, command: str
) -> None:
    assert run(command, tmp_path / "gone").exit_code == 1
    assert run(command, "memory://gone").exit_code == 1


@pytest.mark.parametrize("command", ["ls", "tree", "find", "du"])
def test_an_empty_folder_is_none(run: Run, tmp_path: Path, command: str) -> None:
    assert run(command, tmp_path).exit_code == 0


@pytest.mark.parametrize("options", [["-lh"], ["-alh"], ["-l", "-h", "-a"], ["-1lh"]])
def test_options_as_people_type_them(run: Run, tmp_path: Path, options: list[str]) -> None:
    (tmp_path / "big").write_bytes(bytes(3_000_000))
    assert run("ls", *options, tmp_path).stdout.startswith("2.9M  ")
    assert run("du", "-sh", tmp_path).stdout.startswith("2.9M\t")


def test_a_recursive_listing_has_other_names(run: Run, tmp_path: Path) -> None:
    result = run("ls", "-R", tmp_path)
    assert result.exit_code == 2
    assert "`rinofs tree` and `rinofs find`" in result.stderr
