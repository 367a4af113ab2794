"""Convert filter keywords to the service's query language.

``y__gt=2.2`` becomes ``{"y": {"$gt": 2.2}}``. The part after the last ``__`` is the operator, if it is one.
The rest is the field, which may be a nested key (``device__gain__gt``).
"""

from __future__ import annotations

import re
from collections.abc import Iterable, Mapping
from datetime import UTC, date, datetime
from typing import Any, TypeAlias

from rinofs.fs.values import as_json, moment_text
from rinofs.protocol.operators import (
    AND,
    EQ,
    EVERY_FIELD,
    EXISTS,
    GROUPS,
    GT,
    IN,
    OR,
    OR_SUFFIX,
    Operator,
    QueryError,
    Takes,
    check_field,
    operator_of_keyword,
)
from rinofs.protocol.records import RECORD_FIELDS, SERVICE_TYPES, record_field, service_name

__all__ = ["Query", "after_id", "among", "both", "build", "metadata_fields", "sort_of"]

Query: TypeAlias = dict[str, Any]

_DAY = re.compile(r"\d{4}(-\d\d){0,2}", re.ASCII)


def build(where: object, filters: Mapping[str, Any]) -> Query:
    """Return the query for filter keywords and a raw query.

    Parameters
    ----------
    where : mapping or None
        Query in the service's language, with the service's field names.
    filters : mapping
        Values by filter keyword.

    Raises
    ------
    TypeError, ValueError
        If a keyword or value is not valid; the message names it.
    """
    if where is not None and not isinstance(where, Mapping):
        raise TypeError(f"where: a query is a dict, not {type(where).__name__}")
    fields: dict[str, dict[str, Any]] = {}
    either: list[Query] = []
    for keyword, value in filters.items():
        field, operator, is_either = _split_keyword(keyword)
        wanted = _wanted(field, operator, value, keyword)
        if is_either:
            either.append({field: _condition({operator.name: wanted})})
        else:
            fields.setdefault(field, {})[operator.name] = wanted
    query: Query = {field: _condition(conditions) for field, conditions in fields.items()}
    raw: Query = {} if where is None else as_json(where, "where")
    return both(raw, {**query, OR: either} if either else query)


def _split_keyword(keyword: str) -> tuple[str, Operator, bool]:
    """Return the field, the operator, and whether the keyword ends in ``__or``."""
    field, _, last = keyword.rpartition("__")
    is_either = bool(field) and last == OR_SUFFIX
    rest = field if is_either else keyword
    field, separator, last = rest.rpartition("__")
    operator = operator_of_keyword(last) if separator else None
    if operator is None:
        field, operator = rest, EQ
    if not field:
        raise ValueError(f"{keyword}: the name of a field is missing")
    first, separator, rest = field.partition("__")
    name = f"{service_name(first)}{separator}{rest}"
    try:
        check_field(name)
    except QueryError as error:
        raise ValueError(f"{keyword}: {error}") from error
    return name, operator, is_either


def _wanted(field: str, operator: Operator, value: Any, keyword: str) -> Any:
    if operator.takes is Takes.LIST:
        if isinstance(value, str | bytes | Mapping) or not isinstance(value, Iterable):
            raise TypeError(f"{keyword}: a list is expected, not {type(value).__name__}")
        return [_value(field, item, f"{keyword}[{number}]") for number, item in enumerate(value)]
    wanted = _value(field, value, keyword) if operator.takes is Takes.ANY else as_json(value, keyword)
    if not operator.takes.admits(wanted):
        expected = "True or False" if operator.takes is Takes.TRUTH else operator.takes.value
        raise TypeError(f"{keyword}: {expected} is expected, not {value!r}")
    return wanted


def _value(field: str, value: Any, keyword: str) -> Any:
    own = RECORD_FIELDS.get(field)
    if own is not None and own.is_time and value is not None:
        return _time(value, keyword)
    if field == "type" and isinstance(value, str):
        return SERVICE_TYPES.get(value, value)
    return as_json(value, keyword)


def _time(value: Any, keyword: str) -> str:
    """Return a time as the service compares it: a year, month or day unchanged, anything else in UTC."""
    if isinstance(value, datetime) and value.tzinfo is None:
        raise ValueError(f"{keyword}: times are in UTC; add a time zone to {value}")
    text = as_json(value, keyword)
    found = _read_time(text) if isinstance(text, str) else None
    if found is None:
        example = "'2026-01-31' or '2026-01-31T12:00:00Z'"
        raise ValueError(f"{keyword}: {text!r} is not a date or time; write {example}")
    return found


def _read_time(text: str) -> str | None:
    try:
        if _DAY.fullmatch(text):
            date.fromisoformat(f"{text}-01-01"[:10])
            return text
        moment = datetime.fromisoformat(text)
    except ValueError:
        return None
    return moment_text(moment if moment.tzinfo else moment.replace(tzinfo=UTC))


def _condition(conditions: dict[str, Any]) -> Any:
    """Return a condition in its shortest form, which all servers support."""
    value = conditions.get(EQ.name)
    if len(conditions) > 1 or EQ.name not in conditions or isinstance(value, dict):
        return conditions
    return value


def both(*queries: Query) -> Query:
    """Return a query that matches if all of some queries match."""
    given = [query for query in queries if query]
    merged = {key: value for query in given for key, value in query.items()}
    # One object with all fields works on every server, unless two queries have the same field.
    return merged if len(merged) == sum(map(len, given)) else {AND: given}


def metadata_fields(query: Query) -> set[str]:
    """Return the metadata fields in a query, except those that must be absent.

    If the query is not valid, the result is empty; its evaluation raises the error.
    """
    found: set[str] = set()
    for key, wanted in query.items():
        if key in GROUPS:
            parts = wanted if isinstance(wanted, list) else []
            found = found.union(*(metadata_fields(part) for part in parts if isinstance(part, dict)))
        elif key != EVERY_FIELD and record_field(key) is None and wanted not in (None, {EXISTS.name: False}):
            found.add(key)
    return found


def among(field: str, values: Iterable[object]) -> Query:
    """Return the query for objects with one of some values in a field."""
    return {field: {IN.name: list(values)}}


def after_id(number: int) -> Query:
    """Return the query for objects with a larger id."""
    return {"id": {GT.name: number}}


def sort_of(sort: str | None, *, descending: bool) -> str | None:
    """Return the sort order for a request: a field, with a leading ``-`` for descending order.

    Raises
    ------
    ValueError
        If there is no field name.
    """
    if sort is None:
        if descending:
            raise ValueError("descending needs a field to sort by; set sort=")
        return None
    field = service_name(sort.removeprefix("-"))
    if not field:
        raise ValueError("sort: the name of a field is missing")
    return f"-{field}" if descending or sort.startswith("-") else field
