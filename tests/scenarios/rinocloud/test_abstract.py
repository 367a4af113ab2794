"""fsspec's own suite, against a server in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fsspec.tests.abstract as abstract
import pytest

from rinofs import RinoFileSystem
from rinofs.testing import server_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", params=["extended", "plain"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("data")
    with server_process(folder, *(["--no-extensions"] if request.param == "plain" else [])) as server:
        yield server


class RinoFixtures(abstract.AbstractFixtures):
    @pytest.fixture(scope="class")
    @classmethod
    def fs(cls, served: Any) -> RinoFileSystem:
        return RinoFileSystem(endpoint_url=served.endpoint_url, token=served.token)

    @pytest.fixture
    def fs_path(self) -> str:
        return "suite"


class TestCopy(RinoFixtures, abstract.AbstractCopyTests):
    pass


class TestGet(RinoFixtures, abstract.AbstractGetTests):
    pass


class TestPut(RinoFixtures, abstract.AbstractPutTests):
    pass


class TestPipe(RinoFixtures, abstract.AbstractPipeTests):
    pass


class TestOpen(RinoFixtures, abstract.AbstractOpenTests):
    pass


def test_every_mixin_of_the_suite_is_here() -> None:
    mixins = {name for name in dir(abstract) if name.startswith("Abstract") and name.endswith("Tests")}
    used = {base.__name__ for cls in (TestCopy, TestGet, TestPut, TestPipe, TestOpen) for base in cls.__mro__}
    assert mixins <= used
