from __future__ import annotations

import re
import socket
from typing import TYPE_CHECKING, Any

import pytest
import requests
from prometheus_client.parser import text_string_to_metric_families

from rinofs.server.blobs.cached import READS, SMALL, CachedBlobStore
from rinofs.server.blobs.memory import MemoryBlobStore
from tests.forkserver import server_process
from tests.server.client import Api
from tests.server.test_shutdown import LENGTH, end, under_way
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import ServerProcess

CANARY = "canary-7f3a9b"
METHODS = ("PROPFIND", "MKCOL", "LOCK", "REPORT", "PURGE")  # that are HTTP, but in no route
UPLOAD = {"route": "/api/1/files/upload/", "method": "POST", "status": "201"}
DOWNLOAD = {"route": "/api/1/files/download/", "method": "GET", "status": "200"}


@pytest.fixture(scope="module")
def server(tmp_path_factory: pytest.TempPathFactory) -> Iterator[ServerProcess]:
    # Behind a trusted proxy and a path, which the routes do not know.
    options = ("--metrics-port", "0", "--trusted-proxy", "127.0.0.1", "--root-path", "/lab")
    with server_process(tmp_path_factory.mktemp("metrics") / "data", *options) as process:
        yield process


def exposition(server: ServerProcess) -> str:
    found = re.search(r"^metrics: (http://127\.0\.0\.1:\d+/metrics)$", server.output, re.MULTILINE)
    assert found
    answer = requests.get(found[1], timeout=60)
    assert answer.headers["Content-Type"].startswith("text/plain")
    return answer.text


def samples(server: ServerProcess) -> list[Any]:
    families = text_string_to_metric_families(exposition(server))
    return [sample for family in families for sample in family.samples]


def value(server: ServerProcess, name: str, **labels: str) -> float:
    return sum(
        one.value
        for one in samples(server)
        if one.name == f"rinofs_{name}" and labels.items() <= one.labels.items()
    )


def test_requests_bodies_and_commits_are_counted(server: ServerProcess) -> None:
    api = Api(f"{server.endpoint_url}/lab", server.token)
    before = {
        name: value(server, name, **labels)
        for name, labels in [("commits_total", {}), ("http_received_bytes_total", UPLOAD)]
    }
    for number in range(3):
        file = api.file(f"file {number}", bytes(100_000))  # large enough for the kernel to send
        assert api.content(file["id"]) == bytes(100_000)
    wait_until(lambda: value(server, "http_request_duration_seconds_count", **DOWNLOAD) == 3)
    assert value(server, "http_request_duration_seconds_count", **UPLOAD) == 3
    assert value(server, "http_request_duration_seconds_bucket", le="+Inf", **UPLOAD) == 3
    assert value(server, "http_request_duration_seconds_sum", **UPLOAD) > 0
    assert value(server, "http_sent_bytes_total", **DOWNLOAD) == 300_000
    received = value(server, "http_received_bytes_total", **UPLOAD) - before["http_received_bytes_total"]
    assert 300_000 < received < 310_000
    assert value(server, "commits_total") >= before["commits_total"] + 3
    assert any(one.name == "process_resident_memory_bytes" for one in samples(server))


def test_what_is_under_way_is_counted(server: ServerProcess) -> None:
    assert value(server, "http_bodies_under_way") == 0
    with under_way(server) as client:
        wait_until(lambda: value(server, "http_bodies_under_way") == 1)
        assert value(server, "http_requests_under_way") == 1
        client.sendall(bytes(LENGTH // 2) + end())
        assert client.recv(65536).startswith(b"HTTP/1.1 201 ")
        wait_until(lambda: value(server, "http_requests_under_way") == 0)
        assert value(server, "http_bodies_under_way") == 0
    with under_way(server):
        wait_until(lambda: value(server, "http_bodies_under_way") == 1)
    wait_until(lambda: value(server, "http_bodies_under_way") == 0)  # the client is gone


def test_clients_cannot_make_up_labels(server: ServerProcess) -> None:
    for number in range(len(METHODS)):
        for path in (
            f"/{CANARY}{number}",
            f"/api/1/{CANARY}{number}/",
            f"/api/v1.0/datapacks/{CANARY}{number}",
        ):
            requests.request(METHODS[number], f"{server.endpoint_url}{path}", timeout=60)
            requests.get(f"{server.endpoint_url}{path}?token={CANARY}", timeout=60)
    wait_until(lambda: value(server, "http_request_duration_seconds_count", status="404") >= 20)
    found = exposition(server)
    assert CANARY.lower() not in found.lower()
    assert server.token
    assert server.token not in found
    labels = {(one.labels["route"], one.labels["method"]) for one in samples(server) if "route" in one.labels}
    assert ("unknown", "GET") in labels
    assert ("/api/v1.0/datapacks/{id}", "unknown") in labels
    assert {method for _, method in labels} <= {"GET", "POST", "HEAD", "unknown"}


def test_failures_of_the_storage_are_counted(tmp_path: Path) -> None:
    with server_process(tmp_path / "data", "--metrics-port", "0") as server:
        api = Api(server.endpoint_url, server.token)
        (tmp_path / "data" / "blobs").rename(tmp_path / "data" / "elsewhere")
        assert api.upload(bytes(3_000_000), name="x").status_code == 503
        assert value(server, "storage_failures_total", part="contents", reason="failed") >= 1


def test_reads_of_an_object_store_are_counted(tmp_path: Path) -> None:
    digests: dict[str, str] = {}
    other: Any = MemoryBlobStore()
    store = CachedBlobStore(other, tmp_path / "cache", 64 * SMALL, digests.get)
    before = READS.copy()
    with store.new_upload() as upload:
        upload.write(bytes(2 * SMALL))
        blob = upload.finish()
        digests[blob.key] = blob.blake3
        for _ in range(3):
            with store.open_range(blob.key, blob.size) as reader:
                assert sum(iter(lambda: len(reader.read(SMALL)), 0)) == 2 * SMALL
    store.close()
    assert READS - before == {"miss": 1, "hit": 2}


def test_a_busy_port_is_named(tmp_path: Path) -> None:
    with socket.create_server(("127.0.0.1", 0)) as taken:
        port = str(taken.getsockname()[1])
        with (
            pytest.raises(RuntimeError, match=f"exit code 1: .*127.0.0.1 port {port} for metrics: Address"),
            server_process(tmp_path, "--metrics-port", port),
        ):
            pass
