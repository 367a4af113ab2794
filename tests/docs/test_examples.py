"""The programs in `examples/` run against a server that the environment names, and without one."""

from __future__ import annotations

import os
import subprocess
import sys
from typing import TYPE_CHECKING

import pytest
from PIL import Image, ImageChops, ImageStat

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
        check=False,
    )
    assert done.returncode == 0, done.stderr
    assert done.stderr == ""
    return done.stdout


@pytest.mark.covering
@pytest.mark.parametrize("with_server", [True, False], ids=["with a server", "without"])
@pytest.mark.parametrize("example", EXAMPLES, ids=lambda path: path.stem)
def test_an_example_runs_as_its_page_shows(example: Path, with_server: bool, tmp_path: Path) -> None:
    if with_server:
        with live_server() as server:
            shown = run(
                example,
                tmp_path,
                FSSPEC_RINO_ENDPOINT_URL=server.endpoint_url,
                FSSPEC_RINO_TOKEN=server.token,
                FSSPEC_REPOVIZZ_ENDPOINT_URL=server.endpoint_url,
                FSSPEC_REPOVIZZ_TOKEN=server.token,
            )
            assert len(server.requests) > 5
    else:
        shown = run(example, tmp_path)
    page = (ROOT / "docs" / "examples.md").read_text()
    assert f"$ python examples/{example.name}\n{shown}```" in page
    left = {path.name: path for path in tmp_path.iterdir()}
    picture = left.pop(f"{example.stem}.png")
    assert left == {}
    assert f"](images/{picture.name})" in page
    assert_same_picture(ROOT / "docs" / "images" / picture.name, picture)


def assert_same_picture(shown: Path, drawn: Path) -> None:
    """Compare the picture of the page with the one that was drawn; letters may differ a little."""
    assert shown.stat().st_size < 80_000
    with Image.open(shown) as one, Image.open(drawn) as other:
        assert one.size == other.size
        difference = ImageChops.difference(one.convert("L"), other.convert("L"))
        assert ImageStat.Stat(difference).mean[0] < 4


def test_every_example_is_on_the_page() -> None:
    page = (ROOT / "docs" / "examples.md").read_text()
    assert EXAMPLES
    for example in EXAMPLES:
        assert f"../examples/{example.name}\n" in page
