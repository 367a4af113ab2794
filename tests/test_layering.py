"""Imports point downwards: each part of rinofs knows what is below it, and nothing of what is above."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from functools import cache
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rinofs

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(rinofs.__file__).parent

BOTTOM = {"errors", "protocol", "locks"}
CONFIG = {"credentials", "endpoints", "options", "profiles"}
CLIENT = BOTTOM | CONFIG | {"http", "fs"}

# What a part may import of rinofs beside itself.
BELOW: dict[str, set[str]] = {
    "errors": set(),
    "protocol": set(),
    "endpoints": {"errors"},
    "locks": set(),
    "options": {"errors"},
    "profiles": {"errors", "endpoints", "locks"},
    "credentials": {"errors", "endpoints", "profiles"},
    "http": {"errors", "protocol"},
    "fs": BOTTOM | CONFIG | {"http"},
    "rinocloud": CLIENT,
    "repovizz": CLIENT | {"datapack"},
    "datapack": CLIENT,
    "plotting": BOTTOM | {"datapack"},
    "server": BOTTOM | {"datapack"},
    "testing": BOTTOM | {"server"},
    "_moved": {"datapack", "fs"},
    "__main__": {"cli"},
    "__init__": {"errors", "_moved", "fs", "rinocloud", "repovizz", "datapack"},
    "cli": CLIENT | {"__init__", "rinocloud", "repovizz", "datapack", "plotting", "server", "testing"},
}

# What must stay out of the server's reach, by whatever way: it answers requests and sends none.
CLIENT_ONLY = {"http", "fs", "rinocloud", "repovizz", "options", "profiles", "credentials"}

# Who may import a library; all others have to ask them.
ONLY_IN = {
    "requests": {"http"},
    "urllib3": {"http"},
    "http.client": {"http"},
    "platformdirs": {"profiles"},
    "click": {"cli"},
    "sqlalchemy": {"server"},
    "alembic": {"server"},
    "argon2": {"server"},
    "uvicorn": {"server"},
    "starlette": {"server", "testing"},
    "upath": {"fs"},
    "jsonschema": {"datapack"},
    "matplotlib": {"plotting"},
}

_MODULE = re.compile(r"(rinofs(?:\.\w+)+)(?::\w+)?")


def _modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("rinofs", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()


def _part(module: str) -> str:
    return module.split(".")[1] if "." in module else "__init__"


@cache
def _imports(path: Path) -> frozenset[str]:
    return frozenset(_found_imports(path))


def _found_imports(path: Path) -> Iterator[str]:
    """Yield all that a module imports anywhere in it, by statement or by a name in a text."""
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            assert node.module is not None
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in MODULES else node.module
        elif isinstance(node, ast.Constant) and isinstance(node.value, str):
            named = _MODULE.fullmatch(node.value)
            if named and named[1] in MODULES:
                yield named[1]


def _own_imports(module: str) -> set[str]:
    return {name for name in _imports(MODULES[module]) if name.split(".")[0] == "rinofs"}


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_is_below_it(module: str) -> None:
    part = _part(module)
    assert part in BELOW, f"say in BELOW what {part} may import"
    imported = {_part(name) for name in _own_imports(module)} - {part}
    assert imported <= BELOW[part]


def test_the_parts_have_an_order() -> None:
    left = {part: set(below) & set(BELOW) for part, below in BELOW.items()}
    while left:
        free = {part for part, below in left.items() if not below}
        assert free, f"these import each other: {sorted(left)}"
        left = {part: below - free for part, below in left.items() if part not in free}


def _reachable(start: set[str]) -> set[str]:
    found: set[str] = set()
    ahead = set(start)
    while ahead:
        found |= ahead
        ahead = {name for module in ahead for name in _own_imports(module)} & set(MODULES) - found
    return found


@pytest.mark.parametrize("part", ["server", "testing"])
def test_the_server_reaches_nothing_of_the_client(part: str) -> None:
    reached = _reachable({module for module in MODULES if _part(module) == part})
    assert not {module for module in reached if _part(module) in CLIENT_ONLY}


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_is_used_in_one_place(library: str) -> None:
    users = {
        _part(module)
        for module, path in MODULES.items()
        if any(name == library or name.startswith(f"{library}.") for name in _imports(path))
    }
    assert users <= ONLY_IN[library]


def test_all_libraries_are_declared() -> None:
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text("utf-8"))
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    named = {re.split(r"[^\w-]", line)[0].lower().replace("-", "_") for group in groups for line in group}
    # Whose import has another name, what only the type checker has, and whose caller brings it.
    declared = named | {"argon2", "PIL", "_typeshed", "upath", *sys.stdlib_module_names}
    used = {name.split(".")[0] for path in MODULES.values() for name in _imports(path)}
    assert used <= declared
