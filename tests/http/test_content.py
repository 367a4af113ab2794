"""Reading content: ranges, versions, resumed reads, servers that lack something."""

from __future__ import annotations

import gc
import io
import random
import threading

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rinofs import errors
from rinofs.http.connection.response import etag_header
from rinofs.http.content.content import open_content
from rinofs.http.content.slices import read_content
from rinofs.http.content.verify import Verifier, copy_to
from tests.campaign import rounds
from tests.http import faulty
from tests.http.conftest import MakeSession, content_of, patient
from tests.http.faulty import DATA, ETAG, Request, Step, faulty_server
from tests.waiting import wait_until

SIZE = len(DATA)
NAMELESS = {"etag": None, "conditional": False}


@pytest.mark.parametrize("known", [True, False])
@pytest.mark.parametrize("ranges", [True, False])
@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, None), (0, 10), (5, None), (5, 10), (5, 5), (9, 5), (-7, None), (-9, -3), (4, -5), (0, -1),
        (-1, 0), (SIZE, None), (SIZE + 5, None), (SIZE + 5, SIZE + 9), (SIZE - 3, SIZE + 9), (0, SIZE),
        (-SIZE - 4, None), (-SIZE - 4, 10), (3, -SIZE - 9),
    ],
)  # fmt: skip
def test_slices(start: int, stop: int | None, ranges: bool, known: bool, session_to: MakeSession) -> None:
    with faulty_server(no_ranges=not ranges) as server:
        content = content_of() if known else content_of(size=None, **NAMELESS)
        assert read_content(session_to(server), content, start, stop) == DATA[start:stop]


@settings(
    max_examples=rounds(20, 200), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    start=st.integers(-SIZE - 10, SIZE + 10),
    stop=st.none() | st.integers(-SIZE - 10, SIZE + 10),
    sizes=st.lists(st.integers(2000, 100_000), min_size=1, max_size=5),
)
def test_any_slice_by_any_way(
    start: int, stop: int | None, sizes: list[int], session_to: MakeSession
) -> None:
    chance = random.Random(start)
    with faulty_server() as server:
        session = session_to(server)
        assert read_content(session, content_of(), start, stop) == DATA[start:stop]
        if start >= 0 and (stop is None or stop >= 0):
            with open_content(session, content_of(), start, stop) as stream:
                pieces = iter(lambda: stream.read(chance.choice(sizes)), b"")
                assert b"".join(pieces) == DATA[start:stop]


def test_a_break_leaves_no_view_of_memory_that_is_gone(session_to: MakeSession) -> None:
    with faulty_server(faulty.truncated, faulty.reset_midway) as server:
        assert read_content(session_to(server), content_of()) == DATA
    for _ in range(3):
        gc.collect()  # crashes where there is one


def _holds_memory(found: object) -> bool:
    if type(found) is not memoryview:
        return False
    try:
        return isinstance(found.obj, type(io.BytesIO().getbuffer().obj))
    except ValueError:  # released
        return False


def test_a_failed_read_leaves_no_view_of_memory_that_is_gone(session_to: MakeSession) -> None:
    with (
        faulty_server(faulty.reset_midway, anonymous=True) as server,
        open_content(session_to(server), content_of(**NAMELESS)) as stream,
    ):
        stream.read(10)
        with pytest.raises(errors.ConnectionFailedError) as caught:
            stream.read()
    assert caught.value.__traceback__ is not None
    # A view that is garbage-collected together with its BytesIO crashes some versions of Python.
    assert not any(map(_holds_memory, gc.get_objects()))


@pytest.mark.parametrize("data", [b"", b"x"])
def test_tiny_contents(data: bytes, session_to: MakeSession) -> None:
    def answer(request: Request) -> None:
        status, body, headers = faulty.part_of(request, data)
        request.answer(status, body, **headers)

    with faulty_server(otherwise=answer) as server:
        session = session_to(server)
        for content in (content_of(size=len(data)), content_of(size=None), content_of(size=None, **NAMELESS)):
            assert read_content(session, content, verify=True) == data
            assert read_content(session, content, -5) == data
            assert read_content(session, content, 1) == b""
            assert read_content(session, content, 0, 5) == data


def test_what_is_asked_for(session_to: MakeSession) -> None:
    """No Range for a whole content, one for a part, nothing at all where there is nothing."""
    with faulty_server() as server:
        session = session_to(server)
        read_content(session, content_of())
        read_content(session, content_of(), 0, SIZE)
        read_content(session, content_of(), 10, 20)
        read_content(session, content_of(size=None), -20)
        read_content(session, content_of(), SIZE)
        read_content(session, content_of(), 7, 7)
    ranges = [request.headers.get("range") for request in server.requests]
    assert ranges == [None, None, "bytes=10-19", "bytes=-20"]
    assert {request.headers["if-match"] for request in server.requests} == {f'"{ETAG}"'}
    assert {request.target for request in server.requests} == {"/content?id=7"}


