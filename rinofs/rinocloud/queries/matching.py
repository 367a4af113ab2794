"""Match queries against records locally, for servers without queries.

Follows the semantics in `rinofs.protocol.operators` exactly, so that results do not depend on the side that
evaluates a query. `MATCHERS` has a function for each operator.
"""

from __future__ import annotations

import json
import operator
from typing import TYPE_CHECKING, Any, TypeAlias

from rinofs.errors import InvalidRequestError
from rinofs.protocol import operators
from rinofs.protocol.operators import Operator, QueryError
from rinofs.protocol.records import METADATA, NUL_STAND_IN, field_parts, metadata_name, record_field
from rinofs.protocol.words import words_matcher

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Mapping, Sequence

    Holds: TypeAlias = Callable[[Any], bool]

__all__ = ["MATCHERS", "Fields", "matcher", "ordered", "value_reader"]

Fields: TypeAlias = "Mapping[str, Any]"
"""A record as JSON, with the names of the service."""


def matcher(query: Mapping[str, Any], *, extensions: Collection[str] | None) -> Callable[[Fields], bool]:
    """Return a function that checks whether a record matches a query.

    Parameters
    ----------
    query : mapping
        Query.
    extensions : collection of str or None
        Extensions of the server, which add fields to its records; None for all.

    Raises
    ------
    InvalidRequestError
        If the query is not valid; the server gives the same error.
    """
    try:
        return _query(query, extensions=extensions)
    except QueryError as error:
        raise InvalidRequestError(f"query: {error}") from error


def _query(query: Mapping[str, Any], *, extensions: Collection[str] | None) -> Callable[[Fields], bool]:
    return _all([_part(key, wanted, extensions=extensions) for key, wanted in query.items()])


def _all(conditions: Sequence[Callable[[Fields], bool]]) -> Callable[[Fields], bool]:
    return lambda record: all(condition(record) for condition in conditions)


def _part(key: str, wanted: Any, *, extensions: Collection[str] | None) -> Callable[[Fields], bool]:
    if not operators.is_group(key):
        return _field(key, wanted, extensions=extensions)
    if not isinstance(wanted, list) or not wanted or not all(isinstance(one, dict) for one in wanted):
        raise QueryError(f"{key} takes a list of queries")
    parts = [_query(one, extensions=extensions) for one in wanted]
    if key == operators.AND:
        return _all(parts)
    wanted_one = key == operators.OR
    return lambda record: any(part(record) for part in parts) is wanted_one


def _field(name: str, wanted: Any, *, extensions: Collection[str] | None) -> Callable[[Fields], bool]:
    operators.check_field(name)
    value_of = value_reader(name, extensions=extensions)
    conditions = wanted if operators.is_condition(wanted) else {operators.EQ.name: wanted}
    terms = [_term(name, *item) for item in conditions.items()]

    def holds(record: Fields) -> bool:
        value = value_of(record)
        return all(term(value) for term in terms)

    return holds


def _term(name: str, operator_name: str, wanted: Any) -> Holds:
    try:
        found = operators.find_operator(operator_name)
        found.check(wanted)
        if name == operators.EVERY_FIELD:
            operators.check_every_field(found, wanted)
    except QueryError as error:
        raise QueryError(f"{name}: {error}") from error
    return MATCHERS[found](wanted)


def value_reader(name: str, *, extensions: Collection[str] | None) -> Callable[[Fields], Any]:
    """Return a function that reads a field of a record; it returns None if the record has no such field."""
    if record_field(name, extensions=extensions) is not None:
        return lambda record: record.get(name)
    if name == operators.EVERY_FIELD:
        return _every_value
    inner = _text(metadata_name(name))
    parts = field_parts(inner)

    def value_of(record: Fields) -> Any:
        metadata = record.get(METADATA) or {}
        value = _at(metadata, [inner])
        # A key with exactly this name comes first, including its dots.
        return _at(metadata, parts) if value is None and len(parts) > 1 else value

    return value_of


def _every_value(record: Fields) -> list[Any]:
    """Return the name, the tags, and the keys and plain values of the metadata."""
    found = [record.get("name"), *(record.get("tags") or ())]
    ahead = [record.get(METADATA)]
    while ahead:
        value = ahead.pop()
        if isinstance(value, dict):
            found += value
            ahead += value.values()
        elif isinstance(value, list):
            ahead += value
        else:
            found.append(value)
    return found


