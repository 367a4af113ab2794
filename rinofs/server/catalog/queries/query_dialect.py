"""The parts of a query's SQL that differ between databases: JSON, numbers in texts, words in texts.

`rinofs.server.catalog.queries` builds statements as text, from standard SQL and the results of a
`QueryDialect`. Types of JSON values have SQLite's names everywhere: ``null``, ``true``, ``false``,
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
"""The rank of each type in the sort order of types."""

INDEX_PREFIX = "ix_objects_field_"
"""Prefix of the names of indexes on metadata fields."""

_RANKED = " ".join(f"WHEN '{kind}' THEN {rank}" for kind, rank in RANKS.items() if rank)
_RANKED_OR_NULL = " ".join(f"WHEN '{kind}' THEN {rank}" for kind, rank in RANKS.items())
_BOUND = re.compile(r":(\w+)")


def rank(kind: str) -> str:
    """Return the rank of a type in the sort order of types."""
    return f"CASE {kind} {_RANKED} ELSE 0 END"


def rank_or_null(kind: str) -> str:
    """Return the rank of a type in the sort order of types; null for null."""
    return f"CASE {kind} {_RANKED_OR_NULL} END"


def is_number(value: object) -> TypeGuard[int | float]:
    """Return whether a JSON value is a number."""
    return isinstance(value, int | float) and not isinstance(value, bool)


class NumbersOfList(FunctionElement[int]):
    """A table of the numbers in a JSON list; each database compiles it in its own way."""

    name = "numbers_of_list"
    inherit_cache = True


def listed_numbers(name: str) -> Select[tuple[int]]:
    """Select the numbers of a JSON list that is bound to a name; the SQL is the same for any length."""
    return select(NumbersOfList(bindparam(name, type_=Text)).table_valued("value").c.value)


@dataclass(frozen=True, slots=True)
class Expressions:
    """A field of an object in SQL, as in an index.

    Attributes
    ----------
    value, kind : str
        Its value and JSON type; null for objects without it.
    rank : str
        The rank of the type in the sort order of types; null for objects without it.
    number : str
        The value if it is a number; 0 or 1 if it is false or true.
    text : str
        The value if it is a text.
    columns : sequence of str
        The columns of the index after the owner: the rank, the number, and then the text unless it shares a
        column with the number. Some may be absent; the order is the same.
    order : sequence of str
        ORDER BY terms.
    """

    value: str
    kind: str
    rank: str
    number: str
    text: str
    columns: Sequence[str]
    order: Sequence[str]


class TextSource(NamedTuple):
    """Texts of objects in which to search for words.

    Attributes
    ----------
    tables : str
        Tables besides that of objects; each starts with a comma.
    text : str
        The text.
    condition : str
        Condition for the rows.
    raw : str or None
        Column of JSON text that contains each of them.
    """

    tables: str
    text: str
    condition: str
    raw: str | None


class WordSearch(NamedTuple):
    """Texts to test for words before running the statement that needs the result.

    Attributes
    ----------
    name : str
        Parameter for the ids of the objects of which a text contains the words.
    statement : str
        Finds ids, each with a text.
    pattern : str
        The words.
    """

    name: str
    statement: str
    pattern: str


class Bound:
    """The values of one statement, by the names of its parameters.

    Parameters
    ----------
    dialect : QueryDialect
        SQL dialect of the database; also an attribute.
    prefix : str
        Prefix of the names; texts that are combined into one statement need different ones.

    Attributes
    ----------
    values : dict
        The values, by name.
    searches : list of WordSearch
        Searches to run before the statement.
    """

    def __init__(self, dialect: QueryDialect, prefix: str = "q") -> None:
        self.dialect = dialect
        self.values: dict[str, Any] = {}
        self.searches: list[WordSearch] = []
        self._prefix = prefix

    def name(self, value: object) -> str:
        """Return the parameter for a value."""
        name = f"{self._prefix}{len(self.values)}"
        self.values[name] = value
        return self.dialect.parameter(f":{name}", value)

    def search(self, owner: int, sources: Sequence[TextSource], pattern: str) -> str:
        """Return whether a text of an object contains words; the search runs before the statement."""
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
        """Return a text with the values of its parameters, and some more."""
        # Conditions that can never match are left out of the text, and so are their values.
        used = self.values.keys() & set(_BOUND.findall(sql))
        return text(sql).bindparams(**{name: self.values[name] for name in used} | more)


class QueryDialect(ABC):
    """The SQL of a database for what a query needs."""

    tests_words: ClassVar[bool]
    """Whether `matches` tests texts for words; otherwise `word_candidates` finds texts to test beforehand."""

    def parameter(self, name: str, value: object) -> str:  # noqa: ARG002
        """Return a bound value in SQL."""
        return name

    @staticmethod
    @abstractmethod
    def compared(column: str) -> str:
        """Return a column of stored JSON text in the form for comparisons."""

    # Parts of JSON texts, as tables

    @abstractmethod
    def at(self, document: str, keys: Sequence[str], alias: str) -> str:
        """Return the FROM and WHERE clauses that find the value below nested keys.

        The row has a `value` and a `type`; there is none if the value is missing or null. Keys are SQL.
        """

    @abstractmethod
    def items(self, value: str, kind: str, alias: str) -> str:
        """Return a table of the `value` and `type` of the items of a list; empty for all other values."""

    @abstractmethod
    def keys(self, document: str, alias: str) -> str:
        """Return a table of each `key` directly in a JSON text."""

    @abstractmethod
    def tree(self, document: str, alias: str) -> str:
        """Return a table of everything in a JSON text: `key`, `type`, and `atom`, a plain value or null."""

    @abstractmethod
    def is_key(self, alias: str) -> str:
        """Return whether a row of `tree` has a key, as opposed to a position in a list."""

    # Values

    @abstractmethod
    def number(self, value: str, kind: str) -> str:
        """Return a value from JSON as a number, for comparing and sorting.

        False and true are 0 and 1; the result for other values is arbitrary.
        """

    @abstractmethod
    def bound_number(self, bound: Bound, value: float, *, in_column: bool) -> str:
        """Return the operand for comparison with a `number`, or with a column of integers."""

    @abstractmethod
    def among(self, value: str, bound: Bound, values: Sequence[Any]) -> str:
        """Return whether a `number`, or a text, is one of some values, which may be many."""

    def ordered(self, value: str, comparison: str, wanted: str) -> str:
        """Return whether a comparison with another text holds, by code point."""
        return f"{self.sorted_text(value)} {comparison} {wanted}"

    def sorted_text(self, value: str) -> str:
        """Return a text in the form for sorting."""
        return value

    @abstractmethod
    def contains(self, value: str, part: str) -> str:
        """Return whether a text contains another one."""

    @abstractmethod
    def order(self, value: str, kind: str, number: str) -> Sequence[str]:
        """Return the ORDER BY terms of a value: its type, and then the value."""

    @abstractmethod
    def distinct(self, value: str, kind: str, number: str, condition: str) -> str:
        """Return the statement for the distinct values of objects, each with its type, sorted."""

    # Words

    def matches(self, value: str, pattern: str) -> str:
        """Return whether a text contains a pattern as whole words."""
        raise NotImplementedError

    def word_candidates(self, bound: Bound, source: TextSource, pattern: str) -> str:
        """Return the statement for the ids and texts of objects, except those that cannot match a pattern.

        It ends with a condition.
        """
        raise NotImplementedError

    def among_ids(self, name: str) -> str:
        """Return whether an object is one of those in a bound list."""
        raise NotImplementedError

    def text_sources(self, value: str, kind: str, raw: str | None) -> Sequence[TextSource]:
        """Return the sources of the texts in a value: the value itself, or its items."""
        raise NotImplementedError

    # Indexes on metadata fields

    @abstractmethod
    def expressions(self, paths: Sequence[Sequence[str]], column: str) -> Expressions:
        """Return a field in SQL.

        Parameters
        ----------
        paths : sequence of sequences of str
            Nested keys where it may be; the first path that exists counts.
        column : str
            Column of the metadata.
        """

    def by_index(
        self,
        bound: Bound,  # noqa: ARG002
        found: Expressions,  # noqa: ARG002
        comparison: str,  # noqa: ARG002
        values: Sequence[Any],  # noqa: ARG002
        exact: Callable[[], str],
    ) -> str:
        """Return whether a comparison with a value holds, or with one of several for ``=``, using the index.

        Parameters
        ----------
        bound : Bound
            Receives the values.
        found : Expressions
            The field.
        comparison : str
            The operator.
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
        """Create the index on a field, in a transaction that may change tables."""

    @abstractmethod
    def remove_index(self, connection: Connection, field: str) -> bool:
        """Remove the index on a field, in such a transaction; return whether it existed."""

    def make_index_online(self, connection: Connection, field: str, paths: Sequence[Sequence[str]]) -> None:
        """Create the index on a field while others write, if possible; see `Database.index_changes`."""
        self.make_index(connection, field, paths)

    def remove_index_online(self, connection: Connection, field: str) -> bool:
        """Remove the index on a field while others read and write; see `Database.index_changes`."""
        return self.remove_index(connection, field)
