"""Requests that ask for another protocol, or whose body the server cannot decode, lose and add nothing."""

from __future__ import annotations

import json
import re
import shutil
import socket
import subprocess
from contextlib import contextmanager, suppress
from itertools import count
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from rinofs.testing import LiveServer, live_server
from tests.campaign import rounds
from tests.server.client import Api
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence
    from pathlib import Path

NUMBERS = count(1)
INNER = b"GET /api/1/inner/ HTTP/1.1\r\nHost: localhost\r\n\r\n"
"""A body that is a request; the answer to it would name its path."""

LAST = b"GET /health HTTP/1.1\r\nHost: localhost\r\nConnection: close\r\n\r\n"

UPGRADES = {
    "curl --http2": (
        "Connection: Upgrade, HTTP2-Settings\r\nUpgrade: h2c\r\nHTTP2-Settings: AAMAAABkAAQAoAAAAAIAAAAA\r\n"
    ),
    "websocket": "Connection: keep-alive, Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Key: eA==\r\n",
    "unknown": "upgrade: anything/1\r\nCONNECTION: UPGRADE\r\n",
    "several": "Upgrade: a, b\r\nConnection: x\r\nConnection: upgrade\r\nUpgrade: c\r\n",
    "one without a name": "Connection: Upgrade\r\nUpgrade:\r\n",
}


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as server:
        yield server


@contextmanager
def connected(server: LiveServer) -> Iterator[socket.socket]:
    parts = urlsplit(server.endpoint_url)
    with socket.create_connection((parts.hostname, parts.port), timeout=PATIENCE) as client:
        client.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        yield client


def received(client: socket.socket) -> bytes:
    """Return all that comes until the server ends the connection."""
    data = bytearray()
    with suppress(ConnectionResetError):
        while piece := client.recv(65536):
            data += piece
    return bytes(data)


def answers(data: bytes) -> list[int]:
    return [int(status) for status in re.findall(rb"HTTP/1\.1 (\d{3}) ", data)]


def until_answered(client: socket.socket) -> bytes:
    """Return what comes until an answer is complete: a JSON document of known length."""
    data = b""
    while not (found := re.search(rb"content-length: (\d+)\r\n(?:.+\r\n)*\r\n", data)) or (
        len(data) < found.end() + int(found.group(1))
    ):
        piece = client.recv(65536)
        assert piece, data
        data += piece
    return data


def uploading(server: LiveServer, name: str, more: str, body: bytes, *, chunked: bool = False) -> bytes:
    framing = "Transfer-Encoding: chunked" if chunked else f"Content-Length: {len(body)}"
    head = (
        f"POST /api/1/files/upload_binary/ HTTP/1.1\r\nHost: localhost\r\n{more}"
        f"Authorization: Token {server.token}\r\n"
        f"rinocloud-api-payload: {json.dumps({'name': name})}\r\n{framing}\r\n\r\n"
    )
    if not chunked:
        return head.encode() + body
    half = len(body) // 2
    pieces = [*filter(None, (body[:half], body[half:])), b""]
    return head.encode() + b"".join(b"%x\r\n%b\r\n" % (len(piece), piece) for piece in pieces)


def send_cut(client: socket.socket, data: bytes, cuts: Sequence[int]) -> None:
    """Send data in packets; without waiting between them, the server may still see some of them joined."""
    begin = 0
    for end in [*sorted(cuts), len(data)]:
        client.sendall(data[begin:end])
        begin = end


def stored(server: LiveServer, name: str) -> bytes:
    api = Api(server.endpoint_url, server.token)
    (found,) = api.ok("files/query", {"query": {"name": name}})["result"]
    return api.content(found["id"])


