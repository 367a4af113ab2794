"""Whatever is sent, the answer says what is wrong with it, and nothing is made by halves."""

from __future__ import annotations

import http.client
import json
import socket
from contextlib import closing
from typing import TYPE_CHECKING, Any
from urllib.parse import quote, urlsplit

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from sqlalchemy import select

from rinofs.server.api.rinocloud.routes import BASE, ENDPOINTS
from rinofs.server.catalog.tables import metadata
from rinofs.testing import live_server
from tests.campaign import rounds
from tests.server.api import bad_input as corpus
from tests.server.client import Api
from tests.server.packs import Api as Datapacks
from tests.server.packs import data, pack

if TYPE_CHECKING:
    from rinofs.testing import LiveServer

REFUSALS = {400, 401, 404, 405, 409, 412, 413, 415, 422}
JSON = {"Content-Type": "application/json"}
ALL = [path.rstrip("/") for path, _, _ in ENDPOINTS if not path.startswith("users/")]


@pytest.fixture(scope="module")
def known(extended: LiveServer) -> tuple[Api, dict[str, int]]:
    api = Api(extended.endpoint_url, extended.add_user("bad input"))
    return api, {"FILE": api.file("file", b"content", x=1)["id"], "FOLDER": api.folder("folder")["id"]}


@pytest.fixture
def api(known: tuple[Api, dict[str, int]]) -> Api:
    return known[0]


def everything(api: Api) -> Any:
    return api.ok("files/children", {"recursive": True, "limit": 1000})


@pytest.fixture(scope="module")
def present(known: tuple[Api, dict[str, int]]) -> list[Any]:
    """What there is, as the last test left it."""
    return [everything(known[0])]


@pytest.fixture(autouse=True)
def nothing_is_made(known: tuple[Api, dict[str, int]], present: list[Any]) -> Any:
    api, numbers = known
    yield
    before, present[0] = present[0], everything(api)
    assert present[0] == before
    assert api.content(numbers["FILE"]) == b"content"


def put_in(value: Any, numbers: dict[str, int]) -> Any:
    if isinstance(value, list):
        return [put_in(one, numbers) for one in value]
    return numbers.get(value, value) if isinstance(value, str) else value


@pytest.mark.one_in(2)
@pytest.mark.parametrize(("endpoint", "fields", "field"), corpus.FIELDS, ids=lambda value: ascii(value)[:60])
def test_a_bad_field_is_named(
    known: tuple[Api, dict[str, int]], endpoint: str, fields: dict[str, Any], field: str
) -> None:
    api, numbers = known
    answer = api.post(endpoint, {key: put_in(value, numbers) for key, value in fields.items()})
    assert answer.status_code in {400, 404, 409}
    assert answer.json()["error"].startswith(f"{field}: ")


@pytest.mark.covering
@pytest.mark.parametrize("name", corpus.NAMES.values(), ids=corpus.NAMES)
@pytest.mark.parametrize(
    "endpoint", [*corpus.CREATING, "files/upload", "files/upload_binary", "files/update", "files/copy"]
)
def test_a_bad_name_is_refused(known: tuple[Api, dict[str, int]], endpoint: str, name: Any) -> None:
    api, numbers = known
    if endpoint.startswith("files/upload") and str(name).startswith("/"):
        name = f"{name}/"  # a path of the client's machine is a name there, unless nothing is at its end
    if endpoint == "files/upload":
        answer = api.upload(b"x", name=name)
    elif endpoint == "files/upload_binary":
        header = {"rinocloud-api-payload": json.dumps({"name": name})}
        answer = api.session.post(api.url(endpoint), data=b"x", headers=header)
    else:
        subject = {"id": numbers["FILE"]} if endpoint in {"files/update", "files/copy"} else {}
        answer = api.post(endpoint, {"name": name, **subject})
    assert answer.status_code == 400, answer.text
    assert answer.json()["error"].startswith("name: ")


