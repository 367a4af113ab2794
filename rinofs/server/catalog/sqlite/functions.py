"""SQL that only SQLite understands: JSON, texts in texts, numbers from texts.

Another database is one more module with these functions. Types of JSON values have SQLite's names: ``null``,
``true``, ``false``, ``integer``, ``real``, ``text``, ``array``, ``object``.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import Text, bindparam, func, select

from rinofs.protocol.records import NUL_STAND_IN
from rinofs.protocol.words import words_matcher

if TYPE_CHECKING:
    from collections.abc import Callable

    from sqlalchemy import ColumnElement, Select

__all__ = [
    "FALSE",
    "NUL_ESCAPE",
    "RANKS",
    "TRUE",
    "among",
    "array_or_empty",
    "compared",
    "contains",
    "each",
    "is_json",
    "is_key",
    "listed_numbers",
    "matches",
    "object_or_empty",
    "plain",
    "python_functions",
    "rank",
    "rank_or_null",
    "real",
    "tree",
]

TRUE, FALSE = "1", "0"
_MATCHES = "rinofs_matches"

NUL_ESCAPE = "\\u0000"
"""NUL in stored JSON."""

RANKS = {"text": 2, "array": 3, "object": 4, "integer": 1, "real": 1, "true": 0, "false": 0}
"""The positions of types in the order of types."""

_RANKED = " ".join(f"WHEN '{kind}' THEN {rank}" for kind, rank in RANKS.items() if rank)
_RANKED_OR_NULL = " ".join(f"WHEN '{kind}' THEN {rank}" for kind, rank in RANKS.items())


def compared(column: str) -> str:
    """Return a column of stored JSON text in the form that is compared."""
    return f"replace({column}, '{NUL_ESCAPE}', char({ord(NUL_STAND_IN)}))"


def is_json(column: ColumnElement[str]) -> ColumnElement[bool]:
    """Return whether a text is JSON."""
    return func.json_valid(column) == 1


def each(document: str, alias: str) -> str:
    """Return a table with the columns `key`, `value` and `type` of what is directly in a JSON text."""
    return f"json_each({document}) AS {alias}"


def among(value: str, values: str) -> str:
    """Return whether a value is one of those in a JSON list, which may be long."""
    return f"{value} IN (SELECT value FROM json_each({values}))"  # noqa: S608 (names of bound values)


def listed_numbers(name: str) -> Select[tuple[int]]:
    """Return the numbers of a JSON list that is bound to a name; the SQL is the same for any length."""
    return select(func.json_each(bindparam(name, type_=Text)).table_valued("value").c.value)


def tree(document: str, alias: str) -> str:
    """Return a table of all that is in a JSON text: `key`, `type`, and `atom`, a plain value or null."""
    return f"json_tree({document}) AS {alias}"


def is_key(alias: str) -> str:
    """Return whether a row of `tree` has a key, and not a position in a list."""
    return f"typeof({alias}.key) = 'text'"


def object_or_empty(value: str, kind: str) -> str:
    """Return a value if it is an object, else an empty one."""
    return f"CASE {kind} WHEN 'object' THEN {value} ELSE '{{}}' END"


def array_or_empty(value: str, kind: str) -> str:
    """Return a value if it is a list, else an empty one."""
    return f"CASE {kind} WHEN 'array' THEN {value} ELSE '[]' END"


def plain(value: str, kind: str) -> str:
    """Return a value unless it is a list or an object, else null."""
    return f"CASE WHEN {kind} NOT IN ('array', 'object') THEN {value} END"


def rank(kind: str) -> str:
    """Return the position of a type in the order of types."""
    return f"CASE {kind} {_RANKED} ELSE 0 END"


def rank_or_null(kind: str) -> str:
    """Return the position of a type in the order of types; null for null."""
    return f"CASE {kind} {_RANKED_OR_NULL} END"


def contains(value: str, part: str) -> str:
    """Return whether a text holds another one."""
    return f"instr({value}, {part}) > 0"


def matches(value: str, pattern: str) -> str:
    """Return whether a text holds a pattern as whole words; the function is one of `python_functions`."""
    return f"{_MATCHES}({value}, {pattern})"


def python_functions() -> dict[str, Callable[[Any, Any], bool]]:
    """Return what is written in Python of the functions here, by name; each takes two values."""
    return {_MATCHES: lambda text, pattern: isinstance(text, str) and words_matcher(pattern)(text)}


def real(text: str) -> str:
    """Return the number that a text stands for, to the same last bit as the same text in JSON."""
    return f"CAST({text} AS REAL)"
