"""What users can name is in the documentation, and its links lead somewhere."""

from __future__ import annotations

import ast
import builtins
import inspect
import re
from typing import TYPE_CHECKING

import pytest
from fsspec import AbstractFileSystem

import rinofs
import rinofs.testing
from rinofs import errors
from rinofs.datapack.filesystem import DatapackFileSystem
from rinofs.options import OPTION_NAMES
from tests.docs.blocks import ROOT, pages, prose_of

if TYPE_CHECKING:
    from collections.abc import Iterator
    from pathlib import Path
    from types import ModuleType

DOCS = ROOT / "docs"
ENVIRONMENT = re.compile(r"(RINOFS|FSSPEC|REQUESTS|CURL|SSL)_[A-Z_]+")


def page(name: str) -> str:
    return (DOCS / name).read_text()


def everything() -> str:
    return "\n".join(page.read_text() for page in pages())


def is_filesystem(kind: type) -> bool:
    return issubclass(kind, AbstractFileSystem)


def named_options(kind: type[AbstractFileSystem]) -> set[str]:
    """Return the keyword-only options of a filesystem's constructors."""
    found: set[str] = set()
    for base in kind.__mro__:
        if base.__module__.startswith("rinofs") and "__init__" in vars(base):
            parameters = inspect.signature(vars(base)["__init__"]).parameters.values()
            found |= {one.name for one in parameters if one.kind is one.KEYWORD_ONLY}
    return found


SERVICES = [
    value
    for name in rinofs.__all__
    if isinstance(value := getattr(rinofs, name), type) and is_filesystem(value)
]


@pytest.mark.parametrize("kind", SERVICES)
def test_options_of_services(kind: type[AbstractFileSystem]) -> None:
    options = OPTION_NAMES | named_options(kind)
    assert {"endpoint_url", "token", "profile", "block_size"} <= options
    text = everything()
    assert [name for name in sorted(options) if f"\n| `{name}` |" not in text] == []


def test_options_of_datapacks() -> None:
    options = named_options(DatapackFileSystem)
    assert "listings_expiry_time" in options
    assert [name for name in sorted(options) if name not in page("datapacks.md")] == []


def test_errors() -> None:
    text = page("errors.md")
    missing = [name for name in errors.__all__ if f"`{name}`" not in text]
    assert missing == []


def test_errors_are_the_builtin_ones_that_the_page_names() -> None:
    rows = dict(re.findall(r"^\| `(\w+)` \| `(\w+)` \|", page("errors.md"), re.MULTILINE))
    kinds = [name for name in errors.__all__ if not name.endswith("Warning")]
    assert len(rows) == len(kinds) - 1  # all but the root of the tree
    for name, builtin in rows.items():
        assert issubclass(getattr(errors, name), getattr(builtins, builtin))


def test_warnings() -> None:
    text = everything()
    kinds = {node.name for _, node in _classes() if _is_warning(node)}
    assert "NotWrittenWarning" in kinds
    assert [name for name in sorted(kinds) if name not in text] == []


def test_environment_variables() -> None:
    found = {text for _, text in _texts() if ENVIRONMENT.fullmatch(text)}
    assert {"RINOFS_CONFIG_DIR", "RINOFS_CACHE_SIZE", "REQUESTS_CA_BUNDLE"} <= found
    services = {f"FSSPEC_RINO_{option}" for option in ("ENDPOINT_URL", "TOKEN")}
    text = everything()
    assert [name for name in sorted(found | services) if name not in text] == []


@pytest.mark.parametrize("module", [rinofs, rinofs.testing], ids=lambda module: module.__name__)
def test_public_names(module: ModuleType) -> None:
    names = [name for name in module.__all__ if name != "__version__"]
    assert names
    text = everything()
    assert [name for name in names if not re.search(rf"\b{name}\b", text)] == []


def _trees() -> Iterator[tuple[Path, ast.Module]]:
    for path in sorted((ROOT / "rinofs").rglob("*.py")):
        yield path, ast.parse(path.read_text())


def _classes() -> Iterator[tuple[Path, ast.ClassDef]]:
    for path, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.ClassDef):
                yield path, node


def _is_warning(node: ast.ClassDef) -> bool:
    return any(isinstance(base, ast.Name) and base.id.endswith("Warning") for base in node.bases)


def _texts() -> Iterator[tuple[Path, str]]:
    for path, tree in _trees():
        for node in ast.walk(tree):
            if isinstance(node, ast.Constant) and isinstance(node.value, str):
                yield path, node.value


# Links


def slugs(text: str) -> set[str]:
    """Return the anchors that headings get."""
    prose = re.sub(r"^```.*?^```", "", text, flags=re.MULTILINE | re.DOTALL)
    headings = re.findall(r"^#+ +(.+?) *$", prose, re.MULTILINE)
    return {re.sub(r"[^\w\- ]", "", heading.lower()).replace(" ", "-") for heading in headings}


LINKS = [
    (source, target)
    for source in pages()
    for target in re.findall(r"\]\(([^)\s]+)\)", prose_of(source))
    if "://" not in target
]


@pytest.mark.parametrize(
    ("source", "target"), LINKS, ids=[f"{source.name}: {target}" for source, target in LINKS]
)
def test_links_between_pages_resolve(source: Path, target: str) -> None:
    file, _, anchor = target.partition("#")
    path = (source.parent / file).resolve() if file else source
    assert path.is_file()
    assert path.is_relative_to(ROOT)
    if anchor:
        assert anchor in slugs(path.read_text())


def test_every_page_is_in_the_table_of_contents() -> None:
    _, _, after = page("index.md").partition("```{toctree}")
    listed = after.partition("```")[0].split()
    included = {"cli_reference"}
    pages_there = {path.stem for path in DOCS.glob("*.md")} - {"index"} - included
    assert pages_there <= set(listed)
