"""Queries on PostgreSQL: JSON, substrings, numbers from text, and indexes on metadata fields.

JSON keeps the type `json`: `jsonb` would change the order of keys and the notation of numbers. Text is
compared and sorted by bytes, which is the order of code points, whatever the collation of the database.
"""

# ruff: noqa: S608 (only constants and names of bound values are joined)

from __future__ import annotations

import hashlib
import re
from typing import TYPE_CHECKING, Any

from sqlalchemy import text
from sqlalchemy.ext.compiler import compiles

from rinofs.protocol.records import NUL_STAND_IN
from rinofs.protocol.words import literal_parts
from rinofs.server.catalog.postgres.driver import driver_of
from rinofs.server.catalog.queries.query_dialect import (
    INDEX_PREFIX,
    NUL_ESCAPE,
    RANKS,
    Bound,
    Expressions,
    NumbersOfList,
    QueryDialect,
    TextSource,
    rank,
)

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

__all__ = ["POSTGRESQL"]

# The comment is set last. An index without one, or an invalid one, is being built or was never finished.
_MADE = text(
    "SELECT obj_description(indexrelid, 'pg_class') FROM pg_index JOIN pg_class ON pg_class.oid = indexrelid"
    " WHERE indrelid = to_regclass('objects') AND starts_with(relname, :prefix) AND indisvalid"
    " AND obj_description(indexrelid, 'pg_class') IS NOT NULL"
)
_EXISTS = text("SELECT to_regclass(:name) IS NOT NULL")
_WAIT = b"BEGIN; LOCK TABLE objects IN SHARE UPDATE EXCLUSIVE MODE; COMMIT"

# Characters that JSON does not escape, and the non-ASCII letters whose lower case is i and k.
_WRITTEN_AS_IT_IS = re.compile(r"[!#-\[\]-~]+")
_OTHER_LETTERS = "translate({}, '\u0130\u212a', 'ik')"

_LEAST = "CAST('-9223372036854775808' AS numeric)"
_LARGEST = "CAST('9223372036854775807' AS numeric)"
_EXACT = 2**53
"""Below it, doubles represent all integers, and decimals compare to integers as their doubles do."""
_LEAST_REAL = "CAST('-9223372036854775808' AS float8)"
_LARGEST_REAL = "CAST('9223372036854774784' AS float8)"  # that fits into a bigint

_INDEXED = 250
"""Characters of a text that are indexed; an index row has at most 2704 bytes."""
_TYPES = {"string": "text", "number": "real", "array": "array", "object": "object", "boolean": "true"}
_RANKED = " ".join(f"WHEN '{name}' THEN {RANKS[kind]}" for name, kind in _TYPES.items())


