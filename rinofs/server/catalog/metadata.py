r"""Metadata and lists as the database keeps them: JSON text that goes into answers as it is.

A backslash is written ``\u005c``, so that no two backslashes meet and the text ``\u0000`` always stands for
the character NUL; queries depend on it.
"""

from __future__ import annotations

import json
import math
from typing import TYPE_CHECKING, Any

from rinofs.protocol.limits import MAX_METADATA, MAX_METADATA_DEPTH
from rinofs.server.errors import BadRequest, TooLarge

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

__all__ = ["dump", "dump_list", "dump_metadata", "load_metadata"]

_MAX_INTEGER = 10**300


def dump(value: object) -> str:
    """Return a JSON value as text in the one form that it is stored and compared in.

    Raises
    ------
    BadRequest
        If JSON cannot hold it, or it is nested too deeply.
    """
    _check(value, MAX_METADATA_DEPTH)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Escapes are the only places with a backslash, and an escaped one the only place with two.
    return text.replace("\\\\", "\\u005c")


def dump_list(values: Sequence[object]) -> str:
    """Return a list as JSON text."""
    return dump(list(values))


def dump_metadata(metadata: Mapping[str, object]) -> str:
    """Return metadata as JSON text.

    Raises
    ------
    BadRequest
        If JSON cannot hold it, or it is nested too deeply.
    TooLarge
        If it has more than `MAX_METADATA` bytes.
    """
    if not metadata:
        return "{}"
    text = dump(dict(metadata))
    if len(text) > MAX_METADATA or len(text.encode()) > MAX_METADATA:
        raise TooLarge(f"metadata: at most {MAX_METADATA} bytes are kept for an object", field="metadata")
    return text


def load_metadata(text: str) -> dict[str, Any]:
    """Return stored metadata as values."""
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _check(value: object, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise BadRequest("metadata: half of a surrogate pair is no text", field="metadata")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise BadRequest(f"metadata: {value} is no JSON number", field="metadata")
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            raise BadRequest("metadata: integers have at most 300 digits", field="metadata")
    else:
        _check_nested(value, depth)


def _check_nested(value: object, depth: int) -> None:
    if depth == 0:
        raise BadRequest(
            f"metadata: at most {MAX_METADATA_DEPTH} levels of nesting are kept", field="metadata"
        )
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth)
            _check(item, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth - 1)
    else:
        raise BadRequest(f"metadata: a {type(value).__name__} is no JSON value", field="metadata")
