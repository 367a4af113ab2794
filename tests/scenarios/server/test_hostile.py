"""Clients that send anything, and clients that mean harm: the server answers, and others hardly notice."""

# ruff: noqa: E501 (tables of what is sent)

from __future__ import annotations

import json
import os
import random
import socket
import statistics
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from contextlib import suppress
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import psutil
import pytest

from rinofs.server.api.rinocloud.routes import ENDPOINTS
from rinofs.testing import ServerProcess, server_process
from tests.campaign import rounds
from tests.forkserver import run_command
from tests.server.client import Api
from tests.server.packs import container, data, pack
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

MIB = 1024 * 1024
REQUESTS = rounds(1_000, 100_000)
SECONDS = float(rounds(3, 60))
ALLOWED = 100 * MIB


@pytest.fixture
def server(tmp_path: Any) -> Iterator[ServerProcess]:
    with server_process(tmp_path / "data") as server:
        yield server


def connect(url: str, number: int = 0) -> socket.socket:
    """Connect from one of many addresses of this machine, each of which has ports enough."""
    parts = urlsplit(url)
    here = f"127.0.{number // 250 % 250}.{number % 250 + 1}"
    where = parts.hostname or "", parts.port or 0
    return socket.create_connection(where, timeout=PATIENCE, source_address=(here, 0))


def request(path: str, body: bytes, token: str, length: int | None = None) -> bytes:
    head = (
        f"POST {path} HTTP/1.1\r\nHost: localhost\r\nAuthorization: Token {token}\r\n"
        f"Content-Type: application/json\r\nContent-Length: {length or len(body)}\r\n\r\n"
    )
    return head.encode() + body


# Anything

PATHS = [
    *(f"/api/1/{path}" for path, _, _ in ENDPOINTS if not path.startswith("users/")),
    *("/api/v1.0/datapacks", "/api/v1.0/datapacks/x", "/api/v1.0/user", "/api/v1.0/datapacks/x/content/a/b"),
    *("/o/token/", "/o/revoke_token/", "/oauth/token", "/oauth/authorize", "/oauth/revoke", "/health", "/"),
]
KEYS = ["id", "name", "parent", "path", "query", "limit", "offset", "metadata", "tags", "items", "paths", "files",
        "sort", "field", "chunk", "structure", "grant_type", "username", "size", "versions", "recursive", "$or", "*"]  # fmt: skip
ATOMS: list[Any] = [None, True, 0, -1, 1, 2**63, 1e308, "", "a", "a/b", "..", "\0", "\ud800", "é" * 300, "x" * 5000,
                    [], {}, "$gt", "repovizz:a", "*", '"', "(", "-1", "1"]  # fmt: skip


def anything(chance: random.Random, depth: int = 3) -> Any:
    kind = chance.random()
    if depth == 0 or kind < 0.5:
        return chance.choice(ATOMS)
    if kind < 0.75:
        return [anything(chance, depth - 1) for _ in range(chance.randrange(5))]
    return {chance.choice(KEYS): anything(chance, depth - 1) for _ in range(chance.randrange(5))}


def damaged(chance: random.Random, raw: bytes) -> bytes:
    raw = bytearray(raw)
    for _ in range(chance.randrange(1, 6)):
        at = chance.randrange(len(raw) + 1)
        what = chance.randrange(4)
        if what == 0:
            del raw[at : at + chance.randrange(20)]
        elif what == 1:
            raw[at:at] = os.urandom(chance.randrange(20))
        elif what == 2:
            raw[at:at] = raw[: chance.randrange(len(raw) + 1)]
        else:
            raw[at:at] = chance.choice([b"\r\n", b"\r\n\r\n", b"\0", b"--b", b"%", b": ", b"\\" * 60])
    return bytes(raw)


