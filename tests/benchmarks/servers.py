"""Start and stop the servers of the measurements."""

from __future__ import annotations

import json
import os
import socket
import subprocess
import sys
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import TYPE_CHECKING, Any

import psutil
import requests

from rinofs.testing import server_process
from tests.waiting import wait_until

if TYPE_CHECKING:
    from collections.abc import Iterator

WINDOW = "4194304"
"""Maximum number of bytes in flight on a connection, as by default on Linux."""

# `tcp_nopush on` would hold back the ends of small ranges for 44 ms on loopback.
NGINX = """
daemon off;
worker_processes 2;
user root;
pid {folder}/nginx.pid;
error_log {folder}/error.log;
events {{ worker_connections 512; }}
http {{
    access_log off;
    sendfile on;
    tcp_nopush off;
    keepalive_requests 100000;
    client_body_temp_path {folder}; proxy_temp_path {folder}; fastcgi_temp_path {folder};
    uwsgi_temp_path {folder}; scgi_temp_path {folder};
    server {{ listen 127.0.0.1:{port}; location /bucket/ {{ alias {data}/; }} }}
}}
"""


class Served:
    """A server in its own process."""

    def __init__(self, *arguments: str) -> None:
        self._process = subprocess.Popen(
            [sys.executable, "-m", "tests.benchmarks.serve", *arguments],
            stdin=subprocess.PIPE,
            stdout=subprocess.PIPE,
            text=True,
        )
        self.pid = self._process.pid
        self.told = self._read()
        self.url = str(self.told["url"])

    def _read(self) -> dict[str, Any]:
        assert self._process.stdout is not None
        told: dict[str, Any] = json.loads(self._process.stdout.readline())
        return told

    def counts(self) -> dict[str, Any]:
        """Return counts of the requests since the last call."""
        assert self._process.stdin is not None
        self._process.stdin.write("\n")
        self._process.stdin.flush()
        return self._read()

    def processes(self) -> list[psutil.Process]:
        """Return the processes of the server."""
        return with_children(self.pid)

    def close(self) -> None:
        """End it."""
        assert self._process.stdin is not None
        self._process.stdin.close()
        self._process.wait(30)


def with_children(pid: int) -> list[psutil.Process]:
    """Return a process and its descendants."""
    process = psutil.Process(pid)
    return [process, *process.children(recursive=True)]


@contextmanager
def first(processes: list[psutil.Process]) -> Iterator[None]:
    """Give processes priority over all others on the machine; only root on Linux may do that."""
    _schedule(processes, os.SCHED_RR, 1)
    try:
        yield
    finally:
        for process in processes:
            with suppress(psutil.NoSuchProcess):  # processes started meanwhile inherit the priority
                _schedule(with_children(process.pid), os.SCHED_OTHER, 0)


def _schedule(processes: list[psutil.Process], policy: int, priority: int) -> None:
    for process in processes:
        with suppress(psutil.NoSuchProcess):
            for thread in process.threads():
                with suppress(ProcessLookupError):
                    os.sched_setscheduler(thread.id, policy, os.sched_param(priority))


class Clocked:
    """A server that counts no requests: only its processor time is known, including that of its workers.

    If it is not `counted`, even that is ignored, as for a proxy that simulates distance.
    """

    def __init__(self, url: str, pid: int, token: str | None = None, *, counted: bool = True) -> None:
        self.url = url
        self.token = token
        self._counted = counted
        self._process = psutil.Process(pid)
        self._before = 0.0

    def processes(self) -> list[psutil.Process]:
        """Return the processes of the server."""
        return with_children(self._process.pid)

    def counts(self) -> dict[str, Any]:
        """Return the seconds of processor time since the last call."""
        if not self._counted:
            return {"requests": 0, "sent": 0, "cpu": 0.0}
        before, self._before = self._before, sum(map(_seconds, self.processes()))
        return {"requests": 0, "sent": 0, "cpu": self._before - before}


def _seconds(process: psutil.Process) -> float:
    """Return the processor time of a process and of the children it has waited for."""
    try:
        times = process.cpu_times()
    except psutil.NoSuchProcess:
        return 0.0
    return float(times.user + times.system + times.children_user + times.children_system)


@contextmanager
def started(folder: Path, *arguments: str) -> Iterator[Clocked]:
    """Run ``rinofs serve``, as users start it."""
    with server_process(folder, *arguments) as process:
        yield Clocked(process.endpoint_url, process.pid, process.token)


@contextmanager
def served(*arguments: str) -> Iterator[Served]:
    """Run one of the servers of `serve`."""
    server = Served(*arguments)
    try:
        yield server
    finally:
        server.close()


def _free_port() -> int:
    with socket.create_server(("127.0.0.1", 0)) as free:
        return int(free.getsockname()[1])


@contextmanager
def nginx(folder: Path, data: Path) -> Iterator[Clocked]:
    """Run nginx on a free port, with `data` below ``/bucket``."""
    port = _free_port()
    configuration = folder / "nginx.conf"
    configuration.write_text(NGINX.format(folder=folder, port=port, data=data))
    command = ["nginx", "-c", str(configuration), "-p", str(folder)]
    process = subprocess.Popen(command, env={**os.environ, "PATH": f"/usr/sbin:{os.environ['PATH']}"})
    try:
        wait_until(lambda: _answers(port))
        yield Clocked(f"http://127.0.0.1:{port}", process.pid)
    finally:
        process.terminate()
        process.wait(30)


@contextmanager
def seaweed(folder: Path) -> Iterator[Clocked]:
    """Run SeaweedFS as an S3 server on free ports, with the empty bucket ``bench``."""
    folder.mkdir()
    command = ["weed", "server", f"-dir={folder}", "-ip=127.0.0.1", "-ip.bind=127.0.0.1", "-s3"]
    command += ["-master.volumeSizeLimitMB=128", "-volume.max=64", "-s3.port.iceberg=0", "-s3.port.lance=0"]
    parts = [
        f"{part}.{port}" for part in ("master", "volume", "filer", "s3") for port in ("port", "port.grpc")
    ]
    ports = {part: _free_port() for part in parts}
    command += [f"-{part}={port}" for part, port in ports.items()]
    environment = {**os.environ, "PATH": f"{Path(sys.executable).parent}{os.pathsep}{os.environ['PATH']}"}
    with (folder / "log").open("wb") as log:
        process = subprocess.Popen(command, env=environment, stdout=log, stderr=log)
    url = f"http://127.0.0.1:{ports['s3.port']}"
    try:
        wait_until(lambda: _answers(ports["s3.port"]))
        wait_until(lambda: _has_bucket(f"{url}/bench"))
        yield Clocked(url, process.pid)
    finally:
        process.kill()  # an orderly shutdown may take a minute
        process.wait()


def _has_bucket(url: str) -> bool:
    """Create a bucket, if the server is ready for that: its parts start one after the other."""
    with suppress(requests.ConnectionError):
        return requests.put(url, timeout=30).ok
    return False


def _answers(port: int) -> bool:
    with suppress(OSError), socket.create_connection(("127.0.0.1", port), 0.1):
        return True
    return False
