"""Transactions of many threads, committed together."""

from __future__ import annotations

import sqlite3
import threading
from collections import Counter
from concurrent.futures import ThreadPoolExecutor
from contextlib import closing, suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import text
from sqlalchemy.exc import IntegrityError

from rinofs.server.budgets import CLIENT_GONE
from rinofs.server.catalog.database import Database
from rinofs.server.catalog.sqlite.transactions import driver_of
from rinofs.server.errors import ApiError, BadRequest, Conflict, Unavailable

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from sqlalchemy import Connection

ADD = text("insert into things values (:number)")
# The child's parent is looked for at the commit only: the one way to have a commit fail.
ORPHAN = text("insert into children values (:number)")


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "database"


@pytest.fixture
def database(path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{path}", busy_timeout=5)
    with opened.rebuild() as connection:
        connection.execute(text("create table things (number integer primary key)"))
        reference = "references things deferrable initially deferred"
        connection.execute(text(f"create table children (number integer {reference})"))
    yield opened
    opened.close()


def numbers(path: Path, table: str = "things") -> list[int]:
    """What others see: a connection of its own."""
    with closing(sqlite3.connect(path)) as connection:
        return [row[0] for row in connection.execute(f"select number from {table} order by 1")]


def add(connection: Connection, number: int) -> None:
    connection.execute(ADD, {"number": number})


class Queue:
    """Transactions that have to wait for a first one, so that all of them are committed together."""

    def __init__(self, database: Database) -> None:
        self.database = database
        self.told: dict[int, str] = {}
        self._threads: list[threading.Thread] = []

    def join_in(self, number: int, statement: object = ADD, raises: Exception | None = None) -> None:
        """Begin a transaction in another thread, and return when it waits for its turn."""

        def run() -> None:
            try:
                with self.database.write() as connection:
                    connection.execute(statement, {"number": number})  # type: ignore[call-overload]
                    if raises is not None:
                        raise raises
                self.told[number] = "committed"
            except (ApiError, ArithmeticError, IntegrityError) as error:
                self.told[number] = type(error).__name__

        waiting = self.waiting()
        self._threads.append(threading.Thread(target=run))
        self._threads[-1].start()
        while self.waiting() == waiting:
            pass

    def waiting(self) -> int:
        assert self.database.transactions._commits is not None
        return self.database.transactions._commits._waiting

    def join(self) -> None:
        for thread in self._threads:
            thread.join()


def test_what_is_written_is_seen_by_others_once_it_returns(database: Database, path: Path) -> None:
    with database.write() as connection:
        add(connection, 1)
        assert numbers(path) == []
    assert numbers(path) == [1]


def test_those_that_waited_are_committed_together(database: Database, path: Path) -> None:
    queue = Queue(database)
    committed = Counter[str]()
    with database.write() as connection:
        connection.connection.driver_connection.set_trace_callback(
            lambda statement: committed.update([statement.partition(" ")[0]])
        )
        add(connection, 0)
        for number in range(1, 9):
            queue.join_in(number)
    queue.join()
    assert set(queue.told.values()) == {"committed"}
    assert numbers(path) == list(range(9))
    assert committed["COMMIT"] == 1


def test_a_failed_one_takes_nothing_of_the_others_with_it(database: Database, path: Path) -> None:
    queue = Queue(database)
    with database.write() as connection:
        add(connection, 1)
        queue.join_in(2)
        queue.join_in(3, raises=ZeroDivisionError())
        queue.join_in(4, raises=Conflict("taken"))
        queue.join_in(5)
    queue.join()
    assert queue.told == {2: "committed", 3: "ZeroDivisionError", 4: "Conflict", 5: "committed"}
    assert numbers(path) == [1, 2, 5]


def test_a_refused_statement_takes_nothing_of_the_others_with_it(database: Database, path: Path) -> None:
    queue = Queue(database)
    with database.write() as connection:
        add(connection, 1)
        add(connection, 2)
        queue.join_in(2)
        queue.join_in(3)
    queue.join()
    assert queue.told == {2: "IntegrityError", 3: "committed"}
    assert numbers(path) == [1, 2, 3]


def test_a_failed_commit_is_told_to_all_and_leaves_nothing(database: Database, path: Path) -> None:
    queue = Queue(database)
    with pytest.raises(Unavailable), database.write() as connection:  # noqa: PT012 (what is around it fails)
        add(connection, 1)
        queue.join_in(2)
        queue.join_in(99, ORPHAN)
        queue.join_in(3)
    queue.join()
    # Nor may one be told that a thing is there which is not: its failure is that of the commit, too.
    assert queue.told == {2: "Unavailable", 99: "Unavailable", 3: "Unavailable"}
    assert numbers(path) == numbers(path, "children") == []
    with database.write() as connection:
        add(connection, 4)
    assert numbers(path) == [4]


REFUSED = {
    "rollback to": {(sqlite3.SQLITE_SAVEPOINT, "ROLLBACK")},
    "release": {(sqlite3.SQLITE_SAVEPOINT, "RELEASE")},
    "both": {(sqlite3.SQLITE_SAVEPOINT, "ROLLBACK"), (sqlite3.SQLITE_SAVEPOINT, "RELEASE")},
    "rollback too": {(sqlite3.SQLITE_SAVEPOINT, "ROLLBACK"), (sqlite3.SQLITE_TRANSACTION, "ROLLBACK")},
}


def refuse(connection: Connection, refused: set[tuple[int, str]]) -> None:
    """Have SQLite refuse to end a savepoint or a transaction in some ways, each once."""
    left = set(refused)

    def authorize(action: int, what: str | None, *_: str | None) -> int:
        if (action, what) not in left:
            return sqlite3.SQLITE_OK
        left.discard((action, what or ""))
        return sqlite3.SQLITE_DENY

    driver_of(connection).set_authorizer(authorize)


@pytest.mark.parametrize("refused", REFUSED)
@pytest.mark.parametrize("error", [None, ZeroDivisionError(), Conflict("taken")])
def test_one_that_cannot_be_ended_is_not_committed_by_halves(
    database: Database, path: Path, refused: str, error: Exception | None
) -> None:
    queue = Queue(database)
    told = []
    for number in (1, 2):
        try:
            with database.write() as connection:
                add(connection, 10 * number)
                if number == 1:
                    queue.join_in(11)
                    refuse(connection, REFUSED[refused])
                    if error is not None:
                        raise error
            told.append("committed")
        except (ApiError, ZeroDivisionError) as failed:
            told.append(type(failed).__name__)
        queue.join()
    stored = numbers(path)
    for number, answer in ((10, told[0]), (11, queue.told[11]), (20, told[1])):
        assert (number in stored) == (answer == "committed"), (number, answer, stored)
    assert told[1] == "committed"
    if error is not None:
        assert told[0] != "committed"


@pytest.mark.parametrize("refused", REFUSED)
def test_all_in_a_batch_are_told_if_one_of_them_cannot_be_taken_back(
    database: Database, path: Path, refused: str
) -> None:
    queue = Queue(database)
    first: list[str] = []
    try:
        with database.write() as connection:
            add(connection, 1)
            queue.join_in(2, raises=Conflict("taken"))
            queue.join_in(3)
            refuse(connection, REFUSED[refused])
        first.append("committed")
    except ApiError as error:
        first.append(type(error).__name__)
    queue.join()
    stored = numbers(path)
    for number, answer in ((1, first[0]), *queue.told.items()):
        assert (number in stored) == (answer == "committed"), (number, answer, stored)
    assert queue.told[2] != "committed"
    with database.write() as connection:
        add(connection, 4)
    assert 4 in numbers(path)


def test_a_commit_that_was_left_to_one_who_gave_up_is_made_all_the_same(path: Path) -> None:
    database = Database(f"sqlite:///{path}", busy_timeout=0.05)
    with database.rebuild() as connection:
        connection.execute(text("create table things (number integer primary key)"))
    queue = Queue(database)
    with database.write() as connection:
        add(connection, 1)
        queue.join_in(2)
        while queue.waiting():
            pass
        # As it is for one that looked the very moment before the other gave up.
        database.transactions._commits._waiting += 1
    database.transactions._commits._waiting -= 1
    queue.join()
    assert queue.told == {2: "Unavailable"}
    assert numbers(path) == [1]
    database.close()


def test_a_file_locked_by_another_process_is_told(database: Database, path: Path) -> None:
    database.close()
    impatient = Database(f"sqlite:///{path}", busy_timeout=0.05)
    with closing(sqlite3.connect(path, isolation_level=None)) as other:
        other.execute("begin immediate")
        with pytest.raises(Unavailable, match="busy"), impatient.write():
            pass
        other.execute("rollback")
    with impatient.write() as connection:
        add(connection, 1)
    assert numbers(path) == [1]
    impatient.close()


def test_many_threads_lose_nothing_and_keep_nothing_that_failed(database: Database, path: Path) -> None:
    def work(thread: int) -> None:
        for step in range(100):
            number = thread * 100 + step
            with suppress(ZeroDivisionError), database.write() as connection:
                add(connection, number)
                if number % 7 == 0:
                    raise ZeroDivisionError
            if step % 10 == 0:
                assert (number in numbers(path)) == bool(number % 7)

    with ThreadPoolExecutor(12) as pool:
        list(pool.map(work, range(12)))
    assert numbers(path) == [number for number in range(1200) if number % 7]


ENDLESS = text(
    "insert into things with recursive n(number) as (select :number union all select number + 1 from n) "
    "select number from n"
)


@pytest.mark.parametrize("waiting", [0, 3])
def test_a_change_that_takes_too_long_is_taken_back_and_the_others_can_be_repeated(
    path: Path, database: Database, waiting: int
) -> None:
    hurried = Database(path, statement_timeout=0.02)
    queue = Queue(hurried)
    request = CLIENT_GONE.set(lambda: False)

    def change() -> None:
        with hurried.write() as connection:
            add(connection, 0)
            for number in range(1, 1 + waiting):
                queue.join_in(number)
            connection.execute(ENDLESS, {"number": 100})

    try:
        with pytest.raises(BadRequest, match="too long"):
            change()
    finally:
        CLIENT_GONE.reset(request)
        queue.join()
    stored = numbers(path)
    assert stored == [number for number, told in sorted(queue.told.items()) if told == "committed"]
    assert set(queue.told.values()) <= {"committed", "Unavailable"}
    with hurried.write() as connection:
        add(connection, 50)
    assert numbers(path) == [*stored, 50]
    hurried.close()


def test_what_was_done_before_a_change_that_takes_too_long_can_be_repeated(
    path: Path, database: Database
) -> None:
    hurried = Database(path, statement_timeout=0.02)
    queue = Queue(hurried)
    failed = []

    def endless() -> None:
        CLIENT_GONE.set(lambda: False)
        try:
            with hurried.write() as connection:
                connection.execute(ENDLESS, {"number": 100})
        except ApiError as error:
            failed.append(error.status)

    slow = threading.Thread(target=endless)

    def change() -> None:
        with hurried.write() as connection:
            add(connection, 0)
            slow.start()
            while queue.waiting() == 0:
                pass

    with pytest.raises(Unavailable, match="try again"):
        change()
    slow.join()
    assert failed == [400]
    assert numbers(path) == []
    with hurried.write() as connection:
        add(connection, 0)
    assert numbers(path) == [0]
    hurried.close()
