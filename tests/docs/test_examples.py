"""The programs in `examples/` run against a server that the environment names.

That they run without one too is seen where the page that shows them is followed.
"""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest

from rinofs.testing import live_server
from tests.docs.blocks import ROOT

if TYPE_CHECKING:
    from pathlib import Path

EXAMPLES = sorted((ROOT / "examples").glob("*.py"))


def run(example: Path, folder: Path, **environment: str) -> str:
    done = subprocess.run(
        [sys.executable, str(example)],
        cwd=folder,
        env={**os.environ, **environment},
        capture_output=True,
        text=True,
        timeout=120,
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_with_a_server(example: Path, tmp_path: Path) -> None:
    with live_server() as server:
        shown = run(
            example,
            tmp_path,
            FSSPEC_RINO_ENDPOINT_URL=server.endpoint_url,
            FSSPEC_RINO_TOKEN=server.token,
        )
        assert len(server.requests) > 5
    page = (ROOT / "docs" / "examples.md").read_text()
    assert f"$ python examples/{example.name}\n{shown}```" in page
    assert list(tmp_path.iterdir()) == []


def test_every_example_is_on_the_page() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    assert EXAMPLES
    for example in EXAMPLES:
        assert f"../examples/{example.name}\n" in page
