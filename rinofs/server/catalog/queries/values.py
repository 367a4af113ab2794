"""Values in SQL, their comparisons in a query, and fields, which have such values.

The SQL is built as text, which is a hundred times cheaper than compiling expressions: the same query is not
repeated often enough to cache those. No part of it comes from a client; values from clients are bound.
"""

# ruff: noqa: S608 (only constants and names of bound values are joined)

from __future__ import annotations

from abc import ABC, abstractmethod
from typing import TYPE_CHECKING, Any

from rinofs.protocol.operators import QueryError
from rinofs.protocol.records import NUL_STAND_IN
from rinofs.server.catalog.queries.query_dialect import FALSE, NUL_ESCAPE, TRUE, is_number
from rinofs.server.catalog.records import dump

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rinofs.server.catalog.queries.query_dialect import Bound, TextSource
    from rinofs.server.catalog.records import User

__all__ = ["Cell", "Field", "all_of", "any_of", "text_value"]


_FEW = 20  # maximum number of values that are bound one by one


def text_value(text: str) -> str:
    """Return a text in the form for comparisons.

    SQLite truncates a text from JSON at the first NUL, and PostgreSQL cannot extract a text that contains
    one, so another character replaces it.

    Raises
    ------
    QueryError
        If it contains an unpaired surrogate.
    """
    try:
        text.encode()
    except UnicodeEncodeError:
        raise QueryError("text contains an unpaired surrogate") from None
    return text.replace("\0", NUL_STAND_IN)


def any_of(conditions: Sequence[str]) -> str:
    """Return the condition that any of several conditions holds."""
    return f"({' OR '.join(conditions)})" if conditions else FALSE


def all_of(conditions: Sequence[str]) -> str:
    """Return the condition that all of several conditions hold."""
    return f"({' AND '.join(conditions)})" if conditions else TRUE


