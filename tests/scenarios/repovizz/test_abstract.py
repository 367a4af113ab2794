"""fsspec's own suite, below a datapack, against a server in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import fsspec.tests.abstract as abstract
import pytest

from rinofs import RepovizzFileSystem
from rinofs.testing import server_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", params=["extended", "plain"])
def served(request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory) -> Iterator[Any]:
    folder: Path = tmp_path_factory.mktemp("data")
    with server_process(folder, *(["--no-extensions"] if request.param == "plain" else [])) as server:
        yield server


class RepovizzFixtures(abstract.AbstractFixtures):
    @pytest.fixture(scope="class")
    @classmethod
    def fs(cls, served: Any) -> RepovizzFileSystem:
        return RepovizzFileSystem(endpoint_url=served.endpoint_url, token=served.token)

    @pytest.fixture
    def fs_path(self, fs: RepovizzFileSystem) -> str:
        fs.makedirs("pack", exist_ok=True)  # the suite cleans up below it, where datapacks cannot be removed
        return "pack/suite"


class TestCopy(RepovizzFixtures, abstract.AbstractCopyTests):
    pass


class TestGet(RepovizzFixtures, abstract.AbstractGetTests):
    pass


class TestPut(RepovizzFixtures, abstract.AbstractPutTests):
    pass


class TestPipe(RepovizzFixtures, abstract.AbstractPipeTests):
    pass


class TestOpen(RepovizzFixtures, abstract.AbstractOpenTests):
    pass


def test_every_mixin_of_the_suite_is_here() -> None:
    mixins = {name for name in dir(abstract) if name.startswith("Abstract") and name.endswith("Tests")}
    used = {base.__name__ for cls in (TestCopy, TestGet, TestPut, TestPipe, TestOpen) for base in cls.__mro__}
    assert mixins <= used
