"""Where things go that come from the top level, or go there."""

from __future__ import annotations

from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs import RinoFileSystem


def test_getting_a_file_of_the_top_level_puts_it_into_an_existing_folder(
    fs: RinoFileSystem, tmp_path: Path
) -> None:
    fs.pipe_file("top.csv", b"1")
    fs.get("top.csv", str(tmp_path))
    assert (tmp_path / "top.csv").read_bytes() == b"1"


def test_getting_a_folder_of_the_top_level_puts_it_into_an_existing_folder(
    fs: RinoFileSystem, tmp_path: Path
) -> None:
    fs.pipe({"exp1/a.csv": b"1", "exp1/s/b.csv": b"2"})
    fs.get("exp1", str(tmp_path), recursive=True)
    assert (tmp_path / "exp1" / "s" / "b.csv").read_bytes() == b"2"
    fs.get("exp1", str(tmp_path / "new"), recursive=True)
    assert (tmp_path / "new" / "s" / "b.csv").read_bytes() == b"2"


def test_copying_a_folder_of_the_top_level_puts_it_into_an_existing_folder(fs: RinoFileSystem) -> None:
    fs.pipe({"exp1/a.csv": b"1", "exp1/s/b.csv": b"2"})
    fs.mkdir("t")
    fs.cp("exp1", "t", recursive=True)
    assert fs.find("t") == ["t/exp1/a.csv", "t/exp1/s/b.csv"]
    fs.cp("exp1", "u", recursive=True)
    assert fs.find("u") == ["u/a.csv", "u/s/b.csv"]


def test_copying_and_putting_into_the_top_level(fs: RinoFileSystem, tmp_path: Path) -> None:
    fs.pipe_file("exp1/a.csv", b"1")
    fs.cp("exp1/a.csv", "")
    (tmp_path / "b.csv").write_bytes(b"2")
    fs.put(str(tmp_path / "b.csv"), "")
    assert fs.ls("", detail=False) == ["a.csv", "b.csv", "exp1"]
