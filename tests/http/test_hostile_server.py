"""What a server can make a client hold, wait for, or show."""

from __future__ import annotations

import threading
import tracemalloc
from typing import TYPE_CHECKING

import pytest

from rinofs.errors import ConnectionFailedError, RinofsError, visible
from rinofs.http.connection.response import parse_json
from rinofs.rinocloud import records
from rinofs.rinocloud.records import Page, all_pages
from tests.forkserver import in_own_process
from tests.http.conftest import TOKEN, patient
from tests.http.faulty import Request, Step, faulty_server
from tests.http.test_secrets import _everything_shown

if TYPE_CHECKING:
    from tests.http.conftest import MakeSession

MIB = 1024 * 1024
ESCAPE = "\x1b]0;owned\x07\x1b[31m"


def raw(*pieces: bytes, forever: bytes = b"") -> Step:
    """Send pieces, then something for ever."""

    def step(request: Request) -> None:
        for piece in pieces:
            request.send(piece)
        while forever:
            request.send(forever)
        request.hang_up()

    return step


CHUNKED = (
    b"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Type: application/json\r\n\r\n2\r\n{}\r\n0\r\n"
)


@pytest.mark.parametrize(
    "forever",
    [b"X-More: yes\r\n" * 100, b"x" * 5000, b"X: " + b"y" * 60_000 + b"\r\n"],
    ids=["lines", "line", "long"],
)
def test_trailers_end(session_to: MakeSession, forever: bytes) -> None:
    with faulty_server(otherwise=raw(CHUNKED, forever=forever)) as server:
        session = session_to(server, limits=patient())
        with pytest.raises(ConnectionFailedError):
            session.request("GET", "/x", repeatable=False)


@pytest.mark.parametrize(
    "head",
    [
        f"HTTP/1.1 {TOKEN}{ESCAPE}\r\n\r\n",
        f"{TOKEN} {ESCAPE}\r\n\r\n",
        f"HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n{TOKEN}{ESCAPE}\r\n",
        f"HTTP/1.1 400 {TOKEN}{ESCAPE}\r\nContent-Length: 20\r\n\r\n{ESCAPE}{ESCAPE}",
    ],
    ids=["status", "no status", "chunk", "body"],
)
def test_what_the_server_sends_is_not_shown_as_it_is(session_to: MakeSession, head: str) -> None:
    with faulty_server(otherwise=raw(head.encode())) as server:
        session = session_to(server, limits=patient())
        with pytest.raises(RinofsError) as raised:
            session.request("GET", "/x", repeatable=False, label=f"rino://a{ESCAPE}")
    assert TOKEN not in _everything_shown(raised.value)
    assert str(raised.value).isprintable()


@pytest.mark.parametrize(
    "value", [b"{},", b"[],", b'{"a":{"b":[[', b"0,"], ids=["objects", "lists", "nested", "numbers"]
)
@in_own_process
def test_json_of_more_values_than_a_page_has_is_refused_unread(value: bytes) -> None:
    text = b"[" + value * (100 * MIB // len(value)) + b"0]"
    tracemalloc.start()
    with pytest.raises(ValueError, match="more values"):
        parse_json(text)
    assert tracemalloc.get_traced_memory()[1] < MIB


def test_json_of_a_full_page_is_read() -> None:
    record = b'{"id": 1, "metadata": {"a": [1, 2, 3], "b": {"c": {}}}, "tags": [], "versions": []}'
    assert len(parse_json(b"[" + b",".join([record] * 50_000) + b"]")) == 50_000


@pytest.mark.parametrize("by_id", [True, False])
def test_a_listing_without_end_is_refused(monkeypatch: pytest.MonkeyPatch, by_id: bool) -> None:
    monkeypatch.setattr(records, "MOST_LISTED", 5000)
    asked = threading.Semaphore(100)

    def fetch(position: dict[str, int]) -> Page:
        assert asked.acquire(blocking=False)
        start = position.get("after", position.get("offset", 0))
        page = [{"id": start + n + 1, "name": f"n{n}", "type": "file", "metadata": {}} for n in range(1000)]
        return records.parse_page({"result": page, "count": 10**9}, "https://service")

    with pytest.raises(RinofsError, match="no end"):
        list(all_pages(fetch, by_id=by_id))


@pytest.mark.parametrize("text", ["a\x1b[31m", "a\u202eb", "a\nb", "\x00", "\x9b31m", "\u2066x", "\ud800"])
def test_text_that_does_something_is_escaped(text: str) -> None:
    assert visible(text).isprintable()
    assert visible(text) != text


@pytest.mark.parametrize("text", ["", "run 9.csv", "日本", "é ü", "a\\b"])
def test_plain_text_stays(text: str) -> None:
    assert visible(text) == text
