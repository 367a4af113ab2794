"""The previous release and this one speak with each other, in both directions and both modes.

The previous release is taken from the history of the repository.
"""

from __future__ import annotations

import json
import os
import subprocess
import sys
import tarfile
from contextlib import contextmanager
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rinofs
from rinofs.testing import live_server
from tests.scenarios import core

if TYPE_CHECKING:
    from collections.abc import Iterator

PREVIOUS = "9d49653"
"""The commit of the previous release."""

ROOT = Path(rinofs.__file__).parents[1]
PATIENCE = 240

SERVE = """
import json, sys
import rinofs
from rinofs.testing import live_server

with live_server(extensions=json.loads(sys.argv[1])) as server:
    print(json.dumps([rinofs.__file__, server.endpoint_url, server.token]), flush=True)
    sys.stdin.read()
"""


@pytest.fixture(scope="module")
def previous(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A folder that the package of the previous release can be imported from."""
    folder = tmp_path_factory.mktemp("previous")
    with (folder / "previous.tar").open("wb") as archive:
        command = ["git", "-C", str(ROOT), "archive", PREVIOUS, "rinofs"]
        told = subprocess.run(command, stdout=archive, stderr=subprocess.PIPE, check=False)
    if told.returncode:
        reason = told.stderr.decode(errors="replace").strip()
        pytest.skip(f"{ROOT} is without the git history of {PREVIOUS}, the previous release: {reason}")
    with tarfile.open(folder / "previous.tar") as archive:
        archive.extractall(folder, filter="data")
    return folder


def environment(folder: Path) -> dict[str, str]:
    return {**os.environ, "PYTHONPATH": str(folder), "PYTHONSAFEPATH": "1"}


@contextmanager
def previous_server(folder: Path, *, extensions: bool) -> Iterator[tuple[str, str]]:
    command = [sys.executable, "-c", SERVE, json.dumps(extensions)]
    with subprocess.Popen(
        command,
        stdin=subprocess.PIPE,
        stdout=subprocess.PIPE,
        text=True,
        cwd=folder,
        env=environment(folder),
    ) as process:
        assert process.stdout is not None
        assert process.stdin is not None
        where, endpoint_url, token = json.loads(process.stdout.readline())
        assert Path(where).is_relative_to(folder)
        yield endpoint_url, token
        process.stdin.close()
        assert process.wait(PATIENCE) == 0


both_modes = pytest.mark.parametrize("extensions", [True, False], ids=["extended", "plain"])


@both_modes
def test_this_client_with_the_previous_server(previous: Path, extensions: bool) -> None:
    with previous_server(previous, extensions=extensions) as (endpoint_url, token):
        core.main(endpoint_url, token)


@both_modes
def test_the_previous_client_with_this_server(previous: Path, extensions: bool) -> None:
    with live_server(extensions=extensions) as server:
        command = [sys.executable, core.__file__, server.endpoint_url, server.token, str(previous)]
        subprocess.run(command, check=True, cwd=previous, env=environment(previous), timeout=PATIENCE)
