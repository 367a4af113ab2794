r"""The operators of the query language, and its rules: exact enough to be followed by two evaluators.

A query is a JSON object; an object of the store is found if all its conditions hold::

    {"field": value}                              equal to the value, or a list that holds it
    {"field": {"$op": value, ...}}                one of `OPERATORS`, or several
    {"$or": [query, ...], "$and": [query, ...]}   of these queries, one at least or all
    {"$nor": [query, ...]}                        none of these queries

A new operator is an `Operator` here, a function in `rinofs.rinocloud.queries.matching.MATCHERS`, one in
`rinofs.server.catalog.queries.conditions.CONDITIONS`, and a test. Keywords and the command line follow.

**Fields.** The name of a record's own field (`rinofs.protocol.records.RECORD_FIELDS`) is that field;
``metadata.x`` and ``metadata__x`` are ``x`` in the metadata whatever ``x`` is; every other name is one in the
metadata. There, the key of exactly that name counts, dots and all. Where an object has no such key, or null
there, and the name holds ``.`` or ``__``, it is split at each of them (from the left) and the parts lead
through nested objects, one key each; a name with an empty part is never split. Lists are not reached into.
What begins with ``$`` is an operator, so such a key is asked for as ``metadata.$key``, and an object with
such a key as ``{"$eq": {...}}``.

**Null is absence.** A field that is null is as good as not there: ``$exists`` is false for it, and
``{"field": null}`` finds the objects without the field.

**Types are strict.** Numbers compare with numbers, texts with texts by code points, true with true. Anything
else never matches, and never fails. An order (``$lt``...) is known for numbers and for texts only. Numbers
compare by value (1 equals 1.0); integers beyond 64 bits compare as the nearest double. In texts and keys of
JSON, NUL counts as U+10FFFD. A list or an object equals another one that is the same JSON text: its keys in
the same order, 1 not being 1.0.

**Lists.** Equality, ``$in`` and ``$nin`` look at the value itself and, where it is a list, at each item in it
(a null in it equals nothing). ``$string_contains`` looks for a literal, case-sensitive part of a text.
``$matches`` looks for whole words, as `rinofs.protocol.words` has them, in a text or each text of a list.

**Every field.** The name ``*`` stands for the name, each tag, and each key and plain value anywhere in the
metadata; ``$eq``, with a text, a number or a truth value, and ``$matches`` are asked of it. A key ``*`` is
``metadata.*``.

**Negations.** ``$ne`` is not equal and ``$nin`` not in: they also find the objects without the field.

**Sorting.** By a field, or ``-field`` for the reverse: truth values (false first), numbers, texts, lists,
objects; lists among each other, objects among each other and what is equal by id. Objects without the field
are left out.
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
"""What combines queries."""

EVERY_FIELD = "*"
"""Stands for the name, the tags, and the keys and plain values of the metadata."""

OR_SUFFIX = "or"
"""Ends keywords of which one has to hold: ``x__gt__or=1``."""


class QueryError(ValueError):
    """Something that is not a query; the message says why."""


class Takes(Enum):
    """What an operator takes."""

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
        Its name on the wire.
    takes : Takes
        What it takes.
    is_lenient : bool
        Whether it finds nothing, instead of being refused, with a value of another kind.
    symbols : tuple of str
        Its symbols on the command line, of the characters ``!<>=~``. Its keyword does there as well.
    """

    name: str
    takes: Takes = Takes.ANY
    is_lenient: bool = False
    symbols: tuple[str, ...] = ()

    @property
    def keyword(self) -> str:
        """Its name in the keywords of `query` and on the command line."""
        return self.name.removeprefix(_SIGN)

    def check(self, value: object) -> None:
        """Refuse a JSON value that the operator cannot take.

        Raises
        ------
        QueryError
            Naming the operator.
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
"""The operators, by name."""


def is_operator(key: str) -> bool:
    """Return whether a key of a query stands for an operator, known or not, and not for a field."""
    return key.startswith(_SIGN)


def is_condition(wanted: object) -> TypeGuard[dict[str, object]]:
    """Return whether what a field is asked for is a mapping of operators, and not a value."""
    return isinstance(wanted, dict) and any(map(is_operator, wanted))


def is_group(key: str) -> bool:
    """Return whether a key of a query combines queries, and does not stand for a field.

    Raises
    ------
    QueryError
        If it is an operator, but none that combines.
    """
    if not is_operator(key):
        return False
    if key not in GROUPS:
        raise QueryError(unknown_operator(key, GROUPS))
    return True


def find_operator(name: str) -> Operator:
    """Return the operator of that name on the wire.

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
    """Return the operator that ends such a keyword, or None."""
    return OPERATORS.get(_SIGN + keyword)


def keywords() -> list[str]:
    """Return the keywords of the operators."""
    return [one.keyword for one in OPERATORS.values()]


def symbols() -> dict[str, Operator]:
    """Return the operators that have symbols, by these."""
    return {symbol: one for one in OPERATORS.values() for symbol in one.symbols}


def check_field(name: str) -> None:
    """Refuse a name that looks like a field of the record with an operator that does not exist.

    ``size__foo`` would be a key within the metadata that hardly anybody has, so the answer to a mistyped
    operator would be an empty one. ``device__gain`` is a nested key, and ``metadata__size__foo`` always is.

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
    """Refuse what cannot be asked of `EVERY_FIELD`.

    Raises
    ------
    QueryError
        If it is another operator than ``$eq`` and ``$matches``, or no plain value.
    """
    if operator not in {EQ, MATCHES} or not isinstance(value, str | int | float):
        message = (
            f"every field is asked for a text, a number or a truth value, by {EQ.name} or {MATCHES.name}"
        )
        raise QueryError(f"{EVERY_FIELD} {message}")


def unknown_operator(name: str, known: Sequence[str]) -> str:
    """Say that there is no such operator, and which one may be meant."""
    turned = [one for one in known if sorted(one) == sorted(name)]
    similar = turned or difflib.get_close_matches(name, known, n=1)
    hint = f"did you mean {similar[0]!r}?" if similar else f"use one of {', '.join(known)}"
    return f"unknown operator {name!r}; {hint}"
