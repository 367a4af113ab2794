"""Indexes on metadata fields, and the conditions that they answer.

An index sorts the objects of each user by the type of the field's value, and then by the value. A condition
finds the same objects with or without an index, so it does not matter when a server notices one.
"""

from __future__ import annotations

import re
import time
from typing import TYPE_CHECKING, Any

from rinofs.protocol.operators import QueryError
from rinofs.protocol.records import METADATA, RECORD_FIELDS, field_parts, metadata_name
from rinofs.server.catalog.database import kind_of
from rinofs.server.catalog.queries.query_dialect import FALSE, RANKS, TRUE
from rinofs.server.catalog.queries.values import Cell, Field, text_value
from rinofs.server.errors import BadRequest, Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from rinofs.server.catalog.database import Database
    from rinofs.server.catalog.queries.query_dialect import Bound, Expressions, TextSource
    from rinofs.server.catalog.records import User

__all__ = ["FieldIndexes", "IndexedField", "indexed", "is_answered", "restore", "shown"]

MAX_INDEXES = 32
"""Maximum number of indexes: each one slows down every change of an object."""
MAX_INDEXED_LENGTH = 200
"""Maximum length of the name of an indexed field."""

# What stands as it is in JSON, and between the quotes of a path.
_PLAIN_NAME = re.compile(
    r'[^"\\\x00-\x1f\x7f]+'
)  # what stands in JSON, and between quotes in a path, as it is
_FOUND = "SELECT objects.id FROM objects"
_IN_INDEX = f"objects.id IN ({_FOUND}"
_NOTICED = 2.0  # seconds


def indexed(connection: Connection) -> list[str]:
    """Return the fields that have an index, sorted."""
    return sorted(kind_of(connection).queries.index_names(connection))


def restore(connection: Connection, fields: Sequence[str]) -> None:
    """Create again those of some indexes that are missing."""
    for field in set(fields) - kind_of(connection).queries.index_names(connection):
        kind_of(connection).queries.make_index(connection, field, _paths(field))


def shown(field: str) -> str:
    """Return the name by which a query finds a field of the metadata."""
    return f"{METADATA}.{field}" if field in RECORD_FIELDS or field.startswith("$") else field


def is_answered(condition: str) -> bool:
    """Return whether an index answers at least part of a condition."""
    return _IN_INDEX in condition


def _checked(name: str) -> str:
    field = metadata_name(name)
    if name in RECORD_FIELDS:
        message = f"{name}: this is a field of records; metadata.{name} is the one in the metadata"
        raise BadRequest(message, field="field")
    if len(field) > MAX_INDEXED_LENGTH or _PLAIN_NAME.fullmatch(field) is None or field == "*":
        wanted = f"1 to {MAX_INDEXED_LENGTH} characters, and no double quotes, backslashes or controls"
        shortened = ascii(name[:MAX_INDEXED_LENGTH])
        raise BadRequest(f"{shortened}: the name of an indexed field has {wanted}", field="field")
    try:
        text_value(field)
    except QueryError as error:
        raise BadRequest(f"{field!a}: {error}", field="field") from error
    return field


def _paths(field: str) -> list[list[str]]:
    """Return the nested keys that may lead to a field: its whole name or, failing that, the parts of it."""
    parts = field_parts(field)
    return [[field], parts] if len(parts) > 1 else [[field]]


