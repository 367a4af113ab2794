"""No two modules or classes share a name, unless they do the same thing in two rooms."""

from __future__ import annotations

import ast
from collections import defaultdict
from pathlib import Path
from typing import TYPE_CHECKING

import rinofs

if TYPE_CHECKING:
    from collections.abc import Iterator

ROOT = Path(rinofs.__file__).parent

# Names that several modules share, each list with the reason.
SHARED_MODULES = {
    "each room that raises errors of its own has them here": {"errors"},
    "what SQLite and PostgreSQL do in their own ways": {"functions", "transactions"},
    "the parts of a filesystem, which each service has": {
        "auth",
        "backend",
        "changes",
        "client",
        "filesystem",
        "login",
        "moves",
        "oauth",
        "records",
        "resolver",
        "uploads",
    },
    "the same endpoints or operations, at the client, in the API and in the catalog": {
        "bundles",
        "datapacks",
        "listings",
        "ranges",
    },
    "what both APIs of the server and its login pages have": {"requests", "routes"},
    "the rules, and the rows that they are about": {"accounts", "grants"},
    "the same kind of file or recording, read and written, or laid out as arrays": {
        "events",
        "reading",
        "recordings",
        "repovizz1",
    },
    "a command has the name of what it does, and a library of what does it": {
        "content",
        "credentials",
        "query",
    },
    "what is stored in one place: contents, and rows": {"store"},
    "the limits of the protocol, and of a connection": {"limits"},
    "a process of this machine: forked, or started for a test": {"process"},
    "connections to one server, from either end": {"connections"},
    "values of fields: what they can be, and as SQL": {"values"},
}
SHARED_CLASSES = {
    "the parts of a filesystem, which each service has": {"Changes", "Features", "Resolver", "Uploader"},
    "what a service tells of a user": {"Account"},
    "a datapack as a service lists it, at both ends": {"Datapack"},
    "a cached value with its time": {"_Dated"},
}


def _sources() -> Iterator[Path]:
    return (path for path in ROOT.rglob("*.py") if "migrations" not in path.parts)


def _repeated(places: dict[str, list[str]], reasons: dict[str, set[str]]) -> dict[str, list[str]]:
    allowed = set().union(*reasons.values())
    return {name: found for name, found in places.items() if len(found) > 1 and name not in allowed}


def _modules() -> dict[str, list[str]]:
    found = defaultdict(list)
    for path in _sources():
        if not path.stem.startswith("__"):
            found[path.stem].append(str(path.relative_to(ROOT)))
    return found


def _classes() -> dict[str, list[str]]:
    found = defaultdict(list)
    for path in _sources():
        for node in ast.walk(ast.parse(path.read_text("utf-8"))):
            if isinstance(node, ast.ClassDef):
                found[node.name].append(f"{path.relative_to(ROOT)}:{node.lineno}")
    return found


def test_no_two_modules_share_a_name() -> None:
    assert _repeated(_modules(), SHARED_MODULES) == {}


def test_no_two_classes_share_a_name() -> None:
    assert _repeated(_classes(), SHARED_CLASSES) == {}


def test_names_that_may_be_shared_are_shared() -> None:
    for places, reasons in ((_modules(), SHARED_MODULES), (_classes(), SHARED_CLASSES)):
        for names in reasons.values():
            assert {name for name in names if len(places[name]) < 2} == set()
