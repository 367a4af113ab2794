"""Metadata in files beside the files that they describe."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

import pytest

from rinofs.rinocloud.sidecars import is_sidecar

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    folder = tmp_path / "runs"
    (folder / "deep").mkdir(parents=True)
    for name, metadata in {"a.csv": {"x": 1, "é": [True, 2.5]}, "deep/b": {"b": None}}.items():
        (folder / name).write_text(name)
        (folder / f"{name}.json").write_text(json.dumps(metadata))
    (folder / "alone.json").write_text("[1]")
    (folder / "plain.csv").write_text("plain")
    return folder


def test_they_travel_there_and_back(
    fs: RinoFileSystem, runs: Path, tmp_path: Path, server: LiveServer
) -> None:
    fs.put(str(runs), "exp", recursive=True, sidecars=True)
    assert fs.find("exp") == ["exp/a.csv", "exp/alone.json", "exp/deep/b", "exp/plain.csv"]
    assert fs.get_metadata("exp/a.csv") == {"x": 1, "é": [True, 2.5]}
    assert fs.get_metadata("exp/deep/b") == {"b": None}
    assert fs.get_metadata("exp/plain.csv") == fs.get_metadata("exp/alone.json") == {}
    fs.get("exp", str(tmp_path / "back"), recursive=True, sidecars=True)
    back = tmp_path / "back"
    files = sorted(str(path.relative_to(runs)) for path in runs.rglob("*") if path.is_file())
    assert sorted(str(path.relative_to(back)) for path in back.rglob("*") if path.is_file()) == files
    for name in files:
        same = (lambda text: text) if name in {"a.csv", "deep/b", "plain.csv"} else json.loads
        assert same((back / name).read_text()) == same((runs / name).read_text())


def test_single_files(fs: RinoFileSystem, runs: Path, tmp_path: Path) -> None:
    fs.put(str(runs / "a.csv"), "one.csv", sidecars=True, metadata={"x": 2, "y": 3}, tags=["t"])
    assert fs.get_metadata("one.csv") == {"x": 2, "é": [True, 2.5], "y": 3}
    assert fs.get_tags("one.csv") == ["t"]
    fs.put_file(str(runs / "deep" / "b"), "two", sidecars=True)
    assert fs.get_metadata("two") == {"b": None}
    with fs.transaction:
        fs.put(str(runs / "a.csv"), "three", sidecars=True)
    assert fs.get_metadata("three")["x"] == 1
    fs.put(str(runs), "all", recursive=True)
    assert fs.exists("all/a.csv.json")
    assert fs.get_metadata("all/a.csv") == {}
    fs.get("one.csv", str(tmp_path / "one.csv"))
    assert not (tmp_path / "one.csv.json").exists()


def test_a_sidecar_is_of_the_version_that_was_fetched(fs: RinoFileSystem, tmp_path: Path) -> None:
    fs.pipe_file("a", b"1", metadata={"v": 1})
    fs.pipe_file("a", b"2", metadata={"v": 2})
    first = fs.versions("a")[0]["id"]
    fs.get("a", str(tmp_path / "a"), sidecars=True, version_id=first)
    assert json.loads((tmp_path / "a.json").read_text()) == {"v": 1}
    fs.pipe_file("a", b"3")
    fs.get("a", str(tmp_path / "a"), sidecars=True)
    assert json.loads((tmp_path / "a.json").read_text()) == {}


@pytest.mark.parametrize(
    ("text", "error"),
    [("{", ValueError), ('{"a": NaN}', ValueError), ("[" * 100_000, ValueError), ("[1]", TypeError)],
    ids=["cut", "nan", "deep", "list"],
)
def test_what_is_no_metadata_stops_everything(
    fs: RinoFileSystem, runs: Path, server: LiveServer, text: str, error: type[Exception]
) -> None:
    fs.ls("")
    (runs / "deep" / "b.json").write_text(text)
    server.reset()
    with pytest.raises(error, match=r"b\.json"):
        fs.put(str(runs), "exp", recursive=True, sidecars=True)
    assert not [
        request for request in server.requests if "upload" in request.path or "create" in request.path
    ]


def test_two_files_of_one_name_are_not_written(fs: RinoFileSystem, tmp_path: Path) -> None:
    fs.pipe({"exp/a": b"1", "exp/a.json": b"data"})
    with pytest.raises(FileExistsError, match=r"a\.json"):
        fs.get("exp", str(tmp_path / "got"), recursive=True, sidecars=True)
    assert not (tmp_path / "got").exists()
    fs.get("exp", str(tmp_path / "got"), recursive=True)
    assert (tmp_path / "got" / "a.json").read_bytes() == b"data"


def test_what_describes_what(tmp_path: Path) -> None:
    for name in ("a", "a.json", "a.json.json", "b.json", "b.json.json", "c.txt"):
        (tmp_path / name).touch()
    (tmp_path / "d").mkdir()
    (tmp_path / "d.json").touch()
    found = {path.name for path in tmp_path.iterdir() if is_sidecar(str(path))}
    assert found == {"a.json", "b.json.json"}
