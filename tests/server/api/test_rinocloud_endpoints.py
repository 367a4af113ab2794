"""What the service documents of its API, or its published clients rely on, sent as they send it."""

from __future__ import annotations

import json
import re
from datetime import datetime
from typing import TYPE_CHECKING, Any

import pytest
import requests

from tests.server.client import Api

if TYPE_CHECKING:
    from rinofs.testing import LiveServer

RECORD = {
    "id", "name", "type", "size", "parent", "metadata", "tags", "etag", "versions", "project", "project_name",
    "owner", "shared", "created_on", "updated_on",
}  # fmt: skip


# Signing in


@pytest.mark.parametrize("method", ["GET", "POST"])
def test_the_token_of_the_user(server: LiveServer, method: str) -> None:
    api = Api(server.endpoint_url, server.token)
    answer = api.session.request(method, api.url("users/token"))
    assert answer.status_code == 200
    assert answer.json() == {"token": server.token}


def test_a_password_leads_to_a_token(server: LiveServer) -> None:
    form = {
        "username": server.username,
        "password": server.password,
        "grant_type": "password",
        "client_id": "x",
    }
    granted = requests.post(f"{server.endpoint_url}/o/token/", data=form)
    assert granted.status_code == 200
    access = granted.json()
    assert access["token_type"] == "Bearer"
    assert access["expires_in"] > 0
    api = Api(server.endpoint_url, None)
    bearer = {"Authorization": f"Bearer {access['access_token']}"}
    details = api.ok("users/details", headers=bearer)
    assert set(details) == {"token", "username", "email", "project"}
    assert details["username"] == server.username
    mine = Api(server.endpoint_url, details["token"])
    assert mine.ok("users/details")["token"] == details["token"]
    assert mine.names() == Api(server.endpoint_url, server.token).names()


@pytest.mark.parametrize(
    ("change", "error"),
    [
        ({"password": "wrong"}, "invalid_grant"),
        ({"username": "nobody"}, "invalid_grant"),
        ({"grant_type": "magic"}, "unsupported_grant_type"),
        ({"password": None}, "invalid_request"),
    ],
)
def test_a_refused_password(server: LiveServer, change: dict[str, Any], error: str) -> None:
    form = {
        "username": server.username,
        "password": server.password,
        "grant_type": "password",
        "client_id": "x",
    }
    answer = requests.post(f"{server.endpoint_url}/o/token/", data={**form, **change})
    assert answer.status_code in {400, 401}
    assert answer.json()["error"] == error
    assert answer.json()["error_description"]


@pytest.mark.parametrize("authorization", [None, "Token", "Token wrong", "Basic cmlubzp4", "Token a b"])
def test_a_missing_or_wrong_token(server: LiveServer, authorization: str | None) -> None:
    headers = {} if authorization is None else {"Authorization": authorization}
    answer = Api(server.endpoint_url, None).post("files/children", {}, headers=headers)
    assert answer.status_code == 401
    assert set(answer.json()) == {"detail"}


# Making


def test_create_folder(api: Api) -> None:
    made = api.form("files/create_folder", {"name": "experiments"})
    assert made.status_code == 201
    record = made.json()
    assert set(record) == RECORD
    assert (record["type"], record["size"], record["parent"], record["etag"]) == ("folder", None, None, None)
    inner = api.ok("files/create_folder", {"name": "run", "parent": record["id"], "field1": "x"}, 201)
    assert inner["parent"] == record["id"]
    assert inner["metadata"] == {"field1": "x"}
    taken = api.post("files/create_folder", {"name": "experiments"})
    assert taken.status_code == 409
    assert taken.json() == {"error": "Folder name conflict."}


def test_create_folder_if_not_exist(api: Api) -> None:
    new = api.ok("files/create_folder_if_not_exist", {"name": "f"}, 201)
    assert api.ok("files/create_folder_if_not_exist", {"name": "f"}) == new
    api.file("taken")
    assert api.post("files/create_folder_if_not_exist", {"name": "taken"}).status_code == 409


@pytest.mark.parametrize("endpoint", ["files/create_folder", "files/create_folder_if_not_exist"])
def test_a_name_with_slashes_makes_folders_on_the_way(api: Api, endpoint: str) -> None:
    made = api.ok(endpoint, {"name": "a/b/c"}, 201)
    assert made["name"] == "c"
    above = api.ok("files/ancestors", {"id": made["id"]})
    assert [record["name"] for record in above] == ["a", "b"]
    assert api.ok(endpoint, {"name": "a/b/d"}, 201)["parent"] == made["parent"]


