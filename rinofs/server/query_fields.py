"""Fields of objects in SQL: columns, and values in the JSON text of the metadata.

The SQL is put together as text, which is a hundred times cheaper than expressions that are compiled: nobody
asks the same question often enough for these to be kept. Nothing in it comes from a client. What does, keys
included, is bound; keys are compared with those that `json_each` finds and never made part of a JSON path,
in which a quote would end them, and reach somewhere else.
"""

# ruff: noqa: S608 (only constants and names of bound values are joined)

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, Protocol, TypeGuard

from rinofs.server.errors import BadRequest
from rinofs.server.metadata import dump

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rinofs.server.records import User

__all__ = [
    "RECORD_FIELDS",
    "Bound",
    "Cell",
    "Field",
    "any_of",
    "compared",
    "field_of",
    "ordering",
    "text_value",
]

RECORD_FIELDS = {
    "id": "integer",
    "name": "text",
    "type": "text",
    "size": "integer",
    "parent": "integer",
    "metadata": "object",
    "tags": "array",
    "etag": "text",
    "sha256": "text",
    "versions": "array",
    "project": "integer",
    "project_name": "text",
    "owner": "text",
    "shared": "false",
    "created_on": "text",
    "updated_on": "text",
}
"""The fields of records that can be asked for, with the JSON type of their values."""

MAX_PARTS = 16
"""Levels that a field can reach down."""

_NUL = "\U0010fffd"
_RANKS = "CASE {} WHEN 'text' THEN 2 WHEN 'array' THEN 3 WHEN 'object' THEN 4 WHEN 'integer' THEN 1 \
WHEN 'real' THEN 1 ELSE 0 END"


class Bound:
    """The values of one statement, by the names that stand for them in its text.

    Parameters
    ----------
    prefix : str
        What the names begin with; texts that go into one statement need different ones.
    """

    def __init__(self, prefix: str = "q") -> None:
        self.values: dict[str, Any] = {}
        self._prefix = prefix

    def name(self, value: object) -> str:
        """Return what stands for a value in the text."""
        name = f"{self._prefix}{len(self.values)}"
        self.values[name] = value
        return f":{name}"


def text_value(text: str) -> str:
    """Return a text as it is compared.

    SQLite ends a text that it takes out of JSON at the first NUL, so another character stands for it.

    Raises
    ------
    BadRequest
        If it holds half of a surrogate pair.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise BadRequest("query: half of a surrogate pair is no text", field="query") from None
    return text.replace("\0", _NUL)


def compared(column: str) -> str:
    """Return a column of stored JSON text in the form that is compared."""
    return f"replace({column}, '\\u0000', char({ord(_NUL)}))"


def any_of(conditions: Sequence[str]) -> str:
    """Return the condition that one of some holds."""
    return f"({' OR '.join(conditions)})" if conditions else "0"


class Cell:
    """One value in SQL, with its JSON type.

    Parameters
    ----------
    bound : Bound
        Where the values that it is compared with go.
    value : str
        The value, as SQLite takes it out of JSON.
    kind : str
        Its JSON type, as SQLite calls them: an expression, or between quotes one that all values have.
    """

    def __init__(self, bound: Bound, value: str, kind: str) -> None:
        self._bound = bound
        self._value = value
        self._kind = kind

    def matches(self, values: Sequence[object]) -> str:
        """Return whether the value, or an item of it where it is a list, equals one of some values."""
        itself = self.equals(values)
        if self._fixed not in {None, "array"}:
            return itself
        items = f"json_each(CASE {self._kind} WHEN 'array' THEN {self._value} ELSE '[]' END) AS item"
        item = Cell(self._bound, "item.value", "item.type").equals(values)
        return any_of([itself, f"EXISTS (SELECT 1 FROM {items} WHERE {item})"])

    def equals(self, values: Sequence[object]) -> str:
        """Return whether the value itself equals one of some values."""
        truths = {"true" if value else "false" for value in values if isinstance(value, bool)}
        found = [self._typed("1", truth) for truth in sorted(truths)]
        wanted = (
            (("integer", "real"), [_number(self._bound, value) for value in values if _is_number(value)]),
            (("text",), [self._name(text_value(value)) for value in values if isinstance(value, str)]),
            (("array",), [self._name(_written(value)) for value in values if isinstance(value, list)]),
            (("object",), [self._name(_written(value)) for value in values if isinstance(value, dict)]),
        )
        found += [
            self._typed(f"{self._value} IN ({', '.join(names)})", *kinds) for kinds, names in wanted if names
        ]
        return any_of(found)

    def ordered(self, comparison: str, value: object) -> str:
        """Return whether the value stands in an order (``<``...) to another one."""
        if isinstance(value, str):
            return self._typed(f"{self._value} {comparison} {self._name(text_value(value))}", "text")
        if _is_number(value):
            wanted = _number(self._bound, value)
            return self._typed(f"{self._value} {comparison} {wanted}", "integer", "real")
        return "0"

    def contains(self, part: str) -> str:
        """Return whether the value is a text that holds another one."""
        return self._typed(f"instr({self._value}, {self._name(text_value(part))}) > 0", "text")

    def _name(self, value: object) -> str:
        return self._bound.name(value)

    @property
    def _fixed(self) -> str | None:
        return self._kind.strip("'") if self._kind.startswith("'") else None

    def _typed(self, condition: str, *kinds: str) -> str:
        """Return a condition that holds for values of some types only."""
        if self._fixed is not None:
            # Whatever else stood beside it would keep an index on the column from being used.
            return condition if self._fixed in kinds else "0"
        known = ", ".join(f"'{kind}'" for kind in kinds)
        return f"({self._kind} IN ({known}) AND {condition})"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(bound: Bound, value: float) -> str:
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return bound.name(value)
    # Given as text, it goes through the same conversion as the text in the JSON, to the same last bit.
    return f"CAST({bound.name(repr(value))} AS REAL)"


def _written(value: object) -> str:
    return dump(value).replace("\\u0000", _NUL)


class Field(Protocol):
    """Where the values of a field are."""

    def where(self, holds: Callable[[Cell], str]) -> str:
        """Return whether an object has the field and something holds for its value; never null."""

    def present(self) -> str:
        """Return whether an object has the field; never null."""

    def absent(self) -> str:
        """Return whether an object has not got the field; never null."""

    def scalar(self) -> tuple[str, str]:
        """Return the value of the field and its JSON type; null for objects without it."""


class _ColumnField:
    """A record's own field."""

    def __init__(self, bound: Bound, column: str, kind: str) -> None:
        self._bound = bound
        self._column = compared(column) if kind in {"array", "object"} else column
        self._kind = f"'{kind}'"

    def where(self, holds: Callable[[Cell], str]) -> str:
        return f"({self.present()} AND {holds(Cell(self._bound, self._column, self._kind))})"

    def present(self) -> str:
        return f"{self._column} IS NOT NULL"

    def absent(self) -> str:
        return f"{self._column} IS NULL"

    def scalar(self) -> tuple[str, str]:
        return self._column, self._kind


