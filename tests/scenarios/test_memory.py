"""Peak memory while content passes through: a few blocks, whatever the size.

Client and server run in processes of their own. Each is measured from what it holds after a small transfer,
when all that it ever needs is imported and set up.
"""

from __future__ import annotations

import subprocess
import sys
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

from rinofs.testing import server_process
from tests.campaign import rounds
from tests.scenarios.memory_client import BIG, MIB, SMALL, count_peak_from_here, memory_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import ServerProcess

SIZE = rounds(96, 256) * MIB
TOKEN = "rino_" + "m" * 43
REPOSITORY = Path(__file__).parents[2]

pytestmark = pytest.mark.soak


@dataclass(frozen=True)
class Peak:
    """The most that both sides held during an operation, in bytes beyond what they held before."""

    client: int
    server: int


def measure(server: ServerProcess, operation: str, folder: Path) -> Peak:
    command = [
        sys.executable,
        "-m",
        "tests.scenarios.memory_client",
        server.endpoint_url,
        TOKEN,
        operation,
        str(folder),
    ]
    pipe = subprocess.PIPE
    with subprocess.Popen(command, stdin=pipe, stdout=pipe, text=True, cwd=REPOSITORY) as client:
        assert client.stdin is not None
        assert client.stdout is not None
        assert client.stdout.readline() == "ready\n"
        base = count_peak_from_here(server.pid)
        answer, _ = client.communicate("go\n")
    assert client.returncode == 0
    return Peak(int(answer), memory_of(server.pid, "VmHWM") - base)


@pytest.fixture(scope="module")
def folder(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Path]:
    """Local files, small and big; the big one has no two parts alike."""
    folder = tmp_path_factory.mktemp("local")
    (folder / SMALL).write_bytes(bytes(MIB // 2))
    with (folder / BIG).open("wb") as file:
        rest = bytes(MIB - 8)
        for number in range(SIZE // MIB):
            file.write(number.to_bytes(8) + rest)
    yield folder
    (folder / BIG).unlink()


@pytest.fixture(scope="module", params=[(), ("--no-extensions",)], ids=["extended", "plain"])
def server(
    request: pytest.FixtureRequest, tmp_path_factory: pytest.TempPathFactory
) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("data"), "--token", TOKEN, *request.param) as process:
        yield process


@pytest.fixture(scope="module")
def put(server: ServerProcess, folder: Path) -> Peak:
    """What it took to store the file that all else reads."""
    return measure(server, "put_file", folder)


def test_put_file(put: Peak) -> None:
    assert put.client <= 8 * MIB
    assert put.server <= 16 * MIB


@pytest.mark.covering
@pytest.mark.usefixtures("put")
@pytest.mark.parametrize(
    ("operation", "most"),
    [
        pytest.param("write_in_pieces", 16 * MIB, id="write_in_pieces"),
        pytest.param("put_many", 28 * MIB, id="put_many"),
        pytest.param("get_file", 8 * MIB, id="get_file"),
        pytest.param("get_in_parts", 8 * MIB, id="get_in_parts"),
        pytest.param("get_eight", 24 * MIB, id="get_eight"),
        pytest.param("read_in_pieces", 48 * MIB, id="read_in_pieces"),  # the cache's 16 MiB are in it
        pytest.param("cat_ranges", (32 + 32) * MIB, id="cat_ranges"),  # half of it is what is returned
        pytest.param("cat_file", SIZE + 32 * MIB, id="cat_file"),
    ],
)
def test_peak(server: ServerProcess, folder: Path, operation: str, most: int) -> None:
    peak = measure(server, operation, folder)
    assert peak.client <= most
    downloads = {"get_eight": 8, "get_in_parts": 4}.get(operation, 1)
    together = 24 if operation == "put_many" else 0
    assert peak.server <= max(16, 8 * downloads, together) * MIB
