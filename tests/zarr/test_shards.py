"""Parts of a shard that a task reads after its index: of one version, and by few requests."""

from __future__ import annotations

import asyncio
import sys
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import cpu, default_buffer_prototype

from rinofs.zarr import RinoStore, shards
from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

PROTOTYPE = default_buffer_prototype()
SIZE = 3_000_000
OLD, NEW = (np.random.default_rng(seed).bytes(SIZE) for seed in (1, 2))


@pytest.fixture
def store(fs: RinoFileSystem, server: LiveServer) -> RinoStore:
    fs.pipe_file("s/c/0", OLD)
    server.reset()
    return RinoStore(fs, "s")


async def _part(store: RinoStore, start: int, stop: int) -> bytes:
    found = await store.get("c/0", PROTOTYPE, RangeByteRequest(start, stop))
    assert found is not None
    return found.to_bytes()


async def _last(store: RinoStore, count: int) -> bytes:
    found = await store.get("c/0", PROTOTYPE, SuffixByteRequest(count))
    assert found is not None
    return found.to_bytes()


@both_modes
async def test_few_requests(store: RinoStore, server: LiveServer) -> None:
    starts = list(range(0, 2_900_000, 20_000))
    np.random.default_rng(3).shuffle(starts)
    assert await _last(store, 100) == OLD[-100:]
    for start in starts:
        assert await _part(store, start, start + 10_000) == OLD[start : start + 10_000]
    if server.extensions:
        assert len(server.requests) < len(starts) // 3
        assert sum(request.bytes_out for request in server.requests) < SIZE + 100_000


async def test_a_single_part_is_read_alone(store: RinoStore, server: LiveServer) -> None:
    assert await _last(store, 100) == OLD[-100:]
    assert await _part(store, 1_000_000, 1_010_000) == OLD[1_000_000:1_010_000]
    assert len(server.requests) == 3
    assert sum(request.bytes_out for request in server.requests) < 80_000


async def test_parts_are_of_the_version_of_the_index(store: RinoStore, fs: RinoFileSystem) -> None:
    assert await _last(store, 100) == OLD[-100:]
    fs.pipe_file("s/c/0", NEW)  # by somebody else
    assert await _part(store, 0, 10_000) == OLD[:10_000]
    assert await asyncio.create_task(_part(store, 0, 10_000)) == NEW[:10_000]
    assert await _last(store, 100) == NEW[-100:]
    assert await _part(store, 0, 10_000) == NEW[:10_000]


PARTS = [RangeByteRequest(start, start + 10_000) for start in range(0, SIZE - 10_000, 20_000)]


def _expected(value: bytes) -> list[bytes]:
    return [value[part.start : part.end] for part in PARTS]


async def _parts(store: RinoStore) -> list[bytes]:
    found = [one async for group in store.get_ranges("c/0", PARTS, prototype=PROTOTYPE) for one in group]
    return [one.to_bytes() for _, one in sorted(found) if one is not None]


async def test_parts_requested_together_are_of_the_version_of_the_index(
    store: RinoStore, fs: RinoFileSystem, server: LiveServer
) -> None:
    assert await _last(store, 100) == OLD[-100:]
    fs.pipe_file("s/c/0", NEW)  # by somebody else
    server.reset()
    assert await _parts(store) == _expected(OLD)
    assert len(server.requests) <= 4
    assert await asyncio.create_task(_parts(store)) == _expected(NEW)


def test_a_thread_reads_the_version_of_the_index(store: RinoStore, fs: RinoFileSystem) -> None:
    def last() -> bytes:
        found = store.get_sync("c/0", prototype=PROTOTYPE, byte_range=SuffixByteRequest(100))
        assert found is not None
        return found.to_bytes()

    def parts() -> list[bytes]:
        found = store.get_ranges_sync("c/0", PARTS, prototype=PROTOTYPE)
        return [one.to_bytes() for _, one in sorted(found) if one is not None]

    assert last() == OLD[-100:]
    fs.pipe_file("s/c/0", NEW)
    assert parts() == _expected(OLD)
    with ThreadPoolExecutor(1) as other:
        assert other.submit(parts).result() == _expected(NEW)
    assert last() == NEW[-100:]
    assert parts() == _expected(NEW)


def test_a_thread_reads_a_single_part_of_the_version_of_the_index(
    store: RinoStore, fs: RinoFileSystem
) -> None:
    def read(part: RangeByteRequest | SuffixByteRequest) -> bytes:
        found = store.get_sync("c/0", prototype=PROTOTYPE, byte_range=part)
        assert found is not None
        return found.to_bytes()

    assert read(SuffixByteRequest(100)) == OLD[-100:]
    fs.pipe_file("s/c/0", NEW)
    assert read(PARTS[0]) == _expected(OLD)[0]
    with ThreadPoolExecutor(1) as other:
        assert other.submit(read, PARTS[0]).result() == _expected(NEW)[0]


