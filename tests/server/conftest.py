from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rinofs.server.services import Services, open_services
from rinofs.server.settings import ServerSettings

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.server.records import User


@pytest.fixture
def services(tmp_path: Path) -> Iterator[Services]:
    opened = open_services(ServerSettings(tmp_path / "data"))
    yield opened
    opened.close()


@pytest.fixture
def user(services: Services) -> User:
    return services.accounts.add_user("ada")