def a_body(chance: random.Random) -> tuple[str, bytes]:
    fields = {chance.choice(KEYS): anything(chance) for _ in range(chance.randrange(6))}
    text = json.dumps(fields).encode()
    kind = chance.randrange(4)
    if kind == 0:
        pairs = "&".join(f"{key}={quote(json.dumps(value))}" for key, value in fields.items())
        return "application/x-www-form-urlencoded", pairs.encode()
    if kind == 1:
        part = b'--b\r\nContent-Disposition: form-data; name="%b"\r\n\r\n%b\r\n'
        whole = part % (b"json", text) + part % (b'file"; filename="f', os.urandom(50)) + b"--b--\r\n"
        return "multipart/form-data; boundary=b", whole if kind else text
    return "application/json", text


def fuzzed(server: ServerProcess, chance: random.Random) -> bytes:
    kind, body = a_body(chance)
    if chance.random() < 0.3:
        body = damaged(chance, body)
    head = (
        f"{chance.choice(['POST', 'POST', 'POST', 'GET', 'DELETE', 'HEAD', 'PUT', 'OPTIONS'])} "
        f"{chance.choice(PATHS)}{chance.choice(['', '', '?id=1', '?a=%ff%00', '%2e%2e/'])} HTTP/1.1\r\n"
        f"Host: localhost\r\nAuthorization: {chance.choice(['Token', 'Bearer', ''])} {server.token}\r\n"
        f"Content-Type: {kind}\r\nContent-Length: {len(body)}\r\n"
    )
    for name in ("Range", "If-Match", "If-None-Match", "Idempotency-Key", "Rinocloud-API-Payload", "Cookie"):
        if chance.random() < 0.15:
            value = chance.choice(
                ["*", "bytes=0-1,5-", '"a"', '{"name":"a"}', "bytes=-0", "x" * 300, '"', "a=b;" * 50]
            )
            head += f"{name}: {value}\r\n"
    raw = head.encode("latin-1", "replace") + b"\r\n"
    if chance.random() < 0.1:
        raw = damaged(chance, raw)
    return raw + body


def status_of(connection: socket.socket) -> int:
    """Read an answer to its end, as the server closes the connection or says how long it is."""
    received = bytearray()
    with suppress(ConnectionError):
        while b"\r\n\r\n" not in received:
            piece = connection.recv(65536)
            if not piece:
                break
            received += piece
    return int(received[9:12]) if received.startswith(b"HTTP/1.1 ") else 0


def fuzz(server: ServerProcess, seed: int, count: int) -> list[tuple[int, bytes]]:
    chance = random.Random(seed)
    failures = []
    for number in range(count):
        raw = fuzzed(server, chance)
        with connect(server.endpoint_url, number) as connection:
            with suppress(ConnectionError):
                connection.sendall(raw)
                connection.shutdown(socket.SHUT_WR)
            status = status_of(connection)
        if status >= 500:
            failures.append((status, raw))
    return failures


@pytest.mark.soak
def test_anything_is_answered_and_leaves_nothing_behind(server: ServerProcess) -> None:
    process = psutil.Process(server.pid)
    fuzz(server, 1, 300)
    before = process.memory_info().rss
    with ThreadPoolExecutor(4) as threads:
        each = REQUESTS // 4
        failures = [
            one for found in threads.map(lambda seed: fuzz(server, seed, each), range(2, 6)) for one in found
        ]
    assert not failures, failures[:3]
    assert process.memory_info().rss - before < ALLOWED
    Api(server.endpoint_url, server.token).ok("files/children", {})


# Harm

CLIENTS = 60
_FIELDS = json.dumps({"query": {"$or": [{"values": number} for number in range(1, 91)]}}).encode()
_HUGE = json.dumps({"name": "x", "metadata": {f"key {number}": number for number in range(40_000)}}).encode()
_PACK = json.dumps(
    {"name": "p", "structure": pack("p", *[container("c", *[data("n", "a", text=5)] * 100)] * 100)}
).encode()
_LOGIN = b'{"grant_type": "password", "username": "rino", "password": "wrong password"}'

