"""Fields of objects in SQL: columns, and values in the JSON text of the metadata.

Keys are compared with those that the database finds and never made part of a JSON path, in which a quote
would end them, and reach somewhere else.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Protocol

from rinofs.protocol.digests import DIGESTS
from rinofs.protocol.limits import MAX_FIELD_PARTS
from rinofs.protocol.operators import EVERY_FIELD, QueryError
from rinofs.protocol.records import field_parts, metadata_name, record_field
from rinofs.server.catalog.queries.indexes import IndexedField
from rinofs.server.catalog.queries.values import Bound, Cell, all_of, any_of, text_value
from rinofs.server.catalog.sqlite import functions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rinofs.server.catalog.records import User

__all__ = ["Field", "field_of", "ordering"]


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
        self._column = functions.compared(column) if kind in {"array", "object"} else column
        self._kind = f"'{kind}'"

    def where(self, holds: Callable[[Cell], str]) -> str:
        return f"({self.present()} AND {holds(Cell(self._bound, self._column, self._kind))})"

    def present(self) -> str:
        return f"{self._column} IS NOT NULL"

    def absent(self) -> str:
        return f"{self._column} IS NULL"

    def scalar(self) -> tuple[str, str]:
        return self._column, self._kind


class _DigestField:
    """A digest of the content, which a table of its own has."""

    def __init__(self, bound: Bound, column: str) -> None:
        self._bound = bound
        self._column = column

    def where(self, holds: Callable[[Cell], str]) -> str:
        found = holds(Cell(self._bound, self._column, "'text'"))
        # Not correlated: the content of a digest is found by an index, and then its objects by another one.
        inside = f"SELECT blobs.id FROM blobs WHERE {self._column} IS NOT NULL AND {found}"  # noqa: S608
        return f"(objects.blob IS NOT NULL AND objects.blob IN ({inside}))"

    def present(self) -> str:
        return f"{self._value()} IS NOT NULL"

    def absent(self) -> str:
        return f"{self._value()} IS NULL"

    def scalar(self) -> tuple[str, str]:
        return self._value(), "'text'"

    def _value(self) -> str:
        return f"(SELECT {self._column} FROM blobs WHERE blobs.id = objects.blob)"  # noqa: S608


class _MetadataField:
    """A field in the metadata."""

    def __init__(self, bound: Bound, name: str) -> None:
        self._bound = bound
        self._whole = [text_value(name)]
        parts = field_parts(self._whole[0])
        self._parts = parts if len(parts) > 1 else None
        if len(parts) > MAX_FIELD_PARTS:
            raise QueryError(f"a field has at most {MAX_FIELD_PARTS} parts")

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
        document = functions.compared("objects.metadata")
        for depth, key in enumerate(keys):
            sources.append(functions.each(document, f"at{depth}"))
            conditions.append(f"at{depth}.key = {self._bound.name(key)}")
            document = functions.object_or_empty(f"at{depth}.value", f"at{depth}.type")
        last = f"at{len(keys) - 1}"
        return last, f"FROM {', '.join(sources)} WHERE {' AND '.join(conditions)} AND {last}.type <> 'null'"


class _EveryField:
    """The name, the tags, and the keys and plain values of the metadata."""

    def __init__(self, bound: Bound) -> None:
        self._bound = bound

    def where(self, holds: Callable[[Cell], str]) -> str:
        value = holds(Cell(self._bound, "part.atom", "part.type", is_plain=True))
        key = all_of([functions.is_key("part"), holds(Cell(self._bound, "part.key", "'text'"))])
        tags = functions.tree(functions.compared("objects.tags"), "part")
        metadata = functions.tree(functions.compared("objects.metadata"), "part")
        return any_of(
            [
                holds(Cell(self._bound, "objects.name", "'text'")),
                f"EXISTS (SELECT 1 FROM {tags} WHERE {value})",  # noqa: S608
                f"EXISTS (SELECT 1 FROM {metadata} WHERE {value} OR {key})",  # noqa: S608
            ]
        )

    def present(self) -> str:
        return functions.TRUE

    def absent(self) -> str:
        return functions.FALSE

    def scalar(self) -> tuple[str, str]:
        raise QueryError(f"{EVERY_FIELD}: every field at once has no order and no list of values")


def field_of(
    bound: Bound, user: User, name: str, *, digests: bool, indexed: frozenset[str] = frozenset()
) -> Field:
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
    indexed : frozenset of str
        The fields of the metadata that have an index.
    """
    own = record_field(name, extensions=None if digests else ())
    if name == EVERY_FIELD:
        return _EveryField(bound)
    if own is None:
        field = metadata_name(name)
        return IndexedField(bound, user, field) if field in indexed else _MetadataField(bound, field)
    # Rows have the id of the user in place of what they show of it.
    same = {"project": user.id, "project_name": user.project, "owner": user.username, "shared": 0}
    if name in DIGESTS:
        return _DigestField(bound, f"blobs.{name}")
    column = bound.name(same[name]) if name in same else f"objects.{name}"
    return _ColumnField(bound, column, own.type)


def ordering(field: Field) -> list[str]:
    """Return what to sort by a field: by the type of its value, by the value, by id."""
    if isinstance(field, IndexedField):
        return field.order()
    value, kind = field.scalar()
    return [functions.rank(kind), functions.plain(value, kind), "objects.id"]
