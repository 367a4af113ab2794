"""What goes over the wire: headers, bodies, credentials, redirects, proxies, waits."""

from __future__ import annotations

import email.utils
import gc
import http.client
import json
import socket
import subprocess
import sys
import threading
import time
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING, Any

import psutil
import pytest
import requests
from requests.adapters import HTTPAdapter

from rinofs import errors
from rinofs.http.content.content import open_content
from rinofs.http.content.slices import read_content
from rinofs.http.session.session import HttpSession
from rinofs.http.session.shared import StaticAuth
from tests.http import faulty
from tests.http.conftest import TOKEN, MakeSession, content_of
from tests.http.faulty import DATA, ETAG, Request, faulty_server

if TYPE_CHECKING:
    from pathlib import Path

NOBODY = ("authorization", "x-requested-with", "cookie", "if-match", "idempotency-key")


def test_what_a_request_carries(session_to: MakeSession) -> None:
    with faulty_server() as server:
        session = session_to(server)
        session.request(
            "POST", "/a", json={"n": "ü"}, params={"q": "x y&z"}, headers={"X-One": "1"}, repeatable=True
        )
        session.request("POST", "b/", data={"user": "a b", "grant": "ü"}, repeatable=True)
        session.request("POST", "/c", repeatable=True)
    first, second, third = server.requests
    assert (first.method, first.target) == ("POST", "/a?q=x%20y%26z")
    assert json.loads(first.body) == {"n": "ü"}
    assert first.headers["content-type"] == "application/json"
    assert first.headers["authorization"] == f"Token {TOKEN}"
    assert first.headers["x-requested-with"] == "XMLHttpRequest"
    assert first.headers["accept-encoding"] == "identity"
    assert first.headers["x-one"] == "1"
    assert second.target == "/b/"
    assert second.body == b"user=a+b&grant=%C3%BC"
    assert (third.body, third.headers["content-length"]) == (b"", "0")
    assert server.connections == 1


def test_endpoint_with_a_path(session_to: MakeSession) -> None:
    with faulty_server() as server:
        session = HttpSession(server.url + "/lab/", StaticAuth("Token", TOKEN))
        assert session.request("GET", "/api/1/x/", repeatable=True).url == f"{server.url}/lab/api/1/x/"
    assert server.requests[0].target == "/lab/api/1/x/"


@pytest.mark.parametrize(
    "url",
    [
        "example.org",
        "ftp://example.org",
        "https://",
        "https://u:p@example.org",
        "https://e.org/?a=1",
        "http://[::1",
    ],
)
def test_endpoints_that_are_none(url: str) -> None:
    with pytest.raises(errors.InvalidOptionError):
        HttpSession(url, StaticAuth("Token", TOKEN))


def test_expected_statuses_are_answers(session_to: MakeSession) -> None:
    with faulty_server(faulty.status(404), faulty.status(404)) as server:
        session = session_to(server)
        answer = session.request("GET", "/a", repeatable=True, expect=(200, 404))
        assert (answer.status, answer.json()) == (404, {"error": "because"})
        with pytest.raises(errors.NotFoundError, match=r"No such file or folder.*because"):
            session.request("GET", "/a", repeatable=True)


def test_no_answer_at_all_names_the_host() -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        host = f"127.0.0.1:{listener.getsockname()[1]}"
    session = HttpSession(f"http://{host}", StaticAuth("Token", TOKEN), timeout=1)
    for repeatable in (True, False):
        with pytest.raises(errors.ConnectionFailedError, match=f"could not connect to {host}") as caught:
            session.request("POST", "/a", repeatable=repeatable, label="rino://x")
        assert type(caught.value) is errors.ConnectionFailedError
        assert caught.value.filename == "rino://x"


def test_a_write_is_sent_again_once_the_server_is_back(session_to: MakeSession) -> None:
    """Refused connections are met again for any method: nothing was sent."""
    with socket.create_server(("127.0.0.1", 0)) as listener:
        port = listener.getsockname()[1]
    session = HttpSession(f"http://127.0.0.1:{port}", StaticAuth("Token", TOKEN), timeout=30)

    def come_back() -> None:
        with socket.create_server(("127.0.0.1", port)) as again:
            connection, _ = again.accept()
            connection.recv(65536)
            connection.sendall(b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}")
            connection.close()

    thread = threading.Timer(0.2, come_back)
    thread.start()
    assert session.request("POST", "/a", repeatable=False).json() == {}
    thread.join()


