"""Workers that are processes of their own, behind nginx, on a database and a store that may be cut off."""

from __future__ import annotations

import json
import os
import signal
import subprocess
import tempfile
import time
from contextlib import ExitStack, contextmanager, suppress
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

import requests

from rinofs.testing.process import COMMAND
from tests.cluster.wire import Wire, wire
from tests.cluster.workers import balanced
from tests.server import nginx
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from tests.postgres import Postgres
    from tests.server.seaweed import Seaweed

TOKEN = "rino_" + "w" * 43


class Worker:
    """A ``rinofs serve``, on the same port each time that it starts.

    Parameters
    ----------
    folder : Path
        Its folder, for its log and its copies of contents.
    environment : mapping
        Where database and store are.
    arguments : sequence of str
        Further arguments.
    """

    def __init__(self, folder: Path, environment: Mapping[str, str], arguments: Sequence[str] = ()) -> None:
        folder.mkdir(exist_ok=True)
        self.port = nginx.free_port()
        self.url = f"http://127.0.0.1:{self.port}"
        self.environment = {**os.environ, **environment}
        self.log = folder / "log"
        self.access_log = folder / "access.log"
        self.access_log.touch()
        self.command: Sequence[str] = COMMAND
        self._data = folder / "data"
        self._arguments = arguments
        self._process: subprocess.Popen[bytes] | None = None
        self._stream: IO[bytes] | None = None

    def start(self, *, wait: bool = True) -> None:
        """Start it, and wait until it is ready."""
        command = [*self.command, "serve", f"--data={self._data}", f"--port={self.port}"]
        command += ["--trusted-proxy=127.0.0.1", "--log-format=json"]
        command += [f"--access-log={self.access_log}", *self._arguments]
        with self.log.open("ab") as log:
            self._process = subprocess.Popen(command, stdout=log, stderr=log, env=self.environment)
        if wait:
            wait_until(self.is_ready)

    def is_ready(self) -> bool:
        """Tell whether it can answer requests."""
        assert self._process is not None
        assert self._process.poll() is None, self.log.read_text()[-3000:]
        with suppress(requests.RequestException):
            return requests.get(f"{self.url}/ready", timeout=5).status_code == 200
        return False

    def kill(self) -> None:
        """End it as a crash does."""
        self._end(signal.SIGKILL)

    def stop(self) -> int:
        """Have it end in order, and return its exit code."""
        return self._end(signal.SIGTERM)

    def _end(self, number: int) -> int:
        if self._process is None:
            return 0
        process, self._process = self._process, None
        process.send_signal(number)
        return process.wait(60)


class Cluster:
    """Workers behind nginx.

    Parameters
    ----------
    stack : ExitStack
        Ends what is started.
    database : Postgres
        The server of the database.
    store : Seaweed
        The server of contents.
    count : int
        How many workers.
    arguments : sequence of str
        Further arguments of each.
    """

    def __init__(
        self,
        stack: ExitStack,
        database: Postgres,
        store: Seaweed,
        count: int,
        arguments: Sequence[str] = (),
    ) -> None:
        self.database, self.store = database, store
        self.folder = Path(stack.enter_context(tempfile.TemporaryDirectory(prefix="rinofs-cluster-")))
        self.database_url = database.new_database().replace("+psycopg", "")
        self.blobs_url = f"s3://rinofs/{self.database_url.rpartition('/')[2]}"
        self.environment = self._environment(database.port, store.endpoint_url)
        self.wires: list[tuple[Wire, Wire]] = []
        self.workers: list[Worker] = []
        store_port = int(store.endpoint_url.rpartition(":")[2])
        token = self.folder / "token"
        token.write_text(TOKEN)
        self.admin("init", f"--token-file={token}", data=False)
        for number in range(count):
            pair = (stack.enter_context(wire(database.port)), stack.enter_context(wire(store_port)))
            environment = self._environment(pair[0].port, f"http://127.0.0.1:{pair[1].port}")
            worker = Worker(self.folder / f"worker-{number}", environment, arguments)
            stack.callback(worker.kill)
            self.wires.append(pair)
            self.workers.append(worker)
        for worker in self.workers:
            worker.start(wait=False)
        for worker in self.workers:
            wait_until(worker.is_ready)
        self.url = stack.enter_context(balanced([worker.url for worker in self.workers]))

    def admin(self, *arguments: str, data: bool = True, command: Sequence[str] = COMMAND) -> Any:
        """Run a command of ``rinofs admin``, and return the JSON that it prints."""
        folder = self.folder / "admin"
        folder.mkdir(exist_ok=True)
        words = [*command, "admin", *arguments, *([f"--data={folder}", "--json"] if data else [])]
        done = subprocess.run(
            words,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            env={**os.environ, **self.environment},
        )
        assert done.returncode == 0, done.stdout + done.stderr
        return json.loads(done.stdout)

    def ready_within(self, seconds: float) -> None:
        """Check that every worker is ready before long."""
        deadline = time.monotonic() + seconds
        for worker in self.workers:
            while not worker.is_ready():
                assert time.monotonic() < deadline, worker.log.read_text()[-3000:]
                time.sleep(0.1)

    def failures(self) -> list[str]:
        """Return the failures that workers have logged, but for those of the database and the store."""
        return [
            line
            for worker in self.workers
            for line in worker.log.read_text().splitlines()
            if '"exception"' in line and "Unavailable" not in line
        ]

    def _environment(self, database_port: int, store_url: str) -> dict[str, str]:
        database = self.database_url.replace(f":{self.database.port}/", f":{database_port}/")
        return {
            "RINOFS_DATABASE": database,
            "RINOFS_BLOBS": self.blobs_url,
            **self.store.environment(),
            "AWS_ENDPOINT_URL": store_url,
        }


@contextmanager
def cluster(
    database: Postgres, store: Seaweed, count: int = 2, arguments: Sequence[str] = ()
) -> Iterator[Cluster]:
    """Run workers, each with a way of its own to the database and to the store."""
    with ExitStack() as stack:
        yield Cluster(stack, database, store, count, arguments)