class FieldIndexes:
    """The fields that have an index, up to date within seconds, as other processes may add some.

    Parameters
    ----------
    database : Database
        Their database.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._read_at = float("-inf")
        self._fields: frozenset[str] = frozenset()

    def fields(self) -> frozenset[str]:
        """Return the fields."""
        now = time.monotonic()
        if now - self._read_at > _NOTICED:
            with self._database.read() as connection:
                self._fields = frozenset(kind_of(connection).queries.index_names(connection))
            self._read_at = now
        return self._fields

    def add(self, name: str) -> str:
        """Create an index on a field, and return the name of the field.

        On PostgreSQL, others can write meanwhile; it waits for transactions that started before.

        Raises
        ------
        BadRequest
            If the field cannot have one.
        Conflict
            If it has one, or there are too many.
        """
        field = _checked(name)
        with self._database.index_changes() as connection:
            dialect = kind_of(connection).queries
            present = dialect.index_names(connection)
            if field in present:
                raise Conflict(f"{shown(field)}: the field has an index", field="field")
            if len(present) >= MAX_INDEXES:
                message = f"{shown(field)}: there are {MAX_INDEXES} indexes; drop one first"
                raise Conflict(message, field="field")
            dialect.make_index_online(connection, field, _paths(field))
        return field

    def drop(self, name: str) -> str:
        """Remove the index on a field, and return the name of the field.

        Raises
        ------
        NotFound
            If it has none.
        """
        field = metadata_name(name)
        with self._database.index_changes() as connection:
            if not kind_of(connection).queries.remove_index_online(connection, field):
                raise NotFound(f"{shown(field)}: the field has no index", field="field")
        return field


class IndexedField(Field):
    """A metadata field that has an index.

    Parameters
    ----------
    bound : Bound
        Receives the values of the statement.
    user : User
        Owner of the objects.
    field : str
        The field.
    """

    def __init__(self, bound: Bound, user: User, field: str) -> None:
        super().__init__(bound, user)
        self._found = self._dialect.expressions(_paths(field), "objects.metadata")

    def where(self, holds: Callable[[Cell], str]) -> str:
        """Return whether an object has the field, with a value that meets a condition; never null."""
        cell = _IndexedCell(self._bound, self._found)
        holds(cell)  # the cell records the conditions, by type
        if not cell.found:
            return FALSE
        # SQLite uses an index for each of several queries, but rarely for parts of one condition.
        mine = f"objects.owner = {self._bound.name(self._user.id)} AND objects.version_of IS NULL"
        each = [f"{_FOUND} WHERE {mine} AND {one}" for one in cell.found]
        return f"{_IN_INDEX}{' UNION ALL '.join(each).removeprefix(_FOUND)})"

    def present(self) -> str:
        """Return whether an object has the field; never null."""
        return f"{self._found.rank} IS NOT NULL"

    def absent(self) -> str:
        """Return whether an object lacks the field; never null."""
        return f"{self._found.rank} IS NULL"

    def scalar(self) -> tuple[str, str, str]:
        """Return the value of the field, its JSON type, and its number; null for objects without it."""
        return self._found.value, self._found.kind, self._found.number

    def texts(self) -> Sequence[TextSource]:
        """Return the sources of its texts."""
        return self._dialect.text_sources(self._found.value, self._found.kind, "objects.metadata")

    def order(self) -> Sequence[str]:
        """Return the ORDER BY terms of the field, in the order of the index."""
        return self._found.order


class _IndexedCell(Cell):
    """A value in an index, by type.

    Attributes
    ----------
    found : list of str
        Conditions, each for values of one type; one of them must hold.
    """

    def __init__(self, bound: Bound, found: Expressions) -> None:
        super().__init__(bound, found.text, found.kind)
        self._expressions = found
        self.found: list[str] = []

    @property
    def number(self) -> str:
        """The value in the form in which numbers are compared."""
        return self._expressions.number

    def typed(self, condition: str, *kinds: str) -> str:
        if kinds[0] in {"true", "false"}:
            condition = f"{self._expressions.columns[1]} = {int(kinds[0] == 'true')}"
        self.found.append(f"{self._expressions.rank} = {RANKS[kinds[0]]} AND {condition}")
        return TRUE

    def equals(self, values: Sequence[object]) -> str:
        super().equals([value for value in values if not isinstance(value, list | dict)])
        for kind, type_ in (("array", list), ("object", dict)):
            some = [value for value in values if isinstance(value, type_)]
            if some:
                self.typed(Cell(self._bound, self._expressions.value, f"'{kind}'").equals(some), kind)
        return TRUE

    def _is_among(self, values: Sequence[Any]) -> str:
        exact = super()._is_among
        return self._by_index("=", values, lambda: exact(values))

    def _ordered_to(self, comparison: str, value: Any) -> str:
        exact = super()._ordered_to
        return self._by_index(comparison, [value], lambda: exact(comparison, value))

    def _by_index(self, comparison: str, values: Sequence[Any], exact: Callable[[], str]) -> str:
        return self._dialect.by_index(self._bound, self._expressions, comparison, values, exact)

    def within(self, limits: Sequence[tuple[str, object]]) -> str:
        before = self.found
        self.found = []
        super().within(limits)
        self.found = [*before, *([" AND ".join(self.found)] if len(self.found) == len(limits) else [])]
        return TRUE

    def _itself_or_item(self, holds: Callable[[Cell], str]) -> str:
        holds(self)
        items = self._dialect.items(self._expressions.value, self._expressions.kind, "item")
        item = holds(Cell(self._bound, "item.value", "item.type"))
        self.typed(f"EXISTS (SELECT 1 FROM {items} WHERE {item})", "array")  # noqa: S608
        return TRUE
