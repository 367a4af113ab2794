from __future__ import annotations

import email
import email.policy
import hashlib
import http.client
import os
import re
import tempfile
from base64 import b64decode
from datetime import UTC, datetime, timedelta
from email.utils import format_datetime
from pathlib import Path
from typing import TYPE_CHECKING
from urllib.parse import unquote, urlsplit

import psutil
import pytest
from hypothesis import given
from hypothesis import strategies as st
from starlette.routing import Route

from rinofs.server.blobs.disk import DiskBlobStore
from rinofs.server.blobs.memory import MemoryBlobStore
from rinofs.server.web.downloads import content_disposition, content_response
from rinofs.server.web.sending import CHUNK_SIZE, StoredContent
from tests.server.serving import served
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

    from starlette.requests import Request
    from starlette.responses import Response

    from rinofs.server.blobs.store import BlobReader

ETAG = "0123456789abcdef0123456789abcdef-3"
MODIFIED = datetime(2026, 3, 1, 12, 30, 15, 999_999, tzinfo=UTC)
CONTENT = os.urandom(3 * CHUNK_SIZE + 4321)
SIZE = len(CONTENT)
SHORTENED = 256 * CHUNK_SIZE  # more than is on its way at any time


@pytest.fixture(scope="module", params=[None, "/var/tmp"], ids=["tmp", "disk"])
def folder(request: pytest.FixtureRequest) -> Iterator[Path]:
    """Contents, also on a disk: what is in memory of one is read in another way."""
    with tempfile.TemporaryDirectory(dir=request.param) as made:
        yield _filled(Path(made))


def _filled(folder: Path) -> Path:
    (folder / "whole").write_bytes(CONTENT)
    (folder / "empty").write_bytes(b"")
    (folder / "small").write_bytes(b"0123456789")
    with (folder / "short").open("wb") as short:
        short.truncate(SHORTENED)
    return folder


class Files(DiskBlobStore):
    """Contents that are files of any name and any length."""

    def __init__(self, folder: Path) -> None:
        super().__init__(folder / "blobs")
        self.paths: dict[str, Path] = {}

    def local_path(self, key: str) -> Path:
        return self.paths[key]


class Readers(MemoryBlobStore):
    """The same, of which only readers are known."""

    def __init__(self, folder: Path) -> None:
        super().__init__()
        self._files = Files(folder)
        self.paths = self._files.paths

    def open_range(self, key: str, size: int, start: int = 0, stop: int | None = None) -> BlobReader:
        return self._files.open_range(key, size, start, stop)


@pytest.fixture(scope="module", params=[Files, Readers])
def server(folder: Path, request: pytest.FixtureRequest) -> Iterator[http.client.HTTPConnection]:
    blobs = request.param(folder)

    async def download(request: Request) -> Response:
        path = folder / request.path_params["name"]
        size = path.stat().st_size if path.name != "gone" else 0
        content = path.read_bytes() if 0 < size <= SIZE else b""
        known = content or path.name == "empty"
        sha256 = hashlib.sha256(content if known else path.name.encode()).hexdigest()
        blobs.paths[path.name] = path
        modified = datetime.now(UTC) if request.path_params["mode"] == "fresh" else MODIFIED
        return content_response(
            request,
            content=StoredContent(blobs, path.name, size, {"sha256": sha256}),
            etag=ETAG,
            filename="a.csv",
            modified=modified,
            headers={"rinocloud-api-result": "{}"},
            digests=request.path_params["mode"] != "plain",
            offset=int(request.query_params.get("from", "0")),
        )

    route = Route("/{mode}/{name}", download, methods=["GET", "POST"])
    with served([route], folder) as url:
        parts = urlsplit(url)
        assert parts.hostname
        yield http.client.HTTPConnection(parts.hostname, parts.port, timeout=10)


class Answer:
    def __init__(self, answer: http.client.HTTPResponse) -> None:
        self.status = answer.status
        self.headers = answer.headers
        self.body = answer.read()


