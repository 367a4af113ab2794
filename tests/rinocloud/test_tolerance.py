"""Servers that lack something: slower, and just as right; what they lack is found out once."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

import pytest

from rinofs import RinoFileSystem
from rinofs.testing import Fault
from tests.scenarios.rinocloud.limited import Limited, Limits, limited

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api

BIG = bytes(range(256)) * 1200  # 300 kB

LIMITS = {
    "nothing missing": Limits(),
    "no ranges": Limits(ranges=False),
    "no query": Limits(missing={"query": 404}),
    "query not allowed": Limits(missing={"query": 405}),
    "no copy": Limits(missing={"copy": 404}),
    "no move": Limits(missing={"move": 404}),
    "no copy, no move": Limits(missing={"copy": 405, "move": 405}),
    "bare lists": Limits(bare_lists=True),
    "pages of 3": Limits(page=3),
    "pages of 3, untold": Limits(page=3, echo=False),
    "bare lists in pages of 3": Limits(page=3, bare_lists=True),
    "no sizes": Limits(without=frozenset({"size"})),
    "no sizes and no lengths": Limits(without=frozenset({"size"}), lengths=False),
    "no lengths": Limits(lengths=False),
    "no ranges and no lengths": Limits(ranges=False, lengths=False),
    "no etags": Limits(without=frozenset({"etag", "sha256"})),
    "no records with contents": Limits(record_header=False),
    "an object store": Limits(redirects=True),
    "nearly nothing": Limits(
        missing={"query": 404, "copy": 404, "move": 404},
        ranges=False,
        bare_lists=True,
        page=3,
        without=frozenset({"size", "etag", "sha256", "owner", "tags", "created_on", "updated_on"}),
        record_header=False,
    ),
}


@contextmanager
def behind(server: LiveServer, limits: Limits) -> Iterator[tuple[RinoFileSystem, Limited]]:
    with limited(server, limits) as (url, front):
        fs = RinoFileSystem(endpoint_url=url, token=server.token)
        fs.invalidate_cache()  # an earlier server may have had the same port
        yield fs, front


@pytest.mark.covering
@pytest.mark.parametrize("which", LIMITS)
def test_everything_works(server: LiveServer, tmp_path: Path, which: str) -> None:
    with behind(server, LIMITS[which]) as (fs, _):
        write_and_look(fs)
        read(fs, tmp_path)
        change(fs)


def write_and_look(fs: RinoFileSystem) -> None:
    fs.pipe({f"dir/sub {number % 2}/{number}": b"%d" % number for number in range(10)})
    fs.pipe_file("dir/big", BIG)
    fs.mkdir("dir/empty")
    fs.invalidate_cache()
    assert fs.info("dir/sub 0/4")["type"] == "file"
    assert fs.exists("dir/sub 1/9")
    assert not fs.exists("dir/sub 1/10")
    assert fs.isdir("dir/sub 0")
    fs.invalidate_cache()
    expected = [f"dir/sub {number % 2}/{number}" for number in range(10)]
    assert fs.find("") == sorted(["dir/big", *expected])
    assert fs.ls("dir/sub 0", detail=False) == [f"dir/sub 0/{number}" for number in (0, 2, 4, 6, 8)]
    assert fs.glob("dir/*/3") == ["dir/sub 1/3"]
    fs.invalidate_cache()
    with pytest.raises(FileNotFoundError):
        fs.info("dir/nothing/at all")


def read(fs: RinoFileSystem, folder: Path) -> None:
    fs.invalidate_cache()
    assert fs.cat_file("dir/sub 0/4") == b"4"
    assert fs.cat_file("dir/big") == BIG
    assert fs.cat_file("dir/big", 100_000, 100_010) == BIG[100_000:100_010]
    assert fs.cat_file("dir/big", -10) == fs.tail("dir/big", 10) == BIG[-10:]
    assert fs.cat_file("dir/big", 0, -10) == BIG[:-10]
    assert fs.cat_ranges(["dir/big"] * 3, [0, 200_000, -5], [5, 200_005, None]) == [
        BIG[:5],
        BIG[200_000:200_005],
        BIG[-5:],
    ]
    for cache_type in ("rinofs", "readahead"):
        with fs.open("dir/big", cache_type=cache_type, block_size=50_000) as file:
            assert file.seek(0, 2) == len(BIG)
            file.seek(150_000)
            assert file.read(1000) == BIG[150_000:151_000]
            file.seek(0)
            assert file.read() == BIG
    fs.get("dir", str(folder / "got"), recursive=True)
    assert (folder / "got" / "big").read_bytes() == BIG
    assert (folder / "got" / "sub 1" / "9").read_bytes() == b"9"
    assert fs.cat("dir/sub 1", recursive=True) == {f"dir/sub 1/{n}": b"%d" % n for n in (1, 3, 5, 7, 9)}
    with pytest.raises(FileNotFoundError):
        fs.cat_file("dir/nothing")
    with pytest.raises(IsADirectoryError):
        fs.cat_file("dir/sub 0")


def change(fs: RinoFileSystem) -> None:
    with fs.open("dir/sub 0/4", "ab") as file:
        file.write(b"+")
    assert fs.cat_file("dir/sub 0/4") == b"4+"
    fs.pipe_file("dir/sub 0/4", b"4")
    *_, before, _ = fs.versions("dir/sub 0/4")  # what the service appends to itself keeps no version
    assert fs.cat_file("dir/sub 0/4", version_id=before["id"]) == b"4+"
    fs.restore("dir/sub 0/4", before["id"])
    assert fs.cat_file("dir/sub 0/4") == b"4+"
    fs.pipe_file("dir/sub 0/4", b"4")
    with pytest.raises(FileExistsError):
        fs.pipe_file("dir/sub 0/4", b"no", mode="create")
    fs.cp("dir/sub 0/4", "dir/copy")
    fs.cp("dir/sub 0/2", "dir/copy")
    fs.cp("dir/sub 1", "copies", recursive=True)
    fs.mv("dir/sub 0/4", "dir/renamed")
    fs.mv("dir/renamed", "dir/sub 0/6")
    fs.mv("dir/sub 1", "moved/folder")
    fs.rm("dir/big")
    fs.rm(["dir/sub 0/0", "dir/sub 0/2"])
    fs.invalidate_cache()
    found = {path: fs.cat_file(path) for path in fs.find("")}
    assert found == {
        "dir/copy": b"2",
        "dir/sub 0/6": b"4",
        "dir/sub 0/8": b"8",
        **{f"{top}/{n}": b"%d" % n for top in ("copies", "moved/folder") for n in (1, 3, 5, 7, 9)},
    }
    fs.rm("dir", recursive=True)
    fs.rm("moved", recursive=True)
    assert fs.ls("", detail=False) == ["copies"]


# Learnt once


@pytest.mark.parametrize("status", [404, 405])
def test_a_missing_query_is_learnt_once(server: LiveServer, api: Api, status: int) -> None:
    for number in range(5):
        api.upload(f"a/b/{number}", b"1")
    with behind(server, Limits(missing={"query": status})) as (fs, front):
        for number in range(5):
            assert fs.exists(f"a/b/{number}")
            assert not fs.exists(f"a/b/{number}x")
            fs.invalidate_cache()
        assert front.asked.count("query") == (0 if fs._backend.client.features.has("path") else 1)


@pytest.mark.parametrize("endpoint", ["copy", "move"])
def test_missing_copies_and_moves_are_learnt_once(server: LiveServer, api: Api, endpoint: str) -> None:
    for number in range(5):
        api.upload(f"a/{number}", b"%d" % number, metadata={"n": number}, tags=["t"])
    with behind(server, Limits(missing={endpoint: 404})) as (fs, front):
        act = fs.cp if endpoint == "copy" else fs.mv
        for number in range(5):
            act(f"a/{number}", f"b/{number}")
            info = fs.info(f"b/{number}")
            assert (info["metadata"], info["tags"]) == ({"n": number}, ["t"])
            assert fs.cat_file(f"b/{number}") == b"%d" % number
            assert fs.exists(f"a/{number}") == (endpoint == "copy")
        assert front.asked.count(endpoint) == 2  # and not once more for each file


def test_one_stray_answer_is_not_a_missing_endpoint(server: LiveServer, api: Api) -> None:
    record = api.upload("a", b"1")
    api.upload("a", b"2")
    api.post("create_folder", name="b")
    strays = [Fault(status=404, headers={"content-type": "text/html"}, body=b"<html>try later</html>")]
    server.faults = lambda method, path: strays.pop() if path.endswith("/move/") and strays else None
    fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)
    fs.mv("a", "b/a")
    assert strays == []
    assert fs.info("b/a")["versions"] == [record["id"]]


def test_missing_ranges_are_learnt_once(server: LiveServer, api: Api) -> None:
    data = bytes(range(256)) * 4096  # 1 MiB
    api.upload("a", data)
    api.upload("b", data)
    server.reset()
    with behind(server, Limits(ranges=False)) as (fs, _):
        for path in ("a", "b"):
            for start in (900_000, 800_000, 5):
                assert fs.cat_file(path, start, start + 10) == data[start : start + 10]
        assert fs._backend.session.no_ranges
        with fs.open("a") as file:
            for start in (1_000_000, 10, 500_000):
                file.seek(start)
                assert file.read(10) == data[start : start + 10]


def test_pages_are_asked_for_as_large_as_they_come(server: LiveServer, api: Api) -> None:
    for number in range(10):
        api.upload(f"a/{number}", b"1")
    for limits, pages in (
        (Limits(page=3), 4),
        (Limits(page=5), 2),
        (Limits(page=100), 1),
        (Limits(page=5, echo=False), 3),
        (Limits(page=4, bare_lists=True), 4),
        (Limits(bare_lists=True), 2),
    ):
        with behind(server, limits) as (fs, front):
            fs.info("a")
            front.asked.clear()
            assert len(fs.ls("a")) == 10
            assert front.asked.count("children") in {pages, pages + 1}
            front.asked.clear()
            assert len(fs.ls("a")) == 10
            assert front.asked == []


def test_an_object_store_gets_no_credentials(server: LiveServer, api: Api, tmp_path: Path) -> None:
    api.upload("dir/a", BIG)
    with behind(server, Limits(redirects=True)) as (fs, front):
        assert fs.cat_file("dir/a") == BIG
        assert fs.cat_file("dir/a", 10, 20) == BIG[10:20]
        with fs.open("dir/a") as file:
            assert file.read() == BIG
        fs.get_file("dir/a", str(tmp_path / "a"))
        assert front.store is not None
        assert len(front.store.headers) >= 4
        assert all("authorization" not in headers for headers in front.store.headers)
        assert all(server.token not in str(headers) for headers in front.store.headers)
        assert [headers["range"] for headers in front.store.headers if "range" in headers] == ["bytes=10-19"]
