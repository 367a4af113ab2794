"""Work on many things at once that the user interrupts, or of which some fail."""

from __future__ import annotations

import _thread
import threading
from typing import TYPE_CHECKING

import pytest

from rinofs.fs.transfer.pool import FileErrors, Stop, Stopped, run
from tests.few_threads import few_threads, finished

if TYPE_CHECKING:
    from pathlib import Path


@pytest.mark.parametrize("time", range(10))
def test_an_interruption_while_the_work_begins_leaves_nothing(time: int, tmp_path: Path) -> None:
    stop = Stop()
    paths = [tmp_path / f"{time}-{number}" for number in range(8)]
    interrupted = threading.Event()

    def work(path: Path) -> None:
        try:
            path.touch()
            if path == paths[1]:
                interrupted.set()
                _thread.interrupt_main()
            while path != paths[0]:  # of which there are several, since the first one waits
                stop.check()
                interrupted.wait(0.01)
            interrupted.wait(0.01)
        finally:
            path.unlink(missing_ok=True)

    with pytest.raises(KeyboardInterrupt):  # noqa: PT012
        run(work, paths, 8, stop)
        while True:  # the interruption may come when the work is over
            interrupted.wait(0.01)
    assert stop.is_set()
    assert list(tmp_path.iterdir()) == []


def test_an_interruption_waits_for_nobody_who_does_not_answer() -> None:
    release, stuck = threading.Event(), threading.Event()

    def work(number: int) -> None:
        if threading.current_thread() is not threading.main_thread():
            stuck.set()
            release.wait(60)
        elif number == 0:
            release.wait(0.05)  # others join in
        else:
            stuck.wait(60)
            raise KeyboardInterrupt

    try:
        with pytest.raises(KeyboardInterrupt):
            run(work, range(6), 3)
        assert stuck.is_set()
        assert not release.is_set()
    finally:
        release.set()


@pytest.mark.parametrize("error", [RuntimeError, MemoryError])
@pytest.mark.parametrize("allowed", range(4))
def test_those_do_the_work_that_the_system_allows(allowed: int, error: type[Exception]) -> None:
    workers = set()

    def work(number: int) -> int:
        workers.add(threading.get_ident())
        threading.Event().wait(0.005)  # as for a service
        return number

    with few_threads(allowed, error=error) as refused:
        assert finished(lambda: run(work, range(40), 8)) == [*range(40)]
    assert len(workers) <= allowed + 1
    assert refused


@pytest.mark.parametrize("on_error", ["omit", "return"])
def test_one_error_does_not_lose_the_others(on_error: str) -> None:
    errors = FileErrors(on_error)
    done = []

    def work(name: str) -> None:
        with errors.about(name):
            if name == "b":
                raise OSError("no")
            done.append(name)

    run(work, "abc", 2)
    assert sorted(done) == ["a", "c"]
    found = errors.result()
    assert found is None if on_error == "omit" else [*(found or {})] == ["b"]


def test_errors_may_be_raised_or_handed_over() -> None:
    with pytest.raises(OSError, match="no"), FileErrors("raise").about("a"):
        raise OSError("no")
    told = []
    with FileErrors(lambda path, error: told.append((path, str(error)))).about("a"):
        raise OSError("no")
    assert told == [("a", "no")]
    with pytest.raises(Stopped), FileErrors("omit").about("a"):
        raise Stopped
    with pytest.raises(ValueError, match="'omit'"):
        FileErrors("ignore")
