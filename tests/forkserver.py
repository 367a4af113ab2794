"""Processes for clients and measurements, forked from one that has imported everything they need."""

from __future__ import annotations

import functools
import importlib
import multiprocessing
import os
import subprocess
import sys
import tempfile
from concurrent.futures import ProcessPoolExecutor
from contextlib import contextmanager
from multiprocessing.reduction import DupFd
from pathlib import Path
from typing import TYPE_CHECKING, Any, ParamSpec, Self, cast

from rinofs.testing import ServerProcess
from tests.campaign import rounds
from tests.hashing import hash_cheaply

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

P = ParamSpec("P")

CONTEXT = multiprocessing.get_context("forkserver")
# Including the test modules, where the child finds its function.
CONTEXT.set_forkserver_preload(
    [
        "rinofs.rinocloud.filesystem",
        "rinofs.repovizz.filesystem",
        "rinofs.cli.main",
        "rinofs.cli.commands.serve",
        "anyio._backends._asyncio",
        "uvicorn.lifespan.on",
        "uvloop",
        "tests.scenarios.test_interruptions",
        "tests.scenarios.repovizz.test_failed_writes",
    ]
)


def in_own_process(test: Callable[P, None]) -> Callable[P, None]:
    """Run a test that measures its process in a new process, where nothing else happens.

    Leftovers of other tests, such as servers, threads and garbage, could change the number of descriptors,
    sockets and threads, and the memory, at any time. The fixtures of the test are pickled.
    """

    @functools.wraps(test)
    def run(*args: P.args, **kwargs: P.kwargs) -> None:
        with ProcessPoolExecutor(1, mp_context=CONTEXT) as process:
            process.submit(_run, test.__module__, test.__qualname__, args, kwargs).result()

    return run


def _run(module: str, name: str, args: tuple[Any, ...], kwargs: dict[str, Any]) -> None:
    getattr(importlib.import_module(module), name).__wrapped__(*args, **kwargs)


class Command:
    """``rinofs`` in its own process, with the part of the `subprocess.Popen` interface that tests use.

    It is forked from a process that has imported it, since starting Python and importing takes longer than
    the command itself in most tests. It is not suitable for measuring memory, or anything that differs
    between starts.

    Parameters
    ----------
    args : sequence of str
        Arguments of the command.
    stderr : int
        File descriptor for its errors.
    """

    def __init__(self, args: Sequence[str], stderr: int) -> None:
        reader, writer = os.pipe()
        self.stdout = os.fdopen(reader, encoding="utf-8")
        descriptors = _Descriptor(writer), _Descriptor(stderr)
        self._process = CONTEXT.Process(
            target=_run_command, args=(list(args), Path.cwd(), dict(os.environ), *descriptors)
        )
        self._process.start()
        os.close(writer)
        assert self._process.pid is not None
        self.pid = self._process.pid

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.wait()
        self.stdout.close()

    @property
    def returncode(self) -> int | None:
        return self._process.exitcode

    def poll(self) -> int | None:
        return self._process.exitcode

    def wait(self, timeout: float | None = None) -> int:
        self._process.join(timeout)
        if self._process.exitcode is None:
            raise subprocess.TimeoutExpired("rinofs", timeout or 0.0)
        return self._process.exitcode

    def send_signal(self, number: int) -> None:
        if self.poll() is None:
            os.kill(self.pid, number)

    def terminate(self) -> None:
        self._process.terminate()

    def kill(self) -> None:
        self._process.kill()


class _Descriptor:
    """A file descriptor that is also open in the process to which this is sent."""

    def __init__(self, number: int) -> None:
        self._number = number

    def __reduce__(self) -> tuple[Any, ...]:
        return _received, (DupFd(self._number),)


def _received(sent: Any) -> int:
    number: int = sent.detach()
    return number


def _run_command(
    args: list[str], folder: Path, environment: dict[str, str], stdout: int, stderr: int
) -> None:
    for number, standard in ((stdout, 1), (stderr, 2)):
        os.dup2(number, standard)
        os.close(number)
    os.chdir(folder)
    os.environ.clear()
    os.environ.update(environment)
    sys.argv = ["rinofs", *args]
    if rounds(1, 0):
        hash_cheaply()
    importlib.import_module("rinofs.cli.main").main()


def run_command(*args: str) -> subprocess.CompletedProcess[str]:
    """Run ``rinofs`` to its end, as `subprocess.run` does, without starting Python."""
    with tempfile.TemporaryFile("w+", encoding="utf-8") as errors:
        with Command(args, errors.fileno()) as process:
            output = process.stdout.read()
        errors.seek(0)
        return subprocess.CompletedProcess(args, process.wait(), output, errors.read())


@contextmanager
def server_process(data_dir: Path, *args: str) -> Iterator[ServerProcess]:
    """Run ``rinofs serve`` as `rinofs.testing.server_process` does, without starting Python."""
    with (
        tempfile.TemporaryFile("w+", encoding="utf-8", errors="replace") as errors,
        Command(["serve", "--data", str(data_dir), "--port", "0", *args], errors.fileno()) as process,
    ):
        try:
            yield ServerProcess(cast("subprocess.Popen[str]", process), errors)
        finally:
            process.kill()
