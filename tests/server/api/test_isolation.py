"""Every route, asked by everybody: only its owner gets at an object; others cannot tell that it exists."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import pytest

from rinofs.server.api.rinocloud.routes import BASE, ENDPOINTS
from rinofs.server.auth.account_tokens import ACCESS
from rinofs.server.auth.accounts import Accounts
from tests.server.client import Api, Files
from tests.server.databases import opened_database

if TYPE_CHECKING:
    import requests

    from rinofs.testing import LiveServer

ROUTES = [(path, method) for path, methods, _ in ENDPOINTS for method in methods]
SECRET = "canary-of-the-owner"

# What is sent to each route; FILE and FOLDER stand for ids of the owner's. What is missing here fails a test.
BODIES: dict[str, dict[str, Any]] = {
    "files/create_folder/": {"name": "n", "parent": "FOLDER"},
    "files/create_folder_if_not_exist/": {"name": "n", "parent": "FOLDER"},
    "files/create_object/": {"name": "n", "parent": "FOLDER"},
    "files/create_empty/": {"id": "FILE", "x": 1},
    "files/upload/": {"name": "n", "parent": "FOLDER"},
    "files/upload_multipart/": {"name": "n", "parent": "FOLDER"},
    "files/upload_binary/": {"name": "n", "parent": "FOLDER"},
    "files/upload_many/": {"files": [{"name": "n", "size": 1, "parent": "FOLDER"}]},
    "files/update/": {"id": "FILE", "x": 1},
    "files/update_metadata/": {"id": "FILE", "x": 1},
    "files/delete_metadata_field/": {"id": "FILE", "field": "secret"},
    "files/append/": {"id": "FILE", "chunk": "x"},
    "files/move/": {"items": ["FILE"], "parent": None},
    "files/copy/": {"items": ["FILE"], "parent": None},
    "files/delete/": {"id": "FILE"},
    "files/get_metadata/": {"id": "FILE"},
    "files/get/": {"id": "FILE"},
    "objects/": {"name": "n", "data": [[1, 2]], "parent": "FOLDER"},
    "files/children/": {"id": "FOLDER"},
    "files/ancestors/": {"id": "FILE"},
    "files/download/": {"id": "FILE"},
    "files/direct/": {"id": "FILE"},
}
SHOWING_ONES_OWN: dict[str, dict[str, Any]] = {
    "files/query/": {"query": {}},
    "files/query_count/": {"query": {"$or": [{"secret": SECRET}, {"id": "FILE"}]}},
    "files/search/": {"query": "*"},
    "files/autocomplete_search/": {},
    "files/autocomplete/": {},
    "files/autocomplete_values/": {"field": "secret"},
    "users/token/": {},
    "users/token": {},
    "users/details/": {},
}
# About the account of who asks: `tests/server/auth/test_tokens.py` has what they answer.
OF_THE_ACCOUNT: dict[str, dict[str, Any]] = {
    "users/tokens/": {},
    "users/create_token/": {"name": "n"},
    "users/delete_token/": {"id": "FILE"},
    "users/change_password/": {"password": "a password", "new_password": "a password"},
}

OWN_PATHS = {"paths": [["folder", "file"]]}


@dataclass
class Owned:
    api: Api
    numbers: dict[str, int]


@pytest.fixture
def owned(extended: LiveServer, request: pytest.FixtureRequest) -> Owned:
    api = Api(extended.endpoint_url, extended.add_user(f"owner of {request.node.name}".replace("/", " ")))
    folder = api.folder("folder")
    file = api.file("file", b"content " + SECRET.encode(), parent=folder["id"], secret=SECRET, tags=[SECRET])
    return Owned(api, {"FILE": file["id"], "FOLDER": folder["id"]})


def expired(server: LiveServer) -> str:
    """Return a token that held until a minute ago."""
    database = opened_database(server._services.settings)
    accounts = Accounts(database)
    user = accounts.user(server.username)
    assert user is not None
    token = accounts.tokens.create(user, kind=ACCESS, lifetime=-60)
    database.close()
    return token


def send(api: Api, path: str, method: str, numbers: dict[str, int]) -> requests.Response:
    text = json.dumps(
        {**BODIES, **SHOWING_ONES_OWN, **OF_THE_ACCOUNT, **dict.fromkeys(BY_PATH, OWN_PATHS)}[path]
    )
    for name, number in numbers.items():
        text = text.replace(f'"{name}"', str(number))
    body = json.loads(text)
    url = f"{api.endpoint_url}{BASE}{path}"
    if path in {"files/upload/", "files/upload_multipart/", "files/upload_many/"}:
        files: Files = {"json": (None, json.dumps(body)), "file": ("file", b"x")}
        return api.session.request(method, url, files=files)
    if path == "files/upload_binary/":
        return api.session.request(
            method, url, data=b"x", headers={"rinocloud-api-payload": json.dumps(body)}
        )
    if (path, method) == ("files/download/", "GET"):
        return api.session.get(url, params=body)
    return api.session.request(method, url, json=body)


# Asked by paths only, which cannot be anybody else's.
BY_PATH = {"files/download_many/"}


def test_every_route_is_asked() -> None:
    assert {path for path, _ in ROUTES} == {*BODIES, *SHOWING_ONES_OWN, *OF_THE_ACCOUNT, *BY_PATH}


@pytest.mark.parametrize(("path", "method"), ROUTES)
@pytest.mark.parametrize("who", ["anonymous", "wrong", "expired"])
def test_strangers_are_turned_away(
    extended: LiveServer, owned: Owned, path: str, method: str, who: str
) -> None:
    token = {"anonymous": None, "wrong": "rino_wrong", "expired": expired(extended)}[who]
    answer = send(Api(extended.endpoint_url, token), path, method, owned.numbers)
    assert answer.status_code == 401
    assert set(answer.json()) == {"detail"}
    assert_untouched(owned)


@pytest.mark.parametrize(("path", "method"), [route for route in ROUTES if route[0] in BODIES])
def test_another_user_finds_nothing(extended: LiveServer, owned: Owned, path: str, method: str) -> None:
    other = Api(extended.endpoint_url, extended.add_user(f"other {method} {path}".replace("/", " ")))
    theirs = send(other, path, method, owned.numbers)
    unknown = send(other, path, method, dict.fromkeys(owned.numbers, 10**9))
    assert theirs.status_code == unknown.status_code == 404
    said = theirs.json()["error"]
    for number in owned.numbers.values():
        said = re.sub(rf"\b{number}\b", str(10**9), said)
    assert said == unknown.json()["error"]
    assert SECRET not in theirs.text
    assert_untouched(owned)


@pytest.mark.parametrize(("path", "method"), [route for route in ROUTES if route[0] in SHOWING_ONES_OWN])
def test_another_user_is_shown_nothing_of_it(
    extended: LiveServer, owned: Owned, path: str, method: str
) -> None:
    other = Api(extended.endpoint_url, extended.add_user(f"other {method} {path}".replace("/", " ")))
    answer = send(other, path, method, owned.numbers)
    assert answer.status_code == 200
    assert SECRET not in answer.text
    shown = answer.json()
    assert shown.get("result", []) == []
    assert shown.get("count", 0) == 0
    assert_untouched(owned)


@pytest.mark.parametrize(("path", "method"), [route for route in ROUTES if route[0] not in OF_THE_ACCOUNT])
def test_the_owner_gets_it(owned: Owned, path: str, method: str) -> None:
    answer = send(owned.api, path, method, owned.numbers)
    assert answer.status_code in {200, 201, 204}, answer.text


def test_paths_are_ones_own(extended: LiveServer, owned: Owned) -> None:
    other = Api(extended.endpoint_url, extended.add_user("other by path"))
    path = ["folder", "file"]
    assert owned.api.ok("files/get_metadata", {"path": path})["id"] == owned.numbers["FILE"]
    assert other.post("files/get_metadata", {"path": path}).status_code == 404
    assert other.post("files/children", {"path": path[:1]}).status_code == 404
    assert other.session.get(other.url("files/download"), params={"path": path}).status_code == 404
    assert SECRET in owned.api.post("files/download_many", OWN_PATHS).text
    assert SECRET not in other.post("files/download_many", OWN_PATHS).text


def test_an_idempotency_key_is_ones_own(extended: LiveServer, owned: Owned) -> None:
    other = Api(extended.endpoint_url, extended.add_user("other by key"))
    key = {"Idempotency-Key": "shared-by-chance"}
    mine = owned.api.ok("files/create_folder", {"name": "same"}, 201, headers=key)
    theirs = other.ok("files/create_folder", {"name": "same"}, 201, headers=key)
    assert mine["id"] != theirs["id"]
    assert mine["owner"] != theirs["owner"]


def assert_untouched(owned: Owned) -> None:
    listed = owned.api.ok("files/children", {"recursive": True})
    assert [record["name"] for record in listed["result"]] == ["folder", "file"]
    assert listed["result"][1]["metadata"] == {"secret": SECRET}
    assert owned.api.content(owned.numbers["FILE"]) == b"content " + SECRET.encode()
