"""The command line, run in this process, or as a program of its own where that matters."""

from __future__ import annotations

import os
import subprocess
import sys
from collections.abc import Callable
from typing import TYPE_CHECKING, Any, TypeAlias

import fsspec
import pytest
from click.testing import CliRunner, Result
from fsspec import AbstractFileSystem
from fsspec.config import conf

from rinofs.cli.main import main
from rinofs.testing import LiveServer, live_server

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

Run: TypeAlias = Callable[..., Result]
Start: TypeAlias = Callable[..., "subprocess.Popen[bytes]"]

PROGRAM = [sys.executable, "-c", "from rinofs.cli.main import main; main()"]


@pytest.fixture(autouse=True)
def _own_settings(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setenv("RINOFS_CONFIG_DIR", str(tmp_path / "settings"))
    for name in list(os.environ):
        if name.startswith("FSSPEC_"):
            monkeypatch.delenv(name)


@pytest.fixture
def run() -> Run:
    """Run a command line in this process."""

    def run_it(*args: str | Path, **options: Any) -> Result:
        return CliRunner().invoke(main, [str(arg) for arg in args], prog_name="rinofs", **options)

    return run_it


@pytest.fixture
def start() -> Start:
    """Start a command line as a program."""

    def start_it(*args: str | Path, **options: Any) -> subprocess.Popen[bytes]:
        pipes = {"stdin": subprocess.DEVNULL, "stdout": subprocess.PIPE, "stderr": subprocess.PIPE}
        return subprocess.Popen([*PROGRAM, *map(str, args)], **{**pipes, **options})

    return start_it


@pytest.fixture(scope="module")
def running() -> Iterator[LiveServer]:
    """A server for the tests of a module."""
    with live_server() as server:
        yield server


@pytest.fixture
def memory() -> AbstractFileSystem:
    """fsspec's own filesystem in memory, empty; the nearest thing to a server."""
    fs = fsspec.filesystem("memory")
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]
    yield fs
    fs.store.clear()
    fs.pseudo_dirs[:] = [""]


@pytest.fixture
def runs(tmp_path: Path) -> Path:
    """A folder with some files."""
    root = tmp_path / "exp"
    for path, content in {
        "a.csv": "x,y\n1,2\n",
        "b [1].csv": "x\n",
        "run 1/data.csv": "1\n2\n3\n",
        "run 1/deep/ünïcode #?%.txt": "hello",
        "run 2/data.csv": "",
    }.items():
        (root / path).parent.mkdir(parents=True, exist_ok=True)
        (root / path).write_text(content)
    (root / "empty").mkdir()
    return root


def contents(root: Path) -> dict[str, bytes | None]:
    """Return what is below a folder: content by relative path, None for folders."""
    return {
        str(path.relative_to(root)): None if path.is_dir() else path.read_bytes()
        for path in sorted(root.rglob("*"))
    }


def point_to(server: LiveServer, monkeypatch: pytest.MonkeyPatch) -> None:
    """Have ``rino://`` mean a server, in this process and in those that it starts."""
    monkeypatch.setenv("FSSPEC_RINO_ENDPOINT_URL", server.endpoint_url)
    monkeypatch.setenv("FSSPEC_RINO_TOKEN", server.token)
    # fsspec reads the environment once, when it is imported.
    monkeypatch.setitem(conf, "rino", {"endpoint_url": server.endpoint_url, "token": server.token})