@pytest.mark.parametrize("endpoint", ["files/upload", "files/upload_multipart"])
def test_upload(api: Api, endpoint: str) -> None:
    folder = api.folder("f")
    fields = {
        "parent": folder["id"],
        "name": "logo.png",
        "tags": ["apples"],
        "metadata": {"a": [1]},
        "field1": "x",
    }
    answer = api.upload(b"1\n2\n3\n4\n5", endpoint, **fields)
    assert answer.status_code == 201
    record = answer.json()
    assert set(record) >= RECORD
    assert record["name"] == "logo.png"
    assert (record["type"], record["size"], record["parent"]) == ("file", 9, folder["id"])
    assert record["etag"] == "fe743783afdf86af96aac1781ceff960-1"
    assert record["tags"] == ["apples"]
    assert record["metadata"] == {"a": [1], "field1": "x"}
    assert (record["versions"], record["shared"]) == ([], False)
    for name in ("created_on", "updated_on"):
        assert re.fullmatch(r"\d{4}-\d\d-\d\dT\d\d:\d\d:\d\d\.\d{6}Z", record[name])
        assert datetime.fromisoformat(record[name]).tzinfo is not None


def test_upload_as_the_tutorial_does_it(api: Api) -> None:
    files = {"file": ("logo.png", b"png")}
    record = api.session.post(api.url("files/upload"), files=files, data={"json": "{}"}).json()
    assert (record["name"], record["size"], record["parent"]) == ("logo.png", 3, None)


def test_the_etag_of_nothing(api: Api) -> None:
    assert api.file("empty")["etag"] == "d41d8cd98f00b204e9800998ecf8427e-0"


def test_upload_binary(api: Api) -> None:
    payload = json.dumps({"name": "raw.bin", "tags": ["t"], "x": 1})
    answer = api.session.post(
        api.url("files/upload_binary"), data=b"\0raw", headers={"rinocloud-api-payload": payload}
    )
    assert answer.status_code == 201
    assert answer.json()["metadata"] == {"x": 1}
    assert api.content(answer.json()["id"]) == b"\0raw"


def test_upload_into_sub_folders_by_name(api: Api) -> None:
    folder = api.folder("f")
    record = api.file("2016/jan/a.csv", b"x", parent=folder["id"])
    assert record["name"] == "a.csv"
    above = api.ok("files/ancestors", {"id": record["id"]})
    assert [one["name"] for one in above] == ["f", "2016", "jan"]


def test_a_second_upload_of_a_name(api: Api) -> None:
    first = api.file("a.csv", b"one", x=1)
    second = api.file("a.csv", b"two")
    assert second["id"] > first["id"]
    assert second["versions"] == [first["id"]]
    assert second["created_on"] == first["created_on"]
    assert [one["id"] for one in api.ok("files/children", {})["result"]] == [second["id"]]
    assert api.content(first["id"]) == b"one"
    assert api.content(second["id"]) == b"two"
    assert api.ok("files/get_metadata", {"id": first["id"]})["metadata"] == {"x": 1}
    assert api.ok("files/delete", {"id": second["id"]}, 204) is None
    assert api.post("files/get_metadata", {"id": first["id"]}).status_code == 404


def test_an_upload_over_a_folder(api: Api) -> None:
    api.folder("f")
    assert api.upload(b"x", name="f").status_code == 409
    assert api.names() == ["f"]


@pytest.mark.parametrize("endpoint", ["files/create_object", "files/create_empty"])
def test_create_object(api: Api, endpoint: str) -> None:
    made = api.ok(endpoint, {"name": "o", "metadata": {"a": 1}, "tags": ["t"], "b": 2}, 201)
    assert (made["type"], made["size"]) == ("object", None)
    assert made["metadata"] == {"a": 1, "b": 2}
    changed = api.ok(endpoint, {"id": made["id"], "name": "p", "metadata": {"c": 3}}, 201)
    assert (changed["id"], changed["name"], changed["metadata"], changed["tags"]) == (
        made["id"],
        "p",
        {"c": 3},
        ["t"],
    )


def test_records_are_sent_back_as_they_were_received(api: Api) -> None:
    """The service's clients send all of a record's fields, and those of a new one as null."""
    new: dict[str, Any] = {
        "id": None, "name": "o", "filepath": "/home/me/o", "etag": None, "created_on": None,
        "updated_on": None, "versions": [], "metadata": {"x": 1}, "tags": [], "parent": None,
        "size": None, "type": None, "project": None, "project_name": None, "owner": None, "shared": None,
    }  # fmt: skip
    made = api.ok("files/create_object", new, 201)
    assert made["metadata"] == {"x": 1}
    uploaded = api.upload(b"1", **{**new, "name": "u", "versions": [5]}).json()
    assert uploaded["metadata"] == {"x": 1}
    assert uploaded["versions"] == [5]
    again = api.ok(
        "files/update", {**uploaded, "etag": "forged-1", "size": 99, "owner": "somebody", "type": "folder"}
    )
    assert again == uploaded
    again = api.ok("files/update", {**uploaded, "versions": [4]})
    assert again["versions"] == [4, 5]


