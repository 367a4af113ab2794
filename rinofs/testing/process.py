"""A server in a separate process."""

from __future__ import annotations

import shlex
import subprocess
import sys
import tempfile
import threading
from contextlib import contextmanager
from typing import IO, TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

__all__ = ["COMMAND", "ServerProcess", "server_process"]

COMMAND = (sys.executable, "-c", "from rinofs.cli.main import main; main()")
"""The command ``rinofs``, run by the current Python interpreter."""

START_TIMEOUT = 240.0
"""Maximum seconds until a server prints its endpoint."""


class ServerProcess:
    """A running ``rinofs serve``, created by `server_process`.

    Attributes
    ----------
    pid : int
        Process id.
    endpoint_url : str
        URL of the server.
    token : str or None
        Token from its output.
    output : str
        Its output until it was ready.
    """

    def __init__(self, process: subprocess.Popen[str], errors: IO[str]) -> None:
        self._process = process
        self._errors = errors
        self.pid = process.pid
        self.output = self._read_output()
        exports = dict(
            line.removeprefix("export ").split("=", 1)
            for line in self.output.splitlines()
            if line.startswith("export ")
        )
        if "FSSPEC_RINO_ENDPOINT_URL" not in exports:
            code = self.kill()
            raise RuntimeError(f"`rinofs serve` ended with exit code {code}: {self.errors().strip()}")
        self.endpoint_url = exports["FSSPEC_RINO_ENDPOINT_URL"]
        token = exports.get("FSSPEC_RINO_TOKEN")
        self.token = None if token is None else shlex.split(token)[0]

    def _read_output(self) -> str:
        assert self._process.stdout is not None
        watchdog = threading.Timer(START_TIMEOUT, self._process.kill)
        watchdog.start()
        lines: list[str] = []
        for line in self._process.stdout:
            lines.append(line)
            if line.startswith("Press Ctrl-C"):
                break
        watchdog.cancel()
        return "".join(lines)

    def errors(self) -> str:
        """Return its output to standard error so far."""
        self._errors.seek(0)
        return self._errors.read()

    def terminate(self, timeout: float = 30.0) -> int:
        """Ask the server to stop, and return its exit code.

        Raises
        ------
        subprocess.TimeoutExpired
            If it takes longer than `timeout` seconds.
        """
        self._process.terminate()
        return self._process.wait(timeout)

    def kill(self) -> int:
        """Kill the server, as in a crash (``kill -9``), and return its exit code."""
        self._process.kill()
        return self._process.wait()


@contextmanager
def server_process(data_dir: Path, *args: str) -> Iterator[ServerProcess]:
    """Run ``rinofs serve`` on a free port until the context ends.

    Parameters
    ----------
    data_dir : Path
        Data directory.
    *args : str
        Further arguments of the command.

    Yields
    ------
    ServerProcess
        Process, ready for requests.

    Raises
    ------
    RuntimeError
        If it does not start.
    """
    command = [*COMMAND, "serve", "--data", str(data_dir), "--port", "0", *args]
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        subprocess.Popen(command, stdout=subprocess.PIPE, stderr=errors, text=True) as process,  # noqa: S603
    ):
        try:
            yield ServerProcess(process, errors)
        finally:
            process.kill()
