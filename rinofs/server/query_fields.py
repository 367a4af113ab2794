"""Fields of objects in SQL: columns, and values in the JSON text of the metadata.

Keys are compared with `json_each`, never made part of a path: in a path, a quote in a key ends it, and what
follows reaches somewhere else.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING, Any, TypeGuard

from sqlalchemy import (
    Float,
    Text,
    and_,
    case,
    cast,
    exists,
    false,
    func,
    literal,
    not_,
    or_,
    select,
    true,
)

from rinofs.server.errors import BadRequest
from rinofs.server.metadata import dump
from rinofs.server.tables import objects

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import ColumnElement, FromClause, Select, TableValuedAlias

    from rinofs.server.records import User

__all__ = [
    "RECORD_FIELDS",
    "Cell",
    "ColumnField",
    "MetadataField",
    "comparable",
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

MAX_PARTS = 32
"""Levels that a field can reach down."""

_NUL = "\U0010fffd"
_RANKS = {"false": 0, "true": 0, "integer": 1, "real": 1, "text": 2, "array": 3, "object": 4}


def text_value(text: str) -> str:
    """Return a text as it is compared.

    SQLite ends a text that it takes out of JSON at the first NUL, so another character stands for it.

    Raises
    ------
    BadRequest
        If it holds half of a surrogate pair.
    """
    if any("\ud800" <= character <= "\udfff" for character in text):
        raise BadRequest("query: half of a surrogate pair is no text", field="query")
    return text.replace("\0", _NUL)


def comparable(document: ColumnElement[str]) -> ColumnElement[str]:
    """Return stored JSON text in the form that is compared."""
    return func.replace(document, "\\u0000", _NUL)


class Cell:
    """One value in SQL, with its JSON type.

    Parameters
    ----------
    value : column element
        The value, as SQLite takes it out of JSON.
    kind : column element or str
        Its JSON type, as SQLite calls them; text where it is the same for all objects.
    """

    def __init__(self, value: ColumnElement[Any], kind: ColumnElement[str] | str) -> None:
        self._value = value
        self._kind = kind

    def is_a(self, *kinds: str) -> ColumnElement[bool]:
        """Return whether the value is of one of some types."""
        if isinstance(self._kind, str):
            return true() if self._kind in kinds else false()
        return self._kind.in_(kinds) if len(kinds) > 1 else self._kind == kinds[0]

    def matches(self, values: Sequence[object]) -> ColumnElement[bool]:
        """Return whether the value, or an item of it where it is a list, equals one of some values."""
        equal = self._equals(values)
        if isinstance(self._kind, str) and self._kind != "array":
            return equal
        items = _each(case((self.is_a("array"), self._value), else_="[]"))
        item = Cell(items.c.value, items.c.type)
        inside = exists(select(literal(1)).select_from(items).where(item._equals(values)))
        return or_(equal, and_(self.is_a("array"), inside))

    def _equals(self, values: Sequence[object]) -> ColumnElement[bool]:
        numbers = [value for value in values if _is_number(value)]
        texts = [text_value(value) for value in values if isinstance(value, str)]
        plain = [number for number in numbers if _is_small(number)]
        found = [self.is_a("true" if value else "false") for value in values if isinstance(value, bool)]
        if plain:
            found.append(and_(self.is_a("integer", "real"), self._value.in_(plain)))
        found += [
            and_(self.is_a("integer", "real"), self._value == _number(number))
            for number in numbers
            if not _is_small(number)
        ]
        if texts:
            found.append(and_(self.is_a("text"), self._value.in_(texts)))
        for kind, known in (("array", list), ("object", dict)):
            nested = [dump(value).replace("\\u0000", _NUL) for value in values if isinstance(value, known)]
            if nested:
                found.append(and_(self.is_a(kind), self._value.in_(nested)))
        return or_(false(), *found)

    def ordered(self, comparison: str, value: object) -> ColumnElement[bool]:
        """Return whether the value stands in an order (``__lt__``...) to another one."""
        result: ColumnElement[bool] = false()
        if isinstance(value, str):
            result = and_(self.is_a("text"), getattr(self._value, comparison)(text_value(value)))
        elif _is_number(value):
            result = and_(self.is_a("integer", "real"), getattr(self._value, comparison)(_number(value)))
        return result

    def contains(self, part: str) -> ColumnElement[bool]:
        """Return whether the value is a text that holds another one."""
        return and_(self.is_a("text"), func.instr(self._value, text_value(part)) > 0)


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _is_small(value: float) -> bool:
    return isinstance(value, int) and -(2**63) <= value < 2**63


def _number(value: float) -> ColumnElement[Any]:
    if _is_small(value):
        return literal(value)
    # Given as text, it goes through the same conversion as the text in the JSON, to the same last bit.
    return cast(literal(repr(value), Text), Float)


def _each(document: ColumnElement[str]) -> TableValuedAlias:
    return func.json_each(document).table_valued("key", "value", "type").alias()


class ColumnField:
    """A record's own field.

    Parameters
    ----------
    column : column element
        Where it is.
    kind : str
        The JSON type of its values.
    """

    def __init__(self, column: ColumnElement[Any], kind: str) -> None:
        self._column = column
        self._kind = kind

    def where(self, holds: Callable[[Cell], ColumnElement[bool]]) -> ColumnElement[bool]:
        """Return whether an object has the field and something holds for its value; never null."""
        value = comparable(self._column) if self._kind in {"array", "object"} else self._column
        return and_(self.present(), holds(Cell(value, self._kind)))

    def present(self) -> ColumnElement[bool]:
        """Return whether an object has the field; never null."""
        return self._column.is_not(None)

    def scalar(self) -> tuple[ColumnElement[Any], ColumnElement[str]]:
        """Return the value of the field and its JSON type; null for objects without it."""
        return self._column, literal(self._kind)


class MetadataField:
    """A field in the metadata.

    Parameters
    ----------
    name : str
        Its name.
    """

    def __init__(self, name: str) -> None:
        parts = re.split(r"\.|__", text_value(name))
        self._whole = (text_value(name),)
        self._parts = tuple(parts) if len(parts) > 1 and all(parts) else None
        if len(parts) > MAX_PARTS:
            raise BadRequest(f"query: a field has at most {MAX_PARTS} parts", field="query")

    def where(self, holds: Callable[[Cell], ColumnElement[bool]]) -> ColumnElement[bool]:
        """Return whether an object has the field and something holds for its value; never null."""
        found = self._at(self._whole, holds)
        if self._parts is None:
            return found
        return or_(found, and_(not_(self._at(self._whole)), self._at(self._parts, holds)))

    def present(self) -> ColumnElement[bool]:
        """Return whether an object has the field; never null."""
        found = self._at(self._whole)
        return found if self._parts is None else or_(found, self._at(self._parts))

    def scalar(self) -> tuple[ColumnElement[Any], ColumnElement[str]]:
        """Return the value of the field and its JSON type; null for objects without it."""
        value, kind = self._taken(self._whole)
        if self._parts is None:
            return value, kind
        inner, inner_kind = self._taken(self._parts)
        return case((kind.is_not(None), value), else_=inner), func.coalesce(kind, inner_kind)

    def _at(
        self, keys: Sequence[str], holds: Callable[[Cell], ColumnElement[bool]] | None = None
    ) -> ColumnElement[bool]:
        last, found = _reach(keys)
        condition = true() if holds is None else holds(Cell(last.c.value, last.c.type))
        return found.where(condition).exists()

    def _taken(self, keys: Sequence[str]) -> tuple[ColumnElement[Any], ColumnElement[str]]:
        last, found = _reach(keys)
        return (
            found.with_only_columns(last.c.value, maintain_column_froms=True).scalar_subquery(),
            found.with_only_columns(last.c.type, maintain_column_froms=True).scalar_subquery(),
        )


def _reach(keys: Sequence[str]) -> tuple[TableValuedAlias, Select[Any]]:
    """Return what is found below some keys, one in the other, and the statement that finds it."""
    last = _each(comparable(objects.c.metadata))
    source: FromClause = last
    conditions = [last.c.key == keys[0]]
    for key in keys[1:]:
        inner = _each(case((last.c.type == "object", last.c.value), else_="{}"))
        source = source.join(inner, true())
        last = inner
        conditions.append(last.c.key == key)
    found = select(literal(1)).select_from(source).where(*conditions, last.c.type != "null")
    return last, found.correlate(objects)


def field_of(user: User, name: str, *, digests: bool) -> ColumnField | MetadataField:
    """Return where a field is.

    Parameters
    ----------
    user : User
        Whose objects are looked at.
    name : str
        The field.
    digests : bool
        Whether ``sha256`` is a field of records.
    """
    constants: dict[str, ColumnElement[Any]] = {
        "project": literal(user.id),
        "project_name": literal(user.project),
        "owner": literal(user.username),
        "shared": literal(0),
    }
    if name in RECORD_FIELDS and (digests or name != "sha256"):
        column = constants[name] if name in constants else objects.c[name]
        return ColumnField(column, RECORD_FIELDS[name])
    explicit = re.match(r"metadata(\.|__)(?=.)", name, re.DOTALL)
    return MetadataField(name[explicit.end() :] if explicit else name)


def ordering(field: ColumnField | MetadataField) -> list[ColumnElement[Any]]:
    """Return columns to sort by a field: by the type of its value, by the value, by id."""
    value, kind = field.scalar()
    rank = case(_RANKS, value=kind)
    return [rank, case((kind.not_in(("array", "object")), value)), objects.c.id]