# Changing


@pytest.mark.parametrize("endpoint", ["files/update", "files/update_metadata"])
def test_update(api: Api, endpoint: str) -> None:
    record = api.file("a", b"x", metadata={"a": 1}, tags=["t"])
    number = record["id"]
    form = api.form(endpoint, {"id": str(number), "field1": "x", "field2": "2.5", "field3": ["1", "b"]})
    assert form.status_code == 200
    assert form.json()["metadata"] == {"a": 1, "field1": "x", "field2": 2.5, "field3": [1, "b"]}
    assert api.ok(endpoint, {"id": number, "metadata": {"n": {"m": None}}})["metadata"] == {"n": {"m": None}}
    changed = api.ok(endpoint, {"id": number, "tags": ["u", "v"], "name": "b"})
    assert (changed["tags"], changed["name"], changed["id"]) == (["u", "v"], "b", number)
    api.file("c")
    assert api.post(endpoint, {"id": number, "name": "c"}).status_code == 409


def test_delete_metadata_field(api: Api) -> None:
    record = api.file("a", x=1, y=2)
    left = api.ok("files/delete_metadata_field", {"id": record["id"], "field": "x"})
    assert left["metadata"] == {"y": 2}


def test_append(api: Api) -> None:
    record = api.file("log", b"1\n")
    grown = api.ok("files/append", {"id": record["id"], "chunk": "2\n3\n4\n5"})
    assert (grown["id"], grown["size"]) == (record["id"], 9)
    assert grown["etag"] == "fe743783afdf86af96aac1781ceff960-1"
    assert grown["versions"] == []
    assert api.content(record["id"]) == b"1\n2\n3\n4\n5"
    assert api.form("files/append", {"id": record["id"], "chunk": "6"}).json()["size"] == 10
    folder = api.folder("f")
    assert api.post("files/append", {"id": folder["id"], "chunk": "x"}).status_code == 400


def test_append_to_an_object_without_content(api: Api) -> None:
    made = api.ok("files/create_object", {"name": "o"}, 201)
    grown = api.ok("files/append", {"id": made["id"], "chunk": "é"})
    assert (grown["type"], grown["size"]) == ("file", 2)


def test_move(api: Api) -> None:
    folder, one, two = api.folder("f"), api.file("1"), api.file("2")
    moved = api.ok("files/move", {"items": [one["id"], two["id"]], "parent": folder["id"]})
    assert [record["id"] for record in moved["result"]] == [one["id"], two["id"]]
    assert {record["parent"] for record in moved["result"]} == {folder["id"]}
    assert api.names(folder["id"]) == ["1", "2"]
    api.ok("files/move", {"id": one["id"], "parent": None})
    assert api.names() == ["f", "1"]
    assert api.post("files/move", {"id": folder["id"], "parent": folder["id"]}).status_code == 400


def test_copy(api: Api) -> None:
    folder, file = api.folder("f"), api.file("a", b"content", x=1, tags=["t"])
    answer = api.ok("files/copy", {"items": [file["id"]], "parent": folder["id"]}, 201)
    (copied,) = answer["result"]
    assert copied["id"] > file["id"]
    assert (copied["metadata"], copied["tags"], copied["etag"]) == ({"x": 1}, ["t"], file["etag"])
    assert api.content(copied["id"]) == b"content"
    api.ok("files/copy", {"id": folder["id"], "parent": None, "name": "g"}, 201)
    assert api.names() == ["f", "a", "g"]
    assert api.post("files/copy", {"id": file["id"], "parent": None}).status_code == 409


def test_delete_of_one_by_post(api: Api) -> None:
    folder = api.folder("f")
    inner = api.file("a", parent=folder["id"])
    api.ok("files/delete", {"id": folder["id"]}, 204)
    assert api.post("files/get_metadata", {"id": inner["id"]}).status_code == 404


def test_delete_of_a_list_by_get(api: Api) -> None:
    numbers = [api.file(name)["id"] for name in "abc"]
    answer = api.session.get(api.url("files/delete"), json={"id": numbers[:2]})
    assert answer.status_code == 204
    assert answer.content == b""
    assert api.names() == ["c"]
    answer = api.session.get(api.url("files/delete"), data={"id": numbers[2:]})
    assert answer.status_code == 204
    assert api.names() == []


