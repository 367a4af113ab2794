"""fsspec's own suite, against a server in a process of its own."""

from __future__ import annotations

from typing import TYPE_CHECKING

import pytest

from rinofs import RinoFileSystem
from tests.abstract import TestCopy, TestGet, TestOpen, TestPipe, TestPut  # noqa: F401 - the suite
from tests.forkserver import server_process

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path


@pytest.fixture(scope="module", params=["extended", "plain"])
def suite_fs(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[RinoFileSystem]:
    folder: Path = tmp_path_factory.mktemp("data")
    with server_process(folder, *(["--no-extensions"] if request.param == "plain" else [])) as server:
        yield RinoFileSystem(endpoint_url=server.endpoint_url, token=server.token)


@pytest.fixture
def suite_path() -> str:
    return "suite"
