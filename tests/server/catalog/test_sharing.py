"""What processes that share a PostgreSQL database do to the same rows at the same moment."""

from __future__ import annotations

import os
import threading
import time
from concurrent.futures import Future, ThreadPoolExecutor
from dataclasses import replace
from functools import partial
from itertools import pairwise
from pathlib import Path
from typing import TYPE_CHECKING

import pytest
from click.testing import CliRunner
from sqlalchemy import select, text, update

from rinofs.cli.main import main
from rinofs.server.auth.accounts import Accounts
from rinofs.server.blobs.memory import MemoryBlobStore
from rinofs.server.blobs.store import Blob, digests_of
from rinofs.server.catalog import blob_rows, objects
from rinofs.server.catalog.database import Database, Repeated, RequestKey
from rinofs.server.catalog.postgres.driver import UnusableDatabaseError
from rinofs.server.catalog.records import NewObject, User
from rinofs.server.catalog.sharing import leases
from rinofs.server.catalog.sharing.leases import KEPT, DatabaseRegistry
from rinofs.server.catalog.sharing.locks import take_turn
from rinofs.server.catalog.sharing.machines import FILE, Machine, claim_folder
from rinofs.server.catalog.store import Store, made_before
from rinofs.server.catalog.tables import blobs, doomed, outcomes, sent_forms
from rinofs.server.catalog.tables import workers as table
from rinofs.server.errors import Conflict, NotFound, Unavailable
from rinofs.server.maintenance import gc, gc_in_turn
from rinofs.server.services import open_services
from rinofs.server.settings import ServerSettings
from tests.few_threads import few_threads
from tests.postgres import shared
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from sqlalchemy import Connection

WAITING = text("SELECT count(*) FROM pg_stat_activity WHERE wait_event_type = 'Lock' AND datname = :name")


@pytest.fixture(scope="module")
def url() -> str:
    return shared().new_database(schema=True)


@pytest.fixture
def database(url: str) -> Iterator[Database]:
    opened = Database(url)
    yield opened
    with opened.rebuild() as connection:
        names = ", ".join(f'"{name}"' for name in objects.objects.metadata.tables)
        connection.execute(text(f"TRUNCATE {names} RESTART IDENTITY"))
    opened.close()


@pytest.fixture
def ada(database: Database) -> User:
    return Accounts(database).add_user("ada")


@pytest.fixture
def bob(database: Database) -> User:
    return Accounts(database).add_user("bob")


def content(number: int, key: str | None = None) -> Blob:
    digests = digests_of(b"%d" % number)
    return digests.stored(key or f"b3/{digests.blake3}")


def waits(database: Database) -> None:
    """Return once another transaction on this database waits for a lock."""
    name = database.engine.url.database
    for _ in range(1000):
        with database.read() as connection:
            if connection.scalar(WAITING, {"name": name}):
                return
        time.sleep(0.01)
    raise AssertionError("nobody waits")


def beside(database: Database, first: Callable[[Connection], object], second: Callable[[], object]) -> Future:  # type: ignore[type-arg]
    """Do one thing in a transaction, let another begin until it waits, and commit."""
    with ThreadPoolExecutor(1) as pool, database.write() as connection:
        first(connection)
        outcome = pool.submit(second)
        waits(database)
    return outcome


def test_a_worker_with_a_folder_joins_again_after_a_failure(database: Database) -> None:
    tries: list[float] = []

    def claim(_connection: Connection, moment: float) -> None:
        tries.append(moment)
        if len(tries) == 2:
            raise Unavailable("the database is down for a moment")

    registry = DatabaseRegistry(database, lease=0.4)
    registry.enter("machine", claim)
    with database.write() as connection:
        connection.execute(update(table).values(fenced=1))

    def is_registered() -> bool:
        with database.read() as connection:
            return bool(connection.execute(select(table).where(table.c.fenced.is_(None))).all())

    wait_until(is_registered)
    registry.close()
    assert len(tries) == 3


def test_a_worker_that_could_not_start_to_renew_its_lease_joins_again(database: Database) -> None:
    registry = DatabaseRegistry(database, lease=0.4)
    with few_threads(0, "rinofs-lease"), pytest.raises(RuntimeError):
        _ = registry.own

    def expires() -> int:
        with database.read() as connection:
            return connection.scalars(select(table.c.expires).where(table.c.name == registry.own)).one()

    first = expires()
    wait_until(lambda: expires() > first)
    registry.close()


