"""OAuth2 over HTTP: each thing that RFC 9700 and RFC 6749 ask of a server, by what happens without it."""

from __future__ import annotations

import base64
import secrets
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING
from urllib.parse import urlencode

import pytest
import requests

from rinofs.testing import live_server
from tests.server.browsing import REDIRECT, Browser, Program, challenge_of, query_of
from tests.server.databases import kept_bytes

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture(scope="module")
def browser(server: LiveServer) -> Browser:
    """One that is signed in: passwords cost time on purpose."""
    signed_in = Browser()
    signed_in.log_in(Program.register(server).url(), server.username, server.password)
    return signed_in


@pytest.fixture
def program(server: LiveServer) -> Program:
    return Program.register(server)


@pytest.fixture
def public(server: LiveServer) -> Program:
    return Program.register(server, public=True)


@pytest.fixture
def code(browser: Browser, program: Program) -> str:
    return browser.allow(program)["code"]


def refused(answer: requests.Response, error: str, status: int = 400) -> None:
    assert answer.status_code == status, answer.text
    assert answer.json()["error"] == error
    assert answer.headers["cache-control"] == "no-store"
    assert "access_token" not in answer.text


def test_a_program_gets_tokens(browser: Browser, program: Program) -> None:
    told = browser.allow(program)
    assert told == {"code": told["code"], "state": program.state}
    answer = program.token(code=told["code"])
    granted = answer.json()
    assert (granted["token_type"], granted["scope"], granted["expires_in"]) == ("Bearer", "basic", 3600)
    assert granted["access_token"].startswith("rino_")
    assert answer.headers["cache-control"] == "no-store"
    assert program.opens(granted["access_token"])
    assert not program.opens(granted["refresh_token"])
    assert not program.opens(told["code"])


def test_the_published_client_needs_no_proof_of_possession(browser: Browser, program: Program) -> None:
    told = browser.allow(program, code_challenge=None, code_challenge_method=None)
    credentials = base64.b64encode(f"{program.client_id}:{program.secret}".encode()).decode()
    sent = {"grant_type": "authorization_code", "code": told["code"], "redirect_uri": REDIRECT}
    url = f"{program.server.endpoint_url}/oauth/token"
    answer = requests.post(url, data=sent, headers={"authorization": f"Basic {credentials}"}, timeout=30)
    assert program.opens(answer.json()["access_token"])


def test_a_program_without_a_secret_gets_tokens(browser: Browser, public: Program) -> None:
    assert public.secret is None
    granted = public.token(code=browser.allow(public)["code"]).json()
    assert public.opens(granted["access_token"])
    assert public.opens(public.refresh(granted["refresh_token"]).json()["access_token"])


@pytest.mark.parametrize("state", ["a b", "&state=other", "ü€", "%00", "<script>", "a" * 1000])
def test_the_state_comes_back_as_it_was(browser: Browser, program: Program, state: str) -> None:
    page = browser.get(program.url(state=state))
    answer = browser.send(page, decision="allow")
    assert query_of(answer.headers["location"])["state"] == state
    page = browser.get(program.url(state=state))
    answer = browser.send(page, decision="deny")
    assert query_of(answer.headers["location"]) == {"error": "access_denied", "state": state}


MUTATIONS = [
    "http://localhost:50009/",
    "http://localhost:50009?",
    "http://localhost:50009#",
    "http://localhost:50009/callback",
    "http://localhost:50009/../",
    "http://localhost:50009/%2e%2e",
    "http://localhost:50009?a=b",
    "http://localhost:50009#fragment",
    "http://localhost:50008",
    "http://localhost:50009 ",
    " http://localhost:50009",
    "http://localhost:050009",
    "http://localhost:5000",
    "http://localhost:500099",
    "http://localhost",
    "http://localhost:",
    "https://localhost:50009",
    "HTTP://localhost:50009",
    "http://LOCALHOST:50009",
    "http://localhost.:50009",
    "http://localhost.evil.example:50009",
    "http://localhost:50009.evil.example",
    "http://localhost:50009@evil.example",
    "http://localhost:50009:80@evil.example",
    "http://evil.example#localhost:50009",
    "http://evil.example?http://localhost:50009",
    "http://evil.example/http://localhost:50009",
    "http://user@localhost:50009",
    "http://user:password@localhost:50009",
    "http://127.0.0.1:50009",
    "http://127.1:50009",
    "http://[::1]:50009",
    "http://2130706433:50009",
    "http://0x7f.0.0.1:50009",
    "http://localhost:50009\r\nlocation: http://evil.example",
    "http://localhost:50009\x00",
    "http://localhost\\@evil.example:50009",
    "http:\\\\localhost:50009",
    "//localhost:50009",
    "localhost:50009",
    "/",
    "javascript:alert(1)",
    "data:text/html,hello",
    "http://ⓛocalhost:50009",
    "http://evil.example",
    "",
]


