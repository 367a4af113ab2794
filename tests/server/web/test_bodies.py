from __future__ import annotations

import hashlib
import json
import os
import socket
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlencode, urlsplit

import pytest
import requests
from blake3 import blake3
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from starlette.routing import Route

from rinofs.protocol.digests import EtagHasher, new_hasher
from rinofs.protocol.extensions import RINOCLOUD_PAYLOAD
from rinofs.server.blobs.disk import DiskBlobStore
from rinofs.server.web.bodies import read_fields
from rinofs.server.web.responses import json_response
from rinofs.server.web.uploads import receive_binary, receive_upload
from tests.campaign import rounds
from tests.server.serving import served
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from starlette.requests import Request
    from starlette.responses import Response

    from rinofs.server.web.uploads import ReceivedUpload

MIB = 1024 * 1024
JSON_LIMIT = 64 * 1024
CONTENT_LIMIT = 8 * MIB
on_server = settings(
    deadline=None,
    max_examples=rounds(30, 1_500),
    suppress_health_check=[HealthCheck.function_scoped_fixture, HealthCheck.too_slow],
)


class Kept:
    """The folder below a server, by what is in it."""

    def __init__(self, root: Path) -> None:
        self._root = root

    def files(self) -> list[Path]:
        return [path for path in self._root.rglob("*") if path.is_file()]

    def clear(self) -> None:
        # What the server still does for clients that have gone, it ends by itself.
        wait_until(lambda: not any(path.parent.name == "temporary" for path in self.files()))
        for path in self.files():
            path.unlink()


@pytest.fixture(scope="module")
def kept(tmp_path_factory: pytest.TempPathFactory) -> Kept:
    return Kept(tmp_path_factory.mktemp("blobs"))


@pytest.fixture(scope="module")
def url(kept: Kept) -> Iterator[str]:
    blobs = DiskBlobStore(kept._root)

    def shown(upload: ReceivedUpload) -> Response:
        blob = upload.blob
        body = {"fields": upload.fields, "filename": upload.filename, "size": blob.size}
        digests = {"blake3": blob.blake3, "sha256": blob.sha256, "sha1": blob.taken_sha1}
        return json_response({**body, **digests, "etag": blob.etag})

    async def fields(request: Request) -> Response:
        return json_response(await read_fields(request, text_fields={"query"}))

    async def upload(request: Request) -> Response:
        async with receive_upload(request, blobs, sha1=True) as upload:
            return shown(upload)

    async def binary(request: Request) -> Response:
        async with receive_binary(request, blobs) as upload:
            return shown(upload)

    routes = [
        Route("/fields", fields, methods=["GET", "POST"]),
        Route("/upload", upload, methods=["POST"]),
        Route("/binary", binary, methods=["POST"]),
    ]
    limits = {"max_json_bytes": JSON_LIMIT, "max_content_bytes": CONTENT_LIMIT}
    with served(routes, kept._root, **limits) as url:
        yield url
    blobs.close()


@pytest.fixture
def empty(kept: Kept) -> Kept:
    kept.clear()
    return kept


def post(url: str, body: bytes | str, kind: str | None = "application/json", **headers: str) -> Any:
    named = {name.replace("_", "-"): value for name, value in headers.items()}
    if kind is not None:
        named["Content-Type"] = kind
    return requests.post(
        url, data=body.encode() if isinstance(body, str) else body, headers=named, timeout=10
    )


def multipart(*parts: tuple[str, bytes], boundary: str = "XX") -> bytes:
    """Join parts: the parameters of each one's disposition after its type, and its body."""
    joined = b"".join(
        f"--{boundary}\r\nContent-Disposition: form-data; {head}\r\n\r\n".encode() + body + b"\r\n"
        for head, body in parts
    )
    return joined + f"--{boundary}--\r\n".encode()


FORM_DATA = "multipart/form-data; boundary=XX"
FORM = "application/x-www-form-urlencoded"

# Documents


@pytest.mark.parametrize(
    "kind", ["application/json", "application/json; charset=utf-8", "application/x+json"]
)
def test_json(url: str, kind: str) -> None:
    document = {"id": 3, "metadata": {"a": [1, 2.5, None, True, "ü"]}}
    assert post(f"{url}/fields", json.dumps(document), kind).json() == document


def test_a_body_without_a_type_is_json(url: str) -> None:
    assert post(f"{url}/fields", '{"id": 3}', None).json() == {"id": 3}


