"""Every example on every page does what the page shows."""

from __future__ import annotations

import shutil
from typing import TYPE_CHECKING

import pytest

from tests.docs.blocks import ROOT, UnclearPageError, blocks_of, pages
from tests.docs.reader import Reader, check

if TYPE_CHECKING:
    from pathlib import Path

PAGES = {str(page.relative_to(ROOT)): page for page in pages() if blocks_of(page)}
MARKED = [
    pytest.param(name, marks=pytest.mark.s3 if any(block.with_database for block in blocks_of(page)) else ())
    for name, page in PAGES.items()
]


@pytest.mark.parametrize("name", MARKED)
def test_the_examples_of_a_page_work(name: str, tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    if "examples/" in PAGES[name].read_text():
        shutil.copytree(ROOT / "examples", tmp_path / "examples")
    with Reader(tmp_path, monkeypatch) as reader:
        reader.follow(PAGES[name], name)


PAGE = """
# A page

```python
x = 1
print(x)
```

```text
1
```

<!-- not run: for a reason -->
```console
$ true
```

<!-- run: with a server
x += 1
-->
```python
print(x, 8440)
```

```json
{}
```

```console
$ echo a; echo b
a
...
$ echo rinofs: that failed; false
rinofs: that failed
```
"""


@pytest.fixture
def page(tmp_path: Path) -> Path:
    page = tmp_path / "page.md"
    page.write_text(PAGE)
    return page


def test_blocks_are_found_with_what_is_said_about_them(page: Path) -> None:
    first, second, third, fourth = blocks_of(page)
    assert (first.language, first.text, first.line, first.expected) == (
        "python",
        "x = 1\nprint(x)\n",
        5,
        "1\n",
    )
    assert second.reason == "for a reason"
    assert (third.with_server, third.setup, third.expected) == (True, "x += 1", None)
    assert (fourth.language, fourth.with_server, fourth.setup, fourth.reason) == ("console", False, "", "")


def test_comments_that_say_something_unknown_are_refused(page: Path) -> None:
    page.write_text(PAGE.replace("with a server", "with two servers"))
    with pytest.raises(UnclearPageError, match="two servers"):
        blocks_of(page)


def test_a_block_that_is_not_run_needs_a_reason(page: Path) -> None:
    page.write_text(PAGE.replace("not run: for a reason", "not run:"))
    with pytest.raises(UnclearPageError):
        blocks_of(page)


@pytest.mark.parametrize(
    ("shown", "wrong"),
    [
        ("```text\n1\n", "```text\n2\n"),
        ("$ echo a; echo b\na\n", "$ echo a; echo b\nb\n"),
        ("rinofs: that failed\n", ""),
        ("$ echo a; echo b", "$ echo a; echo b; false"),
    ],
)
def test_differences_are_seen(
    shown: str, wrong: str, page: Path, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with Reader(tmp_path, monkeypatch) as reader:
        reader.follow(page, "page.md")
    page.write_text(PAGE.replace(shown, wrong))
    assert shown in PAGE
    with Reader(tmp_path, monkeypatch) as reader, pytest.raises(AssertionError, match="page"):
        reader.follow(page, "page.md")


def test_an_ellipsis_stands_for_anything() -> None:
    check("a\n...\nz\n", "a\nb\nc\nz\n", "here")
    with pytest.raises(AssertionError):
        check("a\n...\nz\n", "a\nb\nc\n", "here")
