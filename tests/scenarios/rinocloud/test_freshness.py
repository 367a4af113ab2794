"""How old what is seen may be: own writes are seen at once, those of others within the listing's time."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RinoFileSystem
from rinofs.testing import live_server

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer
    from tests.rinocloud.api import Api


@pytest.fixture
def patient(options: dict[str, Any]) -> RinoFileSystem:
    """A filesystem that believes its listings for an hour."""
    return RinoFileSystem(**options, listings_expiry_time=3600)


# Own writes


@pytest.mark.parametrize("known", ["nothing", "infos", "listings", "everything"])
def test_own_writes_are_seen_at_once(patient: RinoFileSystem, options: dict[str, Any], known: str) -> None:
    other = RinoFileSystem(**options)
    assert other is not patient

    def look() -> None:
        if known in {"infos", "everything"}:
            for path in ("dir", "dir/a", "dir/b", "copy", "moved"):
                patient.exists(path)
        if known in {"listings", "everything"}:
            patient.find("")
            patient.ls("")

    steps: list[tuple[Callable[[], None], list[str]]] = [
        (lambda: other.pipe_file("dir/a", b"1"), ["dir", "dir/a"]),
        (
            lambda: other.pipe({"dir/b": b"2", "new/sub/c": b"3"}),
            ["dir", "dir/a", "dir/b", "new", "new/sub", "new/sub/c"],
        ),
        (lambda: other.mv("new", "moved"), ["dir", "dir/a", "dir/b", "moved", "moved/sub", "moved/sub/c"]),
        (lambda: other.rm("moved", recursive=True), ["dir", "dir/a", "dir/b"]),
        (
            lambda: other.cp("dir", "copy", recursive=True),
            ["copy", "copy/a", "copy/b", "dir", "dir/a", "dir/b"],
        ),
        (
            lambda: other.mkdir("dir/x/y"),
            ["copy", "copy/a", "copy/b", "dir", "dir/a", "dir/b", "dir/x", "dir/x/y"],
        ),
        (lambda: other.rm(["copy/a", "dir/x", "dir/b"], recursive=True), ["copy", "copy/b", "dir", "dir/a"]),
        (lambda: other.mv("copy/b", "dir/a"), ["copy", "dir", "dir/a"]),
        (lambda: other.rmdir("copy"), ["dir", "dir/a"]),
    ]
    for step, expected in steps:
        look()
        step()
        seen = [info["name"] for info in patient.ls("")]
        assert seen == [path for path in expected if "/" not in path]
        for top, folders, files in patient.walk(""):
            inside = [path for path in expected if path.rpartition("/")[0] == top]
            assert sorted([*folders, *files]) == [path.rpartition("/")[2] for path in inside]
        assert all(patient.exists(path) for path in expected)
        for path in {"dir/a", "dir/b", "moved/sub/c", "copy/a", "copy/b", "dir/x"} - set(expected):
            assert not patient.exists(path)
        assert patient.find("", withdirs=True) == expected


def test_own_content_is_seen_at_once(patient: RinoFileSystem, options: dict[str, Any]) -> None:
    for number in range(5):
        data = b"x" * number
        RinoFileSystem(**options).pipe_file("a", data)
        assert patient.info("a")["size"] == number
        assert patient.cat_file("a") == data
        assert patient.ls("")[0]["size"] == number
        with patient.open("a") as file:
            assert file.read() == data


def test_threads_have_objects_of_their_own_but_see_the_same(options: dict[str, Any]) -> None:
    fs = RinoFileSystem(**options)
    fs.ls("")
    objects: list[RinoFileSystem] = []
    # fsspec tells threads apart by a number that the next thread gets when one has ended.
    all_alive = threading.Barrier(4)

    def write(number: int) -> None:
        all_alive.wait()
        mine = RinoFileSystem(**options)
        mine.ls("")
        mine.pipe_file(f"{number}", b"1")
        objects.append(mine)
        assert mine.exists(f"{number}")
        all_alive.wait()

    threads = [threading.Thread(target=write, args=(number,)) for number in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert len({id(one) for one in objects} | {id(fs)}) == 5
    assert fs.ls("", detail=False) == ["0", "1", "2", "3"]
    assert all(one.ls("", detail=False) == ["0", "1", "2", "3"] for one in objects)


def test_listings_under_way_do_not_undo_own_writes(options: dict[str, Any], server: LiveServer) -> None:
    fs = RinoFileSystem(**options, listings_expiry_time=3600)
    stop = threading.Event()

    def list_on() -> None:
        while not stop.is_set():
            fs.ls("dir", refresh=True)

    fs.mkdir("dir")
    with ThreadPoolExecutor(2) as executor:
        listings = [executor.submit(list_on) for _ in range(2)]
        try:
            for number in range(40):
                fs.pipe_file(f"dir/{number}", b"1")
                assert fs.exists(f"dir/{number}")
                if number % 3 == 0:
                    fs.rm(f"dir/{number}")
                    assert not fs.exists(f"dir/{number}")
        finally:
            stop.set()
        for listing in listings:
            listing.result()


# Writes of others


def test_reads_are_of_the_current_version(server: LiveServer, api: Api, options: dict[str, Any]) -> None:
    fs = RinoFileSystem(**options, listings_expiry_time=0)
    believing = RinoFileSystem(**options, listings_expiry_time=3600)
    api.upload("a", b"1")
    for number in range(2, 5):
        data = b"%d" % number * number
        believing.info("a")
        api.upload("a", data)
        readers = [fs, believing] if fs._backend.client.features.has("path") else [fs]
        for reader in readers:
            assert reader.cat_file("a") == data
            assert reader.head("a", 99) == data
            assert reader.cat_ranges(["a"] * 2, [0, 1], [1, 2]) == [data[:1], data[1:2]]
            with reader.open("a") as file:
                assert file.read() == data
            assert reader.ukey("a") == fs.ukey("a")


def test_old_reads_on_the_plain_api_are_whole(api: Api, options: dict[str, Any]) -> None:
    believing = RinoFileSystem(**options, listings_expiry_time=3600)
    old, new = b"1" * 300_000, b"2" * 400_000
    api.upload("a", old)
    believing.info("a")
    api.upload("a", new)
    assert believing.cat_file("a") in ((new,) if believing._backend.client.features.has("path") else (old,))
    assert believing.cat_file("a", 0, 10) in (old[:10], new[:10])
    believing.invalidate_cache("a")
    assert believing.cat_file("a") == new


def test_without_listings_everything_is_asked(api: Api, options: dict[str, Any], server: LiveServer) -> None:
    for setting in ({"listings_expiry_time": 0}, {"use_listings_cache": False}):
        api.clear()
        fs = RinoFileSystem(**options, **setting)
        assert not fs.exists("dir/a")
        api.upload("dir/a", b"1")
        assert fs.exists("dir/a")
        assert fs.ls("dir", detail=False) == ["dir/a"]
        api.upload("dir/b", b"22")
        assert fs.ls("dir", detail=False) == fs.find("dir") == ["dir/a", "dir/b"]
        assert fs.info("dir/b")["size"] == 2
        api.post("delete", id=api.id_of("dir", "b"))
        assert not fs.exists("dir/b")
        assert fs.ls("dir", detail=False) == ["dir/a"]
        before = len(server.requests)
        fs.info("dir/a")
        assert len(server.requests) > before


def test_listings_expire(api: Api, options: dict[str, Any]) -> None:
    short = RinoFileSystem(**options, listings_expiry_time=0.001)
    assert short.ls("") == []
    api.upload("a", b"1")
    assert short.ls("", detail=False) == ["a"]
    believing = RinoFileSystem(**options, listings_expiry_time=3600)
    assert believing.ls("", detail=False) == ["a"]
    api.upload("b", b"1")
    assert believing.ls("", detail=False) == ["a"]
    assert not believing.exists("b")
    assert believing.ls("", detail=False, refresh=True) == ["a", "b"]
    api.upload("c", b"1")
    assert believing.info("c", refresh=True)["size"] == 1
    assert believing.exists("c")


def test_what_was_listed_and_is_gone(api: Api, patient: RinoFileSystem) -> None:
    for name in ("dir/a", "dir/b", "dir/c"):
        api.upload(name, b"1")
    patient.find("")
    patient.info("dir")
    patient.ls("dir")
    api.post("delete", id=api.id_of("dir", "a"))
    with pytest.raises(FileNotFoundError):
        patient.cat_file("dir/a")
    with pytest.raises(FileNotFoundError):
        patient.rm("dir/a")
    found = patient.cat(["dir/a", "dir/b"], on_error="omit")
    assert found == {"dir/b": b"1"}
    api.post("delete", id=api.id_of("dir"))
    patient.invalidate_cache("dir/a")
    with pytest.raises(FileNotFoundError):
        patient.ls("dir")
    assert patient.find("dir") == []


def test_a_file_that_was_replaced_by_another_object_is_read(api: Api, patient: RinoFileSystem) -> None:
    record = api.upload("dir/a", b"old")
    patient.find("")
    api.post("delete", id=record["id"])
    api.upload("dir/a", b"new one")
    assert patient.cat_file("dir/a") == b"new one"


def test_rm_of_what_was_replaced_by_another_object(api: Api, patient: RinoFileSystem) -> None:
    record = api.upload("dir/a", b"old")
    patient.find("")
    api.post("delete", id=record["id"])
    api.upload("dir/a", b"new one")
    patient.rm("dir/a")
    assert api.children(api.id_of("dir")) == []


# Who sees what


def test_users_and_endpoints_are_apart(server: LiveServer, options: dict[str, Any]) -> None:
    mine = RinoFileSystem(**options)
    mine.pipe_file("a", b"mine")
    token = server.add_user(f"user-{len(server.requests)}-{id(options)}")
    theirs = RinoFileSystem(endpoint_url=server.endpoint_url, token=token)
    assert theirs.ls("") == []
    theirs.pipe_file("a", b"theirs")
    assert mine.cat_file("a") == b"mine"
    assert mine.ls("")[0]["owner"] == "rino"
    with pytest.raises(FileNotFoundError):
        theirs.info(f"@{mine.info('a')['id']}")
    with live_server(extensions=server.extensions, token=server.token) as other:
        elsewhere = RinoFileSystem(endpoint_url=other.endpoint_url, token=other.token)
        assert elsewhere.ls("") == []
        assert mine.ls("", detail=False) == ["a"]
