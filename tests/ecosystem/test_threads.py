"""fsspec makes a filesystem object for each thread; what they know and hold is shared all the same."""

from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any, TypeVar

import fsspec

from rinofs import RinoFileSystem
from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.testing import LiveServer

Result = TypeVar("Result")

CONTENT = bytes(range(256)) * 4_000  # 1 MB


def _in_a_thread(work: Callable[[], Result]) -> Result:
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def _downloads(server: LiveServer) -> int:
    return len([request for request in server.requests if "download" in request.path])


def test_each_thread_has_an_object_and_all_share_what_is_behind(options: Any) -> None:
    here = fsspec.filesystem("rino", **options)
    there = _in_a_thread(lambda: fsspec.filesystem("rino", **options))
    assert here is not there
    assert here._backend.session is there._backend.session
    assert here._backend.listings is there._backend.listings
    assert here._backend.client.features is there._backend.client.features


@both_modes
def test_a_listing_is_asked_for_once(options: Any, server: LiveServer, fs: RinoFileSystem) -> None:
    fs.pipe({f"exp1/run {number}.csv": b"" for number in range(5)})
    fs.invalidate_cache()
    found = fs.ls("exp1", detail=False)
    server.reset()
    for _ in range(3):
        listed = _in_a_thread(lambda: fsspec.filesystem("rino", **options).ls("exp1", detail=False))
        assert listed == found
        assert _in_a_thread(lambda: fsspec.filesystem("rino", **options).info("exp1/run 3.csv"))["size"] == 0
    assert server.requests == []


@both_modes
def test_content_is_downloaded_once(options: Any, server: LiveServer, fs: RinoFileSystem) -> None:
    fs.pipe_file("a.bin", CONTENT)

    def read() -> bytes:
        with fsspec.filesystem("rino", **options).open("a.bin") as file:
            return bytes(file.read())

    server.reset()
    assert [_in_a_thread(read) for _ in range(4)] == [CONTENT] * 4
    assert _downloads(server) == 1


@both_modes
def test_what_one_thread_writes_all_see_at_once(options: Any, fs: RinoFileSystem) -> None:
    fs.pipe_file("exp1/a.txt", b"first")
    assert fs.cat_file("exp1/a.txt") == b"first"
    assert fs.ls("exp1", detail=False) == ["exp1/a.txt"]

    def change() -> None:
        there = RinoFileSystem(**options)
        there.pipe_file("exp1/a.txt", b"second one")
        there.pipe_file("exp1/b.txt", b"new")

    _in_a_thread(change)
    assert fs.cat_file("exp1/a.txt") == b"second one"
    assert fs.size("exp1/a.txt") == 10
    assert fs.ls("exp1", detail=False) == ["exp1/a.txt", "exp1/b.txt"]
    _in_a_thread(lambda: RinoFileSystem(**options).rm("exp1", recursive=True))
    assert not fs.exists("exp1/a.txt")
    assert fs.ls("", detail=False) == []


@both_modes
def test_one_object_used_by_many_threads(options: Any, fs: RinoFileSystem) -> None:
    """As zarr and dask do: one object made by one thread, handed to others."""
    together = threading.Barrier(8)

    def work(number: int) -> list[str]:
        together.wait()
        mine = f"thread {number}"
        for step in range(4):
            fs.pipe_file(f"{mine}/{step}.bin", CONTENT[: 1_000 * (number + 1)])
            assert fs.cat_file(f"{mine}/{step}.bin") == CONTENT[: 1_000 * (number + 1)]
        fs.mv(f"{mine}/0.bin", f"{mine}/moved.bin")
        fs.cp_file(f"{mine}/1.bin", f"shared/{number}.bin")
        fs.rm(f"{mine}/2.bin")
        return [str(path) for path in fs.find(mine)]

    with ThreadPoolExecutor(8) as pool:
        found = list(pool.map(work, range(8)))
    for number, paths in enumerate(found):
        assert paths == [f"thread {number}/{name}.bin" for name in ("1", "3", "moved")]
    assert fs.find("shared") == [f"shared/{number}.bin" for number in range(8)]


def test_one_open_file_read_by_many_threads_is_read_in_turn(fs: RinoFileSystem) -> None:
    fs.pipe_file("a.bin", CONTENT)
    with fs.open("a.bin") as file, ThreadPoolExecutor(6) as pool:
        lock = threading.Lock()

        def read(number: int) -> bool:
            start = number * 7_919 % (len(CONTENT) - 5_000)
            with lock:
                file.seek(start)
                return bytes(file.read(5_000)) == CONTENT[start : start + 5_000]

        assert all(pool.map(read, range(200)))


def test_asynchronous_true_is_the_same_filesystem_to_use(options: Any, server: LiveServer) -> None:
    usual = RinoFileSystem(**options)
    for_async = RinoFileSystem(**options, asynchronous=True)
    for_async.pipe_file("a.txt", b"1")
    server.reset()
    assert usual.info("a.txt")["size"] == 1
    assert server.requests == []
    assert for_async._backend.session is usual._backend.session


async def test_it_is_used_from_coroutines_through_fsspecs_wrapper(options: Any) -> None:
    from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper

    wrapped = AsyncFileSystemWrapper(RinoFileSystem(**options, asynchronous=True), asynchronous=True)
    await wrapped._pipe({f"exp1/{number}": str(number).encode() for number in range(20)})
    contents = await wrapped._cat([f"exp1/{number}" for number in range(20)])
    assert contents == {f"exp1/{number}": str(number).encode() for number in range(20)}
    assert await wrapped._exists("exp1/7")
    assert not await wrapped._exists("exp1/77")
    await wrapped._rm("exp1", recursive=True)
    assert await wrapped._ls("", detail=False) == []
