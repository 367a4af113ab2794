"""The PostgreSQL of the tests meets the server's requirements, and stops with the tests."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

from tests import postgres
from tests.waiting import wait_until


def test_databases_are_durable_and_sort_text_as_people_do() -> None:
    server = postgres.shared()
    assert server is postgres.shared()
    url = server.new_database()
    name = url.rpartition("/")[2]
    assert server.execute("SHOW fsync", name) == [("on",)]
    assert server.execute("SHOW server_encoding", name) == [("UTF8",)]
    assert server.execute("SELECT 'b' < 'C'", name) == [(True,)]
    assert server.drop(url)


def test_nothing_is_left_of_it_when_the_last_process_that_uses_it_was_killed() -> None:
    code = (
        "import os; from tests import postgres; print(postgres.shared().folder, flush=True); "
        "os.kill(os.getpid(), 9)"
    )
    environment = {**os.environ, "PYTEST_XDIST_TESTRUNUID": f"killed{os.getpid()}"}
    done = subprocess.run([sys.executable, "-c", code], stdout=subprocess.PIPE, text=True, env=environment)
    folder = Path(done.stdout.strip())
    assert folder.is_relative_to(Path(os.environ.get("TMPDIR", "/")))
    wait_until(lambda: not list(folder.parent.glob(f"{folder.name}*")))