def test_what_a_stream_knows(session_to: MakeSession) -> None:
    content = content_of(size=None, **NAMELESS)
    with faulty_server() as server, open_content(session_to(server), content, 10) as stream:
        assert (stream.size, stream.etag, stream.position) == (SIZE, ETAG, 10)
        assert "repr-digest" in stream.headers
        assert stream.readable()
        stream.read(5)
        assert stream.position == 15


def test_a_server_without_ranges_is_remembered(session_to: MakeSession) -> None:
    with faulty_server(no_ranges=True) as server:
        session = session_to(server)
        for _ in range(3):
            assert read_content(session, content_of(), 1000, 1010) == DATA[1000:1010]
    assert session.no_ranges
    assert ["range" in request.headers for request in server.requests] == [True, False, False]


def _cut(at: int, **changes: str | None) -> Step:
    def step(request: Request) -> None:
        head, body = faulty.head_of(request, **changes)
        request.send(head + body[:at])
        request.hang_up()

    return step


def test_a_broken_read_goes_on_where_it_broke(session_to: MakeSession) -> None:
    with faulty_server(_cut(100_000), _cut(50_000), _cut(2000)) as server:
        session = session_to(server)
        with open_content(session, content_of()) as stream:
            assert stream.read() == DATA
    asked = [request.headers.get("range") for request in server.requests]
    assert asked == [None, "bytes=100000-", "bytes=150000-", "bytes=152000-"]


def test_many_breaks_are_survived_as_long_as_it_gets_on(session_to: MakeSession) -> None:
    with faulty_server(*[_cut(5_000)] * 40) as server:
        assert read_content(session_to(server, limits=patient()), content_of(), verify=True) == DATA
    assert len(server.requests) == 41


def test_a_version_that_changes_between_two_parts(session_to: MakeSession) -> None:
    for conditional in (True, False):
        with faulty_server(_cut(100_000), faulty.other_version) as server:
            session = session_to(server)
            with open_content(session, content_of(conditional=conditional)) as stream:
                assert stream.read(50_000) == DATA[:50_000]
                with pytest.raises(errors.ContentChangedError, match="replaced while it was read"):
                    stream.read()


def test_parts_of_no_version_are_never_joined(session_to: MakeSession) -> None:
    """A stream refuses; a whole read, of which nothing was handed out, begins anew."""
    with faulty_server(_cut(100_000), anonymous=True) as server:
        session = session_to(server)
        with open_content(session, content_of(**NAMELESS)) as stream:
            stream.read(10)
            with pytest.raises(errors.ConnectionFailedError, match="names no version"):
                stream.read()
    assert len(server.requests) == 1
    with faulty_server(_cut(100_000), _cut(100), anonymous=True) as server:
        assert read_content(session_to(server), content_of(**NAMELESS), verify=True) == DATA
    assert ["range" in request.headers for request in server.requests] == [False] * 3


def test_a_version_named_once_must_be_named_again(session_to: MakeSession) -> None:
    with faulty_server(_cut(100_000)) as server:
        server.otherwise = lambda request: request.answer(
            206, DATA[100_000:], Content_Range=f"bytes 100000-{SIZE - 1}/{SIZE}"
        )
        stream = open_content(session_to(server), content_of(**NAMELESS))
        with stream, pytest.raises(errors.ConnectionFailedError, match="names no version"):
            stream.read()


def test_a_resumed_read_without_ranges_reads_over_what_it_has(session_to: MakeSession) -> None:
    with faulty_server(_cut(100_000), no_ranges=True) as server:
        assert read_content(session_to(server), content_of(), verify=True) == DATA


def test_a_body_without_a_length(session_to: MakeSession) -> None:
    """Ends where it ends if nothing else is known; compared with the known size otherwise."""
    whole = _cut(SIZE, Content_Length=None, Connection="close")
    with faulty_server(*[whole] * 3) as server:
        session = session_to(server)
        assert read_content(session, content_of(size=None)) == DATA
        with open_content(session, content_of(size=None)) as stream:
            assert stream.size is None
            assert stream.read(10**12) == DATA
            assert stream.size == SIZE
        assert read_content(session, content_of(), verify=True) == DATA


@pytest.mark.parametrize("ranges", [True, False])
def test_an_unframed_body_of_unknown_size_is_not_believed(ranges: bool, session_to: MakeSession) -> None:
    """What comes after its end is asked for: the end of a connection is not the end of a content."""
    cut = _cut(100_000, Content_Length=None, Connection="close")
    with faulty_server(cut, no_ranges=not ranges) as server:
        assert read_content(session_to(server), content_of(size=None)) == DATA
    assert len(server.requests) == 2