HARM: dict[str, Callable[[str], tuple[bytes, bool]]] = {
    # What is sent, and whether the answer is waited for.
    "guesses tokens": lambda _token: (request("/api/1/files/children/", b"{}", "guess"), True),
    "guesses passwords": lambda _token: (request("/o/token/", _LOGIN, ""), True),
    "sends ahead": lambda _token: (b"GET /health HTTP/1.1\r\nHost: localhost\r\n\r\n" * 20_000, False),
    "is silent": lambda _token: (b"", True),
    "stops in a head": lambda _token: (b"GET /health HTTP/1.1\r\nHost: loc", True),
    "does not read": lambda token: (request("/api/1/files/children/", b'{"limit": 1000}', token), False),
    "asks too much": lambda token: (request("/api/1/files/query/", _FIELDS, token), True),
    "abandons what it asks": lambda token: (request("/api/1/files/query/", _FIELDS, token), False),
    "sends huge documents": lambda token: (request("/api/1/files/create_object/", _HUGE, token), True),
    "sends deep documents": lambda token: (
        request("/api/1/files/query/", b'{"query":' + b"[" * 500_000, token),
        True,
    ),
    "sends flawed datapacks": lambda token: (request("/api/v1.0/datapacks", _PACK, token), True),
    "stops in a body": lambda token: (request("/api/1/files/update/", b"{", token, 100_000), True),
}


def attack(url: str, token: str) -> None:
    """Be many hostile clients until the process is killed."""

    def harm(number: int) -> None:
        raw, waits = list(HARM.values())[number % len(HARM)](token)
        kept = []
        while True:
            with suppress(OSError):
                connection = connect(url, number)
                connection.sendall(raw)
                if waits:
                    connection.settimeout(2)
                    connection.recv(65536)
                    connection.close()
                else:
                    kept.append(connection)
                    time.sleep(0.2)
                    if len(kept) > 5:
                        kept.pop(0).close()
            time.sleep(0.05)

    for number in range(CLIENTS):
        threading.Thread(target=harm, args=(number,), daemon=True).start()
    threading.Event().wait()


def honest(api: Api, name: str) -> list[float]:
    """List and upload; return how long each took."""
    began = time.monotonic()
    api.ok("files/children", {})
    listed = time.monotonic()
    answer = api.upload(b"x" * 100_000, name=name)
    assert answer.status_code == 201, answer.text
    return [listed - began, time.monotonic() - listed]


def medians(times: list[list[float]]) -> list[float]:
    return [statistics.median(each) for each in zip(*times, strict=True)]


@pytest.mark.soak
def test_hostile_clients_hold_nobody_up(server: ServerProcess, tmp_path: Any) -> None:
    api = Api(server.endpoint_url, server.token)
    added = run_command("admin", "user", "add", "hostile", "--data", str(tmp_path / "data"))
    token = json.loads(added.stdout)["token"]
    hostile = Api(server.endpoint_url, token)
    for number in range(5):
        hostile.ok("files/create_object", {"name": f"{number}", "metadata": {"values": [0] * 300_000}}, 201)
    alone = medians([honest(api, f"alone {number}") for number in range(20)])
    code = (
        f"from tests.scenarios.server.test_hostile import attack; attack({server.endpoint_url!r}, {token!r})"
    )
    times = []
    with subprocess.Popen([sys.executable, "-c", code]) as attackers:
        try:
            began = time.monotonic()
            while time.monotonic() - began < SECONDS or len(times) < 10:
                times.append(honest(api, f"amid {len(times)}"))
        finally:
            attackers.kill()
    slack = rounds(1, 0)  # the suite is run on busy machines, where a few requests say little
    for before, amid in zip(alone, medians(times), strict=True):
        assert amid <= 5 * before + slack, (alone, medians(times))
    assert api.ok("files/children", {})["count"] == 20 + len(times)
