"""Earlier versions: listed, read, brought back, and addressed by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rinofs.errors import NotAllowedError, NotFoundError

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

    from rinofs import RinoFileSystem
    from tests.rinocloud.api import Api


@pytest.fixture
def ids(api: Api) -> list[int]:
    """A file with three versions, the ids of all of them."""
    return [
        api.upload("dir/a", data, metadata={"n": n}, tags=[str(n)])["id"]
        for n, data in enumerate((b"one", b"two!", b"three"))
    ]


def test_versions(fs: RinoFileSystem, ids: list[int]) -> None:
    found = fs.versions("dir/a")
    assert [info["id"] for info in found] == ids
    assert [info["size"] for info in found] == [3, 4, 5]
    assert [info["metadata"] for info in found] == [{"n": 0}, {"n": 1}, {"n": 2}]
    assert [info["tags"] for info in found] == [["0"], ["1"], ["2"]]
    assert [info["name"] for info in found] == ["dir/a"] * 3
    moments = [info["modified"] for info in found]
    assert moments == sorted(set(moments))
    assert len({info["created"] for info in found}) == 1
    with pytest.raises(FileNotFoundError):
        fs.versions("missing")


def test_earlier_content(fs: RinoFileSystem, ids: list[int], tmp_path: Path) -> None:
    for number, data in zip(ids, (b"one", b"two!", b"three"), strict=True):
        assert fs.cat_file("dir/a", version_id=number) == data
        assert fs.cat_file("dir/a", 1, -1, version_id=number) == data[1:-1]
        assert fs.cat_ranges(["dir/a"] * 2, [0, 2], [1, 3], version_id=number) == [data[:1], data[2:3]]
        with fs.open("dir/a", version_id=number) as file:
            assert (file.size, file.read()) == (len(data), data)
        with fs.open("dir/a", "r", version_id=str(number)) as file:
            assert file.read() == data.decode()
        fs.get_file("dir/a", str(tmp_path / "got"), version_id=number)
        assert (tmp_path / "got").read_bytes() == data
        assert fs.cat_file(f"@{number}") == data
        assert fs.info(f"@{number}")["size"] == len(data)


def test_versions_of_other_files_are_not_this_ones(fs: RinoFileSystem, api: Api, ids: list[int]) -> None:
    other = api.upload("dir/b", b"other")["id"]
    for number in (other, 10**9):
        for use in (
            lambda n: fs.cat_file("dir/a", version_id=n),
            lambda n: fs.open("dir/a", version_id=n),
            lambda n: fs.restore("dir/a", n),
        ):
            with pytest.raises(NotFoundError, match="version"):
                use(number)


def test_restore(fs: RinoFileSystem, ids: list[int]) -> None:
    fs.restore("dir/a", ids[0])
    info = fs.info("dir/a")
    assert fs.cat_file("dir/a") == b"one"
    assert (info["metadata"], info["tags"], info["versions"]) == ({"n": 0}, ["0"], ids)
    assert info["id"] > ids[-1]
    fs.restore(f"@{info['id']}", ids[1])
    assert fs.cat_file("dir/a") == b"two!"
    assert len(fs.versions("dir/a")) == 5


def test_earlier_versions_are_read_only(fs: RinoFileSystem, ids: list[int]) -> None:
    old = f"@{ids[0]}"
    changes: list[Callable[[], None]] = [
        lambda: fs.pipe_file(old, b"x"),
        lambda: fs.rm(old),
        lambda: fs.rm_file(old),
        lambda: fs.mv(old, "x"),
        lambda: fs.mv(old, "dir/a"),
        lambda: fs.restore(old, ids[0]),
    ]
    for change in changes:
        with pytest.raises(NotAllowedError, match="earlier version"):
            change()
    assert [info["id"] for info in fs.versions("dir/a")] == ids


def test_ids_survive_renames_and_moves(fs: RinoFileSystem, api: Api, ids: list[int]) -> None:
    folder = api.id_of("dir")
    fs.mv("dir/a", "elsewhere/b")
    fs.mv("dir", "renamed")
    fs.pipe_file("renamed/c", b"c")
    assert fs.cat_file(f"@{ids[-1]}") == b"three"
    assert fs.cat_file(f"@{ids[0]}") == b"one"
    assert fs.cat_file(f"@{folder}/c") == b"c"
    assert fs.ls(f"@{folder}", detail=False) == [f"@{folder}/c"]
    assert fs.find(f"@{folder}") == [f"@{folder}/c"]
    assert fs.glob(f"@{folder}/*") == [f"@{folder}/c"]
    assert not fs.exists(f"@{folder}/a")
    assert not fs.exists(f"@{folder}/@{ids[-1]}")
    assert fs.cat_file(f"elsewhere/@{ids[-1]}") == b"three"


def test_ids_that_cannot_be(fs: RinoFileSystem) -> None:
    for path in ("@0", "@00", "@99999999999999999999999999", "@1/@2"):
        assert not fs.exists(path)
        with pytest.raises(FileNotFoundError):
            fs.cat_file(path)


def test_what_an_id_showed_is_forgotten_with_any_change(fs: RinoFileSystem, ids: list[int]) -> None:
    path = f"@{ids[-1]}"
    assert fs.info(path)["name"] == path
    fs.rm("dir/a")
    assert not fs.exists(path)
