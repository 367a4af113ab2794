"""Imports point downwards, as in the table in docs/architecture.md, and no modules import each other."""

from __future__ import annotations

import ast
import re
import sys
import tomllib
from collections import Counter
from functools import cache
from itertools import takewhile
from pathlib import Path
from typing import TYPE_CHECKING

import pytest

import rinofs

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(rinofs.__file__).parent
PAGE = ROOT.parent / "docs" / "architecture.md"
LARGEST_ROOM = 16

# The modules that may import a library; all others must go through them.
ONLY_IN = {
    "requests": {"http"},
    "urllib3": {"http"},
    "http.client": {"http"},
    "platformdirs": {"profiles"},
    "filelock": {"profiles", "server.runner"},
    "click": {"cli"},
    "sqlalchemy": {"server.catalog"},
    "alembic": {"server.catalog"},
    "psycopg": {"server.catalog.postgres"},
    "argon2": {"server.auth"},
    "uvicorn": {"server"},
    "prometheus_client": {"server.metrics"},
    "starlette": {"server", "testing"},
    "obstore": {"server.blobs"},
    "upath": {"fs"},
    "jsonschema": {"datapack"},
    "matplotlib": {"plotting"},
    "zarr": {"zarr"},
}

_MODULE = re.compile(r"(rinofs(?:\.\w+)+)(?::\w+)?")


def _modules() -> dict[str, Path]:
    found = {}
    for path in ROOT.rglob("*.py"):
        parts = ("rinofs", *path.relative_to(ROOT).with_suffix("").parts)
        found[".".join(parts[:-1] if parts[-1] == "__init__" else parts)] = path
    return found


MODULES = _modules()
_PACKAGES = {name for name, path in MODULES.items() if path.name == "__init__.py"}


class Row:
    """A row of the table of rooms: names of rooms or modules, and what they may import besides each other."""

    def __init__(self, line: str) -> None:
        cells = line.strip("|").split("|")
        self.names, self.below = (re.findall(r"`([\w.]+)`", cell) for cell in cells[:2])


def _rows() -> list[Row]:
    lines = PAGE.read_text("utf-8").splitlines()
    start = next(number for number, line in enumerate(lines) if line.startswith("| room | may import |"))
    return [Row(line) for line in takewhile(lambda line: line.startswith("|"), lines[start + 2 :])]


ROWS = _rows()
NAMES = {name: row for row in ROWS for name in row.names}


def _within(module: str, room: str) -> bool:
    """Return whether a module is in a room or below it; `rinofs` itself is its own modules alone."""
    if room == "rinofs":
        return module in {"rinofs", "rinofs._moved"}
    return f"{module}.".startswith(f"rinofs.{room}.")


def _room(module: str) -> str:
    """Return the most specific name in the table that includes a module."""
    rooms = [name for name in NAMES if _within(module, name)]
    assert rooms, f"docs/architecture.md says nothing of {module}: add it to the table of rooms"
    return max(rooms, key=len)


@cache
def _imports(path: Path) -> frozenset[str]:
    """Return everything that a module imports, anywhere in it and including imports only for types."""
    return frozenset(_imported(path))


def _imported(path: Path) -> Iterator[str]:
    for node in ast.walk(ast.parse(path.read_text("utf-8"))):
        if isinstance(node, ast.Import):
            yield from (alias.name for alias in node.names)
        elif isinstance(node, ast.ImportFrom):
            assert node.level == 0, f"{path}: relative imports hide where they lead"
            assert node.module is not None
            for alias in node.names:
                below = f"{node.module}.{alias.name}"
                yield below if below in MODULES else node.module


@cache
def _named(path: Path) -> frozenset[str]:
    """Return the modules whose names are strings in this module, which imports them on demand."""
    texts = {
        node.value for node in ast.walk(ast.parse(path.read_text("utf-8"))) if isinstance(node, ast.Constant)
    }
    matches = [_MODULE.fullmatch(text) for text in texts if isinstance(text, str)]
    return frozenset(match[1] for match in matches if match and match[1] in set(MODULES) - _PACKAGES)


