"""Files that are written but not stored yet: what they hold, and what a transaction of many of them takes."""

from __future__ import annotations

import io
import os
import tracemalloc
from typing import TYPE_CHECKING, Any

import hypothesis.strategies as st
import pytest
from hypothesis import given, settings

from rinofs.errors import NotWrittenWarning
from rinofs.fs.files.writer import SPOOLED_IN_MEMORY
from tests.campaign import rounds
from tests.forkserver import in_own_process
from tests.fs.dict_backend import DictFileSystem

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.fs.backend import Upload


@pytest.fixture
def fs() -> Any:
    return DictFileSystem(token="t")


steps = st.one_of(
    st.tuples(st.just("write"), st.binary(max_size=20)),
    st.tuples(st.just("seek"), st.integers(0, 60)),
    st.tuples(st.just("truncate"), st.none() | st.integers(0, 60)),
    st.tuples(st.just("read"), st.integers(-1, 30)),
    st.tuples(st.just("tell"), st.none()),
)


def take(file: Any, step: tuple[str, Any]) -> Any:
    name, value = step
    return file.tell() if name == "tell" else getattr(file, name)(value)


@settings(deadline=None, database=None, max_examples=rounds(30, 1_000))
@given(st.lists(steps, max_size=12))
def test_a_file_does_what_a_local_one_does(some: list[tuple[str, Any]]) -> None:
    fs = DictFileSystem(token="t")
    local = io.BytesIO()
    with fs.open("a", "wb") as file:
        for step in some:
            got, wanted = take(file, step), take(local, step)
            if step[0] == "truncate":
                end = local.seek(0, io.SEEK_END)
                if end < wanted:  # BytesIO does not grow, as files do
                    local.write(bytes(wanted - end))
                local.seek(file.tell())
            assert got == wanted, step
    assert fs.cat_file("a") == local.getvalue()


@pytest.mark.parametrize("size", [100, SPOOLED_IN_MEMORY, SPOOLED_IN_MEMORY + 1])
def test_truncate_extends(fs: Any, size: int) -> None:
    with fs.open("a", "wb") as file:
        file.write(b"abc")
        assert file.truncate(size) == size
        assert file.tell() == 3
        file.write(b"d")
    assert fs.cat_file("a") == b"abcd" + bytes(size - 4)


def test_what_a_failed_transaction_stored_is_named(fs: Any) -> None:
    send = fs._backend.send

    def fail(upload: Upload) -> None:
        if upload.path == "c":
            raise OSError("the disk is full")
        send(upload)

    fs._backend.send = fail
    with pytest.raises(OSError, match="the disk is full") as caught, fs.transaction:
        fs.pipe({path: path.encode() for path in "abcde"})
    said = "\n".join(caught.value.__notes__)
    assert "failed at kept://c" in said
    assert "stored before that: kept://a, kept://b;" in said
    assert "not stored: kept://c, kept://d, kept://e" in said
    assert fs.find("") == ["a", "b"]
    fs.pipe_file("f", b"f")  # the transaction is over
    assert fs.cat_file("f") == b"f"


def test_a_transaction_that_failed_at_once_says_so(fs: Any) -> None:
    fs.start_transaction()
    fs.pipe_file("x", b"1", mode="create")
    fs._backend.contents["x"] = b"others"
    with pytest.raises(FileExistsError) as caught:
        fs.end_transaction()
    assert "nothing was stored" in "\n".join(caught.value.__notes__)


def test_every_way_of_writing_is_staged(fs: Any, tmp_path: Path) -> None:
    fs.pipe_file("appended", b"1")
    local = tmp_path / "local"
    local.write_bytes(bytes(SPOOLED_IN_MEMORY + 10))
    fs.start_transaction()
    fs.put_file(str(local), "large")
    fs.pipe({"one": b"1", "two": b"2"})
    with fs.open("appended", "ab") as file:
        file.write(b"2")
    with fs.open("text.gz", "wt", compression="gzip") as file:
        file.write("text")
    with fs.open("one", "wb") as file:
        file.write(b"later")
    assert fs.find("") == ["appended"]
    fs.end_transaction()
    assert fs.cat_file("large") == local.read_bytes()
    assert {name: fs.cat_file(name) for name in ("one", "two", "appended")} == {
        "one": b"later",
        "two": b"2",
        "appended": b"12",
    }
    with fs.open("text.gz", "rt", compression="gzip") as file:
        assert file.read() == "text"


OPENINGS = [("wb", None), ("xb", None), ("ab", None), ("w", None), ("a", None), ("wt", "gzip")]


@pytest.mark.parametrize(("mode", "compression"), OPENINGS)
def test_files_that_are_not_closed_are_not_stored(fs: Any, mode: str, compression: str | None) -> None:
    before = {"closed": b"before"} if "x" in mode else {"closed": b"before", "open": b"before"}
    fs.pipe(before)
    fs.start_transaction()
    file = fs.open("open", mode, compression=compression)
    file.write(b"half" if "b" in mode else "half" * 5000)
    fs.pipe_file("closed", b"after")
    with pytest.warns(NotWrittenWarning, match="kept://open was not closed") as warned:
        fs.end_transaction()
    assert warned[0].filename == __file__
    assert fs.cat(fs.find("")) == {**before, "closed": b"after"}


def test_a_failed_transaction_does_not_warn_of_files_that_are_open(
    fs: Any, recwarn: pytest.WarningsRecorder
) -> None:
    fs.start_transaction()
    fs.open("open", "wb").write(b"half")
    fs.transaction.complete(commit=False)
    assert fs.find("") == []
    assert not [one for one in recwarn if one.category is NotWrittenWarning]


def descriptors() -> int:
    return len(os.listdir("/proc/self/fd"))  # noqa: PTH208 - the names alone


@in_own_process
def test_many_files_take_little_memory_and_few_descriptors() -> None:
    fs = DictFileSystem(token="t")

    def write(count: int) -> tuple[int, int]:
        tracemalloc.start()
        before = descriptors()
        fs.start_transaction()
        for number in range(count):
            fs.pipe_file(f"folder/{number:06}", b"content", metadata={"n": number})
        more, peak = descriptors() - before, tracemalloc.get_traced_memory()[1]
        fs.transaction.complete(commit=False)
        tracemalloc.stop()
        assert descriptors() == before
        return more, peak

    few, many = write(500), write(rounds(5_000, 20_000))
    assert many[0] <= 4
    assert many[1] < few[1] + 300_000, (few, many)
    assert fs.find("") == []


def test_many_files_are_stored(fs: Any) -> None:
    count = rounds(2_000, 20_000)
    with fs.transaction:
        for number in range(count):
            fs.pipe_file(f"{number % 10}/{number:06}", str(number).encode())
    assert len(fs.find("")) == count
    assert fs.cat_file(f"{(count - 1) % 10}/{count - 1:06}") == str(count - 1).encode()
