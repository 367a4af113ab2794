from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rinofs.server.services import Services, open_services
from rinofs.server.settings import ServerSettings
from rinofs.testing import LiveServer, live_server
from tests.server.client import Api
from tests.server.seaweed import s3_url, shared_seaweed

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.server.catalog.records import User


__all__ = ["s3_url", "shared_seaweed"]


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    opened = open_services(ServerSettings(tmp_path / "data"))
    yield opened
    opened.close()


@pytest.fixture
def user(services: Services) -> User:
    return services.accounts.add_user("ada")


@pytest.fixture(scope="module", params=[True, False], ids=["extended", "published"])
def server(request: pytest.FixtureRequest) -> Iterator[LiveServer]:
    with live_server(extensions=request.param) as running:
        yield running


@pytest.fixture(scope="module")
def extended() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture
def api(server: LiveServer, request: pytest.FixtureRequest) -> Api:
    return Api(server.endpoint_url, server.add_user(request.node.name.replace("/", " ")))


@pytest.fixture
def more(extended: LiveServer, request: pytest.FixtureRequest) -> Api:
    """The API of a server with all its extensions."""
    return Api(extended.endpoint_url, extended.add_user(request.node.name.replace("/", " ")))
