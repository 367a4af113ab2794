"""Servers for the libraries that people use rinofs with."""

from __future__ import annotations

from contextlib import ExitStack
from typing import TYPE_CHECKING, Any

import pytest
from fsspec.config import conf

from rinofs import RinoFileSystem
from rinofs.testing import live_server

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.testing import LiveServer


@pytest.fixture(scope="session")
def _servers() -> Iterator[Callable[[str], LiveServer]]:
    """One server of each mode, started when it is first asked for."""
    with ExitStack() as stack:
        running: dict[str, LiveServer] = {}

        def server_of(mode: str) -> LiveServer:
            if mode not in running:
                running[mode] = stack.enter_context(live_server(extensions=mode == "extended"))
            return running[mode]

        yield server_of


@pytest.fixture
def mode() -> str:
    """What the server can do; the ``both_modes`` of `tests.ecosystem.modes` runs a test with each."""
    return "extended"


@pytest.fixture
def server(mode: str, _servers: Callable[[str], LiveServer]) -> Iterator[LiveServer]:
    """A server that is empty and counts from zero."""
    running = _servers(mode)
    fs = RinoFileSystem(endpoint_url=running.endpoint_url, token=running.token)
    fs.invalidate_cache()
    if entries := fs.ls("", detail=False):
        fs.rm(entries, recursive=True)
    running.reset()
    yield running
    running.reset()


@pytest.fixture
def options(server: LiveServer) -> dict[str, Any]:
    """Storage options that lead to the server."""
    return {"endpoint_url": server.endpoint_url, "token": server.token}


@pytest.fixture
def fs(options: dict[str, Any]) -> RinoFileSystem:
    return RinoFileSystem(**options)


@pytest.fixture
def configured(options: dict[str, Any], monkeypatch: pytest.MonkeyPatch) -> None:
    """Have URLs lead to the server without any storage options, as the environment of a user would."""
    monkeypatch.setitem(conf, "rino", dict(options))
