"""What wrong passwords cost those who send them, and others."""

from __future__ import annotations

import time
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from contextlib import nullcontext
from typing import TYPE_CHECKING, Any

import pytest

from rinofs.server.auth import throttle
from rinofs.server.auth.accounts import Accounts
from rinofs.server.auth.passwords import Passwords
from rinofs.server.auth.throttle import (
    FREE_ATTEMPTS,
    KNOWN_FOR,
    LONGEST_SHARED_WAIT,
    LONGEST_WAIT,
)
from rinofs.server.catalog.database import Database
from rinofs.server.catalog.users import signins
from rinofs.server.errors import TooManyRequests, Unauthorized
from rinofs.server.web.connections import network_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.server.services import Services

PASSWORD = "difference engine"
FREE_PER_ACCOUNT = 8  # fewer than there are, since each attempt waits for the disk
FREE_PER_ADDRESS = 12
Guess = Callable[..., int]


class Clock:
    def __init__(self) -> None:
        self.time = 1_000_000.25  # within a second, as any moment

    def __call__(self) -> float:
        return self.time


@pytest.fixture
def clock() -> Clock:
    return Clock()


@pytest.fixture
def data(services: Services) -> Path | str:
    """The database of a server, whose hashes cost nothing: what is tested is when they are looked at."""
    return services.settings.database_url or services.settings.data_dir / "rinofs.sqlite3"