def ask(
    server: http.client.HTTPConnection, target: str, method: str = "GET", **headers: str | list[str]
) -> Answer:
    server.putrequest(method, target)
    for name, value in headers.items():
        for one in [value] if isinstance(value, str) else value:
            server.putheader(name.replace("_", "-"), one)
    if method == "POST":
        server.putheader("Content-Length", "0")
    server.endheaders()
    return Answer(server.getresponse())


def test_whole_content_with_all_that_is_known_of_it(server: http.client.HTTPConnection) -> None:
    answer = ask(server, "/digests/whole")
    assert (answer.status, answer.body) == (200, CONTENT)
    assert answer.headers["Content-Length"] == str(SIZE)
    assert answer.headers["ETag"] == f'"{ETAG}"'
    assert answer.headers["Accept-Ranges"] == "bytes"
    assert answer.headers["Last-Modified"] == "Sun, 01 Mar 2026 12:30:15 GMT"
    algorithm, _, value = answer.headers["Repr-Digest"].partition("=")
    assert (algorithm, value[0], value[-1]) == ("sha-256", ":", ":")
    assert b64decode(value[1:-1]) == hashlib.sha256(CONTENT).digest()
    assert answer.headers["rinocloud-api-result"] == "{}"


@pytest.mark.parametrize("headers", [{}, {"Range": "bytes=5-9"}])
def test_content_is_data_and_never_a_page(
    server: http.client.HTTPConnection, headers: Mapping[str, str]
) -> None:
    answer = ask(server, "/digests/whole", **headers)
    assert answer.headers["Content-Type"] == "application/octet-stream"
    assert answer.headers["Content-Disposition"] == 'attachment; filename="a.csv"'
    assert answer.headers["Content-Security-Policy"] == "sandbox; default-src 'none'"
    assert "Access-Control-Allow-Origin" not in answer.headers


def test_plain_api_names_no_version(server: http.client.HTTPConnection) -> None:
    answer = ask(server, "/plain/small")
    assert answer.body == b"0123456789"
    for name in ("ETag", "Accept-Ranges", "Repr-Digest", "Last-Modified"):
        assert name not in answer.headers


@pytest.mark.parametrize("name", ["whole", "small", "empty"])
def test_head_says_what_get_would(server: http.client.HTTPConnection, name: str) -> None:
    got, headed = ask(server, f"/digests/{name}"), ask(server, f"/digests/{name}", "HEAD")
    assert (headed.status, headed.body) == (200, b"")
    expected, found = dict(got.headers), dict(headed.headers)
    expected.pop("date")
    found.pop("date")
    assert found == expected


def test_head_knows_no_ranges(server: http.client.HTTPConnection) -> None:
    answer = ask(server, "/digests/small", "HEAD", Range="bytes=0-1")
    assert (answer.status, answer.headers["Content-Length"]) == (200, "10")


@pytest.mark.parametrize("mode", ["plain", "digests"])
@pytest.mark.parametrize("method", ["GET", "POST"])
@pytest.mark.parametrize(
    ("wanted", "start", "stop"),
    [
        ("bytes=0-0", 0, 1),
        ("bytes=-1", SIZE - 1, SIZE),
        (f"bytes={CHUNK_SIZE - 1}-{2 * CHUNK_SIZE}", CHUNK_SIZE - 1, 2 * CHUNK_SIZE + 1),
        ("bytes=0-", 0, SIZE),
        (f"bytes=7-{SIZE * 2}", 7, SIZE),
    ],
)
def test_one_range(
    server: http.client.HTTPConnection, mode: str, method: str, wanted: str, start: int, stop: int
) -> None:
    answer = ask(server, f"/{mode}/whole", method, Range=wanted)
    assert (answer.status, answer.body) == (206, CONTENT[start:stop])
    assert answer.headers["Content-Range"] == f"bytes {start}-{stop - 1}/{SIZE}"
    assert answer.headers["Content-Length"] == str(stop - start)