@pytest.mark.parametrize("kind", [None, "application/json", FORM])
@pytest.mark.parametrize("method", ["GET", "POST"])
def test_no_body_is_no_fields(url: str, method: str, kind: str | None) -> None:
    headers = {"Content-Type": kind} if kind else {}
    assert requests.request(method, f"{url}/fields", headers=headers, timeout=10).json() == {}


def test_get_with_a_body(url: str) -> None:
    assert requests.get(f"{url}/fields", json={"id": [1, 2]}, timeout=10).json() == {"id": [1, 2]}


@pytest.mark.parametrize(
    ("pairs", "fields"),
    [
        ([("id", "3")], {"id": 3}),
        ([("id", "3"), ("id", "4")], {"id": [3, 4]}),
        ([("name", "3")], {"name": "3"}),
        ([("field", "null"), ("chunk", "1"), ("query", "5")], {"field": "null", "chunk": "1", "query": "5"}),
        ([("x", "true"), ("y", "1.5"), ("z", "null")], {"x": True, "y": 1.5, "z": None}),
        ([("metadata", '{"a": [1]}')], {"metadata": {"a": [1]}}),
        ([("x", "a b&c=d+ü%"), ("y", "")], {"x": "a b&c=d+ü%", "y": ""}),
        ([("x", "NaN"), ("y", "{broken"), ("z", "[" * 70 + "]" * 70)], None),
        ([("x", "18446744073709551616")], None),
    ],
)
@pytest.mark.parametrize("encoding", ["form", "multipart"])
def test_forms(
    url: str, encoding: str, pairs: list[tuple[str, str]], fields: dict[str, object] | None
) -> None:
    if encoding == "form":
        answer = post(f"{url}/fields", urlencode(pairs), FORM)
    else:
        body = multipart(*((f'name="{name}"', value.encode()) for name, value in pairs))
        answer = post(f"{url}/fields", body, FORM_DATA)
    # What is no JSON within bounds is the text that it is.
    assert answer.json() == (dict(pairs) if fields is None else fields)


def test_forms_in_plain_utf8(url: str) -> None:
    assert post(f"{url}/fields", "x=ü", FORM).json() == {"x": "ü"}


@pytest.mark.parametrize(
    "body",
    [
        b"{",
        b'{"a": 1}}',
        b"[]",
        b'"text"',
        b"null",
        b'{"a": NaN}',
        b'{"a": Infinity}',
        b'{"a": 1e999}',
        b'{"a": "\\ud800"}',
        b'{"\\udfff": 1}',
        b'{"a": "\xff"}',
        b'{"a": 9223372036854775808}',
        b'{"a": -9223372036854775809}',
        b'{"a": 1' + b"0" * 5000 + b"}",
        b'{"a": [1.5, {"b": 99999999999999999999}]}',
        b'{"a": ' + b"[" * 64 + b"]" * 64 + b"}",
        b'{"a": ' + b"[" * 5000 + b"]" * 5000 + b"}",
        b'{"a":' * 5000 + b"1" + b"}" * 5000,
    ],
)
def test_json_that_is_refused(url: str, body: bytes) -> None:
    answer = post(f"{url}/fields", body)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("the body ")


@pytest.mark.parametrize(
    "text",
    [
        '{"a": 9223372036854775807, "b": -9223372036854775808}',
        '{"a": 1e300, "b": -1.5e20, "c": 18446744073709551616.0}',
        '{"a": ' + "[" * 63 + "]" * 63 + "}",
        '{"a": "\\u0000", "b": "\\ud83d\\ude00"}',
    ],
)
def test_json_at_the_bounds(url: str, text: str) -> None:
    assert post(f"{url}/fields", text).json() == json.loads(text)


@on_server
@given(lengths=st.lists(st.sampled_from([1, 1000, 65_000, 70_000, 200_000]), min_size=1, max_size=30))
def test_chunks_of_any_length(url: str, lengths: list[int]) -> None:
    chunks = [os.urandom(length) for length in lengths]
    body = b"".join(b"%x\r\n%b\r\n" % (len(chunk), chunk) for chunk in [*chunks, b""])
    parts = urlsplit(f"{url}/binary")
    head = (
        f"POST {parts.path} HTTP/1.1\r\nHost: {parts.netloc}\r\n{RINOCLOUD_PAYLOAD}: {{}}\r\n"
        "Transfer-Encoding: chunked\r\nConnection: close\r\n\r\n"
    )
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        client.sendall(head.encode() + body)  # so that the server reads many of them at once
        with client.makefile("rb") as answer:
            stored = json.loads(answer.read().partition(b"\r\n\r\n")[2])
    assert stored["blake3"] == blake3(b"".join(chunks)).hexdigest()


