"""Workers are replaced by those of the next release, one after the other, and no client notices."""

from __future__ import annotations

import random
import shutil
import sys
import threading
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rinofs
from rinofs import RinoFileSystem
from rinofs.server.catalog.migrations import HEAD
from tests import postgres
from tests.campaign import rounds
from tests.cluster.processes import TOKEN, cluster
from tests.server.seaweed import seaweed
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Sequence

STEP = """
import sqlalchemy as sa
from alembic import op

revision = "{revision}"
down_revision = "{before}"


def upgrade() -> None:
    op.{change}


def downgrade() -> None:
    op.{back}
"""
SIZES = (3, 200_000)
ADDED, REMOVED = f"{int(HEAD) + 1:04}", f"{int(HEAD) + 2:04}"


def next_release(folder: Path) -> Sequence[str]:
    """Make a release that adds a column and removes an index of this one; return its command."""
    package = folder / "rinofs"
    shutil.copytree(Path(rinofs.__file__).parent, package, ignore=shutil.ignore_patterns("__pycache__"))
    catalog = package / "server" / "catalog"
    for revision, before, change, back in [
        (ADDED, HEAD, 'add_column("objects", sa.Column("note", sa.Text))', 'drop_column("objects", "note")'),
        (
            REMOVED,
            ADDED,
            'drop_index("ix_audit_event")',
            'create_index("ix_audit_event", "audit", ["event"])',
        ),
    ]:
        text = STEP.format(revision=revision, before=before, change=change, back=back)
        (catalog / "migrations" / "versions" / f"{revision}_next.py").write_text(text)
    version_of = '    Column("version_of", _ID, ForeignKey("objects.id"), index=True),\n'
    for path, old, new in [
        ("migrations/__init__.py", f'\nHEAD = "{HEAD}"', f'\nHEAD = "{REMOVED}"'),
        ("migrations/__init__.py", "\nOLDEST = HEAD", f'\nOLDEST = "{ADDED}"'),
        ("migrations/__init__.py", " = frozenset()", f' = frozenset({{"{REMOVED}"}})'),
        ("tables.py", version_of, version_of + '    Column("note", _TEXT),\n'),
    ]:
        source = (catalog / path).read_text()
        assert source.count(old) == 1, old
        (catalog / path).write_text(source.replace(old, new))
    start = f"import sys; sys.path.insert(0, {str(folder)!r}); from rinofs.cli.main import main; main()"
    return (sys.executable, "-P", "-c", start)


class User(threading.Thread):
    """Writes, reads and moves files, and keeps what failed."""

    def __init__(self, url: str, number: int) -> None:
        super().__init__(daemon=True)
        self.failure: BaseException | None = None
        self.done = 0
        self.stopping = threading.Event()
        self._fs = RinoFileSystem(endpoint_url=url, token=TOKEN, skip_instance_cache=True)
        self._folder = f"user {number}"
        self._random = random.Random(number)

    def run(self) -> None:
        try:
            while not self.stopping.is_set():
                self._work()
                self.done += 1
        except BaseException as error:  # noqa: BLE001 (the test shows it)
            self.failure = error

    def _work(self) -> None:
        path, content = (
            f"{self._folder}/{self.done}",
            self._random.randbytes(self._random.choice([3, 200_000])),
        )
        self._fs.pipe_file(path, content, metadata={"number": self.done})
        assert self._fs.cat_file(path) == content
        self._fs.mv(path, f"{path} moved")
        assert self._fs.info(f"{path} moved")["size"] == len(content)
        assert len(self._fs.ls(self._folder, refresh=True)) == self.done + 1


@pytest.mark.timeout(rounds(600, 1200))
def test_no_request_of_a_client_fails(tmp_path: Path) -> None:
    command = next_release(tmp_path)
    with (
        seaweed() as store,
        cluster(postgres.shared(), store, 2, ["--shutdown-delay=1", "--shutdown-timeout=30"]) as running,
    ):
        users = [User(running.url, number) for number in range(4)]
        for user in users:
            user.start()

        def go_on() -> None:
            before = [user.done for user in users]
            wait_until(
                lambda: (
                    any(user.failure for user in users)
                    or all(user.done > done for user, done in zip(users, before, strict=True))
                )
            )
            assert [user.failure for user in users if user.failure] == []

        go_on()
        assert running.admin("init", data=False, command=command)["schema"] == ADDED
        go_on()
        for worker in running.workers:
            worker.command = command
            assert worker.stop() == 0
            go_on()
            worker.start()
            go_on()
        assert running.admin("init", "--finish", data=False, command=command)["schema"] == REMOVED
        go_on()
        for user in users:
            user.stopping.set()
            user.join()
        assert [user.failure for user in users if user.failure] == []
        assert running.admin("fsck", command=command)["problems"] == []
        # What this release cannot work with any more it does not try.
        with pytest.raises(AssertionError, match="is of a later release; upgrade rinofs"):
            running.admin("fsck")