@pytest.mark.parametrize("mutation", MUTATIONS)
def test_no_other_redirect_than_the_registered_one(
    browser: Browser, program: Program, code: str, mutation: str
) -> None:
    for options in ({}, {"response_type": "token"}, {"scope": "everything"}):
        shown = browser.get(program.url(redirect_uri=mutation, **options))
        assert (shown.status_code, "location" in shown.headers) == (400, False)
        assert mutation.strip() in {"", "/"} or mutation not in shown.text
    exchanged = program.token(code=code, redirect_uri=mutation)
    assert exchanged.status_code == 400
    assert program.token(code=code).status_code == 200


def test_there_are_enough_mutations() -> None:
    assert len(set(MUTATIONS)) >= 40


def test_a_redirect_has_to_be_named(browser: Browser, program: Program, code: str) -> None:
    shown = browser.get(program.url(redirect_uri=None))
    assert (shown.status_code, "location" in shown.headers) == (400, False)
    assert program.token(code=code, redirect_uri=None).status_code == 400


@pytest.mark.parametrize(
    "client_id", [None, "", "unknown", "' OR 1=1 --", "00000000-0000-4000-8000-000000000000"]
)
def test_unknown_programs_get_nobody_redirected(
    browser: Browser, program: Program, client_id: str | None
) -> None:
    shown = browser.get(program.url(client_id=client_id))
    assert (shown.status_code, "location" in shown.headers) == (400, False)


@pytest.mark.parametrize("name", ["client_id", "redirect_uri", "response_type", "scope", "state"])
def test_nothing_may_be_said_twice(browser: Browser, program: Program, name: str) -> None:
    shown = browser.get(f"{program.url()}&{urlencode({name: program.asks()[name]})}")
    assert (shown.status_code, "location" in shown.headers) == (400, False)


@pytest.mark.parametrize(
    ("changes", "error"),
    [
        ({"response_type": "token"}, "unsupported_response_type"),
        ({"response_type": "none"}, "unauthorized_client"),
        ({"response_type": "code token"}, "unauthorized_client"),
        ({"response_type": None}, "invalid_request"),
        ({"scope": "everything"}, "invalid_scope"),
        ({"scope": "basic everything"}, "invalid_scope"),
        ({"code_challenge_method": "plain"}, "invalid_request"),
        ({"code_challenge_method": None}, "invalid_request"),
        ({"code_challenge_method": "s256"}, "invalid_request"),
        ({"code_challenge": "short"}, "invalid_request"),
        ({"code_challenge": "x" * 42 + "="}, "invalid_request"),
        ({"response_mode": "fragment"}, "invalid_request"),
        ({"response_mode": "form_post"}, "invalid_request"),
    ],
)
def test_what_the_server_does_not_do_is_said_to_the_program(
    browser: Browser, program: Program, changes: dict[str, str | None], error: str
) -> None:
    answer = browser.get(program.url(**changes))
    assert answer.status_code == 303
    assert answer.headers["location"].startswith(f"{REDIRECT}?")
    told = query_of(answer.headers["location"])
    assert told["error"] == error
    assert told.get("state") == program.asks(**changes).get("state")
    assert "code" not in told


def test_a_program_without_a_secret_has_to_prove_its_possession(browser: Browser, public: Program) -> None:
    answer = browser.get(public.url(code_challenge=None, code_challenge_method=None))
    assert query_of(answer.headers["location"])["error"] == "invalid_request"
    code = browser.allow(public)["code"]
    refused(public.token(code=code, code_verifier=None), "invalid_request")


def test_a_repeated_challenge_is_refused(browser: Browser, program: Program) -> None:
    answer = browser.get(f"{program.url()}&code_challenge={challenge_of('x' * 43)}")
    assert query_of(answer.headers["location"])["error"] == "invalid_request"


@pytest.mark.parametrize("verifier", ["x" * 43, "", "short", "x" * 129, "ä" * 43, None])
def test_a_wrong_verifier_gets_nothing(program: Program, code: str, verifier: str | None) -> None:
    answer = program.token(code=code, code_verifier=verifier)
    assert answer.status_code == 400
    assert answer.json()["error"] in {"invalid_grant", "invalid_request"}
    assert program.token(code=code).status_code == 200  # who has the right one is not kept out


def test_the_challenge_cannot_be_taken_out(browser: Browser, program: Program) -> None:
    """RFC 9700, section 4.8.2: a verifier without a challenge is an attack."""
    told = browser.allow(program, code_challenge=None, code_challenge_method=None)
    refused(program.token(code=told["code"]), "invalid_grant")
    assert program.token(code=told["code"], code_verifier=None).status_code == 200


