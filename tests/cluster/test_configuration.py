"""A database on which a worker could not keep its promises is refused at once, with one sentence."""

from __future__ import annotations

import os
import subprocess
import time
from typing import TYPE_CHECKING

import pytest

from rinofs.testing.process import COMMAND
from tests.campaign import rounds
from tests.cluster.wire import wire
from tests.postgres import ROLE, Postgres, make_schema, postgres

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

AT_ONCE = rounds(60, 5)
"""Seconds until a worker gives up, beside those that Python needs to start."""


@pytest.fixture(scope="module")
def server() -> Iterator[Postgres]:
    with postgres() as running:
        yield running


@pytest.fixture(scope="module")
def url(server: Postgres) -> str:
    return server.new_database("good", schema=True)


def refused(url: str, folder: Path, *arguments: str) -> str:
    """Start a worker that must not run; return what it says."""
    command = [*COMMAND, "serve", f"--data={folder / 'data'}", "--port=0", *arguments]
    environment = {**os.environ, "RINOFS_DATABASE": url.replace("+psycopg", "")}
    done = subprocess.run(command, capture_output=True, text=True, env=environment, timeout=60)
    assert (done.returncode, done.stdout) == (2, ""), done.stderr
    said = [line for line in done.stderr.splitlines() if line.startswith("rinofs: ")]
    assert len(said) == 1, done.stderr
    return said[0]


@pytest.mark.parametrize("name", ["fsync", "full_page_writes"])
def test_settings_with_which_a_crash_loses_data(
    server: Postgres, url: str, tmp_path: Path, name: str
) -> None:
    server.execute(f"ALTER SYSTEM SET {name} = off")
    server.execute("SELECT pg_reload_conf()")
    try:
        deadline = time.monotonic() + 30
        while server.execute(f"SHOW {name}") != [("off",)]:
            assert time.monotonic() < deadline
        said = refused(url, tmp_path)
    finally:
        server.execute(f"ALTER SYSTEM RESET {name}")
        server.execute("SELECT pg_reload_conf()")
    assert f"{name} is off" in said


def test_another_encoding(server: Postgres, tmp_path: Path) -> None:
    options = "ENCODING 'LATIN1' LOCALE 'C' LOCALE_PROVIDER libc TEMPLATE template0"
    server.execute(f"CREATE DATABASE latin OWNER {ROLE} {options}")
    assert "its encoding is LATIN1" in refused(server.url("latin"), tmp_path)


def test_a_schema_that_is_missing_or_too_new(server: Postgres, tmp_path: Path) -> None:
    url = server.new_database("empty")
    assert "run `rinofs admin init`" in refused(url, tmp_path)
    make_schema(url)
    server.execute("UPDATE alembic_version SET version_num = '9999'", "empty")
    server.execute(
        "INSERT INTO properties VALUES ('schema_serves', '9999') ON CONFLICT (name) DO UPDATE "
        "SET value = EXCLUDED.value",
        "empty",
    )
    assert "9999" in refused(url, tmp_path)


def test_a_version_before_15(server: Postgres, tmp_path: Path) -> None:
    """There is no such server here; one says that it is, by a function before the one of the system."""
    url = server.new_database("old", schema=True)
    server.execute(
        "CREATE FUNCTION public.current_setting(text) RETURNS text LANGUAGE sql AS $$ SELECT CASE $1 "
        "WHEN 'server_version_num' THEN '140012' ELSE pg_catalog.current_setting($1) END $$",
        "old",
    )
    server.execute("ALTER DATABASE old SET search_path = public, pg_catalog", "old")
    assert "this is PostgreSQL 14; rinofs needs 15 or later" in refused(url, tmp_path)


@pytest.mark.parametrize("silent", [True, False])
def test_a_server_that_does_not_answer(server: Postgres, url: str, tmp_path: Path, silent: bool) -> None:
    with wire(server.port) as cut:
        cut.cut(silently=silent)
        start = time.monotonic()
        assert "cannot be reached" in refused(server.url("good", port=cut.port), tmp_path)
        took = time.monotonic() - start
    start = time.monotonic()
    refused("postgresql:nonsense", tmp_path)
    assert took - (time.monotonic() - start) < AT_ONCE


def test_a_url_that_is_none_and_a_password_that_others_see(tmp_path: Path) -> None:
    assert "postgresql://" in refused("mysql://root:hidden@db/x", tmp_path)
    said = refused("", tmp_path, "--database=postgresql://rinofs:hidden@db/rinofs")
    assert "RINOFS_DATABASE" in said
    assert "hidden" not in said


def test_a_replica(server: Postgres, url: str, tmp_path: Path) -> None:
    server.stop()
    (server.data / "standby.signal").touch()
    server.start()
    try:
        assert "this is a replica" in refused(url, tmp_path)
    finally:
        server.stop()
        (server.data / "standby.signal").unlink()
        server.start()
