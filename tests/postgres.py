"""PostgreSQL for the tests: one server for all of them, even if several processes run them.

The server starts when the first process needs it, and stops after the last one has ended in any way: each
holds a lock on a file, and a process that waits for all of these locks stops the server.
"""

from __future__ import annotations

import fcntl
import os
import shutil
import socket
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any
from uuid import uuid4

import pytest
from filelock import FileLock

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

ROLE = "rinofs"
"""Owner of the databases: not a superuser, as in a laboratory."""

_SETTINGS = {
    "fsync": "on",
    "full_page_writes": "on",
    "max_connections": "500",
    "shared_buffers": "64MB",
    "wal_level": "replica",
    "max_wal_size": "256MB",
    "wal_recycle": "off",
    "listen_addresses": "127.0.0.1",
    "autovacuum_naptime": "10s",
    "log_lock_waits": "on",
    "log_line_prefix": "%m [%p] %d ",
}

_REAPER = """
import fcntl, os, shutil, subprocess, sys
folder, *stop = sys.argv[1:]
with open(folder + ".users") as file:
    fcntl.flock(file, fcntl.LOCK_EX)
    subprocess.run(stop)
    shutil.rmtree(folder, ignore_errors=True)
    os.remove(folder + ".users")
    os.remove(folder + ".start")
"""


class Postgres:
    """A server with its own folder, which can be stopped, killed, and started again.

    Parameters
    ----------
    folder : Path
        Folder for everything; it is created here, and removed by `remove`.
    settings : mapping, optional
        Settings that replace the defaults for tests.
    encoding : str
        Encoding of new databases.
    """

    def __init__(
        self, folder: Path, settings: Mapping[str, str] | None = None, *, encoding: str = "UTF8"
    ) -> None:
        self.folder = folder
        self.data = folder / "data"
        self.port = _free_port()
        self._settings = {**_SETTINGS, "unix_socket_directories": "", **(settings or {})}
        self._encoding = encoding

    def create(self) -> None:
        """Create the folder, with databases that sort text by locale, not by bytes."""
        self.folder.mkdir(parents=True, exist_ok=True)
        if os.geteuid() == 0:
            shutil.chown(self.folder, "postgres")
        locale = ("--locale=C",)
        if self._encoding == "UTF8":
            locale = ("--locale=C.UTF-8", "--locale-provider=icu", "--icu-locale=en-US")
        self._run(
            "initdb",
            f"--pgdata={self.data}",
            f"--encoding={self._encoding}",
            *locale,
            "--auth=trust",
            "--username=postgres",
            "--no-sync",
        )

    def start(self) -> None:
        """Start the server, on the same port each time."""
        options = {**self._settings, "port": str(self.port)}
        # In the file rather than the command, so that a test can set others.
        (self.data / "postgresql.conf").write_text(
            "".join(f"{name} = '{options[name]}'\n" for name in options)
        )
        self._run("pg_ctl", "start", "-w", "-D", self.data, "-l", self.folder / "log")

    def stop(self, mode: str = "fast") -> None:
        """Stop the server; ``immediate`` is like a power failure."""
        self._run("pg_ctl", "stop", "-w", "-D", self.data, "-m", mode)

    def remove(self) -> None:
        """Stop the server, and remove its folder."""
        if (self.data / "postmaster.pid").exists():
            with suppress(subprocess.CalledProcessError):
                self.stop("immediate")
        shutil.rmtree(self.folder, ignore_errors=True)

    def url(
        self, database: str, user: str = ROLE, port: int | None = None, scheme: str = "postgresql+psycopg"
    ) -> str:
        """Return the URL of a database, optionally through a proxy at another port."""
        return f"{scheme}://{user}@127.0.0.1:{port or self.port}/{database}"

    def execute(self, statement: str, database: str = "postgres") -> list[tuple[object, ...]]:
        """Run a statement as the superuser."""
        import psycopg

        with psycopg.connect(
            self.url(database, "postgres", scheme="postgresql"), autocommit=True
        ) as connection:
            cursor = connection.execute(statement.encode())
            return cursor.fetchall() if cursor.description else []

    def prepare(self) -> None:
        """Create the role that owns databases."""
        self.execute(f"CREATE ROLE {ROLE} LOGIN CREATEDB")

    def new_database(self, name: str | None = None, *, schema: bool = False) -> str:
        """Create a database, and return its URL.

        Parameters
        ----------
        name : str, optional
            Name of the database; unique by default.
        schema : bool
            Whether to create rinofs's tables, as `rinofs admin init` does.
        """
        name = name or f"t{uuid4().hex}"
        template = self._template() if schema else "template0"
        self.execute(f"CREATE DATABASE {name} OWNER {ROLE} TEMPLATE {template} STRATEGY file_copy")
        return self.url(name)

    def drop(self, url: str, *, force: bool = True) -> bool:
        """Remove a database; return whether it is gone."""
        import psycopg

        name = url.rpartition("/")[2]
        try:
            self.execute(f"DROP DATABASE IF EXISTS {name}{' WITH (FORCE)' if force else ''}")
        except psycopg.errors.ObjectInUse:
            return False
        return True

    def _template(self) -> str:
        """Return the name of a database with only the tables, from which others are copied."""
        with FileLock(self.folder / "template.lock"):
            if self.execute("SELECT 1 FROM pg_database WHERE datname = 'tables' AND datistemplate"):
                return "tables"
            self.execute("DROP DATABASE IF EXISTS tables")
            make_schema(self.new_database("tables"))
            self.execute("ALTER DATABASE tables WITH IS_TEMPLATE true ALLOW_CONNECTIONS false")
        return "tables"

    def _run(self, name: str, *arguments: str | Path) -> None:
        run([binary(name), *map(str, arguments)])