def test_the_challenge_itself_is_no_verifier(browser: Browser, program: Program) -> None:
    code = browser.allow(program)["code"]
    refused(program.token(code=code, code_verifier=challenge_of(program.verifier)), "invalid_grant")


def test_a_code_is_good_once_however_many_try(program: Program, code: str) -> None:
    with ThreadPoolExecutor(25) as pool:
        answers = list(pool.map(lambda _: program.token(code=code), range(100)))
    won = [answer for answer in answers if answer.status_code == 200]
    assert len(won) == 1
    for answer in answers:
        if answer is not won[0]:
            refused(answer, "invalid_grant")
    # Somebody has the code who should not, so nobody keeps what came of it.
    granted = won[0].json()
    assert not program.opens(granted["access_token"])
    refused(program.refresh(granted["refresh_token"]), "invalid_grant")


def test_a_code_sent_again_ends_what_it_was_exchanged_for(program: Program, code: str) -> None:
    granted = program.token(code=code).json()
    assert program.opens(granted["access_token"])
    refused(program.token(code=code), "invalid_grant")
    assert not program.opens(granted["access_token"])
    refused(program.refresh(granted["refresh_token"]), "invalid_grant")


def test_a_code_is_the_programs_own(server: LiveServer, program: Program, code: str) -> None:
    other = Program.register(server)
    refused(other.token(code=code, code_verifier=program.verifier), "invalid_grant")
    granted = program.token(code=code)
    assert granted.status_code == 200
    refused(other.token(code=code, code_verifier=program.verifier), "invalid_grant")
    assert program.opens(granted.json()["access_token"])  # others cannot end it either


@pytest.mark.parametrize("code", ["", "unknown", "é", None, "' OR 1=1 --"])
def test_unknown_codes_get_nothing(program: Program, code: str | None) -> None:
    refused(program.token(code=code), "invalid_request" if code is None else "invalid_grant")


@pytest.mark.parametrize("secret", [None, "", "wrong", "rino_"])
def test_a_program_has_to_show_its_secret(program: Program, code: str, secret: str | None) -> None:
    refused(program.token(code=code, client_secret=secret), "invalid_client", 401)
    refused(program.refresh("anything", client_secret=secret), "invalid_client", 401)
    refused(program.revoke("anything", client_secret=secret), "invalid_client", 401)
    assert program.token(code=code).status_code == 200


def test_a_secret_is_the_programs_own(
    server: LiveServer, program: Program, public: Program, code: str
) -> None:
    other = Program.register(server)
    refused(program.token(code=code, client_secret=other.secret), "invalid_client", 401)
    refused(public.token(code=code, client_secret=other.secret), "invalid_client", 401)
    refused(public.token(code=code, client_secret=""), "invalid_grant")


@pytest.mark.parametrize("credentials", ["", "!", "OnNlY3JldA==", "/w==", "dXNlcg=="])
def test_malformed_credentials_are_refused(program: Program, code: str, credentials: str) -> None:
    url = f"{program.server.endpoint_url}/oauth/token"
    sent = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    answer = requests.post(url, data=sent, headers={"authorization": f"Basic {credentials}"}, timeout=30)
    refused(answer, "invalid_client", 401)
    assert answer.headers["www-authenticate"]


def test_secrets_do_not_belong_into_addresses(program: Program, code: str) -> None:
    fields = {"grant_type": "authorization_code", "code": code, "redirect_uri": REDIRECT}
    query = urlencode({"client_id": program.client_id, "client_secret": program.secret})
    url = f"{program.server.endpoint_url}/oauth/token?{query}"
    assert requests.post(url, data=fields, timeout=30).status_code in {400, 401}
    assert requests.get(url, timeout=30).status_code == 405
    assert requests.post(url.partition("?")[0], json=fields, timeout=30).status_code == 415


@pytest.mark.parametrize("grant_type", [None, "", "password", "client_credentials", "implicit", "urn:x"])
def test_nothing_else_gets_a_token(program: Program, code: str, grant_type: str | None) -> None:
    answer = program.token(code=code, grant_type=grant_type)
    assert answer.status_code == 400
    assert answer.json()["error"] in {"unsupported_grant_type", "invalid_request"}


def test_refresh_tokens_rotate(program: Program, code: str) -> None:
    first = program.token(code=code).json()
    second = program.refresh(first["refresh_token"]).json()
    assert second["scope"] == "basic"
    assert program.opens(second["access_token"])
    assert (
        len({first["refresh_token"], second["refresh_token"], first["access_token"], second["access_token"]})
        == 4
    )
    third = program.refresh(second["refresh_token"]).json()
    assert program.opens(third["access_token"])


