"""zarr: its own suite for stores, over both ways to make a store of a filesystem."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr
from fsspec.implementations.asyn_wrapper import AsyncFileSystemWrapper
from zarr.abc.store import OffsetByteRequest, SuffixByteRequest, SupportsGetSync
from zarr.core.buffer import Buffer, cpu, default_buffer_prototype
from zarr.storage import FsspecStore
from zarr.testing.store import StoreTests

from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

PATH = "exp #1/store [50%].zarr"


@both_modes
class RinoStoreTests(StoreTests[FsspecStore, cpu.Buffer]):
    """The suite; what is set up and looked at goes by the filesystem, not the store."""

    store_cls = FsspecStore
    buffer_cls = cpu.Buffer

    # zarr's own FsspecStore has no synchronous methods, whatever the filesystem: there is nothing to test.
    test_get_sync = None
    test_get_sync_missing = None
    test_set_sync = None
    test_delete_sync = None
    test_delete_sync_missing = None

    @pytest.fixture(autouse=True)
    def _direct(self, fs: RinoFileSystem) -> None:
        self.fs = fs

    async def set(self, store: FsspecStore, key: str, value: Buffer) -> None:
        self.fs.pipe_file(f"{PATH}/{key}", value.to_bytes())

    async def get(self, store: FsspecStore, key: str) -> Buffer:
        return self.buffer_cls.from_bytes(self.fs.cat_file(f"{PATH}/{key}"))

    def test_there_are_no_synchronous_methods(self, store: FsspecStore) -> None:
        assert not isinstance(store, SupportsGetSync)

    def test_store_repr(self, store: FsspecStore) -> None:
        assert str(store) == f"<FsspecStore(AsyncFileSystemWrapper, {PATH})>"

    def test_store_supports_writes(self, store: FsspecStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: FsspecStore) -> None:
        assert store.supports_listing

    async def test_ends_of_what_is_there(self, store: FsspecStore) -> None:
        await self.set(store, "c/0", self.buffer_cls.from_bytes(b"0123456789"))
        prototype = default_buffer_prototype()
        for request, expected in [
            (SuffixByteRequest(3), b"789"),
            (SuffixByteRequest(30), b"0123456789"),
            (OffsetByteRequest(8), b"89"),
        ]:
            part = await store.get("c/0", prototype, request)
            assert part is not None
            assert part.to_bytes() == expected


class TestStoreFromUrl(RinoStoreTests):
    @pytest.fixture
    def store_kwargs(self, options: Any) -> dict[str, Any]:
        made = FsspecStore.from_url(f"rino://{PATH}", storage_options={**options, "asynchronous": True})
        return {"fs": made.fs, "path": made.path}


class TestStoreAroundTheFileSystem(RinoStoreTests):
    @pytest.fixture
    def store_kwargs(self, fs: RinoFileSystem) -> dict[str, Any]:
        return {"fs": AsyncFileSystemWrapper(fs, asynchronous=True), "path": PATH}


@both_modes
def test_arrays_come_back(options: Any) -> None:
    data = np.arange(10_000, dtype="f4").reshape(100, 100)
    array = zarr.create_array(
        f"rino://{PATH}", shape=data.shape, chunks=(30, 30), dtype="f4", storage_options=options
    )
    array[:] = data
    array[10:20, 10:20] = -1
    data[10:20, 10:20] = -1
    again = zarr.open_array(f"rino://{PATH}", mode="r", storage_options=options)
    np.testing.assert_array_equal(again[:], data)


def test_shards_are_read_in_part(options: Any, server: LiveServer) -> None:
    data = np.random.default_rng(5).integers(0, 1 << 30, (512, 512))
    array = zarr.create_array(
        "rino://sharded.zarr",
        shape=data.shape,
        chunks=(32, 32),
        shards=(512, 512),
        dtype=data.dtype,
        compressors=None,
        storage_options=options,
    )
    array[:] = data
    again = zarr.open_array("rino://sharded.zarr", mode="r", storage_options=options)
    server.reset()
    np.testing.assert_array_equal(again[64:96, 32:64], data[64:96, 32:64])
    assert sum(request.bytes_out for request in server.requests) < data.nbytes // 20


def test_groups_are_listed_and_deleted(options: Any, fs: RinoFileSystem) -> None:
    root = zarr.open_group("rino://exp1.zarr", mode="w", storage_options=options)
    for name in ("left arm", "right #2"):
        root.create_group(name).create_array("emg", shape=(4,), dtype="i2")[:] = range(4)
    again = zarr.open_group("rino://exp1.zarr", mode="a", storage_options=options)
    assert sorted(again.group_keys()) == ["left arm", "right #2"]
    assert json.loads(fs.cat_file("exp1.zarr/right #2/emg/zarr.json"))["shape"] == [4]
    del again["left arm"]
    assert not fs.find("exp1.zarr/left arm")
    assert sorted(again.group_keys()) == ["right #2"]


def test_no_service_is_not_an_empty_store(options: Any, server: LiveServer) -> None:
    wrong = {**options, "token": "rino_nobody-has-this-one"}
    with pytest.raises(PermissionError):
        zarr.open_group("rino://exp1.zarr", mode="r", storage_options=wrong)
