"""JSON text of any depth: read and written whole, or refused, but never a ``RecursionError``."""

from __future__ import annotations

import json
import re
from collections.abc import Callable, Mapping
from concurrent.futures import ThreadPoolExecutor
from typing import Any, NoReturn, TypeVar

from rinofs.errors import InvalidDatapackError

MAX_NESTING = 512
"""Deepest nesting of arrays and objects in a document; 255 containers within each other."""

_TOKEN = re.compile(r'"(?:[^"\\]|\\.)*"|[\[\]{}]', re.DOTALL)
_CLOSER = {"[": "]", "{": "}"}

T = TypeVar("T")


def loads(text: str | bytes) -> Any:
    """Return the value of a JSON text.

    What is nested deeper than `MAX_NESTING` is left out, one level below that depth, so that whoever
    looks at the value can name what is too deep.

    Raises
    ------
    InvalidDatapackError
        If the text is not JSON, which has no ``NaN`` and no ``Infinity``.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode(json.detect_encoding(text))
        try:
            return _decode(decoded)
        except RecursionError:
            return _on_fresh_stack(lambda: _decode(_cut(decoded)))
    except ValueError as error:
        raise InvalidDatapackError(f"this is not JSON: {error}") from error


def dumps(value: Any, indent: int | None = None) -> str:
    """Return the JSON text of a value that is nested no deeper than `MAX_NESTING`.

    Raises
    ------
    InvalidDatapackError
        If JSON cannot hold the value.
    """

    def encode() -> str:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
        if text.isascii() or _is_encodable(text):
            return text
        return json.dumps(value, allow_nan=False, indent=indent)

    try:
        try:
            return encode()
        except RecursionError:
            return _on_fresh_stack(encode)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDatapackError(f"JSON cannot hold this: {error}") from error


def nesting(value: Any) -> int:
    """Return how many arrays and objects are within each other in a value; 0 for a plain one."""
    deepest = 0
    level = [value] if isinstance(value, (Mapping, list)) else []
    while level:
        deepest += 1
        level = [inner for outer in level for inner in _members(outer) if isinstance(inner, (Mapping, list))]
    return deepest


def shortened(text: str, longest: int = 40) -> str:
    """Return a text for a message, cut where it is long."""
    return text if len(text) <= longest else f"{text[: longest - 3]}..."


def _members(outer: Any) -> Any:
    return outer.values() if isinstance(outer, Mapping) else outer


def _decode(text: str) -> Any:
    return json.loads(text, parse_constant=_refuse_constant)


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # half of a surrogate pair, which only an escape can write
        return False
    return True


def _on_fresh_stack(work: Callable[[], T]) -> T:
    # The recursion limit counts the frames of the caller too; a new thread starts from none.
    with ThreadPoolExecutor(1) as pool:
        return pool.submit(work).result()


def _cut(text: str) -> str:
    """Return the text, ended right below the deepest allowed level if it reaches further down."""
    opened: list[str] = []
    for token in _TOKEN.finditer(text):
        bracket = token[0]
        if bracket in _CLOSER:
            opened.append(_CLOSER[bracket])
            if len(opened) > MAX_NESTING:
                return text[: token.end()] + "".join(reversed(opened))
        elif bracket in {"]", "}"} and opened:
            opened.pop()
    return text
