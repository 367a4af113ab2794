from __future__ import annotations

import sqlite3
from concurrent.futures import ThreadPoolExecutor
from typing import TYPE_CHECKING

import pytest
from alembic.autogenerate import compare_metadata
from alembic.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import inspect

from rinofs.server.catalog import migrations
from rinofs.server.catalog.database import Database
from rinofs.server.catalog.tables import metadata

if TYPE_CHECKING:
    from pathlib import Path


@pytest.fixture
def database(tmp_path: Path) -> Database:
    return Database(f"sqlite:///{tmp_path / 'rinofs.sqlite3'}")


def tables(database: Database) -> set[str]:
    with database.read() as connection:
        return set(inspect(connection).get_table_names())


def test_the_migrations_make_the_tables(database: Database) -> None:
    migrations.upgrade(database)
    assert tables(database) == {*metadata.tables, "alembic_version"}
    with database.read() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []


def test_every_step_can_be_taken_back_and_again(database: Database) -> None:
    migrations.upgrade(database)
    migrations.downgrade(database)
    assert tables(database) == {"alembic_version"}
    migrations.upgrade(database)
    assert tables(database) == {*metadata.tables, "alembic_version"}


def test_the_last_step_is_known_without_alembic(database: Database) -> None:
    with database.read() as connection:
        script = ScriptDirectory.from_config(migrations.config(connection))
    assert script.get_heads() == [migrations.HEAD]


def test_a_migration_that_fails_changes_nothing(database: Database, tmp_path: Path) -> None:
    with sqlite3.connect(tmp_path / "rinofs.sqlite3") as other:
        other.execute("CREATE TABLE objects (mine TEXT)")
    other.close()
    with pytest.raises(Exception, match="objects"):
        migrations.upgrade(database)
    assert tables(database) == {"objects"}


def test_several_processes_may_start_at_once(tmp_path: Path) -> None:
    url = f"sqlite:///{tmp_path / 'rinofs.sqlite3'}"
    with ThreadPoolExecutor(4) as pool:
        list(pool.map(migrations.upgrade, [Database(url) for _ in range(4)]))
    assert "objects" in tables(Database(url))


def test_numbers_are_never_given_twice(database: Database) -> None:
    migrations.upgrade(database)
    with database.read() as connection:
        made = connection.exec_driver_sql("SELECT sql FROM sqlite_master WHERE name = 'objects'").scalar_one()
    assert "AUTOINCREMENT" in made
