"""What zarr asks for at once is asked of the server together, and nobody waits for others to come."""

from __future__ import annotations

import asyncio
import threading
from typing import TYPE_CHECKING

import numpy as np
import pytest
import zarr
from zarr.abc.store import OffsetByteRequest, RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype

from rinofs.protocol.limits import MAX_BUNDLE_UPLOAD, MAX_BUNDLED_FILE, MAX_RANGES
from rinofs.zarr import RinoStore
from rinofs.zarr.batching import Batcher, BatchLimits
from tests.ecosystem.modes import both_modes
from tests.few_threads import few_threads, finished

if TYPE_CHECKING:
    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

PROTOTYPE = default_buffer_prototype()
COUNT = 80


def _buffer(data: bytes) -> Buffer:
    return cpu.Buffer.from_bytes(data)


def _bytes(found: Buffer | None) -> bytes | None:
    return None if found is None else found.to_bytes()


@pytest.fixture
def store(fs: RinoFileSystem, server: LiveServer) -> RinoStore:
    """A store of many small values, and one of each kind that has to be asked for alone."""
    fs.pipe({f"s/a/c/{number}": f"value {number}".encode() for number in range(COUNT)})
    fs.pipe({"s/large/c/0": bytes(MAX_BUNDLED_FILE + 1), "s/large/c/1": b"x" * (MAX_BUNDLED_FILE + 1)})
    fs.makedirs("s/folder/c/0")
    server.reset()
    return RinoStore(fs, "s")


@both_modes
async def test_concurrent_reads(store: RinoStore, server: LiveServer) -> None:
    keys = [f"a/c/{number}" for number in range(COUNT)] + ["a/c/none", "folder/c/0", "large/c/1", "a/c/0"]
    found = await asyncio.gather(*(store.get(key, PROTOTYPE) for key in keys))
    values = [f"value {number}".encode() for number in range(COUNT)]
    assert list(map(_bytes, found)) == [*values, None, None, b"x" * (MAX_BUNDLED_FILE + 1), values[0]]
    if server.extensions:
        assert len(server.requests) <= COUNT // MAX_BUNDLE_UPLOAD + 12


async def test_one_read_is_one_request(store: RinoStore, server: LiveServer) -> None:
    for key, part in [("a/c/7", None), ("a/c/7", RangeByteRequest(0, 3)), ("large/c/0", None)]:
        server.reset()
        assert await store.get(key, PROTOTYPE, part) is not None
        assert len(server.requests) == 1


async def test_large_chunks_are_not_asked_for_twice(
    store: RinoStore, fs: RinoFileSystem, server: LiveServer
) -> None:
    fs.pipe({f"s/large/c/{number}": bytes(MAX_BUNDLED_FILE + 1) for number in range(4)})
    keys = [f"large/c/{number}" for number in range(4)]
    for expected in (5, 4):  # the first time it is tried
        server.reset()
        await asyncio.gather(*(store.get(key, PROTOTYPE) for key in keys))
        assert len(server.requests) == expected


async def test_a_read_that_was_given_up_disturbs_no_other(store: RinoStore) -> None:
    tasks = [asyncio.create_task(store.get(f"a/c/{number}", PROTOTYPE)) for number in range(4)]
    await asyncio.sleep(0)
    tasks[1].cancel()
    tasks[2].cancel()
    found = await asyncio.gather(*tasks, return_exceptions=True)
    assert [type(one) for one in found[1:3]] == [asyncio.CancelledError] * 2
    assert (await store.get("a/c/1", PROTOTYPE)).to_bytes() == b"value 1"  # type: ignore[union-attr]


@both_modes
async def test_parts_of_one_value(store: RinoStore, fs: RinoFileSystem, server: LiveServer) -> None:
    content = np.random.default_rng(1).bytes(8_000_000)
    fs.pipe_file("s/shard/c/0", content)
    parts = [RangeByteRequest(start, start + 1000) for start in range(0, 8_000_000, 100_000)]
    ends = [SuffixByteRequest(10), OffsetByteRequest(7_999_990), SuffixByteRequest(9_000_000), None]
    server.reset()
    groups = [group async for group in store.get_ranges("shard/c/0", parts, prototype=PROTOTYPE)]
    if server.extensions:
        assert len(server.requests) <= len(parts) // MAX_RANGES + 1
    found = {number: _bytes(part) for group in groups for number, part in group}
    assert found == {number: content[part.start : part.end] for number, part in enumerate(parts)}
    asked = [("shard/c/0", part) for part in ends]
    several = await store.get_partial_values(PROTOTYPE, [*asked, ("shard/none", None), ("none", parts[0])])
    assert list(map(_bytes, several)) == [content[-10:], content[-10:], content, content, None, None]
    in_order = store.get_ranges_sync("shard/c/0", [*parts, *ends], prototype=PROTOTYPE)
    assert [number for number, _ in in_order] == list(range(len(parts) + len(ends)))
    assert [_bytes(part) for _, part in in_order[-4:]] == [content[-10:], content[-10:], content, content]


