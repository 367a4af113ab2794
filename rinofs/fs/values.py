"""Convert Python values to JSON metadata; errors name the position of a value that JSON cannot store."""

from __future__ import annotations

import math
from collections.abc import Mapping
from datetime import UTC, date, datetime, timedelta
from pathlib import PurePath
from typing import Any

from rinofs.protocol.limits import MAX_METADATA_DEPTH

__all__ = ["as_json", "as_metadata", "as_tags", "attributes_of", "moment_text"]

MAX_DEPTH = MAX_METADATA_DEPTH - 1
"""Maximum nesting of lists and objects; the metadata object itself is one more level."""

_BEYOND = 2**63  # the smallest positive integer that does not fit into 64 signed bits

_ADVICE = {
    bytes: "decode it to text",
    bytearray: "decode it to text",
    set: "make it a list",
    frozenset: "make it a list",
    complex: "write its parts apart",
    timedelta: "give it in seconds",
}


def as_metadata(given: object, where: str = "metadata") -> dict[str, Any]:
    """Return metadata as plain JSON values.

    Parameters
    ----------
    given : mapping
        Names and values. Numbers, strings, booleans, None, lists, tuples and mappings are kept; scalars and
        arrays of numpy become numbers and lists; a datetime or pandas Timestamp becomes a string, see
        `moment_text`; a date becomes ``2026-01-25``; a path becomes a string with ``/``.
    where : str
        Name for the value in errors.

    Raises
    ------
    TypeError
        If JSON has no such type; the message names the position.
    ValueError
        If the value is not valid in JSON: NaN, an unpaired surrogate, an integer beyond 64 bits, or more than
        63 levels of nesting.
    """
    if not isinstance(given, Mapping):
        raise TypeError(f"{where}: an object with names and values is expected, not {_kind(given)}")
    found: dict[str, Any] = as_json(given, where)
    return found


def as_tags(given: object) -> list[str]:
    """Return tags as a list of strings.

    Raises
    ------
    TypeError
        If it is anything else, such as a single string.
    """
    if isinstance(given, str | bytes) or not isinstance(given, list | tuple | set | frozenset):
        raise TypeError(f"tags: a list of strings is expected, not {_kind(given)}")
    for number, tag in enumerate(given):
        if not isinstance(tag, str):
            raise TypeError(f"tags[{number}]: a string is expected, not {_kind(tag)}")
    tags = [_text(tag, f"tags[{number}]") for number, tag in enumerate(given)]
    return sorted(tags) if isinstance(given, set | frozenset) else tags


def attributes_of(given: Mapping[str, Any]) -> tuple[dict[str, Any] | None, list[str] | None]:
    """Return the ``metadata`` and ``tags`` among keyword arguments, as they will be stored; None if absent.

    Raises
    ------
    TypeError, ValueError
        If they cannot be stored; see `as_metadata`.
    """
    metadata, tags = given.get("metadata"), given.get("tags")
    return None if metadata is None else as_metadata(metadata), None if tags is None else as_tags(tags)


def as_json(value: Any, where: str, depth: int = MAX_DEPTH) -> Any:
    """Return a value as plain JSON; see `as_metadata`."""
    if value is None or isinstance(value, bool):
        return value
    if isinstance(value, str):
        return _text(value, where)
    if isinstance(value, int):
        return _integer(int(value), where)
    if isinstance(value, float):
        return _float(float(value), where)
    if isinstance(value, Mapping | list | tuple):
        return _nested(value, where, depth)
    if isinstance(value, date):
        return _time(value, where)
    if isinstance(value, PurePath):
        return _text(value.as_posix(), where)
    if type(value).__module__.partition(".")[0] == "numpy":
        return as_json(_plain(value, where), where, depth)
    advice = next((text for kind, text in _ADVICE.items() if isinstance(value, kind)), "")
    raise TypeError(f"{where}: {_kind(value)} cannot be stored as JSON{advice and f': {advice}'}")


def _nested(value: Any, where: str, depth: int) -> Any:
    if depth == 0:
        raise ValueError(f"{where}: nested more than {MAX_DEPTH} levels deep")
    if isinstance(value, Mapping):
        return {
            _key(key, where): as_json(item, f"{where}[{key!r}]", depth - 1) for key, item in value.items()
        }
    return [as_json(item, f"{where}[{number}]", depth - 1) for number, item in enumerate(value)]


def _key(key: object, where: str) -> str:
    if not isinstance(key, str):
        raise TypeError(f"{where}[{key!r}]: keys must be strings, not {_kind(key)}")
    return _text(key, f"{where}[{key!r}]")


def _text(value: str, where: str) -> str:
    try:
        value.encode()
    except UnicodeEncodeError:
        raise ValueError(f"{where}: contains an unpaired surrogate") from None
    return str.__str__(value)  # for members of a str enumeration, the value


def _integer(value: int, where: str) -> int:
    if not -_BEYOND <= value < _BEYOND:
        raise ValueError(f"{where}: integers have at most 64 bits; use a float or a string")
    return value


def _float(value: float, where: str) -> float:
    if not math.isfinite(value):
        raise ValueError(f"{where}: {value} cannot be stored as JSON; use None where a value is missing")
    return value


def _time(value: date, where: str) -> str:
    if value != value:  # NaT of pandas is a datetime that is not equal to itself
        raise ValueError(f"{where}: {value} is not a valid time; use None where a value is missing")
    return moment_text(value) if isinstance(value, datetime) else value.isoformat()


def moment_text(moment: datetime) -> str:
    """Return a time as ISO 8601 with microseconds, so that the order of strings is the order of times.

    Parameters
    ----------
    moment : datetime
        With a time zone, it is converted to UTC, as ``2026-01-25T11:33:44.098427Z``; without one, it is
        written as it is.
    """
    if moment.tzinfo is None:
        return moment.isoformat(timespec="microseconds")
    return moment.astimezone(UTC).isoformat(timespec="microseconds").removesuffix("+00:00") + "Z"


def _plain(value: Any, where: str) -> Any:
    """Return a scalar or array of numpy as plain Python values."""
    kind = getattr(getattr(value, "dtype", None), "kind", "")
    if kind == "M":
        times = value.astype("datetime64[us]")
        if (times != times).any():  # NaT
            raise ValueError(f"{where}: NaT is not a valid time; use None where a value is missing")
        return times.tolist()
    if kind == "m" or not hasattr(value, "tolist"):
        raise TypeError(f"{where}: {_kind(value)} cannot be stored as JSON: give a duration in seconds")
    return (value.astype("float64") if kind == "f" else value).tolist()


def _kind(value: object) -> str:
    name = type(value).__name__
    return f"an {name}" if name[:1] in "aeiou" else f"a {name}"
