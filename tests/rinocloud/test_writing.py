"""Writing: what is stored is what was written, in every way of writing it."""

from __future__ import annotations

import gzip
import itertools
import threading
from array import array
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from pathlib import Path, PurePosixPath
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest

from rinofs import RinoFileSystem
from rinofs.errors import ConflictError, NotAllowedError

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api

ABOUT: dict[str, Any] = {"metadata": {"subject": 3, "é": [1, {"x": None}]}, "tags": ["raw", "日本"]}


def write(fs: RinoFileSystem, path: str, mode: str, data: bytes) -> None:
    with fs.open(path, mode) as file:
        file.write(data)


def test_modes(fs: RinoFileSystem) -> None:
    write(fs, "new/a", "wb", b"1")
    write(fs, "new/a", "wb", b"22")
    assert fs.cat_file("new/a") == b"22"
    write(fs, "new/a", "ab", b"33")
    assert fs.cat_file("new/a") == b"2233"
    write(fs, "new/b", "ab", b"from nothing")
    assert fs.cat_file("new/b") == b"from nothing"
    write(fs, "new/c", "xb", b"first")
    with pytest.raises(FileExistsError):
        fs.open("new/c", "xb")
    with pytest.raises(FileExistsError):
        fs.open("new", "xb")
    assert fs.cat_file("new/c") == b"first"
    for bad in ("r+b", "w+b", "rw", "", "q"):
        with pytest.raises(ValueError, match="mode"):
            fs.open("new/a", bad)


def test_exclusive_opening_is_decided_when_it_is_stored(fs: RinoFileSystem, api: Api) -> None:
    file = fs.open("a", "xb")
    file.write(b"late")
    api.upload("a", b"early")
    with pytest.raises(FileExistsError):
        file.close()
    assert fs.cat_file("a") == b"early"
    with pytest.raises(FileExistsError):
        fs.pipe_file("a", b"late", mode="create")
    assert fs.versions("a")[-1]["versions"] == []


def test_one_of_many_exclusive_writers_wins(server: LiveServer, options: Any) -> None:
    fs = RinoFileSystem(**options)
    together = threading.Barrier(8)

    def create(number: int) -> bool:
        together.wait()
        try:
            RinoFileSystem(**options).pipe_file("a", b"%d" % number, mode="create")
        except FileExistsError:
            return False
        return True

    with ThreadPoolExecutor(8) as executor:
        won = list(executor.map(create, range(8)))
    # The published API can only be asked before: several may be told that nothing is there.
    assert won.count(True) == 1 or (any(won) and not fs._backend.client.features.has("digest"))
    assert won[int(fs.cat_file("a"))]
    assert len(fs.versions("a")) == won.count(True)


def test_appending_keeps_what_is_said_of_the_file(fs: RinoFileSystem) -> None:
    fs.pipe_file("a", b"1", **ABOUT)
    write(fs, "a", "ab", b"2")
    info = fs.info("a", refresh=True)
    assert {name: info[name] for name in ABOUT} == ABOUT
    with fs.open("a", "ab", tags=["new"]) as file:
        file.write(b"3")
    info = fs.info("a", refresh=True)
    assert (info["metadata"], info["tags"]) == (ABOUT["metadata"], ["new"])
    assert fs.cat_file("a") == b"123"


def test_appending_goes_on_from_what_others_wrote(fs: RinoFileSystem, api: Api) -> None:
    api.upload("a", b"1")
    fs.info("a")
    api.upload("a", b"12")
    write(fs, "a", "ab", b"3")
    assert fs.cat_file("a") == b"123"


@pytest.mark.parametrize("way", ["open", "text", "pipe_file", "put_file", "put", "gzip"])
def test_metadata_and_tags_are_stored(fs: RinoFileSystem, api: Api, tmp_path: Path, way: str) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"data")
    if way == "open":
        with fs.open("dir/a", "wb", **ABOUT) as file:
            file.write(b"data")
    elif way == "text":
        with fs.open("dir/a", "w", **ABOUT) as file:
            file.write("data")
    elif way == "gzip":
        with fs.open("dir/a", "wb", compression="gzip", **ABOUT) as file:
            file.write(b"data")
    elif way == "pipe_file":
        fs.pipe_file("dir/a", b"data", **ABOUT)
    else:
        getattr(fs, way)(str(local), "dir/a", **ABOUT)
    record = api.record("dir", "a")
    assert {name: record[name] for name in ABOUT} == ABOUT
    data = fs.cat_file("dir/a")
    assert (gzip.decompress(data) if way == "gzip" else data) == b"data"


