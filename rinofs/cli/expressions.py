"""What is typed on the command line about metadata: ``y>2.2``, ``subject=A22``."""

from __future__ import annotations

import json
import re
from typing import Any

import click

__all__ = ["assignment", "condition", "value_of"]

_OPERATORS = {
    "!=": "ne",
    ">=": "gte",
    "<=": "lte",
    "==": "eq",
    "=": "eq",
    ">": "gt",
    "<": "lt",
    "~": "string_contains",
}
_TEXTS = frozenset({"name", "type", "tags", "created", "modified", "etag", "owner"})
_CONDITION = re.compile(r"([^!<>=~]+)(!=|>=|<=|==|=|>|<|~)(.*)", re.DOTALL)
_MEMBERSHIP = re.compile(r"([^!<>=~]+?)\s+in\s+(\[.*)", re.DOTALL)


def value_of(text: str) -> Any:
    """Return the value that a text stands for: a JSON literal where it is one, else the text itself."""
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return text


def _refused(name: str) -> Any:
    raise ValueError(name)  # JSON has no NaN, whatever the parser thinks


def condition(text: str) -> tuple[str, str, Any]:
    """Return field, operator and value of a condition.

    Parameters
    ----------
    text : str
        ``field=value``, with ``!= < <= > >=`` for other comparisons, ``~`` for texts that hold a text, or
        ``field in [value, ...]``.

    Raises
    ------
    click.UsageError
        If it is no condition.
    """
    among = _MEMBERSHIP.fullmatch(text)
    if among:
        values = value_of(among[2])
        if not isinstance(values, list):
            raise click.UsageError(f"{text!r}: after `in` a JSON list is expected, as in 'x in [1, \"a\"]'")
        return among[1].strip(), "in", values
    found = _CONDITION.fullmatch(text)
    if found is None or not found[1].strip():
        raise click.UsageError(
            f"{text!r} is no condition: FIELD=VALUE is expected, or one of != < <= > >= ~ in place of ="
        )
    operator, value = _OPERATORS[found[2]], found[3].strip()
    field = found[1].strip()
    return field, operator, _compared(field, value) if operator != "string_contains" else value


def _compared(field: str, text: str) -> Any:
    value = value_of(text)
    # A file may be called 3, a tag 2016: what is always text is compared with text.
    return text if field in _TEXTS and value is not None and not isinstance(value, str) else value


def assignment(text: str) -> tuple[str, Any]:
    """Return name and value of ``name=value``.

    Raises
    ------
    click.UsageError
        If it is none.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r}: NAME=VALUE is expected")
    return name, value_of(value)
