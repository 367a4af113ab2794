from __future__ import annotations

import threading
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import select

from rinofs.server.auth.account_tokens import ACCESS, REMEMBERED, new_token
from rinofs.server.auth.accounts import Accounts
from rinofs.server.auth.passwords import Passwords
from rinofs.server.catalog.records import NewObject
from rinofs.server.catalog.structures import structure_of
from rinofs.server.catalog.tables import users
from rinofs.server.errors import BadRequest, Conflict, TooManyRequests, Unauthorized, Unavailable
from tests.server.databases import kept_bytes, opened_database
from tests.server.packs import pack

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.server.catalog.records import User
    from rinofs.server.services import Services


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.0

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def accounts(services: Services, clock: Clock) -> Iterator[Accounts]:
    database = opened_database(services.settings, clock)
    opened = Accounts(database, timer=clock)
    yield opened
    opened.close()
    database.close()


@pytest.fixture
def ada(accounts: Accounts) -> User:
    return accounts.add_user("ada", email="ada@example.org", project="engines", password="difference")


def test_a_token_signs_its_user_in(accounts: Accounts, ada: User) -> None:
    token = accounts.tokens.create(ada)
    assert accounts.tokens.authenticate(token).user == ada
    assert token.startswith("rino_")
    assert len(token) >= len("rino_") + 43  # 256 bits in base64
    with pytest.raises(Unauthorized):
        accounts.tokens.authenticate(token + "x")
    with pytest.raises(Unauthorized):
        accounts.tokens.authenticate("")


def test_a_revoked_token_is_refused_at_once(accounts: Accounts, ada: User) -> None:
    token = accounts.tokens.create(ada)
    accounts.tokens.authenticate(token)
    assert accounts.tokens.remembered.get(token).user == ada
    accounts.tokens.revoke(token)
    assert accounts.tokens.remembered.get(token) is None
    with pytest.raises(Unauthorized):
        accounts.tokens.authenticate(token)


def test_a_token_is_looked_up_again_after_a_moment(accounts: Accounts, ada: User, clock: Clock) -> None:
    token = accounts.tokens.create(ada)
    accounts.tokens.authenticate(token)
    clock.time += REMEMBERED + 1
    assert accounts.tokens.remembered.get(token) is None


def test_an_expired_token_is_refused(accounts: Accounts, ada: User, clock: Clock) -> None:
    token = accounts.tokens.create(ada, kind=ACCESS, lifetime=60)
    assert accounts.tokens.authenticate(token).user == ada
    assert accounts.tokens.remembered.get(token) is None
    clock.time += 61
    with pytest.raises(Unauthorized):
        accounts.tokens.authenticate(token)


def test_a_lasting_token_is_handed_back_and_an_access_token_exchanged(accounts: Accounts, ada: User) -> None:
    lasting = accounts.tokens.create(ada)
    assert accounts.tokens.lasting(lasting) == lasting
    passing = accounts.tokens.create(ada, kind=ACCESS, lifetime=60, by_password=True)
    made = accounts.tokens.lasting(passing)
    assert made not in {passing, lasting}
    assert accounts.tokens.lasting(made) == made
    # Once: who finds the access token later gets nothing that lasts longer.
    assert accounts.tokens.lasting(passing) == passing


def test_a_given_token_takes_the_place_of_the_one_before(accounts: Accounts, ada: User) -> None:
    minted = accounts.tokens.create(ada)
    accounts.tokens.set_primary(ada, "first")
    accounts.tokens.authenticate("first")
    accounts.tokens.set_primary(ada, "second")
    assert accounts.tokens.authenticate("second").user == ada
    assert accounts.tokens.authenticate(minted).user == ada
    with pytest.raises(Unauthorized):
        accounts.tokens.authenticate("first")
    accounts.tokens.set_primary(ada, minted)
    assert accounts.tokens.authenticate(minted).user == ada


def test_two_users_cannot_have_one_token(accounts: Accounts, ada: User) -> None:
    accounts.tokens.set_primary(ada, "shared")
    with pytest.raises(Conflict) as refused:
        accounts.tokens.set_primary(accounts.add_user("bob"), "shared")
    assert "shared" not in refused.value.message
    assert accounts.tokens.authenticate("shared").user == ada


def test_a_token_that_another_process_ended_makes_no_other(
    services: Services, accounts: Accounts, ada: User
) -> None:
    token = accounts.tokens.create(ada)
    parent = accounts.tokens.authenticate(token)
    services.accounts.tokens.revoke(token)
    assert accounts.tokens.remembered.get(token) is not None
    with pytest.raises(Unauthorized):
        accounts.tokens.derive(parent, "to go on with")
    assert accounts.tokens.of_user(ada) == []


