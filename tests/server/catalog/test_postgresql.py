"""What transactions on PostgreSQL promise when connections end, others hold locks, or tables are old."""

from __future__ import annotations

import os
import threading
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING, Any

import psycopg
import pytest
from sqlalchemy import insert, select, text
from sqlalchemy.exc import IntegrityError

from rinofs.server.budgets import CLIENT_GONE
from rinofs.server.catalog import migrations
from rinofs.server.catalog.database import Database, Repeated, RequestKey
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError, parse_url, refusal, shown
from rinofs.server.catalog.postgres.requirements import ServerFacts
from rinofs.server.catalog.records import NewObject
from rinofs.server.catalog.store import made_before
from rinofs.server.catalog.tables import properties, users
from rinofs.server.errors import ApiError, BadRequest, InsufficientStorage, NotFound, Unavailable
from rinofs.server.maintenance import fsck
from rinofs.server.services import Services, open_services
from rinofs.server.settings import ServerSettings
from tests import postgres
from tests.server.catalog.commit_proxy import CommitProxy, Cut
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.server.catalog.records import Record, User

SOAK = bool(os.environ.get("RINOFS_SOAK"))


@pytest.fixture
def url() -> Iterator[str]:
    made = postgres.shared().new_database(schema=True)
    yield made
    postgres.shared().drop(made)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    with closing(Database(url)) as opened:
        yield opened


def add_user(database: Database, name: str) -> int:
    row = {"username": name, "email": "", "project": "", "created_on": ""}
    with database.write() as connection:
        number: int = connection.execute(insert(users).values(row).returning(users.c.id)).scalar_one()
    return number


def backends(url: str, action: str = "pid") -> list[Any]:
    """Run an action on every session of the servers under test."""
    name = url.rpartition("/")[2]
    return postgres.shared().execute(f"SELECT {action} FROM pg_stat_activity WHERE datname = '{name}'")


class Through:
    """A server whose connections to the database pass a proxy."""

    def __init__(self, services: Services, proxy: CommitProxy) -> None:
        self.services = services
        self.proxy = proxy
        self.user = services.accounts.add_user("ada")

    def upload(self, name: str, content: bytes, cut: Cut | None) -> tuple[Record, int]:
        """Upload as clients do, again after each 503; return the file, and how many times it was sent."""
        key = RequestKey(name, "digest")
        self.proxy.next = cut
        for attempt in range(1, 4):
            with self.services.blobs.new_upload() as sent:
                sent.write(content)
                blob = sent.finish()
                try:
                    return self.services.store.upload(
                        self.user, NewObject(None, name), blob, key=key
                    ), attempt
                except Repeated as repeated:
                    return made_before(repeated)[0], attempt
                except Unavailable:
                    continue
        raise AssertionError(f"{name} was refused again and again")


@pytest.fixture
def through(url: str, tmp_path: Path) -> Iterator[Through]:
    with CommitProxy(postgres.shared().port) as proxy:
        settings = ServerSettings(
            tmp_path, database_url=url.replace(f":{postgres.shared().port}/", f":{proxy.port}/")
        )
        with closing(open_services(settings)) as services:
            yield Through(services, proxy)


@pytest.mark.soak
def test_a_commit_whose_answer_is_lost_makes_no_second_version(through: Through) -> None:
    attempts: dict[Cut, set[int]] = {cut: set() for cut in Cut}
    number = 201 if SOAK else 30
    made = []
    for index in range(number):
        cut = list(Cut)[index % 3]
        record, attempt = through.upload(f"file {index}", b"content %d" % index, cut)
        made.append(record)
        attempts[cut].add(attempt)
    assert through.proxy.cuts == number
    # A client has to send again only what was not done.
    assert attempts[Cut.BEFORE] == {2}
    assert attempts[Cut.AFTER] == {1}
    assert attempts[Cut.WITH] <= {1, 2}
    assert len({record.id for record in made}) == number
    assert {record.versions for record in made} == {"[]"}
    with through.services.database.read() as connection:
        assert connection.scalar(text("SELECT count(*) FROM objects")) == number
        assert connection.scalar(text("SELECT count(*) FROM blobs")) == number