def parts_of(answer: Answer) -> list[tuple[str, bytes]]:
    """Take a multipart answer apart with the parser of the standard library."""
    head = f"Content-Type: {answer.headers['Content-Type']}\r\n\r\n".encode()
    message = email.message_from_bytes(head + answer.body, policy=email.policy.HTTP)
    assert message.get_content_type() == "multipart/byteranges"
    found = []
    for part in message.iter_parts():
        assert part.get_content_type() == "application/octet-stream"
        body = part.get_payload(decode=True)
        assert isinstance(body, bytes)
        found.append((part["Content-Range"], body))
    return found


def test_several_ranges_in_the_order_asked_for(server: http.client.HTTPConnection) -> None:
    answer = ask(server, "/digests/small", Range="bytes=8-,0-1,4-4")
    assert answer.status == 206
    assert "Content-Range" not in answer.headers
    assert answer.headers["Content-Length"] == str(len(answer.body))
    expected = [("bytes 8-9/10", b"89"), ("bytes 0-1/10", b"01"), ("bytes 4-4/10", b"4")]
    assert parts_of(answer) == expected


def test_several_ranges_longer_than_a_chunk(server: http.client.HTTPConnection) -> None:
    spans = [(5, CHUNK_SIZE + 9), (2 * CHUNK_SIZE, SIZE)]
    answer = ask(server, "/digests/whole", Range="bytes=" + ",".join(f"{a}-{b - 1}" for a, b in spans))
    boundary = answer.headers["Content-Type"].partition("boundary=")[2].encode()
    pieces = answer.body.split(b"\r\n--" + boundary)
    assert pieces[0] == b""
    assert pieces[-1] == b"--\r\n"
    assert [piece.partition(b"\r\n\r\n")[2] for piece in pieces[1:-1]] == [CONTENT[a:b] for a, b in spans]
    assert answer.headers["Content-Length"] == str(len(answer.body))


@pytest.mark.parametrize(
    "wanted",
    [
        "bytes=5-4",
        "lines=1-2",
        "bytes=" + ",".join(["1-1"] * 17),
        "bytes=" + ",".join(["0-"] * 16),
        "bytes=0-0," * 4000 + "0-0",
    ],
)
def test_ranges_that_are_not_answered_as_ranges(server: http.client.HTTPConnection, wanted: str) -> None:
    answer = ask(server, "/digests/small", Range=wanted)
    assert (answer.status, answer.body) == (200, b"0123456789")


def test_two_range_headers_are_none(server: http.client.HTTPConnection) -> None:
    assert ask(server, "/digests/small", Range=["bytes=0-0", "bytes=1-1"]).status == 200


@pytest.mark.parametrize(("name", "size"), [("small", 10), ("empty", 0)])
def test_a_range_past_the_end(server: http.client.HTTPConnection, name: str, size: int) -> None:
    answer = ask(server, f"/digests/{name}", Range="bytes=10-")
    assert answer.status == 416
    assert answer.headers["Content-Range"] == f"bytes */{size}"
    assert answer.headers["Content-Type"] == "application/json"
    assert "Repr-Digest" not in answer.headers


@pytest.mark.parametrize(
    ("offset", "wanted", "status", "body"),
    [
        (0, None, 200, b"0123456789"),
        (3, None, 206, b"3456789"),
        (9, None, 206, b"9"),
        (10, None, 416, None),
        (3, "bytes=0-1", 206, b"01"),
    ],
)
def test_offset(
    server: http.client.HTTPConnection, offset: int, wanted: str | None, status: int, body: bytes | None
) -> None:
    headers = {"Range": wanted} if wanted else {}
    answer = ask(server, f"/plain/small?from={offset}", **headers)
    assert answer.status == status
    if body is not None:
        assert answer.body == body
    if status == 206:
        assert answer.headers["Content-Range"].endswith("-9/10" if not wanted else "0-1/10")