class Cell:
    """One value in SQL, with its JSON type.

    Parameters
    ----------
    bound : Bound
        Receives the values that it is compared with.
    value : str
        The value, as the database extracts it from JSON; also an attribute.
    kind : str
        Its JSON type, with SQLite's names: an expression, or a quoted type that all values have.
    is_plain : bool
        Whether it is never a list or an object.
    in_column : bool
        Whether it is a column, not extracted from JSON.
    """

    def __init__(
        self, bound: Bound, value: str, kind: str, *, is_plain: bool = False, in_column: bool = False
    ) -> None:
        self._bound = bound
        self._dialect = bound.dialect
        self._is_plain = is_plain
        self._in_column = in_column
        self.value = value
        self._kind = kind

    @property
    def number(self) -> str:
        """The value in the form in which numbers are compared."""
        return self.value if self._in_column else self._dialect.number(self.value, self._kind)

    def matches(self, values: Sequence[object]) -> str:
        """Return whether the value, or an item of it if it is a list, equals one of some values."""
        return self._itself_or_item(lambda cell: cell.equals(values))

    def holds_words(self, pattern: str) -> str:
        """Return whether the value, or an item of it if it is a list, is a text that contains whole words."""
        wanted = self.bind(pattern)
        return self._itself_or_item(
            lambda cell: cell.typed(self._dialect.matches(cell.value, wanted), "text")
        )

    def _itself_or_item(self, holds: Callable[[Cell], str]) -> str:
        itself = holds(self)
        if self._is_plain or self._fixed not in {None, "array"}:
            return itself
        items = self._dialect.items(self.value, self._kind, "item")
        item = holds(Cell(self._bound, "item.value", "item.type"))
        return any_of([itself, f"EXISTS (SELECT 1 FROM {items} WHERE {item})"])

    def equals(self, values: Sequence[object]) -> str:
        """Return whether the value itself equals one of some values."""
        truths = {"true" if value else "false" for value in values if isinstance(value, bool)}
        found = [self.typed(TRUE, truth) for truth in sorted(truths)]
        wanted: tuple[tuple[tuple[str, ...], Sequence[object]], ...] = (
            (("integer", "real"), [value for value in values if is_number(value)]),
            (("text",), [text_value(value) for value in values if isinstance(value, str)]),
            (("array",), [_written(value) for value in values if isinstance(value, list)]),
            (("object",), [_written(value) for value in values if isinstance(value, dict)]),
        )
        found += [self.typed(self._is_among(some), *kinds) for kinds, some in wanted if some]
        return any_of(found)

    def _is_among(self, values: Sequence[Any]) -> str:
        return self._is_listed(self.number if is_number(values[0]) else self.value, values)

    def _is_listed(self, value: str, values: Sequence[Any]) -> str:
        if len(values) > _FEW:
            return self._dialect.among(value, self._bound, values)
        names = [self._bind_number(value) if is_number(value) else self.bind(value) for value in values]
        return f"{value} IN ({', '.join(names)})"

    def ordered(self, comparison: str, value: object) -> str:
        """Return whether a comparison (``<``...) of the value with another one holds."""
        if isinstance(value, str):
            return self.typed(self._ordered_to(comparison, text_value(value)), "text")
        if is_number(value):
            return self.typed(self._ordered_to(comparison, value), "integer", "real")
        return FALSE

    def _ordered_to(self, comparison: str, value: Any) -> str:
        if isinstance(value, str):
            return self._dialect.ordered(self.value, comparison, self.bind(value))
        return f"{self.number} {comparison} {self._bind_number(value)}"

    def within(self, limits: Sequence[tuple[str, object]]) -> str:
        """Return whether comparisons of the value with each of some others hold."""
        return all_of([self.ordered(comparison, value) for comparison, value in limits])

    def contains(self, part: str) -> str:
        """Return whether the value is a text that contains another one."""
        return self.typed(self._dialect.contains(self.value, self.bind(text_value(part))), "text")

    def bind(self, value: object) -> str:
        """Return the parameter for a value."""
        return self._bound.name(value)

    def _bind_number(self, value: float) -> str:
        return self._dialect.bound_number(self._bound, value, in_column=self._in_column)

    @property
    def _fixed(self) -> str | None:
        return self._kind.strip("'") if self._kind.startswith("'") else None

    def typed(self, condition: str, *kinds: str) -> str:
        """Restrict a condition to values of some types."""
        if self._fixed is not None:
            # Any additional condition would prevent the use of an index on the column.
            return condition if self._fixed in kinds else FALSE
        known = ", ".join(f"'{kind}'" for kind in kinds)
        return f"({self._kind} IN ({known}) AND {condition})"


class Field(ABC):
    """A field, and how to find its values.

    Parameters
    ----------
    bound : Bound
        Receives the values of the statement.
    user : User
        Owner of the objects.
    """

    def __init__(self, bound: Bound, user: User) -> None:
        self._bound = bound
        self._dialect = bound.dialect
        self._user = user

    @abstractmethod
    def where(self, holds: Callable[[Cell], str]) -> str:
        """Return whether an object has the field, with a value that meets a condition; never null."""

    @abstractmethod
    def present(self) -> str:
        """Return whether an object has the field; never null."""

    @abstractmethod
    def absent(self) -> str:
        """Return whether an object lacks the field; never null."""

    @abstractmethod
    def scalar(self) -> tuple[str, str, str]:
        """Return the value of the field, its JSON type, and its number; null for objects without it."""

    @abstractmethod
    def texts(self) -> Sequence[TextSource]:
        """Return the sources of its texts, for a database that cannot test them itself."""

    def order(self) -> Sequence[str]:
        """Return the ORDER BY terms of the field: the type of its value, and the value."""
        return self._dialect.order(*self.scalar())

    def holds_words(self, pattern: str) -> str:
        """Return whether the field is a text that contains whole words, or a list with one; never null."""
        pattern = text_value(pattern)
        if self._dialect.tests_words:
            return self.where(lambda cell: cell.holds_words(pattern))
        return self._bound.search(self._user.id, self.texts(), pattern)


def _written(value: object) -> str:
    return dump(value).replace(NUL_ESCAPE, NUL_STAND_IN)
