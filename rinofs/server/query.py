r"""The query language of the Rinocloud API, as SQL.

A query is a JSON object; an object of the store is found if all its conditions hold::

    {"field": value}                              equal to the value, or a list that holds it
    {"field": {"$op": value, ...}}                one of the operators below, or several
    {"$or": [query, ...], "$and": [query, ...]}   of these queries, one at least or all

Operators: ``$eq $ne $lt $lte $gt $gte $in $nin $exists $string_contains``. The rules, exact enough to be
followed by another evaluator:

**Fields.** The name of a record's own field (`rinofs.server.query_fields.RECORD_FIELDS`) is that field;
``metadata.x`` and ``metadata__x`` are ``x`` in the metadata whatever ``x`` is; every other name is one in the
metadata. There, the key of exactly that name counts, dots and all. Where an object has no such key, or null
there, and the name holds ``.`` or ``__``, it is split at each of them (from the left,
``re.split(r"\.|__", name)``) and the parts lead through nested objects, one key each; a name with an empty
part is never split. Lists are not reached into.

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

All that comes from the client goes into the SQL as bound values, keys included.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, TypeAlias

from sqlalchemy import and_, false, not_, or_, true

from rinofs.server.errors import BadRequest
from rinofs.server.query_fields import ColumnField, MetadataField, field_of, ordering

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement

    from rinofs.server.records import User

Field: TypeAlias = ColumnField | MetadataField

__all__ = ["compile_query", "compile_sort", "field_values"]

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

_ORDERS = {"$lt": "__lt__", "$lte": "__le__", "$gt": "__gt__", "$gte": "__ge__"}


def compile_query(user: User, query: object, *, digests: bool = True) -> ColumnElement[bool]:
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
    if query is None:
        return true()
    return _Compiler(user, digests=digests).conditions(query, MAX_DEPTH)


def compile_sort(
    user: User, sort: object, *, digests: bool = True
) -> tuple[ColumnElement[bool], list[ColumnElement[Any]]]:
    """Turn an order into a condition, for what has the field, and columns to order by.

    Raises
    ------
    BadRequest
        If it does not name a field.
    """
    if not isinstance(sort, str) or sort in {"", "-"}:
        raise BadRequest(
            "sort: the name of a field is expected, after a - for the reverse order", field="sort"
        )
    source = field_of(user, _checked_field(sort.removeprefix("-")), digests=digests)
    columns = ordering(source)
    return source.present(), [column.desc() for column in columns] if sort.startswith("-") else columns


def field_values(
    user: User, field: str, *, digests: bool = True
) -> tuple[ColumnElement[bool], ColumnElement[Any], ColumnElement[str]]:
    """Return what finds the objects with a field, its value and the JSON type of that."""
    source = field_of(user, _checked_field(field), digests=digests)
    value, kind = source.scalar()
    return source.present(), value, kind


def _checked_field(field: str) -> str:
    if len(field) > MAX_FIELD:
        raise BadRequest(f"the name of a field has at most {MAX_FIELD} characters", field="query")
    if any("\ud800" <= character <= "\udfff" for character in field):
        raise BadRequest("the name of a field holds half of a surrogate pair", field="query")
    return field


class _Compiler:
    def __init__(self, user: User, *, digests: bool) -> None:
        self._user = user
        self._digests = digests
        self._terms = 0
        self._values = 0

    def conditions(self, query: object, depth: int) -> ColumnElement[bool]:
        if not isinstance(query, dict):
            raise BadRequest("query: an object is expected", field="query")
        if depth < 0:
            raise BadRequest(f"query: at most {MAX_DEPTH} levels of $or and $and are answered", field="query")
        found = [
            self._group(key, value, depth) if key.startswith("$") else self._field(key, value)
            for key, value in query.items()
        ]
        return and_(true(), *found)

    def _group(self, operator: str, queries: object, depth: int) -> ColumnElement[bool]:
        if operator not in {"$or", "$and"}:
            raise BadRequest(f"query: {operator!r} is no operator known here", field="query")
        if not isinstance(queries, list) or not queries:
            raise BadRequest(f"query: {operator} takes a list of queries", field="query")
        parts = [self.conditions(one, depth - 1) for one in queries]
        return or_(*parts) if operator == "$or" else and_(*parts)

    def _field(self, field: str, wanted: object) -> ColumnElement[bool]:
        source = field_of(self._user, _checked_field(field), digests=self._digests)
        if not isinstance(wanted, dict) or not any(key.startswith("$") for key in wanted):
            return self._term(source, field, "$eq", wanted)
        return and_(*(self._term(source, field, operator, value) for operator, value in wanted.items()))

    def _term(self, source: Field, field: str, operator: str, value: object) -> ColumnElement[bool]:
        self._terms += 1
        if self._terms > MAX_TERMS:
            raise BadRequest(f"query: at most {MAX_TERMS} conditions are answered", field="query")
        if operator in {"$eq", "$ne"}:
            found = self._is_one_of(source, [value])
            return found if operator == "$eq" else not_(found)
        if operator in {"$in", "$nin"}:
            found = self._is_one_of(source, self._list(field, operator, value))
            return found if operator == "$in" else not_(found)
        if operator in _ORDERS:
            return source.where(lambda cell: cell.ordered(_ORDERS[operator], value))
        if operator == "$exists":
            return self._exists(source, field, value)
        if operator == "$string_contains":
            return self._contains(source, field, value)
        raise BadRequest(f"query: {field}: {operator!r} is no operator known here", field="query")

    def _list(self, field: str, operator: str, value: object) -> list[object]:
        if not isinstance(value, list):
            raise BadRequest(f"query: {field}: {operator} takes a list", field="query")
        self._values += len(value)
        if self._values > MAX_VALUES:
            raise BadRequest(f"query: at most {MAX_VALUES} values are looked for", field="query")
        return value

    @staticmethod
    def _is_one_of(source: Field, values: list[object]) -> ColumnElement[bool]:
        some = [value for value in values if value is not None]
        found = source.where(lambda cell: cell.matches(some)) if some else false()
        return or_(found, not_(source.present())) if len(some) < len(values) else found

    @staticmethod
    def _exists(source: Field, field: str, value: object) -> ColumnElement[bool]:
        if not isinstance(value, bool):
            raise BadRequest(f"query: {field}: $exists takes true or false", field="query")
        return source.present() if value else not_(source.present())

    @staticmethod
    def _contains(source: Field, field: str, value: object) -> ColumnElement[bool]:
        if not isinstance(value, str):
            return false()
        if len(value) > MAX_NEEDLE:
            raise BadRequest(
                f"query: {field}: $string_contains takes at most {MAX_NEEDLE} characters", field="query"
            )
        return source.where(lambda cell: cell.contains(value))
