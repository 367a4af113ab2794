"""Earlier versions: listed, read, brought back, and addressed by their ids."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rinofs.errors import NotAllowedError, NotFoundError
from rinofs.protocol.extensions import RinocloudExtension

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


def contents(fs: RinoFileSystem, path: str) -> list[bytes]:
    return [fs.cat_file(path, version_id=info["id"]) for info in fs.versions(path)]


@pytest.mark.parametrize("way", ["cp", "cp_file", "mv"])
def test_what_is_copied_or_moved_onto_keeps_its_versions(
    fs: RinoFileSystem, ids: list[int], api: Api, way: str
) -> None:
    api.upload("other/b", b"b1")
    api.upload("other/b", b"b2", metadata={"from": "b"}, tags=["b"])
    getattr(fs, way)("other/b", "dir/a")
    assert fs.cat_file("dir/a") == b"b2"
    assert (fs.info("dir/a")["metadata"], fs.info("dir/a")["tags"]) == ({"from": "b"}, ["b"])
    found = contents(fs, "dir/a")
    assert found[-1] == b"b2"
    assert [data for data in found if data in {b"one", b"two!", b"three"}] == [b"one", b"two!", b"three"]
    assert [fs.cat_file(f"@{number}") for number in ids] == [b"one", b"two!", b"three"]
    assert (b"b1" in found) == (way == "mv")  # a move takes the history along
    assert fs.exists("other/b") == (way != "mv")
    if way != "mv":
        assert contents(fs, "other/b") == [b"b1", b"b2"]
    assert fs.ls("dir", detail=False) == ["dir/a"]


def test_a_rename_onto_a_file_in_the_same_folder(fs: RinoFileSystem, ids: list[int], api: Api) -> None:
    api.upload("dir/b", b"b1")
    fs.mv("dir/b", "dir/a")
    assert contents(fs, "dir/a") == [b"one", b"two!", b"three", b"b1"]
    fs.pipe_file("dir/a", b"next")
    assert contents(fs, "dir/a") == [b"one", b"two!", b"three", b"b1", b"next"]


def test_folders_are_not_replaced(fs: RinoFileSystem, ids: list[int], api: Api) -> None:
    api.upload("b", b"b")
    api.upload("other/dir/c", b"c")
    with pytest.raises(FileExistsError):
        fs.cp_file("b", "dir")
    with pytest.raises(NotADirectoryError):
        fs.mv("other/dir", "dir/a")
    fs.mv("other/dir", "dir")
    assert sorted(fs.find("")) == ["b", "dir/a", "dir/dir/c"]
    assert len(fs.versions("dir/a")) == 3


def test_one_version_is_pruned(fs: RinoFileSystem, ids: list[int]) -> None:
    if not fs._backend.client.features.has(RinocloudExtension.VERSIONS):
        with pytest.raises(NotImplementedError, match="one version"):
            fs.prune("dir/a", ids[0])
        assert len(fs.versions("dir/a")) == 3
        return
    before = fs.info("dir/a")
    fs.prune("dir/a", ids[1])
    after = fs.info("dir/a")
    assert contents(fs, "dir/a") == [b"one", b"three"]
    assert {**before, "versions": [ids[0]]} == after
    assert not fs.exists(f"@{ids[1]}")
    for number, error in ((ids[1], NotFoundError), (ids[2], NotAllowedError), (10**9, NotFoundError)):
        with pytest.raises(error):
            fs.prune("dir/a", number)
    fs.prune("dir/a", ids[0])
    assert contents(fs, "dir/a") == [b"three"]


@pytest.mark.parametrize("way", ["pipe_file", "open", "put_file", "pipe"])
def test_the_same_content_makes_no_version(
    fs: RinoFileSystem, ids: list[int], tmp_path: Path, way: str
) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"three")

    def write(**options: Any) -> None:
        if way == "open":
            with fs.open("dir/a", "wb", **options) as file:
                file.write(b"three")
        elif way == "put_file":
            fs.put_file(str(local), "dir/a", **options)
        elif way == "pipe":
            fs.pipe({"dir/a": b"three"} | {f"dir/{number}": b"" for number in range(10)}, **options)
        else:
            fs.pipe_file("dir/a", b"three", **options)

    before = fs.info("dir/a")
    write(metadata={"n": 3})
    after = fs.info("dir/a")
    assert (after["id"], after["versions"], after["metadata"]) == (ids[-1], ids[:-1], {"n": 3})
    assert after["modified"] > before["modified"]
    write(new_version=True)
    forced = fs._backend.client.features.has(RinocloudExtension.VERSIONS)  # else the server decides alone
    assert fs.info("dir/a")["versions"] == (ids if forced else ids[:-1])
    assert fs.info("dir/a")["metadata"] == {}


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
