"""Clients that end at any of their requests: what was acknowledged is there, and nothing is half.

Some are killed. Of more of them the network breaks: answers are lost or cut, and then nothing goes through.
"""

from __future__ import annotations

import os
import random
import re
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from rinofs.testing import Fault, live_server
from tests.campaign import rounds
from tests.forkserver import CONTEXT

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer

    Tell = Callable[[tuple[str, str]], object]
    End = Callable[[LiveServer, str, Path, str, int], list[tuple[str, str]]]

PATIENCE = 60
STEPS = 4
LOG, FILE = "pack/log.txt", "pack/file.bin"


def content_of(name: str) -> bytes:
    """A content that tells whether it is whole."""
    return name.encode() + bytes([len(name)]) * 20_000 + name.encode()


def name_in(content: bytes) -> str:
    found = re.match(rb"first|client\d+-\d+", content)
    assert found
    return found[0].decode()


def work(service: str, url: str, token: str, folder: str, name: str, tell: Tell) -> None:
    """Append, put and get, and tell what was done."""
    fs = fsspec.filesystem(service, endpoint_url=url, token=token, skip_instance_cache=True)
    for step in range(STEPS):
        step_name = f"{name}-{step}"
        with fs.open(LOG, "a") as file:
            file.write(f"{step_name}\n")
        tell(("appended", step_name))
        local = f"{folder}/{step_name}"
        with open(local, "wb") as file:  # noqa: PTH123 - it is the client that is tested
            file.write(content_of(step_name))
        fs.put_file(local, FILE)
        tell(("put", step_name))
        fs.get_file(FILE, f"{folder}/got")
        tell(("got", step_name))


def work_and_send(*arguments: Any) -> None:
    """Work in a process of its own."""
    work(*arguments[:-1], arguments[-1].send)


@pytest.fixture(scope="module", params=[True, False], ids=["extended", "plain"])
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    with live_server(extensions=request.param) as running:
        yield running


class Killing:
    """Kills a process when the server has seen a number of its requests."""

    def __init__(self, after: int) -> None:
        self.pid: int | None = None
        self._left = after

    def __call__(self, _method: str, _path: str) -> Fault | None:
        self._left -= 1
        if self._left == 0 and self.pid is not None:
            with suppress(ProcessLookupError):
                os.kill(self.pid, signal.SIGKILL)
        return None


def killed(server: LiveServer, service: str, folder: Path, name: str, after: int) -> list[tuple[str, str]]:
    """Run a client until one of its requests, and return what it told by then."""
    here, there = CONTEXT.Pipe(duplex=False)
    arguments = (service, server.endpoint_url, server.token, str(folder), name, there)
    killing = Killing(after)
    process = CONTEXT.Process(target=work_and_send, args=arguments, daemon=True)
    process.start()
    killing.pid = process.pid
    server.faults = killing
    there.close()
    told = []
    with suppress(EOFError):
        while here.poll(PATIENCE):
            told.append(here.recv())
    process.join(PATIENCE)
    assert process.exitcode in {0, -signal.SIGKILL}
    server.faults = None
    return told


class Breaking:
    """Something happens to a request, and nothing goes through from then on."""

    def __init__(self, after: int, first: Fault | None) -> None:
        self._left = after
        self._first = first

    def __call__(self, _method: str, _path: str) -> Fault | None:
        self._left -= 1
        if self._left > 0:
            return None
        return self._first if self._left == 0 else REFUSED


REFUSED = Fault(status=403, body=b'{"error": "interrupted"}')
FIRST = (REFUSED, Fault(lose_answer=True), Fault(cut_after=100), Fault(cut_after=15_000), None)


def broken(server: LiveServer, service: str, folder: Path, name: str, after: int) -> list[tuple[str, str]]:
    """Run a client whose network breaks at one of its requests, and return what it told by then."""
    told: list[tuple[str, str]] = []
    server.faults = Breaking(after, random.choice(FIRST))
    with suppress(OSError):
        work(service, server.endpoint_url, server.token, str(folder), name, told.append)
    server.faults = None
    return told


@pytest.mark.parametrize("service", ["rino", "repovizz"])
@pytest.mark.parametrize(("end", "count"), [(killed, rounds(3, 100)), (broken, rounds(10, 300))])
def test_nothing_that_was_told_is_lost(
    server: LiveServer, service: str, end: End, count: int, tmp_path: Path
) -> None:
    random.seed(7)
    fs: Any = fsspec.filesystem(
        service, endpoint_url=server.endpoint_url, token=server.token, use_listings_cache=False
    )
    fs.pipe_file(LOG, b"")
    fs.pipe_file(FILE, content_of("first"))
    appended, last, interrupted, number = [], "first", 0, 0
    under_way: set[bytes] = set()  # the server may carry out what a client asked for after its end
    while interrupted < count:
        name = f"client{number}"
        told = end(server, service, tmp_path, name, random.randint(1, 24))
        number += 1
        interrupted += len(told) < 3 * STEPS
        appended += [step for what, step in told if what == "appended"]
        put = [step for what, step in told if what == "put"]
        last = [last, *put][-1]
        steps = {content_of(f"{name}-{step}") for step in range(STEPS)}
        stored = fs.cat_file(FILE)
        assert stored in {content_of(last)} | steps | under_way
        under_way = steps - {content_of(step) for step in put}
        last = name_in(stored)
        if (tmp_path / "got").exists():
            got = (tmp_path / "got").read_bytes()
            assert got == content_of(name_in(got))
    lines = fs.cat_file(LOG).decode().splitlines()
    assert [line for line in lines if line in set(appended)] == appended
    assert len(set(lines)) == len(lines)
    assert all(re.fullmatch(r"client\d+-\d+", line) for line in lines)
