"""Fields of objects in SQL: columns, and values in the JSON text of the metadata.

Keys are compared with those that the database finds. They never become part of a JSON path, where a quote
could end a key and change the path.
"""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.protocol.digests import DIGESTS
from rinofs.protocol.limits import MAX_FIELD_PARTS
from rinofs.protocol.operators import EVERY_FIELD, QueryError
from rinofs.protocol.records import field_parts, metadata_name, record_field
from rinofs.server.catalog.queries.indexes import IndexedField
from rinofs.server.catalog.queries.query_dialect import FALSE, TRUE, Bound, TextSource
from rinofs.server.catalog.queries.values import Cell, Field, all_of, any_of, text_value

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rinofs.server.catalog.records import User

__all__ = ["field_of"]


TAGS_COLUMN, METADATA_COLUMN = "objects.tags", "objects.metadata"


class _ColumnField(Field):
    """A field of the record itself."""

    def __init__(self, bound: Bound, user: User, column: str, kind: str) -> None:
        super().__init__(bound, user)
        self._raw = column if kind == "array" else None
        self._column = self._dialect.compared(column) if kind in {"array", "object"} else column
        self._kind = f"'{kind}'"

    def where(self, holds: Callable[[Cell], str]) -> str:
        return f"({self.present()} AND {holds(Cell(self._bound, self._column, self._kind, in_column=True))})"

    def present(self) -> str:
        return f"{self._column} IS NOT NULL"

    def absent(self) -> str:
        return f"{self._column} IS NULL"

    def scalar(self) -> tuple[str, str, str]:
        return self._column, self._kind, self._column

    def texts(self) -> Sequence[TextSource]:
        return self._dialect.text_sources(self._column, self._kind, self._raw)


class _DigestField(Field):
    """A digest of the content, stored in a separate table."""

    def __init__(self, bound: Bound, user: User, column: str) -> None:
        super().__init__(bound, user)
        self._column = column

    def where(self, holds: Callable[[Cell], str]) -> str:
        found = holds(Cell(self._bound, self._column, "'text'"))
        # Not correlated: one index finds the content with the digest, and another one its objects.
        inside = f"SELECT blobs.id FROM blobs WHERE {self._column} IS NOT NULL AND {found}"  # noqa: S608
        return f"(objects.blob IS NOT NULL AND objects.blob IN ({inside}))"

    def present(self) -> str:
        return f"{self._value()} IS NOT NULL"

    def absent(self) -> str:
        return f"{self._value()} IS NULL"

    def scalar(self) -> tuple[str, str, str]:
        return self._value(), "'text'", self._value()

    def texts(self) -> Sequence[TextSource]:
        return self._dialect.text_sources(self._value(), "'text'", None)

    def _value(self) -> str:
        return f"(SELECT {self._column} FROM blobs WHERE blobs.id = objects.blob)"  # noqa: S608


class _MetadataField(Field):
    """A field in the metadata."""

    def __init__(self, bound: Bound, user: User, name: str) -> None:
        super().__init__(bound, user)
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

    def scalar(self) -> tuple[str, str, str]:
        value, kind = self._taken(self._whole)
        if self._parts is not None:
            inner, inner_kind = self._taken(self._parts)
            value = f"CASE WHEN {kind} IS NULL THEN {inner} ELSE {value} END"
            kind = f"coalesce({kind}, {inner_kind})"
        return value, kind, self._dialect.number(value, kind)

    def texts(self) -> Sequence[TextSource]:
        value, kind, _ = self.scalar()
        return self._dialect.text_sources(value, kind, METADATA_COLUMN)

    def _at(self, keys: Sequence[str], holds: Callable[[Cell], str] | None = None) -> str:
        condition = "" if holds is None else f" AND {holds(Cell(self._bound, 'it.value', 'it.type'))}"
        return f"EXISTS (SELECT 1 {self._found(keys)}{condition})"

    def _taken(self, keys: Sequence[str]) -> tuple[str, str]:
        found = self._found(keys)
        return f"(SELECT it.value {found})", f"(SELECT it.type {found})"

    def _found(self, keys: Sequence[str]) -> str:
        """Return the clauses that find the value below nested keys, as a row `it`."""
        return self._dialect.at(
            self._dialect.compared(METADATA_COLUMN), [self._bound.name(key) for key in keys], "it"
        )


class _EveryField(Field):
    """The name, the tags, and the keys and plain values of the metadata."""

    def where(self, holds: Callable[[Cell], str]) -> str:
        value = holds(Cell(self._bound, "part.atom", "part.type", is_plain=True))
        key = all_of([self._dialect.is_key("part"), holds(Cell(self._bound, "part.key", "'text'"))])
        tags, metadata = map(self._tree, (TAGS_COLUMN, METADATA_COLUMN))
        return any_of(
            [
                holds(Cell(self._bound, "objects.name", "'text'")),
                f"EXISTS (SELECT 1 FROM {tags} WHERE {value})",  # noqa: S608
                f"EXISTS (SELECT 1 FROM {metadata} WHERE {value} OR {key})",  # noqa: S608
            ]
        )

    def present(self) -> str:
        return TRUE

    def absent(self) -> str:
        return FALSE

    def scalar(self) -> tuple[str, str, str]:
        raise QueryError(f"{EVERY_FIELD}: every field at once has no order and no list of values")

    def texts(self) -> Sequence[TextSource]:
        is_text = "part.type = 'text'"
        return [
            TextSource("", "objects.name", TRUE, None),
            *(
                TextSource(f", {self._tree(column)}", "part.atom", is_text, column)
                for column in (TAGS_COLUMN, METADATA_COLUMN)
            ),
            TextSource(
                f", {self._tree(METADATA_COLUMN)}", "part.key", self._dialect.is_key("part"), METADATA_COLUMN
            ),
        ]

    def _tree(self, column: str) -> str:
        return self._dialect.tree(self._dialect.compared(column), "part")


def field_of(
    bound: Bound, user: User, name: str, *, digests: bool, indexed: frozenset[str] = frozenset()
) -> Field:
    """Return the field with a name.

    Parameters
    ----------
    bound : Bound
        Receives the values of the statement.
    user : User
        Owner of the objects.
    name : str
        The field.
    digests : bool
        Whether ``sha256`` is a field of records.
    indexed : frozenset of str
        The metadata fields that have an index.
    """
    own = record_field(name, extensions=None if digests else ())
    if name == EVERY_FIELD:
        return _EveryField(bound, user)
    if own is None:
        field = metadata_name(name)
        return IndexedField(bound, user, field) if field in indexed else _MetadataField(bound, user, field)
    # Rows contain the id of the user instead of the user's details.
    same = {"project": user.id, "project_name": user.project, "owner": user.username, "shared": 0}
    if name in DIGESTS:
        return _DigestField(bound, user, f"blobs.{name}")
    column = bound.name(same[name]) if name in same else f"objects.{name}"
    return _ColumnField(bound, user, column, own.type)
