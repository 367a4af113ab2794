"""Values in SQL, and what a query compares them with; fields, which have such values.

The SQL is put together as text, which is a hundred times cheaper than expressions that are compiled: nobody
asks the same question often enough for these to be kept. Nothing in it comes from a client. What does is
bound.
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


_FEW = 20  # values that are bound one by one


def text_value(text: str) -> str:
    """Return a text as it is compared.

    SQLite ends a text that it takes out of JSON at the first NUL, and PostgreSQL takes none out that has one,
    so another character stands for it.

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
    """Return the condition that one of some holds."""
    return f"({' OR '.join(conditions)})" if conditions else FALSE


def all_of(conditions: Sequence[str]) -> str:
    """Return the condition that all of some hold."""
    return f"({' AND '.join(conditions)})" if conditions else TRUE


class Cell:
    """One value in SQL, with its JSON type.

    Parameters
    ----------
    bound : Bound
        Where the values that it is compared with go.
    value : str
        The value, as the database takes it out of JSON; also an attribute.
    kind : str
        Its JSON type, as SQLite calls them: an expression, or between quotes one that all values have.
    is_plain : bool
        Whether it is never a list or an object.
    in_column : bool
        Whether it is a column, and not taken out of JSON.
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
        """The value, as numbers are compared."""
        return self.value if self._in_column else self._dialect.number(self.value, self._kind)

    def matches(self, values: Sequence[object]) -> str:
        """Return whether the value, or an item of it where it is a list, equals one of some values."""
        return self._itself_or_item(lambda cell: cell.equals(values))

    def holds_words(self, pattern: str) -> str:
        """Return whether the value, or an item of it where it is a list, is a text that holds whole words."""
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
        """Return whether the value stands in an order (``<``...) to another one."""
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
        """Return whether the value stands in an order to each of some other values."""
        return all_of([self.ordered(comparison, value) for comparison, value in limits])

    def contains(self, part: str) -> str:
        """Return whether the value is a text that holds another one."""
        return self.typed(self._dialect.contains(self.value, self.bind(text_value(part))), "text")

    def bind(self, value: object) -> str:
        """Return what stands for a value in the text."""
        return self._bound.name(value)

    def _bind_number(self, value: float) -> str:
        return self._dialect.bound_number(self._bound, value, in_column=self._in_column)

    @property
    def _fixed(self) -> str | None:
        return self._kind.strip("'") if self._kind.startswith("'") else None

    def typed(self, condition: str, *kinds: str) -> str:
        """Return a condition that holds for values of some types only."""
        if self._fixed is not None:
            # Whatever else stood beside it would keep an index on the column from being used.
            return condition if self._fixed in kinds else FALSE
        known = ", ".join(f"'{kind}'" for kind in kinds)
        return f"({self._kind} IN ({known}) AND {condition})"


class Field(ABC):
    """Where the values of a field are.

    Parameters
    ----------
    bound : Bound
        Where the values of the statement go.
    user : User
        Whose objects are looked at.
    """

    def __init__(self, bound: Bound, user: User) -> None:
        self._bound = bound
        self._dialect = bound.dialect
        self._user = user

    @abstractmethod
    def where(self, holds: Callable[[Cell], str]) -> str:
        """Return whether an object has the field and something holds for its value; never null."""

    @abstractmethod
    def present(self) -> str:
        """Return whether an object has the field; never null."""

    @abstractmethod
    def absent(self) -> str:
        """Return whether an object has not got the field; never null."""

    @abstractmethod
    def scalar(self) -> tuple[str, str, str]:
        """Return the value of the field, its JSON type, and it as a number; null for objects without it."""

    @abstractmethod
    def texts(self) -> Sequence[TextSource]:
        """Return where its texts are, in a database that has others test them."""

    def order(self) -> Sequence[str]:
        """Return what to sort by the field: by the type of its value, and by the value."""
        return self._dialect.order(*self.scalar())

    def holds_words(self, pattern: str) -> str:
        """Return whether the field is a text that holds whole words, or a list with one; never null."""
        pattern = text_value(pattern)
        if self._dialect.tests_words:
            return self.where(lambda cell: cell.holds_words(pattern))
        return self._bound.search(self._user.id, self.texts(), pattern)


def _written(value: object) -> str:
    return dump(value).replace(NUL_ESCAPE, NUL_STAND_IN)