def test_connections_that_ended_meanwhile_are_replaced_unnoticed(database: Database, url: str) -> None:
    owner = add_user(database, "ada")
    for _ in range(3):
        with database.read() as one, database.read() as two, database.write(owner) as three:
            assert [c.scalar(select(users.c.id)) for c in (one, two, three)] == [owner] * 3
        assert len(backends(url)) == 3
        backends(url, "pg_terminate_backend(pid)")


def test_a_connection_that_ends_in_a_transaction_is_an_answer(database: Database, url: str) -> None:
    owner = add_user(database, "ada")

    def change() -> None:
        with database.write(owner) as connection:
            backends(url, "pg_terminate_backend(pid)")
            connection.execute(select(users.c.id))

    with pytest.raises(Unavailable) as refused:
        change()
    assert refused.value.headers["Retry-After"]
    assert "SELECT" not in refused.value.message
    with database.write(owner) as connection:
        connection.execute(users.update().values(email="new"))
    with database.read() as connection:
        assert connection.scalar(select(users.c.email)) == "new"


def test_changes_of_one_owner_happen_one_after_the_other(database: Database) -> None:
    owner, other = add_user(database, "ada"), add_user(database, "bob")
    begun, order = threading.Event(), []

    def change(number: int, what: str) -> None:
        with database.write(number):
            order.append(what)

    with ThreadPoolExecutor() as pool:
        with database.write(owner):
            second = pool.submit(lambda: (begun.set(), change(owner, "second")))
            begun.wait()
            pool.submit(change, other, "another's").result(10)
            order.append("first")
        second.result(10)
    assert order == ["another's", "first", "second"]


def test_who_waits_too_long_for_a_lock_is_told_to_try_again(url: str, database: Database) -> None:
    owner = add_user(database, "ada")
    with closing(Database(url, busy_timeout=0.05)) as hasty, database.write(owner):
        with pytest.raises(Unavailable, match="busy"), hasty.write(owner):
            pytest.fail("two writers at the same time")
        with hasty.read() as connection:
            assert connection.scalar(select(users.c.username)) == "ada"


def test_who_waits_too_long_for_a_connection_is_told_to_try_again(url: str) -> None:
    with (
        closing(Database(url, busy_timeout=0.05, connections=1)) as small,
        small.read(),
        pytest.raises(Unavailable, match="busy"),
        small.read(),
    ):
        pytest.fail("a second connection")


def test_a_statement_that_takes_too_long_is_the_same_answer_as_on_a_file(url: str) -> None:
    reset = CLIENT_GONE.set(lambda: False)
    try:
        with (
            closing(Database(url, statement_timeout=0.02)) as hurried,
            pytest.raises(BadRequest, match="takes too long"),
            hurried.read() as connection,
        ):
            connection.execute(text("SELECT pg_sleep(10)"))
    finally:
        CLIENT_GONE.reset(reset)


def test_a_transaction_sees_one_state_and_changes_nothing(database: Database) -> None:
    add_user(database, "ada")
    with database.read() as connection:
        before = connection.scalars(select(users.c.username)).all()
        add_user(database, "bob")
        assert connection.scalars(select(users.c.username)).all() == before == ["ada"]
    with pytest.raises(Unavailable, match="25006"), database.read() as connection:
        connection.execute(users.delete())


def test_what_failed_is_undone_and_never_taken_for_done(database: Database) -> None:
    add_user(database, "ada")
    with pytest.raises(Unavailable):
        add_user(database, "ada")

    def change() -> None:
        same = {"username": "ada", "email": "", "project": "", "created_on": ""}
        with database.write() as connection:
            connection.execute(users.update().values(email="lost"))
            with suppress(IntegrityError):
                connection.execute(insert(users).values(same))

    with pytest.raises(Unavailable, match="took everything back"):
        change()
    with database.read() as connection:
        assert connection.scalar(select(users.c.email)) == ""


