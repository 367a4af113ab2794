"""The rules of the query language once more, as plain Python over records."""

from __future__ import annotations

import json
import re
from typing import Any

OWN = {
    "id", "name", "type", "size", "parent", "metadata", "tags", "etag", "sha256", "blake3", "versions",
    "project", "project_name", "owner", "shared", "created_on", "updated_on",
}  # fmt: skip
ORDERS = {
    "$lt": lambda a, b: a < b,
    "$lte": lambda a, b: a <= b,
    "$gt": lambda a, b: a > b,
    "$gte": lambda a, b: a >= b,
}


def found(records: list[dict[str, Any]], query: dict[str, Any]) -> set[int]:
    return {record["id"] for record in records if holds(record, query)}


def ordered(records: list[dict[str, Any]], sort: str) -> list[int]:
    field = sort.removeprefix("-")
    keyed = [
        (_sort_key(value), record["id"])
        for record in records
        if (value := value_of(record, field)) is not None
    ]
    return [number for _, number in sorted(keyed, reverse=sort.startswith("-"))]


def holds(record: dict[str, Any], query: dict[str, Any]) -> bool:
    return all(_condition(record, key, wanted) for key, wanted in query.items())


def _condition(record: dict[str, Any], key: str, wanted: Any) -> bool:
    if key == "$or":
        return any(holds(record, one) for one in wanted)
    if key == "$and":
        return all(holds(record, one) for one in wanted)
    if key == "$nor":
        return not any(holds(record, one) for one in wanted)
    value = value_of(record, key)
    if isinstance(wanted, dict) and any(name.startswith("$") for name in wanted):
        return all(_term(value, operator, needle) for operator, needle in wanted.items())
    return _equal_or_holds(value, wanted)


def _term(value: Any, operator: str, needle: Any) -> bool:
    if operator in {"$eq", "$ne"}:
        return _equal_or_holds(value, needle) is (operator == "$eq")
    if operator in {"$in", "$nin"}:
        return any(_equal_or_holds(value, one) for one in needle) is (operator == "$in")
    if operator == "$exists":
        return (value is not None) is needle
    if operator == "$matches":
        items = value if isinstance(value, list) else [value]
        return any(isinstance(one, str) and holds_words(text(one), text(needle)) for one in items)
    if operator == "$string_contains":
        return isinstance(value, str) and isinstance(needle, str) and text(needle) in text(value)
    for kind in (float, str):
        if isinstance(plain(value), kind) and isinstance(plain(needle), kind):
            return bool(ORDERS[operator](comparable(value), comparable(needle)))
    return False


def holds_words(value: str, pattern: str) -> bool:
    """Try every way in which a pattern may be found, one character after the other."""
    pattern = pattern.strip().lower()
    pieces = [
        (match[1][-1:] if match[1] else match[0], bool(match[1]))
        for match in re.finditer(r"(\\.)|\s+|.", pattern, re.DOTALL)
    ]
    is_phrase = re.search(r"\s", pattern) is not None
    expression = ""
    for piece, is_escaped in pieces:
        if piece.isspace() and not is_escaped:
            expression += r"\s+"
        elif piece in {"*", "?"} and not is_escaped and not is_phrase:
            expression += r"\S*" if piece == "*" else r"\S"
        else:
            expression += re.escape(piece)
    wild = "" if is_phrase else "?"
    shapes = ["x" if piece == wild and not is_escaped else piece for piece, is_escaped in pieces]
    stars = [piece == "*" and not is_escaped and not is_phrase for piece, is_escaped in pieces]
    if all(star or not shape.strip() for star, shape in zip(stars, shapes, strict=True)):
        return False
    if not stars[0] and shapes[0][0].isalnum():
        expression = r"(?<![^\W_])" + expression
    if not stars[-1] and shapes[-1][-1].isalnum():
        expression += r"(?![^\W_])"
    return re.search(expression, value.lower()) is not None


def every_value(value: Any) -> list[Any]:
    if isinstance(value, dict):
        return [*value, *(one for item in value.values() for one in every_value(item))]
    if isinstance(value, list):
        return [one for item in value for one in every_value(item)]
    return [] if value is None else [value]


def value_of(record: dict[str, Any], field: str) -> Any:
    if field == "*":
        return [record["name"], *record["tags"], *every_value(record["metadata"])]
    if field in OWN:
        return record[field]
    if explicit := re.match(r"metadata(\.|__)(?=.)", field, re.DOTALL):
        field = field[explicit.end() :]
    here: Any = {text(key): value for key, value in record["metadata"].items()}
    if (value := here.get(text(field))) is not None:
        return value
    parts = re.split(r"\.|__", text(field))
    if len(parts) == 1 or not all(parts):
        return None
    for part in parts:
        here = {text(key): value for key, value in here.items()}.get(part) if isinstance(here, dict) else None
    return here


def _equal_or_holds(value: Any, needle: Any) -> bool:
    if needle is None:
        return value is None
    return _equal(value, needle) or (isinstance(value, list) and any(_equal(one, needle) for one in value))


def _equal(value: Any, needle: Any) -> bool:
    if isinstance(value, list | dict):
        return type(value) is type(needle) and written(value) == written(needle)
    return type(plain(value)) is type(plain(needle)) and comparable(value) == comparable(needle)


def plain(value: Any) -> Any:
    """Give all numbers one type."""
    return 0.0 if isinstance(value, int) and not isinstance(value, bool) else value


def comparable(value: Any) -> Any:
    if isinstance(value, str):
        return text(value)
    if isinstance(value, int) and not isinstance(value, bool) and not -(2**63) <= value < 2**63:
        return float(value)
    return value


def text(value: str) -> str:
    return value.replace("\0", "\U0010fffd")


def written(value: Any) -> str:
    """Return a list or an object as JSON text, in which texts are as they are compared."""
    if isinstance(value, list):
        return "[" + ",".join(written(one) for one in value) + "]"
    if isinstance(value, dict):
        return "{" + ",".join(f"{written(key)}:{written(one)}" for key, one in value.items()) + "}"
    return json.dumps(text(value) if isinstance(value, str) else value, ensure_ascii=False)


def _sort_key(value: Any) -> tuple[Any, ...]:
    if isinstance(value, bool):
        return 0, value
    if isinstance(value, int | float):
        return 1, comparable(value)
    if isinstance(value, str):
        return 2, text(value)
    return (3,) if isinstance(value, list) else (4,)
