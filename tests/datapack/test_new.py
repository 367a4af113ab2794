"""Documents for folders of files."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING

import fsspec
import pytest
from fsspec.implementations.local import LocalFileSystem

from rinofs.datapack import Tree
from rinofs.datapack.document.model import dump
from rinofs.datapack.document.new import guess_mime, new_document
from rinofs.datapack.document.validation import flaws
from rinofs.datapack.filesystem import DatapackFileSystem
from rinofs.errors import InvalidPathError

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def folder(tmp_path: Path) -> Path:
    folder = tmp_path / "session 1"
    for path in ("b.csv", "a.wav", "IMU/x 1#%.json", "IMU/deep/y.npy", ".hidden/z", ".env", "datapack.json"):
        (folder / path).parent.mkdir(parents=True, exist_ok=True)
        (folder / path).write_text(path)
    (folder / "empty").mkdir()
    return folder


def test_folders_become_containers_and_files_data_nodes(folder: Path) -> None:
    document = new_document(LocalFileSystem(), str(folder), author="me", description="d", keywords=["k", "k"])
    assert flaws(document) == []
    assert document.info.fields == {
        "name": "session 1",
        "author": "me",
        "description": "d",
        "keywords": ["k"],
    }
    nodes = [(path, node.fields.get("link"), node.fields.get("mime")) for path, node in Tree(document).walk()]
    assert nodes == [
        ("IMU", None, None),
        *[("IMU/deep", None, None), ("IMU/deep/y.npy", "IMU/deep/y.npy", None)],
        *[("IMU/x 1#%.json", "IMU/x 1#%.json", "application/json"), ("a.wav", "a.wav", guess_mime("a.wav"))],
        *[("b.csv", "b.csv", "text/csv"), ("empty", None, None)],
    ]


def test_what_is_described_can_be_read(folder: Path) -> None:
    (folder / "datapack.json").write_text(dump(new_document(LocalFileSystem(), str(folder))))
    fs = DatapackFileSystem(str(folder / "datapack.json"))
    assert {path: fs.cat_file(path).decode() for path in fs.find("")} == {path: path for path in fs.find("")}
    assert len(fs.find("")) == 4


def test_other_filesystems_too(folder: Path) -> None:
    memory = fsspec.filesystem("memory")
    memory.put(str(folder), "/new", recursive=True)
    try:
        here = new_document(LocalFileSystem(), str(folder), name="n")
        assert new_document(memory, "memory://new", name="n") == here
    finally:
        memory.rm("/new", recursive=True)


def test_links_to_folders_are_left_out(folder: Path) -> None:
    (folder / "IMU" / "loop").symlink_to(folder)
    (folder / "linked.csv").symlink_to(folder / "b.csv")
    (folder / "broken.csv").symlink_to(folder / "none.csv")
    paths = [path for path, _ in Tree(new_document(LocalFileSystem(), str(folder))).walk()]
    assert "IMU/loop" not in paths
    assert "broken.csv" not in paths
    assert "linked.csv" in paths


def test_names_that_a_document_cannot_hold(folder: Path) -> None:
    (folder / os.fsdecode(b"caf\xe9.csv")).write_text("x")
    with pytest.raises(InvalidPathError, match="not valid Unicode"):
        new_document(LocalFileSystem(), str(folder))


def test_what_is_no_folder(folder: Path) -> None:
    with pytest.raises(NotADirectoryError):
        new_document(LocalFileSystem(), str(folder / "b.csv"))
    with pytest.raises(FileNotFoundError):
        new_document(LocalFileSystem(), str(folder / "none"))


@pytest.mark.parametrize(
    ("name", "mime"),
    [
        ("a.csv", "text/csv"),
        ("a.csv.gz", "application/gzip"),
        ("A.JSON", "application/json"),
        ("Accelerometer", None),
    ],
)
def test_media_types(name: str, mime: str | None) -> None:
    assert guess_mime(name) == mime