SAME, OTHER = f'"{ETAG}"', '"something-else"'
BEFORE, AT, AFTER = (
    format_datetime(MODIFIED.replace(microsecond=0) + timedelta(seconds=seconds), usegmt=True)
    for seconds in (-60, 0, 60)
)


@pytest.mark.parametrize(
    ("headers", "on_get", "on_post"),
    [
        ({"If_Match": SAME}, 200, 200),
        ({"If_Match": "*"}, 200, 200),
        ({"If_Match": f"{OTHER}, {SAME}"}, 200, 200),
        ({"If_Match": [OTHER, SAME]}, 200, 200),
        ({"If_Match": OTHER}, 412, 412),
        ({"If_Match": f"W/{SAME}"}, 412, 412),
        ({"If_Match": ETAG}, 412, 412),
        ({"If_Match": ""}, 412, 412),
        ({"If_Unmodified_Since": BEFORE}, 412, 412),
        ({"If_Unmodified_Since": AT}, 200, 200),
        ({"If_Unmodified_Since": "yesterday"}, 200, 200),
        ({"If_Match": SAME, "If_Unmodified_Since": BEFORE}, 200, 200),
        ({"If_None_Match": OTHER}, 200, 200),
        ({"If_None_Match": SAME}, 304, 412),
        ({"If_None_Match": f"W/{SAME}"}, 304, 412),
        ({"If_None_Match": f"{OTHER},{SAME}"}, 304, 412),
        ({"If_None_Match": "*"}, 304, 412),
        ({"If_Modified_Since": BEFORE}, 200, 200),
        ({"If_Modified_Since": AT}, 304, 200),
        ({"If_Modified_Since": AFTER}, 304, 200),
        ({"If_Modified_Since": "today"}, 200, 200),
        ({"If_None_Match": OTHER, "If_Modified_Since": AFTER}, 200, 200),
        ({"If_None_Match": SAME, "If_Modified_Since": BEFORE}, 304, 412),
        ({"If_Match": OTHER, "If_None_Match": SAME}, 412, 412),
        ({"If_Match": OTHER, "Range": "bytes=0-0"}, 412, 412),
        ({"If_None_Match": SAME, "Range": "bytes=0-0"}, 304, 412),
        ({"If_None_Match": SAME, "Range": "bytes=99-"}, 304, 412),
    ],
)
def test_conditions(
    server: http.client.HTTPConnection, headers: dict[str, str | list[str]], on_get: int, on_post: int
) -> None:
    for method, status in (("GET", on_get), ("HEAD", on_get), ("POST", on_post)):
        answer = ask(server, "/digests/small", method, **headers)
        assert answer.status == status
        if status == 304:
            assert answer.body == b""
            assert answer.headers["ETag"] == SAME
            assert "Content-Length" not in answer.headers
        # The plain API has nothing to compare with.
        assert ask(server, "/plain/small", method, **headers).status in (200, 206, 416)


@pytest.mark.parametrize(
    ("condition", "status"),
    [(SAME, 206), (OTHER, 200), (f"W/{SAME}", 200), (ETAG, 200), (AT, 206), (BEFORE, 200), (AFTER, 200)],
)
def test_if_range(server: http.client.HTTPConnection, condition: str, status: int) -> None:
    answer = ask(server, "/digests/small", Range="bytes=2-3", If_Range=condition)
    assert (answer.status, answer.body) == ((206, b"23") if status == 206 else (200, b"0123456789"))