@pytest.mark.parametrize("more", UPGRADES.values(), ids=UPGRADES)
@pytest.mark.parametrize("chunked", [False, True], ids=["length", "chunked"])
@pytest.mark.parametrize("apart", [False, True], ids=["together", "apart"])
def test_a_request_to_upgrade_keeps_its_body(
    server: LiveServer, more: str, chunked: bool, apart: bool
) -> None:
    name = f"upgraded {next(NUMBERS)}"
    request = uploading(server, name, more, INNER * 20, chunked=chunked)
    head, _, body = request.partition(b"\r\n\r\n")
    with connected(server) as client:
        if apart:
            # The answer to a first request shows that the server has read everything before it.
            client.sendall(LAST.replace(b"Connection: close\r\n", b"") + head + b"\r\n\r\n")
            data = until_answered(client)
            client.sendall(body + LAST)
        else:
            data = b""
            client.sendall(LAST.replace(b"Connection: close\r\n", b"") + request + LAST)
        data += received(client)
    assert answers(data) == [200, 201, 200]
    assert b"inner" not in data
    assert stored(server, name) == INNER * 20


@settings(deadline=None, max_examples=rounds(25, 500))
@given(
    more=st.sampled_from(sorted(UPGRADES.values())),
    chunked=st.booleans(),
    body=st.sampled_from([b"", b"x", INNER, INNER * 1000]),
    again=st.integers(0, 2),
    cuts=st.lists(st.integers(0, 1500), max_size=6),
)
def test_packets_may_end_anywhere(
    server: LiveServer, more: str, chunked: bool, body: bytes, again: int, cuts: list[int]
) -> None:
    names = [f"cut {next(NUMBERS)}" for _ in range(1 + again)]
    requests = [uploading(server, name, more, body, chunked=chunked) for name in names]
    with connected(server) as client:
        send_cut(client, b"".join(requests) + LAST, cuts)
        data = received(client)
    assert answers(data) == [201] * len(names) + [200]
    assert all(stored(server, name) == body for name in names)


@pytest.mark.parametrize("more", UPGRADES.values(), ids=UPGRADES)
def test_what_is_sent_after_a_request_to_upgrade_is_answered(server: LiveServer, more: str) -> None:
    head = f"GET /health HTTP/1.1\r\nHost: localhost\r\n{more}\r\n".encode()
    with connected(server) as client:
        client.sendall(head + LAST)
        assert answers(received(client)) == [200, 200]
    with connected(server) as client:
        client.sendall(head)
        data = until_answered(client)
        client.sendall(head + LAST)
        assert answers(data + received(client)) == [200, 200, 200]


@pytest.mark.parametrize("version", ["1.0", "1.1"])
def test_a_request_to_upgrade_and_close_is_the_last(server: LiveServer, version: str) -> None:
    name = f"last {next(NUMBERS)}"
    request = uploading(server, name, "Connection: close, Upgrade\r\nUpgrade: h2c\r\n", INNER)
    with connected(server) as client:
        client.sendall(request.replace(b"HTTP/1.1", f"HTTP/{version}".encode(), 1))
        data = received(client)
    assert answers(data) == [201]
    assert stored(server, name) == INNER


@pytest.mark.skipif(shutil.which("curl") is None, reason="curl is missing")
def test_curl_http2_uploads(server: LiveServer, tmp_path: Path) -> None:
    if b"HTTP2" not in subprocess.run(["curl", "--version"], capture_output=True, check=True).stdout:
        pytest.skip("curl is built without HTTP/2")
    file = tmp_path / "f.bin"
    file.write_bytes(INNER * 5000)
    for options in ([], ["-H", "Transfer-Encoding: chunked"]):
        name = f"curl {next(NUMBERS)}"
        headers = [f"Authorization: Token {server.token}", f'rinocloud-api-payload: {{"name": "{name}"}}']
        command = ["curl", "-sS", "--noproxy", "*", "--http2", "--data-binary", f"@{file}", *options]
        for header in headers:
            command += ["-H", header]
        command.append(f"{server.endpoint_url}/api/1/files/upload_binary/")
        done = subprocess.run(command, capture_output=True, check=True)
        assert json.loads(done.stdout)["size"] == file.stat().st_size
        assert stored(server, name) == file.read_bytes()


CONNECTS = {
    "alone": b"\r\n",
    "length": b"Content-Length: %d\r\n\r\n" % len(INNER),
    "chunked": b"Transfer-Encoding: chunked\r\n\r\n",
    "upgrade": b"Connection: Upgrade\r\nUpgrade: h2c\r\nContent-Length: %d\r\n\r\n" % len(INNER),
}