def test_text_and_compression(fs: RinoFileSystem, options: Any) -> None:
    with fs.open("a.txt", "w", encoding="utf-16", newline="\r\n") as file:
        file.write("æ\nø")
    assert fs.cat_file("a.txt").decode("utf-16") == "æ\r\nø"
    with fs.open("a.txt", "a", encoding="utf-8") as file:
        file.write("!")
    assert fs.cat_file("a.txt").endswith(b"!")
    for name in ("a.gz", "a.bz2", "a.xz"):
        with fsspec.open(f"rino://{name}", "wt", compression="infer", encoding="utf-8", **options) as file:
            file.write("zippéd")
        with fsspec.open(f"rino://{name}", "rt", compression="infer", encoding="utf-8", **options) as file:
            assert file.read() == "zippéd"


def test_what_is_being_written_can_be_read_and_written_over(fs: RinoFileSystem) -> None:
    with fs.open("a", "wb") as file:
        assert file.write(b"0123456789") == 10
        assert file.tell() == 10
        assert file.seek(2) == 2
        file.write(b"XX")
        assert file.read(2) == b"45"
        file.seek(0, 2)
        file.write(memoryview(b"end"))
        file.flush()
        assert not fs.exists("a")
    assert fs.cat_file("a") == b"01XX456789end"


def test_large_files_are_written_in_pieces(fs: RinoFileSystem, api: Api) -> None:
    piece = bytes(range(256)) * 4096
    with fs.open("a", "wb") as file:
        for _ in range(13):  # 13 MiB: three parts of the etag
            file.write(piece)
    record = api.record("a")
    assert (record["size"], record["etag"][-2:]) == (13 * len(piece), "-3")
    assert fs.cat_file("a") == piece * 13


def test_where_nothing_can_be_written(fs: RinoFileSystem, api: Api, tmp_path: Path) -> None:
    old = api.upload("dir/file", b"1")
    api.upload("dir/file", b"2")
    local = tmp_path / "local"
    local.write_bytes(b"data")
    ways: list[Callable[[str], None]] = [
        lambda path: fs.pipe_file(path, b"data"),
        lambda path: write(fs, path, "wb", b"data"),
        lambda path: fs.put_file(str(local), path),
    ]
    for way in ways:
        for refresh in (fs.invalidate_cache, lambda: fs.find("")):
            refresh()
            with pytest.raises(IsADirectoryError):
                way("dir")
            with pytest.raises(IsADirectoryError):
                way("")
            with pytest.raises(NotADirectoryError):
                way("dir/file/below")
            with pytest.raises(NotADirectoryError):
                way("dir/file/below/that")
            with pytest.raises(NotAllowedError):
                way(f"@{old['id']}")
            with pytest.raises(FileNotFoundError):
                way("@999999")
    assert fs.find("") == ["dir/file"]
    assert fs.cat_file("dir/file") == b"2"


def test_a_file_is_written_by_its_id(fs: RinoFileSystem, api: Api) -> None:
    record = api.upload("dir/a", b"1", **ABOUT)
    fs.pipe_file(f"@{record['id']}", b"2")
    assert fs.cat_file("dir/a") == b"2"
    assert fs.info("dir/a")["versions"] == [record["id"]]
    fs.pipe_file(f"@{api.id_of('dir')}/b", b"3")
    assert fs.ls("dir", detail=False) == ["dir/a", "dir/b"]


def test_pipe_of_many(fs: RinoFileSystem) -> None:
    files = {f"dir {number % 3}/{number}": b"%d" % number for number in range(30)}
    fs.pipe(files)
    assert fs.cat(list(files)) == files
    with pytest.raises(ValueError, match="content"):
        fs.pipe("a")


BUFFERS = [
    b"abcd",
    bytearray(b"abcd"),
    memoryview(b"xabcd")[1:],
    np.frombuffer(b"abcd", "<u2"),
    array("b", b"abcd"),
]


@pytest.mark.parametrize("value", BUFFERS, ids=lambda value: type(value).__name__)
def test_any_buffer_is_a_content(fs: RinoFileSystem, value: Any) -> None:
    fs.pipe_file("one", value)
    fs.pipe({"two": value, "three": b"3"})
    write(fs, "four", "wb", value)
    assert fs.pipe_each({"five": value, "six": value}) == {}
    assert {path: fs.cat_file(path) for path in ("one", "two", "four", "five", "six")} == dict.fromkeys(
        ("one", "two", "four", "five", "six"), b"abcd"
    )


@pytest.mark.parametrize("value", [5, 0, True, 1.5, "text", [1, 2], None, PurePosixPath("x"), object()])
def test_nothing_else_is_a_content(fs: RinoFileSystem, value: Any) -> None:
    several = {f"good {number}": b"good" for number in range(3)}
    with pytest.raises(TypeError, match=r"rino://one: .*bytes"):
        fs.pipe_file("one", value)
    with pytest.raises(TypeError, match=r"rino://two: .*bytes"):
        fs.pipe({**several, "two": value})
    with pytest.raises(TypeError):
        write(fs, "three", "wb", value)
    with pytest.raises(TypeError), fs.transaction:
        fs.pipe_file("four", value)
    assert [*fs.pipe_each({"five": value})] == ["five"]
    assert fs.find("") == []


