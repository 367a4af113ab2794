"""The login and consent pages, as a browser gets them, and as an attacker would like to have them."""

from __future__ import annotations

import html
import re
import secrets
from html.parser import HTMLParser
from typing import TYPE_CHECKING
from urllib.parse import urlsplit

import pytest
import requests

from rinofs.server.auth.authorize import COOKIE
from rinofs.server.auth.sessions import Sessions
from rinofs.testing import live_server
from tests.server.browsing import Browser, Program, hidden_fields, query_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.testing import LiveServer

NASTY = "\"><script>alert(1)</script>'{{7*7}}"


@pytest.fixture(scope="module")
def server() -> Iterator[LiveServer]:
    with live_server() as running:
        yield running


@pytest.fixture
def program(server: LiveServer) -> Program:
    return Program.register(server)


@pytest.fixture(scope="module")
def signed_in(server: LiveServer) -> Browser:
    browser = Browser()
    browser.log_in(Program.register(server).url(), server.username, server.password)
    return browser


def directives(answer: requests.Response) -> dict[str, str]:
    policy = answer.headers["content-security-policy"].split("; ")
    return {name: value for name, _, value in (directive.partition(" ") for directive in policy)}


class Elements(HTMLParser):
    """Every element of a page, with its attributes."""

    def __init__(self, text: str) -> None:
        super().__init__()
        self.found: list[tuple[str, dict[str, str | None]]] = []
        self.feed(text)

    def handle_starttag(self, tag: str, attrs: list[tuple[str, str | None]]) -> None:
        self.found.append((tag, dict(attrs)))


def pages(signed_in: Browser, program: Program) -> list[requests.Response]:
    shown = f"{program.server.endpoint_url}/oauth/show_token?code=abc"
    wrong = program.url(redirect_uri="http://evil.example")
    return [
        Browser().get(program.url()),
        signed_in.get(program.url()),
        Browser().get(shown),
        Browser().get(shown.partition("?")[0]),
        Browser().get(wrong),
    ]


def test_no_page_runs_is_framed_or_stored(signed_in: Browser, program: Program) -> None:
    for answer in pages(signed_in, program):
        assert answer.headers["content-type"] == "text/html; charset=utf-8"
        assert answer.headers["cache-control"] == "no-store"
        assert answer.headers["x-content-type-options"] == "nosniff"
        assert answer.headers["x-frame-options"] == "DENY"
        assert answer.headers["referrer-policy"] in {"no-referrer", "same-origin"}
        policy = directives(answer)
        assert policy.pop("form-action").startswith("'")
        assert policy == {
            "default-src": "'none'",
            "style-src": "'self'",
            "base-uri": "'none'",
            "frame-ancestors": "'none'",
        }
        for tag, attributes in Elements(answer.text).found:
            assert tag not in {"script", "style", "iframe", "object", "img"}
            assert not [name for name in attributes if name.startswith("on") or name == "style"]


def test_forms_lead_to_the_program_and_nowhere_else(program: Program, signed_in: Browser) -> None:
    for page in (Browser().get(program.url()), signed_in.get(program.url())):
        assert directives(page)["form-action"] == "'self' http://localhost:50009"
    shown = Browser().get(f"{program.server.endpoint_url}/oauth/show_token?code=abc")
    assert directives(shown)["form-action"] == "'none'"


def test_pages_can_be_read_to_people(program: Program, signed_in: Browser) -> None:
    for answer in pages(signed_in, program):
        found = Elements(answer.text).found
        tags = [tag for tag, _ in found]
        assert ("html", {"lang": "en"}) in found
        assert tags.count("h1") == tags.count("main") == tags.count("title") == 1
        labelled = {attributes.get("for") for tag, attributes in found if tag == "label"}
        for tag, attributes in found:
            assert "tabindex" not in attributes or attributes["tabindex"] == "0"
            if tag == "input" and attributes.get("type") != "hidden":
                assert attributes["id"] in labelled
    wrong = Browser()
    answer = wrong.send(wrong.get(program.url()), username="nobody", password="wrong")
    found = Elements(answer.text).found
    described = [
        attributes["aria-describedby"] for _, attributes in found if "aria-describedby" in attributes
    ]
    assert described == ["problem", "problem"]
    assert any(attributes.get("id") == "problem" and attributes["role"] == "alert" for _, attributes in found)


