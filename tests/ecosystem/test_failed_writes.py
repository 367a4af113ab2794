"""A write that fails publishes nothing, also behind writers that know nothing of it and just close."""

from __future__ import annotations

import gc
import io
import pickle
import zipfile
from typing import TYPE_CHECKING, Any

import pytest

from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs import RinoFileSystem
    from rinofs.testing import LiveServer


class _StopError(Exception):
    pass


def _zip_around(fs: RinoFileSystem) -> None:
    with fs.open("a", "wb") as file, zipfile.ZipFile(file, "w") as archive:
        archive.writestr("x", "half")
        raise _StopError


def _buffered_by_hand(fs: RinoFileSystem) -> None:
    with io.BufferedWriter(fs.open("a", "wb")) as file:
        file.write(b"half")
        raise _StopError


def _in_a_finally(fs: RinoFileSystem) -> None:
    file = fs.open("a", "wb")
    try:
        file.write(b"half")
        raise _StopError
    finally:
        file.close()


def _deep_inside(fs: RinoFileSystem) -> None:
    def rows() -> Iterator[str]:
        yield "first"
        raise _StopError

    with fs.open("a", "w") as file:
        file.writelines(rows())


def _while_dumping(fs: RinoFileSystem) -> None:
    class Unwilling:
        def __reduce__(self) -> Any:
            raise _StopError

    with fs.open("a", "wb") as file:
        pickle.dump([1, 2, Unwilling()], file)


FAILURES = [_zip_around, _buffered_by_hand, _in_a_finally, _deep_inside, _while_dumping]


@pytest.mark.covering
@both_modes
@pytest.mark.filterwarnings("ignore::rinofs.errors.NotWrittenWarning")
@pytest.mark.parametrize("fail", FAILURES)
def test_what_was_there_stays(
    fail: Callable[[RinoFileSystem], None], fs: RinoFileSystem, server: LiveServer
) -> None:
    fs.pipe_file("a", b"as it was")
    before = fs.ls("", refresh=True)
    server.reset()
    with pytest.raises(_StopError):
        fail(fs)
    gc.collect()
    assert not [request for request in server.requests if "upload" in request.path]
    assert fs.ls("", refresh=True) == before
    fs.pipe_file("a", b"goes on as usual")
    assert fs.cat_file("a") == b"goes on as usual"


@pytest.mark.covering
@both_modes
@pytest.mark.parametrize("compression", ["gzip", "bz2", "xz", "zstd", "zip"])
def test_compressed_files_are_whole_when_they_are_closed(compression: str, fs: RinoFileSystem) -> None:
    text = "один, два, три\n" * 1_000
    with fs.open("a", "wt", compression=compression, encoding="utf-8") as file:
        file.write(text)
    with fs.open("a", "rt", compression=compression, encoding="utf-8") as file:
        assert file.read() == text
