r"""The operators of the query language, and its semantics, which client and server both implement.

A query is a JSON object; an object of the store matches if all conditions hold::

    {"field": value}                              equals the value, or is a list that contains it
    {"field": {"$op": value, ...}}                all of these `OPERATORS` hold
    {"$or": [query, ...], "$and": [query, ...]}   at least one, or all, of these queries match
    {"$nor": [query, ...]}                        none of these queries matches

"Where to make common changes" in docs/architecture.md says what a new operator needs.

**Fields.** A name in `rinofs.protocol.records.RECORD_FIELDS` is that field of the record. Every other name is
a key of the metadata; ``metadata.x`` and ``metadata__x`` always are the key ``x`` there. A key with exactly
this name comes first, including its dots. If the object has no such key, or its value is null, a name that
contains ``.`` or ``__`` is split at each of them from the left, and the parts are keys of nested objects; a
name with an empty part is not split. Keys never lead into lists. Names that start with ``$`` are operators,
so query such a key as ``metadata.$key``, and an object that contains one as ``{"$eq": {...}}``.

**Null means absent.** A field with the value null is treated as missing: ``$exists`` is false for it, and
``{"field": null}`` matches objects without the field.

**Types are strict.** Numbers are compared with numbers, strings with strings by code point, booleans with
booleans. Values of different types never match and never cause an error. Only numbers and strings are ordered
(``$lt``...). Numbers are compared by value (1 equals 1.0); integers beyond 64 bits as the nearest double. In
strings and JSON keys, NUL is treated as U+10FFFD. Lists and objects are equal if their JSON text is the same:
keys in the same order, and 1 is not 1.0.

**Lists.** Equality, ``$in`` and ``$nin`` compare the value itself and, if it is a list, each of its items (a
null in it equals nothing). ``$string_contains`` finds a literal, case-sensitive part of a string.
``$matches`` finds whole words, as defined in `rinofs.protocol.words`, in a string or in each string of a
list.

**Every field.** The name ``*`` stands for the name, each tag, and each key and plain value anywhere in the
metadata; it supports ``$eq`` with a string, number or boolean, and ``$matches``. A key ``*`` is
``metadata.*``.

**Negations.** ``$ne`` (not equal) and ``$nin`` (not in) also match objects without the field.

**Sorting.** By a field, or ``-field`` for descending order: booleans (false first), numbers, strings, lists,
objects. Lists, objects and equal values are sorted by id. Objects without the field are omitted.
"""

from __future__ import annotations

import difflib
from dataclasses import dataclass
from enum import Enum
from typing import TYPE_CHECKING, TypeGuard

from rinofs.protocol.records import METADATA, RECORD_FIELDS

if TYPE_CHECKING:
    from collections.abc import Sequence

__all__ = [
    "AND",
    "EQ",
    "EVERY_FIELD",
    "EXISTS",
    "GROUPS",
    "GT",
    "GTE",
    "IN",
    "LT",
    "LTE",
    "MATCHES",
    "NE",
    "NIN",
    "NOR",
    "OPERATORS",
    "OR",
    "OR_SUFFIX",
    "STRING_CONTAINS",
    "Operator",
    "QueryError",
    "Takes",
    "check_every_field",
    "check_field",
    "find_operator",
    "is_condition",
    "is_group",
    "is_operator",
    "keywords",
    "operator_of_keyword",
    "symbols",
    "unknown_operator",
]

_SIGN = "$"

OR, AND, NOR = "$or", "$and", "$nor"
GROUPS = (OR, AND, NOR)
"""Operators that combine queries."""

EVERY_FIELD = "*"
"""Stands for the name, the tags, and the keys and plain values of the metadata."""

OR_SUFFIX = "or"
"""Suffix of keywords of which at least one must hold: ``x__gt__or=1``."""


class QueryError(ValueError):
    """An invalid query; the message gives the reason."""


class Takes(Enum):
    """The kind of value that an operator accepts."""

    ANY = "a value"
    LIST = "a list"
    NUMBER = "a number"
    TEXT = "text"
    TRUTH = "true or false"

    def admits(self, value: object) -> bool:
        """Return whether a JSON value is of this kind."""
        if self is Takes.LIST:
            return isinstance(value, list)
        if self is Takes.TRUTH:
            return isinstance(value, bool)
        if self is Takes.NUMBER:
            return isinstance(value, int | float) and not isinstance(value, bool)
        return self is Takes.ANY or isinstance(value, str)


