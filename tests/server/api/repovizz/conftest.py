"""Servers of the repovizz2 API, with its extensions and without, and a client of a new user of each."""

from __future__ import annotations

import secrets
from typing import TYPE_CHECKING

import pytest

from rinofs.testing import live_server
from tests.server.packs import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture(scope="module")
def plain() -> Iterator[LiveServer]:
    with live_server(repovizz_extensions=False) as running:
        yield running


@pytest.fixture(params=["extended", "plain"])
def api(request: pytest.FixtureRequest) -> Api:
    running = request.getfixturevalue("server" if request.param == "extended" else "plain")
    return Api(running.endpoint_url, running.add_user(secrets.token_hex(8)))


@pytest.fixture
def extended(server: LiveServer) -> Api:
    return Api(server.endpoint_url, server.add_user(secrets.token_hex(8)))
