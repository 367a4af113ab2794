"""The cells of tables: numbers, words for missing numbers, and ISO 8601 times."""

from __future__ import annotations

import re

from rinofs.datapack.document.messages import shortened

NUMBER = re.compile(r"[+-]?(\d+(?:\.\d*)?|\.\d+)([eE][+-]?\d+)?", re.ASCII)
"""A number, with or without a decimal point."""

INTEGER = re.compile(r"[+-]?\d{1,308}", re.ASCII)
"""An integer; with more digits, it would be infinite as a float."""

_COMMA_NUMBER = re.compile(r"[+-]?(\d+(?:,\d*)?|,\d+)([eE][+-]?\d+)?", re.ASCII)
# Those of pandas.read_csv, and what the C libraries of Windows print.
MISSING = frozenset(
    {"", "na", "n/a", "#n/a", "#n/a n/a", "#na", "<na>", "nan", "+nan", "-nan", "null", "none"}
    | {"nan(ind)", "-nan(ind)", "nan(snan)", "-nan(snan)", "1.#ind", "-1.#ind", "1.#qnan", "-1.#qnan"}
    | {"1.#snan", "-1.#snan", "-", "nat"}
)
"""Words for a missing number, in lower case."""

INFINITE = {
    **dict.fromkeys(("inf", "+inf", "infinity", "+infinity", "1.#inf", "+1.#inf"), float("inf")),
    **dict.fromkeys(("-inf", "-infinity", "-1.#inf"), float("-inf")),
}
"""Words for an infinite number, in lower case."""

GROUPED = re.compile(r"[+-]?[1-9]\d{0,2}\.\d{3}", re.ASCII)
"""A number whose point may be a thousands separator."""

STAMP = re.compile(
    r"\d{4}-\d\d-\d\d[T ]\d\d:\d\d(:\d\d([.,]\d{1,9})?)?( ?(Z|UTC|[+-]\d\d(:?\d\d)?))?", re.ASCII
)
"""An ISO 8601 date with a time."""

TRUTH = {"true": 1.0, "false": 0.0}
"""Words for booleans, in lower case."""

# Common ways to write numbers and times that are too ambiguous to be read.
_MISREAD = (
    (
        re.compile(r"[+-]?\d{1,3}([ .,'\u2019_\u00a0\u202f]\d{3})+([.,]\d*)?"),
        "it seems to have thousands separators: write it without them",
    ),
    (
        re.compile(r"\d{1,4}[-./ ](\d{1,2}|[A-Za-z]{3,9})[-./ ]\d{1,4}\b.*|\d{4}-\d\d-\d\dT.*"),
        "it seems to be a date: only dates with times as 2024-12-31 09:30:00 are read",
    ),
    (
        re.compile(r"\d{1,3}:\d\d(:\d\d)?([.,]\d+)?( ?[AaPp][Mm])?"),
        "it seems to be a time of day: only seconds, and dates with times as 2024-12-31 09:30:00, are read",
    ),
    (
        re.compile(r"[+-]?\d+([.,]\d+)?([eE][+-]?\d+)? ?([^\W\d_]{1,4}|[%°$€£]\w?)"),
        "it seems to have a unit: write units beside the labels, as in 'force (N)'",
    ),
)


def is_number(cell: str, decimal: str = ".") -> bool:
    """Return whether a cell is a number, or a word for a missing or infinite one."""
    if NUMBER.fullmatch(cell) or (decimal == "," and _COMMA_NUMBER.fullmatch(cell)):
        return True
    word = cell.lower()
    return word in MISSING or word in INFINITE


def is_value(cell: str, decimal: str = ".") -> bool:
    """Return whether a cell is a value of a stream: a number, or a date with a time."""
    return is_number(cell, decimal) or bool(STAMP.fullmatch(cell))


def number_of(cell: str, decimal: str = ".") -> float:
    """Return the number in a cell.

    Raises
    ------
    ValueError
        If it is not a number.
    """
    word = cell.lower()
    if word in MISSING:
        return float("nan")
    if word in INFINITE:
        return INFINITE[word]
    if word in TRUTH:
        return TRUTH[word]
    if not is_number(cell, decimal):
        raise ValueError(f"{shortened(repr(cell))} is not a number")
    return float(cell.replace(",", ".") if decimal == "," else cell)


def decimal_of(text: str) -> float:
    """Return a number as files have it: unlike ``float``, without underscores and digits of other scripts.

    Raises
    ------
    ValueError
        If it is not a number.
    """
    if "_" in text or not text.isascii():
        raise ValueError(f"{shortened(repr(text))} is not a number")
    return float(text)


def has_comma(cell: str) -> bool:
    """Return whether a cell is a number with a decimal comma."""
    return "," in cell and bool(_COMMA_NUMBER.fullmatch(cell))


def misreading(cell: str) -> str | None:
    """Return what a cell seems to mean and how to correct it; None for any other text."""
    return next((advice for pattern, advice in _MISREAD if pattern.fullmatch(cell)), None)
