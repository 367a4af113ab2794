"""Who may do what: every route and method of the application, for every kind of identity.

The routes come from the application. One that has no rule here fails the test: whoever adds a route says who
may use it.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, Any

import pytest
import requests
from starlette.routing import Route

from rinofs.server.app import create_app
from rinofs.server.auth.account_tokens import ACCESS, READ
from rinofs.server.settings import ServerSettings
from rinofs.testing import live_server
from tests.server.browsing import Browser, Program
from tests.server.client import Api

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

SECRET = "0wners-s3cret"
PASSWORD = "a long secret"
RINOCLOUD, REPOVIZZ = "/api/1/", "/api/v1.0/"


class Rule(Enum):
    """What a request does, which decides who may send it."""

    OPEN = "needs no token"
    READS = "shows what is the user's"
    CHANGES = "changes what is the user's"


def _rinocloud(rule: Rule, *endpoints: str) -> dict[str, Rule]:
    return {f"{RINOCLOUD}{endpoint}": rule for endpoint in endpoints}


RULES: dict[str, Rule | dict[str, Rule]] = {
    "/health": Rule.OPEN,
    "/ready": Rule.OPEN,
    "/o/token/": Rule.OPEN,
    "/o/revoke_token/": Rule.OPEN,
    "/oauth/authorize": Rule.OPEN,
    "/oauth/token": Rule.OPEN,
    "/oauth/revoke": Rule.OPEN,
    "/oauth/show_token": Rule.OPEN,
    "/oauth/style.css": Rule.OPEN,
    **_rinocloud(
        Rule.READS,
        "files/get_metadata/",
        "files/get/",
        "files/download/",
        "files/children/",
        "files/ancestors/",
        "files/direct/",
        "files/download_many/",
        "files/query/",
        "files/query_count/",
        "files/search/",
        "files/autocomplete_search/",
        "files/autocomplete/",
        "files/autocomplete_values/",
        "users/token/",
        "users/token",
        "users/details/",
        "users/tokens/",
    ),
    **_rinocloud(
        Rule.CHANGES,
        "files/upload/",
        "files/upload_multipart/",
        "files/upload_binary/",
        "files/upload_many/",
        "files/create_folder/",
        "files/create_folder_if_not_exist/",
        "files/create_object/",
        "files/create_empty/",
        "files/update/",
        "files/update_metadata/",
        "files/delete_metadata_field/",
        "files/append/",
        "files/move/",
        "files/copy/",
        "files/delete/",
        "objects/",
        "users/create_token/",
        "users/delete_token/",
        "users/change_password/",
    ),
    f"{REPOVIZZ}user": Rule.READS,
    f"{REPOVIZZ}users/{{name}}": Rule.READS,
    f"{REPOVIZZ}datapacks": {"GET": Rule.READS, "POST": Rule.CHANGES},
    f"{REPOVIZZ}datapacks/{{id}}": {"GET": Rule.READS, "POST": Rule.CHANGES, "DELETE": Rule.CHANGES},
    f"{REPOVIZZ}datapacks/{{id}}/content": {"GET": Rule.READS, "POST": Rule.CHANGES},
    f"{REPOVIZZ}datapacks/{{id}}/content/{{link:link}}": {"GET": Rule.READS, "POST": Rule.CHANGES},
    f"{REPOVIZZ}datapack/{{id}}/content/{{link:link}}": {"GET": Rule.READS, "POST": Rule.CHANGES},
}


def rule_of(path: str, method: str) -> Rule:
    found = RULES[path]
    return found if isinstance(found, Rule) else found["GET" if method == "HEAD" else method]


@pytest.fixture(scope="module")
def routes(tmp_path_factory: pytest.TempPathFactory) -> list[tuple[str, str]]:
    """Path and method of everything that the application answers."""
    app = create_app(ServerSettings(tmp_path_factory.mktemp("routes") / "data"))
    found = []
    for route in app.routes:
        assert isinstance(route, Route), f"{route}: what is no plain route needs a rule of its own"
        found += [(route.path, method) for method in sorted(route.methods or ())]
    app.state.services.close()
    return found


@dataclass
class Stage:
    """A server with an owner, whose things are known, and everybody else."""

    server: LiveServer
    owner: Api
    numbers: dict[str, int]
    pack: str
    tokens: dict[str, str | None]
    browser: Browser
    program: Program


@pytest.fixture(scope="module")
def stage() -> Iterator[Stage]:
    with live_server() as server:
        accounts = server._services.accounts
        owner = Api(server.endpoint_url, server.add_user("owner", password=PASSWORD))
        user = accounts.user("owner")
        assert user is not None
        folder = owner.folder("folder")
        file = owner.file("file", SECRET.encode(), parent=folder["id"], secret=SECRET)
        pack = made_pack(server, owner)
        form = {"grant_type": "password", "client_id": "x", "username": "owner", "password": PASSWORD}
        ended = requests.post(f"{server.endpoint_url}/o/token/", data=form, timeout=60).json()["access_token"]
        program, browser = Program.register(server), Browser()
        browser.log_in(program.url(), "owner", PASSWORD)
        accounts.set_password(user, PASSWORD + "!")
        revoked = accounts.tokens.create(user, name="revoked")
        accounts.tokens.revoke_by_name(user, "revoked")
        tokens = {
            "owner": accounts.tokens.create(user),
            "other user": server.add_user("other"),
            "read-only": accounts.tokens.create(user, scope=READ, name="reading"),
            "expired": accounts.tokens.create(user, kind=ACCESS, lifetime=-60),
            "revoked": revoked,
            "program": granted(program),
            "ended session": ended,
            "anonymous": None,
        }
        numbers = {"FILE": file["id"], "FOLDER": folder["id"]}
        yield Stage(server, owner, numbers, pack, tokens, browser, program)


def granted(program: Program) -> str:
    """Return the token of a program that the owner has let in."""
    browser = Browser()
    page = browser.log_in(program.url(), "owner", PASSWORD + "!")
    code = browser.send(page, decision="allow").headers["location"].partition("code=")[2].partition("&")[0]
    token: str = program.token(code=code).json()["access_token"]
    return token


def made_pack(server: LiveServer, api: Api) -> str:
    info = {"name": "pack", "author": SECRET, "description": "", "keywords": []}
    node = {"class": "data", "name": "n", "text": "", "link": "n.csv"}
    document = {"name": "pack", "structure": {"info": info, "children": [node]}}
    base = f"{server.endpoint_url}{REPOVIZZ}datapacks"
    made = api.session.post(base, json=document, timeout=60)
    assert made.ok, made.text
    found: str = made.json()["item"]["id"]
    return found


def send(stage: Stage, path: str, method: str, token: str | None) -> requests.Response:
    """Send a request about the owner's things, as whoever the token is."""
    place = path.replace("{id}", stage.pack).replace("{name}", "owner").replace("{link:link}", "n.csv")
    body: dict[str, Any] = {"id": stage.numbers["FILE"], "items": [stage.numbers["FILE"]], "query": {}}
    headers = {} if token is None else {"Authorization": f"Token {token}"}
    options: dict[str, Any] = {"params": {"id": body["id"]}} if method in {"GET", "HEAD"} else {"json": body}
    if (path, method) == (f"{RINOCLOUD}files/delete/", "GET"):
        options = {"json": body}
    url = stage.server.endpoint_url + place
    return requests.request(method, url, headers=headers, timeout=60, allow_redirects=False, **options)


