"""Codes, tokens and grants in time."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import pytest

from rinofs.server.auth.accounts import Accounts
from rinofs.server.auth.grants import (
    ACCESS_LIFETIME,
    CODE_LIFETIME,
    GRACE,
    GRANT_LIFETIME,
    MOST_SIBLINGS,
    Grants,
    new_refresh_token,
)
from rinofs.server.auth.redirect_uris import check_redirect_uri, policy_source
from rinofs.server.catalog.sharing.expired import CODE_KEPT, remove_expired
from rinofs.server.errors import BadRequest, Unauthorized
from tests.server.databases import opened_database

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.server.catalog.records import User
    from rinofs.server.services import Services

REDIRECT = "http://localhost:50009"


@dataclass
class Clock:
    now: float = 1_000_000.0

    def __call__(self) -> float:
        return self.now


@dataclass
class Flow:
    """Grants to one program of one user, at a time that stands still."""

    clock: Clock
    grants: Grants
    accounts: Accounts
    client_id: str
    user: User

    def code(self, code: str = "code") -> None:
        self.grants.add_code(
            code, self.user, self.client_id, redirect_uri=REDIRECT, scope="basic", challenge=None
        )

    def tokens(self, code: str = "code", access: str = "access") -> str:
        self.code(code)
        refresh = new_refresh_token()
        assert self.grants.redeem(code, access=access, refresh=refresh)
        return refresh

    def rotate(self, former: str, access: str) -> str | None:
        refresh = new_refresh_token(former)
        good = self.grants.rotate(former, self.client_id, access=access, refresh=refresh)
        return refresh if good else None

    def opens(self, access: str) -> bool:
        try:
            return self.accounts.tokens.authenticate(access, granted=True).user == self.user
        except Unauthorized:
            return False


@pytest.fixture
def flow(services: Services, user: User) -> Iterator[Flow]:
    clock = Clock()
    client, _ = services.clients.add("Notebook", [REDIRECT])
    database = opened_database(services.settings, clock)
    yield Flow(clock, Grants(database), Accounts(database), client.client_id, user)
    database.close()


def test_a_code_is_good_for_a_minute(flow: Flow) -> None:
    flow.code()
    flow.clock.now += CODE_LIFETIME - 1
    assert flow.grants.code("code", flow.client_id) is not None
    flow.clock.now += 1
    assert flow.grants.code("code", flow.client_id) is None
    assert not flow.grants.redeem("code", access="a", refresh=new_refresh_token())
    assert not flow.opens("a")


def test_a_used_code_gives_its_sender_away_for_a_day(flow: Flow) -> None:
    flow.tokens("code", "access")
    flow.clock.now += ACCESS_LIFETIME - 1
    assert flow.opens("access")
    assert flow.grants.code("code", flow.client_id) is None
    assert not flow.opens("access")


def test_old_codes_are_swept_out(flow: Flow) -> None:
    flow.code("old")
    flow.clock.now += CODE_LIFETIME + CODE_KEPT + 1
    flow.code("new")
    remove_expired(flow.grants._database)
    with flow.grants._database.read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM oauth_codes").scalar() == 1


def test_an_access_token_is_good_for_an_hour(flow: Flow) -> None:
    flow.tokens(access="access")
    flow.clock.now += ACCESS_LIFETIME - 1
    assert flow.opens("access")
    flow.clock.now += 1
    assert not flow.opens("access")


def test_what_is_granted_opens_nothing_else(flow: Flow) -> None:
    flow.tokens(access="access")
    with pytest.raises(Unauthorized, match="repovizz2"):
        flow.accounts.tokens.authenticate("access")


def test_a_refresh_token_may_be_sent_again_within_the_grace(flow: Flow) -> None:
    first = flow.tokens()
    lost = flow.rotate(first, "one")
    flow.clock.now += GRACE
    again = flow.rotate(first, "two")
    assert lost is not None
    assert again is not None
    assert flow.opens("one")
    assert flow.rotate(again, "three") is not None
    # Now the lost one turns up, when its time is over: somebody else has it.
    flow.clock.now += GRACE + 1
    assert flow.opens("three")
    assert flow.rotate(lost, "four") is None
    assert not flow.opens("three")


def test_every_answer_to_the_same_refresh_token_is_good(flow: Flow) -> None:
    """A program with several processes keeps any one of them."""
    first = flow.tokens()
    answers = [flow.rotate(first, f"access {number}") for number in range(8)]
    flow.clock.now += ACCESS_LIFETIME
    for number, answer in enumerate(answers):
        assert answer is not None
        assert flow.rotate(answer, f"later {number}") is not None
    assert flow.opens("later 7")


def test_one_refresh_token_makes_a_bounded_number(flow: Flow) -> None:
    first = flow.tokens()
    answers = [flow.rotate(first, f"access {number}") for number in range(MOST_SIBLINGS + 3)]
    assert answers[MOST_SIBLINGS:] == [None] * 3
    assert answers[0] is not None
    assert flow.rotate(answers[0], "goes on") is not None


def test_after_the_grace_it_ends_everything(flow: Flow) -> None:
    first = flow.tokens(access="zero")
    second = flow.rotate(first, "one")
    assert second is not None
    flow.clock.now += GRACE + 1
    assert flow.rotate(first, "two") is None
    assert not flow.opens("zero")
    assert not flow.opens("one")
    assert flow.rotate(second, "three") is None


def test_the_grace_is_not_prolonged(flow: Flow) -> None:
    first = flow.tokens()
    flow.rotate(first, "one")
    flow.clock.now += GRACE - 1
    assert flow.rotate(first, "two") is not None
    flow.clock.now += 2
    assert flow.rotate(first, "three") is None


def test_a_grant_that_is_used_goes_on(flow: Flow) -> None:
    refresh: str | None = flow.tokens()
    for number in range(3):
        flow.clock.now += GRANT_LIFETIME - 1
        assert refresh is not None
        refresh = flow.rotate(refresh, f"access {number}")
    assert refresh is not None
    flow.clock.now += GRANT_LIFETIME
    assert flow.rotate(refresh, "late") is None


def test_grants_of_one_user_are_apart(flow: Flow) -> None:
    one, other = flow.tokens("one", "access one"), flow.tokens("other", "access other")
    flow.grants.revoke(one, flow.client_id)
    assert not flow.opens("access one")
    assert flow.opens("access other")
    assert flow.rotate(other, "more") is not None


def test_programs_are_kept_with_a_digest_of_their_secret(services: Services) -> None:
    client, secret = services.clients.add("Notebook", [REDIRECT, "https://x.example/cb"])
    assert secret is not None
    assert services.clients.get(client.client_id) == client
    assert services.clients.all() == [client]
    assert services.clients.authenticate(client.client_id, secret) == client
    assert services.clients.authenticate(client.client_id, secret[:-1]) is None
    assert services.clients.authenticate("unknown", secret) is None
    public, none = services.clients.add("Public", [REDIRECT], public=True)
    assert none is None
    assert services.clients.authenticate(public.client_id, "") is None
    assert services.clients.remove(client.client_id)
    assert not services.clients.remove(client.client_id)
    assert services.clients.all() == [public]


@pytest.mark.parametrize(
    ("uri", "source"),
    [
        ("http://localhost:50009", "http://localhost:50009"),
        ("http://127.0.0.1/cb?x=1", "http://127.0.0.1"),
        ("http://[::1]:8000/cb", "http:"),
        ("https://lab.example/cb", "https://lab.example"),
        ("http://lab.example:8440/oauth/show_token", "http://lab.example:8440"),
        ("com.example.app:/cb", "com.example.app:"),
    ],
)
def test_where_users_may_be_sent(uri: str, source: str) -> None:
    check_redirect_uri(uri)
    assert policy_source(uri) == source


@pytest.mark.parametrize(
    "uri",
    [
        *(
            "",
            "x",
            "/cb",
            "//evil.example",
            "localhost:50009",
            "http://",
            "https:///cb",
            "http://lab.example/cb",
        ),
        *("https://a@b.example", "https://x.example/#f", "https://x.example/ y", "https://x.example:port"),
        *(
            "javascript:alert(1)",
            "data:text/html,x",
            "myapp:/cb",
            "ftp.x:/\n",
            "https://é.example",
            "http://[::1",
        ),
        *(
            "https://x.example/;default-src *",
            "file:///etc/passwd",
            'https://x.example/"',
            "https://x.example/<",
        ),
    ],
)
def test_where_users_may_not_be_sent(uri: str) -> None:
    with pytest.raises(BadRequest, match="redirect_uri"):
        check_redirect_uri(uri)


@pytest.mark.parametrize("name", ["", "  ", "a\nb", "x" * 256, "\u202eevil"])
def test_names_are_shown_to_users(services: Services, name: str) -> None:
    with pytest.raises(BadRequest, match="name"):
        services.clients.add(name, [REDIRECT])