def test_what_two_owners_store_at_once_has_one_row(database: Database, ada: User, bob: User) -> None:
    store, blob = Store(database), content(1)
    outcome = beside(
        database,
        lambda connection: objects.add(connection, ada, NewObject(None, "a"), "file", blob=blob),
        lambda: store.upload(bob, NewObject(None, "b"), blob),
    )
    assert outcome.result().key == blob.key
    assert len(list(blob_rows.all_rows(database))) == 1


def test_many_contents_in_any_order_wait_for_nobody_in_a_circle(
    database: Database, ada: User, bob: User
) -> None:
    store, contents = Store(database), [content(number) for number in range(40)]
    start = threading.Barrier(4)

    def upload(user: User, order: list[Blob], prefix: str) -> int:
        start.wait()
        files = [(NewObject(None, f"{prefix}{n}"), blob) for n, blob in enumerate(order)]
        return len(store.upload_many(user, files))

    with ThreadPoolExecutor(4) as pool:
        done = [
            pool.submit(upload, user, order, prefix)
            for user, order, prefix in (
                (ada, contents, "a"),
                (bob, contents[::-1], "b"),
                (ada, contents[::-1], "c"),
                (bob, contents, "d"),
            )
        ]
    assert [one.result() for one in done] == [40] * 4
    assert len(list(blob_rows.all_rows(database))) == 40


def test_many_contents_that_are_stored_again_wait_for_nobody_in_a_circle(
    database: Database, ada: User, bob: User
) -> None:
    """Each row gets another key, from one of those who store its content again."""
    store, registry = Store(database), DatabaseRegistry(database)
    before = [content(number, f"c/{registry.own}/{number}") for number in range(40)]
    store.upload_many(ada, [(NewObject(None, blob.blake3), blob) for blob in before])
    start = threading.Barrier(4)

    def upload(user: User, order: list[Blob], prefix: str) -> int:
        start.wait()
        files = [
            (NewObject(None, f"{prefix}{n}"), replace(blob, key=f"{blob.key}{prefix}", former_key=blob.key))
            for n, blob in enumerate(order)
        ]
        return len(store.upload_many(user, files))

    with ThreadPoolExecutor(4) as pool:
        done = [
            pool.submit(upload, user, before[::step], prefix)
            for user, step, prefix in ((ada, 1, "a"), (bob, -1, "b"), (ada, -1, "c"), (bob, 1, "d"))
        ]
    assert [one.result() for one in done] == [40] * 4
    keys = {row.key for row in blob_rows.all_rows(database)}
    assert {key[:-1] for key in keys} == {blob.key for blob in before}
    with database.read() as connection:
        assert set(connection.scalars(select(doomed.c.key))) == {blob.key for blob in before}
    registry.close()


def test_a_content_that_somebody_refers_to_stays(database: Database, ada: User, bob: User) -> None:
    store, blob = Store(database), content(1)
    first = store.upload(ada, NewObject(None, "a"), blob)
    with database.write(bob.id) as connection:
        objects.add(connection, bob, NewObject(None, "b"), "file", blob=blob)
        assert store.delete(ada, [first.id]) == set()  # at once, not after the other one
    assert store.get(bob, ("b",)).key == blob.key


def test_a_content_that_goes_at_this_moment_is_stored_anew(database: Database, ada: User, bob: User) -> None:
    store, blob = Store(database), content(1)
    first = store.upload(ada, NewObject(None, "a"), blob)

    def remove(connection: Connection) -> None:
        connection.execute(text("DELETE FROM objects"))
        assert blob_rows.drop_unreferenced(connection, [first.blob or 0]) == {blob.key}

    outcome = beside(database, remove, lambda: store.upload(bob, NewObject(None, "b"), blob))
    assert outcome.result().blob != first.blob
    assert [row.key for row in blob_rows.all_rows(database)] == [blob.key]


def test_a_content_that_two_store_again_gets_one_new_key(database: Database, ada: User, bob: User) -> None:
    store, registry = Store(database), DatabaseRegistry(database)
    key = f"c/{registry.own}/"
    before = content(1, f"{key}0")
    store.upload(ada, NewObject(None, "a"), before)
    for name, number in (("b", 1), ("c", 2)):
        store.upload(bob, NewObject(None, name), replace(content(1, f"{key}{number}"), former_key=before.key))
    assert [row.key for row in blob_rows.all_rows(database)] == [f"{key}1"]
    with database.read() as connection:
        assert connection.scalars(select(doomed.c.key)).all() == [before.key]
    registry.close()


