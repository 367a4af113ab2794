"""Read and write JSON text with limited nesting."""

from __future__ import annotations

import json
from collections.abc import Mapping
from typing import Any, NoReturn

from rinofs.errors import InvalidDatapackError

MAX_NESTING = 100
"""Maximum nesting of arrays and objects in a document: 49 levels of containers."""

TOO_DEEP = f"nested too deeply: at most {MAX_NESTING} levels of JSON can be read"


def loads(text: str | bytes) -> Any:
    """Parse JSON.

    Raises
    ------
    InvalidDatapackError
        If the text is not valid JSON (which excludes ``NaN`` and ``Infinity``), or is nested far too deeply.
        Text that slightly exceeds `MAX_NESTING` is parsed, so that the caller can name the node.
    """
    try:
        decoded = text if isinstance(text, str) else text.decode(json.detect_encoding(text))
        return json.loads(decoded, parse_constant=_refuse_constant)
    except RecursionError as error:
        raise InvalidDatapackError(TOO_DEEP) from error
    except ValueError as error:
        raise InvalidDatapackError(f"not valid JSON: {error}") from error


def dumps(value: Any, indent: int | None = None) -> str:
    """Serialize a value as JSON.

    Raises
    ------
    InvalidDatapackError
        If the value has no JSON form.
    """
    try:
        text = json.dumps(value, ensure_ascii=False, allow_nan=False, indent=indent)
        if text.isascii() or _is_encodable(text):
            return text
        return json.dumps(value, allow_nan=False, indent=indent)
    except (TypeError, ValueError, RecursionError) as error:
        raise InvalidDatapackError(f"cannot be stored as JSON: {error}") from error


def nesting(value: Any) -> int:
    """Return the depth of nested arrays and objects in a value; 0 for a plain value."""
    deepest = 0
    level = [value] if isinstance(value, (Mapping, list)) else []
    while level:
        deepest += 1
        level = [inner for outer in level for inner in _members(outer) if isinstance(inner, (Mapping, list))]
    return deepest


def _members(outer: Any) -> Any:
    return outer.values() if isinstance(outer, Mapping) else outer


def _refuse_constant(name: str) -> NoReturn:
    raise ValueError(f"{name} is not a JSON number")


def _is_encodable(text: str) -> bool:
    try:
        text.encode()
    except UnicodeEncodeError:  # an unpaired surrogate, which only an escape sequence can contain
        return False
    return True
