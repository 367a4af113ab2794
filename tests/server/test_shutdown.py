from __future__ import annotations

import os
import signal
import socket
from typing import TYPE_CHECKING

import pytest
import requests
from click.testing import CliRunner

from rinofs.cli.main import main
from tests.forkserver import server_process
from tests.server.client import Api
from tests.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.testing import ServerProcess

FOREVER = "3600"
BOUNDARY = "----part"
LENGTH = 6_000_000


def under_way(server: ServerProcess) -> socket.socket:
    """Begin an upload, and return its connection when the server has taken in some of it."""
    part = f"--{BOUNDARY}\r\nContent-Disposition: form-data; name=file; filename=late\r\n\r\n".encode()
    head = (
        "POST /api/1/files/upload/ HTTP/1.1\r\nHost: localhost\r\nExpect: 100-continue\r\n"
        f"Authorization: Token {server.token}\r\nContent-Type: multipart/form-data; boundary={BOUNDARY}\r\n"
        f"Content-Length: {len(part) + LENGTH + len(end())}\r\n\r\n"
    )
    client = socket.create_connection(("127.0.0.1", int(server.endpoint_url.rpartition(":")[2])))
    client.sendall(head.encode())
    assert client.recv(1000).startswith(b"HTTP/1.1 100 ")
    client.sendall(part + bytes(LENGTH // 2))
    return client


def end() -> bytes:
    return f"\r\n--{BOUNDARY}--\r\n".encode()


def refused(server: ServerProcess) -> bool:
    """Tell whether the server no longer listens."""
    try:
        requests.get(f"{server.endpoint_url}/health", timeout=60)
    except requests.ConnectionError:
        return True
    return False


def files(data: Path) -> list[Path]:
    return [path for path in (data / "blobs").rglob("*") if path.is_file()]


def fsck(data: Path) -> int:
    return CliRunner().invoke(main, ["admin", "fsck", "--data", str(data)]).exit_code


def test_requests_are_answered_until_a_load_balancer_has_noticed(tmp_path: Path) -> None:
    options = ("--shutdown-delay", FOREVER, "--shutdown-timeout", FOREVER)
    with server_process(tmp_path, *options) as server, under_way(server) as client:
        kept = Api(server.endpoint_url, server.token)
        assert "Connection" not in kept.post("files/children").headers
        server._process.send_signal(signal.SIGTERM)
        wait_until(lambda: requests.get(f"{server.endpoint_url}/ready", timeout=60).status_code == 503)
        answer = requests.get(f"{server.endpoint_url}/ready", timeout=60)
        assert answer.json() == {"error": "the server is stopping"}
        assert answer.headers["Retry-After"].isdigit()
        assert requests.get(f"{server.endpoint_url}/health", timeout=60).status_code == 200
        # A connection that was there before, and a new one: answered, and closed.
        for api in (kept, Api(server.endpoint_url, server.token)):
            answer = api.post("files/create_object", {"name": f"object {api is kept}"})
            assert (answer.status_code, answer.headers["Connection"]) == (201, "close")
        client.sendall(bytes(LENGTH // 2) + end())
        assert client.recv(65536).startswith(b"HTTP/1.1 201 ")
        server._process.send_signal(signal.SIGTERM)
        assert server._process.wait(PATIENCE) == 0
        assert server.errors() == ""
    assert len(files(tmp_path)) == 1
    assert fsck(tmp_path) == 0


def test_the_delay_ends(tmp_path: Path) -> None:
    with server_process(tmp_path, "--shutdown-delay", "0.3") as server:
        server._process.send_signal(signal.SIGTERM)
        assert server._process.wait(PATIENCE) == 0
        assert server.errors() == ""


@pytest.mark.parametrize("second", [signal.SIGTERM, signal.SIGINT])
def test_a_second_signal_cuts_requests_and_leaves_nothing_half_made(
    tmp_path: Path, second: signal.Signals
) -> None:
    with (
        server_process(tmp_path, "--shutdown-timeout", FOREVER) as server,
        under_way(server) as client,
    ):
        wait_until(lambda: bool(files(tmp_path)))
        server._process.send_signal(signal.SIGTERM)
        wait_until(lambda: refused(server))
        assert server._process.poll() is None
        server._process.send_signal(second)
        assert server._process.wait(PATIENCE) == 0
        assert not client.recv(65536).startswith(b"HTTP/1.1 20")
        assert "Traceback" not in server.errors()
    assert files(tmp_path) == []
    assert fsck(tmp_path) == 0
    with server_process(tmp_path, "--token", "known") as server:
        assert Api(server.endpoint_url, "known").names() == []


def test_a_second_signal_waits_for_no_thread(tmp_path: Path) -> None:
    options = ("--shutdown-timeout", FOREVER)
    with server_process(tmp_path, *options) as server:
        number = Api(server.endpoint_url, server.token).file("a", bytes(LENGTH))["id"]
        (content,) = files(tmp_path)
        content.unlink()
        os.mkfifo(
            content
        )  # opening it waits for a writer, as a network disk that is gone waits for its server
        port = int(server.endpoint_url.rpartition(":")[2])
        with socket.create_connection(("127.0.0.1", port)) as client:
            client.sendall(
                f"GET /api/1/files/download/?id={number} HTTP/1.1\r\nHost: localhost\r\n"
                f"Authorization: Token {server.token}\r\n\r\n".encode()
            )
            assert not refused(server)
            server._process.send_signal(signal.SIGTERM)
            wait_until(lambda: refused(server))
            server._process.send_signal(signal.SIGTERM)
            assert server._process.wait(PATIENCE) == 0
