"""Values in SQL, and what a query compares them with.

The SQL is put together as text, which is a hundred times cheaper than expressions that are compiled: nobody
asks the same question often enough for these to be kept. Nothing in it comes from a client. What does is
bound.
"""

# ruff: noqa: S608 (only constants and names of bound values are joined)

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeGuard

from rinofs.protocol.operators import QueryError
from rinofs.protocol.records import NUL_STAND_IN
from rinofs.server.catalog.records import dump
from rinofs.server.catalog.sqlite import functions

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

__all__ = ["Bound", "Cell", "all_of", "any_of", "text_value"]


_FEW = 20  # values that are bound one by one


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
    return f"({' OR '.join(conditions)})" if conditions else functions.FALSE


def all_of(conditions: Sequence[str]) -> str:
    """Return the condition that all of some hold."""
    return f"({' AND '.join(conditions)})" if conditions else functions.TRUE


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
    """

    def __init__(self, bound: Bound, value: str, kind: str, *, is_plain: bool = False) -> None:
        self._bound = bound
        self._is_plain = is_plain
        self.value = value
        self._kind = kind

    def matches(self, values: Sequence[object]) -> str:
        """Return whether the value, or an item of it where it is a list, equals one of some values."""
        return self._itself_or_item(lambda cell: cell.equals(values))

    def holds_words(self, pattern: str) -> str:
        """Return whether the value, or an item of it where it is a list, is a text that holds whole words."""
        wanted = self.bind(text_value(pattern))
        return self._itself_or_item(lambda cell: cell.typed(functions.matches(cell.value, wanted), "text"))

    def _itself_or_item(self, holds: Callable[[Cell], str]) -> str:
        itself = holds(self)
        if self._is_plain or self._fixed not in {None, "array"}:
            return itself
        items = functions.each(functions.array_or_empty(self.value, self._kind), "item")
        item = holds(Cell(self._bound, "item.value", "item.type"))
        return any_of([itself, f"EXISTS (SELECT 1 FROM {items} WHERE {item})"])

    def equals(self, values: Sequence[object]) -> str:
        """Return whether the value itself equals one of some values."""
        truths = {"true" if value else "false" for value in values if isinstance(value, bool)}
        found = [self.typed(functions.TRUE, truth) for truth in sorted(truths)]
        wanted: tuple[tuple[tuple[str, ...], Sequence[object]], ...] = (
            (("integer", "real"), [value for value in values if _is_number(value)]),
            (("text",), [text_value(value) for value in values if isinstance(value, str)]),
            (("array",), [_written(value) for value in values if isinstance(value, list)]),
            (("object",), [_written(value) for value in values if isinstance(value, dict)]),
        )
        found += [self.typed(self._is_among(some), *kinds) for kinds, some in wanted if some]
        return any_of(found)

    def _is_among(self, values: Sequence[Any]) -> str:
        if len(values) > _FEW:
            # As one value: to bind each takes a hundred times longer than to look for it.
            return functions.among(self.value, self.bind(dump(values)))
        names = [_number(self._bound, value) if _is_number(value) else self.bind(value) for value in values]
        return f"{self.value} IN ({', '.join(names)})"

    def ordered(self, comparison: str, value: object) -> str:
        """Return whether the value stands in an order (``<``...) to another one."""
        if isinstance(value, str):
            return self.typed(f"{self.value} {comparison} {self.bind(text_value(value))}", "text")
        if _is_number(value):
            wanted = _number(self._bound, value)
            return self.typed(f"{self.value} {comparison} {wanted}", "integer", "real")
        return functions.FALSE

    def within(self, limits: Sequence[tuple[str, object]]) -> str:
        """Return whether the value stands in an order to each of some other values."""
        return all_of([self.ordered(comparison, value) for comparison, value in limits])

    def contains(self, part: str) -> str:
        """Return whether the value is a text that holds another one."""
        return self.typed(functions.contains(self.value, self.bind(text_value(part))), "text")

    def bind(self, value: object) -> str:
        """Return what stands for a value in the text."""
        return self._bound.name(value)

    @property
    def _fixed(self) -> str | None:
        return self._kind.strip("'") if self._kind.startswith("'") else None

    def typed(self, condition: str, *kinds: str) -> str:
        """Return a condition that holds for values of some types only."""
        if self._fixed is not None:
            # Whatever else stood beside it would keep an index on the column from being used.
            return condition if self._fixed in kinds else functions.FALSE
        known = ", ".join(f"'{kind}'" for kind in kinds)
        return f"({self._kind} IN ({known}) AND {condition})"


def _is_number(value: object) -> TypeGuard[int | float]:
    return isinstance(value, int | float) and not isinstance(value, bool)


def _number(bound: Bound, value: float) -> str:
    if isinstance(value, int) and -(2**63) <= value < 2**63:
        return bound.name(value)
    # Given as text, it goes through the same conversion as the text in the JSON, to the same last bit.
    return functions.real(bound.name(repr(value)))


def _written(value: object) -> str:
    return dump(value).replace(functions.NUL_ESCAPE, NUL_STAND_IN)
