"""Users' own tokens and passwords: what the API lets them do, and what ends when."""

from __future__ import annotations

from contextlib import nullcontext
from types import SimpleNamespace
from typing import TYPE_CHECKING, Any

import pytest
import requests

from rinofs.protocol.extensions import RINOCLOUD_EXTENSIONS
from rinofs.server.auth import token_uses
from rinofs.testing import live_server
from tests.few_threads import few_threads
from tests.server.browsing import Browser, Program
from tests.server.client import Api
from tests.waiting import soon, wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

PASSWORD = "a long secret"
YEAR = 365 * 24 * 3600


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture
def name(server: LiveServer, request: pytest.FixtureRequest) -> str:
    name = request.node.name
    server.add_user(name, password=PASSWORD)
    return name


@pytest.fixture
def api(server: LiveServer, name: str) -> Api:
    """The API for a user who has just signed in with the password."""
    return Api(server.endpoint_url, kept_token(server, name))


def grant(server: LiveServer, name: str, password: str = PASSWORD) -> requests.Response:
    form = {"grant_type": "password", "client_id": "x", "username": name, "password": password}
    return requests.post(f"{server.endpoint_url}/o/token/", data=form, timeout=60)


def kept_token(server: LiveServer, name: str, password: str = PASSWORD) -> str:
    """Return the token that a client keeps after a sign-in, as published clients get it."""
    access = grant(server, name, password).json()["access_token"]
    token: str = Api(server.endpoint_url, access).ok("users/details")["token"]
    return token


def opens(server: LiveServer, token: str) -> bool:
    answer = Api(server.endpoint_url, token).post("files/children", {})
    assert answer.status_code in {200, 401}
    return answer.status_code == 200


def made(api: Api, **fields: object) -> str:
    token: str = api.ok("users/create_token", fields, 201)["token"]
    return token


def test_tokens_are_made_listed_and_revoked(server: LiveServer, api: Api) -> None:
    answer = api.ok("users/create_token", {"name": "laptop", "lifetime": 3600}, 201)
    token = answer.pop("token")
    assert opens(server, token)
    listed = {one["name"]: one for one in api.ok("users/tokens")["result"]}
    assert listed["laptop"]["expires"] == answer["expires"]
    assert (listed["laptop"]["scope"], listed["laptop"]["current"]) == ("all", False)
    assert listed["laptop"]["last_used"] is not None
    assert token not in str(listed)
    assert [one["current"] for one in api.ok("users/tokens")["result"]].count(True) == 1
    assert api.ok("users/delete_token", {"id": "laptop"})["id"] == answer["id"]
    assert not opens(server, token)
    assert api.post("users/delete_token", {"id": "laptop"}).status_code == 404
    assert api.post("users/delete_token", {"id": answer["id"]}).status_code == 404


@pytest.mark.parametrize("digits", [12, 19, 20, 4300, 5000, 500_000])
@pytest.mark.parametrize("digit", ["9", "0"])
def test_a_number_of_any_length_is_the_number_of_a_token_or_none(api: Api, digit: str, digits: int) -> None:
    number = api.ok("users/create_token", {"name": "laptop"}, 201)["id"]
    assert api.post("users/delete_token", {"id": digit * digits}).status_code == 404
    padded = "0" * digits + str(number)
    assert api.ok("users/delete_token", {"id": padded})["id"] == number


@pytest.mark.parametrize(
    "fields",
    [
        {},
        {"name": ""},
        {"name": "a\nb"},
        {"name": "x" * 256},
        {"name": 5},
        {"name": "n", "scope": "admin"},
        {"name": "n", "lifetime": 0},
        {"name": "n", "lifetime": -1},
        {"name": "n", "lifetime": "long"},
        {"name": "n", "lifetime": 10**30},
    ],
)
def test_what_makes_no_token(server: LiveServer, fields: dict[str, object]) -> None:
    api = Api(server.endpoint_url, server.token)
    before = len(api.ok("users/tokens")["result"])
    assert api.post("users/create_token", fields).status_code == 400
    assert len(api.ok("users/tokens")["result"]) == before


def test_names_are_given_once(server: LiveServer) -> None:
    api = Api(server.endpoint_url, server.token)
    made(api, name="laptop")
    assert api.post("users/create_token", {"name": "laptop"}).status_code == 409


def test_a_token_makes_only_what_it_may_do_itself(server: LiveServer) -> None:
    api = Api(server.endpoint_url, server.token)
    hour = Api(server.endpoint_url, made(api, name="an hour", lifetime=3600))
    end = next(one["expires"] for one in api.ok("users/tokens")["result"] if one["name"] == "an hour")
    assert hour.ok("users/create_token", {"name": "as long"}, 201)["expires"] <= end
    assert hour.post("users/create_token", {"name": "longer", "lifetime": YEAR}).status_code == 403
    reading = Api(server.endpoint_url, made(api, name="reading", scope="read"))
    assert reading.post("users/create_token", {"name": "more", "scope": "read"}).status_code == 403
    for one in (hour, reading):
        token = one.session.headers["Authorization"].removeprefix("Token ")
        assert one.ok("users/details")["token"] == token
        assert one.ok("users/token")["token"] == token


