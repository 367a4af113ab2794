"""The ASGI extension by which the kernel sends files."""

from __future__ import annotations

import ctypes
import http.client
import os
import socket
import tempfile
from contextlib import ExitStack, contextmanager
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
from anyio import to_thread
from starlette.responses import PlainTextResponse, Response
from starlette.routing import Route

from rinofs.server.web.connections import EXTENSION
from tests.server.serving import is_held, served
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from starlette.requests import Request
    from starlette.types import Receive, Scope, Send

CONTENT = os.urandom(5 * 1024 * 1024 + 17)
LARGE = 64 * 1024 * 1024


class FromFile(Response):
    """A span of a file, after and before what the answer also has."""

    def __init__(self, file: int, offset: int, count: int, announced: int | None = None) -> None:
        length = count + 8 if announced is None else announced
        super().__init__(headers={"content-length": str(length)})
        self._span = {"file": file, "offset": offset, "count": count}

    async def __call__(self, scope: Scope, receive: Receive, send: Send) -> None:
        await send({"type": "http.response.start", "status": 200, "headers": self.raw_headers})
        if EXTENSION not in scope.get("extensions", {}):
            await send({"type": "http.response.body", "body": b"", "more_body": False})
            return
        await send({"type": "http.response.body", "body": b"head", "more_body": True})
        await send({"type": EXTENSION, **self._span, "more_body": True})
        await send({"type": "http.response.body", "body": b"tail", "more_body": False})


@pytest.fixture(scope="module")
def folder() -> Iterator[Path]:
    # Not in /tmp, which may be in memory, where other rules hold for files.
    with tempfile.TemporaryDirectory(dir="/var/tmp") as made:
        yield Path(made)


@pytest.fixture(scope="module")
def url(folder: Path) -> Iterator[str]:
    (folder / "content").write_bytes(CONTENT)
    with (folder / "large").open("wb") as file:
        file.truncate(LARGE)
    memory = ctypes.create_string_buffer(CONTENT, len(CONTENT))
    files = {name: (folder / name).open("rb") for name in ("content", "large")}

    async def content(request: Request) -> Response:
        offset, count = (int(request.query_params[name]) for name in ("offset", "count"))
        announced = request.query_params.get("announced")
        file = files[request.path_params["name"]].fileno()
        return FromFile(file, offset, count, None if announced is None else int(announced))

    async def from_memory(_request: Request) -> Response:
        # The kernel cannot send from here, only copy.
        return FromFile(process_memory.fileno(), ctypes.addressof(memory), len(CONTENT))

    async def turn(_request: Request) -> Response:
        return PlainTextResponse(await to_thread.run_sync(lambda: "done"))

    routes = [
        Route("/memory", from_memory),
        Route("/turn", turn),
        Route("/{name}", content, methods=["GET", "HEAD"]),
    ]
    with Path("/proc/self/mem").open("rb", buffering=0) as process_memory, served(routes, folder) as url:
        yield url
    for file in files.values():
        file.close()


@contextmanager
def connected(url: str) -> Iterator[http.client.HTTPConnection]:
    parts = urlsplit(url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    try:
        yield connection
    finally:
        connection.close()


def get(connection: http.client.HTTPConnection, target: str) -> bytes:
    connection.request("GET", target)
    return connection.getresponse().read()


def target(offset: int, count: int, name: str = "content") -> str:
    return f"/{name}?offset={offset}&count={count}"


@pytest.mark.parametrize(
    ("offset", "count"), [(0, len(CONTENT)), (1, len(CONTENT) - 1), (4095, 4098), (17, 1), (5, 0)]
)
def test_spans_come_between_what_else_is_sent(url: str, offset: int, count: int) -> None:
    with connected(url) as connection:
        for _ in range(3):
            assert get(connection, target(offset, count)) == (
                b"head" + CONTENT[offset : offset + count] + b"tail"
            )


def test_files_that_the_kernel_cannot_send_are_copied(url: str) -> None:
    with connected(url) as connection:
        assert get(connection, "/memory") == b"head" + CONTENT + b"tail"


def test_pipelined_answers_come_in_order(url: str) -> None:
    parts = urlsplit(url)
    spans = [(0, len(CONTENT)), (100, 3), (7, len(CONTENT) - 7)]
    asked = "".join(f"GET {target(*span)} HTTP/1.1\r\nHost: localhost\r\n\r\n" for span in spans)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        client.sendall(asked.encode())
        client.shutdown(socket.SHUT_WR)
        came = client.makefile("rb").read()
    for offset, count in spans:
        head, _, came = came.partition(b"\r\n\r\n")
        assert head.startswith(b"HTTP/1.1 200 ")
        assert came[: count + 8] == b"head" + CONTENT[offset : offset + count] + b"tail"
        came = came[count + 8 :]
    assert not came


def test_nothing_comes_amid_an_answer(url: str) -> None:
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        client.sendall(f"GET {target(0, LARGE, 'large')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode())
        assert client.recv(10) == b"HTTP/1.1 2"
        client.sendall(b"no request\r\n\r\n")
        _, _, came = client.makefile("rb").read().partition(b"\r\n\r\n")
    assert came == b"head" + bytes(LARGE) + b"tail"


def test_answers_to_head_have_no_file(url: str) -> None:
    with connected(url) as connection:
        connection.request("HEAD", target(0, 100))
        answer = connection.getresponse()
        assert (answer.getheader("content-length"), answer.read()) == ("108", b"")
        assert get(connection, target(0, 3)) == b"head" + CONTENT[:3] + b"tail"


def test_a_file_that_ends_too_early_ends_the_connection(url: str) -> None:
    with connected(url) as connection, pytest.raises(http.client.IncompleteRead) as caught:
        get(connection, target(10, len(CONTENT)))
    assert caught.value.partial == b"head" + CONTENT[10:]


def test_more_than_was_announced_is_not_sent(url: str) -> None:
    with connected(url) as connection, pytest.raises(http.client.IncompleteRead) as caught:
        get(connection, f"{target(0, 200)}&announced=100")
    assert caught.value.partial == b"head"


def test_clients_that_take_nothing_hold_no_thread(url: str) -> None:
    parts = urlsplit(url)
    asked = f"GET {target(0, LARGE, 'large')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with ExitStack() as stack:
        for _ in range(60):  # there are 40 threads
            client = stack.enter_context(socket.create_connection((parts.hostname, parts.port), timeout=10))
            client.sendall(asked)
            assert client.recv(10) == b"HTTP/1.1 2"
        connection = stack.enter_context(connected(url))
        assert get(connection, "/turn") == b"done"


def test_a_client_that_leaves_is_noticed(url: str) -> None:
    parts = urlsplit(url)
    asked = f"GET {target(0, LARGE, 'large')} HTTP/1.1\r\nHost: localhost\r\n\r\n".encode()
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        client.sendall(asked)
        client.recv(10)
        client.shutdown(socket.SHUT_RDWR)
        wait_until(lambda: not is_held(client))


def test_a_connection_that_was_given_up_holds_nothing_with_requests_waiting(folder: Path, url: str) -> None:
    file = (folder / "large").open("rb")

    async def content(_request: Request) -> Response:
        return FromFile(file.fileno(), 0, LARGE)

    with file, served([Route("/", content)], folder, write_timeout=0.5) as other:
        parts = urlsplit(other)
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
            client.sendall(b"GET / HTTP/1.1\r\nHost: localhost\r\n\r\n" * 2)
            assert client.recv(10) == b"HTTP/1.1 2"
            wait_until(lambda: not is_held(client))