class _PostgresQueries(QueryDialect):
    """The SQL of queries on PostgreSQL."""

    tests_words = False

    def parameter(self, name: str, value: object) -> str:
        if isinstance(value, str):
            return f"CAST({name} AS text)"
        if isinstance(value, int):
            return f"CAST({name} AS bigint)"
        return f"CAST({name} AS text[])"

    @staticmethod
    def compared(column: str) -> str:
        return f"replace({column}, '{NUL_ESCAPE}', chr({ord(NUL_STAND_IN)}))"

    # Parts of JSON texts, as tables

    def at(self, document: str, keys: Sequence[str], alias: str) -> str:
        path = "".join(f" -> {key}" for key in keys)
        # OFFSET 0 keeps the text from being parsed again for each use of the result.
        found = f"SELECT CAST({document} AS json){path} AS node OFFSET 0"
        return (
            f"FROM (SELECT {_value('node')} AS value, {_kind('node')} AS type FROM ({found}) AS nodes"
            f" WHERE json_typeof(node) <> 'null') AS {alias} WHERE TRUE"
        )

    def items(self, value: str, kind: str, alias: str) -> str:
        found = f"CAST(CASE {kind} WHEN 'array' THEN {value} ELSE '[]' END AS json)"
        return (
            f"LATERAL (SELECT {_value('node')} AS value, {_kind('node')} AS type"
            f" FROM json_array_elements({found}) AS nodes(node)) AS {alias}"
        )

    def keys(self, document: str, alias: str) -> str:
        return f"LATERAL json_object_keys(CAST({self.compared(document)} AS json)) AS {alias}(key)"

    def tree(self, document: str, alias: str) -> str:
        members = f"SELECT key, value FROM json_each({_node_or('object', '{}')})"
        items = f"SELECT NULL, value FROM json_array_elements({_node_or('array', '[]')})"
        nodes = (
            f"SELECT NULL, CAST({document} AS json)"
            f" UNION ALL SELECT below.* FROM nodes, LATERAL ({members} UNION ALL {items}) AS below"
        )
        atom = f"CASE WHEN json_typeof(node) NOT IN ('array', 'object') THEN {_value('node')} END"
        return (
            f"LATERAL (WITH RECURSIVE nodes(key, node) AS ({nodes})"
            f" SELECT key, {atom} AS atom, {_kind('node')} AS type FROM nodes) AS {alias}"
        )

    def is_key(self, alias: str) -> str:
        return f"{alias}.key IS NOT NULL"

    # Values

    def number(self, value: str, kind: str) -> str:
        exact = f"CAST({value} AS numeric)"
        real = f"abs(CAST({value} AS float8))"
        return (
            f"CASE {kind} WHEN 'true' THEN 1 WHEN 'false' THEN 0"
            f" WHEN 'integer' THEN CASE WHEN length({value}) < 19 THEN {exact}"
            f" WHEN {exact} BETWEEN {_LEAST} AND {_LARGEST} THEN {exact} ELSE {_large(value)} END"
            f" WHEN 'real' THEN CASE WHEN {real} < {_EXACT} THEN {exact}"
            f" ELSE {_large(value)} END END"
        )

    def bound_number(self, bound: Bound, value: float, *, in_column: bool) -> str:
        if in_column and value == int(value) and -(2**63) <= value < 2**63:
            return bound.name(int(value))
        kind = "'integer'" if isinstance(value, int) else "'real'"
        return self.number(bound.name(_written(value)), kind)

    def among(self, value: str, bound: Bound, values: Sequence[Any]) -> str:
        if isinstance(values[0], str):
            return f"{value} IN (SELECT unnest({bound.name(list(values))}))"
        wanted = self.number("one", _kind_of_number("one"))
        return (
            f"{value} IN (SELECT {wanted} FROM unnest({bound.name([*map(_written, values)])}) AS these(one))"
        )

    def sorted_text(self, value: str) -> str:
        return f'{value} COLLATE "C"'

    def contains(self, value: str, part: str) -> str:
        return f"strpos({value}, {part}) > 0"

    def order(self, value: str, kind: str, number: str) -> Sequence[str]:
        if kind.startswith("'"):
            return {"'text'": [f'{value} COLLATE "C"'], "'integer'": [number]}.get(kind, [])
        return [rank(kind), number, f"CASE {kind} WHEN 'text' THEN {value} END COLLATE \"C\""]

    def distinct(self, value: str, kind: str, number: str, condition: str) -> str:
        if kind.startswith("'"):
            kind, number = f"CAST({kind} AS text)", number if kind == "'integer'" else "NULL"
        columns = f"CAST({value} AS text) AS value, {kind} AS kind, {number} AS number"
        found = f"(SELECT {columns} FROM objects WHERE {condition}) AS found"
        each = 'kind COLLATE "C", number, CASE WHEN number IS NULL THEN value END COLLATE "C"'
        return f"SELECT DISTINCT ON ({each}) value, kind FROM {found} ORDER BY {each}"

    # Words

    def text_sources(self, value: str, kind: str, raw: str | None) -> Sequence[TextSource]:
        kinds = {"text", "array"}
        if kind.startswith("'"):
            kinds, kind = kinds & {kind.strip("'")}, f"CAST({kind} AS text)"
        it = f", LATERAL (SELECT {value} AS value, {kind} AS type OFFSET 0) AS it"
        items = f"{it}, {self.items('it.value', 'it.type', 'item')}"
        found = {
            "text": TextSource(it, "it.value", "it.type = 'text'", raw),
            "array": TextSource(items, "item.value", "item.type = 'text'", raw),
        }
        return [source for kind, source in found.items() if kind in kinds]

    def word_candidates(self, bound: Bound, source: TextSource, pattern: str) -> str:
        found = (
            f"SELECT objects.id, {source.text} AS text FROM objects{source.tables} WHERE {source.condition}"
        )
        runs = [run for part in literal_parts(pattern) for run in _WRITTEN_AS_IT_IS.findall(part)]
        if not runs:
            return found
        run = bound.name(max(runs, key=len))
        texts = [source.text] if source.raw is None else [source.raw, source.text]
        return found + "".join(f" AND {_holds_somehow(text, run)}" for text in texts)

    def among_ids(self, name: str) -> str:
        return f"objects.id IN (SELECT unnest(CAST({name} AS bigint[])))"

    # Indexes on metadata fields

    def expressions(self, paths: Sequence[Sequence[str]], column: str) -> Expressions:
        document = f"CAST({self.compared(column)} AS json)"
        nodes = [f"({document}{''.join(f' -> {_literal(key)}' for key in path)})" for path in paths]
        node = nodes[0]
        if len(nodes) > 1:
            node = f"(CASE WHEN json_typeof({node}) <> 'null' THEN {node} ELSE {nodes[1]} END)"
        value, type_ = _value(node), f"CASE json_typeof({node})"
        kind = f"nullif({_kind(node)}, 'null')"
        number = self.number(value, kind)
        ranked = f"{type_} {_RANKED} END"
        nearest = f"{type_} WHEN 'number' THEN CAST({value} AS float8) WHEN 'boolean' THEN"
        nearest += f" CAST(CAST(CAST({value} AS boolean) AS integer) AS float8) END"
        start = f"{type_} WHEN 'string' THEN left({value}, {_INDEXED}) END COLLATE \"C\""
        columns = (ranked, nearest, start)
        order = (*columns, number, f"{type_} WHEN 'string' THEN {value} END COLLATE \"C\"")
        return Expressions(value, kind, ranked, number=number, text=value, columns=columns, order=order)

    def by_index(
        self,
        bound: Bound,
        found: Expressions,
        comparison: str,
        values: Sequence[Any],
        exact: Callable[[], str],
    ) -> str:
        _, nearest, start = found.columns
        if isinstance(values[0], str):
            column, type_, known = start, "text", [value[:_INDEXED] for value in values]
            is_all = all(len(value) < _INDEXED for value in values)
        else:
            column, type_, known = nearest, "float8", [_written(value) for value in values]
            is_all = all(-_EXACT < value < _EXACT for value in values)
        if comparison == "=":
            condition = f"{column} = ANY(CAST({bound.name(known)} AS {type_}[]))"
        else:
            wanted = f"CAST({bound.name(known[0])} AS {type_})"
            condition = f"{column} {comparison if is_all else f'{comparison[0]}='} {wanted}"
        return condition if is_all else f"{condition} AND {exact()}"

    def index_names(self, connection: Connection) -> set[str]:
        return set(connection.scalars(_MADE, {"prefix": INDEX_PREFIX}))

    def make_index(self, connection: Connection, field: str, paths: Sequence[Sequence[str]]) -> None:
        self.remove_index(connection, field)
        for statement in self._making(field, paths):
            connection.exec_driver_sql(statement)

    def remove_index(self, connection: Connection, field: str) -> bool:
        present = _exists(connection, field)
        connection.exec_driver_sql(f"DROP INDEX IF EXISTS {_name(field)}")
        return present

    # https://www.postgresql.org/docs/current/sql-createindex.html#SQL-CREATEINDEX-CONCURRENTLY

    def make_index_online(self, connection: Connection, field: str, paths: Sequence[Sequence[str]]) -> None:
        self.remove_index_online(connection, field)
        driver = driver_of(connection)  # if interrupted, it cancels the statement and stays open
        try:
            for statement in self._making(field, paths, " CONCURRENTLY"):
                driver.execute(statement.encode())
        except BaseException:
            if not driver.closed:
                self.remove_index_online(connection, field)
            raise

    def remove_index_online(self, connection: Connection, field: str) -> bool:
        # PostgreSQL completes the index of a killed process. Unlike DROP INDEX, this waits without a
        # snapshot, for whose end the building of that index may wait.
        driver_of(connection).execute(_WAIT)
        present = _exists(connection, field)
        driver_of(connection).execute(f"DROP INDEX CONCURRENTLY IF EXISTS {_name(field)}".encode())
        return present

    def _making(self, field: str, paths: Sequence[Sequence[str]], how: str = "") -> Iterator[str]:
        """Yield the statements that make an index."""
        found = self.expressions(paths, "metadata")
        columns = ", ".join(("owner", *(f"({column})" for column in found.columns)))
        name = _name(field)
        present = f"version_of IS NULL AND {found.rank} IS NOT NULL"
        yield f"CREATE INDEX{how} {name} ON objects ({columns}) WHERE {present}"
        # Without statistics, the planner would hardly ever choose the index.
        yield "ANALYZE objects"
        yield f"COMMENT ON INDEX {name} IS {_literal(field)}"


