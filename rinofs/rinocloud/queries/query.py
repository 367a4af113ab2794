"""From filter keywords to the service's query language.

``y__gt=2.2`` asks for ``{"y": {"$gt": 2.2}}``: what comes after the last ``__`` is the operator, if it is
one, and all before it is the field, which may itself reach into objects (``device__gain__gt``).
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from datetime import datetime
from typing import Any, TypeAlias

from rinofs.fs.values import as_json

__all__ = ["OPERATORS", "Query", "both", "build", "field_of", "sort_of"]

Query: TypeAlias = dict[str, Any]

OPERATORS = frozenset({"eq", "ne", "lt", "lte", "gt", "gte", "in", "nin", "exists", "string_contains"})

# What infos call differently.
_FIELDS = {"created": "created_on", "modified": "updated_on"}
_TYPES = {"directory": "folder", "other": "object"}


def build(where: object, filters: Mapping[str, Any]) -> Query:
    """Return the query that a raw one and filter keywords make together.

    Parameters
    ----------
    where : mapping or None
        A query as the service knows it; its field names are the service's.
    filters : mapping
        Values by filter keyword.

    Raises
    ------
    TypeError, ValueError
        If a keyword or a value makes no sense; the message names it.
    """
    if where is not None and not isinstance(where, Mapping):
        raise TypeError(f"where: a query is a dict, not {type(where).__name__}")
    fields: dict[str, dict[str, Any]] = {}
    either: list[Query] = []
    for keyword, value in filters.items():
        field, operator, is_either = _taken_apart(keyword)
        wanted = _wanted(field, operator, value, keyword)
        if is_either:
            either.append({field: _condition({f"${operator}": wanted})})
        else:
            fields.setdefault(field, {})[f"${operator}"] = wanted
    query: Query = {field: _condition(conditions) for field, conditions in fields.items()}
    raw: Query = {} if where is None else as_json(where, "where")
    return both(raw, {**query, "$or": either} if either else query)


def _taken_apart(keyword: str) -> tuple[str, str, bool]:
    """Return the field, the operator, and whether the condition is one of several that may hold."""
    field, _, last = keyword.rpartition("__")
    is_either = bool(field) and last == "or"
    rest = field if is_either else keyword
    field, separator, operator = rest.rpartition("__")
    if not separator or operator not in OPERATORS:
        field, operator = rest, "eq"
    if not field:
        raise ValueError(f"{keyword}: the name of a field is missing")
    return field_of(field), operator, is_either


def field_of(name: str) -> str:
    """Return the service's name of a field."""
    return _FIELDS.get(name, name)


def _wanted(field: str, operator: str, value: Any, keyword: str) -> Any:
    if operator in {"in", "nin"}:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise TypeError(f"{keyword}: a list is expected, not {type(value).__name__}")
        return [_value(field, item, f"{keyword}[{number}]") for number, item in enumerate(value)]
    if operator == "exists" and not isinstance(value, bool):
        raise TypeError(f"{keyword}: True or False is expected, not {value!r}")
    if operator == "string_contains" and not isinstance(value, str):
        raise TypeError(f"{keyword}: text is expected, not {type(value).__name__}")
    return _value(field, value, keyword)


def _value(field: str, value: Any, keyword: str) -> Any:
    if field in _FIELDS.values() and isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"{keyword}: the service's times are in UTC: give {value} a time zone")
    if field == "type" and isinstance(value, str):
        return _TYPES.get(value, value)
    return as_json(value, keyword)


def _condition(conditions: dict[str, Any]) -> Any:
    """Write a condition in the shortest way, which all servers know."""
    value = conditions.get("$eq")
    if len(conditions) > 1 or "$eq" not in conditions or isinstance(value, dict):
        return conditions
    return value


def both(*queries: Query) -> Query:
    """Return the query for what all of some queries find."""
    given = [query for query in queries if query]
    merged = {key: value for query in given for key, value in query.items()}
    # Side by side is what every server understands; the same field twice needs more.
    return merged if len(merged) == sum(map(len, given)) else {"$and": given}


def sort_of(sort: str | None, *, descending: bool) -> str | None:
    """Return an order as the service takes it: a field, after a ``-`` for the reverse.

    Raises
    ------
    ValueError
        If no field is named.
    """
    if sort is None:
        if descending:
            raise ValueError("descending needs a field to sort by: sort='...'")
        return None
    field = field_of(sort.removeprefix("-"))
    if not field:
        raise ValueError("sort: the name of a field is missing")
    return f"-{field}" if descending or sort.startswith("-") else field