@pytest.mark.parametrize("closes", [True, False], ids=["closed", "forgotten"])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_a_session_that_ends_holds_no_connection(closes: bool, method: str) -> None:
    with faulty_server() as server:
        port = int(server.url.rpartition(":")[2])
        session = HttpSession(server.url, StaticAuth("Token", TOKEN))
        for _ in range(2):
            session.request(method, "/a", repeatable=True)
        with open_content(session, content_of()) as stream:
            stream.read(10)
        read_content(session, content_of())
        assert held_connections(port)
        if closes:
            session.close()
            assert not held_connections(port)
            session.request(method, "/a", repeatable=True)  # it goes on with new ones
        del session, stream
        gc.collect()
        assert not held_connections(port)


def held_connections(port: int) -> list[Any]:
    """Return the ends of this process of its connections to a port."""
    found = psutil.Process().net_connections("tcp")
    return [each for each in found if each.raddr and each.raddr.port == port]


# Credentials


class _Renewing:
    def __init__(self) -> None:
        self.refused: list[str] = []

    def header(self) -> str:
        return f"Bearer generation-{len(self.refused)}"

    def renew(self, refused: str) -> bool:
        self.refused.append(refused)
        return True


@pytest.mark.parametrize("repeatable", [True, False])
def test_a_renewed_token_is_tried_once(repeatable: bool) -> None:
    auth = _Renewing()
    with faulty_server(faulty.status(401), faulty.normal, faulty.status(401), faulty.status(401)) as server:
        session = HttpSession(server.url, auth)
        assert session.request("POST", "/a", json={}, repeatable=repeatable).json() == {"ok": True}
        assert auth.refused == ["Bearer generation-0"]
        assert [r.headers["authorization"] for r in server.requests] == [
            "Bearer generation-0",
            "Bearer generation-1",
        ]
        with pytest.raises(errors.AuthenticationError, match="log in again"):
            session.request("POST", "/a", json={}, repeatable=repeatable)
    assert len(server.requests) == 4


def test_nobody_sends_no_header() -> None:
    class Nobody:
        def header(self) -> str:
            return ""

        def renew(self, refused: str) -> bool:
            return False

    with faulty_server() as server:
        HttpSession(server.url, Nobody()).request("GET", "/a", repeatable=True)
    assert "authorization" not in server.requests[0].headers