def test_threads_that_read_and_write_disturb_no_other(store: RinoStore) -> None:
    """Many threads read an index for the first time while others forget values that they write."""
    before = sys.getswitchinterval()
    sys.setswitchinterval(1e-6)
    failures: list[RuntimeError] = []
    done = threading.Event()

    def forget() -> None:
        while not done.is_set():
            try:
                store._shards.forget("s/c/1")
            except RuntimeError as error:
                failures.append(error)

    def read(_number: int) -> None:
        store.get_sync("c/0", prototype=PROTOTYPE, byte_range=SuffixByteRequest(100))

    writers = [threading.Thread(target=forget) for _ in range(2)]
    try:
        for writer in writers:
            writer.start()
        for _ in range(8):
            readers = [threading.Thread(target=read, args=[number]) for number in range(16)]
            for reader in readers:
                reader.start()
            for reader in readers:
                reader.join()
    finally:
        done.set()
        for writer in writers:
            writer.join()
        sys.setswitchinterval(before)
    assert failures == []


async def test_a_version_is_kept_for_a_moment(
    store: RinoStore, fs: RinoFileSystem, monkeypatch: pytest.MonkeyPatch
) -> None:
    assert await _last(store, 100) == OLD[-100:]
    fs.pipe_file("s/c/0", NEW)
    monkeypatch.setattr(shards, "PATIENCE", 0.0)
    assert await _part(store, 0, 10_000) == OLD[:10_000]
    assert await _part(store, 0, 10_000) == NEW[:10_000]


async def test_what_the_store_itself_writes_is_read(store: RinoStore) -> None:
    assert await _last(store, 100) == OLD[-100:]
    await store.set("c/0", cpu.Buffer.from_bytes(NEW))
    assert await _part(store, 0, 10_000) == NEW[:10_000]
    assert await _last(store, 100) == NEW[-100:]
    await store.delete("c/0")
    assert await store.get("c/0", PROTOTYPE, RangeByteRequest(0, 10_000)) is None
    assert await store.get("c/0", PROTOTYPE, SuffixByteRequest(10)) is None


@pytest.mark.parametrize(
    "delete",
    [
        lambda store: store.delete("c/0"),
        lambda store: store.delete_dir("c"),
        lambda store: store.delete_dir("c/"),
        lambda store: store.delete_dir(""),
        lambda store: store.clear(),
        lambda store: asyncio.to_thread(store.delete_sync, "c/0"),
    ],
    ids=["delete", "folder", "slash", "all", "clear", "sync"],
)
async def test_what_the_store_itself_deletes_is_gone(store: RinoStore, delete: Any) -> None:
    await store.set("c.txt", cpu.Buffer.from_bytes(NEW))
    for _ in range(2):
        assert await _last(store, 100) == OLD[-100:]
        assert await _part(store, 0, 10_000) == OLD[:10_000]
        await delete(store)
        assert await store.get("c/0", PROTOTYPE, RangeByteRequest(0, 10_000)) is None
        parts = store.get_ranges("c/0", [RangeByteRequest(0, 5)], prototype=PROTOTYPE)
        with pytest.raises(ExceptionGroup):
            await anext(aiter(parts))
        await store.set("c/0", cpu.Buffer.from_bytes(OLD))


def test_what_a_thread_deletes_is_gone(store: RinoStore) -> None:
    part = RangeByteRequest(0, 10)
    for _ in range(2):
        assert store.get_sync("c/0", prototype=PROTOTYPE, byte_range=SuffixByteRequest(10))
        assert store.get_sync("c/0", prototype=PROTOTYPE, byte_range=part)
        store.delete_sync("c/0")
        assert store.get_sync("c/0", prototype=PROTOTYPE, byte_range=part) is None
        with pytest.raises(ExceptionGroup):
            store.get_ranges_sync("c/0", [part], prototype=PROTOTYPE)
        store.set_sync("c/0", cpu.Buffer.from_bytes(OLD))


async def test_bounds_beyond_the_value(store: RinoStore) -> None:
    assert await _last(store, 2 * SIZE) == OLD
    assert await _part(store, SIZE - 10, SIZE + 10) == OLD[-10:]
    assert await _part(store, SIZE + 10, SIZE + 20) == b""


def test_parts_of_shards_through_zarr(fs: RinoFileSystem, server: LiveServer) -> None:
    data = np.random.default_rng(2).random((400, 512))
    array = zarr.create_array(
        RinoStore(fs, "a.zarr"), shape=data.shape, chunks=(1, 512), shards=data.shape, dtype=data.dtype
    )
    array[:] = data
    server.reset()
    np.testing.assert_array_equal(zarr.open_array(RinoStore(fs, "a.zarr"), mode="r")[::2], data[::2])
    assert len(server.requests) < 60