POSTGRESQL = _PostgresQueries()
"""The query dialect of PostgreSQL."""


@compiles(NumbersOfList, "postgresql")
def _numbers_of_list(element: NumbersOfList, compiler: Any, **options: Any) -> str:
    numbers = compiler.process(element.clauses, **options)
    return f"(SELECT CAST(value AS bigint) AS value FROM json_array_elements_text(CAST({numbers} AS json)))"


def _value(node: str) -> str:
    """Return the SQL for a JSON value as text: strings without quotes and escapes, all else as written."""
    return f"({node} #>> '{{}}')"


def _kind(node: str) -> str:
    """Return the SQL for the type of a JSON value."""
    return (
        f"CASE json_typeof({node}) WHEN 'string' THEN 'text' WHEN 'boolean' THEN CAST({node} AS text)"
        f" WHEN 'number' THEN {_kind_of_number(f'CAST({node} AS text)')} ELSE json_typeof({node}) END"
    )


def _kind_of_number(value: str) -> str:
    return f"CASE WHEN {value} ~ '[.eE]' THEN 'real' ELSE 'integer' END"


def _node_or(kind: str, empty: str) -> str:
    return f"CASE json_typeof(node) WHEN '{kind}' THEN node ELSE '{empty}' END"


def _large(value: str) -> str:
    """Return the SQL for a double of 2**53 or more as a number, exact where a bigint can hold it."""
    real = f"CAST({value} AS float8)"
    return (
        f"CASE WHEN {real} BETWEEN {_LEAST_REAL} AND {_LARGEST_REAL}"
        f" THEN CAST(CAST({real} AS bigint) AS numeric) ELSE CAST(CAST({real} AS text) AS numeric) END"
    )


def _written(number: float) -> str:
    """Return a number as text that PostgreSQL can parse."""
    if isinstance(number, int):
        try:
            float(number)
        except OverflowError:
            return "Infinity" if number > 0 else "-Infinity"
    return repr(number)


def _holds_somehow(text: str, run: str) -> str:
    """Return the SQL for whether a text may contain some lower-case characters, ignoring its case."""
    return f'strpos(lower({_OTHER_LETTERS.format(text)} COLLATE "C"), {run}) > 0'


def _literal(value: str) -> str:
    """Return a text as an SQL literal that nothing in the text can terminate."""
    return "U&'" + "".join(f"\\+{ord(character):06x}" for character in value) + "'"


def _exists(connection: Connection, field: str) -> bool:
    return bool(connection.scalar(_EXISTS, {"name": _name(field)}))


def _name(field: str) -> str:
    return INDEX_PREFIX + hashlib.sha256(field.encode()).hexdigest()[:24]