def make_schema(url: str) -> None:
    """Do what `rinofs admin init` does."""
    from rinofs.server.catalog.database import Database
    from rinofs.server.catalog.migrations import upgrade

    database = Database(url)
    upgrade(database)
    database.close()


def binary(name: str) -> str:
    """Return the path of one of PostgreSQL's programs; fail if it is not installed."""
    newest = sorted(Path("/usr/lib/postgresql").glob("*/bin"), key=lambda path: int(path.parent.name))
    path = os.pathsep.join([*map(str, reversed(newest)), os.environ.get("PATH", "")])
    found = shutil.which(name, path=path)
    assert found is not None, f"there is no {name}: install PostgreSQL 15 or newer, as .ci/run does"
    return found


def as_owner(command: Sequence[str]) -> list[str]:
    """Return a command that runs as an unprivileged user, since PostgreSQL refuses root."""
    return ["runuser", "-u", "postgres", "--", *command] if os.geteuid() == 0 else list(command)


def run(command: Sequence[str]) -> None:
    """Run one of PostgreSQL's programs to its end, and show its output if it failed."""
    # Not to pipes, which the server would keep open.
    with tempfile.TemporaryFile("w+") as output:
        done = subprocess.run(
            as_owner(command), stdin=subprocess.DEVNULL, stdout=output, stderr=output, cwd="/"
        )
        if done.returncode:
            output.seek(0)
            raise subprocess.CalledProcessError(done.returncode, command[0], output.read())


@contextmanager
def postgres(
    settings: Mapping[str, str] | None = None, *, encoding: str = "UTF8", start: bool = True
) -> Iterator[Postgres]:
    """Run a separate server, which a test may break."""
    server = Postgres(_new_folder(), settings, encoding=encoding)
    try:
        server.create()
        if start:
            server.start()
            server.prepare()
        yield server
    finally:
        server.remove()


_KEPT = 20
"""Databases that a process keeps when no server has them open, for tests that restart a server."""

_LOCK = threading.Lock()
_SHARED: list[tuple[Postgres, IO[str], int]] = []


def shared() -> Postgres:
    """Return the server that all tests share; the first call starts it."""
    with _LOCK:
        if _SHARED and _SHARED[0][2] == os.getpid():
            return _SHARED[0][0]
        _SHARED.clear()
        base = Path(tempfile.gettempdir()) / f"rinofs-postgres-{_session()}"
        with FileLock(base.with_suffix(".start")):
            users = _hold(base.with_suffix(".users"))
            known = base / "port"
            server = Postgres(base)
            if known.exists():
                server.port = int(known.read_text())
            else:
                _start_shared(server)
                known.write_text(str(server.port))
        _SHARED.append((server, users, os.getpid()))
        return server


def _start_shared(server: Postgres) -> None:
    server.create()
    stop = as_owner([binary("pg_ctl"), "stop", "-w", "-D", str(server.data), "-m", "immediate"])
    server.start()
    server.prepare()
    subprocess.Popen(
        [sys.executable, "-c", _REAPER, server.folder, *stop],
        stdin=subprocess.DEVNULL,
        stdout=subprocess.DEVNULL,
        stderr=subprocess.DEVNULL,
        start_new_session=True,
    )


def _hold(path: Path) -> IO[str]:
    """Mark the server as used by this process until the process ends."""
    while True:
        file = path.open("w")
        fcntl.flock(file, fcntl.LOCK_SH)
        with suppress(FileNotFoundError):
            if path.stat().st_ino == os.fstat(file.fileno()).st_ino:
                return file
        file.close()  # meanwhile the server was stopped, and this file removed


def _session() -> str:
    """Return an identifier that all processes of one test session share."""
    return os.environ.get("PYTEST_XDIST_TESTRUNUID", str(os.getpid()))


def _new_folder() -> Path:
    return Path(tempfile.gettempdir()) / f"rinofs-postgres-{uuid4().hex[:12]}"


def _free_port() -> int:
    """Return a port that no connection of the tests can take by chance meanwhile."""
    while True:
        port = 10_000 + int.from_bytes(os.urandom(2)) % 22_000
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextmanager
def in_postgresql() -> Iterator[None]:
    """Make every server that this process opens use this database server, one database for each folder."""
    from rinofs.server.settings import ServerSettings

    databases = _Databases()
    made = ServerSettings.__init__

    def settings(self: ServerSettings, data_dir: Path, database_url: str | None = None, **given: Any) -> None:
        made(self, data_dir, database_url or databases.of(Path(data_dir)), **given)

    with pytest.MonkeyPatch.context() as patch:
        patch.setattr(ServerSettings, "__init__", settings)
        yield


class _Databases:
    """The databases of folders."""

    def __init__(self) -> None:
        self._urls: dict[Path, str] = {}
        self._lock = threading.Lock()

    def of(self, folder: Path) -> str:
        """Return the URL of a folder's database, which is created if missing."""
        folder = folder.absolute()
        with self._lock:
            url = self._urls.pop(folder, None)
            if url is None:
                self._drop_unused()
                url = shared().new_database(schema=True)
            self._urls[folder] = url
            return url

    def _drop_unused(self) -> None:
        for folder in list(self._urls)[:-_KEPT]:
            if shared().drop(self._urls[folder], force=False):
                del self._urls[folder]
