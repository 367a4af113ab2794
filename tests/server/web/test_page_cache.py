from __future__ import annotations

import errno
import os
import tempfile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rinofs.server.web.sending import read_at_once

if TYPE_CHECKING:
    from collections.abc import Iterator

CONTENT = os.urandom(300_000)


@pytest.fixture
def path() -> Iterator[Path]:
    """A file where most systems tell what is in memory, which they do not of a file system in memory."""
    with tempfile.TemporaryDirectory(dir="/var/tmp") as folder:
        path = Path(folder) / "content"
        path.write_bytes(CONTENT)
        assert path.read_bytes() == CONTENT  # and so it is in memory
        yield path


def is_told(path: Path) -> bool:
    with path.open("rb") as file:
        try:
            os.preadv(file.fileno(), [bytearray(1)], 0, os.RWF_NOWAIT)
        except OSError:  # an overlay, perhaps
            return False
        return True


@pytest.mark.parametrize(
    ("start", "stop"), [(0, 0), (0, 1), (0, 300_000), (4095, 4097), (299_999, 300_000), (300_000, 300_000)]
)
def test_what_is_in_memory_is_read_where_the_system_tells(path: Path, start: int, stop: int) -> None:
    if not is_told(path):
        pytest.skip("this file system does not tell what is in memory")
    assert read_at_once(path, 300_000, start, stop) == CONTENT[start:stop]


def test_where_the_system_does_not_tell_nothing_is_read(path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    def refused(*_arguments: object) -> int:
        raise OSError(errno.EOPNOTSUPP, "not supported")

    monkeypatch.setattr(os, "preadv", refused)
    assert read_at_once(path, 300_000, 0, 10) is None


def test_a_file_that_is_not_whole_or_not_there_is_not_read(path: Path) -> None:
    assert read_at_once(path, 299_999, 0, 10) is None
    assert read_at_once(path, 300_001, 0, 10) is None
    path.unlink()
    assert read_at_once(path, 300_000, 0, 10) is None


@pytest.mark.parametrize("found", [0, 9_999])
def test_what_is_not_all_in_memory_is_left_to_others(
    path: Path, monkeypatch: pytest.MonkeyPatch, found: int
) -> None:
    """The system gives what it has, or says that it would have to wait."""

    def some(_file: int, buffers: list[bytearray], start: int, flags: int) -> int:
        assert flags == os.RWF_NOWAIT
        if not found:
            raise BlockingIOError
        buffers[0][:found] = CONTENT[start : start + found]
        return found

    monkeypatch.setattr(os, "preadv", some)
    assert read_at_once(path, 300_000, 0, 10_000) is None
