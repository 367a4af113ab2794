"""What `get`, `put` and `cp` make of each kind of source and target, as the table in docs/cli.md shows it.

``python -m tests.cli.trees`` writes the table anew.
"""

from __future__ import annotations

import tempfile
from itertools import product
from pathlib import Path
from typing import TYPE_CHECKING, TypeAlias

import fsspec
from click.testing import CliRunner
from fsspec.config import conf

from rinofs.cli.main import main
from rinofs.testing import live_server
from tests.docs.blocks import ROOT

Case: TypeAlias = tuple[str, str, str]
"""Sources, target, and what is there before."""

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fsspec import AbstractFileSystem

PAGE = ROOT / "docs" / "cli.md"
BEGIN, END = "<!-- trees: written by `python -m tests.cli.trees` -->\n", "<!-- end of trees -->\n"

COMMANDS = ("get", "put", "cp")
SOURCES = ("a.csv", "exp", "exp/", "exp/*", "exp a.csv")
TARGETS = ("new", "new/")
BEFORE = ("nothing", "a folder", "a file")

CASES = list(product(SOURCES, TARGETS, BEFORE))
FILES = {"a.csv": b"a", "exp/1.csv": b"1", "exp/run/2.csv": b"2"}


def made(command: str, folder: Path) -> dict[Case, str]:
    """Return which files a command makes in each case, or ``error``; the second time as the first."""
    remote, local = fsspec.filesystem("rino"), fsspec.filesystem("file")
    source_fs = local if command == "put" else remote
    target_fs = local if command == "get" else remote
    tops = {local: f"{folder}/{command}", remote: command}
    urls = {local: f"file://{folder}/{command}", remote: f"rino://{command}"}
    _pipe(source_fs, {f"{tops[source_fs]}/from/{path}": data for path, data in FILES.items()})
    cells = {}
    for number, case in enumerate(CASES):
        sources, target, before = case
        named = [f"{urls[source_fs]}/from/{source}" for source in sources.split()]
        there = f"{tops[target_fs]}/{number}"
        target_fs.makedirs(there)
        kept = {"a folder": {f"{there}/new/old.csv": b"old"}, "a file": {f"{there}/new": b"old"}}.get(
            before, {}
        )
        _pipe(target_fs, kept)
        line = [command, "-r", *named, f"{urls[target_fs]}/{number}/{target}"]
        first, second = (_outcome(line, target_fs, there, kept) for _ in range(2))
        assert first == second, (line, before)
        cells[case] = first
    return cells


def _outcome(line: list[str], fs: AbstractFileSystem, there: str, kept: dict[str, bytes]) -> str:
    failed = CliRunner().invoke(main, line, prog_name="rinofs").exit_code != 0
    files = {path.removeprefix(f"{there}/"): fs.cat_file(path) for path in fs.find(there)}
    if failed:
        assert {f"{there}/{path}": data for path, data in files.items()} == kept, line
        return "error"
    assert (f"{there}/new/old.csv" in kept) == (files.pop("new/old.csv", None) == b"old")
    by_name = {path.rpartition("/")[2]: data for path, data in FILES.items()}
    for path, data in files.items():
        assert data == by_name.get(path.rpartition("/")[2], b"a"), line
    return ", ".join(f"`{path}`" for path in sorted(files))


def _pipe(fs: AbstractFileSystem, files: dict[str, bytes]) -> None:
    for path, data in files.items():
        fs.makedirs(fs._parent(path), exist_ok=True)
        fs.pipe_file(path, data)


def table(cells: dict[Case, str]) -> str:
    """Return the lines of the table between its two comments."""
    head = f"| sources | target | {' | '.join(f'{before} at `new`' for before in BEFORE)} |\n"
    return BEGIN + head + "|---|---|---|---|---|\n" + "".join(_rows(cells)) + END


def _rows(cells: dict[Case, str]) -> Iterable[str]:
    for sources, target in product(SOURCES, TARGETS):
        row = " | ".join(cells[sources, target, before] for before in BEFORE)
        yield f"| `{sources}` | `{target}` | {row} |\n"


def shown() -> str:
    """Return the table on the page, with its comments."""
    text = PAGE.read_text("utf-8")
    return text[text.index(BEGIN) : text.index(END) + len(END)]


if __name__ == "__main__":
    with live_server() as server, tempfile.TemporaryDirectory() as scratch:
        conf["rino"] = {"endpoint_url": server.endpoint_url, "token": server.token}
        new = table(made("cp", Path(scratch)))
        PAGE.write_text(PAGE.read_text("utf-8").replace(shown(), new), "utf-8")
