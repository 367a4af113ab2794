"""`sync`: what it shows, and what it says of wrong input; the engine has tests of its own."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rinofs.testing import live_server
from tests.cli.conftest import contents, point_to

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture(autouse=True)
def _pointed(server: LiveServer, monkeypatch: pytest.MonkeyPatch, _own_settings: None) -> None:
    point_to(server, monkeypatch)


PLANNED = """\
changed\trino://exp/a.csv
new\trino://exp/new
delete\trino://exp/b [1].csv
2 files to copy (4), 1 to delete, 3 unchanged
"""


def test_sync_there_and_back(run: Run, runs: Path, tmp_path: Path) -> None:
    assert run("sync", runs, "rino://exp").output == "5 files copied, 0 unchanged\n"
    (runs / "a.csv").write_text("new")
    (runs / "b [1].csv").unlink()
    (runs / "new").write_text("1")
    planned = run("sync", "-n", "--delete", runs, "rino://exp")
    assert (planned.exit_code, planned.output) == (
        0,
        PLANNED,
    )
    result = run("sync", "--delete", runs, "rino://exp")
    assert result.output == "2 files copied, 1 deleted, 3 unchanged\n"
    assert run("sync", "-q", "rino://exp/", f"{tmp_path}/back/").output == ""
    assert contents(tmp_path / "back") == contents(runs)


def test_json(run: Run, runs: Path) -> None:
    document = json.loads(run("sync", "--json", "-n", "--exclude", "run*", runs, "rino://nowhere").stdout)
    assert document == {
        "new": ["a.csv", "b [1].csv"],
        "changed": [],
        "delete": [],
        "unchanged": 0,
        "bytes": 10,
        "dry_run": True,
        "problems": [],
    }


def test_what_fails_is_reported_and_nothing_deleted(run: Run, runs: Path) -> None:
    run("sync", runs, "rino://partly")
    (runs / "a.csv").unlink()
    (runs / "a.csv").symlink_to("empty")
    (runs / "run 2" / "data.csv").unlink()
    (runs / "z").write_text("z")
    result = run("sync", "--delete", runs, "rino://partly")
    assert result.exit_code == 1
    assert result.stderr.splitlines() == [
        f"rinofs: {runs}/a.csv: a link to a folder is not followed",
        "rinofs: nothing was deleted, because not everything could be copied",
    ]
    assert result.stdout == "1 file copied, 3 unchanged, 1 failed\n"
    assert run("cat", "rino://partly/run 2/data.csv", "rino://partly/z").stdout == "z"


@pytest.mark.parametrize(
    ("source", "target", "said"),
    [
        ("gone", "rino://x", "{runs}/gone: no such folder"),
        ("a.csv", "rino://x", "{runs}/a.csv: is a file; sync takes folders; `rinofs cp` copies files"),
        ("run 1", "{runs}/a.csv", "{runs}/a.csv: is a file; sync takes folders; `rinofs cp` copies files"),
        (
            "run 1",
            "{runs}/run 1/deep",
            "{runs}/run 1, {runs}/run 1/deep: one of the two folders is in the other",
        ),
    ],
)
def test_wrong_input(run: Run, runs: Path, source: str, target: str, said: str) -> None:
    before = contents(runs)
    result = run("sync", "--delete", runs / source, target.format(runs=runs))
    assert (result.exit_code, result.stderr) == (1, f"rinofs: {said.format(runs=runs)}\n")
    assert contents(runs) == before
