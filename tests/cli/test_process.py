"""What only a process of its own shows: signals and terminals."""

from __future__ import annotations

import itertools
import os
import pty
import signal
import subprocess
import termios
import threading
from typing import TYPE_CHECKING

import pytest

from rinofs.testing import Fault, live_server
from tests.cli.conftest import PROGRAM, point_to
from tests.waiting import PATIENCE

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path

    from rinofs.testing import LiveServer
    from tests.cli.conftest import Run, Start


@pytest.fixture
def server(monkeypatch: pytest.MonkeyPatch) -> Iterator[LiveServer]:
    with live_server() as running:
        point_to(running, monkeypatch)
        yield running


def in_terminal(*args: str) -> tuple[int, str, bytes]:
    """Run a command whose standard error is a terminal; returns exit code, what that shows, and output."""
    ours, theirs = pty.openpty()
    termios.tcsetwinsize(theirs, (25, 80))
    shown = bytearray()

    def read() -> None:
        try:
            while piece := os.read(ours, 65536):
                shown.extend(piece)
        except OSError:
            pass  # the other end is closed

    process = subprocess.Popen(
        [*PROGRAM, *args], stdout=subprocess.PIPE, stderr=theirs, stdin=subprocess.DEVNULL
    )
    os.close(theirs)
    reader = threading.Thread(target=read)
    reader.start()
    output, _ = process.communicate()
    reader.join()
    os.close(ours)
    return process.returncode, shown.decode(), output


def test_a_terminal_gets_a_progress_bar(runs: Path, tmp_path: Path) -> None:
    code, shown, output = in_terminal("get", "-r", str(runs), str(tmp_path / "new"))
    assert (code, output) == (0, b"")
    assert "100%" in shown
    assert "copying" in shown


def test_quiet_means_no_bar(runs: Path, tmp_path: Path) -> None:
    assert in_terminal("get", "-q", "-r", str(runs), str(tmp_path / "new")) == (0, "", b"")


def test_errors_stand_on_lines_of_their_own_beside_the_bar(runs: Path, tmp_path: Path) -> None:
    (tmp_path / "new" / "a.csv").mkdir(parents=True)
    code, shown, _ = in_terminal("get", str(runs / "a.csv"), str(runs / "b [1].csv"), str(tmp_path / "new"))
    assert code == 1
    lines = [line for part in shown.splitlines() for line in part.split("\r")]
    assert any(line.startswith(f"rinofs: {tmp_path}/new/a.csv: is a folder") for line in lines), shown


@pytest.fixture
def stalled(server: LiveServer, run: Run, tmp_path: Path) -> threading.Event:
    """A server that has a file of 20 MiB and never gets to its end; set when the download has begun."""
    (tmp_path / "big").write_bytes(os.urandom(1024) * 20480)
    assert run("put", tmp_path / "big", "rino://exp/big").exit_code == 0
    begun = threading.Event()

    def faults(method: str, path: str) -> Fault | None:
        if path.endswith("/download/"):
            begun.set()
            return Fault(delay=600)
        return None

    server.faults = faults
    return begun


@pytest.mark.parametrize("command", ["get", "cat"])
def test_ctrl_c_ends_at_once_with_nothing_half_done(
    start: Start, stalled: threading.Event, tmp_path: Path, command: str
) -> None:
    target = tmp_path / "there"
    target.mkdir()
    (target / "big").write_text("old")
    process = start(command, "rino://exp/big", *([str(target)] if command == "get" else []))
    assert stalled.wait(PATIENCE)
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=PATIENCE)
    assert process.returncode == 130
    assert (output, errors) == (b"", b"rinofs: interrupted\n")
    assert {path.name for path in target.iterdir()} == {"big"}
    assert (target / "big").read_text() == "old"


def test_ctrl_c_ends_with_many_under_way_too(
    start: Start, server: LiveServer, run: Run, tmp_path: Path
) -> None:
    source, target = tmp_path / "source", tmp_path / "there"
    source.mkdir()
    for number in range(12):
        (source / str(number)).write_bytes(os.urandom(400_000))  # too large for a bundle
    assert run("put", "-r", source, "rino://exp").exit_code == 0
    several = threading.Semaphore(0)
    downloads = itertools.count()

    def faults(method: str, path: str) -> Fault | None:
        if not path.endswith("/download/"):
            return None
        if next(downloads) == 0:
            return Fault(delay=0.2)  # so that others join in
        several.release()
        return Fault(delay=600)

    server.faults = faults
    process = start("get", "-r", "rino://exp", target)
    assert all(several.acquire(timeout=PATIENCE) for _ in range(3))
    process.send_signal(signal.SIGINT)
    output, errors = process.communicate(timeout=25)  # less than a read may take
    assert process.returncode == 130
    assert (output, errors) == (b"", b"rinofs: interrupted\n")
    assert len(list(target.iterdir())) == 1


def test_ctrl_c_during_an_upload_stores_nothing(
    start: Start, server: LiveServer, run: Run, tmp_path: Path
) -> None:
    (tmp_path / "big").write_bytes(os.urandom(1024) * 20480)
    begun = threading.Event()

    def faults(method: str, path: str) -> Fault | None:
        if "upload" in path:
            begun.set()
            return Fault(delay=600)
        return None

    server.faults = faults
    process = start("put", tmp_path / "big", "rino://big")
    assert begun.wait(PATIENCE)
    process.send_signal(signal.SIGINT)
    _, errors = process.communicate(timeout=PATIENCE)
    assert (process.returncode, errors) == (130, b"rinofs: interrupted\n")
    server.reset()
    assert run("ls", "rino://").stdout == ""
