"""Requests of the published Rinocloud clients, as they send them, and what they make of answers.

Each test is named for what a client does: MATLAB, Python 0.0.8, JavaScript, LabVIEW, Java.
"""

from __future__ import annotations

import http.client
import json
from typing import TYPE_CHECKING, Any
from urllib.parse import urlsplit

import pytest
import requests

from rinofs.protocol.limits import TRUNCATED_FROM
from tests.server.client import Api

if TYPE_CHECKING:
    from rinofs.testing import LiveServer


def binary(api: Api, payload: bytes, content: bytes) -> requests.Response:
    """Upload as MATLAB and Java do: the fields in a header, as they are."""
    headers = {"Content-Type": "application/json", "rinocloud-api-payload": payload}
    return api.session.post(api.url("files/upload_binary"), data=content, headers=headers)


def matlab(api: Api, content: bytes, **fields: Any) -> Any:
    answer = binary(api, json.dumps(fields).encode(), content)
    assert answer.status_code == 201, answer.text
    return answer.json()


# Ids of earlier uploads


def test_an_id_goes_on_naming_the_object(api: Api) -> None:
    first = matlab(api, b"one", name="a.txt", metadata={"Temperature": "5 K"}, tags=["t"])
    second = matlab(api, b"two", name="a.txt", metadata={})
    updated = api.ok("files/update_metadata", {"id": first["id"], "Pressure": 2})
    assert (updated["id"], updated["metadata"]) == (second["id"], {"Pressure": 2})
    assert api.ok("files/create_object", {"id": first["id"], "x": 1}, 201)["metadata"] == {
        "Pressure": 2,
        "x": 1,
    }
    assert api.ok("files/delete_metadata_field", {"id": first["id"], "field": "x"})["id"] == second["id"]
    grown = api.ok("files/append", {"id": first["id"], "chunk": " more"})
    assert (grown["id"], api.content(second["id"])) == (second["id"], b"two more")
    assert (api.content(first["id"]), api.ok("files/get_metadata", {"id": first["id"]})["metadata"]) == (
        b"one",
        {"Temperature": "5 K"},
    )
    assert api.post("files/delete", {"id": first["id"]}).status_code == 204
    assert api.names() == []
    for gone in (first, second):
        assert api.post("files/get_metadata", {"id": gone["id"]}).status_code == 404
    assert api.post("files/delete", {"id": first["id"]}).status_code == 404


def test_an_id_that_is_meant_exactly_is_that_of_the_version(more: Api) -> None:
    first = more.file("a.txt", b"one")
    second = more.file("a.txt", b"two")
    for endpoint, body in {
        "update": {"x": 1},
        "create_object": {"x": 1},
        "append": {"chunk": "x"},
        "delete_metadata_field": {"field": "x"},
        "delete": {},
    }.items():
        refused = more.post(f"files/{endpoint}", {"id": first["id"], "exact": True, **body})
        assert (refused.status_code, "earlier version" in refused.text) == (409, True), endpoint
    assert more.content(second["id"]) == b"two"
    assert more.ok("files/update", {"id": second["id"], "exact": True, "x": 1})["metadata"] == {"x": 1}
    assert more.post("files/delete", {"id": second["id"], "exact": True}).status_code == 204


def test_an_object_that_is_made_twice_is_updated(api: Api) -> None:
    made = api.ok("files/create_empty", {"name": "o", "metadata": {"a": 1}, "tags": ["t"]}, 201)
    again = api.ok("files/create_object", {"name": "o", "b": 2}, 201)
    assert (again["id"], again["metadata"], again["tags"]) == (made["id"], {"a": 1, "b": 2}, ["t"])
    replaced = api.ok("files/create_object", {"name": "o", "metadata": {"c": 3}, "tags": []}, 201)
    assert (replaced["id"], replaced["metadata"], replaced["tags"]) == (made["id"], {"c": 3}, [])
    api.file("file")
    api.folder("folder")
    for taken in ("file", "folder"):
        assert api.post("files/create_object", {"name": taken}).status_code == 409
    other = api.ok("files/create_object", {"name": "o", "parent": api.folder("f")["id"]}, 201)
    assert other["id"] != made["id"]


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_an_object_without_content_downloads_as_nothing(api: Api, method: str) -> None:
    number = api.ok("files/create_object", {"name": "o", "x": 1}, 201)["id"]
    asked: dict[str, Any] = {"params": {"id": number}} if method == "GET" else {"json": {"id": number}}
    answer = api.session.request(method, api.url("files/download"), **asked)
    assert (answer.status_code, answer.content) == (200, b"")
    assert json.loads(answer.headers["rinocloud-api-result"])["metadata"] == {"x": 1}