async def test_parts_of_a_value_that_there_is_not(store: RinoStore) -> None:
    with pytest.raises(BaseExceptionGroup) as caught:
        [group async for group in store.get_ranges("none", [RangeByteRequest(0, 1)], prototype=PROTOTYPE)]
    assert caught.value.subgroup(FileNotFoundError) is not None
    with pytest.raises(BaseExceptionGroup) as caught:
        store.get_ranges_sync("none", [RangeByteRequest(0, 1), None], prototype=PROTOTYPE)
    assert caught.value.split(FileNotFoundError)[1] is None


@both_modes
async def test_concurrent_writes(store: RinoStore, fs: RinoFileSystem, server: LiveServer) -> None:
    values = {f"b/c/{number}": f"new {number}".encode() for number in range(COUNT)}
    values["b/large"] = bytes(MAX_BUNDLED_FILE + 1)
    await asyncio.gather(*(store.set(key, _buffer(value)) for key, value in values.items()))
    if server.extensions:
        assert len(server.requests) <= COUNT // MAX_BUNDLE_UPLOAD + 12
    assert {path.removeprefix("s/"): data for path, data in fs.cat("s/b", recursive=True).items()} == values


@both_modes
async def test_a_write_that_fails_fails_alone(store: RinoStore, fs: RinoFileSystem) -> None:
    keys = ["b/0", "a/c/0/below-a-file", "b/1", "folder"]
    results = await asyncio.gather(*(store.set(key, _buffer(b"x")) for key in keys), return_exceptions=True)
    assert [isinstance(result, OSError) for result in results] == [False, True, False, True]
    assert fs.find("s/b") == ["s/b/0", "s/b/1"]


async def test_one_writer_makes_a_value(store: RinoStore) -> None:
    values = [f"writer {number}".encode() for number in range(4)]
    await asyncio.gather(*(store.set_if_not_exists("new", _buffer(value)) for value in values))
    assert _bytes(await store.get("new", PROTOTYPE)) in values


async def test_all_keys_are_listed_by_one_request(store: RinoStore, server: LiveServer) -> None:
    assert len([key async for key in store.list()]) == COUNT + 2
    assert len(server.requests) == 1
    server.reset()
    assert await store.getsize_prefix("large/") == 2 * (MAX_BUNDLED_FILE + 1)
    assert len(server.requests) == 1


def test_arrays_through_zarr(fs: RinoFileSystem, server: LiveServer) -> None:
    data = np.random.default_rng(2).random((100, 8))
    array = zarr.create_array(RinoStore(fs, "a.zarr"), shape=data.shape, chunks=(1, 8), dtype=data.dtype)
    array[:] = data
    server.reset()
    with zarr.config.set({"async.concurrency": 100}):
        found = zarr.open_array(RinoStore(fs, "a.zarr"), mode="r")[:]
    np.testing.assert_array_equal(found, data)
    assert len(server.requests) < 20


# What collects them


def test_how_much_is_under_way_is_bounded() -> None:
    lock, running, peaks, calls = threading.Lock(), [0], [0], []

    def work(sizes: list[int]) -> list[int]:
        with lock:
            running[0] += 1
            peaks.append(running[0])
            calls.append(sizes)
        with lock:
            running[0] -= 1
        return sizes

    async def ask() -> list[int]:
        batcher: Batcher[int, int] = Batcher(
            work, BatchLimits(items=10, size=100, calls=2), lambda size: size
        )
        return await asyncio.gather(*map(batcher.ask, sizes))

    sizes = [1] * 35 + [60, 60, 500, 30, 30, 30, 30]
    assert asyncio.run(ask()) == sizes
    assert max(peaks) <= 2
    assert all(len(call) <= 10 and (sum(call) <= 100 or len(call) == 1) for call in calls)


def test_what_work_raises_is_raised_by_all_who_wait() -> None:
    def work(items: list[int]) -> list[int]:
        raise PermissionError("no")

    async def ask() -> list[object]:
        batcher: Batcher[int, int] = Batcher(work, BatchLimits(10, 100, 2))
        return await asyncio.gather(*map(batcher.ask, range(3)), return_exceptions=True)

    assert list(map(type, asyncio.run(ask()))) == [PermissionError] * 3


@pytest.mark.parametrize("allowed", [0, 1])
def test_where_the_system_allows_few_threads(store: RinoStore, allowed: int) -> None:
    async def work() -> list[bytes | None]:
        await store.set("few", _buffer(b"few"))
        found = await asyncio.gather(*(store.get(key, PROTOTYPE) for key in ["few", "missing"] * 20))
        return [_bytes(one) for one in found]

    with few_threads(allowed) as refused:
        assert finished(lambda: asyncio.run(work())) == [b"few", None] * 20
    assert refused


def test_event_loops_one_after_the_other_and_threads(store: RinoStore) -> None:
    def read(number: int) -> bytes | None:
        return _bytes(asyncio.run(store.get(f"a/c/{number}", PROTOTYPE)))

    assert [read(number) for number in range(3)] == [b"value 0", b"value 1", b"value 2"]
    found: dict[int, bytes | None] = {}
    threads = [threading.Thread(target=lambda n=n: found.update({n: read(n)})) for n in range(4)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found == {number: f"value {number}".encode() for number in range(4)}
