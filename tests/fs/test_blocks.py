"""The blocks that all files share: reads that are interrupted or fail keep no others from them."""

from __future__ import annotations

import itertools
import random
from typing import TYPE_CHECKING

import pytest

from rinofs.fs.blocks import BLOCK, BlockStore
from tests.few_threads import finished
from tests.interrupts import is_interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = 5 * BLOCK + 100
DATA = random.Random(1).randbytes(SIZE)


def _read(store: BlockStore, start: int, stop: int, load: Callable[[int, int], bytes]) -> bytes:
    return store.read("content", SIZE, start, stop, load)


def _load(start: int, stop: int) -> bytes:
    return DATA[start:stop]


@pytest.mark.parametrize("held", [(), (0,), (2,), (1, 3)])
def test_a_read_that_is_interrupted_anywhere_keeps_no_others_waiting(held: tuple[int, ...]) -> None:
    for number in itertools.count():
        store = BlockStore(1_000_000)
        for block in held:
            store.keep("content", block * BLOCK, DATA[block * BLOCK : (block + 1) * BLOCK])
        interrupted = is_interrupted(lambda store=store: _read(store, 10, SIZE - 10, _load), number)  # type: ignore[misc]
        assert finished(lambda store=store: _read(store, 0, SIZE, _load)) == DATA  # type: ignore[misc]
        if not interrupted:
            break
    assert number > 10


@pytest.mark.parametrize("error", [OSError, KeyboardInterrupt, MemoryError])
def test_a_download_that_fails_keeps_no_others_waiting(error: type[BaseException]) -> None:
    store = BlockStore(1_000_000)

    def fail(_start: int, _stop: int) -> bytes:
        raise error

    for _ in range(2):
        with pytest.raises(error):
            _read(store, 0, SIZE, fail)
    assert finished(lambda: _read(store, 0, SIZE, _load)) == DATA