# Metadata and tags


def test_metadata_that_are_left_out_are_an_object_and_survive_being_sent_back(api: Api) -> None:
    large = {"x": "y" * (TRUNCATED_FROM + 1), "n": 1}
    number = api.ok("files/create_object", {"name": "large", "metadata": large}, 201)["id"]
    shown = api.ok("files/get_metadata", {"id": number, "truncate_metadata": True})
    assert (shown["metadata"], shown["metadata_truncated"]) == ({}, True)
    for found in (
        api.ok("files/query", {"query": {"name": "large"}, "truncate_metadata": True})["result"],
        api.ok("files/children", {"truncate_metadata": True})["result"],
        api.ok("files/search", {"query": "*", "truncate_metadata": True})["result"],
    ):
        assert (found[0]["metadata"], found[0]["metadata_truncated"]) == ({}, True)
    sent_back = {**shown, "metadata": {"n": 2}, "loose": 3}
    for endpoint, status in (("update", 200), ("create_object", 201)):
        changed = api.ok(f"files/{endpoint}", sent_back, status)
        assert changed["metadata"] == {**large, "n": 2, "loose": 3}
        assert "metadata_truncated" not in changed
    small = api.ok("files/get_metadata", {"id": api.file("small", x=1)["id"], "truncate_metadata": True})
    assert (small["metadata"], "metadata_truncated" in small) == ({"x": 1}, False)


SERVERS = ("type", "owner", "project", "project_name", "shared", "updated_on")


@pytest.mark.parametrize("field", SERVERS)
def test_what_only_the_server_sets_is_not_lost_in_silence(api: Api, field: str) -> None:
    number = api.file("f")["id"]
    for endpoint, body in (
        ("create_object", {"name": "o"}),
        ("update", {"id": number}),
        ("create_folder", {"name": "d"}),
    ):
        refused = api.post(f"files/{endpoint}", {**body, field: "mine"})
        assert (refused.status_code, field in refused.text) == (400, True), endpoint
    assert api.upload(b"x", name="u", **{field: "mine"}).status_code == 400
    assert api.names() == ["f"]
    assert api.ok("files/update", {"id": number, field: None, "x": 1})["metadata"] == {"x": 1}
    assert api.ok("files/update", {"id": number, "metadata": {field: "mine"}})["metadata"] == {field: "mine"}


def test_what_objects_of_a_type_have_no_field_for_is_metadata(api: Api) -> None:
    loose = {"size": "large", "path": "/here", "filepath": "/there"}
    made = api.ok("files/create_object", {"name": "o", **loose}, 201)
    assert made["metadata"] == loose
    assert api.ok("files/create_object", {"name": "o", "size": 3}, 201)["metadata"] == {**loose, "size": 3}
    assert api.ok("files/update", {"id": made["id"], "size": 4})["metadata"] == {**loose, "size": 4}
    assert api.folder("f", size=9)["metadata"] == {"size": 9}
    file = api.upload(b"x", name="u", size=1, path="/here").json()  # that is its size
    assert file["metadata"] == {"path": "/here"}
    assert api.upload(b"x", name="u", size=2).status_code == 400
    assert "size" in api.post("files/update", {"id": file["id"], "size": 4}).json()["error"]


def test_in_a_record_that_is_sent_back_what_the_server_owns_is_ignored(api: Api) -> None:
    record = api.file("f", b"x", n=1)
    forged = {**record, "size": 9, "type": "folder", "owner": "eve", "shared": True, "filepath": "/f", "n": 2}
    assert api.ok("files/update", forged)["metadata"] == {"n": 2}
    new = {"id": None, "name": "o", "etag": None, "created_on": None, "size": None, "type": "object", "y": 1}
    assert api.ok("files/create_object", new, 201)["metadata"] == {"y": 1}


