"""A server to test against, with the extensions and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RepovizzFileSystem
from rinofs.fs.blocks import shared_blocks
from rinofs.testing import live_server
from tests.repovizz.api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer


@pytest.fixture(scope="session")
def extended_server() -> Iterator[LiveServer]:
    with live_server() as server:
        yield server


@pytest.fixture(scope="session")
def plain_server() -> Iterator[LiveServer]:
    with live_server(extensions=False) as server:
        yield server


@pytest.fixture(params=["extended", "plain"])
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    """A server that counts from zero."""
    chosen: LiveServer = request.getfixturevalue(f"{request.param}_server")
    yield from _fresh(chosen)


@pytest.fixture
def extended(extended_server: LiveServer) -> Iterator[LiveServer]:
    """A server with all extensions that counts from zero."""
    yield from _fresh(extended_server)


def _fresh(server: LiveServer) -> Iterator[LiveServer]:
    fs = RepovizzFileSystem(endpoint_url=server.endpoint_url, token=server.token)
    fs.ls("")  # what the server can do is known from here on
    cold(fs)
    server.reset()
    yield server
    server.reset()


def cold(fs: RepovizzFileSystem) -> None:
    """Forget what the process knows, as if it had just started."""
    fs._backend.cache._forget_all()
    shared_blocks._start_empty()


@pytest.fixture
def api(server: LiveServer) -> Api:
    """Another client of the same user, whose changes the filesystem is not told of."""
    return Api.of(server)


@pytest.fixture
def options(server: LiveServer) -> dict[str, Any]:
    """Storage options that lead to the server."""
    return {"endpoint_url": server.endpoint_url, "token": server.token}


@pytest.fixture
def fs(options: dict[str, Any]) -> RepovizzFileSystem:
    return RepovizzFileSystem(**options)


@pytest.fixture
def name(request: pytest.FixtureRequest) -> str:
    """A name that no other test has for its datapack."""
    return "".join(each if each.isalnum() else " " for each in f"{request.node.name} {id(request)}")


@pytest.fixture
def pack(fs: RepovizzFileSystem, server: LiveServer, name: str) -> str:
    """An empty datapack."""
    fs.mkdir(name)
    server.reset()
    return name