def test_a_content_that_is_stored_again_while_its_digests_are_filled_in(
    database: Database, ada: User
) -> None:
    store = Store(database)
    old = content(1, "0" * 64)
    number = store.upload(ada, NewObject(None, "old"), old).blob
    with database.write() as connection:
        connection.execute(update(blobs).where(blobs.c.id == number).values(blake3=None))
    (row,) = blob_rows.all_rows(database)
    outcome = beside(
        database,
        lambda connection: objects.add(connection, ada, NewObject(None, "new"), "file", blob=content(1)),
        lambda: blob_rows.fill(database, row, old),
    )
    assert outcome.result().key == content(1).key
    assert [one.blake3 for one in blob_rows.all_rows(database)] == [None, old.blake3]


def test_what_contradicts_another_process_may_be_tried_again(database: Database, ada: User) -> None:
    with pytest.raises(Unavailable) as caught, database.write() as connection:
        connection.execute(text("INSERT INTO oauth_refresh_tokens VALUES ('x', 12345, 0)"))
    assert caught.value.headers["Retry-After"]


def test_a_number_that_another_process_took_is_not_a_name_that_is_taken(
    database: Database, ada: User
) -> None:
    store = Store(database)
    store.create_folder(ada, NewObject(None, "a"))
    with database.write() as connection:
        connection.execute(text("ALTER SEQUENCE objects_id_seq RESTART"))
    with pytest.raises(Unavailable):
        store.create_folder(ada, NewObject(None, "b"))
    assert store.create_folder(ada, NewObject(None, "b")).name == "b"
    with pytest.raises(Conflict, match="'b' is taken"), database.write() as connection:
        objects.add(connection, ada, NewObject(None, "b"), "object")


@pytest.mark.parametrize("name", ["ada", "eve"])
def test_users_of_one_name_made_at_once(database: Database, ada: User, name: str) -> None:
    def make(_: int) -> bool:
        try:
            return Accounts(database).add_user(name).id > 0
        except Conflict as error:
            refusals.append(error.message)
            return False

    refusals: list[str] = []
    with ThreadPoolExecutor(8) as pool:
        assert sum(pool.map(make, range(8))) == (name != ada.username)
    assert set(refusals) == {f"username: {name!r} is taken"}


def test_the_later_of_two_requests_with_a_key_finds_what_came_of_the_first(
    database: Database, ada: User
) -> None:
    store, key = Store(database), RequestKey("key", "digest")
    start = threading.Barrier(6)

    def make(_: int) -> bool:
        start.wait()
        try:
            return store.create_folder(ada, NewObject(None, "f"), key=key).id > 0
        except Repeated as repeated:
            return made_before(repeated)[0].name != "f"

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(make, range(6))) == 1


def test_a_repeated_request_gets_large_metadata_from_another_process(
    url: str, database: Database, ada: User
) -> None:
    store, key = Store(database), RequestKey("key", "digest")
    made = [
        store.create_object(ada, NewObject(None, name, metadata={"x": "y" * 100_000})) for name in ("a", "b")
    ]
    folder = store.create_folder(ada, NewObject(None, "folder"))
    numbers = [record.id for record in made]
    first = store.move(ada, numbers, folder.id, key=key)
    other = Database(url)
    try:
        with database.read() as connection:
            assert len(connection.execute(select(outcomes.c.outcome)).scalar_one()) < 4000
        with pytest.raises(Repeated) as again:
            Store(other).move(ada, numbers, folder.id, key=key)
        assert made_before(again.value) == first
        store.delete(ada, numbers[:1])
        with pytest.raises(Repeated) as again:
            Store(other).move(ada, numbers, folder.id, key=key)
        gone, there = made_before(again.value)
        assert (gone.name, gone.metadata, gone.metadata_size, there) == ("a", "{}", 2, first[1])
    finally:
        other.close()


def test_one_of_all_has_its_turn(database: Database) -> None:
    def ask(moment: float) -> bool:
        with database.write() as connection:
            return take_turn(connection, "x", moment, 100)

    with ThreadPoolExecutor(6) as pool:
        assert sum(pool.map(ask, [1000.0 + number for number in range(6)])) == 1
    assert not ask(1090)
    assert ask(1110)
    assert ask(500)  # the clock was set back


def test_one_process_an_hour_collects_for_all(database: Database, url: str, tmp_path: Path) -> None:
    opened = [
        open_services(ServerSettings(tmp_path / name, database_url=url), blobs=MemoryBlobStore())
        for name in "ab"
    ]

    def expired() -> bool:
        """Tell whether there is something that only a collection for all removes."""
        with database.read() as connection:
            return connection.scalar(select(sent_forms.c.sha256)) is not None

    for services, collects in zip([*opened, *opened], [True, False, False, False], strict=True):
        with database.write() as connection:
            connection.execute(text("INSERT INTO sent_forms VALUES ('x', 1) ON CONFLICT DO NOTHING"))
        with services.blobs.new_upload() as upload:
            upload.finish()
        assert gc_in_turn(services, 3600).blobs_removed == 1  # what it has left behind itself
        assert expired() != collects
    gc(opened[0])
    assert not expired()
    for services in opened:
        services.close()