@pytest.mark.parametrize("filename", ["", "..", ".", "a\0b", "/", "a/..", "x" * 256])
def test_a_bad_filename_is_refused_where_there_is_no_other_name(api: Api, filename: str) -> None:
    head = f'--b\r\nContent-Disposition: form-data; name="file"; filename="{filename}"\r\n\r\n'
    body = head.encode() + b"x\r\n--b--\r\n"
    answer = api.session.post(
        api.url("files/upload"), data=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 400
    assert "error" in answer.json()


@pytest.mark.covering
@pytest.mark.parametrize("endpoint", ALL)
@pytest.mark.parametrize("body", corpus.BODIES.values(), ids=corpus.BODIES)
def test_a_bad_body_is_refused_everywhere(api: Api, endpoint: str, body: bytes) -> None:
    answer = api.session.post(api.url(endpoint), data=body, headers=JSON)
    assert answer.status_code in {400, 413, 415}
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    "endpoint", ["files/children", "files/create_folder", "files/upload", "files/upload_binary"]
)
def test_compressed_bodies_are_refused(api: Api, endpoint: str) -> None:
    answer = api.session.post(
        api.url(endpoint), data=b"\x1f\x8b", headers={**JSON, "Content-Encoding": "gzip"}
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("kind", ["text/plain", "application/xml", "image/png", "application/x-tar"])
def test_other_types_are_refused(api: Api, kind: str) -> None:
    answer = api.session.post(
        api.url("files/create_folder"), data=b'{"name": "n"}', headers={"Content-Type": kind}
    )
    assert answer.status_code == 415


@pytest.mark.parametrize("endpoint", ["files/upload", "files/upload_many"])
@pytest.mark.parametrize("body", corpus.MULTIPART.values(), ids=corpus.MULTIPART)
def test_a_bad_multipart_body_is_refused(api: Api, endpoint: str, body: bytes) -> None:
    answer = api.session.post(
        api.url(endpoint), data=body, headers={"Content-Type": "multipart/form-data; boundary=b"}
    )
    assert answer.status_code == 400
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize(
    "payload", [None, "", "{", "[]", '{"name": ""}', '{"name": "a", "parent": 10000000}']
)
def test_a_bad_payload_header_is_refused(api: Api, payload: str | None) -> None:
    headers = {} if payload is None else {"rinocloud-api-payload": payload}
    answer = api.session.post(api.url("files/upload_binary"), data=b"x", headers=headers)
    assert answer.status_code in {400, 404}


@pytest.mark.parametrize("endpoint", ["files/upload", "files/upload_binary", "files/create_folder"])
def test_a_body_that_ends_too_early_makes_nothing(api: Api, extended: LiveServer, endpoint: str) -> None:
    body = b'--b\r\nContent-Disposition: form-data; name="file"; filename="n"\r\n\r\nhalf of it'
    kind = "application/json" if endpoint == "files/create_folder" else "multipart/form-data; boundary=b"
    host = urlsplit(extended.endpoint_url)
    head = (
        f"POST {BASE}{endpoint}/ HTTP/1.1\r\nHost: {host.netloc}\r\nContent-Type: {kind}\r\n"
        f"Authorization: {api.session.headers['Authorization']!s}\r\n"
        f'rinocloud-api-payload: {{"name": "n"}}\r\nContent-Length: 100000\r\n\r\n'
    )
    with socket.create_connection((host.hostname, host.port)) as connection:
        connection.sendall(head.encode() + body)
        connection.shutdown(socket.SHUT_WR)
        answer = b"".join(iter(lambda: connection.recv(65536), b""))
    assert not answer.startswith(b"HTTP/1.1 2")


@pytest.mark.parametrize("zeros", [1, 20, 4300, 5000])
@pytest.mark.parametrize(("size", "status"), [(2, 200), (3 * 1024 * 1024, 413), (10**19, 413)])
def test_the_length_of_a_body_may_have_leading_zeros(api: Api, zeros: int, size: int, status: int) -> None:
    headers = {"Content-Type": "application/json", "Content-Length": "0" * zeros + str(size)}
    headers["Authorization"] = str(api.session.headers["Authorization"])
    connection = http.client.HTTPConnection(urlsplit(api.endpoint_url).netloc, timeout=60)
    with closing(connection):
        connection.request("POST", f"{BASE}files/children/", b"{}", headers)
        assert connection.getresponse().status == status


@pytest.mark.parametrize(
    "query",
    ["id=x", "id=", "id=-1", "id=1.5", "from=x", "path=nowhere", "path=", "", "id=99999999999999999999"],
)
def test_a_bad_download_is_refused(api: Api, query: str) -> None:
    answer = api.session.get(f"{api.url('files/download')}?{query}")
    assert answer.status_code in {400, 404}
    assert set(answer.json()) == {"error"}


@pytest.mark.parametrize("start", ["-1", "x", "1.5"])
def test_a_bad_start_of_a_download_is_refused(known: tuple[Api, dict[str, int]], start: str) -> None:
    api, numbers = known
    asked = {"id": str(numbers["FILE"]), "from": start}
    answer = api.session.get(api.url("files/download"), params=asked)
    assert answer.status_code == 400
    assert answer.json()["error"].startswith("from: ")


@pytest.mark.parametrize("key", ["", "é", "x" * 256, "a b"])
def test_a_bad_idempotency_key_is_refused(api: Api, key: str) -> None:
    headers = {"Idempotency-Key": key.encode()}
    assert api.post("files/create_folder", {"name": "n"}, headers=headers).status_code == 400


NUL = "a\0b"


def test_whatever_is_sent_no_stored_text_has_a_nul() -> None:
    """PostgreSQL stores none: a folder with one could not be copied there."""
    with live_server() as server:
        api, datapacks = Api(server.endpoint_url, server.token), Datapacks(server.endpoint_url, server.token)
        document = pack(NUL, data(NUL, f"folder/{NUL}", meta={NUL: NUL}, more=NUL))
        identifier = datapacks.create(document, "pack")
        number = api.file("file", b"x")["id"]
        answers = [
            *(
                api.post(f"files/{endpoint}", {"id": number, "items": number, "name": "n", field: value})
                for endpoint in (
                    "create_folder",
                    "create_object",
                    "update",
                    "copy",
                    "move",
                    "append",
                    "delete_metadata_field",
                )
                for field, value in (
                    ("name", NUL),
                    ("metadata", {NUL: [NUL]}),
                    ("tags", [NUL]),
                    ("chunk", NUL),
                    ("field", NUL),
                )
            ),
            api.upload(b"x", name="other", metadata={NUL: NUL}, tags=[NUL], type=NUL, etag=NUL),
            api.upload(b"x", name=NUL),
            api.post("objects", {"data": [[NUL]], "category": NUL, NUL: NUL}),
            api.post("users/create_token", {"name": NUL}),
            api.session.post(
                f"{api.endpoint_url}/o/token/",
                data={"grant_type": "password", "client_id": NUL, "username": NUL, "password": NUL},
            ),
            datapacks.put(identifier, quote(f"folder/{NUL}"), b"x"),
            datapacks.post(f"/datapacks/{identifier}", json={"name": NUL, "structure": document}),
        ]
        assert {answer.status_code for answer in answers} <= {200, 201} | REFUSALS | {403}
        with server._services.database.read() as connection:
            for table in metadata.sorted_tables:
                for row in connection.execute(select(table)):
                    assert not any(isinstance(value, str) and "\0" in value for value in row), table.name


SHARED = [HealthCheck.function_scoped_fixture]

values = st.recursive(
    st.none()
    | st.booleans()
    | st.integers()
    | st.floats()
    | st.text(max_size=8)
    | st.just("FILE")
    | st.just("FOLDER"),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)
FIELDS = [
    "id",
    "name",
    "parent",
    "path",
    "items",
    "metadata",
    "tags",
    "versions",
    "query",
    "sort",
    "limit",
    "offset",
    "after",
    "recursive",
    "field",
    "chunk",
    "truncate_metadata",
    "from",
    "$or",
    "x",
]
READING = [
    "get_metadata",
    "children",
    "ancestors",
    "query",
    "query_count",
    "search",
    "autocomplete_search",
    "autocomplete_values",
    "download",
]
sent_fields = st.dictionaries(st.sampled_from(FIELDS), values, max_size=4)


@settings(
    max_examples=rounds(50, 1_500),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(endpoint=st.sampled_from(READING).map("files/{}".format), sent=sent_fields)
def test_nothing_that_can_be_asked_makes_the_server_fail(
    known: tuple[Api, dict[str, int]], endpoint: str, sent: dict[str, Any]
) -> None:
    api, numbers = known
    body = json.dumps({key: put_in(value, numbers) for key, value in sent.items()})
    answer = api.session.post(api.url(endpoint), data=body.encode(), headers=JSON)
    assert answer.status_code in {200, *REFUSALS}, answer.text


@settings(
    max_examples=rounds(50, 1_500),
    deadline=None,
    suppress_health_check=[HealthCheck.function_scoped_fixture],
)
@given(
    endpoint=st.sampled_from(ALL),
    sent=sent_fields,
)
def test_nothing_that_can_be_sent_makes_the_server_fail(
    extended: LiveServer, endpoint: str, sent: dict[str, Any], workshop: Workshop
) -> None:
    body = json.dumps({key: put_in(value, workshop.numbers()) for key, value in sent.items()})
    answer = workshop.api.session.post(workshop.api.url(endpoint), data=body.encode(), headers=JSON)
    assert answer.status_code in {200, 201, 204, *REFUSALS}, answer.text


class Workshop:
    """A user whose objects may come to harm."""

    def __init__(self, api: Api) -> None:
        self.api = api

    def numbers(self) -> dict[str, int]:
        file = self.api.upload(b"x", name="made/file").json()
        return {"FILE": file["id"], "FOLDER": file["parent"]}


@pytest.fixture(scope="module")
def workshop(extended: LiveServer) -> Workshop:
    return Workshop(Api(extended.endpoint_url, extended.add_user("workshop")))
