"""A server to test against, with the extensions and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RinoFileSystem
from rinofs.testing import live_server
from tests.rinocloud.api import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer


@pytest.fixture(scope="session", params=[True, False], ids=["extended", "plain"])
def either_server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    with live_server(extensions=request.param) as server:
        yield server


@pytest.fixture
def server(either_server: LiveServer) -> Iterator[LiveServer]:
    """A server that is empty and counts from zero."""
    Api.of(either_server).clear()
    fs = RinoFileSystem(endpoint_url=either_server.endpoint_url, token=either_server.token)
    fs.ls("")  # the server's extensions, or that it has none, are known from here on
    fs.invalidate_cache()
    either_server.reset()
    yield either_server
    either_server.reset()
    assert fs._backend.client.features.lacking == set(), (
        "a server that has every endpoint was believed to lack one"
    )


@pytest.fixture
def api(server: LiveServer) -> Api:
    """Another client of the same user, whose changes the filesystem is not told of."""
    return Api.of(server)


@pytest.fixture
def options(server: LiveServer) -> dict[str, Any]:
    """Storage options that lead to the server."""
    return {"endpoint_url": server.endpoint_url, "token": server.token}


@pytest.fixture
def fs(options: dict[str, Any]) -> RinoFileSystem:
    return RinoFileSystem(**options)
