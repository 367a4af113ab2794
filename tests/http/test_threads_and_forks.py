"""One session, many threads, forked children, connections that are kept and given back."""

from __future__ import annotations

import gc
import itertools
import multiprocessing
import random
import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest

from rinofs import errors
from rinofs.http.content.content import open_content
from rinofs.http.content.slices import read_content
from rinofs.http.session.shared import Slots
from tests.few_threads import finished
from tests.forks import in_child
from tests.http import faulty
from tests.http.conftest import MakeSession, content_of
from tests.http.faulty import DATA, Request, faulty_server
from tests.interrupts import is_interrupted

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.http.session.session import HttpSession


def _echo(request: Request) -> None:
    """Answer with the target, so that mixed-up answers show."""
    if request.target.startswith("/content"):
        faulty.normal(request)
    else:
        request.answer(200, f'"{request.target}"'.encode(), Content_Type="application/json")


def _mixed_work(session: HttpSession, seed: int, rounds: int) -> int:
    chance = random.Random(seed)
    wrong = 0
    for number in range(rounds):
        if chance.random() < 0.5:
            target = f"/{seed}/{number}"
            wrong += session.request("GET", target, repeatable=True).json() != target
        else:
            start = chance.randrange(len(DATA))
            stop = start + chance.randrange(20_000)
            wrong += read_content(session, content_of(), start, stop) != DATA[start:stop]
    return wrong


def test_32_threads_on_one_session(session_to: MakeSession) -> None:
    with faulty_server(otherwise=_echo) as server, ThreadPoolExecutor(32) as pool:
        session = session_to(server)
        wrong = sum(pool.map(lambda seed: _mixed_work(session, seed, 30), range(32)))
    assert wrong == 0
    # 8 at a time; a thread that waited too long for a place goes ahead without one.
    assert server.connections <= 32


def test_connections_in_use_are_bounded(session_to: MakeSession) -> None:
    busy = most = 0
    lock = threading.Lock()

    def count(request: Request) -> None:
        nonlocal busy, most
        with lock:
            busy += 1
            most = max(most, busy)
        threading.Event().wait(0.01)
        with lock:
            busy -= 1
        faulty.normal(request)

    with faulty_server(otherwise=count) as server, ThreadPoolExecutor(16) as pool:
        session = session_to(server, max_concurrency=3)
        list(pool.map(lambda n: session.request("GET", f"/{n}", repeatable=True), range(64)))
    assert 1 < most <= 3


def test_open_streams_do_not_wait_for_each_other(session_to: MakeSession) -> None:
    with faulty_server() as server:
        session = session_to(server, max_concurrency=2)
        streams = [open_content(session, content_of()) for _ in range(12)]
        assert all(stream.read(10) == DATA[:10] for stream in streams)
        assert session.request("GET", "/a", repeatable=True).json() == {"ok": True}
        for stream in streams:
            stream.close()
        assert session._shared.slots.free == 2


def test_slots_held_by_others_are_waited_for_but_not_for_ever() -> None:
    slots = Slots(1, patience=0.2)
    owner = slots.take()
    with ThreadPoolExecutor(1) as pool:
        assert pool.submit(slots.take).result() != owner
        waiting = pool.submit(slots.take)
        slots.give(owner)
        waiting.result()


@pytest.mark.parametrize("read_all", [True, False])
def test_a_connection_is_kept_where_its_answer_was_read(read_all: bool, session_to: MakeSession) -> None:
    with faulty_server() as server:
        session = session_to(server)
        for _ in range(5):
            with open_content(session, content_of()) as stream:
                assert stream.read(-1 if read_all else 10)
        for _ in range(5):
            with session.stream("/content", method="HEAD") as answer:
                assert answer.read() == b""
    assert server.connections == (1 if read_all else 6)


def test_a_dropped_stream_gives_its_place_back(session_to: MakeSession) -> None:
    with faulty_server() as server:
        session = session_to(server, max_concurrency=1)
        stream = open_content(session, content_of())
        stream.read(10)
        del stream
        assert session._shared.slots.free == 1


def test_refusals_and_errors_give_their_places_back(session_to: MakeSession) -> None:
    steps = [faulty.status(404), faulty.dropped, faulty.web_page, faulty.truncated, faulty.redirect("/x")]
    with faulty_server(*steps) as server:
        session = session_to(server, max_concurrency=1)
        for _ in steps:
            with pytest.raises(errors.RinofsError):
                session.request("POST", "/a", repeatable=False).json()
        assert session._shared.slots.free == 1


def test_a_child_has_connections_of_its_own(session_to: MakeSession) -> None:
    with faulty_server(otherwise=_echo) as server:
        session = session_to(server)
        assert _mixed_work(session, 1, 10) == 0
        before = server.connections

        def work() -> None:
            assert _mixed_work(session, 2, 20) == 0

        with ThreadPoolExecutor(2) as pool:
            busy = [pool.submit(_mixed_work, session, seed, 60) for seed in (3, 4)]
            assert [in_child(work) for _ in range(3)] == [0, 0, 0]
            assert [future.result() for future in busy] == [0, 0]
        assert server.connections >= before + 3


def test_a_stream_open_across_a_fork_goes_on_in_both(session_to: MakeSession) -> None:
    with faulty_server() as server, open_content(session_to(server), content_of()) as stream:
        begin = stream.read(100_000)

        def work() -> None:
            assert begin + stream.read() == DATA

        assert in_child(work) == 0
        assert begin + stream.read() == DATA


def test_fork_while_threads_hold_locks(session_to: MakeSession) -> None:
    """A pool of forked workers, as multiprocessing makes it, uses the parent's session."""
    with faulty_server(otherwise=_echo) as server:
        session = session_to(server)
        stop = threading.Event()

        def hammer() -> None:
            while not stop.is_set():
                session.request("GET", "/h", repeatable=True)

        threads = [threading.Thread(target=hammer) for _ in range(4)]
        for thread in threads:
            thread.start()
        try:
            context = multiprocessing.get_context("fork")
            children = [context.Process(target=_mixed_work, args=(session, n, 10)) for n in range(4)]
            for child in children:
                child.start()
            for child in children:
                child.join(30)
            assert [child.exitcode for child in children] == [0] * 4
        finally:
            stop.set()
            for thread in threads:
                thread.join()


def _request(session: HttpSession) -> None:
    session.request("GET", "/a", repeatable=True).json()


def _read_a_part(session: HttpSession) -> None:
    with open_content(session, content_of()) as stream:
        stream.read(10)


def _drop_a_stream(session: HttpSession) -> None:
    open_content(session, content_of()).read(10)


@pytest.mark.filterwarnings("ignore::pytest.PytestUnraisableExceptionWarning")  # interrupted `__del__`
@pytest.mark.parametrize("within", ["rinofs.", "urllib3.", "queue", "http."])
@pytest.mark.parametrize("work", [_request, _read_a_part, _drop_a_stream])
def test_an_interrupt_anywhere_gives_the_place_back(
    work: Callable[[HttpSession], None], within: str, session_to: MakeSession
) -> None:
    with faulty_server() as server:
        session = session_to(server, max_concurrency=3)
        work(session)
        for number in itertools.count():
            interrupted = is_interrupted(lambda: work(session), number, lambda name: name.startswith(within))
            gc.collect(0)
            assert session.free_connections == 3, number
            finished(lambda: work(session))
            if not interrupted:
                break
    assert number > 10 or within == "queue"
