"""Parse conditions and assignments of metadata, such as ``y>2.2`` and ``subject=A22``."""

from __future__ import annotations

import json
import re
from typing import Any

import click

from rinofs.protocol.operators import (
    Operator,
    Takes,
    keywords,
    operator_of_keyword,
    symbols,
    unknown_operator,
)
from rinofs.protocol.records import RECORD_FIELDS

__all__ = ["assignment", "condition", "value_of"]

_SIGNS = "!<>=~"
_SYMBOLIC = re.compile(rf"([^{_SIGNS}]+)([{_SIGNS}]+)(.*)", re.DOTALL)
_WORDED = re.compile(rf"([^{_SIGNS}]+?)\s+(\w+)\s+(.*)", re.DOTALL)

# Text fields are compared with text: the name of a file may be 3, a tag 2016.
_TEXTS = {"tags"} | {n for one in RECORD_FIELDS.values() if one.type == "text" for n in (one.name, one.info)}


def value_of(text: str) -> Any:
    """Return the value of a text: a parsed JSON literal, or the text itself."""
    try:
        return json.loads(text, parse_constant=_refused)
    except (ValueError, RecursionError):
        return text


def _refused(name: str) -> Any:
    raise ValueError(name)  # Python's parser accepts NaN, JSON does not


def condition(text: str) -> tuple[str, str, Any]:
    """Parse a condition into field, operator and value.

    Parameters
    ----------
    text : str
        ``field=value``, with ``!= < <= > >=`` for other comparisons and ``~`` for strings that contain a
        string, or the keyword of an operator between blanks, as in ``field in [value, ...]``.

    Returns
    -------
    tuple of str, str and a value
        Field, keyword of the operator, and value.

    Raises
    ------
    click.UsageError
        If it is not a valid condition.
    """
    found = _worded(text) or _SYMBOLIC.fullmatch(text)
    if found is None or not found[1].strip():
        other = _WORDED.fullmatch(text)
        if other and operator_of_keyword(other[2]) is None:
            raise click.UsageError(f"{text!r}: {unknown_operator(other[2], [*symbols(), *keywords()])}")
        raise click.UsageError(f"{text!r} is not a condition: write FIELD=VALUE, or one of {_others()} for =")
    field, name, value = found[1].strip(), found[2], found[3].strip()
    operator = symbols().get(name) or operator_of_keyword(name)
    if operator is None:
        hint = f"if the value begins with {name[-1]}, put it in double quotes"
        raise click.UsageError(f"{text!r}: {unknown_operator(name, list(symbols()))} ({hint})")
    return field, operator.keyword, _wanted(text, field, operator, value)


def _worded(text: str) -> re.Match[str] | None:
    known = "|".join(map(re.escape, keywords()))
    found = re.fullmatch(rf"([^{_SIGNS}]+?)\s+({known})\s+(.*)", text, re.DOTALL)
    operator = operator_of_keyword(found[2]) if found else None
    is_list = operator is not None and operator.takes is Takes.LIST
    # A field name may contain an operator as a word, as in 'rest in bed=2'.
    return found if found and (not is_list or found[3].startswith("[")) else None


def _others() -> str:
    return " ".join(symbol for symbol in symbols() if symbol not in {"=", "=="})


def _wanted(text: str, field: str, operator: Operator, value: str) -> Any:
    if operator.takes is Takes.TEXT:
        return value
    wanted = value_of(value)
    if operator.takes is Takes.ANY and field in _TEXTS and wanted is not None and not isinstance(wanted, str):
        return value
    if not operator.takes.admits(wanted):
        raise click.UsageError(f"{text!r}: {operator.keyword} takes {operator.takes.value}, as JSON")
    return wanted


def assignment(text: str) -> tuple[str, Any]:
    """Parse ``name=value``.

    Raises
    ------
    click.UsageError
        If it is not an assignment.
    """
    name, equals, value = text.partition("=")
    if not equals or not name:
        raise click.UsageError(f"{text!r}: NAME=VALUE is expected")
    return name, value_of(value)