def test_tags_are_stripped_of_the_blanks_that_matlab_pads_them_with(api: Api) -> None:
    made = matlab(api, b"", name="m", metadata={}, tags=["low ", "high", "    ", ""])
    assert made["tags"] == ["low", "high"]
    assert api.ok("files/query", {"query": {"tags": "low"}})["result"] == [made]
    assert api.ok("files/update", {"id": made["id"], "tags": [" \t"]})["tags"] == []


# Addresses and encodings


@pytest.mark.parametrize(
    "path", ["//api/1/files/children/", "//api//1/files//children/", "/api/1//files/children/"]
)
def test_doubled_slashes_are_one(server: LiveServer, path: str) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.endpoint_url).netloc)
    headers = {"Authorization": f"Token {server.token}", "Content-Type": "application/json"}
    connection.request("POST", path, b'{"id": null}', headers)
    answer = connection.getresponse()
    assert (answer.status, "result" in json.load(answer)) == (200, True)
    usual = Api(server.endpoint_url, server.token).post("files/children", {})
    assert answer.headers["rinocloud-api-extensions"] == usual.headers.get("rinocloud-api-extensions")
    connection.close()


def test_doubled_slashes_where_one_signs_in(server: LiveServer) -> None:
    connection = http.client.HTTPConnection(urlsplit(server.endpoint_url).netloc)
    form = f"username={server.username}&password={server.password}&grant_type=password&client_id=x"
    headers = {"Content-Type": "application/x-www-form-urlencoded"}
    connection.request("POST", "//o/token/", form, headers)
    assert connection.getresponse().status == 200
    connection.close()


@pytest.mark.parametrize("encoding", ["utf-8", "latin-1"])
def test_a_payload_in_the_encoding_of_java_on_windows(api: Api, encoding: str) -> None:
    payload = json.dumps({"name": "é.txt", "place": "Zürich"}, ensure_ascii=False).encode(encoding)
    made = binary(api, payload, b"x").json()
    assert (made["name"], made["metadata"]) == ("é.txt", {"place": "Zürich"})


def test_the_name_of_an_upload_may_be_a_path_on_the_clients_machine(api: Api) -> None:
    alone = matlab(api, b"x", name="/home/me/x.txt", metadata={})
    assert (alone["name"], alone["parent"]) == ("x.txt", None)
    assert api.upload(b"x", name="/y.txt").json()["name"] == "y.txt"
    folder = api.folder("f")["id"]
    below = matlab(api, b"x", name="/home/me/x.txt", parent=folder, metadata={})
    above = api.ok("files/ancestors", {"id": below["id"]})
    assert [one["name"] for one in above] == ["f", "home", "me"]
    assert sorted(api.names()) == ["f", "x.txt", "y.txt"]


@pytest.mark.parametrize("beyond", [0, 3])
def test_polling_for_what_has_come_since(api: Api, beyond: int) -> None:
    number = api.file("log", b"12345")["id"]
    asked = {"id": number, "from": 5 + beyond}
    answer = api.session.get(api.url("files/download"), params=asked)
    assert (answer.status_code, answer.content) == (200, b"")
    assert json.loads(answer.headers["rinocloud-api-result"])["size"] == 5
    assert api.session.post(api.url("files/download"), json=asked).content == b""
    api.ok("files/append", {"id": number, "chunk": "6"})
    assert api.session.get(api.url("files/download"), params={"id": number, "from": 5}).content == b"6"
    empty = api.file("empty")["id"]
    for start in (0, 1):
        answer = api.session.get(api.url("files/download"), params={"id": empty, "from": start})
        assert (answer.status_code, answer.content) == (200, b"")


@pytest.mark.parametrize("endpoint", ["upload", "upload_multipart"])
def test_an_upload_without_a_file(api: Api, endpoint: str) -> None:
    form = api.form(f"files/{endpoint}", {"json": json.dumps({"name": "a"})})
    assert (form.status_code, "no file" in form.json()["error"]) == (400, True)
    parts = api.session.post(api.url(f"files/{endpoint}"), files={"json": (None, '{"name": "a"}')})
    assert (parts.status_code, "'file'" in parts.json()["error"]) == (400, True)


# Signing in