def test_the_character_nul_is_refused_and_not_a_failure(database: Database) -> None:
    with pytest.raises(BadRequest, match="NUL"), database.read() as connection:
        connection.execute(select(users).where(users.c.username == "a\0b"))


def test_text_is_compared_by_bytes(database: Database) -> None:
    names = ["b", "C", "ä", "a", "Z", "_", "\U0001f600", "\uffff"]
    for name in names:
        add_user(database, name)
    with database.read() as connection:
        found = connection.scalars(select(users.c.username).order_by(users.c.username)).all()
        assert found == sorted(names)
        assert connection.scalars(select(users.c.id).where(users.c.username < "a")).all() == [2, 5, 6]


def test_durability_is_asked_for_where_a_role_has_switched_it_off(database: Database, url: str) -> None:
    name = url.rpartition("/")[2]
    postgres.shared().execute(f"ALTER DATABASE {name} SET synchronous_commit = off")
    with database.write() as connection:
        assert connection.scalar(text("SHOW synchronous_commit")) == "on"


@pytest.mark.parametrize(
    ("state", "kind"),
    [
        ("53100", InsufficientStorage),
        ("57014", BadRequest),
        *(
            (state, Unavailable)
            for state in ("55P03", "40P01", "40001", "08006", "57P01", "57P03", "53300", "XX000")
        ),
        (None, Unavailable),
    ],
)
def test_every_failure_is_an_answer(state: str | None, kind: type[ApiError]) -> None:
    error = psycopg.errors.lookup(state)("INSERT secret") if state else psycopg.OperationalError("secret")
    answer = refusal(error)
    assert type(answer) is kind
    assert "secret" not in answer.message
    assert kind is not Unavailable or answer.headers["Retry-After"]


def test_no_value_is_logged(database: Database, caplog: pytest.LogCaptureFixture) -> None:
    with pytest.raises(Unavailable), database.read() as connection:
        connection.execute(text("SELECT CAST('sesame' AS integer)"))
    assert "22P02" in caplog.text
    assert "sesame" not in caplog.text


# Tables


def test_the_migrations_are_known_by_their_schema(database: Database) -> None:
    with database.read() as connection:
        assert migrations.schema_problem(connection) is None
        assert migrations.is_current(connection)


def test_an_empty_database_is_initialized_once_by_many() -> None:
    url = postgres.shared().new_database()
    databases = [Database(url) for _ in range(4)]
    with ThreadPoolExecutor(4) as pool:
        assert list(pool.map(migrations.initialize, databases)) == [migrations.HEAD] * 4
    with databases[0].read() as connection:
        assert migrations.schema_problem(connection) is None
    for database in databases:
        database.close()


def set_schema(database: Database, version: str, needed: str) -> None:
    with database.write() as connection:
        connection.execute(text("UPDATE alembic_version SET version_num = :version"), {"version": version})
        connection.execute(
            properties.update().values(value=needed).where(properties.c.name == "schema_serves")
        )


def test_a_worker_accepts_a_range_of_schemas(database: Database) -> None:
    def problem() -> str | None:
        with database.read() as connection:
            return migrations.schema_problem(connection)

    later = f"{int(migrations.HEAD) + 1:04d}"
    set_schema(database, later, migrations.HEAD)  # init of a later release, which only added something
    assert problem() is None
    set_schema(database, later, later)  # and --finish
    assert problem() == f"its schema {later} is of a later release; upgrade rinofs"
    set_schema(database, "0001", "0001")
    assert problem() == "its schema 0001 is of an earlier release; run `rinofs admin init`"


