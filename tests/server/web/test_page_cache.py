from __future__ import annotations

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
    wanted = CONTENT[start:stop] if is_told(path) else None
    assert read_at_once(path, 300_000, start, stop) == wanted


def test_a_file_that_is_not_whole_or_not_there_is_not_read(path: Path) -> None:
    assert read_at_once(path, 299_999, 0, 10) is None
    assert read_at_once(path, 300_001, 0, 10) is None
    path.unlink()
    assert read_at_once(path, 300_000, 0, 10) is None


def test_what_is_not_in_memory_is_left_to_others(path: Path) -> None:
    with path.open("rb") as file:
        os.fsync(file.fileno())
        os.posix_fadvise(file.fileno(), 0, 0, os.POSIX_FADV_DONTNEED)
    assert read_at_once(path, 300_000, 0, 300_000) in {None, CONTENT}  # the system may have kept it
