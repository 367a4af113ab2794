"""Queries on SQLite: JSON, substrings, numbers from text, and indexes on metadata fields.

SQLite uses such an index if a query has exactly the same expressions, without bound values in them. Paths are
written in hexadecimal: nothing in a name can terminate them.
"""

# ruff: noqa: S608 (only constants and names of bound values are joined)

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import func, text
from sqlalchemy.ext.compiler import compiles

from rinofs.protocol.records import NUL_STAND_IN
from rinofs.protocol.words import words_matcher
from rinofs.server.catalog.queries.query_dialect import (
    INDEX_PREFIX,
    NUL_ESCAPE,
    Bound,
    Expressions,
    NumbersOfList,
    QueryDialect,
    rank,
    rank_or_null,
)
from rinofs.server.catalog.records import dump

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, Connection

__all__ = ["SQLITE", "is_json", "python_functions"]

_MATCHES = "rinofs_matches"
_PATH = re.compile(r"X'([0-9a-f]+)'")
_MADE = text("SELECT sql FROM sqlite_master WHERE type = 'index' AND name GLOB :pattern")


def is_json(column: ColumnElement[str]) -> ColumnElement[bool]:
    """Return the condition that a text is JSON."""
    return func.json_valid(column) == 1


def python_functions() -> dict[str, Callable[[Any, Any], bool]]:
    """Return the SQL functions that are written in Python, by name; each takes two values."""
    return {_MATCHES: lambda text, pattern: isinstance(text, str) and words_matcher(pattern)(text)}


class _SqliteQueries(QueryDialect):
    """The SQL of queries on SQLite."""

    tests_words = True

    @staticmethod
    def compared(column: str) -> str:
        return f"replace({column}, '{NUL_ESCAPE}', char({ord(NUL_STAND_IN)}))"

    def at(self, document: str, keys: Sequence[str], alias: str) -> str:
        sources, conditions = [], []
        for depth, key in enumerate(keys):
            here = alias if depth == len(keys) - 1 else f"{alias}{depth}"
            sources.append(f"json_each({document}) AS {here}")
            conditions.append(f"{here}.key = {key}")
            document = f"CASE {here}.type WHEN 'object' THEN {here}.value ELSE '{{}}' END"
        return f"FROM {', '.join(sources)} WHERE {' AND '.join(conditions)} AND {alias}.type <> 'null'"

    def items(self, value: str, kind: str, alias: str) -> str:
        return f"json_each(CASE {kind} WHEN 'array' THEN {value} ELSE '[]' END) AS {alias}"

    def keys(self, document: str, alias: str) -> str:
        return f"json_each({document}) AS {alias}"

    def tree(self, document: str, alias: str) -> str:
        return f"json_tree({document}) AS {alias}"

    def is_key(self, alias: str) -> str:
        return f"typeof({alias}.key) = 'text'"

    def number(self, value: str, kind: str) -> str:  # noqa: ARG002
        return value

    def bound_number(self, bound: Bound, value: float, *, in_column: bool) -> str:  # noqa: ARG002
        if isinstance(value, int) and -(2**63) <= value < 2**63:
            return bound.name(value)
        # As text, it is converted in the same way as the text in the JSON, to the same last bit.
        return f"CAST({bound.name(repr(value))} AS REAL)"

    def among(self, value: str, bound: Bound, values: Sequence[Any]) -> str:
        # As one value: binding each takes a hundred times longer than looking for it.
        return f"{value} IN (SELECT value FROM json_each({bound.name(dump(values))}))"

    def contains(self, value: str, part: str) -> str:
        return f"instr({value}, {part}) > 0"

    def order(self, value: str, kind: str, number: str) -> Sequence[str]:  # noqa: ARG002
        return [rank(kind), _plain(value, kind)]

    def distinct(self, value: str, kind: str, number: str, condition: str) -> str:  # noqa: ARG002
        found = f"SELECT DISTINCT {value} AS value, {kind} AS kind FROM objects WHERE {condition}"
        return f"{found} ORDER BY kind, value"

    def matches(self, value: str, pattern: str) -> str:
        return f"{_MATCHES}({value}, {pattern})"

    def expressions(self, paths: Sequence[Sequence[str]], column: str) -> Expressions:
        document = self.compared(column)
        values = [f"json_extract({document}, {_path(path)})" for path in paths]
        kinds = [f"nullif(json_type({document}, {_path(path)}), 'null')" for path in paths]
        value, kind = (one[0] if len(one) == 1 else f"coalesce({', '.join(one)})" for one in (values, kinds))
        columns = (rank_or_null(kind), _plain(value, kind))
        ranked, plain = columns
        return Expressions(value, kind, ranked, number=plain, text=plain, columns=columns, order=columns)

    def index_names(self, connection: Connection) -> set[str]:
        made = connection.scalars(_MADE, {"pattern": f"{INDEX_PREFIX}*"})
        paths = [bytes.fromhex(match[1]).decode() for sql in made if (match := _PATH.search(sql))]
        return {path.removeprefix('$."').removesuffix('"') for path in paths}

    def make_index(self, connection: Connection, field: str, paths: Sequence[Sequence[str]]) -> None:
        found = self.expressions(paths, "metadata")
        present = f"version_of IS NULL AND {found.rank} IS NOT NULL"
        columns = ", ".join(("owner", *found.columns))
        connection.exec_driver_sql(f"CREATE INDEX {_name(field)} ON objects ({columns}) WHERE {present}")

    def remove_index(self, connection: Connection, field: str) -> bool:
        present = field in self.index_names(connection)
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {_name(field)}")
        return present


SQLITE = _SqliteQueries()
"""The query dialect of SQLite."""


@compiles(NumbersOfList, "sqlite")
def _numbers_of_list(element: NumbersOfList, compiler: Any, **options: Any) -> str:
    return f"json_each({compiler.process(element.clauses, **options)})"


def _plain(value: str, kind: str) -> str:
    """Return the SQL for a value, or null if it is a list or an object."""
    return f"CASE WHEN {kind} NOT IN ('array', 'object') THEN {value} END"


def _path(keys: Sequence[str]) -> str:
    path = "$" + "".join(f'."{key}"' for key in keys)
    return f"CAST(X'{path.encode().hex()}' AS TEXT)"


def _name(field: str) -> str:
    return INDEX_PREFIX + hashlib.sha256(field.encode()).hexdigest()[:24]