def test_an_answer_may_be_lost(program: Program, code: str) -> None:
    first = program.token(code=code).json()
    program.refresh(first["refresh_token"])  # the answer never came
    again = program.refresh(first["refresh_token"])
    assert program.opens(again.json()["access_token"])
    assert program.refresh(again.json()["refresh_token"]).status_code == 200


def test_an_old_refresh_token_ends_all_of_its_family(program: Program, code: str) -> None:
    first = program.token(code=code).json()
    second = program.refresh(first["refresh_token"]).json()
    third = program.refresh(second["refresh_token"]).json()
    # The one before is in use already, so this is no lost answer.
    refused(program.refresh(first["refresh_token"]), "invalid_grant")
    for granted in (first, second, third):
        assert not program.opens(granted["access_token"])
        refused(program.refresh(granted["refresh_token"]), "invalid_grant")


def test_of_a_race_every_answer_is_good(program: Program, code: str) -> None:
    first = program.token(code=code).json()
    with ThreadPoolExecutor(10) as pool:
        answers = list(pool.map(lambda _: program.refresh(first["refresh_token"]), range(20)))
        assert {answer.status_code for answer in answers} == {200}
        # Whichever of them a program has kept, in whatever order its processes finished.
        tokens = [answer.json()["refresh_token"] for answer in answers]
        assert {answer.status_code for answer in pool.map(program.refresh, tokens)} == {200}


def test_a_refresh_token_is_the_programs_own(server: LiveServer, program: Program, code: str) -> None:
    granted = program.token(code=code).json()
    other = Program.register(server)
    refused(other.refresh(granted["refresh_token"]), "invalid_grant")
    other.revoke(granted["refresh_token"])
    other.revoke(granted["access_token"])
    assert program.opens(granted["access_token"])
    assert program.refresh(granted["refresh_token"]).status_code == 200


def test_nothing_is_gained_by_a_refresh(program: Program, code: str) -> None:
    granted = program.token(code=code).json()
    refused(program.refresh(granted["refresh_token"], scope="basic everything"), "invalid_scope")
    assert program.refresh(granted["refresh_token"], scope="basic").json()["scope"] == "basic"


def forged(token: str) -> str:
    return token[:60] + "".join(secrets.choice("abc") for _ in token[60:])


@pytest.mark.parametrize("token", ["", "unknown", "rino_" + "x" * 86, "é"])
def test_unknown_refresh_tokens_get_nothing(program: Program, token: str) -> None:
    refused(program.refresh(token), "invalid_grant")


def test_a_forged_refresh_token_gets_nothing(program: Program, code: str) -> None:
    granted = program.token(code=code).json()
    refused(program.refresh(forged(granted["refresh_token"])), "invalid_grant")


def test_tokens_can_be_given_back(browser: Browser, program: Program) -> None:
    for name in ("access_token", "refresh_token"):
        granted = program.token(code=browser.allow(program)["code"]).json()
        answer = program.revoke(granted[name], token_type_hint="access_token")
        assert (answer.status_code, answer.text) == (200, "")
        assert not program.opens(granted["access_token"])
        left = program.refresh(granted["refresh_token"]).status_code
        assert left == (200 if name == "access_token" else 400)
        assert program.revoke(granted[name]).status_code == 200  # once more is no mistake


def test_nothing_else_can_be_given_back(program: Program) -> None:
    answer = program.revoke(program.server.token)
    assert answer.status_code == 200
    assert program.opens(program.server.token)
    refused(program.revoke(""), "invalid_request")


def test_a_removed_program_has_nothing_left(browser: Browser, program: Program) -> None:
    granted = program.token(code=browser.allow(program)["code"]).json()
    code = browser.allow(program)["code"]
    assert program.server.remove_client(program.client_id)
    assert not program.opens(granted["access_token"])
    refused(program.refresh(granted["refresh_token"]), "invalid_client", 401)
    refused(program.token(code=code), "invalid_client", 401)
    assert browser.get(program.url()).status_code == 400


def test_no_secret_is_kept(browser: Browser, server: LiveServer) -> None:
    program = Program.register(server)
    told = browser.allow(program)
    granted = program.token(code=told["code"]).json()
    program.refresh(granted["refresh_token"])
    shown = [program.secret, told["code"], granted["access_token"], granted["refresh_token"], server.password]
    kept = kept_bytes(server._services.settings)
    assert b"Notebook" in kept
    for secret in (*shown, granted["refresh_token"][5:48], browser.session.cookies["rinofs_session"]):
        assert secret is not None
        assert secret.encode() not in kept
