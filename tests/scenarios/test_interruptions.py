"""Clients that are killed at any of their requests: what was acknowledged is there, and nothing is half."""

from __future__ import annotations

import multiprocessing
import os
import random
import re
import signal
from contextlib import suppress
from typing import TYPE_CHECKING, Any

import fsspec
import pytest

from rinofs.testing import live_server
from tests.campaign import rounds

if TYPE_CHECKING:
    from collections.abc import Iterator
    from multiprocessing.connection import Connection
    from pathlib import Path

    from rinofs.testing import Fault, LiveServer

CONTEXT = multiprocessing.get_context("forkserver")
CONTEXT.set_forkserver_preload(
    ["tests.scenarios.test_interruptions", "rinofs.rinocloud.filesystem", "rinofs.repovizz.filesystem"]
)

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


def work(service: str, url: str, token: str, folder: str, name: str, told: Connection) -> None:
    """Append, put and get, and tell what was done."""
    fs = fsspec.filesystem(service, endpoint_url=url, token=token)
    for step in range(STEPS):
        step_name = f"{name}-{step}"
        with fs.open(LOG, "a") as file:
            file.write(f"{step_name}\n")
        told.send(("appended", step_name))
        local = f"{folder}/{step_name}"
        with open(local, "wb") as file:  # noqa: PTH123 - it is the client that is tested
            file.write(content_of(step_name))
        fs.put_file(local, FILE)
        told.send(("put", step_name))
        fs.get_file(FILE, f"{folder}/got")
        told.send(("got", step_name))


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


def interrupted(
    server: LiveServer, service: str, folder: Path, name: str, after: int
) -> list[tuple[str, str]]:
    """Run a client until one of its requests, and return what it told by then."""
    here, there = CONTEXT.Pipe(duplex=False)
    arguments = (service, server.endpoint_url, server.token, str(folder), name, there)
    killing = Killing(after)
    process = CONTEXT.Process(target=work, args=arguments, daemon=True)
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


@pytest.mark.parametrize("service", ["rino", "repovizz"])
def test_nothing_that_was_told_is_lost(server: LiveServer, service: str, tmp_path: Path) -> None:
    random.seed(7)
    fs: Any = fsspec.filesystem(
        service, endpoint_url=server.endpoint_url, token=server.token, use_listings_cache=False
    )
    fs.pipe_file(LOG, b"")
    fs.pipe_file(FILE, content_of("first"))
    appended, last, killed = [], "first", 0
    for number in range(rounds(5, 500)):
        name = f"client{number}"
        told = interrupted(server, service, tmp_path, name, random.randint(1, 30))
        killed += len(told) < 3 * STEPS
        appended += [step for what, step in told if what == "appended"]
        last = ([last] + [step for what, step in told if what == "put"])[-1]
        whole = {content_of(last)} | {content_of(f"{name}-{step}") for step in range(STEPS)}
        stored = fs.cat_file(FILE)
        assert stored in whole
        last = name_in(stored)
        if (tmp_path / "got").exists():
            got = (tmp_path / "got").read_bytes()
            assert got == content_of(name_in(got))
    lines = fs.cat_file(LOG).decode().splitlines()
    assert killed, "no client was interrupted"
    assert [line for line in lines if line in set(appended)] == appended
    assert len(set(lines)) == len(lines)
    assert all(re.fullmatch(r"client\d+-\d+", line) for line in lines)
