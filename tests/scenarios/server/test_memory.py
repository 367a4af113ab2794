"""What a transfer costs the server in memory, whatever its size."""

from __future__ import annotations

import http.client
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import TYPE_CHECKING, Self
from urllib.parse import urlsplit

import psutil
import pytest

from rinofs.testing import ServerProcess, server_process
from tests.campaign import rounds

if TYPE_CHECKING:
    from collections.abc import Iterator

MIB = 1024 * 1024
SIZE = rounds(64, 256) * MIB
ALLOWED = 8 * MIB  # for each transfer under way
BLOCK = bytes(range(256)) * (MIB // 256)


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    with server_process(tmp_path_factory.mktemp("data")) as server:
        # The first requests load what all others use too.
        download(server, upload(server, 3 * MIB), 3 * MIB)
        yield server


def connection(server: ServerProcess) -> http.client.HTTPConnection:
    parts = urlsplit(server.endpoint_url)
    assert parts.hostname
    return http.client.HTTPConnection(parts.hostname, parts.port, timeout=120)


def headers(server: ServerProcess) -> dict[str, str]:
    return {"Authorization": f"Token {server.token}"}


def upload(server: ServerProcess, size: int, name: str = "f") -> int:
    head = b'--XX\r\nContent-Disposition: form-data; name="json"\r\n\r\n{"name": "%b"}\r\n' % name.encode()
    head += b'--XX\r\nContent-Disposition: form-data; name="file"; filename="f"\r\n\r\n'
    tail = b"\r\n--XX--\r\n"

    def body() -> Iterator[bytes]:
        yield head
        for _ in range(size // MIB):
            yield BLOCK
        yield tail

    client = connection(server)
    length = len(head) + size // MIB * MIB + len(tail)
    sent = {"Content-Type": "multipart/form-data; boundary=XX", "Content-Length": str(length)}
    client.request("POST", "/api/1/files/upload/", body(), headers(server) | sent)
    answer = client.getresponse()
    content = answer.read()
    assert answer.status == 201, content
    return int(content.partition(b'"id":')[2].partition(b",")[0])


def download(server: ServerProcess, number: int, size: int, wanted: str | None = None) -> None:
    client = connection(server)
    sent = {"Range": wanted} if wanted else {}
    client.request("GET", f"/api/1/files/download/?id={number}", headers=headers(server) | sent)
    answer = client.getresponse()
    buffer = bytearray(MIB)
    count = 0
    while got := answer.readinto(buffer):
        count += got
    assert count >= size


class Peak:
    """The most memory that a process held within a context, beyond what it held at the beginning."""

    def __init__(self, server: ServerProcess) -> None:
        self._folder = Path(f"/proc/{server.pid}")
        self._process = psutil.Process(server.pid)
        self.bytes = 0

    def __enter__(self) -> Self:
        (self._folder / "clear_refs").write_text("5")  # forget earlier peaks
        self._base = self._process.memory_info().rss
        return self

    def __exit__(self, *_: object) -> None:
        status = (self._folder / "status").read_text()
        kilobytes = next(line.split()[1] for line in status.splitlines() if line.startswith("VmHWM:"))
        self.bytes = int(kilobytes) * 1024 - self._base


def test_upload(server: ServerProcess) -> None:
    with Peak(server) as peak:
        upload(server, SIZE, "up")
    assert peak.bytes <= ALLOWED


def test_download(server: ServerProcess) -> None:
    number = upload(server, SIZE, "down")
    with Peak(server) as peak:
        download(server, number, SIZE)
    assert peak.bytes <= ALLOWED
    with Peak(server) as peak:
        download(server, number, SIZE, f"bytes=0-{SIZE // 2 - 1},{SIZE // 2}-")
    assert peak.bytes <= ALLOWED


def test_several_at_once(server: ServerProcess) -> None:
    transfers = rounds(6, 24)
    size = 16 * MIB
    numbers = [upload(server, size, f"n{n}") for n in range(transfers // 2)]
    with Peak(server) as peak, ThreadPoolExecutor(transfers) as pool:
        pending = [pool.submit(upload, server, size, f"m{n}") for n in range(transfers // 2)]
        downloads = [pool.submit(download, server, number, size) for number in numbers]
        for transfer in [*pending, *downloads]:
            transfer.result()
    assert peak.bytes <= ALLOWED * transfers


def test_a_client_that_takes_nothing(server: ServerProcess) -> None:
    """What waits for a slow client waits on the disk."""
    number = upload(server, SIZE, "slow")
    client = connection(server)
    with Peak(server) as peak:
        client.request("GET", f"/api/1/files/download/?id={number}", headers=headers(server))
        answer = client.getresponse()
        answer.read(10)
        for _ in range(20):
            download(server, number, 10, "bytes=0-9")
    assert peak.bytes <= ALLOWED
    client.close()