def test_netrc_is_not_asked(session_to: MakeSession, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    netrc = tmp_path / ".netrc"
    netrc.write_text("machine 127.0.0.1\nlogin someone\npassword else\n")
    netrc.chmod(0o600)
    monkeypatch.setenv("NETRC", str(netrc))
    monkeypatch.setenv("HOME", str(tmp_path))
    with faulty_server() as server:
        assert requests.utils.get_netrc_auth(server.url) == ("someone", "else")
        session_to(server).request("GET", "/a", repeatable=True)
    assert server.requests[0].headers["authorization"] == f"Token {TOKEN}"


# Redirects


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_redirect_within_the_origin_keeps_the_credentials(code: int, session_to: MakeSession) -> None:
    with faulty_server(faulty.redirect("/content?there", code)) as server:
        assert read_content(session_to(server), content_of()) == DATA
    assert server.requests[1].target == "/content?there"
    assert server.requests[1].headers["authorization"] == f"Token {TOKEN}"


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_another_origin_learns_nothing(code: int, session_to: MakeSession) -> None:
    with (
        faulty_server() as store,
        faulty_server(otherwise=faulty.redirect(f"{store.url}/content", code)) as server,
    ):
        session = session_to(server)
        assert read_content(session, content_of(), 5, 50) == DATA[5:50]
        session.stream("/content", headers={"Idempotency-Key": "k", "Cookie": "c"}).close()
    for request in store.requests:
        assert not set(NOBODY) & set(request.headers)
        assert TOKEN not in repr(request.headers)
    assert store.requests[0].headers["range"] == "bytes=5-49"


def test_the_way_back_gets_no_credentials_either(session_to: MakeSession) -> None:
    with faulty_server() as server, faulty_server() as other:
        server.script = [faulty.redirect(f"{other.url}/x")]
        other.script = [faulty.redirect(f"{server.url}/content")]
        assert read_content(session_to(server), content_of()) == DATA
    assert "authorization" not in server.requests[1].headers


def test_a_foreign_store_has_versions_of_its_own(session_to: MakeSession) -> None:
    """Its etag is not the record's; what was cut off is resumed there as long as it stays the same."""

    def store_step(request: Request) -> None:
        status, body, headers = faulty.part_of(request, DATA, etag="s3-style")
        request.answer(status, body, **headers)

    def cut(request: Request) -> None:
        request.send(b'HTTP/1.1 200 OK\r\nETag: "s3-style"\r\nContent-Length: 300000\r\n\r\n' + DATA[:70_000])
        request.hang_up()

    with (
        faulty_server(cut, otherwise=store_step) as store,
        faulty_server(otherwise=faulty.redirect(f"{store.url}/content")) as server,
    ):
        assert read_content(session_to(server), content_of()) == DATA
        assert store.requests[1].headers["range"] == "bytes=70000-299999"
        store.script = [cut, faulty.other_version]
        with pytest.raises(errors.ContentChangedError):
            read_content(session_to(server), content_of())


def test_too_many_redirects(session_to: MakeSession) -> None:
    with (
        faulty_server(otherwise=faulty.redirect("/content")) as server,
        pytest.raises(errors.ProtocolError, match="more than 5 redirects"),
    ):
        read_content(session_to(server), content_of())
    assert len(server.requests) == 6


@pytest.mark.parametrize("code", [301, 302, 303, 307, 308])
def test_a_write_is_not_sent_to_another_origin(code: int, session_to: MakeSession) -> None:
    with (
        faulty_server() as other,
        faulty_server(otherwise=faulty.redirect(f"{other.url}/x", code)) as server,
        pytest.raises(errors.ProtocolError, match="set endpoint_url"),
    ):
        session_to(server).request("POST", "/a", json={"secret": 1}, repeatable=True)
    assert not other.requests


def test_a_write_moves_within_its_origin_where_it_stays_a_write(session_to: MakeSession) -> None:
    with faulty_server(faulty.redirect("/b", 307), faulty.normal, faulty.redirect("/b", 302)) as server:
        session = session_to(server)
        session.request("POST", "/a", json={"n": 1}, repeatable=False)
        assert (server.requests[1].target, server.requests[1].body) == ("/b", b'{"n":1}')
        with pytest.raises(errors.ProtocolError):
            session.request("POST", "/a", json={"n": 1}, repeatable=False)


# Waits


@pytest.mark.parametrize("as_date", [False, True])
def test_retry_after_holds_all_threads(as_date: bool, session_to: MakeSession) -> None:
    when = "1"
    extra = {}
    if as_date:  # the server's clock is a year off
        server_now = time.time() + 365 * 86400
        extra["Date"] = email.utils.formatdate(server_now, usegmt=True)
        when = email.utils.formatdate(server_now + 1, usegmt=True)
    sent: list[float] = []

    def refuse(request: Request) -> None:
        sent.append(time.monotonic())
        faulty.status(429, Retry_After=when, **extra)(request)

    def note(request: Request) -> None:
        sent.append(time.monotonic())
        faulty.normal(request)

    with faulty_server(refuse, otherwise=note) as server, ThreadPoolExecutor(9) as pool:
        session = session_to(server)
        first = pool.submit(session.request, "GET", "/first", repeatable=False)
        while not session._shared.retry_after.seconds_left() and not first.done():
            pass
        others = [pool.submit(session.request, "GET", f"/{n}", repeatable=False) for n in range(8)]
        for future in (first, *others):
            assert future.result().json() == {"ok": True}
    assert len(sent) == 10
    assert all(later - sent[0] >= 0.9 for later in sent[1:])


def test_no_wait_beyond_the_deadline(session_to: MakeSession) -> None:
    """A service that asks for an hour is believed a minute, and not waited for beyond the total."""
    with faulty_server(faulty.status(503, Retry_After="3600")) as server:
        session = session_to(server, timeout=2)
        start = time.monotonic()
        with pytest.raises(errors.UnavailableError, match="not available"):
            session.request("GET", "/a", repeatable=True)
        with pytest.raises(errors.UnavailableError, match=r"wait another [1-6]\d s"):
            session.request("GET", "/b", repeatable=True)
        assert time.monotonic() - start < 50
    assert len(server.requests) == 1


def test_a_reader_may_take_its_time(session_to: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    """Only time spent waiting for the server counts: pauses of the reader beyond all limits do not."""
    with faulty_server() as server:
        session = session_to(server)
        with open_content(session, content_of()) as stream:
            got = stream.read(1000)
            clock = time.monotonic
            monkeypatch.setattr(time, "monotonic", lambda: clock() + 3600.0)
            got += stream.read()
    assert got == DATA
    assert len(server.requests) == 1


# Ways around the pool


def test_a_proxy_from_the_environment(session_to: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    with faulty_server() as proxy:
        monkeypatch.setenv("http_proxy", proxy.url)
        session = HttpSession("http://rinocloud.example", StaticAuth("Token", TOKEN), timeout=5)
        assert session.request("POST", "/a", json={"n": 1}, repeatable=False).json() == {"ok": True}
        assert proxy.requests[0].target == "http://rinocloud.example/a"
        assert proxy.requests[0].body == b'{"n":1}'
        proxy.otherwise = lambda request: request.answer(*faulty.part_of(request, DATA)[:2], ETag=f'"{ETAG}"')
        assert read_content(session, content_of()) == DATA
        monkeypatch.setenv("no_proxy", "rinocloud.example")
        direct = HttpSession("http://rinocloud.example", StaticAuth("Token", TOKEN), timeout=0.2)
        with pytest.raises(errors.ConnectionFailedError):
            direct.request("GET", "/a", repeatable=False)
        assert len(proxy.requests) == 2


def test_a_proxy_that_is_down(session_to: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    with socket.create_server(("127.0.0.1", 0)) as listener:
        monkeypatch.setenv("http_proxy", f"http://127.0.0.1:{listener.getsockname()[1]}")
    session = HttpSession("http://rinocloud.example", StaticAuth("Token", TOKEN), timeout=0.5)
    with pytest.raises(errors.ConnectionFailedError, match="proxy") as caught:
        session.request("POST", "/a", repeatable=False)
    assert type(caught.value) is errors.ConnectionFailedError


def test_a_mounted_adapter_is_used(session_to: MakeSession) -> None:
    class Counting(HTTPAdapter):
        sent = 0

        def send(self, *args: object, **kwargs: object) -> requests.Response:
            type(self).sent += 1
            return super().send(*args, **kwargs)  # type: ignore[arg-type]

    with faulty_server() as server:
        session = session_to(server)
        session.requests_session().mount(server.url, Counting())
        assert session.request("POST", "/a", json={}, repeatable=False).json() == {"ok": True}
        assert read_content(session, content_of()) == DATA
        assert server.requests[0].headers["authorization"] == f"Token {TOKEN}"
        assert server.requests[0].headers["content-length"] == "2"
    assert Counting.sent == 2


def test_other_urllib3s_have_no_readinto(session_to: MakeSession, monkeypatch: pytest.MonkeyPatch) -> None:
    # Not by taking the method from the class itself, after which Python 3.12.1 crashes.
    lacking = type("Lacking", (http.client.HTTPResponse,), {"readinto": None})
    monkeypatch.setattr(http.client.HTTPConnection, "response_class", lacking)
    with faulty_server(faulty.truncated, faulty.reset_midway) as server:
        session = session_to(server)
        assert read_content(session, content_of(), verify=True) == DATA
        assert session.request("GET", "/a", repeatable=True).json() == {"ok": True}
    assert len(server.requests) == 4


def test_requests_is_imported_at_the_first_use_only() -> None:
    code = """
import sys
import rinofs.http.content.content, rinofs.http.session.session, rinofs.http.content.upload
from rinofs.http.session.shared import StaticAuth
rinofs.http.session.session.HttpSession("http://127.0.0.1:1", StaticAuth("Token", "x"))
assert not {"requests", "urllib3", "http.client", "ssl", "email"} & set(sys.modules), sorted(sys.modules)
"""
    subprocess.run([sys.executable, "-c", code], check=True)