# Workers


@pytest.fixture
def registry(database: Database) -> Iterator[DatabaseRegistry]:
    opened = DatabaseRegistry(database)
    yield opened
    opened.close()


def expire(database: Database, name: str, by: int = 1) -> None:
    with database.write() as connection:
        moment = int(database.moment(connection))
        connection.execute(update(table).where(table.c.name == name).values(expires=moment - by))


def test_who_lives_is_not_gone(database: Database, registry: DatabaseRegistry) -> None:
    assert registry.own == registry.own
    assert list(DatabaseRegistry(database).gone()) == []


def test_who_ended_is_gone_once(database: Database, registry: DatabaseRegistry) -> None:
    name = registry.own
    registry.close()
    other = DatabaseRegistry(database)
    for _ in other.gone():
        break  # the collection failed
    assert list(other.gone()) == [name]
    assert list(other.gone()) == []


def test_a_fenced_worker_adds_no_content(database: Database, ada: User, registry: DatabaseRegistry) -> None:
    store, name = Store(database), registry.own
    late = content(1, f"c/{name}/1")
    expire(database, name)
    assert store.upload(ada, NewObject(None, "still"), content(2, f"c/{name}/2")).id  # nobody has looked yet
    collector = DatabaseRegistry(database)
    expire(database, name)
    assert list(collector.gone()) == [name]
    with pytest.raises(Unavailable, match="stopped or cut off"):
        store.upload(ada, NewObject(None, "late"), late)
    with pytest.raises(Unavailable):
        store.upload_many(ada, [(NewObject(None, n), content(int(n), f"c/{name}/{n}")) for n in "34"])
    with pytest.raises(Unavailable):
        store.upload(ada, NewObject(None, "l"), replace(content(2, f"c/{name}/5"), former_key=f"c/{name}/2"))
    with pytest.raises(NotFound):
        store.get(ada, ("late",))
    assert list(collector.gone()) == []


def test_a_woken_worker_has_what_it_left_listed_again(database: Database, ada: User) -> None:
    registry, collector = DatabaseRegistry(database, lease=0.2), DatabaseRegistry(database)
    name = registry.own
    with database.write() as connection:  # stopped while its lease ran out, and was taken to be gone
        connection.execute(update(table).values(fenced=int(database.moment(connection))))
    deadline = time.monotonic() + 20
    while registry.own == name and time.monotonic() < deadline:
        time.sleep(0.01)
    assert registry.own != name
    while list(collector.gone()) != [name] and time.monotonic() < deadline:
        time.sleep(0.01)
    registry.left_behind("of another process")
    registry.left_behind(name)  # an upload that was under way ends now
    while name not in list(collector.gone()) and time.monotonic() < deadline:
        time.sleep(0.01)
    assert time.monotonic() < deadline
    assert Store(database).upload(ada, NewObject(None, "f"), content(1, f"c/{registry.own}/1")).id
    registry.close()


def test_who_is_committing_is_not_fenced(database: Database, ada: User, registry: DatabaseRegistry) -> None:
    name = registry.own
    expire(database, name)
    with database.write(ada.id) as connection:
        objects.refer(connection, [content(1, f"c/{name}/1")])
        assert list(DatabaseRegistry(database).gone()) == []


def test_a_day_later_it_is_listed_for_the_last_time(database: Database, registry: DatabaseRegistry) -> None:
    name = registry.own
    registry.close()
    collector = DatabaseRegistry(database)
    assert list(collector.gone()) == [name]
    with database.write() as connection:
        connection.execute(update(table).values(fenced=table.c.fenced - KEPT - 1))
    assert list(collector.gone()) == [name]
    with database.read() as connection:
        assert connection.scalars(select(table.c.name)).all() == []