def _own_imports(module: str) -> set[str]:
    return {name for name in _imports(MODULES[module]) if name.split(".")[0] == "rinofs"} - {module}


def _reachable(start: set[str]) -> set[str]:
    found: set[str] = set()
    ahead = set(start)
    while ahead:
        found |= ahead
        ahead = {name for module in ahead for name in _own_imports(module)} & set(MODULES) - found
    return found


@pytest.mark.parametrize("module", sorted(MODULES))
def test_a_module_imports_only_what_is_below_it(module: str) -> None:
    imported = _own_imports(module) | _named(MODULES[module])
    if not imported:
        return
    room = _room(module)
    row = NAMES[room]
    allowed = {*row.names, *row.below, *(name for name in NAMES if name.startswith(f"{room}."))}
    rooms = {_room(name) for name in imported}
    found = {(room, other) for other in rooms if not any(f"{other}.".startswith(f"{n}.") for n in allowed)}
    assert found == set()


def test_rows_of_the_table_allow_only_what_is_above_them_in_it() -> None:
    for number, row in enumerate(ROWS):
        earlier = {name for above in ROWS[:number] for name in above.names}
        assert [
            below for below in row.below if not any(f"{n}.".startswith(f"{below}.") for n in earlier)
        ] == []
        later = [name for after in ROWS[number:] for name in after.names]
        assert [name for name in later if any(f"{name}.".startswith(f"{b}.") for b in row.below)] == []


def test_every_row_of_the_table_has_modules() -> None:
    assert set(NAMES) == {_room(module) for module in MODULES if module not in _PACKAGES}
    assert sum(len(row.names) for row in ROWS) == len(NAMES)


def _circles() -> Iterator[list[str]]:
    """Yield cycles of modules that import each other, including imports for types."""
    reached = {module: _reachable(_own_imports(module)) for module in MODULES}
    for module in MODULES:
        together = sorted(name for name in reached[module] if name in MODULES and module in reached[name])
        if together and module == together[0]:
            yield together


def test_no_modules_import_each_other() -> None:
    assert list(_circles()) == []


def test_no_room_is_too_large() -> None:
    sizes = Counter(path.parent for path in MODULES.values() if path.name != "__init__.py")
    large = {
        ".".join(folder.relative_to(ROOT).parts) for folder, size in sizes.items() if size > LARGEST_ROOM
    }
    assert large == set()


@pytest.mark.parametrize("package", sorted(_PACKAGES))
def test_a_room_says_what_it_is_for(package: str) -> None:
    assert ast.get_docstring(ast.parse(MODULES[package].read_text("utf-8")))


# Modules that the server must not import, even indirectly: it answers requests and sends none.
CLIENT_ONLY = ["http", "fs", "rinocloud", "repovizz", "options", "profiles", "credentials"]


@pytest.mark.parametrize("part", ["server", "testing"])
def test_the_server_reaches_nothing_of_the_client(part: str) -> None:
    reached = _reachable({module for module in MODULES if _within(module, part)})
    assert not [module for module in reached if any(_within(module, room) for room in CLIENT_ONLY)]


@pytest.mark.parametrize("library", sorted(ONLY_IN))
def test_a_library_is_used_in_one_place(library: str) -> None:
    users = {
        module
        for module, path in MODULES.items()
        if any(name == library or name.startswith(f"{library}.") for name in _imports(path))
    }
    assert users
    elsewhere = {module for module in users if not any(_within(module, room) for room in ONLY_IN[library])}
    assert elsewhere == set()


def test_all_libraries_are_declared() -> None:
    project = tomllib.loads((ROOT.parent / "pyproject.toml").read_text("utf-8"))
    groups = [project["project"]["dependencies"], *project["project"]["optional-dependencies"].values()]
    named = {re.split(r"[^\w-]", line)[0].lower().replace("-", "_") for group in groups for line in group}
    # Packages with another import name, only for the type checker, or provided by the caller.
    declared = named | {"argon2", "PIL", "_typeshed", "upath", *sys.stdlib_module_names}
    used = {name.split(".")[0] for path in MODULES.values() for name in _imports(path)}
    assert used <= declared