def test_put_of_a_tree(fs: RinoFileSystem, tmp_path: Path) -> None:
    files = {"a": b"1", "sub/b": b"2", "sub/deep/c": b"3"}
    for name, data in files.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(data)
    (tmp_path / "empty").mkdir()
    fs.put(f"{tmp_path}/", "there", recursive=True)
    assert fs.find("there") == [f"there/{name}" for name in files]
    assert fs.isdir("there/empty")
    fs.put(str(tmp_path), "there", recursive=True)
    assert fs.isfile(f"there/{tmp_path.name}/sub/b")
    with pytest.raises(FileExistsError):
        fs.put(str(tmp_path / "a"), "there/a", mode="create")
    fs.put(str(tmp_path / "*"), "flat/")
    assert fs.ls("flat", detail=False) == ["flat/a"]


LITERAL = ["a[1].csv", "a1.csv", "b*.csv", "bb.csv", "c?.csv", "[d]"]


@pytest.mark.parametrize("name", LITERAL)
@pytest.mark.parametrize("kind", [str, Path, lambda path: f"file://{path}"], ids=["str", "path", "url"])
def test_put_of_several_takes_what_exists_literally(
    fs: RinoFileSystem, tmp_path: Path, name: str, kind: Callable[[Any], Any]
) -> None:
    for other in LITERAL:
        (tmp_path / other).write_text(other)
    (tmp_path / "plain").write_text("plain")
    fs.put([kind(tmp_path / name), kind(tmp_path / "plain")], "up/")
    assert fs.cat(fs.find("up")) == {f"up/{name}": name.encode(), "up/plain": b"plain"}


def test_put_of_several_takes_patterns_too(fs: RinoFileSystem, tmp_path: Path) -> None:
    for name in LITERAL:
        (tmp_path / name).write_text(name)
    fs.put([f"{tmp_path}/a[1].csv", f"{tmp_path}/b?.csv", f"{tmp_path}/none*"], "up/")
    assert fs.find("up") == ["up/a[1].csv", "up/b*.csv", "up/bb.csv"]
    for sources in (["none*"], ["none*", "n?"]):
        with pytest.raises(FileNotFoundError):
            fs.put([f"{tmp_path}/{source}" for source in sources], "up/")


def test_put_of_several_folders_takes_them_literally(fs: RinoFileSystem, tmp_path: Path) -> None:
    for number, name in enumerate(["e[2]", "e2", "f"]):
        (tmp_path / name).mkdir()
        (tmp_path / name / f"{number}.csv").write_text(name)
    fs.put([f"{tmp_path}/e[2]", f"{tmp_path}/f"], "up/", recursive=True)
    assert set(fs.find("up")) == {"up/0.csv", "up/2.csv"}


@pytest.mark.parametrize("target", ["up/", "up"])
def test_no_two_of_several_go_to_one_path(fs: RinoFileSystem, tmp_path: Path, target: str) -> None:
    fs.makedirs("up")
    sources = []
    for folder in ("d1", "d2", "d3"):
        (tmp_path / folder).mkdir()
        local = tmp_path / folder / ("b.csv" if folder == "d2" else "a.csv")
        local.write_text(folder)
        sources.append(str(local))
        fs.pipe_file(f"{folder}/{local.name}", folder.encode())
    remote = ["d1/a.csv", "d2/b.csv", "d3/a.csv"]
    with pytest.raises(FileExistsError, match=r"d1/a.csv has the same name"):
        fs.put(sources, target)
    with pytest.raises(FileExistsError, match=r"d1/a.csv has the same name"):
        fs.copy(remote, target)
    with pytest.raises(FileExistsError):
        fs.get(remote, str(tmp_path / "got") + "/")
    with pytest.raises(FileExistsError, match=r"d1/a.csv has the same name"):
        fs.mv(remote, target)
    assert fs.find("up") == []
    assert sorted(fs.find("")) == remote
    fs.put([sources[0], sources[1], sources[0]], target)
    assert fs.info("up/a.csv")["versions"] == []
    assert fs.find("up") == ["up/a.csv", "up/b.csv"]


def test_copies_of_several_take_what_exists_literally(fs: RinoFileSystem, tmp_path: Path) -> None:
    fs.pipe({f"from/{name}": name.encode() for name in LITERAL})
    fs.copy(["from/a[1].csv", "from/b*.csv"], "copied/")
    assert fs.find("copied") == ["copied/a[1].csv", "copied/b*.csv"]
    fs.get(["from/a[1].csv", "from/c?.csv"], f"{tmp_path}/got/")
    assert sorted(path.name for path in (tmp_path / "got").iterdir()) == ["a[1].csv", "c?.csv"]
    fs.mv(["from/a[1].csv", "from/[d]"], "moved/")
    assert fs.find("moved") == ["moved/[d]", "moved/a[1].csv"]


