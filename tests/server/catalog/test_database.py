from __future__ import annotations

import sqlite3
import threading
from contextlib import suppress
from typing import TYPE_CHECKING

import pytest
from sqlalchemy import func, select, table, text

from rinofs.server.catalog.database import Database, WouldWait

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.server.catalog.transactions import Reader

COUNT = select(func.count()).select_from(table("things"))
ADD = text("insert into things values (1)")


@pytest.fixture
def database(tmp_path: Path) -> Iterator[Database]:
    opened = Database(f"sqlite:///{tmp_path / 'database'}")
    with opened.write() as connection:
        connection.execute(text("create table things (number integer)"))
    yield opened
    opened.close()


def counted(reader: Reader) -> int:
    (count,) = reader.execute(COUNT, {}).one_or_none()
    return count


def test_a_look_sees_what_is_committed_and_does_not_wait_for_a_writer(database: Database) -> None:
    with database.write() as writer:
        writer.execute(ADD)
        with database.look() as connection:
            assert counted(connection) == 0
    with database.look() as connection:
        assert counted(connection) == 1


def test_a_look_sees_one_state_until_it_ends(database: Database) -> None:
    with database.look() as connection:
        assert counted(connection) == 0
        with database.write() as writer:
            writer.execute(ADD)
        assert counted(connection) == 0


def test_a_second_look_at_the_same_time_is_told_to_wait(database: Database) -> None:
    told: list[type[BaseException]] = []

    def look() -> None:
        try:
            with database.look():
                pass
        except WouldWait as error:
            told.append(type(error))

    with database.look():
        other = threading.Thread(target=look)
        other.start()
        other.join()
    assert told == [WouldWait]
    with database.look() as connection:
        assert counted(connection) == 0


def test_a_look_at_a_locked_file_is_told_to_wait_and_succeeds_afterwards(
    database: Database, tmp_path: Path
) -> None:
    with database.look() as connection:
        assert counted(connection) == 0
    with sqlite3.connect(tmp_path / "elsewhere") as other:
        other.execute("create table things (number integer)")
    locked = Database(f"sqlite:///{tmp_path / 'elsewhere'}")
    holder = sqlite3.connect(tmp_path / "elsewhere", isolation_level=None)
    holder.execute("pragma locking_mode=exclusive")
    holder.execute("begin exclusive")
    with pytest.raises(WouldWait), locked.look() as connection:
        counted(connection)
    holder.close()
    with locked.look() as connection:
        assert counted(connection) == 0
    locked.close()


def test_a_failure_within_a_look_leaves_no_transaction_behind(database: Database) -> None:
    with suppress(ZeroDivisionError), database.look() as connection:
        counted(connection)
        raise ZeroDivisionError
    with database.write() as writer:
        writer.execute(ADD)
    with database.look() as connection:
        assert counted(connection) == 1
