"""What of a query's SQL each database has its own way of writing: JSON, numbers in texts, words in texts.

`rinofs.server.catalog.queries` puts statements together as text, from standard SQL and from what a
`QueryDialect` returns. Types of JSON values have SQLite's names everywhere: ``null``, ``true``, ``false``,
``integer``, ``real``, ``text``, ``array``, ``object``.
"""

from __future__ import annotations

import re
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, ClassVar, NamedTuple, TypeGuard

from sqlalchemy import bindparam, select, text
from sqlalchemy.sql.functions import FunctionElement
from sqlalchemy.types import Text

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection, Select, TextClause

__all__ = [
    "FALSE",
    "INDEX_PREFIX",
    "NUL_ESCAPE",
    "RANKS",
    "TRUE",
    "Bound",
    "Expressions",
    "NumbersOfList",
    "QueryDialect",
    "TextSource",
    "WordSearch",
    "is_number",
    "listed_numbers",
    "rank",
    "rank_or_null",
]

TRUE, FALSE = "TRUE", "FALSE"

NUL_ESCAPE = "\\u0000"
"""NUL in stored JSON."""

RANKS = {"text": 2, "array": 3, "object": 4, "integer": 1, "real": 1, "true": 0, "false": 0}
"""The positions of types in the order of types."""

INDEX_PREFIX = "ix_objects_field_"
"""What the names of indexes on fields of the metadata begin with."""

_RANKED = " ".join(f"WHEN '{kind}' THEN {rank}" for kind, rank in RANKS.items() if rank)
_RANKED_OR_NULL = " ".join(f"WHEN '{kind}' THEN {rank}" for kind, rank in RANKS.items())
_BOUND = re.compile(r":(\w+)")


def rank(kind: str) -> str:
    """Return the position of a type in the order of types."""
    return f"CASE {kind} {_RANKED} ELSE 0 END"


def rank_or_null(kind: str) -> str:
    """Return the position of a type in the order of types; null for null."""
    return f"CASE {kind} {_RANKED_OR_NULL} END"


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


class NumbersOfList(FunctionElement[int]):
    """A table of the numbers of a JSON list, as which each database compiles it."""

    name = "numbers_of_list"
    inherit_cache = True


def listed_numbers(name: str) -> Select[tuple[int]]:
    """Return the numbers of a JSON list that is bound to a name; the SQL is the same for any length."""
    return select(NumbersOfList(bindparam(name, type_=Text)).table_valued("value").c.value)


@dataclass(frozen=True, slots=True)
class Expressions:
    """A field of an object in SQL, as an index has it.

    Attributes
    ----------
    value, kind : str
        Its value and the JSON type of that; null for objects without it.
    rank : str
        The position of the type in the order of types; null for objects without it.
    number : str
        The value where it is a number; 0 or 1 where it is false or true.
    text : str
        The value where it is a text.
    columns : sequence of str
        What the index has after the owner: the rank, the number, and then the text unless that is one with
        the number. It may have less of them than all, in the same order.
    order : sequence of str
        What to sort by.
    """

    value: str
    kind: str
    rank: str
    number: str
    text: str
    columns: Sequence[str]
    order: Sequence[str]


class TextSource(NamedTuple):
    """Texts of objects in which words are looked for.

    Attributes
    ----------
    tables : str
        Where they are, beside the table of objects; each begins with a comma.
    text : str
        The text.
    condition : str
        What holds for the rows.
    raw : str or None
        A column of JSON text that holds each of them.
    """

    tables: str
    text: str
    condition: str
    raw: str | None


class WordSearch(NamedTuple):
    """Texts that are tested for words before the statement runs that asks for them.

    Attributes
    ----------
    name : str
        The name that the ids of the objects are bound to for which one of their texts holds the words.
    statement : str
        Finds the ids, and a text of each.
    pattern : str
        The words.
    """

    name: str
    statement: str
    pattern: str


class Bound:
    """The values of one statement, by the names that stand for them in its text.

    Parameters
    ----------
    dialect : QueryDialect
        How the database writes what a query needs; also an attribute.
    prefix : str
        What the names begin with; texts that go into one statement need different ones.

    Attributes
    ----------
    values : dict
        The values, by name.
    searches : list of WordSearch
        What else has to be found for the statement.
    """

    def __init__(self, dialect: QueryDialect, prefix: str = "q") -> None:
        self.dialect = dialect
        self.values: dict[str, Any] = {}
        self.searches: list[WordSearch] = []
        self._prefix = prefix

    def name(self, value: object) -> str:
        """Return what stands for a value in the text."""
        name = f"{self._prefix}{len(self.values)}"
        self.values[name] = value
        return self.dialect.parameter(f":{name}", value)

    def search(self, owner: int, sources: Sequence[TextSource], pattern: str) -> str:
        """Return whether a text of an object holds words, which is to be found out beforehand."""
        if not sources:
            return FALSE
        mine = f"objects.owner = {self.name(owner)} AND objects.version_of IS NULL"
        found = [self.dialect.word_candidates(self, source, pattern) for source in sources]
        statement = " UNION ALL ".join(f"{one} AND {mine}" for one in found)
        name = f"{self._prefix}{len(self.values)}"
        self.values[name] = ()
        self.searches.append(WordSearch(name, statement, pattern))
        return self.dialect.among_ids(f":{name}")

    def clause(self, sql: str, **more: object) -> TextClause:
        """Return a text with the values that it has names of, and some more."""
        # What can never match is left out of the text, and so are the values that it would be compared with.
        used = self.values.keys() & set(_BOUND.findall(sql))
        return text(sql).bindparams(**{name: self.values[name] for name in used} | more)


