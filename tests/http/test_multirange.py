"""Several parts in one answer: whatever a server makes of the request, the bytes are right."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from rinofs import errors
from rinofs.http.content.slices import read_spans
from rinofs.protocol.limits import MAX_RANGES
from tests.campaign import rounds
from tests.http import faulty
from tests.http.conftest import MakeSession, content_of
from tests.http.faulty import DATA, ETAG, Request, Step, faulty_server

if TYPE_CHECKING:
    from collections.abc import Callable

SIZE = len(DATA)
SPANS = [(0, 10), (100, 70_000), (200_000, 200_001), (SIZE - 5, SIZE)]
RIGHT = [DATA[start:stop] for start, stop in SPANS]


def spans_of(request: Request) -> list[tuple[int, int]]:
    return [(int(a), int(b) + 1) for a, b in re.findall(r"(\d+)-(\d+)", request.headers["range"])]


def body_of(
    spans: list[tuple[int, int]], *, boundary: str = "xyz", total: object = SIZE, newline: str = "\r\n"
) -> bytes:
    parts = b""
    for start, stop in spans:
        head = [f"--{boundary}", "Content-Type: text/csv", f"content-range: bytes {start}-{stop - 1}/{total}"]
        parts += (newline + newline.join([*head, "", ""])).encode() + DATA[start:stop]
    return parts + f"{newline}--{boundary}--{newline}".encode()


def send_parts(request: Request, body: bytes, kind: str = "boundary=xyz", **headers: str) -> None:
    told = {"Content_Type": f"multipart/byteranges; {kind}", "ETag": f'"{ETAG}"', **headers}
    request.answer(206, body, **told)


def together(request: Request) -> None:
    """As a good server answers."""
    if "," in request.headers.get("range", ""):
        send_parts(request, body_of(spans_of(request)))
    else:
        faulty.normal(request)


def only_several(step: Step) -> Step:
    """Do something to a request for several parts, and answer others well."""
    return lambda request: (step if "," in request.headers.get("range", "") else faulty.normal)(request)


def test_one_request_brings_them_all(session_to: MakeSession) -> None:
    with faulty_server(otherwise=together) as server:
        session = session_to(server)
        for _ in range(3):
            assert read_spans(session, content_of(), SPANS) == RIGHT
        assert len(server.requests) == 3
        assert server.connections == 1
        assert server.requests[0].headers["if-match"] == f'"{ETAG}"'


@settings(
    max_examples=rounds(15, 150), suppress_health_check=[HealthCheck.function_scoped_fixture], deadline=None
)
@given(
    spans=st.lists(
        st.tuples(st.integers(0, SIZE - 1), st.integers(1, 40_000)).map(
            lambda pair: (pair[0], min(sum(pair), SIZE))
        ),
        min_size=1,
        max_size=MAX_RANGES + 2,
    )
)
def test_any_parts_in_any_order(spans: list[tuple[int, int]], session_to: MakeSession) -> None:
    with faulty_server(otherwise=together) as server:
        found = read_spans(session_to(server), content_of(), spans)
        assert found == [DATA[start:stop] for start, stop in spans]
        assert len(server.requests) == (1 if len(spans) <= MAX_RANGES else len(spans))


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (lambda spans: body_of(spans, boundary="a b"), 'boundary="a b"'),
        (lambda spans: body_of(spans, total="*"), "charset=utf-8; Boundary=xyz"),
        (lambda spans: body_of(spans, newline="\n"), "boundary=xyz"),
        (lambda spans: body_of(spans)[2:], "boundary=xyz"),  # no line break before the first
        (lambda spans: body_of(spans)[:-2], "boundary=xyz"),  # nor after the last
    ],
    ids=["quoted", "no total", "bare newlines", "starts at once", "ends at once"],
)
def test_other_ways_to_write_it(
    body: Callable[[list[tuple[int, int]]], bytes], kind: str, session_to: MakeSession
) -> None:
    answer = only_several(lambda request: send_parts(request, body(spans_of(request)), kind))
    with faulty_server(otherwise=answer) as server:
        assert read_spans(session_to(server), content_of(), SPANS) == RIGHT


def cut(request: Request) -> None:
    body = body_of(spans_of(request))
    send_parts(request, body[: len(body) // 2], Content_Length=str(len(body)))
    request.hang_up()


MISFITS: dict[str, Step] = {
    "whole": faulty.normal,
    "one part of several": lambda request: request.answer(
        206, DATA[:10], Content_Range=f"bytes 0-9/{SIZE}", ETag=f'"{ETAG}"'
    ),
    "joined parts": lambda request: send_parts(request, body_of([(0, 70_000), (200_000, SIZE)])),
    "other order": lambda request: send_parts(request, body_of(spans_of(request)[::-1])),
    "too few": lambda request: send_parts(request, body_of(spans_of(request)[:2])),
    "too many": lambda request: send_parts(request, body_of([*spans_of(request), (5, 6)])),
    "short part": lambda request: send_parts(
        request, body_of(spans_of(request)).replace(DATA[:10], b"short")
    ),
    "other size": lambda request: send_parts(request, body_of(spans_of(request), total=SIZE + 1)),
    "other boundary": lambda request: send_parts(request, body_of(spans_of(request)), "boundary=other"),
    "no boundary": lambda request: send_parts(request, body_of(spans_of(request)), "charset=utf-8"),
    "no bodies": lambda request: send_parts(request, b""),
    "endless headers": lambda request: send_parts(request, b"--xyz\r\n" + b"a: b\r\n" * 100_000),
    "endless line": lambda request: send_parts(request, b"--xyz" + b"-" * 100_000),
    "binary garbage": lambda request: send_parts(request, DATA),
    "encoded": lambda request: send_parts(request, body_of(spans_of(request)), Content_Encoding="gzip"),
    "cut": cut,
    "a bad request": faulty.status(400),
    "refused": lambda request: request.answer(416, b"", Content_Range=f"bytes */{SIZE}"),
}


@pytest.mark.parametrize("fault", MISFITS)
def test_what_is_not_understood_is_asked_for_one_by_one(fault: str, session_to: MakeSession) -> None:
    with faulty_server(otherwise=only_several(MISFITS[fault])) as server:
        assert read_spans(session_to(server), content_of(), SPANS) == RIGHT


def test_a_server_that_ignores_it_is_not_asked_again(session_to: MakeSession) -> None:
    with faulty_server() as server:
        session = session_to(server)
        for _ in range(2):
            assert read_spans(session, content_of(), SPANS) == RIGHT
        asked = ["," in request.headers["range"] for request in server.requests]
        assert asked == [True, *[False] * 8]


@pytest.mark.parametrize("changes", [{"etag": None}, {"conditional": False}])
def test_without_a_version_to_keep_to_it_is_not_tried(
    changes: dict[str, object], session_to: MakeSession
) -> None:
    with faulty_server(otherwise=together) as server:
        assert read_spans(session_to(server), content_of(**changes), SPANS) == RIGHT
        assert len(server.requests) == 4


def test_parts_of_another_version_are_refused(session_to: MakeSession) -> None:
    def other(request: Request) -> None:
        send_parts(request, body_of(spans_of(request)), ETag='"00000000000000000000000000000000-1"')

    for step in (other, faulty.status(412)):
        with faulty_server(otherwise=step) as server, pytest.raises(errors.ContentChangedError):
            read_spans(session_to(server), content_of(), SPANS)