@pytest.mark.parametrize("kind", ["application/json", FORM, FORM_DATA])
@pytest.mark.parametrize("chunked", [False, True])
def test_documents_that_are_too_long(url: str, kind: str, chunked: bool) -> None:
    value = b"a" * JSON_LIMIT
    body = {
        "application/json": b'{"a":"' + value + b'"}',
        FORM: b"a=" + value,
        FORM_DATA: multipart(('name="a"', value)),
    }[kind]
    sent: Any = iter([body[:1000], body[1000:]]) if chunked else body
    answer = requests.post(f"{url}/fields", data=sent, headers={"Content-Type": kind}, timeout=10)
    assert answer.status_code == 413


@pytest.mark.parametrize("path", ["fields", "upload", "binary"])
@pytest.mark.parametrize("encoding", ["gzip", "br", "deflate, gzip"])
def test_compressed_bodies_are_refused(url: str, empty: Kept, path: str, encoding: str) -> None:
    answer = post(f"{url}/{path}", b"\x1f\x8b", Content_Encoding=encoding)
    assert answer.status_code == 415
    assert empty.files() == []


def test_other_types_are_refused(url: str) -> None:
    assert post(f"{url}/fields", "id: 3", "application/yaml").status_code == 415
    assert post(f"{url}/upload", "{}", "application/json").status_code == 415


def test_too_many_form_fields(url: str) -> None:
    assert post(f"{url}/fields", "a&" * 2000, FORM).status_code == 400


# Contents


def described(content: bytes) -> dict[str, object]:
    etag = EtagHasher()
    etag.update(content)
    digests = {name: hashlib.new(name, content).hexdigest() for name in ("sha256", "sha1")}
    if len(content) > MIB:
        digests["sha256"] = None  # taken later
    return {"size": len(content), "etag": etag.etag(), "blake3": blake3(content).hexdigest(), **digests}


@pytest.mark.parametrize("size", [0, MIB, MIB + 1, 3 * MIB])
def test_a_digest_that_is_sent_is_taken_at_once(url: str, size: int) -> None:
    content = os.urandom(size)
    digest = hashlib.sha256(content).hexdigest()
    body = multipart(('name="file"; filename="f"', content), ('name="sha256"', digest.encode()))
    assert post(f"{url}/upload", body, FORM_DATA).json()["sha256"] == digest


@pytest.mark.parametrize("size", [0, 1, 1000, MIB - 1, MIB, MIB + 1, 7 * MIB + 5])
def test_upload(url: str, size: int) -> None:
    content = os.urandom(size)
    files: dict[str, Any] = {"json": (None, '{"name": "n", "tags": ["t"]}'), "file": ("f.bin", content)}
    answer = requests.post(f"{url}/upload", files=files, timeout=30).json()
    assert answer == {"fields": {"name": "n", "tags": ["t"]}, "filename": "f.bin", **described(content)}


@pytest.mark.parametrize("size", [0, 1000, 3 * MIB + 5])
def test_binary_upload(url: str, size: int) -> None:
    content = os.urandom(size)
    headers = {"rinocloud-api-payload": '{"name": "\\u00fc", "x": 1}'}
    answer = requests.post(f"{url}/binary", data=content, headers=headers, timeout=30).json()
    assert answer == {"fields": {"name": "ü", "x": 1}, "filename": None, **described(content), "sha1": None}


def test_binary_upload_takes_utf8_in_its_header(url: str) -> None:
    answer = post(f"{url}/binary", b"x", rinocloud_api_payload='{"name": "ü"}'.encode().decode("latin-1"))
    assert answer.json()["fields"] == {"name": "ü"}


PARTS = {
    "json": ('name="json"', b'{"name": "n", "x": 1}'),
    "file": ('name="file"; filename="f"', b"content"),
    "sha256": ('name="sha256"', hashlib.sha256(b"content").hexdigest().upper().encode()),
    "blake3": ('name="blake3"', blake3(b"content").hexdigest().upper().encode()),
    "x": ('name="x"', b"2"),
    "y": ('name="y"', b"3"),
}


@pytest.mark.parametrize(
    "order",
    [
        ("json", "file", "sha256"),
        ("sha256", "file", "json"),
        ("json", "file", "blake3"),
        ("blake3", "file", "sha256"),
        ("file", "x", "json", "y"),
        ("file",),
    ],
)
def test_parts_come_in_any_order(url: str, order: tuple[str, ...]) -> None:
    answer = post(f"{url}/upload", multipart(*(PARTS[name] for name in order)), FORM_DATA).json()
    expected: dict[str, object] = {"y": 3} if "y" in order else {}
    if "json" in order:
        expected |= {"name": "n", "x": 1}
    assert answer["fields"] == expected
    assert answer["size"] == 7