class QueryDialect(ABC):
    """The SQL of a database for what a query needs."""

    tests_words: ClassVar[bool]
    """Whether `matches` tests a text for words; if not, `word_candidates` finds texts to test beforehand."""

    def parameter(self, name: str, value: object) -> str:  # noqa: ARG002
        """Return a bound value in SQL."""
        return name

    @staticmethod
    @abstractmethod
    def compared(column: str) -> str:
        """Return a column of stored JSON text in the form that is compared."""

    # Parts of JSON texts, as tables

    @abstractmethod
    def at(self, document: str, keys: Sequence[str], alias: str) -> str:
        """Return the clauses FROM and WHERE that find what is below some keys, one in the other.

        The row has a `value` and a `type`; there is none where there is nothing, or null. Keys are SQL.
        """

    @abstractmethod
    def items(self, value: str, kind: str, alias: str) -> str:
        """Return a table of the `value` and `type` of the items of a list; empty for all other values."""

    @abstractmethod
    def keys(self, document: str, alias: str) -> str:
        """Return a table of each `key` directly in a JSON text."""

    @abstractmethod
    def tree(self, document: str, alias: str) -> str:
        """Return a table of all that is in a JSON text: `key`, `type`, and `atom`, a plain value or null."""

    @abstractmethod
    def is_key(self, alias: str) -> str:
        """Return whether a row of `tree` has a key, and not a position in a list."""

    # Values

    @abstractmethod
    def number(self, value: str, kind: str) -> str:
        """Return a value out of JSON as a number, by which numbers are compared and sorted.

        False and true are 0 and 1; other values are anything.
        """

    @abstractmethod
    def bound_number(self, bound: Bound, value: float, *, in_column: bool) -> str:
        """Return what a `number`, or a column of integers, is compared with."""

    @abstractmethod
    def among(self, value: str, bound: Bound, values: Sequence[Any]) -> str:
        """Return whether a `number`, or a text, is one of some values, which may be many."""

    def ordered(self, value: str, comparison: str, wanted: str) -> str:
        """Return whether a text stands in an order to another one, by code point."""
        return f"{self.sorted_text(value)} {comparison} {wanted}"

    def sorted_text(self, value: str) -> str:
        """Return a text in the form that is sorted."""
        return value

    @abstractmethod
    def contains(self, value: str, part: str) -> str:
        """Return whether a text holds another one."""

    @abstractmethod
    def order(self, value: str, kind: str, number: str) -> Sequence[str]:
        """Return what to sort by a value: its type, and then the value."""

    @abstractmethod
    def distinct(self, value: str, kind: str, number: str, condition: str) -> str:
        """Return the statement for the different values of objects, each with its type, in order."""

    # Words

    def matches(self, value: str, pattern: str) -> str:
        """Return whether a text holds a pattern as whole words."""
        raise NotImplementedError

    def word_candidates(self, bound: Bound, source: TextSource, pattern: str) -> str:
        """Return the statement for the ids and texts of objects, without those that cannot hold a pattern.

        It ends with a condition.
        """
        raise NotImplementedError

    def among_ids(self, name: str) -> str:
        """Return whether an object is one of those in a bound list."""
        raise NotImplementedError

    def text_sources(self, value: str, kind: str, raw: str | None) -> Sequence[TextSource]:
        """Return where the texts are that a value is, or has as items."""
        raise NotImplementedError

    # Indexes on fields of the metadata

    @abstractmethod
    def expressions(self, paths: Sequence[Sequence[str]], column: str) -> Expressions:
        """Return a field in SQL.

        Parameters
        ----------
        paths : sequence of sequences of str
            Where it may be: keys, one in the other; the first place that has it counts.
        column : str
            The column of the metadata.
        """

    def by_index(
        self,
        bound: Bound,  # noqa: ARG002
        found: Expressions,  # noqa: ARG002
        comparison: str,  # noqa: ARG002
        values: Sequence[Any],  # noqa: ARG002
        exact: Callable[[], str],
    ) -> str:
        """Return whether a field stands in an order to a value, or is (``=``) one of several, by its index.

        Parameters
        ----------
        bound : Bound
            Where the values go.
        found : Expressions
            The field.
        comparison : str
            The order.
        values : sequence of numbers or of str
            The values.
        exact : callable
            Returns the same condition on `number` or `text`.
        """
        return exact()

    @abstractmethod
    def index_names(self, connection: Connection) -> set[str]:
        """Return the fields that have an index."""

    @abstractmethod
    def make_index(self, connection: Connection, field: str, paths: Sequence[Sequence[str]]) -> None:
        """Make the index on a field, in a transaction that may change tables."""

    @abstractmethod
    def remove_index(self, connection: Connection, field: str) -> bool:
        """Remove the index on a field, in such a transaction; tell whether there was one."""

    def make_index_online(self, connection: Connection, field: str, paths: Sequence[Sequence[str]]) -> None:
        """Make the index on a field while others write, as far as they can; see `Database.index_changes`."""
        self.make_index(connection, field, paths)

    def remove_index_online(self, connection: Connection, field: str) -> bool:
        """Remove the index on a field while others read and write; see `Database.index_changes`."""
        return self.remove_index(connection, field)