@pytest.mark.parametrize("extra", [1, 5000])
def test_a_body_longer_than_its_record(extra: int, session_to: MakeSession) -> None:
    def longer(request: Request) -> None:
        request.send(b"HTTP/1.1 200 OK\r\nConnection: close\r\n\r\n" + DATA + b"x" * extra)
        request.hang_up()

    with (
        faulty_server(otherwise=longer) as server,
        pytest.raises(errors.ProtocolError, match="goes on beyond"),
    ):
        read_content(session_to(server), content_of())


@pytest.mark.parametrize("size", [SIZE - 1, SIZE + 1, 0])
def test_a_size_that_is_not_the_records(size: int, session_to: MakeSession) -> None:
    with faulty_server() as server:
        session = session_to(server)
        if size:
            with pytest.raises(errors.ProtocolError, match=f"{SIZE} bytes, but the record says {size}"):
                read_content(session, content_of(size=size))
            with pytest.raises(errors.ProtocolError, match=f"{SIZE} bytes, but the record says {size}"):
                read_content(session, content_of(size=size), 5, 10)
        else:
            assert read_content(session, content_of(size=0)) == b""


def test_a_part_smaller_than_asked_for_is_completed(session_to: MakeSession) -> None:
    def small(request: Request) -> None:
        start, last = map(int, request.headers["range"].removeprefix("bytes=").split("-"))
        stop = min(start + 60_000, last + 1)
        shown = f"bytes {start}-{stop - 1}/{SIZE}"
        request.answer(206, DATA[start:stop], Content_Range=shown, ETag=f'"{ETAG}"')

    with faulty_server(otherwise=small) as server:
        assert read_content(session_to(server), content_of(), 1000, 200_000) == DATA[1000:200_000]
    assert len(server.requests) == 4


@pytest.mark.parametrize(
    "shown",
    [
        "",
        "bytes 0-9",
        "bytes 9-5/300000",
        "bytes 5-400000/300000",
        "items 5-9/300000",
        "bytes */300000",
        "bytes 4-9/300000",
        "bytes 5-10/300000",
        "bytes 5-8/300000",
    ],
)
def test_content_ranges_that_are_refused(shown: str, session_to: MakeSession) -> None:
    step = faulty.status(206, DATA[5:10], Content_Range=shown)
    with faulty_server(otherwise=step) as server, pytest.raises(errors.ProtocolError):
        read_content(session_to(server), content_of(), 5, 10)
    assert len(server.requests) == 2


@pytest.mark.parametrize("vouch", ["etag", "disposition", "size", "none"])
def test_a_web_page_is_content_only_if_something_says_so(vouch: str, session_to: MakeSession) -> None:
    page = b"<!DOCTYPE html><html>data</html>"
    headers = {"Content_Type": "text/html"}
    if vouch == "etag":
        headers["ETag"] = f'"{ETAG}"'
    if vouch == "disposition":
        headers["Content_Disposition"] = "attachment"
    content = content_of(size=len(page) if vouch == "size" else None, **NAMELESS)
    with faulty_server(otherwise=lambda request: request.answer(200, page, **headers)) as server:
        if vouch == "none":
            with pytest.raises(errors.ProtocolError, match="proxy or login page"):
                read_content(session_to(server), content)
        else:
            assert read_content(session_to(server), content) == page


def test_damage_is_found(session_to: MakeSession) -> None:
    with faulty_server(otherwise=faulty.flipped) as server:
        session = session_to(server)
        with pytest.raises(errors.ContentMismatchError, match="sha256"):
            read_content(session, content_of(), verify=True)
        kept: list[bytes] = []
        with open_content(session, content_of()) as stream:
            verifier = Verifier.for_response(stream.headers, stream.etag, stream.size)
            with pytest.raises(errors.ContentMismatchError):
                copy_to(stream, lambda piece: kept.append(bytes(piece)), verifier)
        assert len(b"".join(kept)) == SIZE


def test_a_writer_that_fails_ends_the_transfer(session_to: MakeSession) -> None:
    def full(_: memoryview) -> None:
        raise OSError(28, "No space left on device")

    before = set(threading.enumerate())
    with faulty_server() as server:
        session = session_to(server)
        with open_content(session, content_of()) as stream, pytest.raises(OSError, match="No space"):
            copy_to(stream, full, Verifier("sha256", "0" * 64))
        assert session._shared.slots.free == 8
    started = set(threading.enumerate()) - before
    wait_until(lambda: not any(thread.name == "rinofs-transfer" and thread.is_alive() for thread in started))


@pytest.mark.parametrize(
    ("header", "etag"),
    [
        ('"abc"', "abc"),
        (' "abc-1" ', "abc-1"),
        ('W/"abc"', None),
        ("abc", None),
        ("", None),
        ('""', None),
        ('"', None),
    ],
)
def test_etag_header(header: str, etag: str | None) -> None:
    assert etag_header({"etag": header}) == etag
