"""Requests over connections that stand: sent with less work, and nothing else is different about them."""

from __future__ import annotations

import http.client
import io
import random
from typing import TYPE_CHECKING

import pytest

from rinofs.http.connection.response import Headers, plain_head
from rinofs.http.connection.transport import host_header, request_head
from rinofs.http.content.slices import read_content
from tests.http import faulty
from tests.http.conftest import MakeSession, content_of, patient
from tests.http.faulty import DATA, Request, faulty_server

if TYPE_CHECKING:
    from rinofs.http.session.session import HttpSession
    from tests.http.faulty import Step


def raw(text: bytes) -> Step:
    """Send these bytes and hang up."""

    def step(request: Request) -> None:
        request.send(text)
        request.hang_up()

    return step


def in_pieces(request: Request) -> None:
    head, body = faulty.head_of(request)
    for piece in (head[:9], head[9:40], head[40:-1], head[-1:], body):
        request.send(piece)
        request.server.stopped.wait(0.02)


ODD = {
    "folded": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX-Long: a\r\n  b\r\n\r\n{}",
    "bare line ends": b"HTTP/1.1 200 OK\nContent-Length: 2\n\n{}",
    "version 1.0": b"HTTP/1.0 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "to the end": b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n{}",
    "two lengths": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nContent-Length: 2\r\n\r\n{}",
    "odd length": b"HTTP/1.1 200 OK\r\nContent-Length: +2\r\nConnection: close\r\n\r\n{}",
    "a length beyond measure": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: "
    + b"9" * 5000
    + b"\r\n\r\n{}",
    "continue": b"HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\n{}",
    "no reason": b"HTTP/1.1 200\r\nContent-Length: 2\r\n\r\n{}",
    "chunked": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    "chunked, with a length": b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: 1\r\n\r\n"
    b"2\r\n{}\r\n0\r\n\r\n",
    "closing": b"HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 2\r\n\r\n{}",
    "no colon": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nwhat is this\r\n\r\n{}",
    "odd name": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX Y: 1\r\n\r\n{}",
    "no such status": b"HTTP/1.1 20 OK\r\nContent-Length: 2\r\n\r\n{}",
    "nothing": b"",
    "half a head": b"HTTP/1.1 200 OK\r\nContent-Le",
    "many headers": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    + b"".join(b"X-%d: 1\r\n" % number for number in range(120))
    + b"\r\n{}",
    "a long header": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\nX: " + b"x" * 70_000 + b"\r\n\r\n{}",
    "a large head": b"HTTP/1.1 200 OK\r\nContent-Length: 2\r\n"
    + b"".join(b"X-%d: %s\r\n" % (number, b"x" * 1000) for number in range(60))
    + b"\r\n{}",
}

FAULTS: dict[str, Step] = {
    **{name: raw(text) for name, text in ODD.items()},
    **{
        fault.__name__: fault
        for fault in (
            faulty.normal,
            faulty.truncated,
            faulty.reset_midway,
            faulty.unframed_truncated,
            faulty.chunked_truncated,
            faulty.stalled_head,
            faulty.stalled_body,
            faulty.garbage,
            faulty.wrong_range,
            faulty.other_version,
            faulty.gzipped,
            faulty.web_page,
            in_pieces,
        )
    },
    "no content": lambda request: request.answer(204, Content_Length=""),
    "refused": faulty.status(403),
    "elsewhere": faulty.redirect("/other place"),
    "crashed": faulty.status(500),
}


def outcome(session: HttpSession, *, content: bool) -> object:
    """Return what came of a request: the content, or the error in words."""
    try:
        if content:
            return read_content(session, content_of(size=None, etag=None), verify=True)
        answer = session.request("POST", "/x", json={"a": 1}, repeatable=False)
        return answer.status, answer.content, {name.lower(): answer.headers[name] for name in answer.headers}
    except Exception as error:  # noqa: BLE001 - of whatever kind
        return type(error), str(error).replace(session.endpoint_url, "").replace(
            session.endpoint_url.removeprefix("http://"), ""
        )


def test_a_length_beyond_measure_is_none(session_to: MakeSession) -> None:
    for before in ([], [faulty.normal]):
        with faulty_server(*before, raw(ODD["a length beyond measure"])) as server:
            session = session_to(server)
            for _ in before:
                session.request("POST", "/x", repeatable=True)
            assert session.request("POST", "/x", json={}, repeatable=False).content == b"{}"