def test_several_uploads_of_one_name_all_succeed_as_versions(fs: RinoFileSystem, options: Any) -> None:
    together = threading.Barrier(6)

    def store(number: int) -> None:
        together.wait()
        RinoFileSystem(**options).pipe_file("dir/a", b"%d" % number)

    with ThreadPoolExecutor(6) as executor:
        list(executor.map(store, range(6)))
    fs.invalidate_cache()
    versions = fs.versions("dir/a")
    assert len(versions) == 6
    assert {fs.cat_file("dir/a", version_id=info["id"]) for info in versions} == {b"%d" % n for n in range(6)}
    assert fs.info("dir/a")["id"] == max(info["id"] for info in versions)


def test_a_folder_that_went_meanwhile_is_made_again(fs: RinoFileSystem, api: Api) -> None:
    api.upload("dir/sub/a", b"1")
    fs.find("")
    fs.info("dir/sub")
    api.post("delete", id=api.id_of("dir"))
    fs.pipe_file("dir/sub/b", b"2")
    assert fs.find("") == ["dir/sub/b"]


def test_a_folder_that_was_replaced_meanwhile_is_found_again(fs: RinoFileSystem, api: Api) -> None:
    api.upload("dir/a", b"1")
    fs.ls("dir")
    fs.info("dir")
    api.post("delete", id=api.id_of("dir"))
    api.upload("dir/c", b"3")
    fs.pipe_file("dir/b", b"2")
    fs.invalidate_cache()
    assert fs.find("") == ["dir/b", "dir/c"]


# Transactions


def test_a_transaction_stores_all_at_its_end(fs: RinoFileSystem, tmp_path: Path) -> None:
    local = tmp_path / "local"
    local.write_bytes(b"3")
    with fs.transaction:
        write(fs, "a", "wb", b"1")
        fs.pipe_file("b", b"2", metadata={"x": 1})
        fs.put_file(str(local), "c")
        assert fs.ls("") == []
    assert fs.cat("*") == {"a": b"1", "b": b"2", "c": b"3"}
    assert fs.info("b")["metadata"] == {"x": 1}


def test_a_transaction_stores_files_in_the_order_in_which_they_were_closed(fs: RinoFileSystem) -> None:
    orders = list(itertools.permutations(["wb", "ab", "a", "pipe"], 3))
    wanted = {f"order/{number}": b"old" for number in range(len(orders))}
    fs.pipe(wanted)
    with fs.transaction:
        for path, order in zip(wanted, orders, strict=True):
            for number, way in enumerate(order):
                data = b"%d" % number
                if way == "pipe":
                    fs.pipe_file(path, data)
                elif way == "a":
                    with fs.open(path, "a") as file:
                        file.write(data.decode())
                else:
                    write(fs, path, way, data)
                wanted[path] = wanted[path] + data if way in {"a", "ab"} else data
    assert fs.cat(list(wanted)) == wanted


def test_what_a_failed_transaction_says_of_files_that_append(fs: RinoFileSystem, api: Api) -> None:
    fs.pipe({"a": b"a", "c": b"c"})
    fs.start_transaction()
    write(fs, "a", "ab", b"1")
    fs.pipe_file("b", b"2", mode="create")
    write(fs, "c", "ab", b"3")
    api.upload("b", b"meanwhile")
    with pytest.raises(ConflictError) as caught:
        fs.end_transaction()
    said = "\n".join(caught.value.__notes__)
    assert "failed at rino://b" in said
    assert "stored before that: rino://a; not stored: rino://b, rino://c" in said
    assert fs.cat(["a", "b", "c"]) == {"a": b"a1", "b": b"meanwhile", "c": b"c"}


def test_a_transaction_that_fails_stores_nothing(fs: RinoFileSystem) -> None:
    fs.pipe_file("a", b"before")
    with suppress(RuntimeError), fs.transaction:
        fs.pipe_file("a", b"after")
        fs.pipe_file("b", b"new")
        raise RuntimeError
    assert fs.ls("", detail=False) == ["a"]
    assert fs.cat_file("a") == b"before"
    fs.pipe_file("b", b"later")
    assert fs.cat_file("b") == b"later"


def test_a_conflict_in_a_transaction(fs: RinoFileSystem, api: Api) -> None:
    fs.start_transaction()
    fs.pipe_file("a", b"1", mode="create")
    api.upload("a", b"meanwhile")
    with pytest.raises(ConflictError):
        fs.end_transaction()
    assert fs.cat_file("a") == b"meanwhile"