def test_the_style_sheet_is_there(program: Program) -> None:
    found = dict(Elements(Browser().get(program.url()).text).found)["link"]
    answer = requests.get(program.server.endpoint_url + str(found["href"]), timeout=30)
    assert answer.headers["content-type"] == "text/css; charset=utf-8"
    assert "@media (prefers-color-scheme: dark)" in answer.text


def test_what_others_chose_is_shown_as_text(server: LiveServer) -> None:
    name, password = NASTY.replace("/", ""), "password"
    server.add_user(name, password=password)
    client_id, secret = server.add_client(NASTY, "http://localhost:50009")
    program = Program(server, client_id, secret, state=NASTY)
    browser = Browser()
    login = browser.get(program.url())
    consent = browser.log_in(program.url(), name, password)
    other = Browser()
    failed = other.send(other.get(program.url()), username=NASTY, password="x")
    refused = browser.get(program.url(redirect_uri=NASTY))
    for page in (login, consent, failed, refused):
        assert "<script" not in page.text.lower()
        assert "39;49" not in page.text  # no template of theirs was filled in
    assert NASTY in html.unescape(login.text)
    assert name in html.unescape(consent.text)
    told = query_of(browser.send(consent, decision="deny").headers["location"])
    assert told["state"] == NASTY


def test_a_wrong_password_says_nothing_about_the_user(program: Program) -> None:
    texts = []
    for username in (program.server.username, "nobody"):
        browser = Browser()
        answer = browser.send(browser.get(program.url()), username=username, password=secrets.token_hex(4))
        assert answer.status_code == 403
        texts.append(re.sub(r'value="[^"]*"', "", answer.text))
    assert texts[0] == texts[1]
    assert "wrong" in texts[0]


def test_logins_are_throttled(server: LiveServer, program: Program) -> None:
    server.add_user("guessed", password="right-one")
    browser = Browser()
    page = browser.get(program.url())
    for _ in range(12):
        page = browser.send(page, username="guessed", password="wrong")
        if page.status_code == 429:
            break
    assert page.status_code == 429
    assert int(page.headers["retry-after"]) >= 1
    assert "too many" in page.text
    with server._services.database.write() as connection:  # so that the wait is not over by now
        connection.exec_driver_sql("UPDATE throttles SET until = until + 600 WHERE until > seen")
    assert browser.send(page, username="guessed", password="right-one").status_code == 429


def test_the_cookie_is_for_the_server_alone(program: Program) -> None:
    browser = Browser()
    answer = browser.get(program.url())
    cookie = answer.headers["set-cookie"]
    for attribute in ("HttpOnly", "SameSite=lax", "Path=/oauth"):
        assert attribute in cookie
    before = browser.session.cookies["rinofs_session"]
    browser.log_in(program.url(), program.server.username, program.server.password)
    after = browser.session.cookies["rinofs_session"]
    assert after != before
    # Who knew the cookie from before the login is not signed in.
    other = Browser()
    assert "password" in other.get(program.url(), cookies={"rinofs_session": before}).text
    assert "password" not in other.get(program.url(), cookies={"rinofs_session": after}).text


def test_the_word_of_anybody_is_not_taken_for_encryption(program: Program) -> None:
    answer = Browser().get(program.url(), headers={"x-forwarded-proto": "https"})
    assert "secure" not in answer.headers["set-cookie"].lower()