def state(stage: Stage) -> list[Any]:
    """Return all that requests could change."""
    tables = ("users", "objects", "datapacks", "datapack_contents", "oauth_grants")
    questions = {name: f"SELECT * FROM {name} ORDER BY 1" for name in tables}
    # Last uses are written down in their own time.
    questions["tokens"] = 'SELECT id, sha256, "user", kind, scope, name, expires FROM tokens ORDER BY 1'
    with stage.server._services.database.read() as connection:
        return [(name, connection.exec_driver_sql(sql).all()) for name, sql in questions.items()]


def test_every_route_has_a_rule(routes: list[tuple[str, str]]) -> None:
    assert {path for path, _ in routes} == {*RULES}
    for path, method in routes:
        assert isinstance(rule_of(path, method), Rule)


@pytest.mark.parametrize("who", ["anonymous", "expired", "revoked", "ended session"])
def test_who_is_nobody_is_refused_everywhere(stage: Stage, routes: list[tuple[str, str]], who: str) -> None:
    before = state(stage)
    for path, method in routes:
        if rule_of(path, method) is not Rule.OPEN:
            answer = send(stage, path, method, stage.tokens[who])
            assert answer.status_code == 401, (path, method)
            assert SECRET not in answer.text
    assert state(stage) == before


def test_a_program_opens_datapacks_and_nothing_else(stage: Stage, routes: list[tuple[str, str]]) -> None:
    before = state(stage)
    for path, method in routes:
        if path.startswith(RINOCLOUD):
            assert send(stage, path, method, stage.tokens["program"]).status_code == 401, (path, method)
        elif rule_of(path, method) is Rule.READS:
            answer = send(stage, path, method, stage.tokens["program"])
            assert answer.status_code in {200, 404}, (path, method)
    assert state(stage) == before


def test_a_token_that_only_reads_reads_all_and_changes_nothing(
    stage: Stage, routes: list[tuple[str, str]]
) -> None:
    before = state(stage)
    for path, method in routes:
        answer = send(stage, path, method, stage.tokens["read-only"])
        if rule_of(path, method) is Rule.CHANGES:
            assert answer.status_code == 403, (path, method)
            assert method == "HEAD" or "only reads" in answer.text
        elif rule_of(path, method) is Rule.READS:
            assert answer.status_code not in {401, 403}, (path, method, answer.text)
    assert state(stage) == before


def test_another_user_sees_and_changes_nothing(stage: Stage, routes: list[tuple[str, str]]) -> None:
    before = [rows for name, rows in state(stage) if name in {"datapacks", "datapack_contents"}]
    for path, method in routes:
        if rule_of(path, method) is not Rule.OPEN:
            answer = send(stage, path, method, stage.tokens["other user"])
            assert answer.status_code != 401, (path, method)
            assert SECRET not in answer.text, (path, method)
            if "{id}" in path:
                assert answer.status_code in {403, 404, 422}, (path, method)
    assert [rows for name, rows in state(stage) if name in {"datapacks", "datapack_contents"}] == before
    listed = stage.owner.ok("files/children", {"recursive": True})["result"]
    assert [record["name"] for record in listed] == ["folder", "file"]
    assert stage.owner.content(stage.numbers["FILE"]) == SECRET.encode()


def test_an_ended_session_of_a_browser_has_to_sign_in_again(stage: Stage) -> None:
    assert 'name="password"' in stage.browser.get(stage.program.url()).text


def test_the_owner_is_refused_nowhere(stage: Stage, routes: list[tuple[str, str]]) -> None:
    last = {f"{REPOVIZZ}datapacks/{{id}}", f"{RINOCLOUD}files/delete/"}  # these end what the others are about
    for path, method in sorted(routes, key=lambda route: (route[0] in last, route[1] == "DELETE")):
        if rule_of(path, method) is not Rule.OPEN:
            answer = send(stage, path, method, stage.tokens["owner"])
            assert answer.status_code not in {401, 403}, (path, method, json.dumps(answer.text))
            assert answer.status_code < 500, (path, method)