class _MetadataField:
    """A field in the metadata."""

    def __init__(self, bound: Bound, name: str) -> None:
        self._bound = bound
        self._whole = [text_value(name)]
        parts = re.split(r"\.|__", self._whole[0])
        self._parts = parts if len(parts) > 1 and all(parts) else None
        if len(parts) > MAX_PARTS:
            raise BadRequest(f"query: a field has at most {MAX_PARTS} parts", field="query")

    def where(self, holds: Callable[[Cell], str]) -> str:
        found = self._at(self._whole, holds)
        if self._parts is None:
            return found
        return f"({found} OR (NOT {self._at(self._whole)} AND {self._at(self._parts, holds)}))"

    def present(self) -> str:
        found = self._at(self._whole)
        return found if self._parts is None else any_of([found, self._at(self._parts)])

    def absent(self) -> str:
        return f"NOT {self.present()}"

    def scalar(self) -> tuple[str, str]:
        value, kind = self._taken(self._whole)
        if self._parts is None:
            return value, kind
        inner, inner_kind = self._taken(self._parts)
        return f"CASE WHEN {kind} IS NULL THEN {inner} ELSE {value} END", f"coalesce({kind}, {inner_kind})"

    def _at(self, keys: Sequence[str], holds: Callable[[Cell], str] | None = None) -> str:
        last, found = self._reach(keys)
        condition = (
            "" if holds is None else f" AND {holds(Cell(self._bound, f'{last}.value', f'{last}.type'))}"
        )
        return f"EXISTS (SELECT 1 {found}{condition})"

    def _taken(self, keys: Sequence[str]) -> tuple[str, str]:
        last, found = self._reach(keys)
        return f"(SELECT {last}.value {found})", f"(SELECT {last}.type {found})"

    def _reach(self, keys: Sequence[str]) -> tuple[str, str]:
        """Return the name of what is below some keys, one in the other, and the clauses that find it."""
        sources, conditions = [], []
        document = compared("objects.metadata")
        for depth, key in enumerate(keys):
            sources.append(f"json_each({document}) AS at{depth}")
            conditions.append(f"at{depth}.key = {self._bound.name(key)}")
            document = f"CASE at{depth}.type WHEN 'object' THEN at{depth}.value ELSE '{{}}' END"
        last = f"at{len(keys) - 1}"
        return last, f"FROM {', '.join(sources)} WHERE {' AND '.join(conditions)} AND {last}.type <> 'null'"


def field_of(bound: Bound, user: User, name: str, *, digests: bool) -> Field:
    """Return where a field is.

    Parameters
    ----------
    bound : Bound
        Where the values of the statement go.
    user : User
        Whose objects are looked at.
    name : str
        The field.
    digests : bool
        Whether ``sha256`` is a field of records.
    """
    if name in RECORD_FIELDS and (digests or name != "sha256"):
        same = {"project": user.id, "project_name": user.project, "owner": user.username, "shared": 0}
        column = bound.name(same[name]) if name in same else f"objects.{name}"
        return _ColumnField(bound, column, RECORD_FIELDS[name])
    explicit = re.match(r"metadata(\.|__)(?=.)", name, re.DOTALL)
    return _MetadataField(bound, name[explicit.end() :] if explicit else name)


def ordering(field: Field) -> list[str]:
    """Return what to sort by a field: by the type of its value, by the value, by id."""
    value, kind = field.scalar()
    plain = f"CASE WHEN {kind} NOT IN ('array', 'object') THEN {value} END"
    return [_RANKS.format(kind), plain, "objects.id"]
