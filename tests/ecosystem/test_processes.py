"""Filesystems and open files in other processes: pickled, and forked in the middle of their work."""

from __future__ import annotations

import multiprocessing
import pickle
import threading
from concurrent.futures import ProcessPoolExecutor, ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from rinofs import RinoFileSystem
from rinofs.errors import ContentChangedError
from tests.ecosystem.modes import both_modes

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.testing import LiveServer

CONTENT = bytes(range(256)) * 40_000  # 10 MB
PATIENCE = 60


@pytest.fixture(scope="module")
def elsewhere() -> Iterator[ProcessPoolExecutor]:
    """A process that shares nothing with this one but what is pickled."""
    with ProcessPoolExecutor(1, mp_context=multiprocessing.get_context("spawn")) as pool:
        yield pool


def _cat(fs: RinoFileSystem, path: str) -> bytes:
    return fs.cat_file(path)


def _read_on(file: Any, count: int = -1) -> tuple[int, bytes]:
    with file:
        return file.tell(), bytes(file.read(count))


def _write(fs: RinoFileSystem, path: str, data: bytes) -> None:
    fs.pipe_file(path, data)


# Pickles


@both_modes
def test_a_filesystem_works_where_it_is_unpickled(fs: RinoFileSystem, elsewhere: ProcessPoolExecutor) -> None:
    fs.pipe_file("exp #1/a.bin", b"from here")
    assert elsewhere.submit(_cat, fs, "exp #1/a.bin").result(PATIENCE) == b"from here"
    elsewhere.submit(_write, fs, "exp #1/b.bin", b"from there").result(PATIENCE)
    assert fs.cat_file("exp #1/b.bin") == b"from there"


@pytest.mark.parametrize("protocol", range(2, pickle.HIGHEST_PROTOCOL + 1))
def test_a_filesystem_is_the_same_after_a_pickle(protocol: int, fs: RinoFileSystem, options: Any) -> None:
    assert pickle.loads(pickle.dumps(fs, protocol)) is fs
    other = RinoFileSystem(**options, timeout=3, block_size=1_000_000, cache_type="readahead")
    assert pickle.loads(pickle.dumps(other, protocol)).options == other.options


@both_modes
def test_an_open_file_goes_on_where_it_was(fs: RinoFileSystem, elsewhere: ProcessPoolExecutor) -> None:
    fs.pipe_file("a.bin", CONTENT)
    with fs.open("a.bin", block_size=500_000) as file:
        assert file.read(70_001) == CONTENT[:70_001]
        position, data = elsewhere.submit(_read_on, file, 300_000).result(PATIENCE)
        assert position == 70_001
        assert data == CONTENT[70_001:370_001]
        assert file.tell() == 70_001
        assert file.read(1_000) == CONTENT[70_001:71_001]


@both_modes
def test_an_open_file_stays_at_its_version(fs: RinoFileSystem, elsewhere: ProcessPoolExecutor) -> None:
    fs.pipe_file("a.bin", b"the first version")
    with fs.open("a.bin") as file:
        pickled = pickle.dumps(file)
        fs.pipe_file("a.bin", b"another one")
        assert elsewhere.submit(_read_on, file).result(PATIENCE) == (0, b"the first version")
    with pickle.loads(pickled) as again:
        assert again.read() == b"the first version"
    assert fs.cat_file("a.bin") == b"another one"


@both_modes
def test_an_open_file_whose_file_is_gone_is_an_error(fs: RinoFileSystem) -> None:
    fs.pipe_file("a.bin", b"the first version")
    with fs.open("a.bin") as file:
        pickled = pickle.dumps(file)
    fs.rm("a.bin")
    with pytest.raises(FileNotFoundError):
        pickle.loads(pickled)
    fs.pipe_file("a.bin", b"the first version")
    with pytest.raises((FileNotFoundError, ContentChangedError)):
        pickle.loads(pickled)


def test_text_and_compressed_files_are_opened_where_they_are_needed(
    options: Any, fs: RinoFileSystem, elsewhere: ProcessPoolExecutor
) -> None:
    with fsspec.open("rino://a.txt.gz", "wt", compression="infer", **options) as file:
        file.write("héllo\n")
    opener = fsspec.open("rino://a.txt.gz", "rt", compression="infer", encoding="utf-8", **options)
    assert elsewhere.submit(_read_text, opener).result(PATIENCE) == "héllo\n"


