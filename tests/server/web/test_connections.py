"""Connections are bounded in number, and in the memory of answers that clients do not take."""

from __future__ import annotations

import os
import socket
from contextlib import ExitStack
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import psutil
import pytest
import requests

from rinofs.testing import LiveServer, live_server
from tests.forkserver import in_own_process
from tests.server.client import Api
from tests.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.server.settings import ServerSettings

MOST = 16
MIB = 1024 * 1024


def few(settings: ServerSettings) -> ServerSettings:
    return replace(settings, max_connections=MOST, max_unsent_bytes=8 * MIB, header_timeout=PATIENCE)


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server(configure=few) as server:
        yield server


@pytest.fixture
def stack() -> Iterator[ExitStack]:
    with ExitStack() as stack:
        yield stack


def connect(
    server: LiveServer, stack: ExitStack, address: str = "127.0.0.1", sent: bytes = b""
) -> socket.socket:
    parts = urlsplit(server.endpoint_url)
    where = (parts.hostname or "", parts.port or 0)
    connection = socket.create_connection(where, timeout=PATIENCE, source_address=(address, 0))
    stack.enter_context(connection)
    connection.sendall(sent)
    return connection


def is_closed(connection: socket.socket) -> bool:
    connection.setblocking(False)
    try:
        return connection.recv(1) == b""
    except BlockingIOError:
        return False
    except ConnectionError:
        return True


@pytest.mark.parametrize(
    "sent", [b"", b"GET /health HTTP/1.1\r\nHost: loc", b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n"],
    ids=["silent", "half a head", "answered"],
)  # fmt: skip
def test_the_oldest_idle_connection_makes_room(server: LiveServer, stack: ExitStack, sent: bytes) -> None:
    idle = []
    for _ in range(3 * MOST):
        idle.append(connect(server, stack, sent=sent))
        if sent.endswith(b"\r\n\r\n"):
            assert idle[-1].recv(65536).startswith(b"HTTP/1.1 200 ")
    assert requests.get(f"{server.endpoint_url}/health", timeout=PATIENCE).status_code == 200
    wait_until(lambda: sum(map(is_closed, idle)) >= 2 * MOST)
    assert not is_closed(idle[-1])


def test_one_address_leaves_room_for_others(server: LiveServer, stack: ExitStack) -> None:
    head = (
        f"POST /api/1/files/children/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {server.token}\r\n"
        "Content-Length: 1000\r\n\r\n"
    )
    busy = [connect(server, stack, "127.0.0.2", head.encode()) for _ in range(MOST - MOST // 4)]
    wait_until(lambda: connect(server, stack, "127.0.0.2").recv(65536).startswith(b"HTTP/1.1 503 "))
    refused = connect(server, stack, "127.0.0.2").recv(65536)
    assert b"retry-after: 1" in refused
    for _ in range(10):
        connect(server, stack, "127.0.0.3")
    assert requests.get(f"{server.endpoint_url}/health", timeout=PATIENCE).status_code == 200
    assert not any(map(is_closed, busy))


@in_own_process
def test_answers_that_nobody_takes_do_not_fill_the_memory() -> None:
    with live_server(configure=few) as server, ExitStack() as stack:
        stall(server, stack)


HEADS = {
    "short headers": b"GET / HTTP/1.1\r\nHost: localhost\r\n" + b"x: y\r\n" * 10_000,
    "one header": b"GET / HTTP/1.1\r\nHost: localhost\r\nX: " + b"x" * 60_000,
    "no requests": b"nonsense " * 7_000,
}


@in_own_process
def test_what_follows_a_response_in_progress_does_not_fill_the_memory() -> None:
    with live_server(configure=few) as server:
        for head in HEADS.values():
            with ExitStack() as stack:
                send_behind_a_download(server, stack, head)


def send_behind_a_download(server: LiveServer, stack: ExitStack, head: bytes) -> None:
    api = Api(server.endpoint_url, server.token)
    content = os.urandom(16 * MIB)
    number = api.upload(content, name=f"large {len(head)}").json()["id"]
    request = (
        f"GET /api/1/files/download/?id={number} HTTP/1.1\r\nHost: localhost\r\n"
        f"Authorization: Token {server.token}\r\n\r\n"
    )
    client = connect(server, stack, sent=request.encode())
    received = bytearray(client.recv(1000))
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    client.sendall(head)
    for _ in range(20 * MIB // len(head)):
        client.sendall(b"x: y\r\n" * (len(head) // 6))
    assert process.memory_info().rss - before < 50 * MIB
    while piece := client.recv(MIB):
        received += piece
    assert received.endswith(b"\r\n\r\n" + content)


@in_own_process
def test_headers_refused_behind_responses_in_progress_do_not_stay_in_memory() -> None:
    with live_server(configure=lambda settings: replace(settings, max_connections=64)) as server:
        api = Api(server.endpoint_url, server.token)
        request = (
            f"GET /api/1/files/download/?id={api.file('large', os.urandom(16 * MIB))['id']} HTTP/1.1\r\n"
            f"Host: localhost\r\nAuthorization: Token {server.token}\r\n\r\n"
        )
        with ExitStack() as stack:
            clients = [connect(server, stack, sent=request.encode()) for _ in range(45)]
            for client in clients:
                assert client.recv(1000).startswith(b"HTTP/1.1 200 ")
            process = psutil.Process(os.getpid())
            before = process.memory_info().rss
            for client in clients:
                client.sendall(b"GET / HTTP/1.1\r\n" + b"a:\r\n" * 62_000)
                client.sendall(bytes(20 * MIB))  # more than buffers hold: the server has read the headers
            assert process.memory_info().rss - before < 70 * MIB


def stall(server: LiveServer, stack: ExitStack) -> None:
    api = Api(server.endpoint_url, server.token)
    for number in range(8):
        api.ok("files/create_object", {"name": f"object {number}", "metadata": {"x": "y" * 1_000_000}}, 201)
    body = b'{"limit": 1000}'
    head = (
        f"POST /api/1/files/children/ HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {server.token}\r\n"
        f"Content-Length: {len(body)}\r\n\r\n"
    )
    api.ok("files/children", {"limit": 1000})
    process = psutil.Process(os.getpid())
    before = process.memory_info().rss
    stalled = []
    for _ in range(20):
        stalled.append(connect(server, stack, sent=head.encode() + body))
        stalled[-1].setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        # Who reads is answered all the while.
        assert len(api.ok("files/children", {"limit": 1000})["result"]) == 8
    assert process.memory_info().rss - before < 150 * MIB
    port = urlsplit(server.endpoint_url).port

    def still_open() -> int:
        found = process.net_connections("tcp")
        return sum(one.laddr.port == port and one.status == "ESTABLISHED" for one in found)

    wait_until(lambda: still_open() < len(stalled) // 2)