def test_a_list_is_deleted_whole_or_not_at_all(api: Api) -> None:
    numbers = [api.file(name)["id"] for name in "abc"]
    assert api.post("files/delete", {"id": [*numbers, 10**9]}).status_code == 404
    nothings: list[dict[str, Any]] = [{}, {"id": None}, {"id": []}]
    for nothing in nothings:
        assert api.post("files/delete", nothing).status_code == 400
    assert api.post("files/delete").status_code == 400
    assert api.names() == ["a", "b", "c"]


# Looking


def test_get_metadata(api: Api) -> None:
    record = api.file("a", b"x")
    assert api.ok("files/get_metadata", {"id": record["id"]}) == record
    assert api.form("files/get_metadata", {"id": record["id"]}).json() == record
    missing = api.post("files/get_metadata", {"id": 10**9})
    assert missing.status_code == 404
    assert "error" in missing.json()


def test_children(api: Api) -> None:
    folder = api.folder("f")
    made = [api.file(f"n{number}", parent=folder["id"]) for number in range(25)]
    page = api.ok("files/children", {"id": folder["id"]})
    assert page["result"] == made[:20]
    assert (page["count"], page["limit"], page["offset"]) == (25, 20, 0)
    assert api.ok("files/children", {"id": folder["id"], "limit": 10, "offset": 20})["result"] == made[20:]
    assert api.form("files/children", {"id": folder["id"], "limit": "3"}).json()["result"] == made[:3]
    for top in (None, {}, {"id": None}):
        assert [one["name"] for one in api.ok("files/children", top)["result"]] == ["f"]
    assert api.post("files/children", {"id": made[0]["id"]}).status_code == 400


@pytest.mark.parametrize("limit", [100_000, 1_000_000])
def test_the_limit_that_clients_ask_for_is_honoured(api: Api, limit: int) -> None:
    folder = api.folder("f")
    made = [
        api.ok("files/create_object", {"name": f"n{n}", "parent": folder["id"]}, 201)["id"]
        for n in range(150)
    ]
    page = api.ok("files/children", {"id": folder["id"], "limit": limit})
    assert [record["id"] for record in page["result"]] == made
    assert page["limit"] == limit
    found = api.ok("files/query", {"query": {"parent": folder["id"]}, "limit": limit})
    assert len(found["result"]) == 150


def test_ancestors(api: Api) -> None:
    top = api.folder("top")
    inner = api.folder("inner", parent=top["id"])
    file = api.file("a", parent=inner["id"])
    assert api.ok("files/ancestors", {"id": file["id"]}) == [top, inner]
    assert api.ok("files/ancestors", {"id": top["id"]}) == []


def test_download(api: Api) -> None:
    record = api.file("a.txt", b"0123456789", x="é")
    for answer in (
        api.session.get(api.url("files/download"), params={"id": record["id"]}),
        api.post("files/download", {"id": record["id"]}),
        api.form("files/download", {"id": record["id"]}),
    ):
        assert answer.status_code == 200
        assert answer.content == b"0123456789"
        assert json.loads(answer.headers["rinocloud-api-result"]) == record
        assert answer.headers["rinocloud-api-result"].isascii()


def test_download_of_a_part(api: Api) -> None:
    record = api.file("a.txt", b"0123456789")
    url = api.url("files/download")
    rest = api.session.get(url, params={"id": record["id"], "from": 7})
    assert (rest.status_code, rest.content) == (206, b"789")
    part = api.session.get(url, params={"id": record["id"]}, headers={"Range": "bytes=2-4"})
    assert (part.status_code, part.content) == (206, b"234")
    assert part.headers["content-range"] == "bytes 2-4/10"
    assert api.session.get(url, params={"id": 10**9}).status_code == 404
    assert api.session.get(url, params={"id": api.folder("f")["id"]}).status_code == 400


def test_many_tags_are_left_out_of_the_header_of_a_download(api: Api) -> None:
    number = api.file("tagged", b"content", tags=[f"tag {number}" for number in range(9000)], x=1)["id"]
    answer = api.session.get(api.url("files/download"), params={"id": number})
    assert answer.content == b"content"
    shown = json.loads(answer.headers["rinocloud-api-result"])
    assert shown["id"] == number
    assert len(answer.headers["rinocloud-api-result"]) <= 8192


def test_large_metadata_are_left_out_of_the_header_of_a_download(api: Api) -> None:
    record = api.file("a", b"x", x="é" * 5000)
    answer = api.session.get(api.url("files/download"), params={"id": record["id"]})
    shown = json.loads(answer.headers["rinocloud-api-result"])
    assert "metadata" not in shown
    assert shown["id"] == record["id"]
    assert answer.content == b"x"