def test_a_form_of_the_same_host_is_taken_whatever_port_a_proxy_passes_on(program: Program) -> None:
    port = urlsplit(program.server.endpoint_url).port
    for host, origin, foreign in [
        ("127.0.0.1", "https://127.0.0.1:8443", False),
        (f"127.0.0.1:{port}", "https://127.0.0.1", False),
        (f"127.0.0.1:{port}", f"http://127.0.0.1:{port}", False),
        (f"127.0.0.1:{port}", "http://127.0.0.1:1", True),
        (f"127.0.0.1:{port}", f"http://localhost:{port}", True),
        ("127.0.0.1", "https://evil.example", True),
        ("127.0.0.1", "null", True),
        ("127.0.0.1", "http://127.0.0.1:x", True),
    ]:
        browser = Browser()
        page = browser.get(program.url())
        answer = browser.send(
            page, headers={"host": host, "origin": origin}, username="rino", password=program.server.password
        )
        assert answer.status_code == (403 if foreign else 303), (host, origin)


def forms(program: Program, browser: Browser) -> tuple[requests.Response, dict[str, str]]:
    page = browser.get(program.url())
    return page, {**hidden_fields(page), "decision": "allow"}


def send(
    browser: Browser, page: requests.Response, fields: dict[str, str], **headers: str
) -> requests.Response:
    assert page.url is not None
    return browser.session.post(page.url, data=fields, headers=headers, allow_redirects=False, timeout=30)


def test_a_form_without_its_token_does_nothing(program: Program, signed_in: Browser) -> None:
    page, fields = forms(program, signed_in)
    token = fields["form_token"]
    head, _, mac = token.rpartition(".")
    for wrong in (None, "", "x", token[:-1], f"{head}.{'0' * 64}", f"9{head}.{mac}", f"{token}é", "."):
        sent = {**fields, "form_token": wrong} if wrong is not None else {"decision": "allow"}
        answer = send(signed_in, page, sent)
        assert (answer.status_code, "location" in answer.headers) == (403, False)
        assert "try again" in answer.text
    assert send(signed_in, page, fields).status_code == 303


def test_a_form_of_another_browser_does_nothing(
    server: LiveServer, program: Program, signed_in: Browser
) -> None:
    server.add_user("attacker", password="attacker")
    attacker = Browser()
    attacker.log_in(program.url(), "attacker", "attacker")
    _, foreign = forms(program, attacker)
    page, _ = forms(program, signed_in)
    assert send(signed_in, page, foreign).status_code == 403


def test_a_form_of_another_page_does_nothing(
    server: LiveServer, program: Program, signed_in: Browser
) -> None:
    other = Program.register(server)
    page, _ = forms(program, signed_in)
    _, fields = forms(other, signed_in)
    assert send(signed_in, page, fields).status_code == 403
    _, fields = forms(Program(server, program.client_id, program.secret, state="other"), signed_in)
    assert send(signed_in, page, fields).status_code == 403


def test_a_form_is_sent_once(program: Program, signed_in: Browser) -> None:
    page, fields = forms(program, signed_in)
    assert send(signed_in, page, fields).status_code == 303
    again = send(signed_in, page, fields)
    assert (again.status_code, "location" in again.headers) == (403, False)


def test_nothing_is_granted_once_signed_out(
    server: LiveServer, program: Program, monkeypatch: pytest.MonkeyPatch
) -> None:
    browser = Browser()
    browser.log_in(program.url(), server.username, server.password)
    page, fields = forms(program, browser)
    cookie, check = browser.session.cookies[COOKIE], Sessions.is_good

    def good_and_signed_out(self: Sessions, token: str, session: str, purpose: str) -> bool:
        good = check(self, token, session, purpose)
        if session == cookie:
            self.sign_out(session)  # in another tab, by another worker
        return good

    monkeypatch.setattr(Sessions, "is_good", good_and_signed_out)
    answer = send(browser, page, fields)
    assert (answer.status_code, "location" in answer.headers) == (403, False)
    assert 'name="password"' in answer.text


def test_a_form_without_a_cookie_does_nothing(program: Program, signed_in: Browser) -> None:
    page, fields = forms(program, signed_in)
    assert send(Browser(), page, fields).status_code == 403
    login = Browser().get(program.url())
    sent = {**hidden_fields(login), "username": program.server.username, "password": program.server.password}
    assert send(Browser(), login, sent).status_code == 403