def test_a_failing_database_costs_no_lease(
    database: Database, registry: DatabaseRegistry, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setattr(leases, "RENEWALS", 1000)
    failing = DatabaseRegistry(database, lease=30)
    name = failing.own

    def refuse(*_: object) -> None:
        raise Unavailable("no")

    with monkeypatch.context() as patch:
        patch.setattr(database, "write", refuse)
        time.sleep(0.2)
    with database.read() as connection:
        before = connection.scalar(select(table.c.expires).where(table.c.name == name))
    assert failing.own == name
    deadline = time.monotonic() + 20
    while time.monotonic() < deadline:
        with database.read() as connection:
            if connection.scalar(select(table.c.expires).where(table.c.name == name)) > before:
                break
        time.sleep(0.05)
    assert time.monotonic() < deadline
    failing.close()


# Folders of contents

HERE, THERE = Machine("boot 1", "number 1", "here"), Machine("boot 2", "number 2", "there")


def enter(database: Database, folder: Path, machine: Machine) -> DatabaseRegistry:
    folder.mkdir(exist_ok=True)
    registry = DatabaseRegistry(database)
    registry.enter(str(machine), lambda connection, now: claim_folder(connection, folder, machine, now))
    return registry


def test_workers_of_one_machine_share_a_folder(database: Database, tmp_path: Path) -> None:
    opened = [enter(database, tmp_path / "a", HERE) for _ in range(3)]
    restarted = Machine("boot 3", HERE.number, HERE.name)
    opened.append(enter(database, tmp_path / "a", restarted))
    for one in opened:
        one.close()


def test_a_second_machine_is_refused_while_the_first_one_lives(database: Database, tmp_path: Path) -> None:
    first = enter(database, tmp_path / "a", HERE)
    with pytest.raises(UnusableDatabaseError, match="here keeps contents"):
        enter(database, tmp_path / "a", THERE)
    first.close()
    enter(database, tmp_path / "a", THERE).close()  # the disk was moved


def test_the_command_says_so(database: Database, url: str, tmp_path: Path) -> None:
    first = enter(database, tmp_path / "a", THERE)
    command = ["serve", "--data", str(tmp_path / "b"), "--database", url, "--port", "0"]
    refused = CliRunner().invoke(main, command)
    assert refused.exit_code == 2
    assert len(refused.stderr.strip().splitlines()) == 1
    assert "there keeps contents of this database in a folder, which only one machine can" in refused.stderr
    first.close()


def test_another_folder_is_refused_once_there_are_contents(
    database: Database, tmp_path: Path, ada: User
) -> None:
    enter(database, tmp_path / "a", HERE).close()
    enter(database, tmp_path / "b", HERE).close()
    Store(database).upload(ada, NewObject(None, "f"), content(1))
    for wrong in ("a", "c"):
        with pytest.raises(UnusableDatabaseError, match="in another folder"):
            enter(database, tmp_path / wrong, HERE)
    assert not (tmp_path / "c" / FILE).exists()
    enter(database, tmp_path / "b", HERE).close()


def test_a_folder_is_marked_durably_before_the_database_relies_on_it(
    database: Database, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    folder = tmp_path / "data" / "a"
    folder.mkdir(parents=True)
    seen: list[object] = []
    sync, replaced = os.fsync, Path.replace

    def fsync(descriptor: int) -> None:
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        seen.append(path if path.is_dir() else path.read_text())
        sync(descriptor)

    def replace(self: Path, target: Path) -> Path:
        seen.append(target)
        return replaced(self, target)

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(Path, "replace", replace)
    with database.write() as connection:
        claim_folder(connection, folder, HERE, 0)
        mark = (folder / FILE).read_text()
        assert mark
        assert seen == [mark, folder / FILE, folder, folder.parent]
    assert [path.name for path in folder.iterdir()] == [FILE]


def test_another_folder_is_refused_while_a_worker_lives(database: Database, tmp_path: Path) -> None:
    first = enter(database, tmp_path / "a", HERE)
    with pytest.raises(UnusableDatabaseError, match="another worker keeps contents in another folder"):
        enter(database, tmp_path / "b", HERE)
    enter(database, tmp_path / "a", HERE).close()
    first.close()
    enter(database, tmp_path / "b", HERE).close()


def test_machines_are_told_apart() -> None:
    here = Machine.here()
    assert Machine.parse(str(here)) == here
    assert all(here)
    others = [here, Machine(here.boot, "x", "in a container"), Machine("x", here.number, here.name)]
    assert all(here.is_same(other) for other in others)
    clone = Machine("x", here.number, "a clone")
    assert not here.is_same(clone)
    assert not Machine("", "1", "a").is_same(Machine("", "2", "b"))


def test_ids_are_those_of_commits(database: Database, ada: User) -> None:
    """A list that is read in pieces, each after the last id of the one before, misses nothing."""
    store = Store(database)

    def make(number: int) -> int:
        return store.create_folder(ada, NewObject(None, f"f{number}")).id

    with ThreadPoolExecutor(6) as pool:
        list(pool.map(partial(make), range(30)))
    with database.read() as connection:
        order = select(objects.objects.c.id).order_by(text("xmin::text::bigint"))
        found = connection.scalars(order).all()
    assert all(one < other for one, other in pairwise(found))
