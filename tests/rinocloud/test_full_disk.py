"""The disk for temporary files is full: a write fails, and nothing of it is published."""

from __future__ import annotations

import contextlib
import io
import random
import resource
import signal
from typing import TYPE_CHECKING, Any

import fsspec
import numpy as np
import pytest

from rinofs import RinoFileSystem
from rinofs.fs.files.writer import SPOOLED_IN_MEMORY
from tests.forkserver import in_own_process

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

PREVIOUS = b"previous content"
LARGE = random.Random(5).randbytes(SPOOLED_IN_MEMORY + 1_000_000)
TEXT = "0123456789abcde\n" * (len(LARGE) // 16)
FITS = 3 * 1024 * 1024
"""Bytes of a file that fit on the disk."""


@contextlib.contextmanager
def full_disk() -> Iterator[None]:
    """Have the system refuse more than some bytes of each file, as a full disk does."""
    signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
    _, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (FITS, hard))
    try:
        yield
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (hard, hard))


# Ways of writing: how to open a file, and what to do with it.


def binary(fs: Any, options: Any) -> Any:
    return fs.open("old", "wb")


def text(fs: Any, options: Any) -> Any:
    return fs.open("old", "w", encoding="ascii")


def wrapped_text(fs: Any, options: Any) -> Any:
    return io.TextIOWrapper(fs.open("old", "wb"), encoding="ascii")


def appended(fs: Any, options: Any) -> Any:
    return fs.open("old", "ab")


def appended_text(fs: Any, options: Any) -> Any:
    return fs.open("old", "a", encoding="ascii")


def compressed(fs: Any, options: Any) -> Any:
    return fs.open("old", "wb", compression="gzip")


def fsspec_text(fs: Any, options: Any) -> Any:
    return fsspec.open("rino://old", "w", encoding="ascii", **options).open()


def buffered(fs: Any, options: Any) -> Any:
    return io.BufferedWriter(fs.open("old", "wb"))


OPENINGS = [binary, text, wrapped_text, appended, appended_text, compressed, fsspec_text, buffered]


def at_once(file: Any) -> None:
    file.write(TEXT if isinstance(file, io.TextIOBase) else LARGE)


def in_pieces(file: Any) -> None:
    whole: Any = TEXT if isinstance(file, io.TextIOBase) else LARGE
    for start in range(0, len(whole), 100_000):
        file.write(whole[start : start + 100_000])


def at_closing(file: Any) -> None:
    whole: Any = TEXT if isinstance(file, io.TextIOBase) else LARGE
    with contextlib.suppress(OSError):
        file.write(whole[:SPOOLED_IN_MEMORY])
        file.write(whole[SPOOLED_IN_MEMORY : SPOOLED_IN_MEMORY + 5])  # a text file keeps these for later


def extended(file: Any) -> None:
    with contextlib.suppress(TypeError, io.UnsupportedOperation):
        file.truncate(len(LARGE))
    at_once(file)


@pytest.mark.covering(2)
@pytest.mark.parametrize("write", [at_once, in_pieces, at_closing])
@pytest.mark.parametrize("opening", OPENINGS)
@in_own_process
def test_what_was_there_stays(
    options: dict[str, Any],
    opening: Callable[[Any, Any], Any],
    write: Callable[[Any], None],
) -> None:
    fs = RinoFileSystem(**options)
    fs.pipe_file("old", PREVIOUS)
    with full_disk(), pytest.raises(OSError, match=r"too large|a write failed"), opening(fs, options) as file:
        write(file)  # in one of the ways it does not fail before the file is closed
    fs.invalidate_cache()
    assert fs.cat_file("old") == PREVIOUS


@pytest.mark.covering(2)
@pytest.mark.parametrize("write", [at_once, in_pieces, extended])
@pytest.mark.parametrize("opening", OPENINGS)
@in_own_process
def test_a_failed_write_that_the_program_ignores_is_told_at_closing(
    options: dict[str, Any],
    opening: Callable[[Any, Any], Any],
    write: Callable[[Any], None],
) -> None:
    fs = RinoFileSystem(**options)
    fs.pipe_file("old", PREVIOUS)
    file = opening(fs, options)
    with full_disk(), contextlib.suppress(OSError):
        write(file)
        file.flush()
    with pytest.raises(OSError, match="nothing was stored, because a write failed") as caught:
        file.close()
    assert caught.value.filename == "rino://old"
    fs.invalidate_cache()
    assert fs.cat_file("old") == PREVIOUS


@in_own_process
def test_a_failed_write_in_a_transaction_is_not_stored(options: dict[str, Any]) -> None:
    fs = RinoFileSystem(**options)
    fs.pipe_file("old", PREVIOUS)
    with fs.transaction:
        fs.pipe_file("other", b"1")
        file = fs.open("old", "wb")
        with full_disk(), pytest.raises(OSError, match="too large"):
            file.write(LARGE)
        with pytest.raises(OSError, match="a write failed"):
            file.close()
    assert fs.cat(["old", "other"]) == {"old": PREVIOUS, "other": b"1"}


def test_text_for_a_binary_file_is_refused_and_changes_nothing(fs: RinoFileSystem) -> None:
    for name, compression in (("a", None), ("a.gz", "gzip")):
        with fs.open(name, "wb", compression=compression) as file:
            file.write(b"1")
            with pytest.raises(TypeError):
                file.write("2")
            file.write(b"3")
        with fs.open(name, "rb", compression=compression) as file:
            assert file.read() == b"13"
    with fs.open("table.txt", "wb") as file:
        np.savetxt(file, [[1, 2]], fmt="%d")  # tries to write text first
    assert fs.cat_file("table.txt") == b"1 2\n"
