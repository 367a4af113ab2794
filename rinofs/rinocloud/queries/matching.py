"""The service's query language, followed here: for servers that cannot.

The rules are those of the embedded server, to the last odd key, so that it does not matter who looks.
"""

from __future__ import annotations

import json
import operator
import re
from typing import TYPE_CHECKING, Any, TypeAlias

from rinofs.errors import InvalidRequestError
from rinofs.rinocloud.records import FIELDS

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

__all__ = ["Fields", "matcher", "ordered"]

Fields: TypeAlias = "Mapping[str, Any]"
"""A record as the service shows it."""

_ORDERS = {"$lt": operator.lt, "$lte": operator.le, "$gt": operator.gt, "$gte": operator.ge}
_NUL = "\U0010fffd"
_DOTS = re.compile(r"\.|__")
_EXPLICIT = re.compile(r"metadata(?:\.|__)(?=.)", re.DOTALL)


def matcher(query: Mapping[str, Any], *, digests: bool) -> Callable[[Fields], bool]:
    """Return what tells whether a record is found by a query.

    Parameters
    ----------
    query : mapping
        The query.
    digests : bool
        Whether ``sha256`` is a field of records.

    Raises
    ------
    InvalidRequestError
        If it is no query, as the server would say too.
    """
    return _all([_part(key, wanted, digests=digests) for key, wanted in query.items()])


def _all(conditions: Sequence[Callable[[Fields], bool]]) -> Callable[[Fields], bool]:
    return lambda record: all(condition(record) for condition in conditions)


def _part(key: str, wanted: Any, *, digests: bool) -> Callable[[Fields], bool]:
    if not key.startswith("$"):
        return _field(key, wanted, digests=digests)
    if key not in {"$or", "$and"}:
        raise InvalidRequestError(f"query: {key!r} is no operator known here")
    if not isinstance(wanted, list) or not wanted or not all(isinstance(one, dict) for one in wanted):
        raise InvalidRequestError(f"query: {key} takes a list of queries")
    parts = [matcher(one, digests=digests) for one in wanted]
    return _all(parts) if key == "$and" else lambda record: any(part(record) for part in parts)


def _field(name: str, wanted: Any, *, digests: bool) -> Callable[[Fields], bool]:
    value_of = _reader(name, digests=digests)
    is_condition = isinstance(wanted, dict) and any(key.startswith("$") for key in wanted)
    terms = [_term(name, *item) for item in wanted.items()] if is_condition else [_is_one_of([wanted])]

    def holds(record: Fields) -> bool:
        value = value_of(record)
        return all(term(value) for term in terms)

    return holds


def _reader(name: str, *, digests: bool) -> Callable[[Fields], Any]:
    """Return what takes the value of a field out of a record; None where it has none."""
    if name in FIELDS and (digests or name != "sha256"):
        return lambda record: record.get(name)
    inner = _text(_EXPLICIT.sub("", name, count=1) if _EXPLICIT.match(name) else name)
    parts = _DOTS.split(inner)

    def value_of(record: Fields) -> Any:
        metadata = record.get("metadata") or {}
        value = _at(metadata, [inner])
        # The key of exactly that name counts first, with all its dots.
        return _at(metadata, parts) if value is None and len(parts) > 1 and all(parts) else value

    return value_of


def _at(value: Any, keys: Sequence[str]) -> Any:
    for key in keys:
        if not isinstance(value, dict):
            return None
        value = ({_text(name): item for name, item in value.items()} if _NUL in key else value).get(key)
    return value


def _term(name: str, operation: str, wanted: Any) -> Callable[[Any], bool]:
    if operation in {"$eq", "$ne", "$in", "$nin"}:
        if operation in {"$in", "$nin"} and not isinstance(wanted, list):
            raise InvalidRequestError(f"query: {name}: {operation} takes a list")
        found = _is_one_of(wanted if operation in {"$in", "$nin"} else [wanted])
        return found if operation in {"$eq", "$in"} else lambda value: not found(value)
    if operation in _ORDERS:
        return _ordered(operation, wanted)
    if operation == "$exists":
        if not isinstance(wanted, bool):
            raise InvalidRequestError(f"query: {name}: $exists takes true or false")
        return lambda value: (value is not None) is wanted
    if operation == "$string_contains":
        part = _text(wanted) if isinstance(wanted, str) else None
        return lambda value: part is not None and isinstance(value, str) and part in _text(value)
    raise InvalidRequestError(f"query: {name}: {operation!r} is no operator known here")


def _is_one_of(wanted: Sequence[Any]) -> Callable[[Any], bool]:
    """Tell of a value whether it is one of some, or a list that holds one; null is absence."""
    absent = any(one is None for one in wanted)
    keys = {_key(one) for one in wanted if one is not None}

    def holds(value: Any) -> bool:
        if value is None:
            return absent
        return _key(value) in keys or (isinstance(value, list) and any(_key(one) in keys for one in value))

    return holds


def _ordered(operation: str, wanted: Any) -> Callable[[Any], bool]:
    kind, limit = _key(wanted)
    compare = _ORDERS[operation]

    def holds(value: Any) -> bool:
        other, found = _key(value)
        return other == kind and kind in {"number", "text"} and bool(compare(found, limit))

    return holds


def _key(value: Any) -> tuple[str, Any]:
    """Return what is equal for equal values, and in order for those of one type that have one."""
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
    # SQLite ends texts at NUL, so the server has another character stand for it.
    return value.replace("\0", _NUL)


def _written(value: Any) -> str:
    """Return a list or object as the JSON text that it is compared by."""
    if isinstance(value, list):
        return f"[{','.join(map(_written, value))}]"
    if isinstance(value, dict):
        return f"{{{','.join(f'{_written(key)}:{_written(item)}' for key, item in value.items())}}}"
    return json.dumps(_text(value) if isinstance(value, str) else value, ensure_ascii=False)


def ordered(records: Sequence[Fields], sort: str, *, digests: bool) -> list[int]:
    """Return the positions of records in an order: those that have the field, by its value and then by id.

    Parameters
    ----------
    records : sequence of mapping
        The records.
    sort : str
        A field, after a ``-`` for the reverse.
    digests : bool
        Whether ``sha256`` is a field of records.
    """
    value_of = _reader(sort.removeprefix("-"), digests=digests)
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
