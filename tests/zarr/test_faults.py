"""A fault of the service is raised. Taken for a missing chunk, it would become fill values without a word."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import pytest
import zarr

from rinofs.http.session import retry
from rinofs.testing import Fault
from rinofs.zarr import RinoStore
from tests.campaign import rounds
from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer

FAULTS = {
    "401": Fault(status=401),
    "403": Fault(status=403),
    "500": Fault(status=500),
    "503": Fault(status=503),
    "reset": Fault(lose_answer=True),
    "cut": Fault(cut_after=10),
}
DATA = np.arange(1, 17).reshape(8, 2)  # no zero, which is the fill value


class From:
    """Faults from the n-th request on, or at that one alone."""

    def __init__(self, number: int, fault: Fault, *, once: bool = False) -> None:
        self._left = number
        self._fault = fault
        self._once = once

    def __call__(self, _method: str, _path: str) -> Fault | None:
        self._left -= 1
        return self._fault if self._left == 0 or (self._left < 0 and not self._once) else None


@pytest.fixture(autouse=True)
def _no_pauses(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(retry, "_LONGEST_PAUSE", 0.001)


@pytest.fixture
def arrays(fs: RinoFileSystem, server: LiveServer) -> None:
    for name, shards in [("plain", None), ("sharded", (4, 2))]:
        array = zarr.create_array(
            RinoStore(fs, f"{name}.zarr"), shape=DATA.shape, chunks=(1, 2), shards=shards, dtype=DATA.dtype
        )
        array[:] = DATA
    server.reset()


def _open(fs: RinoFileSystem, name: str, mode: Any = "r") -> Any:
    return zarr.open_array(RinoStore(fs, f"{name}.zarr"), mode=mode, zarr_format=3)


READS: dict[str, Callable[[RinoFileSystem], Any]] = {
    "chunks": lambda fs: _open(fs, "plain")[:],
    "shards": lambda fs: _open(fs, "sharded")[:],
    "parts of shards": lambda fs: np.concatenate([_open(fs, "sharded")[:3], _open(fs, "sharded")[3:]]),
}


@pytest.mark.soak
@pytest.mark.parametrize("fault", sorted(FAULTS))
@pytest.mark.parametrize(
    ("mode", "read"), [*(("extended", read) for read in sorted(READS)), ("plain", "chunks")]
)
@pytest.mark.usefixtures("arrays")
def test_reading_raises_or_is_right(fs: RinoFileSystem, server: LiveServer, read: str, fault: str) -> None:
    np.testing.assert_array_equal(READS[read](fs), DATA)
    count = len(server.requests)
    step = rounds(max(1, count // 2), 1)
    for number in range(1, count + 1, step):
        server.faults = From(number, FAULTS[fault])
        try:
            found = READS[read](fs)
        except OSError:
            continue
        except BaseExceptionGroup:
            continue
        np.testing.assert_array_equal(found, DATA)  # by fewer requests than before


@pytest.mark.parametrize("fault", ["500", "503", "reset"])
@pytest.mark.usefixtures("arrays")
def test_a_fault_that_passes_is_not_seen(fs: RinoFileSystem, server: LiveServer, fault: str) -> None:
    for number in (1, 2, 3):
        server.faults = From(number, FAULTS[fault], once=True)
        np.testing.assert_array_equal(_open(fs, "plain")[:], DATA)


@pytest.mark.parametrize("fault", sorted(FAULTS))
@both_modes
@pytest.mark.usefixtures("arrays")
def test_writing_raises_or_is_stored(fs: RinoFileSystem, server: LiveServer, fault: str) -> None:
    array = _open(fs, "plain", "r+")
    for number in range(rounds(2, 1), 6, rounds(4, 1)):
        server.faults = From(number, FAULTS[fault])
        failed = False
        try:
            array[:] = DATA + number
        except OSError:
            failed = True
        server.reset()
        if not failed:
            np.testing.assert_array_equal(array[:], DATA + number)


@pytest.mark.parametrize("fault", ["401", "403", "503", "reset"])
async def test_every_method_raises(fs: RinoFileSystem, server: LiveServer, fault: str) -> None:
    fs.pipe({"s/a": b"1", "s/b": b"2"})
    store = RinoStore(fs, "s")
    fs.invalidate_cache()

    async def all_of(keys: Any) -> list[str]:
        return [key async for key in keys]

    calls: list[Callable[[], Any]] = [
        lambda: store.get("a"),
        lambda: store.exists("a"),
        lambda: store.getsize("a"),
        lambda: store.getsize_prefix(""),
        lambda: all_of(store.list()),
        lambda: all_of(store.list_dir("")),
        lambda: store.is_empty(""),
        lambda: store.delete("a"),
        lambda: store.delete_dir("sub"),
        lambda: store.clear(),
    ]
    server.faults = From(1, FAULTS[fault])
    for call in calls:
        fs.invalidate_cache()
        with pytest.raises(OSError):
            await call()
    with pytest.raises(OSError):
        store.get_sync("a")


def test_a_token_that_is_refused_is_no_empty_store(options: dict[str, Any]) -> None:
    wrong = {**options, "token": "rino_nobody-has-this-one"}
    with pytest.raises(PermissionError):
        zarr.open_group(RinoStore.from_url("rino://exp1.zarr", wrong), mode="r")