def test_nothing_comes_of_a_password_that_is_changed_while_it_is_checked(
    services: Services, accounts: Accounts, ada: User, monkeypatch: pytest.MonkeyPatch
) -> None:
    matches = Passwords.matches

    def change_meanwhile(self: Passwords, stored: str | None, password: str) -> bool:
        right = matches(self, stored, password)
        if password == "difference":
            services.accounts.set_password(ada, "analytical")
        return right

    monkeypatch.setattr(Passwords, "matches", change_meanwhile)
    with pytest.raises(Unauthorized):
        accounts.access_token("ada", "difference", "127.0.0.1", lifetime=60)
    services.accounts.set_password(ada, "difference")
    with pytest.raises(Unauthorized):
        accounts.change_password(ada, "difference", "another one", "127.0.0.1")
    assert accounts.tokens.of_user(ada) == []
    assert accounts.is_password(ada, "analytical")


def test_what_a_removed_user_stores_is_no_conflict(services: Services, accounts: Accounts, ada: User) -> None:
    services.accounts.remove_user(ada)
    for work in (
        lambda: services.store.create_folder(ada, NewObject(None, "f")),
        lambda: services.datapacks.create(ada, "pack", structure_of(pack("pack"))),
    ):
        with pytest.raises(Unavailable) as refused:
            work()
        assert refused.value.headers["Retry-After"]


@pytest.mark.parametrize("token", ["", "two words", "line\nbreak", "é"])
def test_a_token_that_no_header_can_carry_is_refused(accounts: Accounts, ada: User, token: str) -> None:
    with pytest.raises(BadRequest, match="token"):
        accounts.tokens.set_primary(ada, token)


@pytest.mark.parametrize("name", ["", " ", "a/b", "a\nb", "x" * 256])
def test_a_bad_username_is_refused(accounts: Accounts, name: str) -> None:
    with pytest.raises(BadRequest, match="username"):
        accounts.add_user(name)


def test_a_username_is_taken_once(accounts: Accounts, ada: User) -> None:
    with pytest.raises(Conflict, match="username"):
        accounts.add_user("ada")
    assert accounts.user("ada") == ada
    assert accounts.user("nobody") is None


def test_a_password_signs_in(accounts: Accounts, ada: User) -> None:
    assert accounts.log_in("ada", "difference", "127.0.0.1") == ada
    accounts.set_password(ada, "analytical")
    assert accounts.log_in("ada", "analytical", "127.0.0.1") == ada
    with pytest.raises(Unauthorized):
        accounts.log_in("ada", "difference", "127.0.0.1")


def test_unknown_users_and_users_without_a_password_look_like_a_wrong_password(
    accounts: Accounts, ada: User
) -> None:
    accounts.add_user("open")
    messages = set()
    for name in ("ada", "open", "nobody"):
        with pytest.raises(Unauthorized) as refused:
            accounts.log_in(name, "wrong", "127.0.0.1")
        messages.add(refused.value.message)
    assert len(messages) == 1


def test_too_many_wrong_passwords_have_to_wait_longer_and_longer(
    accounts: Accounts, ada: User, clock: Clock
) -> None:
    def wrong() -> None:
        accounts.log_in("ada", "wrong", "1.2.3.4")

    for _ in range(6):
        with pytest.raises(Unauthorized):
            wrong()
    with pytest.raises(TooManyRequests) as refused:
        accounts.log_in("ada", "difference", "1.2.3.4")
    assert refused.value.headers["Retry-After"] == "2"
    assert accounts.log_in("ada", "difference", "5.6.7.8") == ada
    clock.time += 2
    with pytest.raises(Unauthorized):
        wrong()
    with pytest.raises(TooManyRequests) as refused:
        wrong()
    assert refused.value.headers["Retry-After"] == "3"
    clock.time += 3
    assert accounts.log_in("ada", "difference", "1.2.3.4") == ada
    with pytest.raises(Unauthorized):
        wrong()


def test_many_attempts_at_once_do_not_get_around_the_wait(accounts: Accounts, ada: User) -> None:
    start = threading.Barrier(16)

    def attempt(number: int) -> str:
        start.wait()
        try:
            accounts.log_in("ada", f"guess {number}", "1.2.3.4")
        except (Unauthorized, TooManyRequests) as error:
            return type(error).__name__
        return "in"

    with ThreadPoolExecutor(16) as pool:
        outcomes = list(pool.map(attempt, range(16)))
    assert outcomes.count("Unauthorized") <= 6
    assert outcomes.count("TooManyRequests") >= 10


def test_neither_tokens_nor_passwords_are_found_in_the_database(
    services: Services, accounts: Accounts, ada: User
) -> None:
    accounts.tokens.set_primary(ada, "canary-token-1")
    minted = accounts.tokens.create(ada, kind=ACCESS, lifetime=60)
    accounts.tokens.authenticate("canary-token-1")
    folder = services.settings.data_dir
    kept = b"".join(path.read_bytes() for path in folder.rglob("*") if path.is_file())
    kept += kept_bytes(services.settings)
    assert kept
    for secret in ("canary-token-1", minted, "difference"):
        assert secret.encode() not in kept
    with services.database.read() as connection:
        password = connection.scalar(select(users.c.password))
    assert password is not None
    assert password.startswith("$argon2id$")


def test_tokens_are_random() -> None:
    assert len({new_token() for _ in range(100)}) == 100