def grant(server: LiveServer, **form: str) -> requests.Response:
    known = {"password": server.password, "grant_type": "password", "client_id": "x"}
    return requests.post(f"{server.endpoint_url}/o/token/", data={**known, **form}, timeout=60)


def test_a_token_is_revoked(server: LiveServer) -> None:
    access = grant(server, username=server.username).json()["access_token"]
    api = Api(server.endpoint_url, access)
    lasting = api.ok("users/details")["token"]
    for token in (access, lasting):
        assert Api(server.endpoint_url, token).post("files/children", {}).status_code == 200
        form = {"token": token, "client_id": "x"}
        for _ in range(2):  # what is void already is no error (RFC 7009)
            answer = requests.post(f"{server.endpoint_url}/o/revoke_token/", data=form, timeout=60)
            assert answer.status_code == 200
        assert Api(server.endpoint_url, token).post("files/children", {}).status_code == 401


@pytest.mark.parametrize("form", [{}, {"token": ""}, {"token": "primary"}])
def test_what_is_not_revoked(server: LiveServer, form: dict[str, str]) -> None:
    form = {key: server.token if value == "primary" else value for key, value in form.items()}
    answer = requests.post(f"{server.endpoint_url}/o/revoke_token/", data=form, timeout=60)
    assert (answer.status_code, set(answer.json())) == (400, {"error", "error_description"})
    assert Api(server.endpoint_url, server.token).post("files/children", {}).status_code == 200


def test_signing_in_by_e_mail(server: LiveServer) -> None:
    accounts = server._services.accounts
    suffix = "x" if server.extensions else "p"
    for name, email in (
        ("one", "one@example.org"),
        ("two", "both@example.org"),
        ("three", "both@example.org"),
    ):
        accounts.add_user(f"{name}{suffix}", email=email, password="a long secret")
    granted = grant(server, username="One@Example.org", password="a long secret")
    assert granted.status_code == 200
    api = Api(server.endpoint_url, granted.json()["access_token"])
    assert api.ok("users/details")["username"] == f"one{suffix}"
    assert grant(server, username="one@example.org", password="wrong").status_code == 400
    assert grant(server, username="both@example.org", password="a long secret").status_code == 400


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_token_without_a_slash(server: LiveServer, method: str) -> None:
    api = Api(server.endpoint_url, server.token)
    answer = api.session.request(method, f"{server.endpoint_url}/api/1/users/token")
    assert answer.json() == {"token": server.token}


# Other names, and LabVIEW's table


def test_other_names_of_endpoints(api: Api) -> None:
    record = api.file("a", x=1)
    assert api.ok("files/get", {"id": record["id"]}) == record
    assert api.form("files/get", {"id": record["id"]}).json() == record
    assert api.ok("files/autocomplete", {}) == api.ok("files/autocomplete_search", {}) == {"result": ["x"]}


def test_a_table_from_labview(api: Api) -> None:
    sent = {
        "category": "sweep/1",
        "tags": ["pilot"],
        "notes": "second try",
        "json_field": {"gain": 3},
        "data": [[0, 1.5], [1, -2e-7], ["a, b", True]],
    }
    made = api.ok("objects", sent, 201)
    assert made["name"].startswith("sweep_1 ")
    assert made["name"].endswith(".csv")
    assert (made["type"], made["tags"]) == ("file", ["pilot"])
    assert made["metadata"] == {"category": "sweep/1", "notes": "second try", "json_field": {"gain": 3}}
    assert api.content(made["id"]) == b'0,1.5\n1,-2e-07\n"a, b",true\n'
    again = api.ok("objects", sent, 201)
    assert again["name"] != made["name"]
    named = api.ok("objects", {"name": "t.csv", "data": [1, 2], "parent": api.folder("f")["id"]}, 201)
    assert (named["name"], api.content(named["id"])) == ("t.csv", b"1\n2\n")


@pytest.mark.parametrize("data", [None, "<serialised>", {"x": [1]}, [[[1]]], [{"x": 1}]])
def test_what_is_no_table(api: Api, data: Any) -> None:
    refused = api.post("objects", {"category": "c", "data": data})
    assert (refused.status_code, "data" in refused.json()["error"]) == (400, True)
    assert api.names() == []
