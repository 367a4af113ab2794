from __future__ import annotations

import socket
import time
from contextlib import ExitStack, contextmanager, suppress
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from rinofs.server.web.connections import MOST_PIPELINED
from rinofs.testing import LiveServer, live_server
from tests.campaign import rounds
from tests.server.serving import is_held
from tests.waiting import PATIENCE, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.server.settings import ServerSettings

# Short, so that the tests are; what they show does not depend on how long they are. That connections end is
# seen from their ends, and that none ends too early from a clock: how late, a busy machine decides.
HEADER, IDLE, BODY, WRITE = 0.3, 0.5, 0.8, 2.0
LONG = 6.0  # more than a busy machine stops for
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


@pytest.fixture(scope="module")
def patient() -> Iterator[LiveServer]:
    """A server that waits longer for slow clients."""

    def settings(settings: ServerSettings) -> ServerSettings:
        return replace(settings, body_timeout=LONG, body_min_rate=100, write_timeout=LONG)

    with live_server(configure=settings) as server:
        yield server


@contextmanager
def connected(server: LiveServer) -> Iterator[socket.socket]:
    parts = urlsplit(server.endpoint_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as client:
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


def drip(client: socket.socket, data: bytes, pause: float) -> None:
    """Send a byte at a time until the server has ended the connection."""
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


@pytest.mark.parametrize(
    "start",
    [b"", b"G", b"\r\n\r\n", HEAD, HEAD + b"X-Long: ", b"POST / HTTP/1.1\r\n"],
    ids=["silent", "method", "newlines", "half a head", "half a header", "request line"],
)
def test_a_request_that_never_comes(server: LiveServer, start: bytes) -> None:
    began = time.monotonic()
    with connected(server) as client:
        client.sendall(start)
        assert received(client) == b""
    assert time.monotonic() - began > HEADER * 0.9


def test_a_head_that_comes_byte_by_byte(server: LiveServer) -> None:
    with connected(server) as client:
        drip(client, HEAD + b"X-Long: " + b"x" * 1000, 0.05)


def test_newlines_do_not_keep_a_connection(server: LiveServer) -> None:
    with connected(server) as client:
        drip(client, b"\r\n" * 1000, 0.05)


def test_a_second_request_that_never_comes(server: LiveServer) -> None:
    began = time.monotonic()
    with connected(server) as client:
        client.sendall(HEAD + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert received(client) == b""
    assert time.monotonic() - began > IDLE * 0.9


def test_a_second_head_that_stops(server: LiveServer) -> None:
    with connected(server) as client:
        client.sendall(HEAD + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        client.sendall(HEAD)
        assert received(client) == b""


def posting(server: LiveServer, length: int, path: str = "/api/1/files/children/") -> bytes:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {server.token}\r\n"
    return f"{head}Content-Length: {length}\r\n\r\n".encode()


@pytest.mark.parametrize("start", [b"", b'{"limit":'])
def test_a_body_that_stops(server: LiveServer, start: bytes) -> None:
    began = time.monotonic()
    with connected(server) as client:
        client.sendall(posting(server, 1000) + start)
        assert received(client) == b""
    assert time.monotonic() - began > BODY * 0.9


def test_a_body_that_trickles(server: LiveServer) -> None:
    with connected(server) as client:
        client.sendall(posting(server, 10_000))
        drip(client, b" " * 10_000, 0.05)


def test_a_chunked_body_that_trickles(server: LiveServer) -> None:
    with connected(server) as client:
        head = posting(server, 0).replace(b"Content-Length: 0", b"Transfer-Encoding: chunked")
        client.sendall(head)
        drip(client, b"1\r\n \r\n" * 1000, 0.02)


def test_a_slow_body_above_the_rate_arrives(patient: LiveServer) -> None:
    body = b"{" + b" " * 99_998 + b"}"
    with connected(patient) as client:
        client.sendall(posting(patient, len(body)))
        end = time.monotonic() + 1.2 * LONG
        for at in range(0, len(body), 2000):
            client.sendall(body[at : at + 2000])
            time.sleep(max(0.0, end - time.monotonic()) / (len(body) / 2000 - at / 2000))
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        assert time.monotonic() > end - 0.1


def test_a_refused_body_that_trickles_on(server: LiveServer) -> None:
    """The answer is out before the body is in; what is left of it must not keep the connection."""
    with connected(server) as client:
        client.sendall(posting(server, 10**9, "/nowhere/"))
        assert client.recv(65536).startswith(b"HTTP/1.1 404 ")
        drip(client, b" " * 10_000, 0.05)


@pytest.fixture(scope="module")
def large(server: LiveServer) -> int:
    return uploaded(server)


def uploaded(server: LiveServer) -> int:
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
        # Nothing is read any more, so only the server's own record tells when it gave up.
        wait_until(lambda: bool(server.requests))
        assert server.requests[0].bytes_out < 64 * 1024 * 1024
        assert len(received(client)) < 64 * 1024 * 1024


def test_a_rest_of_an_answer_that_is_not_taken(server: LiveServer, large: int) -> None:
    """The application is done with an answer when its last piece is in a buffer, the connection is not."""
    with connected(server) as client:
        client.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 4096)
        wanted = downloading(server, large).replace(b"\r\n\r\n", b"\r\nRange: bytes=0-1000000\r\n\r\n")
        for _ in range(8):
            client.sendall(wanted)
        # The client reads nothing, so only the server's end of the connection shows that it was given up.
        wait_until(lambda: not is_held(client))
        assert len(received(client)) < 8_000_000


def test_a_slow_reader_is_waited_for(patient: LiveServer) -> None:
    large = uploaded(patient)
    with connected(patient) as client:
        client.sendall(downloading(patient, large))
        end = time.monotonic() + 1.2 * LONG
        count = 0
        while time.monotonic() < end:
            count += len(client.recv(100_000))
            time.sleep(0.1)
        while count < 64 * 1024 * 1024:
            piece = client.recv(1 << 20)
            assert piece, f"ended after {count} bytes"
            count += len(piece)


TOO_LONG = {
    "one long header": HEAD + b"X-Long: " + b"x" * 10_000 + b"\r\n\r\n",
    "one to upgrade": HEAD + b"Connection: Upgrade\r\nUpgrade: h2c\r\nX: " + b"x" * 10_000 + b"\r\n\r\n",
    "many headers": HEAD + b"".join(b"X-%d: y\r\n" % number for number in range(1000)) + b"\r\n",
    "many short headers": HEAD + b"a:\r\n" * 1001 + b"\r\n",
    "many short headers without an end": HEAD + b"a:\r\n" * 1002,
    "long headers without an end": HEAD + b"X-Long: " + b"x" * 10_000 + b"\r\n" + b"X: y\r\n",
    "long target": b"GET /" + b"x" * 10_000 + b" HTTP/1.1\r\nHost: localhost\r\n\r\n",
}


@pytest.mark.parametrize("head", TOO_LONG.values(), ids=TOO_LONG)
def test_heads_that_are_too_long_are_refused(server: LiveServer, head: bytes) -> None:
    with connected(server) as client:
        client.sendall(head)
        answer = received(client)
    assert answer.startswith(b"HTTP/1.1 431 ")


@pytest.mark.parametrize("start", [HEAD + b"X-Endless: ", b"GET /"], ids=["header", "target"])
def test_heads_without_an_end_are_cut_off(server: LiveServer, start: bytes) -> None:
    """What is still on its way then may reset the connection before the client has read the answer."""
    with connected(server) as client:
        sent = 0
        with pytest.raises(ConnectionError):  # noqa: PT012 (whichever piece it is that fails)
            client.sendall(start)
            while sent < 100_000_000:
                client.sendall(b"x" * 65_536)
                sent += 65_536
    assert sent < 50_000_000


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
        b"GET /\xff HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost HTTP/1.1\r\nHost: localhost\r\n\r\n",
        b"GET http://localhost[/ HTTP/1.1\r\nHost: localhost\r\nContent-Length: 1\r\n\r\n",
    ],
)
def test_what_is_no_http_is_refused(server: LiveServer, head: bytes) -> None:
    with connected(server) as client:
        client.sendall(head)
        answer = received(client)
    assert answer.startswith(b"HTTP/1.1 4")
    with connected(server) as client:
        client.sendall(HEAD + b"\r\n")
        assert client.recv(65536).startswith(b"HTTP/1.1 200 ")
        client.sendall(head)
        assert received(client).startswith(b"HTTP/1.1 4")
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