@pytest.mark.parametrize(
    "headers",
    [
        {"origin": "http://evil.example"},
        {"origin": "null"},
        {"origin": "http://localhost:50009"},
        {"sec-fetch-site": "cross-site"},
        {"sec-fetch-site": "same-site"},
    ],
)
def test_a_form_that_another_site_sends_does_nothing(
    program: Program, signed_in: Browser, headers: dict[str, str]
) -> None:
    page, fields = forms(program, signed_in)
    answer = send(signed_in, page, fields, **headers)
    assert (answer.status_code, "location" in answer.headers) == (403, False)
    own = {"origin": program.server.endpoint_url, "sec-fetch-site": "same-origin"}
    assert send(signed_in, page, fields, **own).status_code == 303


@pytest.mark.parametrize("kind", ["application/json", "multipart/form-data", "text/plain", ""])
def test_only_forms_are_read(program: Program, signed_in: Browser, kind: str) -> None:
    page = signed_in.get(program.url())
    assert page.url is not None
    answer = signed_in.session.post(page.url, data=b"{}", headers={"content-type": kind}, timeout=30)
    assert answer.status_code == 415
    assert answer.headers["content-type"].startswith("text/html")


def test_after_the_login_the_way_leads_back_to_the_same_page(program: Program) -> None:
    browser = Browser()
    page = browser.get(program.url() + "&next=http://evil.example&redirect=//evil.example")
    answer = browser.send(page, username=program.server.username, password=program.server.password)
    assert answer.status_code == 303
    location = urlsplit(answer.headers["location"])
    assert (location.scheme, location.netloc, location.path) == ("", "", "/oauth/authorize")
    assert page.url is not None
    assert location.query == urlsplit(page.url).query


def test_nothing_is_granted_without_a_click(program: Program, signed_in: Browser) -> None:
    page = signed_in.get(program.url())
    assert (page.status_code, "location" in page.headers) == (200, False)
    for decision in ("deny", "", "ALLOW"):
        answer = signed_in.send(signed_in.get(program.url()), decision=decision)
        assert query_of(answer.headers["location"]) == {"error": "access_denied", "state": program.state}
    # Asked again, it asks the user again.
    signed_in.send(page, decision="allow")
    assert signed_in.get(program.url()).status_code == 200


def test_another_account_can_be_taken(server: LiveServer, program: Program) -> None:
    server.add_user("other", password="other-password")
    browser = Browser()
    consent = browser.log_in(program.url(), server.username, server.password)
    answer = browser.send(consent, decision="leave")
    assert answer.headers["location"] == program.url().removeprefix(server.endpoint_url)
    assert "password" in browser.get(program.url()).text
    consent = browser.log_in(program.url(), "other", "other-password")
    assert "other" in consent.text


def test_codes_can_be_copied_by_hand(server: LiveServer) -> None:
    place = f"{server.endpoint_url}/oauth/show_token"
    program = Program.register(server, public=True, redirect_uri=place)
    browser = Browser()
    consent = browser.log_in(program.url(), server.username, server.password)
    location = browser.send(consent, decision="allow").headers["location"]
    code = query_of(location)["code"]
    shown = browser.get(location)
    assert shown.headers["referrer-policy"] == "no-referrer"
    assert f">{code}</output>" in shown.text
    assert program.opens(program.token(code=code).json()["access_token"])
    denied = browser.get(f"{place}?error=access_denied")
    assert (denied.status_code, "did not allow" in denied.text) == (200, True)
    for wrong in ("", "?code=", "?code=<script>", "?error=other"):
        assert browser.get(place + wrong).status_code == 400


def test_answers_of_forms_are_not_sent_again(program: Program, signed_in: Browser) -> None:
    """RFC 9700, section 4.12: other redirects would carry the password on."""
    answer = signed_in.send(signed_in.get(program.url()), decision="allow")
    assert answer.status_code == 303
    assert answer.headers["referrer-policy"] == "no-referrer"
    assert answer.headers["cache-control"] == "no-store"
