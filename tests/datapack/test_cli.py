"""`rinofs datapack`."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import pytest
from click.testing import CliRunner, Result

from rinofs.cli.main import main
from tests.datapack.packs import tutorial, write_tutorial

if TYPE_CHECKING:
    from pathlib import Path


def run(*args: Any) -> Result:
    return CliRunner().invoke(main, ["datapack", *map(str, args)], prog_name="rinofs")


@pytest.fixture
def pack(tmp_path: Path) -> Path:
    return write_tutorial(tmp_path / "MYO")


def test_new_writes_a_document(pack: Path) -> None:
    result = run("new", pack.parent, "--author", "me", "--keyword", "a", "--keyword", "b")
    assert (result.exit_code, result.stderr) == (0, "")
    assert result.stdout == f"{pack.parent}/datapack.json: 5 files in 1 container\n"
    document = json.loads((pack.parent / "datapack.json").read_text())
    assert document["info"] == {"name": "MYO", "author": "me", "description": "", "keywords": ["a", "b"]}
    assert [node["name"] for node in document["children"]] == [
        "IMU",
        "clip 1.mp4",
        "emg 100%#2.csv",
        "pack.json",
    ]
    assert run("validate", pack.parent / "datapack.json").exit_code == 0


def test_new_does_not_replace_a_document(pack: Path) -> None:
    before = pack.read_text()
    result = run("new", pack.parent, "-o", pack)
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "--force" in result.stderr
    assert pack.read_text() == before
    result = run("new", pack.parent, "-o", pack, "--force", "--name", "other", "--json")
    assert result.exit_code == 0
    assert json.loads(result.stdout) == {"document": str(pack), "containers": 1, "files": 5}
    assert json.loads(pack.read_text())["info"]["name"] == "other"


def test_new_needs_a_folder(pack: Path) -> None:
    result = run("new", pack)
    assert result.exit_code == 1
    assert result.stderr == f"rinofs: file://{pack}: not a folder\n"


def test_new_prints_a_document(pack: Path) -> None:
    result = run("new", pack.parent, "-o", "-")
    assert json.loads(result.stdout)["info"]["name"] == "MYO"
    assert not (pack.parent / "datapack.json").exists()


def test_validate(pack: Path) -> None:
    result = run("validate", pack)
    assert (result.exit_code, result.stdout, result.stderr) == (0, f"{pack}: valid\n", "")
    assert json.loads(run("validate", pack, "--json").stdout) == {"valid": True, "flaws": []}
    raw = tutorial()
    del raw["children"][2]["children"][0]["link"], raw["info"]["author"]
    pack.write_text(json.dumps(raw))
    result = run("validate", pack.as_uri())
    assert result.exit_code == 1
    assert result.stdout == ""
    assert result.stderr.splitlines() == [
        f"rinofs: {pack.as_uri()}: 'info.author' is missing",
        f"rinofs: {pack.as_uri()}: IMU/Accelerometer: 'link' is missing",
    ]
    result = run("validate", pack, "--json")
    assert result.exit_code == 1
    assert json.loads(result.stdout)["flaws"][1] == {
        "path": "IMU/Accelerometer",
        "problem": "'link' is missing",
    }


@pytest.mark.parametrize("text", ["{", "[]", '{"children": [3]}'])
def test_validate_what_is_no_datapack(pack: Path, text: str) -> None:
    pack.write_text(text)
    result = run("validate", pack)
    assert result.exit_code == 1
    assert result.stderr.startswith(f"rinofs: {pack}: ")
    assert result.stderr.count("\n") == 1
    assert json.loads(run("validate", pack, "--json").stdout)["valid"] is False


def test_tree(pack: Path) -> None:
    result = run("tree", pack)
    assert result.exit_code == 0
    assert result.stdout.splitlines() == [
        "MYO",
        "├── video  [video/mp4; charset=binary]",
        "├── EMG/",
        "│   └── EMG",
        "└── IMU/",
        "    ├── Accelerometer",
        "    └── Gyroscope",
    ]
    described = json.loads(run("tree", pack, "--json").stdout)
    assert described["info"] == tutorial()["info"]
    assert described["nodes"][4] == {
        "path": "IMU/Accelerometer",
        "class": "data",
        "name": "Accelerometer",
        "mime": None,
        "text": "Accelerometer of the arm",
        "link": "IMU/accelerometer.json",
        "type": "ae13fb70-fa1e-47d8-9cd6-00cef4fe21cc",
    }


@pytest.mark.parametrize("command", ["tree", "validate", "new"])
def test_what_is_not_there(tmp_path: Path, command: str) -> None:
    result = run(command, tmp_path / "none.json")
    assert result.exit_code == 1
    assert result.stderr.count("\n") == 1
    assert "none.json" in result.stderr


def test_wrong_use() -> None:
    assert run("tree").exit_code == 2
    assert run("nonsense").exit_code == 2
    assert run("new", ".", "--nonsense").exit_code == 2


@pytest.mark.parametrize("command", ["tree", "validate"])
def test_a_folder_stands_for_the_document_in_it(pack: Path, command: str) -> None:
    document = pack.rename(pack.parent / "datapack.json")
    named, folder = run(command, document), run(command, document.parent)
    assert (folder.exit_code, folder.output) == (0, named.output)
    document.unlink()
    missing = run(command, document.parent)
    assert missing.exit_code == 1
    said = "no datapack.json in this folder; `rinofs datapack new` writes one"
    assert missing.stderr == f"rinofs: {document.parent}: {said}\n"