@pytest.mark.parametrize("stored", [b"content", b"else", b"large" * MIB])
@pytest.mark.parametrize("name", ["blake3", "sha256"])
def test_digest_of_something_else(url: str, empty: Kept, stored: bytes, name: str) -> None:
    hasher = new_hasher(name)
    hasher.update(b"intended")
    announced = (f'name="{name}"', hasher.hexdigest().encode())
    body = multipart(('name="file"; filename="f"', stored), announced)
    answer = post(f"{url}/upload", body, FORM_DATA)
    assert answer.status_code == 422
    assert name in answer.json()["error"]
    assert empty.files() == []


@pytest.mark.parametrize("name", ["blake3", "sha256"])
@pytest.mark.parametrize("digest", [b"", b"0" * 63, b"g" * 64, b"\xff" * 64])
def test_digest_that_is_none(url: str, empty: Kept, digest: bytes, name: str) -> None:
    body = multipart(('name="file"; filename="f"', b"x"), (f'name="{name}"', digest))
    assert post(f"{url}/upload", body, FORM_DATA).status_code == 400
    assert empty.files() == []


FILE = ('name="file"; filename="f"', b"x" * 100)
WHOLE = multipart(FILE)


@pytest.mark.parametrize(
    ("body", "kind"),
    [
        (WHOLE, "multipart/form-data"),
        (WHOLE, "multipart/form-data; boundary="),
        (WHOLE, 'multipart/form-data; boundary="a\x80b"'),
        (WHOLE, f"multipart/form-data; boundary={'X' * 300}"),
        (WHOLE, "multipart/form-data; boundary=YY"),
        (b"", FORM_DATA),
        (b"--XX--\r\n", FORM_DATA),
        (b"--XX\r\n", FORM_DATA),
        (b"x" * 100, FORM_DATA),
        (b"noise before\r\n" + WHOLE.replace(b"\r\n", b"\n"), FORM_DATA),
        (WHOLE[:-4], FORM_DATA),
        (WHOLE[:-20], FORM_DATA),
        (WHOLE[:40], FORM_DATA),
        (WHOLE.replace(b"--XX--", b"--XX-!"), FORM_DATA),
        (multipart(('name="json"', b"{}")), FORM_DATA),
        (multipart(FILE, FILE), FORM_DATA),
        (multipart(FILE, ('name="other"; filename="g"', b"y")), FORM_DATA),
        (multipart(FILE, ('name=""', b"y")), FORM_DATA),
        (multipart(FILE, ('filename="x"', b"y")), FORM_DATA),
        (multipart(FILE, ('name="json"', b"[]")), FORM_DATA),
        (multipart(FILE, ('name="json"', b"{")), FORM_DATA),
        (multipart(FILE, ('name="json"', b'{"a": NaN}')), FORM_DATA),
        (multipart(FILE, ('name="x"', b"\xff")), FORM_DATA),
        (b"--XX\r\nContent-Type: text/plain\r\n\r\nx\r\n--XX--\r\n", FORM_DATA),
        (b"--XX\r\nno header\r\n\r\nx\r\n--XX--\r\n", FORM_DATA),
    ],
)
def test_multipart_bodies_that_are_refused(url: str, empty: Kept, body: bytes, kind: str) -> None:
    answer = post(f"{url}/upload", body, kind)
    assert answer.status_code == 400
    assert answer.json()["error"]
    assert empty.files() == []