def test_a_sign_in_is_exchanged_once(server: LiveServer, name: str) -> None:
    access = grant(server, name).json()["access_token"]
    lasting = Api(server.endpoint_url, access).ok("users/details")["token"]
    assert lasting != access
    assert Api(server.endpoint_url, access).ok("users/token")["token"] == access
    made_of_it = Api(server.endpoint_url, access).ok("users/create_token", {"name": "n"}, 201)
    assert made_of_it["expires"] is not None


def test_a_change_of_the_password_ends_what_came_of_it(server: LiveServer, name: str) -> None:
    primary = server._services.accounts.tokens.create(server._services.accounts.user(name), name="an admin's")
    kept = kept_token(server, name)
    made_of_it = made(Api(server.endpoint_url, kept), name="made of it")
    made_of_another = made(Api(server.endpoint_url, primary), name="made of another")
    access = grant(server, name).json()["access_token"]
    program, browser = Program.register(server), Browser()
    page = browser.log_in(program.url(), name, PASSWORD)
    code = browser.send(page, decision="allow").headers["location"].partition("code=")[2].partition("&")[0]
    granted = program.token(code=code).json()
    assert program.opens(granted["access_token"])

    change = {"password": PASSWORD, "new_password": "another secret"}
    assert Api(server.endpoint_url, primary).ok("users/change_password", change) == {"username": name}

    # Where there are several workers, each may know a token for some seconds.
    soon(lambda: not any(opens(server, token) for token in (kept, made_of_it, access)))
    assert opens(server, primary)
    assert opens(server, made_of_another)
    soon(lambda: not program.opens(granted["access_token"]))
    assert program.refresh(granted["refresh_token"]).status_code == 400
    assert 'name="password"' in browser.get(program.url()).text  # asked to sign in again
    assert grant(server, name).status_code == 400
    assert grant(server, name, "another secret").status_code == 200


@pytest.mark.parametrize("new", ["", "seven77", "x" * 1025])
def test_a_new_password_has_a_length(server: LiveServer, new: str) -> None:
    api = Api(server.endpoint_url, server.token)
    answer = api.post("users/change_password", {"password": server.password, "new_password": new})
    assert answer.status_code == 400
    assert "password" in answer.json()["error"]


def test_the_present_password_is_needed(server: LiveServer, api: Api, name: str) -> None:
    change = {"password": "not the password", "new_password": "another secret"}
    assert api.post("users/change_password", change).status_code == 403
    assert api.post("users/change_password", {"new_password": "another secret"}).status_code == 400
    for _ in range(8):
        answer = api.post("users/change_password", change)
    assert answer.status_code == 429  # guessing is no faster here
    assert "another secret" not in answer.text


def test_long_names_and_passwords_leave_nothing(server: LiveServer) -> None:
    long, longest = "x" * 10_000, "x" * 200_000
    counted = "SELECT (SELECT count(*) FROM throttles) + (SELECT count(*) FROM audit)"
    with server._services.database.read() as connection:
        before = connection.exec_driver_sql(counted).scalar_one()
    for name, password in ((long, "a password"), (server.username, long), ("x" * 256, "a password")):
        answer = grant(server, name, password)
        assert (answer.status_code, answer.json()["error"]) == (400, "invalid_grant")
        assert long not in answer.text
    for name, password in ((longest, "a password"), (server.username, longest)):
        answer = grant(server, name, password)
        assert answer.status_code == 413
        assert longest not in answer.text
    with server._services.database.read() as connection:
        assert connection.exec_driver_sql(counted).scalar_one() == before


@pytest.mark.parametrize("endpoint", ["tokens", "create_token", "delete_token", "change_password"])
def test_the_published_api_has_none_of_it(endpoint: str) -> None:
    with live_server(extensions=False) as server:
        api = Api(server.endpoint_url, server.token)
        answer = api.post(f"users/{endpoint}", {"name": "n", "id": 1})
        assert answer.status_code == 404
        assert RINOCLOUD_EXTENSIONS not in answer.headers


def test_uses_are_recorded_when_the_system_allows_a_thread_again(monkeypatch: pytest.MonkeyPatch) -> None:
    recorded: dict[int, int] = {}
    database: Any = SimpleNamespace(write=nullcontext)
    monkeypatch.setattr(token_uses, "note_uses", lambda _connection, used: recorded.update(used))
    uses = token_uses.TokenUses(database)
    with few_threads(0, "rinofs-token-uses") as refused:
        uses.note(1, 10)
        uses.note(2, 20)
        uses.flush()
    assert refused
    uses.note(3, 30)
    wait_until(lambda: recorded == {1: 10, 2: 20, 3: 30})