@dataclass(frozen=True, slots=True)
class Operator:
    """An operator.

    Attributes
    ----------
    name : str
        Name in requests.
    takes : Takes
        Kind of value that it accepts.
    is_lenient : bool
        Whether a value of another kind matches nothing, instead of causing an error.
    symbols : tuple of str
        Symbols on the command line, from the characters ``!<>=~``, in addition to the keyword.
    """

    name: str
    takes: Takes = Takes.ANY
    is_lenient: bool = False
    symbols: tuple[str, ...] = ()

    @property
    def keyword(self) -> str:
        """Name in the keywords of `query` and on the command line."""
        return self.name.removeprefix(_SIGN)

    def check(self, value: object) -> None:
        """Raise an error for a JSON value that the operator does not accept.

        Raises
        ------
        QueryError
            If the value is not accepted; the message names the operator.
        """
        if not (self.is_lenient or self.takes.admits(value)):
            raise QueryError(f"{self.name} takes {self.takes.value}")


EQ = Operator("$eq", symbols=("=", "=="))
NE = Operator("$ne", symbols=("!=",))
LT = Operator("$lt", symbols=("<",))
LTE = Operator("$lte", symbols=("<=",))
GT = Operator("$gt", symbols=(">",))
GTE = Operator("$gte", symbols=(">=",))
IN = Operator("$in", Takes.LIST)
NIN = Operator("$nin", Takes.LIST)
EXISTS = Operator("$exists", Takes.TRUTH)
MATCHES = Operator("$matches", Takes.TEXT)
STRING_CONTAINS = Operator("$string_contains", Takes.TEXT, is_lenient=True, symbols=("~",))

OPERATORS: dict[str, Operator] = {
    one.name: one for one in (EQ, NE, LT, LTE, GT, GTE, IN, NIN, EXISTS, MATCHES, STRING_CONTAINS)
}
"""Operators by name."""


def is_operator(key: str) -> bool:
    """Return whether a key of a query has the form of an operator, known or not, and is not a field."""
    return key.startswith(_SIGN)


def is_condition(wanted: object) -> TypeGuard[dict[str, object]]:
    """Return whether the condition for a field is a mapping of operators, and not a value."""
    return isinstance(wanted, dict) and any(map(is_operator, wanted))


def is_group(key: str) -> bool:
    """Return whether a key of a query combines queries, and is not a field.

    Raises
    ------
    QueryError
        If it is an operator that does not combine queries.
    """
    if not is_operator(key):
        return False
    if key not in GROUPS:
        raise QueryError(unknown_operator(key, GROUPS))
    return True


def find_operator(name: str) -> Operator:
    """Return the operator with a name.

    Raises
    ------
    QueryError
        If there is none; the message suggests one.
    """
    operator = OPERATORS.get(name)
    if operator is None:
        raise QueryError(unknown_operator(name, list(OPERATORS)))
    return operator


def operator_of_keyword(keyword: str) -> Operator | None:
    """Return the operator with this keyword suffix, or None."""
    return OPERATORS.get(_SIGN + keyword)


def keywords() -> list[str]:
    """Return the keyword suffixes of all operators."""
    return [one.keyword for one in OPERATORS.values()]


def symbols() -> dict[str, Operator]:
    """Return the operators by command line symbol."""
    return {symbol: one for one in OPERATORS.values() for symbol in one.symbols}


def check_field(name: str) -> None:
    """Raise an error for a name that looks like a field of the record with an unknown operator.

    ``size__foo`` would otherwise be a nested key of the metadata that nobody has, so a typing error in an
    operator would find nothing. ``device__gain`` is a nested key, and ``metadata__size__foo`` always is.

    Raises
    ------
    QueryError
        If the first part of the name, up to ``__``, is a field of records other than the metadata.
    """
    first, _, rest = name.partition("__")
    if rest and first != METADATA and first in RECORD_FIELDS:
        hint = f"to look into the metadata, write {METADATA}__{name}"
        raise QueryError(f"{name}: {unknown_operator(rest.rpartition('__')[2], keywords())} ({hint})")


def check_every_field(operator: Operator, value: object) -> None:
    """Raise an error for a condition that `EVERY_FIELD` does not support.

    Raises
    ------
    QueryError
        If the operator is not ``$eq`` or ``$matches``, or the value is not plain.
    """
    if operator not in {EQ, MATCHES} or not isinstance(value, str | int | float):
        message = (
            f"every field is asked for a text, a number or a truth value, by {EQ.name} or {MATCHES.name}"
        )
        raise QueryError(f"{EVERY_FIELD} {message}")


def unknown_operator(name: str, known: Sequence[str]) -> str:
    """Return the message for an unknown operator, with a suggestion."""
    turned = [one for one in known if sorted(one) == sorted(name)]
    similar = turned or difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {similar[0]!r}?" if similar else f"use one of {', '.join(known)}"
    return f"unknown operator {name!r}; {hint}"