@pytest.mark.parametrize(
    "body",
    [
        multipart(('name="file"; filename="f"', b"x" * (CONTENT_LIMIT + 1))),
        multipart(FILE, ('name="json"', b" " * (JSON_LIMIT + 1))),
        multipart(FILE, *[('name="x"', b"y" * (JSON_LIMIT // 4))] * 5),
        multipart(FILE, *[('name="x"', b"")] * 1100),
        multipart((f'name="file"; filename="{"n" * 5000}"', b"x")),
    ],
)
def test_multipart_bodies_that_are_too_long(url: str, empty: Kept, body: bytes) -> None:
    assert post(f"{url}/upload", body, FORM_DATA).status_code == 413
    assert empty.files() == []


def test_what_surrounds_the_parts_is_passed_over(url: str) -> None:
    body = b"preamble\r\n" + WHOLE + b"\r\nepilogue"
    assert post(f"{url}/upload", body, FORM_DATA).json()["size"] == 100


def test_binary_upload_without_fields(url: str, empty: Kept) -> None:
    assert post(f"{url}/binary", b"x").status_code == 400
    assert post(f"{url}/binary", b"x", rinocloud_api_payload="[]").status_code == 400
    assert empty.files() == []


@pytest.mark.parametrize("path", ["fields", "upload", "binary"])
@pytest.mark.parametrize("half_closed", [True, False])
def test_a_body_shorter_than_announced(url: str, empty: Kept, path: str, half_closed: bool) -> None:
    kind = FORM_DATA if path == "upload" else "application/json"
    body = multipart(('name="file"; filename="f"', b"x" * 2 * MIB))[:-100] if path != "fields" else b'{"a":'
    head = f"POST /{path} HTTP/1.1\r\nHost: localhost\r\nContent-Type: {kind}\r\n"
    head += f"rinocloud-api-payload: {{}}\r\nContent-Length: {len(body) + 50}\r\n\r\n"
    parts = urlsplit(url)
    with socket.create_connection((parts.hostname, parts.port), timeout=10) as client:
        client.sendall(head.encode() + body)
        if half_closed:
            client.shutdown(socket.SHUT_WR)
            answer = b"".join(iter(lambda: client.recv(65536), b""))
            assert answer.startswith(b"HTTP/1.1 400 ")
            assert f"the body ended after {len(body)} bytes".encode() in answer.lower()
    # The next upload goes the same way, so it comes after what the broken one left behind was cleared away.
    while [file for file in empty.files() if file.parent.name == "temporary"]:
        requests.get(f"{url}/fields", timeout=10)
    while empty.files():  # the end of the connection reaches the server by itself; pytest's timeout ends this
        requests.get(f"{url}/fields", timeout=10)


# Names


names = st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60)


@given(name=names, value=names)
@on_server
def test_json_carries_any_name(url: str, name: str, value: str) -> None:
    body = multipart(FILE, ('name="json"', json.dumps({"name": name, name: value}).encode()))
    fields = post(f"{url}/upload", body, FORM_DATA).json()["fields"]
    assert fields == {"name": name, name: value}


@given(filename=st.text(st.characters(exclude_categories=("Cs", "Cc")), min_size=1, max_size=60))
@on_server
def test_filenames_as_browsers_write_them(url: str, filename: str) -> None:
    escaped = filename.replace('"', "%22")
    answer = post(f"{url}/upload", multipart((f'name="file"; filename="{escaped}"', b"x")), FORM_DATA)
    found = answer.json()["filename"]
    # The encoding is not one-to-one, which is why a name in the JSON wins over the filename.
    ambiguous = "%22" in filename or "\\" in filename or "%0A" in filename or "%0D" in filename
    assert ambiguous or found == filename


@given(filename=st.text(st.characters(exclude_categories=("Cs",)), min_size=1, max_size=60))
@on_server
def test_filenames_as_older_clients_write_them(url: str, filename: str) -> None:
    body = multipart((f"name=\"file\"; filename*=utf-8''{quote(filename, safe='')}", b"x"))
    assert post(f"{url}/upload", body, FORM_DATA).json()["filename"] == filename


# Noise


@given(
    pieces=st.lists(
        st.one_of(
            st.binary(max_size=20),
            st.sampled_from(
                [
                    b"--XX",
                    b"\r\n--XX",
                    b"--XX--\r\n",
                    b"\r\n",
                    b"\n",
                    b"Content-Disposition: form-data; ",
                    b'name="file"; filename="f"',
                    b'name="json"',
                    b"Content-Length: 5\r\n",
                    b"{}",
                    b"\x00",
                ]
            ),
        ),
        max_size=12,
    )
)
@on_server
def test_noise_is_refused_and_leaves_nothing(url: str, kept: Kept, pieces: list[bytes]) -> None:
    kept.clear()
    answer = post(f"{url}/upload", b"".join(pieces), FORM_DATA)
    assert answer.status_code in (200, 400, 413)
    if answer.status_code != 200:
        assert kept.files() == []


@given(
    body=st.one_of(
        st.binary(max_size=200), st.text(max_size=60).map(lambda text: text.encode("utf-8", "replace"))
    )
)
@on_server
def test_noise_is_no_document(url: str, body: bytes) -> None:
    for kind in ("application/json", FORM, FORM_DATA):
        answer = post(f"{url}/fields", body, kind)
        assert answer.status_code in (200, 400)
        assert isinstance(answer.json(), dict)
