"""The pages of the documentation, and the blocks of code in them.

A block is run in order with the others of its page. What a page says about that is in comments that
readers do not see::

    <!-- run: with a server -->     the block finds a server where the environment says
    <!-- run: with PostgreSQL and an S3 store -->     it, and all that follow, find those
    <!-- run: with a server
    some_python()                   ... and this is run before the block
    -->
    <!-- not run: why -->
"""

from __future__ import annotations

import re
from dataclasses import dataclass, replace
from pathlib import Path

ROOT = Path(__file__).parents[2]
RUN = ("python", "console")

_FENCE = re.compile(r"^(```+)\{?([\w-]*)\}?.*?$\n(.*?)^\1$\n?", re.MULTILINE | re.DOTALL)
_COMMENT = re.compile(r"<!--(.*?)-->", re.DOTALL)
_DIRECTIVE = re.compile(r"\s*(run|not run):[ \t]*(.*?)\s*", re.DOTALL)


class UnclearPageError(Exception):
    """A page says something about its blocks that nobody understands."""


@dataclass(frozen=True, slots=True)
class Block:
    """A block of code on a page.

    Attributes
    ----------
    language : str
        What its fence says.
    text : str
        What is in it.
    line : int
        The line of the page on which `text` begins.
    with_server : bool
        Whether it needs a server.
    with_database : bool
        Whether it needs a database and a bucket.
    setup : str
        Python code to run before it.
    reason : str
        Why it is not run; empty where it is.
    expected : str or None
        What it prints, where the page says so in a block of its own.
    """

    language: str
    text: str
    line: int
    with_server: bool = False
    with_database: bool = False
    setup: str = ""
    reason: str = ""
    expected: str | None = None


def pages() -> list[Path]:
    """Return the pages that people read, by name."""
    top = [ROOT / "README.md", ROOT / "CONTRIBUTING.md", ROOT / "CHANGELOG.md"]
    return [*top, *sorted((ROOT / "docs").glob("*.md"))]


def blocks_of(page: Path) -> list[Block]:
    """Return the blocks of a page that are to be run, or not to be run for a reason that the page gives."""
    text = page.read_text()
    fences = list(_FENCE.finditer(text))
    found = []
    for number, fence in enumerate(fences):
        if fence[2] not in RUN:
            continue
        before = text[fences[number - 1].end() if number else 0 : fence.start()]
        line = text.count("\n", 0, fence.start(3)) + 1
        block = Block(fence[2], fence[3], line, expected=_expected(text, fences, number))
        found.append(_as_said(block, before, f"{page.name}:{line}"))
    return found


def prose_of(page: Path) -> str:
    """Return a page without its blocks and comments."""
    return _COMMENT.sub("", _FENCE.sub("", page.read_text()))


def _expected(text: str, fences: list[re.Match[str]], number: int) -> str | None:
    if number + 1 == len(fences):
        return None
    after = fences[number + 1]
    adjacent = not text[fences[number].end() : after.start()].strip()
    return after[3] if adjacent and after[2] == "text" else None


def _as_said(block: Block, before: str, where: str) -> Block:
    comments = list(_COMMENT.finditer(before))
    if not comments or before[comments[-1].end() :].strip():
        return block
    said = _DIRECTIVE.fullmatch(comments[-1][1])
    if said is None or not said[2]:
        raise UnclearPageError(f"{where}: <!--{comments[-1][1]}-->")
    if said[1] == "not run":
        return replace(block, reason=said[2])
    need, _, setup = said[2].partition("\n")
    if need == "with a server":
        return replace(block, with_server=True, setup=setup)
    if need == "with PostgreSQL and an S3 store":
        return replace(block, with_database=True, setup=setup)
    raise UnclearPageError(f"{where}: run: {need}")