@pytest.mark.parametrize("rest", CONNECTS.values(), ids=CONNECTS)
@pytest.mark.parametrize("target", [b"localhost:80", b"/x"])
def test_tunnels_are_refused(server: LiveServer, target: bytes, rest: bytes) -> None:
    """What follows may be anything: the server ends the connection and takes nothing for a request."""
    with connected(server) as client, suppress(ConnectionError):
        client.sendall(b"CONNECT " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + rest + INNER)
        data = received(client)
        assert answers(data) == [501]
        assert b"CONNECT" in data
    with connected(server) as client, suppress(ConnectionError):
        client.sendall(b"CONNECT " + target + b" HTTP/1.1\r\nHost: localhost\r\n" + rest)
        data = until_answered(client)
        client.sendall(INNER)
        assert answers(data + received(client)) == [501]


CODINGS = {
    "gzip, chunked": b"Transfer-Encoding: gzip, chunked",
    "in two headers": b"Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked",
    "gzip": b"Transfer-Encoding: gzip",
    "identity": b"Transfer-Encoding: identity",
    "parameter": b"Transfer-Encoding: chunked;a=b",
    "alike": b"Transfer-Encoding: xchunked",
}


@pytest.mark.parametrize("coding", CODINGS.values(), ids=CODINGS)
@pytest.mark.parametrize("more", ["", UPGRADES["curl --http2"]], ids=["plain", "upgrade"])
def test_codings_that_the_server_does_not_know_are_refused(
    server: LiveServer, coding: bytes, more: str
) -> None:
    name = f"coded {next(NUMBERS)}"
    request = uploading(server, name, more, INNER, chunked=True)
    with connected(server) as client:
        client.sendall(request.replace(b"Transfer-Encoding: chunked", coding))
        data = received(client)
    assert answers(data) == [501]
    assert b"Transfer-Encoding" in data
    assert Api(server.endpoint_url, server.token).ok("files/query", {"query": {"name": name}})["result"] == []


@pytest.mark.parametrize("coding", [b"Chunked", b" ,chunked", b"chunked "])
def test_chunks_are_known_however_they_are_written(server: LiveServer, coding: bytes) -> None:
    name = f"chunked {next(NUMBERS)}"
    request = uploading(server, name, "", INNER, chunked=True)
    with connected(server) as client:
        client.sendall(request.replace(b"coding: chunked", b"coding: " + coding) + LAST)
        assert answers(received(client)) == [201, 200]
    assert stored(server, name) == INNER


@pytest.mark.parametrize(
    "bad", [b"nonsense\r\n\r\n", b"CONNECT a:1 HTTP/1.1\r\n\r\n", INNER.replace(b"Host", b"B d")]
)
def test_a_bad_request_does_not_take_the_answer_of_the_one_before(server: LiveServer, bad: bytes) -> None:
    name = f"first {next(NUMBERS)}"
    with connected(server) as client:
        client.sendall(uploading(server, name, "", INNER) + bad)
        assert answers(received(client)) == [201]
    assert stored(server, name) == INNER


BAD_CHUNK = b"Transfer-Encoding: chunked\r\n\r\nnonsense\r\n" + INNER


def test_a_bad_body_that_is_answered_already_gets_no_second_answer(server: LiveServer) -> None:
    with connected(server) as client:
        head, _, rest = BAD_CHUNK.partition(b"nonsense")
        client.sendall(b"POST /nowhere/ HTTP/1.1\r\nHost: localhost\r\n" + head)
        data = until_answered(client)
        client.sendall(b"nonsense" + rest)
        assert answers(data + received(client)) == [404]


def test_a_bad_body_does_not_take_the_answer_of_the_request_before(server: LiveServer) -> None:
    with connected(server) as client:
        client.sendall(uploading(server, f"first {next(NUMBERS)}", "", INNER))
        client.sendall(b"POST /nowhere/ HTTP/1.1\r\nHost: localhost\r\n" + BAD_CHUNK)
        # The first may have been answered before the second arrived, which is refused then.
        assert answers(received(client)) in ([], [201], [201, 400])
