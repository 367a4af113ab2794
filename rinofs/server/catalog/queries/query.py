r"""The query language of the Rinocloud API, as SQL.

A query is a JSON object; an object of the store is found if all its conditions hold::

    {"field": value}                              equal to the value, or a list that holds it
    {"field": {"$op": value, ...}}                one of the operators below, or several
    {"$or": [query, ...], "$and": [query, ...]}   of these queries, one at least or all

Operators: ``$eq $ne $lt $lte $gt $gte $in $nin $exists $string_contains``. The rules, exact enough to be
followed by another evaluator:

**Fields.** The name of a record's own field (`rinofs.server.catalog.queries.fields.RECORD_FIELDS`) is that
field;
``metadata.x`` and ``metadata__x`` are ``x`` in the metadata whatever ``x`` is; every other name is one in the
metadata. There, the key of exactly that name counts, dots and all. Where an object has no such key, or null
there, and the name holds ``.`` or ``__``, it is split at each of them (from the left,
``re.split(r"\.|__", name)``) and the parts lead through nested objects, one key each; a name with an empty
part is never split. Lists are not reached into. What begins with ``$`` is an operator, so such a key is asked
for as ``metadata.$key``, and an object with such a key as ``{"$eq": {...}}``.

**Null is absence.** A field that is null is as good as not there: ``$exists`` is false for it, and
``{"field": null}`` finds the objects without the field.

**Types are strict.** Numbers compare with numbers, texts with texts by code points, true with true. Anything
else never matches, and never fails. An order (``$lt``...) is known for numbers and for texts only. Numbers
compare by value (1 equals 1.0); integers beyond 64 bits compare as the nearest double. In texts and keys of
JSON, NUL counts as U+10FFFD. A list or an object equals another one that is the same JSON text: its keys in
the same order, 1 not being 1.0.

**Lists.** Equality, ``$in`` and ``$nin`` look at the value itself and, where it is a list, at each item in it
(a null in it equals nothing). ``$string_contains`` looks for a literal, case-sensitive part of a text.

**Negations.** ``$ne`` is not equal and ``$nin`` not in: they also find the objects without the field.

**Sorting.** By a field, or ``-field`` for the reverse: truth values (false first), numbers, texts, lists,
objects; lists among each other, objects among each other and what is equal by id. Objects without the field
are left out.
"""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

from sqlalchemy import text

from rinofs.server.catalog.queries.fields import Field, field_of, ordering
from rinofs.server.catalog.queries.values import Bound, any_of
from rinofs.server.errors import BadRequest

if TYPE_CHECKING:
    from sqlalchemy import TextClause

    from rinofs.server.catalog.records import User

__all__ = ["MAX_NEEDLE", "compile_query", "compile_sort", "distinct_values"]

MAX_DEPTH = 8
"""Levels of ``$or`` and ``$and``."""
MAX_TERMS = 100
"""Conditions in one query."""
MAX_VALUES = 10_000
"""Values in all ``$in`` and ``$nin`` of one query."""
MAX_NEEDLE = 256
"""Characters of a text that ``$string_contains`` looks for."""
MAX_FIELD = 1024
"""Characters of the name of a field."""

_BOUND = re.compile(r":(\w+)")
_ORDERS = {"$lt": "<", "$lte": "<=", "$gt": ">", "$gte": ">="}


def compile_query(user: User, query: object, *, digests: bool = True) -> TextClause:
    """Turn a query into a condition on the table of objects.

    Parameters
    ----------
    user : User
        Whose objects are asked for; the condition does not restrict them to these.
    query : object
        The query, as it was sent; None finds everything.
    digests : bool
        Whether ``sha256`` is a field of records.

    Raises
    ------
    BadRequest
        If it is no query, or beyond the limits; the message names what is wrong.
    """
    bound = Bound()
    condition = _Compiler(bound, user, digests=digests).conditions({} if query is None else query, MAX_DEPTH)
    return _clause(condition, bound)


def compile_sort(user: User, sort: object, *, digests: bool = True) -> tuple[TextClause, TextClause]:
    """Turn an order into a condition, for what has the field, and what to order by.

    Raises
    ------
    BadRequest
        If it does not name a field.
    """
    if not isinstance(sort, str) or sort in {"", "-"}:
        raise BadRequest("sort: the name of a field is expected, after a - for the reverse", field="sort")
    name, direction = _checked_field(sort.removeprefix("-")), " DESC" if sort.startswith("-") else ""
    there, sorted_by = Bound("p"), Bound("s")
    present = field_of(there, user, name, digests=digests).present()
    columns = ordering(field_of(sorted_by, user, name, digests=digests))
    order = ", ".join(column + direction for column in columns)
    return _clause(present, there), _clause(order, sorted_by)