def _at(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if not isinstance(value, dict):
            return None
        known = {_text(name): item for name, item in value.items()} if NUL_STAND_IN in key else value
        value = known.get(key)
    return value


def _is_one_of(wanted: Sequence[Any]) -> Holds:
    """Return whether a value equals one of `wanted`, or is a list that contains one; null means absent."""
    absent = any(one is None for one in wanted)
    keys = {_key(one) for one in wanted if one is not None}

    def holds(value: Any) -> bool:
        if value is None:
            return absent
        return _key(value) in keys or (isinstance(value, list) and any(_key(one) in keys for one in value))

    return holds


def _not(holds: Holds) -> Holds:
    return lambda value: not holds(value)


def _ordered(compare: Callable[[Any, Any], bool]) -> Callable[[Any], Holds]:
    def matcher_of(wanted: Any) -> Holds:
        kind, limit = _key(wanted)

        def holds(value: Any) -> bool:
            other, found = _key(value)
            return other == kind and kind in {"number", "text"} and bool(compare(found, limit))

        return holds

    return matcher_of


def _contains(wanted: Any) -> Holds:
    part = _text(wanted) if isinstance(wanted, str) else None
    return lambda value: part is not None and isinstance(value, str) and part in _text(value)


def _matches(pattern: Any) -> Holds:
    is_in = words_matcher(_text(pattern))

    def holds(value: Any) -> bool:
        texts = value if isinstance(value, list) else [value]
        return any(isinstance(one, str) and is_in(_text(one)) for one in texts)

    return holds


MATCHERS: dict[Operator, Callable[[Any], Holds]] = {
    operators.EQ: lambda wanted: _is_one_of([wanted]),
    operators.NE: lambda wanted: _not(_is_one_of([wanted])),
    operators.IN: lambda wanted: _is_one_of(wanted),
    operators.NIN: lambda wanted: _not(_is_one_of(wanted)),
    operators.LT: _ordered(operator.lt),
    operators.LTE: _ordered(operator.le),
    operators.GT: _ordered(operator.gt),
    operators.GTE: _ordered(operator.ge),
    operators.EXISTS: lambda wanted: lambda value: (value is not None) is wanted,
    operators.MATCHES: _matches,
    operators.STRING_CONTAINS: _contains,
}
"""For each operator, returns a function of the field's value, given the operator's operand.

The value is None if the object does not have the field.
"""


def _key(value: Any) -> tuple[str, Any]:
    """Return a key that is equal for equal values, and sortable for values of one ordered type."""
    if value is None or isinstance(value, bool):
        return "truth", value
    if isinstance(value, int):
        return "number", value if -(2**63) <= value < 2**63 else float(value)
    if isinstance(value, float):
        return "number", value
    if isinstance(value, str):
        return "text", _text(value)
    return "list" if isinstance(value, list) else "object", _written(value)


def _text(value: str) -> str:
    # SQLite ends strings at NUL, so the server compares them with a replacement character.
    return value.replace("\0", NUL_STAND_IN)


def _written(value: Any) -> str:
    """Return a list or object as JSON text for comparisons."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_written(key)}:{_written(item)}' for key, item in value.items())}}}"
    return json.dumps(_text(value) if isinstance(value, str) else value, ensure_ascii=False)


def ordered(records: Sequence[Fields], sort: str, *, extensions: Collection[str] | None) -> list[int]:
    """Return the indices of records in sort order: those that have the field, by its value and then by id.

    Parameters
    ----------
    records : sequence of mapping
        Records.
    sort : str
        Field; with a leading ``-`` for descending order.
    extensions : collection of str or None
        Extensions of the server, which add fields to its records; None for all.
    """
    value_of = value_reader(sort.removeprefix("-"), extensions=extensions)
    keyed = [
        (_rank(value), record["id"], position)
        for position, record in enumerate(records)
        if (value := value_of(record)) is not None
    ]
    return [position for _, _, position in sorted(keyed, reverse=sort.startswith("-"))]


def _rank(value: Any) -> tuple[int, Any]:
    kind, key = _key(value)
    order = ["truth", "number", "text", "list", "object"].index(kind)
    return order, key if order < 3 else 0
