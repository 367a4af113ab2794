"""A server to test against, with the extensions and without."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import pytest

from rinofs import RinoFileSystem
from rinofs.testing import live_server

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
    fs = RinoFileSystem(endpoint_url=either_server.endpoint_url, token=either_server.token)
    fs.invalidate_cache()
    if entries := fs.ls("", detail=False):
        fs.rm(entries, recursive=True)
    either_server.reset()
    yield either_server
    either_server.reset()


@pytest.fixture
def options(server: LiveServer) -> dict[str, Any]:
    """Storage options that lead to the server."""
    return {"endpoint_url": server.endpoint_url, "token": server.token}


@pytest.fixture
def fs(options: dict[str, Any]) -> RinoFileSystem:
    return RinoFileSystem(**options)
