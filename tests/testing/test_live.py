from __future__ import annotations

import http.client
import time
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from rinofs.testing import Fault, LiveServer, live_server

if TYPE_CHECKING:
    from collections.abc import Iterator


@pytest.fixture
def server() -> Iterator[LiveServer]:
    with live_server(token="the-token") as server:
        yield server


def upload(server: LiveServer, content: bytes = b"content") -> int:
    answer = requests.post(
        f"{server.endpoint_url}/api/1/files/upload/",
        files={"file": ("f", content)},
        headers=auth(server),
        timeout=10,
    )
    return int(answer.json()["id"])


def download(server: LiveServer, number: int) -> requests.Response:
    url = f"{server.endpoint_url}/api/1/files/download/?id={number}"
    return requests.get(url, headers=auth(server), timeout=10)


def auth(server: LiveServer) -> dict[str, str]:
    return {"Authorization": f"Token {server.token}"}


def test_requests_are_seen_before_their_answer_is_out(server: LiveServer) -> None:
    assert server.token == "the-token"
    for _ in range(50):
        server.reset()
        number = upload(server)
        answer = download(server, number)
        first, second = server.requests
        assert (first.method, first.path, first.status) == ("POST", "/api/1/files/upload/", 201)
        assert first.bytes_in > 7
        assert first.headers_in["authorization"] == "Token the-token"
        assert (second.method, second.path, second.query) == ("GET", "/api/1/files/download/", f"id={number}")
        assert (second.status, second.bytes_in, second.bytes_out) == (200, 0, len(answer.content))


def test_secrets_stay_out_of_what_is_shown(server: LiveServer) -> None:
    upload(server)
    assert "the-token" not in repr(server.requests)
    assert "the-token" not in repr(server)


def test_password_and_users(server: LiveServer) -> None:
    form = {
        "grant_type": "password",
        "client_id": "x",
        "username": server.username,
        "password": server.password,
    }
    granted = requests.post(f"{server.endpoint_url}/o/token/", data=form, timeout=10)
    assert granted.status_code == 200
    number = upload(server)
    server.token = server.add_user("other")
    assert download(server, number).status_code == 404


def test_made_up_answers(server: LiveServer) -> None:
    server.faults = lambda method, path: (
        Fault(status=503, headers={"Retry-After": "7"}, body=b"busy") if path.endswith("/upload/") else None
    )
    files = {"file": ("f", b"x" * 1_000_000)}
    answer = requests.post(
        f"{server.endpoint_url}/api/1/files/upload/", files=files, headers=auth(server), timeout=10
    )
    assert (answer.status_code, answer.text, answer.headers["Retry-After"]) == (503, "busy", "7")
    assert server.requests[-1].status == 503
    assert server.requests[-1].bytes_in > 1_000_000
    server.reset()
    assert upload(server) == 1  # nothing was carried out before


@pytest.mark.parametrize("size", [5000, 3_000_000])
@pytest.mark.parametrize("cut_after", [0, 1, 4999])
def test_cut_answers(server: LiveServer, size: int, cut_after: int) -> None:
    number = upload(server, b"x" * size)
    server.reset()
    server.faults = lambda _method, _path: Fault(cut_after=cut_after)
    parts = urlsplit(server.endpoint_url)
    assert parts.hostname
    connection = http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)
    connection.request("GET", f"/api/1/files/download/?id={number}", headers=auth(server))
    answer = connection.getresponse()
    assert answer.headers["Content-Length"] == str(size)
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    assert caught.value.partial == b"x" * cut_after
    assert server.requests[0].bytes_out == cut_after


def test_lost_answers(server: LiveServer) -> None:
    server.faults = lambda _method, _path: Fault(lose_answer=True)
    with pytest.raises(requests.ConnectionError):
        upload(server)
    assert [request.status for request in server.requests] == [0]
    server.faults = None
    assert download(server, 1).content == b"content"  # it was carried out all the same


def test_delays(server: LiveServer) -> None:
    number = upload(server)
    server.faults = lambda _method, _path: Fault(delay=0.3)
    began = time.monotonic()
    assert download(server, number).content == b"content"
    assert time.monotonic() - began >= 0.3


def test_servers_beside_each_other() -> None:
    with live_server() as first, live_server(extensions=False) as second:
        assert first.endpoint_url != second.endpoint_url
        assert first.token != second.token
        upload(first)
        assert (len(first.requests), len(second.requests)) == (1, 0)
    assert not first.data_dir.exists()
