"""zarr's own suite for stores, with the server's extensions and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest
from zarr.abc.store import SupportsGetSync
from zarr.core.buffer import Buffer, cpu
from zarr.testing.store import StoreTests

from rinofs.zarr import RinoStore
from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from rinofs import RinoFileSystem

PATH = "exp #1/store [50%].zarr"


@both_modes
class TestRinoStore(StoreTests[RinoStore, cpu.Buffer]):
    """What is set up and looked at goes by the filesystem, not the store."""

    store_cls = RinoStore
    buffer_cls = cpu.Buffer

    @pytest.fixture(autouse=True)
    def _direct(self, fs: RinoFileSystem) -> None:
        self.fs = fs

    @pytest.fixture
    def store_kwargs(self, fs: RinoFileSystem) -> dict[str, Any]:
        return {"fs": fs, "path": PATH}

    async def set(self, store: RinoStore, key: str, value: Buffer) -> None:
        self.fs.pipe_file(f"{PATH}/{key}", value.to_bytes())

    async def get(self, store: RinoStore, key: str) -> Buffer:
        return self.buffer_cls.from_bytes(self.fs.cat_file(f"{PATH}/{key}"))

    def test_store_repr(self, store: RinoStore) -> None:
        assert repr(store) == f"RinoStore('rino://{PATH}')"
        assert str(store) == f"rino://{PATH}"

    def test_store_supports_writes(self, store: RinoStore) -> None:
        assert store.supports_writes

    def test_store_supports_listing(self, store: RinoStore) -> None:
        assert store.supports_listing

    def test_there_are_synchronous_methods(self, store: RinoStore) -> None:
        assert isinstance(store, SupportsGetSync)