def _read_text(opener: Any) -> str:
    with opener as file:
        return str(file.read())


def test_a_mapper_works_where_it_is_unpickled(
    options: Any, fs: RinoFileSystem, elsewhere: ProcessPoolExecutor
) -> None:
    store = fsspec.get_mapper("rino://store", **options)
    store["a/b"] = b"1"
    assert elsewhere.submit(dict, store).result(PATIENCE) == {"a/b": b"1"}


def test_a_file_that_is_being_written_is_not_pickled(fs: RinoFileSystem) -> None:
    with fs.open("a.bin", "wb") as file:
        file.write(b"1")
        with pytest.raises(TypeError):
            pickle.dumps(file)
    assert fs.cat_file("a.bin") == b"1"


# Forks

needs_fork = pytest.mark.parametrize(
    "context",
    [multiprocessing.get_context(m) for m in multiprocessing.get_all_start_methods() if m == "fork"],
)


class _Child:
    """A fork of this process that does something with what it inherited."""

    def __init__(self, context: Any, work: Callable[..., Any], *args: Any) -> None:
        receive, send = context.Pipe(duplex=False)
        self._answers = receive
        self._process = context.Process(target=self._run, args=(send, work, args))
        self._process.start()
        send.close()

    @staticmethod
    def _run(send: Any, work: Callable[..., Any], args: tuple[Any, ...]) -> None:
        try:
            send.send((True, work(*args)))
        except Exception as error:  # noqa: BLE001 - the parent shows it
            send.send((False, repr(error)))

    def result(self) -> Any:
        try:
            assert self._answers.poll(PATIENCE), "the child hangs"
            done, value = self._answers.recv()
            self._process.join(PATIENCE)
        finally:
            self._process.kill()
            self._process.join()
        assert done, value
        return value


@needs_fork
@both_modes
def test_a_fork_has_connections_of_its_own(context: Any, fs: RinoFileSystem, server: LiveServer) -> None:
    fs.pipe_file("exp1/a.bin", b"before the fork")
    assert fs.ls("exp1", detail=False) == ["exp1/a.bin"]

    def work() -> list[Any]:
        fs.pipe_file("exp1/b.bin", b"from the child")
        return [fs.cat_file("exp1/a.bin"), fs.ls("exp1", detail=False)]

    child = _Child(context, work)
    assert fs.cat_file("exp1/a.bin") == b"before the fork"
    assert child.result() == [b"before the fork", ["exp1/a.bin", "exp1/b.bin"]]
    assert fs.ls("exp1", detail=False, refresh=True) == ["exp1/a.bin", "exp1/b.bin"]


@needs_fork
def test_a_file_that_is_being_read_is_read_on_by_both(context: Any, fs: RinoFileSystem) -> None:
    fs.pipe_file("a.bin", CONTENT)
    with fs.open("a.bin", block_size=1_000_000) as file:
        first = file.read(1_500_000)
        child = _Child(context, lambda: bytes(file.read(4_000_000)))
        mine = file.read(4_000_000)
        assert child.result() == mine == CONTENT[1_500_000:5_500_000]
        assert first + mine + file.read() == CONTENT


@needs_fork
def test_forks_while_other_threads_are_at_work(context: Any, fs: RinoFileSystem, options: Any) -> None:
    fs.pipe({f"exp1/{number}.bin": CONTENT[: 50_000 + number] for number in range(4)})
    stop = threading.Event()

    def keep_busy(number: int) -> None:
        mine = RinoFileSystem(**options)
        while not stop.is_set():
            mine.invalidate_cache()
            assert len(mine.ls("exp1")) == 4
            with mine.open(f"exp1/{number}.bin") as file:
                assert len(file.read()) == 50_000 + number

    def work() -> list[int]:
        sizes = [len(RinoFileSystem(**options).cat_file(f"exp1/{number}.bin")) for number in range(4)]
        with fs.open("exp1/0.bin") as file:
            return [*sizes, len(file.read()), len(fs.ls("exp1"))]

    with ThreadPoolExecutor(4) as pool:
        busy = [pool.submit(keep_busy, number) for number in range(4)]
        try:
            for _ in range(4):
                assert _Child(context, work).result() == [50_000, 50_001, 50_002, 50_003, 50_000, 4]
        finally:
            stop.set()
        for thread in busy:
            thread.result(PATIENCE)