@pytest.mark.parametrize("content", [False, True])
@pytest.mark.parametrize("name", FAULTS)
def test_the_same_comes_of_it_as_over_a_new_connection(
    session_to: MakeSession, name: str, content: bool
) -> None:
    outcomes = []
    for is_warm in (False, True):
        with faulty_server(*([faulty.normal] if is_warm else []), FAULTS[name]) as server:
            session = session_to(server, limits=patient())
            if is_warm:
                session.request("POST", "/x", repeatable=True)
            if "stalled" in name:  # not before, lest a slow machine spends the fault on a second attempt
                session.limits = session._shared.limits = patient(0.5)
            outcomes.append(outcome(session, content=content))
            assert server.connections >= 1
            if is_warm:  # nothing of the answer is left over for the next one
                assert read_content(session, content_of()) == DATA
    assert outcomes[1] == outcomes[0]


def test_the_request_is_the_same(session_to: MakeSession) -> None:
    with faulty_server() as server:
        session = session_to(server)
        for _ in range(2):
            session.request("GET", "/a", params={"q": "x y&ü"}, headers={"X-One": "1"}, repeatable=True)
        for _ in range(2):
            session.close()
            session.request("POST", "/b", json={"n": "ü"}, repeatable=True)
            session.request("POST", "/b", json={"n": "ü"}, repeatable=True)
            session.request("POST", "/b", repeatable=True)
        for method in ("HEAD", "DELETE", "PUT"):
            session.close()
            for _ in range(2):
                session.request(method, "/c", repeatable=True)
    seen = [(one.method, one.target, one.headers, one.body) for one in server.requests]
    assert seen[0] == seen[1]
    assert seen[2] == seen[3] == seen[5] == seen[6]
    assert seen[4] == seen[7]
    assert [seen[8], seen[10], seen[12]] == [seen[9], seen[11], seen[13]]


@pytest.mark.parametrize(
    ("host", "target", "headers"),
    [
        ("a", "/x", {"A": "1\r\nB: 2"}),
        ("a", "/x", {"A": "1\nB: 2"}),
        ("a", "/x", {"A\r\nB": "2"}),
        ("a", "/x", {"A": "ü"}),
        ("a", "/x y", {}),
        ("a", "/x\r\nA: 1", {}),
        ("a", "/ü", {}),
        ("a", "/x#y", {}),
        ("a", "http://a/x", {}),
        ("user@a", "/x", {}),
        ("ä.example", "/x", {}),
    ],
)
def test_what_the_standard_library_writes(host: str, target: str, headers: dict[str, str]) -> None:
    assert request_head("GET", host_header(host, 80, 80), target, headers, None) is None


@pytest.mark.parametrize(
    ("host", "port", "default", "named"),
    [
        ("a.example", 80, 80, "a.example"),
        ("a.example", 8080, 80, "a.example:8080"),
        ("a.example", 443, 443, "a.example"),
        ("a.example", 80, 443, "a.example:80"),
        ("::1", 8440, 80, "[::1]:8440"),
    ],
)
def test_the_host_is_named_without_the_usual_port(host: str, port: int, default: int, named: str) -> None:
    head = request_head("GET", host_header(host, port, default), "/x?y=%20", {"A": "1"}, None)
    assert head == f"GET /x?y=%20 HTTP/1.1\r\nHost: {named}\r\nA: 1\r\n\r\n".encode()


def test_heads_are_read_as_the_standard_library_reads_them() -> None:
    chance = random.Random(5)
    pieces = [
        b"a",
        b"B-c",
        b":",
        b" ",
        b"\t",
        b"\r\n",
        b"\n",
        b"\r",
        b"1",
        b"\xe9",
        b"\x85",
        b"x y",
        b"-",
        b"\0",
    ]
    plain = 0
    for _ in range(20_000):
        lines = b"".join(chance.choices(pieces, [6, 3, 6, 2, 1, 4, 0.1, 0.1, 2, 0.3, 0.3, 1, 1, 0.1], k=12))
        found = plain_head(b"HTTP/1.1 200 OK\r\nFirst: 1\r\n" + lines)
        if found is not None:
            plain += 1
            expected = http.client.parse_headers(io.BytesIO(b"First: 1\r\n" + lines + b"\r\n\r\n"))
            if b"\x85" not in lines:  # a line end for the standard library, but not in HTTP
                assert found[2] == {name.lower(): value.strip(" \t") for name, value in expected.items()}
    assert plain > 500


def test_headers_are_found_in_any_case() -> None:
    headers = Headers({"content-type": "a"})
    assert headers["Content-Type"] == headers.get("CONTENT-TYPE") == "a"
    assert "Content-TYPE" in headers
    assert headers.get("other") is None