@pytest.fixture(autouse=True)
def _cheap(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(throttle, "FREE_PER_ACCOUNT", FREE_PER_ACCOUNT)
    monkeypatch.setattr(throttle, "FREE_PER_ADDRESS", FREE_PER_ADDRESS)
    monkeypatch.setattr(Passwords, "hash", lambda _self, password: f"hash of {password}")
    monkeypatch.setattr(Passwords, "matches", lambda _self, stored, password: stored == f"hash of {password}")


@pytest.fixture
def hashed(accounts: Accounts, monkeypatch: pytest.MonkeyPatch) -> list[str]:
    """Names of the methods that compute a hash, as they are called."""
    called: list[str] = []
    for name in ("hash", "matches"):
        method = getattr(Passwords, name)

        def noted(passwords: Passwords, *texts: str, name: str = name, method: Any = method) -> Any:
            called.append(name)
            return method(passwords, *texts)

        monkeypatch.setattr(Passwords, name, noted)
    return called


@pytest.fixture
def accounts(data: Path | str, clock: Clock) -> Iterator[Accounts]:
    database = Database(data, clock=clock)
    opened = Accounts(database)
    opened.add_user("ada", password=PASSWORD)
    yield opened
    opened.close()
    database.close()


@pytest.fixture
def guess(accounts: Accounts) -> Guess:
    """Try a password; 0 if it was looked at, and else the seconds to wait."""

    def guess_it(address: str, username: str = "ada", password: str = "wrong") -> int:
        try:
            accounts.log_in(username, password, address)
        except Unauthorized:
            return 0
        except TooManyRequests as error:
            return int(error.headers["Retry-After"])
        return -1

    return guess_it


@pytest.mark.parametrize(
    ("present", "refusal", "expected"),
    [
        (PASSWORD, None, ["matches", "hash"]),
        ("wrong", Unauthorized, ["matches"]),
        ("x" * 2000, Unauthorized, []),
    ],
)
def test_a_new_password_is_hashed_only_if_the_present_one_is_right(
    accounts: Accounts, hashed: list[str], present: str, refusal: type[Exception] | None, expected: list[str]
) -> None:
    ada = accounts.user("ada")
    assert ada is not None
    with nullcontext() if refusal is None else pytest.raises(refusal):
        accounts.change_password(ada, present, "another one", "10.0.0.1")
    assert hashed == expected


def test_who_has_to_wait_costs_no_hash(accounts: Accounts, guess: Guess, hashed: list[str]) -> None:
    ada = accounts.user("ada")
    assert ada is not None
    while guess("10.0.0.1") == 0:
        pass
    hashed.clear()
    for present in (PASSWORD, "wrong"):
        with pytest.raises(TooManyRequests):
            accounts.change_password(ada, present, "another one", "10.0.0.1")
    assert hashed == []


def test_others_sign_in_while_a_new_password_is_hashed(
    accounts: Accounts, guess: Guess, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A hash takes a tenth of a second, in which no transaction is open."""
    ada = accounts.user("ada")
    assert ada is not None
    found: list[int] = []

    def hash_slowly(_self: Passwords, password: str) -> str:
        with ThreadPoolExecutor(1) as pool:
            found.append(pool.submit(guess, "10.0.0.2", password=PASSWORD).result())
        return f"hash of {password}"

    monkeypatch.setattr(Passwords, "hash", hash_slowly)
    accounts.change_password(ada, PASSWORD, "another one", "10.0.0.1")
    assert found == [-1]
    assert guess("10.0.0.1", password="another one") == -1


def test_guesses_from_many_addresses_are_counted_together(guess: Guess) -> None:
    looked_at = [guess(f"10.0.{number}.1") == 0 for number in range(3 * FREE_PER_ACCOUNT)]
    assert looked_at.count(True) <= FREE_PER_ACCOUNT + 1


def test_guesses_at_many_accounts_are_counted_together(guess: Guess) -> None:
    looked_at = [guess("10.0.0.1", f"user {number}") == 0 for number in range(2 * FREE_PER_ADDRESS)]
    assert looked_at.count(True) <= FREE_PER_ADDRESS + 1


def test_a_network_of_ipv6_counts_as_one_address(guess: Guess) -> None:
    looked_at = [guess(f"2001:db8:1:2::{number:x}") == 0 for number in range(1, 10)]
    assert looked_at.count(True) <= FREE_ATTEMPTS + 1
    assert guess("2001:db8:1:3::1", password=PASSWORD) == -1


@pytest.mark.parametrize(
    ("address", "network"),
    [
        ("10.1.2.3", "10.1.2.3"),
        ("::ffff:10.1.2.3", "10.1.2.3"),
        ("2001:db8:1:2:3:4:5:6", "2001:db8:1:2::/64"),
        ("fe80::1%eth0", "fe80::/64"),
        ("", ""),
        ("testclient", "testclient"),
    ],
)
def test_what_an_address_is_counted_by(address: str, network: str) -> None:
    assert network_of(address) == network


def test_who_signed_in_before_is_spared_what_others_do(guess: Guess, clock: Clock) -> None:
    assert guess("192.0.2.1", password=PASSWORD) == -1
    for number in range(3 * FREE_PER_ACCOUNT):
        guess(f"10.0.{number}.1")
    assert 0 < guess("192.0.2.2", password=PASSWORD) <= LONGEST_SHARED_WAIT + 1
    assert guess("192.0.2.1", password=PASSWORD) == -1
    clock.time += KNOWN_FOR + 1
    for number in range(3 * FREE_PER_ACCOUNT):
        guess(f"10.0.{number}.1")
    assert guess("192.0.2.1", password=PASSWORD) > 0


def test_signing_in_often_is_no_guessing(guess: Guess) -> None:
    assert {guess("192.0.2.1", password=PASSWORD) for _ in range(2 * FREE_PER_ADDRESS)} == {-1}


@pytest.mark.parametrize("step", [-86_400, -3600, -1, 3600, 86_400])
def test_steps_of_the_clock_lengthen_no_wait(guess: Guess, clock: Clock, step: float) -> None:
    wait = 0
    while wait < LONGEST_WAIT / 2:
        wait = guess("10.0.0.1")
        clock.time += wait
    while not (wait := guess("10.0.0.1")):
        pass
    clock.time += step
    after = guess("10.0.0.1")
    assert after <= wait + 1
    clock.time += after
    assert guess("10.0.0.1", password=PASSWORD) == -1


def test_waits_are_those_of_all_processes(
    data: Path | str, accounts: Accounts, guess: Guess, clock: Clock
) -> None:
    while not guess("10.0.0.1"):
        pass
    database = Database(data, clock=clock)
    with pytest.raises(TooManyRequests):
        Accounts(database).log_in("ada", PASSWORD, "10.0.0.1")
    database.close()


def test_what_is_kept_is_bounded_and_tells_no_name(
    guess: Guess, monkeypatch: pytest.MonkeyPatch, data: Path | str
) -> None:
    monkeypatch.setattr(signins, "MOST_ROWS", 20)
    for number in range(12):
        guess(f"10.0.{number}.1", f"somebody {number}")
    with Database(data).read() as connection:
        assert connection.exec_driver_sql("SELECT count(*) FROM throttles").scalar_one() <= 23
        keys = connection.exec_driver_sql("SELECT sha256 FROM throttles").scalars().all()
    assert {len(key) for key in keys} == {64}


def test_the_time_is_that_of_the_database(data: Path | str) -> None:
    database = Database(data)
    with database.read() as connection:
        assert abs(database.moment(connection) - time.time()) < 60
    database.close()