@pytest.mark.parametrize(
    "date",
    [
        "Mon, 01 Jan 99999999999999999999 00:00:00 GMT",
        "Mon, 99999999999999999999 Jan 2020 00:00:00 GMT",
        "Mon, 01 Jan 2020 99999999999999999999:00:00 GMT",
        "Mon, 01 Jan 2020 00:00:00 +999999999999999999",
        "Mon, 01 Jan 2020 00:00:00 -999999999999999999",
        f"Mon, 01 Jan {'9' * 5000} 00:00:00 GMT",
        "Mon, 31 Feb 2020 00:00:00 GMT",
        "01 Jan",
        ",",
    ],
)
def test_dates_that_cannot_be_are_ignored(server: http.client.HTTPConnection, date: str) -> None:
    for method in ("GET", "POST"):
        for header in ("If_Unmodified_Since", "If_Modified_Since"):
            assert ask(server, "/digests/small", method, **{header: date}).status == 200
    assert ask(server, "/digests/small", Range="bytes=2-3", If_Range=date).status == 200


@pytest.mark.parametrize("date", ["Mon, 01 Jan 0001 00:00:00 +2359", "Mon, 31 Dec 9999 23:59:59 -2359"])
def test_dates_at_the_ends_of_time_are_compared(server: http.client.HTTPConnection, date: str) -> None:
    later = "9999" in date
    assert ask(server, "/digests/small", If_Unmodified_Since=date).status == (200 if later else 412)
    assert ask(server, "/digests/small", If_Modified_Since=date).status == (304 if later else 200)
    assert ask(server, "/digests/small", Range="bytes=2-3", If_Range=date).status == 200


def test_if_range_by_a_date_that_may_name_two_versions(server: http.client.HTTPConnection) -> None:
    date = format_datetime(datetime.now(UTC), usegmt=True)
    assert ask(server, "/fresh/small", Range="bytes=2-3", If_Range=date).status == 200


def test_if_range_without_validators_gets_everything(server: http.client.HTTPConnection) -> None:
    # Half of one version and half of another must never be joined.
    assert ask(server, "/plain/small", Range="bytes=2-3", If_Range=SAME).status == 200


def test_content_that_is_gone_is_an_error(server: http.client.HTTPConnection) -> None:
    assert ask(server, "/digests/gone").status == 503


def test_content_that_becomes_shorter_ends_the_connection(
    server: http.client.HTTPConnection, folder: Path
) -> None:
    os.truncate(folder / "short", SHORTENED)
    server.request("GET", "/digests/short")
    answer = server.getresponse()
    os.truncate(folder / "short", 2 * CHUNK_SIZE)
    with pytest.raises(http.client.IncompleteRead) as caught:
        answer.read()
    server.close()
    assert 2 * CHUNK_SIZE <= len(caught.value.partial) < SHORTENED
    assert not any(caught.value.partial)


def test_a_client_that_leaves_ends_the_reading(folder: Path, server: http.client.HTTPConnection) -> None:
    path = folder / "endless"
    with path.open("wb") as file:
        file.truncate(2**40)
    server.request("GET", "/digests/endless")
    server.getresponse().read(10)
    assert path in open_files()
    server.close()
    wait_until(lambda: path not in open_files())
    assert ask(server, "/digests/small").status == 200


def open_files() -> set[Path]:
    return {Path(file.path) for file in psutil.Process().open_files()}


@given(
    filename=st.text(
        st.characters(exclude_categories=("Cs", "Cc"), exclude_characters="/"), min_size=1, max_size=255
    )
)
def test_any_name_can_be_read_back_from_its_header(filename: str) -> None:
    header = content_disposition(filename)
    header.encode("ascii")
    assert header.isprintable()
    match = re.fullmatch(r'attachment; filename="([^"\\%/]*)"(?:; filename\*=UTF-8\'\'(\S*))?', header)
    assert match
    plain, encoded = match.groups()
    assert (plain if encoded is None else unquote(encoded)) == filename


@pytest.mark.parametrize("filename", ["\ud800", "a\r\nX: y", 'a"b', "a%22b", "..", "con/../x"])
def test_names_that_break_headers_do_not(filename: str) -> None:
    header = content_disposition(filename)
    assert header.isascii()
    assert header.isprintable()