def distinct_values(user: User, field: str, *, digests: bool = True) -> TextClause:
    """Return the statement that finds the values of a field among a user's current objects.

    Its rows are a value and the JSON type of that; ``:limit`` is the number of rows wanted.
    """
    bound = Bound("v")
    source = field_of(bound, user, _checked_field(field), digests=digests)
    value, kind = source.scalar()
    mine = f"objects.owner = {bound.name(user.id)} AND objects.version_of IS NULL AND {source.present()}"
    found = f"SELECT DISTINCT {value} AS value, {kind} AS kind FROM objects WHERE {mine}"  # noqa: S608
    return _clause(f"{found} ORDER BY kind, value LIMIT :limit", bound)


def _clause(sql: str, bound: Bound) -> TextClause:
    # What can never match is left out of the text, and so are the values that it would be compared with.
    used = bound.values.keys() & set(_BOUND.findall(sql))
    return text(sql).bindparams(**{name: bound.values[name] for name in used})


def _checked_field(field: str) -> str:
    if len(field) > MAX_FIELD:
        raise BadRequest(f"query: the name of a field has at most {MAX_FIELD} characters", field="query")
    return field


class _Compiler:
    def __init__(self, bound: Bound, user: User, *, digests: bool) -> None:
        self._bound = bound
        self._user = user
        self._digests = digests
        self._terms = 0
        self._values = 0

    def conditions(self, query: object, depth: int) -> str:
        if not isinstance(query, dict):
            raise BadRequest("query: an object is expected", field="query")
        if depth < 0:
            raise BadRequest(f"query: at most {MAX_DEPTH} levels of $or and $and are answered", field="query")
        found = [
            self._group(key, value, depth) if key.startswith("$") else self._field(key, value)
            for key, value in query.items()
        ]
        return _all_of(found)

    def _group(self, operator: str, queries: object, depth: int) -> str:
        if operator not in {"$or", "$and"}:
            raise BadRequest(f"query: {operator!r} is no operator known here", field="query")
        if not isinstance(queries, list) or not queries:
            raise BadRequest(f"query: {operator} takes a list of queries", field="query")
        parts = [self.conditions(one, depth - 1) for one in queries]
        return any_of(parts) if operator == "$or" else _all_of(parts)

    def _field(self, name: str, wanted: object) -> str:
        field = field_of(self._bound, self._user, _checked_field(name), digests=self._digests)
        if not isinstance(wanted, dict) or not any(key.startswith("$") for key in wanted):
            return self._term(field, name, "$eq", wanted)
        return _all_of([self._term(field, name, operator, value) for operator, value in wanted.items()])

    def _term(self, field: Field, name: str, operator: str, value: object) -> str:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise BadRequest(f"query: at most {MAX_TERMS} conditions are answered", field="query")
        if operator in {"$eq", "$ne"}:
            found = self._is_one_of(field, [value])
            return found if operator == "$eq" else f"NOT {found}"
        if operator in {"$in", "$nin"}:
            found = self._is_one_of(field, self._list(name, operator, value))
            return found if operator == "$in" else f"NOT {found}"
        if operator in _ORDERS:
            return field.where(lambda cell: cell.ordered(_ORDERS[operator], value))
        if operator == "$exists":
            return self._exists(field, name, value)
        if operator == "$string_contains":
            return self._contains(field, name, value)
        raise BadRequest(f"query: {name}: {operator!r} is no operator known here", field="query")

    def _list(self, name: str, operator: str, value: object) -> list[object]:
        if not isinstance(value, list):
            raise BadRequest(f"query: {name}: {operator} takes a list", field="query")
        self._values += len(value)
        if self._values > MAX_VALUES:
            raise BadRequest(f"query: at most {MAX_VALUES} values are looked for", field="query")
        return value

    @staticmethod
    def _is_one_of(field: Field, values: list[object]) -> str:
        some = [value for value in values if value is not None]
        found = [field.where(lambda cell: cell.matches(some))] if some else []
        if len(some) < len(values):
            found.append(field.absent())
        return any_of(found)

    @staticmethod
    def _exists(field: Field, name: str, value: object) -> str:
        if not isinstance(value, bool):
            raise BadRequest(f"query: {name}: $exists takes true or false", field="query")
        return field.present() if value else field.absent()

    @staticmethod
    def _contains(field: Field, name: str, value: object) -> str:
        if not isinstance(value, str):
            return "0"
        if len(value) > MAX_NEEDLE:
            raise BadRequest(
                f"query: {name}: $string_contains takes at most {MAX_NEEDLE} characters", field="query"
            )
        return field.where(lambda cell: cell.contains(value))


def _all_of(conditions: list[str]) -> str:
    return f"({' AND '.join(conditions)})" if conditions else "1"
