"""What contents in an S3 store cost the server in memory, whatever their size and however many there were."""

from __future__ import annotations

from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from rinofs.testing import server_process
from tests.campaign import rounds
from tests.scenarios.memory_client import count_peak_from_here, memory_of
from tests.scenarios.server.test_memory import BLOCK, connection, headers, upload
from tests.server.seaweed import BUCKET, seaweed
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import ServerProcess

MIB = 1024 * 1024
SIZE = rounds(64, 5 * 1024) * MIB
MOST = 200 * MIB  # the whole server

pytestmark = [pytest.mark.s3, pytest.mark.soak, pytest.mark.timeout(rounds(300, 1200))]


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    # The store keeps gigabytes, which do not belong into memory.
    with seaweed("/var/tmp" if rounds(0, 1) else None) as store, pytest.MonkeyPatch.context() as patch:
        for name, value in store.environment().items():
            patch.setenv(name, value)
        data = tmp_path_factory.mktemp("data")
        with server_process(data, "--blobs", f"s3://{BUCKET}/memory", "--cache-size", "0") as process:
            assert download(process, upload(process, 3 * MIB)) == digest_of(3 * MIB)
            yield process


def digest_of(size: int) -> str:
    hasher = blake3()
    for _ in range(size // MIB):
        hasher.update(BLOCK)
    return hasher.hexdigest()


def download(server: ServerProcess, number: int) -> str:
    client = connection(server)
    client.request("GET", f"/api/1/files/download/?id={number}", headers=headers(server))
    answer = client.getresponse()
    hasher, buffer = blake3(), bytearray(MIB)
    while got := answer.readinto(buffer):
        hasher.update(memoryview(buffer)[:got])
    client.close()
    return hasher.hexdigest()


def test_a_large_content_passes_through(server: ServerProcess) -> None:
    count_peak_from_here(server.pid)
    number = upload(server, SIZE, "large")
    assert memory_of(server.pid, "VmHWM") <= MOST
    count_peak_from_here(server.pid)
    assert download(server, number) == digest_of(SIZE)
    assert memory_of(server.pid, "VmHWM") <= MOST


def test_memory_is_given_back(server: ServerProcess) -> None:
    before = memory_of(server.pid, "VmRSS")
    for turn in range(rounds(1, 20)):
        with ThreadPoolExecutor(4) as threads:
            names = [f"{turn} {number}" for number in range(4)]
            numbers = list(threads.map(lambda name: upload(server, 24 * MIB, name), names))
            digests = set(threads.map(lambda number: download(server, number), numbers))
        assert digests == {digest_of(24 * MIB)}
    wait_until(lambda: memory_of(server.pid, "VmRSS") <= before + 32 * MIB)