def test_steps_that_remove_something_wait_for_the_end_of_an_upgrade(
    database: Database, monkeypatch: pytest.MonkeyPatch
) -> None:
    applied: list[str] = []
    monkeypatch.setattr(migrations, "apply_steps", lambda _database, last: applied.append(last))
    monkeypatch.setattr(migrations, "HEAD", "0093")
    monkeypatch.setattr(migrations, "CONTRACTING", frozenset({"0004", "0092"}))
    set_schema(database, "0090", "0090")
    assert migrations.initialize(database) == "0091"
    with database.read() as connection:
        assert connection.scalar(select(properties.c.value)) == "0090"
    assert migrations.initialize(database, finish=True) == "0093"
    assert applied == ["0091", "0093"]
    with database.read() as connection:
        assert connection.scalar(select(properties.c.value)) == "0093"


# What it has to be


@pytest.mark.parametrize(
    ("change", "problem"),
    [
        ({"version": 140_011}, "PostgreSQL 14"),
        ({"replica": True}, "replica"),
        ({"encoding": "LATIN1"}, "LATIN1"),
        ({"fsync": "off"}, "fsync is off"),
        ({"full_page_writes": "off"}, "full_page_writes is off"),
        ({}, None),
    ],
)
def test_what_a_database_must_be(change: dict[str, Any], problem: str | None) -> None:
    good = ServerFacts(150_000, replica=False, encoding="UTF8", fsync="on", full_page_writes="on")
    told = list(good._replace(**change).problems())
    assert [problem in line for line in told] == ([] if problem is None else [True])  # type: ignore[operator]


def test_no_message_repeats_a_password() -> None:
    url = parse_url("postgresql://ada:secret@[::1]:1/data?sslpassword=secret&connect_timeout=2")
    assert shown(url) == "postgresql://[::1]:1/data"
    assert "secret" not in repr(ServerSettings(None, database_url=str(url)))  # type: ignore[arg-type]
    with closing(Database(url)) as database, pytest.raises(UnusableDatabaseError) as refused:
        database.check()
    assert "secret" not in str(refused.value)
    assert "refused" in str(refused.value)
    with pytest.raises(UnusableDatabaseError) as refused:
        Database("mysql://ada:secret@host/data")
    assert "secret" not in str(refused.value)


def test_two_workers_share_a_database(url: str, tmp_path: Path) -> None:
    settings = ServerSettings(tmp_path, database_url=url)
    with closing(open_services(settings)) as one, closing(open_services(settings)) as two:
        user: User = one.accounts.add_user("ada")
        token = one.accounts.tokens.create(user)
        assert two.accounts.tokens.authenticate(token) is not None
        new = NewObject(None, "file")
        with one.blobs.new_upload() as sent:
            sent.write(b"content")
            made = one.store.upload(user, new, sent.finish())
        assert two.store.get(user, made.id) == made


def test_a_row_is_looked_up_with_one_message_on_connections_that_may_have_ended(
    url: str, tmp_path: Path
) -> None:
    with closing(open_services(ServerSettings(tmp_path, database_url=url))) as services:
        user = services.accounts.add_user("ada")
        made = services.store.create_folder(user, NewObject(None, "folder"))
        for _ in range(2):
            assert services.store.get(user, made.id) == services.store.get(user, ["folder"]) == made
            backends(url, "pg_terminate_backend(pid)")
        with pytest.raises(NotFound):
            services.store.get(user, made.id + 1)
        with pytest.raises(BadRequest, match="NUL"):
            services.store.get(user, ["a\0"])
        wait_until(lambda: backends(url, "state") == [("idle",)])  # the others take a moment to end


def test_fsck_finds_what_is_not_json(url: str, tmp_path: Path) -> None:
    with closing(open_services(ServerSettings(tmp_path, database_url=url))) as services:
        user = services.accounts.add_user("ada")
        names = [f"folder {number}" for number in range(60)]
        made = [
            services.store.create_folder(user, NewObject(None, name, metadata={"a": "\0", "b": 10**299}))
            for name in names
        ]
        assert fsck(services).problems == ()
        with services.database.write() as connection:
            connection.execute(text("UPDATE objects SET metadata = '{' WHERE name = 'folder 55'"))
        assert fsck(services).problems == (f"object {made[55].id}: its metadata are not JSON",)
