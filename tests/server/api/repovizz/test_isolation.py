"""What belongs to a user is nobody else's business: every endpoint, for everybody who could ask."""

from __future__ import annotations

import hashlib
import secrets
from typing import TYPE_CHECKING

import pytest

from tests.server.browsing import Browser, Program
from tests.server.packs import Api, data, pack

if TYPE_CHECKING:
    from rinofs.testing import LiveServer

CONTENT = b"nobody else's"
HASH = hashlib.sha1(CONTENT).hexdigest()
FORBIDDEN = (403, {"error": "Method not allowed.", "error_code": 403})
UNAUTHORIZED = (401, {"error": "You are unauthorized to make this request.", "error_code": 401})

STRANGERS = ("a stranger", "a stranger's program", "nobody", "a revoked program")
REQUESTS = [
    ("GET", "/datapacks/{id}"),
    ("POST", "/datapacks/{id}"),
    ("DELETE", "/datapacks/{id}"),
    ("GET", "/datapacks/{id}/content"),
    ("GET", "/datapacks/{id}/content/" + HASH),
    ("GET", "/datapacks/{id}/content/repovizz:" + HASH),
    ("POST", "/datapacks/{id}/content"),
    ("POST", "/datapacks/{id}/content/a"),
    ("POST", "/datapacks/{id}/content/repovizz:" + HASH),
    ("GET", "/users/rino"),
]


@pytest.fixture(scope="module")
def identifier(server: LiveServer) -> str:
    mine = Api(server.endpoint_url, server.token)
    made = mine.create(pack("mine", data("a", "a"), data("b", "b")))
    mine.put(made, "b", CONTENT)
    return made


@pytest.fixture(scope="module")
def strangers(server: LiveServer) -> dict[str, str]:
    return {which: token_of(server, which) for which in STRANGERS}


def send(api: Api, method: str, path: str) -> tuple[int, object]:
    options: dict[str, object] = {}
    if method == "POST":
        options = {"files": {"file": b"theirs"}} if "content" in path else {"json": {"name": "theirs"}}
    answer = api.session.request(method, api.base + path, timeout=30, **options)  # type: ignore[arg-type]
    return answer.status_code, answer.json()


@pytest.mark.parametrize(("method", "path"), REQUESTS)
@pytest.mark.parametrize("which", STRANGERS)
def test_others_are_refused(
    server: LiveServer, strangers: dict[str, str], identifier: str, method: str, path: str, which: str
) -> None:
    theirs = Api(server.endpoint_url, strangers[which])
    before = Api(server.endpoint_url, server.token).get(f"/datapacks/{identifier}").json()
    expected = UNAUTHORIZED if which in {"nobody", "a revoked program"} else FORBIDDEN
    assert send(theirs, method, path.format(id=identifier)) == expected
    # And the same for what does not exist.
    if "users" not in path:
        assert send(theirs, method, path.format(id="00000000-0000-4000-8000-000000000000")) == expected
    assert Api(server.endpoint_url, server.token).get(f"/datapacks/{identifier}").json() == before


def token_of(server: LiveServer, which: str) -> str:
    if which == "nobody":
        return "rino_" + "x" * 43
    if which == "a stranger":
        return server.add_user(secrets.token_hex(8))
    name, password = secrets.token_hex(8), "a password"
    server.add_user(name, password=password)
    program = Program.register(server)
    browser = Browser()
    page = browser.log_in(program.url(), name, password)
    code = browser.send(page, decision="allow").headers["location"].partition("code=")[2].partition("&")[0]
    granted = program.token(code=code).json()
    if which == "a revoked program":
        assert program.revoke(granted["refresh_token"]).status_code == 200
    token: str = granted["access_token"]
    return token


def test_lists_hold_only_the_users_own(server: LiveServer, identifier: str) -> None:
    theirs = Api(server.endpoint_url, server.add_user(secrets.token_hex(8)))
    assert theirs.get("/user").json()["datapacks"] == []
    assert theirs.get("/datapacks").json() == {"items": []}
    assert theirs.get("/datapacks", params={"name": "mine"}).json() == {"items": []}
    assert theirs.post("/datapacks", json={"name": "mine", "structure": pack("mine")}).status_code == 200


def test_a_hash_opens_no_content_of_another_datapack(server: LiveServer, identifier: str) -> None:
    theirs = Api(server.endpoint_url, server.add_user(secrets.token_hex(8)))
    made = theirs.create(pack("guessed", data("a", f"repovizz:{HASH}")))
    assert theirs.get(f"/datapacks/{made}/content/{HASH}").status_code == 404
    assert "size" not in theirs.get(f"/datapacks/{made}/content").json()[f"repovizz:{HASH}"]


def test_nobody_makes_datapacks_for_others(server: LiveServer) -> None:
    theirs = Api(server.endpoint_url, server.add_user(secrets.token_hex(8)))
    mine = Api(server.endpoint_url, server.token).get("/user").json()["id"]
    for owner in (mine, "rino", 10**6, ["rino"]):
        sent = {"name": "foisted", "structure": pack("foisted"), "owner": owner}
        answer = theirs.post("/datapacks", json=sent)
        assert (answer.status_code, answer.json()) == FORBIDDEN


def test_what_a_program_was_given_opens_datapacks_only(server: LiveServer) -> None:
    program = Program.register(server)
    token = program.token(**Browser().allow(program) | {"state": None}).json()["access_token"]
    assert program.opens(token)
    api = Api(server.endpoint_url, token)
    for path in ("users/token/", "users/details/", "files/children/", "files/query/"):
        url = f"{server.endpoint_url}/api/1/{path}"
        assert api.session.post(url, json={}, timeout=30).status_code == 401
