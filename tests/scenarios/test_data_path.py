"""How many modules the data passes between a call of the user and the network."""

from __future__ import annotations

import gc
import logging
import sys
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rinofs
from rinofs import RinoFileSystem
from rinofs.testing import live_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from types import FrameType

ROOT = Path(rinofs.__file__).parent
DATA = bytes(range(256)) * 400


def modules_entered(work: Callable[[], object]) -> list[str]:
    """Return the modules of rinofs whose functions run in this thread, in the order of entry.

    Contracts and errors are not on the way of the data, and are left out.
    """
    found: dict[str, None] = {}

    def note(frame: FrameType, event: str, _: object) -> None:
        path = Path(frame.f_code.co_filename)
        if event == "call" and path.is_relative_to(ROOT):
            name = path.relative_to(ROOT).with_suffix("").as_posix().replace("/", ".")
            if name != "errors" and not name.startswith("protocol.") and path.stem != "__init__":
                found.setdefault(name)

    gc.collect()
    gc.disable()  # it would call finalizers of what other tests left, here and now
    logging.disable()  # others may have turned it on, which takes further modules
    sys.setprofile(note)
    try:
        work()
    finally:
        sys.setprofile(None)
        logging.disable(logging.NOTSET)
        gc.enable()
    return list(found)


@pytest.fixture(scope="module")
def fs() -> Iterator[RinoFileSystem]:
    with live_server() as server:
        fs = RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token, skip_instance_cache=True)
        fs.pipe_file("exp/a.csv", DATA)
        assert fs.cat_file("exp/a.csv") == DATA  # what the server can do is known now
        yield fs


def test_cat_file(fs: RinoFileSystem) -> None:
    entered = modules_entered(lambda: fs.cat_file("exp/a.csv"))
    assert {"http.content.content", "http.connection.transport"} < set(entered)
    assert len(entered) <= 14, " ".join(entered)


def test_cat_file_of_a_part(fs: RinoFileSystem) -> None:
    entered = modules_entered(lambda: fs.cat_file("exp/a.csv", 10, 20))
    assert len(entered) <= 14, " ".join(entered)


def test_open_and_read(fs: RinoFileSystem) -> None:
    def work() -> None:
        with fs.open("exp/a.csv") as file:
            assert file.read() == DATA

    entered = modules_entered(work)
    assert {"fs.files.reader", "fs.blocks", "http.connection.transport"} < set(entered)
    assert len(entered) <= 14, " ".join(entered)
