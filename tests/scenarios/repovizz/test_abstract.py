"""fsspec's own suite, below a datapack, against a server in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rinofs import RepovizzFileSystem
from tests.abstract import TestCopy, TestGet, TestOpen, TestPipe, TestPut  # noqa: F401 - the suite
from tests.forkserver import server_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", params=["extended", "plain"])
def suite_fs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RepovizzFileSystem]:
    folder: Path = tmp_path_factory.mktemp("data")
    with server_process(folder, *(["--no-extensions"] if request.param == "plain" else [])) as server:
        yield RepovizzFileSystem(endpoint_url=server.endpoint_url, token=server.token)


@pytest.fixture
def suite_path(suite_fs: RepovizzFileSystem) -> str:
    suite_fs.makedirs(
        "pack", exist_ok=True
    )  # the suite cleans up below it, where datapacks cannot be removed
    return "pack/suite"
