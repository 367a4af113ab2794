from __future__ import annotations

import socket
from dataclasses import replace
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest

from rinofs.testing import live_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture(scope="module")
def url() -> Iterator[str]:
    names = ("Lab.example.org", "other.example.org:8443", "192.0.2.7", "2001:db8::1")
    with live_server(configure=lambda settings: replace(settings, allowed_hosts=names)) as server:
        yield server.endpoint_url


def status_of(url: str, *hosts: str, target: str = "/oauth/style.css") -> int:
    lines = [f"GET {target} HTTP/1.1", *(f"Host: {host}" for host in hosts), "Connection: close", "", ""]
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        client.sendall("\r\n".join(lines).encode())
        answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert b"access-control" not in answer.lower()
    return int(answer.split()[1])


@pytest.mark.parametrize(
    "host",
    [
        "localhost",
        "LOCALHOST:8440",
        "localhost.",
        "127.0.0.1",
        "127.0.0.1:1",
        "127.3.2.1",
        "[::1]",
        "[::1]:8440",
        "lab.example.org",
        "LAB.example.org:443",
        "other.example.org",
        "other.example.org:8443",
        "other.example.org:1",
        "192.0.2.7:8440",
        "[2001:db8::1]:8440",
    ],
)
def test_own_names(url: str, host: str) -> None:
    assert status_of(url, host) == 200


@pytest.mark.parametrize(
    "host",
    [
        "evil.example",
        "localhost.evil.example",
        "evil.example:8440",
        "127.0.0.1.evil.example",
        "lab.example.org.evil.example",
        "other.lab.example.org",
        "0.0.0.0",
        "192.0.2.8",
        "[2001:db8::2]",
        "2130706433",
        "0x7f.1",
    ],
)
def test_foreign_names(url: str, host: str) -> None:
    assert status_of(url, host) == 421


@pytest.mark.parametrize(
    "hosts",
    [
        (),
        ("",),
        ("localhost", "localhost"),
        ("localhost", "evil.example"),
        ("localhost/x",),
        ("a/b?",),
        ("user@localhost",),
        ("localhost:x",),
        ("localhost:99999999",),
        ("localhost, evil.example",),
        ("[::1",),
    ],
)
def test_no_name_to_speak_of(url: str, hosts: tuple[str, ...]) -> None:
    assert status_of(url, *hosts) == 400


def test_the_name_in_the_target_does_not_count(url: str) -> None:
    assert status_of(url, "evil.example", target="http://localhost/oauth/style.css") == 421


@pytest.mark.parametrize("hosts", [("evil.example",), (), ("",), ("192.0.2.8:80",), ("a", "b")])
def test_whoever_checks_the_health_needs_no_name(url: str, hosts: tuple[str, ...]) -> None:
    assert status_of(url, *hosts, target="/health") == 200


def test_preflights_are_not_answered() -> None:
    with live_server() as server:
        parts = urlsplit(server.endpoint_url)
        with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
            client.sendall(
                b"OPTIONS /api/1/files/children/ HTTP/1.1\r\nHost: localhost\r\nOrigin: https://evil.example\r\n"
                b"Access-Control-Request-Method: POST\r\nConnection: close\r\n\r\n"
            )
            answer = b"".join(iter(lambda: client.recv(65536), b""))
    assert answer.startswith(b"HTTP/1.1 405 ")
    assert b"access-control" not in answer.lower()