@contextmanager
def stalled(server: LiveServer) -> Iterator[list[socket.socket]]:
    starts = [b"", HEAD, posting(server, 1000) + b"{"]
    with ExitStack() as stack:
        clients = [stack.enter_context(connected(server)) for _ in range(rounds(30, 300))]
        for number, client in enumerate(clients):
            client.sendall(starts[number % 3])
        yield clients


def test_many_stalled_clients_hold_nobody_up() -> None:
    def unhurried(settings: ServerSettings) -> ServerSettings:
        return replace(settings, header_timeout=600.0, body_timeout=600.0)

    with live_server(configure=unhurried) as server, stalled(server) as clients:
        health = requests.get(f"{server.endpoint_url}/health", timeout=PATIENCE)
        assert health.status_code == 200
        assert all(is_held(client) for client in clients)


def test_many_stalled_clients_are_all_ended(server: LiveServer) -> None:
    with stalled(server) as clients:
        assert {received(client) for client in clients} == {b""}


ENDLESS = {
    "trailers": (b"2\r\n{}\r\n0\r\n", b"x-trailer: value\r\n" * 4000),
    "a trailer": (b"2\r\n{}\r\n0\r\nx-trailer: ", b"x" * 64_000),
    "an extension of a chunk": (b"2;extension=", b"x" * 64_000),
    "trailers of no body": (b"0\r\n", b"x-trailer: value\r\n" * 4000),
}
MOST_TAKEN = 20_000_000  # by the buffers of the system, before it is known that nobody reads


@pytest.mark.parametrize("name", ENDLESS)
@pytest.mark.parametrize("path", ["/api/1/files/children/", "/o/token/"])
def test_what_comes_beside_a_body_is_bounded(patient: LiveServer, name: str, path: str) -> None:
    head = f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {patient.token}\r\n"
    begins, goes_on = ENDLESS[name]
    taken = 0
    with connected(patient) as client, suppress(ConnectionError):
        client.sendall(head.encode() + b"Transfer-Encoding: chunked\r\n\r\n" + begins)
        while taken < MOST_TAKEN:
            client.sendall(goes_on)
            taken += len(goes_on)
    assert taken < MOST_TAKEN


def test_requests_that_are_sent_ahead_are_bounded(patient: LiveServer) -> None:
    request = HEAD + b"\r\n"
    with connected(patient) as client:
        client.sendall(request * 3)
        answers = b""
        while answers.count(b"HTTP/1.1 200 ") < 3:
            answers += client.recv(65536)
        with suppress(ConnectionError):
            client.sendall(request * 5000)
        assert 1 <= received(client).count(b"HTTP/1.1 200 ") <= 2 * MOST_PIPELINED
