from __future__ import annotations

import socket
import time
from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from rinofs.testing import LiveServer, live_server
from tests.campaign import rounds

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.server.settings import ServerSettings

# Short, so that the tests are; what they show does not depend on how long they are.
HEADER, IDLE, BODY, WRITE = 0.3, 0.5, 0.8, 2.0
SLACK = 3.0  # on a busy machine
HEAD = b"GET /health HTTP/1.1\r\nHost: localhost\r\n"


def hurried(settings: ServerSettings) -> ServerSettings:
    return replace(
        settings,
        header_timeout=HEADER,
        idle_timeout=IDLE,
        body_timeout=BODY,
        body_min_rate=100,
        write_timeout=WRITE,
        max_header_bytes=8192,
    )


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server(configure=hurried) as server:
        yield server


@contextmanager
def connected(server: LiveServer) -> Iterator[socket.socket]:
    parts = urlsplit(server.endpoint_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        yield client


def received(client: socket.socket) -> bytes:
    """Return all that comes until the server ends the connection."""
    data = bytearray()
    try:
        while piece := client.recv(65536):
            data += piece
    except ConnectionResetError:
        pass
    return bytes(data)


def drip(client: socket.socket, data: bytes, pause: float) -> float:
    """Send a byte at a time until the server has ended the connection; return after how many seconds."""
    start = time.monotonic()
    client.settimeout(pause)
    for byte in data:
        try:
            client.send(bytes([byte]))
            if not client.recv(65536):
                break
        except TimeoutError:
            continue
        except ConnectionError:
            break
    else:
        pytest.fail("the server never ended the connection")
    return time.monotonic() - start


@pytest.mark.parametrize(
    "start",
    [b"", b"G", b"\r\n\r\n", HEAD, HEAD + b"X-Long: ", b"POST / HTTP/1.1\r\n"],
    ids=["silent", "method", "newlines", "half a head", "half a header", "request line"],
)
def test_a_request_that_never_comes(server: LiveServer, start: bytes) -> None:
    with connected(server) as client:
        client.sendall(start)
        began = time.monotonic()
        assert received(client) == b""
        assert HEADER * 0.9 < time.monotonic() - began < HEADER + SLACK


def test_a_head_that_comes_byte_by_byte(server: LiveServer) -> None:
    with connected(server) as client:
        assert drip(client, HEAD + b"X-Long: " + b"x" * 1000, 0.05) < HEADER + SLACK


def test_newlines_do_not_keep_a_connection(server: LiveServer) -> None:
    with connected(server) as client:
        assert drip(client, b"\r\n" * 1000, 0.05) < HEADER + SLACK


def test_a_second_request_that_never_comes(server: LiveServer) -> None:
    with connected(server) as client:
        client.sendall(HEAD + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        began = time.monotonic()
        assert received(client) == b""
        assert IDLE * 0.9 < time.monotonic() - began < IDLE + SLACK


def test_a_second_head_that_stops(server: LiveServer) -> None:
    with connected(server) as client:
        client.sendall(HEAD + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        client.sendall(HEAD)
        began = time.monotonic()
        assert received(client) == b""
        assert time.monotonic() - began < HEADER + SLACK


def posting(server: LiveServer, length: int, path: str = "/api/1/files/children/") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {server.token}\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize("start", [b"", b'{"limit":'])
def test_a_body_that_stops(server: LiveServer, start: bytes) -> None:
    with connected(server) as client:
        client.sendall(posting(server, 1000) + start)
        began = time.monotonic()
        assert received(client) == b""
        assert BODY * 0.9 < time.monotonic() - began < BODY + SLACK


def test_a_body_that_trickles(server: LiveServer) -> None:
    with connected(server) as client:
        client.sendall(posting(server, 10_000))
        assert drip(client, b" " * 10_000, 0.05) < 2 * BODY + SLACK


def test_a_chunked_body_that_trickles(server: LiveServer) -> None:
    with connected(server) as client:
        head = posting(server, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        client.sendall(head)
        assert drip(client, b"1\r\n \r\n" * 1000, 0.02) < 2 * BODY + SLACK


def test_a_slow_body_above_the_rate_arrives(server: LiveServer) -> None:
    body = b"{" + b" " * 998 + b"}"
    with connected(server) as client:
        client.sendall(posting(server, len(body)))
        end = time.monotonic() + 2.5 * BODY
        for at in range(0, len(body), 20):
            client.sendall(body[at : at + 20])
            time.sleep(max(0.0, end - time.monotonic()) / (len(body) / 20 - at / 20))
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() > end - 0.1


def test_a_refused_body_that_trickles_on(server: LiveServer) -> None:
    """The answer is out before the body is in; what is left of it must not keep the connection."""
    with connected(server) as client:
        client.sendall(posting(server, 10**9, "/nowhere/"))
        assert client.recv(65536).startswith(b"HTTP/1.1 404 ")
        assert drip(client, b" " * 10_000, 0.05) < 2 * BODY + SLACK


@pytest.fixture(scope="module")
def large(server: LiveServer) -> int:
    files = {"json": (None, '{"name": "large"}'), "file": ("large", bytes(64 * 1024 * 1024))}
    headers = {"Authorization": f"Token {server.token}"}
    answer = requests.post(
        f"{server.endpoint_url}/api/1/files/upload/", files=files, headers=headers, timeout=60
    )
    return int(answer.json()["id"])


def downloading(server: LiveServer, number: int) -> bytes:
    head = f"GET /api/1/files/download/?id={number} HTTP/1.1\r\nHost: localhost\r\n"
    return f"{head}Authorization: Token {server.token}\r\n\r\n".encode()


def test_an_answer_that_is_not_taken(server: LiveServer, large: int) -> None:
    server.reset()
    with connected(server) as client:
        client.sendall(downloading(server, large))
        client.recv(1000)
        began = time.monotonic()
        # Nothing is read any more, so only the server's own record tells when it gave up.
        while not server.requests:
            assert time.monotonic() - began < WRITE + SLACK
        assert server.requests[0].bytes_out < 64 * 1024 * 1024
        assert len(received(client)) < 64 * 1024 * 1024


def test_a_rest_of_an_answer_that_is_not_taken(server: LiveServer, large: int) -> None:
    """The application is done with an answer when its last piece is in a buffer, the connection is not."""
    with connected(server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wanted = downloading(server, large).replace(b"\r\n\r\n", b"\r\nRange: bytes=0-1000000\r\n\r\n")
        for _ in range(8):
            client.sendall(wanted)
        time.sleep(WRITE + SLACK / 2)  # the client's part in this: it does nothing for so long
        assert len(received(client)) < 8_000_000


def test_a_slow_reader_is_waited_for(server: LiveServer, large: int) -> None:
    with connected(server) as client:
        client.sendall(downloading(server, large))
        end = time.monotonic() + 2 * WRITE
        count = 0
        while time.monotonic() < end:
            count += len(client.recv(100_000))
            time.sleep(WRITE / 20)
        while count < 64 * 1024 * 1024:
            piece = client.recv(1 << 20)
            assert piece, f"ended after {count} bytes"
            count += len(piece)


@pytest.mark.parametrize(
    "head",
    [
        HEAD + b"X-Long: " + b"x" * 10_000 + b"\r\n\r\n",
        HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(1000)) + b"\r\n",
        b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
        HEAD + b"X-Endless: " + b"x" * 2_000_000,
        b"GET /" + b"x" * 2_000_000,
    ],
    ids=["one long header", "many headers", "long target", "endless header", "endless target"],
)
def test_heads_that_are_too_long(server: LiveServer, head: bytes) -> None:
    with connected(server) as client:
        try:
            client.sendall(head)
        except ConnectionError:
            return  # ended while it was being sent
        answer = received(client)
    assert answer == b"" or answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize(
    "head",
    [
        b"nonsense\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03" + b"\x00" * 50,
        b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n",
        HEAD + b"Content-Length: -1\r\n\r\n",
        HEAD + b"Content-Length: 1\r\nContent-Length: 2\r\n\r\n",
        HEAD + b"Content-Length: 5\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        HEAD + b"Bad Name: x\r\n\r\n",
        b"CONNECT a:1 HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server: LiveServer, head: bytes) -> None:
    with connected(server) as client:
        client.sendall(head)
        answer = received(client)
    assert answer.startswith(b"HTTP/1.1 4")
    assert requests.get(f"{server.endpoint_url}/health", timeout=10).status_code == 200


def test_a_client_that_ends_its_side_gets_its_answer(server: LiveServer) -> None:
    with connected(server) as client:
        client.sendall(HEAD + b"\r\n")
        client.shutdown(socket.SHUT_WR)
        assert received(client).endswith(b'{"status":"ok"}')


def test_expect_continue(server: LiveServer) -> None:
    with connected(server) as client:
        client.sendall(posting(server, 2).replace(b"\r\n\r\n", b"\r\nExpect: 100-continue\r\n\r\n"))
        assert client.recv(65536) == b"HTTP/1.1 100 Continue\r\n\r\n"
        client.sendall(b"{}")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_an_upgrade_is_passed_over(server: LiveServer) -> None:
    with connected(server) as client:
        client.sendall(HEAD + b"Connection: Upgrade\r\nUpgrade: websocket\r\n\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")


def test_many_stalled_clients_hold_nobody_up(server: LiveServer) -> None:
    parts = urlsplit(server.endpoint_url)
    starts = [b"", HEAD, posting(server, 1000) + b"{"]
    stalled = []
    for number in range(rounds(120, 500)):
        client = socket.create_connection((parts.hostname, parts.port), timeout=10)
        client.sendall(starts[number % 3])
        stalled.append(client)
    began = time.monotonic()
    assert requests.get(f"{server.endpoint_url}/health", timeout=5).status_code == 200
    for client in stalled:
        with client:
            assert received(client) == b""
    assert time.monotonic() - began < BODY + SLACK
