"""Somebody who reads a page and does what it says, in an empty folder."""

from __future__ import annotations

import contextlib
import doctest
import io
import os
import re
import shlex
import subprocess
import sys
from contextlib import ExitStack
from dataclasses import replace
from pathlib import Path
from typing import TYPE_CHECKING, Any, Self

from click.testing import CliRunner
from fsspec.config import conf

from rinofs.cli.main import main
from rinofs.testing import live_server
from tests.docs.blocks import blocks_of
from tests.forkserver import Command

if TYPE_CHECKING:
    from collections.abc import Iterator

    import pytest

    from tests.docs.blocks import Block

SERVICES = ("rino", "repovizz")
PORT = "8440"
"""The port that the pages name; what runs here takes a free one."""

_FOR_A_SHELL = re.compile(r"[|&;<>$`*?~]")


class Reader:
    """Runs the blocks of one page.

    Parameters
    ----------
    folder : Path
        The folder to do it in.
    monkeypatch : pytest.MonkeyPatch
        Undoes afterwards what happened to this process.
    """

    def __init__(self, folder: Path, monkeypatch: pytest.MonkeyPatch) -> None:
        self._folder = folder
        self._monkeypatch = monkeypatch
        self._names: dict[str, Any] = {"__name__": "__page__"}
        self._port: str | None = None
        self._database: str | None = None
        self._ends = ExitStack()
        self._printed: dict[str, str] = {}  # what the server that runs has printed to be exported
        self._stack = ExitStack()
        bin_folder = Path(sys.executable).parent
        monkeypatch.setenv("PATH", f"{bin_folder}{os.pathsep}{os.environ['PATH']}")
        monkeypatch.setenv("HOME", str(folder))
        monkeypatch.chdir(folder)

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *exc_info: object) -> None:
        self._stack.close()
        self._ends.close()

    def follow(self, page: Path, name: str) -> None:
        """Run the blocks of a page."""
        for block in blocks_of(page):
            if not block.reason:
                self._run(block, name)

    def _run(self, block: Block, page: str) -> None:
        """Run a block, and compare what it prints with what the page shows."""
        if block.with_server and self._port is None:
            self._start_live_server()
        if block.with_database and self._database is None:
            self._database = self._make_database()
        if block.setup:
            self._python(replace(block, text=block.setup), page)
        if block.language == "python":
            printed = self._python(block, page)
            if block.expected is not None:
                check(block.expected, printed, f"{page}:{block.line}")
            return
        steps = steps_of(block)
        checked = any(expected for _, _, expected in steps)
        for command, line, expected in steps:
            printed = self._console(command, self._here(expected), f"{page}:{line}")
            if checked:
                check(self._here(expected), printed, f"{page}:{line}: {command}")

    def _here(self, text: str) -> str:
        return text if self._port is None else text.replace(f":{PORT}", f":{self._port}")

    def _python(self, block: Block, page: str) -> str:
        # With as many lines before it as on the page, tracebacks show where it is.
        code = compile("\n" * (block.line - 1) + self._here(block.text), page, "exec")
        printed = io.StringIO()
        with contextlib.redirect_stdout(printed):
            exec(code, self._names)
        return printed.getvalue()

    def _console(self, command: str, expected: str, where: str) -> str:
        words = shlex.split(command, comments=True)
        if words[:2] == ["rinofs", "serve"]:
            return self._serve(words[1:])
        if words[:1] == ["export"]:
            for word in words[1:]:
                name, _, value = self._here(word).partition("=")
                self._export(name, self._printed[name] if "..." in value else value)
            return ""
        status, printed = self._done(self._here(command))
        # A page may show how a command fails.
        failure_shown = any(line.startswith("rinofs: ") for line in expected.splitlines())
        assert (status != 0) == failure_shown, f"{where}: {command}\n{printed}"
        return printed

    @staticmethod
    def _done(command: str) -> tuple[int, str]:
        """Run a command; those of rinofs in this process, unless a shell has a part in it."""
        words = shlex.split(command, comments=True)
        if words[:1] == ["rinofs"] and not _FOR_A_SHELL.search(command):
            result = CliRunner().invoke(main, words[1:], prog_name="rinofs")
            return result.exit_code, result.output
        done = subprocess.run(
            ["bash", "-c", command],
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=120,
            check=False,
        )
        return done.returncode, done.stdout

    def _export(self, name: str, value: str) -> None:
        self._monkeypatch.setenv(name, value)
        for service in SERVICES:
            prefix = f"FSSPEC_{service.upper()}_"
            if name.startswith(prefix):
                # fsspec reads the environment once, when it is imported.
                option = name.removeprefix(prefix).lower()
                self._monkeypatch.setitem(conf, service, {**conf.get(service, {}), option: value})

    def _start_live_server(self) -> None:
        server = self._stack.enter_context(live_server())
        self._port = server.endpoint_url.rpartition(":")[2]
        for service in SERVICES:
            self._export(f"FSSPEC_{service.upper()}_ENDPOINT_URL", server.endpoint_url)
            self._export(f"FSSPEC_{service.upper()}_TOKEN", server.token)

    def _make_database(self) -> str:
        """Make a database and a bucket, and say in the environment where they are."""
        from tests import postgres
        from tests.server.seaweed import BUCKET, seaweed

        server = self._ends.enter_context(postgres.postgres())
        store = self._ends.enter_context(seaweed())
        url = server.new_database("rinofs").replace("+psycopg", "")
        path = f"{Path(postgres.binary('psql')).parent}{os.pathsep}{os.environ['PATH']}"
        for name, value in {
            "RINOFS_DATABASE": url,
            "RINOFS_BLOBS": f"s3://{BUCKET}/lab",
            **store.environment(),
            "PGHOST": "127.0.0.1",
            "PGPORT": str(server.port),
            "PGUSER": postgres.ROLE,
            "PATH": path,
        }.items():
            self._monkeypatch.setenv(name, value)
        return url

    def _serve(self, words: list[str]) -> str:
        self._stack.close()  # the port is taken by the server that runs, until it is stopped
        lines = self._stack.enter_context(_served([*words, "--port", "0"]))
        self._port = lines[0].rpartition(":")[2].strip()
        exports = (line.removeprefix("export ").strip() for line in lines if line.startswith("export "))
        self._printed = dict(export.split("=", 1) for export in exports)
        return "".join(lines)


@contextlib.contextmanager
def _served(words: list[str]) -> Iterator[list[str]]:
    with Command(words, stderr=2) as process:
        try:
            lines: list[str] = []
            for line in process.stdout:
                lines.append(line)
                if line.startswith("Press Ctrl-C"):
                    break
            assert lines, f"{shlex.join(words)} did not start"
            yield lines
        finally:
            process.terminate()


def steps_of(block: Block) -> list[tuple[str, int, str]]:
    """Return the commands of a console block: each with its line, and what it is shown to print."""
    steps: list[tuple[str, int, str]] = []
    for number, line in enumerate(block.text.splitlines()):
        if line.startswith("$ "):
            steps.append((line.removeprefix("$ "), block.line + number, ""))
        else:
            command, start, expected = steps[-1]
            steps[-1] = (command, start, f"{expected}{line}\n")
    if block.expected is not None:
        command, start, expected = steps[-1]
        steps[-1] = (command, start, expected + block.expected)
    return steps


def check(expected: str, printed: str, where: str) -> None:
    """Compare what was printed with what the page shows; ``...`` stands for anything."""
    same = doctest.OutputChecker().check_output(expected, printed, doctest.ELLIPSIS)
    assert same, f"{where}\nthe page shows:\n{expected}\nreality is:\n{printed}"
