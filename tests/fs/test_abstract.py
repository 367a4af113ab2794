"""fsspec's own suite with a service that is nothing but one backend."""

from __future__ import annotations

import pytest

from rinofs import RepovizzFileSystem, RinoFileSystem
from rinofs.fs.filesystem import RemoteFileSystem
from tests.abstract import TestCopy, TestGet, TestOpen, TestPipe, TestPut  # noqa: F401 - the suite
from tests.fs.dict_backend import DictFileSystem


@pytest.fixture(scope="module")
def suite_fs() -> DictFileSystem:
    return DictFileSystem(token="none")


@pytest.fixture
def suite_path() -> str:
    return "suite"


@pytest.mark.parametrize("kind", [RinoFileSystem, RepovizzFileSystem, DictFileSystem])
def test_there_are_at_most_three_classes_down_to_fsspecs(kind: type[RemoteFileSystem]) -> None:
    own = [cls for cls in kind.__mro__ if cls.__module__.startswith(("rinofs", "tests"))]
    assert own == [kind, RemoteFileSystem]


def test_a_service_without_times_says_so() -> None:
    fs = DictFileSystem(token="none")
    fs.pipe_file("a", b"1")
    for ask in (fs.created, fs.modified):
        with pytest.raises(NotImplementedError, match="kept://a"):
            ask("a")
        with pytest.raises(FileNotFoundError):
            ask("nothing")
    assert "mtime" not in fs.info("a")


def test_what_fsspec_does_with_any_backend() -> None:
    fs = DictFileSystem(token="none")
    fs.pipe({"d/a.txt": b"one\ntwo\n", "d/sub/b.txt": b"three"})
    assert fs.read_block("d/a.txt", 1, 4, delimiter=b"\n") == b"two\n"
    assert fs.cat_ranges(["d/a.txt", "d/a.txt", "d/sub/b.txt"], [0, 4, -2], [3, 7, None]) == [
        b"one",
        b"two",
        b"ee",
    ]
    assert fs.glob("d/**/*.txt") == ["d/a.txt", "d/sub/b.txt"]
    assert fs.du("d") == 13
    assert "b.txt" in fs.tree("d")
    fs.mv("d/sub", "e")
    assert fs.find("") == ["d/a.txt", "e/b.txt"]
    with fs.transaction:
        fs.pipe_file("late", b"x")
        assert not fs.exists("late")
    assert fs.cat("late") == b"x"
    with fs.open("d/a.txt", "ab") as file:
        file.write(b"more")
    assert fs.tail("d/a.txt", 4) == b"more"
    fs.rm("d", recursive=True, maxdepth=1)
    assert not fs.lexists("d")
