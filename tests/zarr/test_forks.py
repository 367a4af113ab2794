"""Forked children go on, whatever locks threads of the parent held at that moment."""

from __future__ import annotations

import _thread
import gc
import sys
import threading
from typing import TYPE_CHECKING, Any

import pytest
from zarr.abc.store import RangeByteRequest, SuffixByteRequest
from zarr.core.buffer import cpu, default_buffer_prototype

from rinofs.fs import process
from rinofs.zarr import RinoStore
from tests.forks import in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rinofs import RinoFileSystem

PROTOTYPE = default_buffer_prototype()
LOCKS = _thread.LockType, type(threading.RLock()), threading.Condition


def locks() -> Iterator[Any]:
    """Yield the locks of all modules and objects of the client."""
    modules = [module for name, module in list(sys.modules.items()) if is_of_the_client(name)]
    objects = [one for one in gc.get_objects() if is_of_the_client(type(one).__module__)]
    for one in [*modules, *objects]:
        for value in list(getattr(one, "__dict__", {}).values()):
            for lock in value if isinstance(value, list) else [value]:
                if isinstance(lock, LOCKS):
                    yield lock


def is_of_the_client(module: Any) -> bool:
    return str(module).startswith("rinofs.") and not str(module).startswith(
        ("rinofs.server", "rinofs.testing")
    )


@pytest.fixture
def held() -> Iterator[None]:
    """Have a thread hold all of them."""
    ready, release = threading.Event(), threading.Event()

    def hold() -> None:
        taken = [lock for lock in locks() if lock.acquire(blocking=False)]
        ready.set()
        release.wait()
        for lock in taken:
            lock.release()

    thread = threading.Thread(target=hold)
    thread.start()
    ready.wait()
    yield
    release.set()
    thread.join()


def _files(fs: RinoFileSystem, folder: Path) -> None:
    assert fs.cat_file("f/a") == b"abc"
    fs.pipe({"f/b": b"b", "f/c": b"c" * 100_000})
    with fs.open("f/c") as file:
        file.seek(50_000)
        assert file.read(10) == b"c" * 10
    with fs.open("f/a", "ab") as file:
        file.write(b"d")
    fs.get("f", str(folder / "got"), recursive=True)
    fs.set_metadata("f/a", {"x": 1})
    fs.mv("f/b", "f/e")
    assert fs.ls("f", detail=False, refresh=True) == ["f/a", "f/c", "f/e"]


def _chunks(fs: RinoFileSystem, _folder: Path) -> None:
    store = STORES[fs]
    for part in (SuffixByteRequest(2), RangeByteRequest(0, 2)):
        assert store.get_sync("c/0", prototype=PROTOTYPE, byte_range=part) is not None
    store.set_sync("c/0", cpu.Buffer.from_bytes(b"new"))
    store.delete_sync("c/0")


STORES: dict[RinoFileSystem, RinoStore] = {}


@pytest.mark.parametrize("work", [_files, _chunks])
def test_a_child_needs_no_lock_of_the_parent(
    work: Callable[[RinoFileSystem, Path], None],
    fs: RinoFileSystem,
    tmp_path: Path,
    request: pytest.FixtureRequest,
) -> None:
    fs.pipe_file("f/a", b"abc")
    store = STORES[fs] = RinoStore(fs, "s")
    store.set_sync("c/0", cpu.Buffer.from_bytes(b"chunk"))
    request.getfixturevalue("held")
    assert in_child(lambda: work(fs, tmp_path)) == 0


def test_what_is_gone_is_not_renewed(fs: RinoFileSystem) -> None:
    RinoStore(fs, "s")
    gc.collect()
    before = len(process._methods)
    for _ in range(10):
        RinoStore(fs, "s")
    gc.collect()
    assert len(process._methods) == before
