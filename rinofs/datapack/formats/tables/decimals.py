"""Parse tables of plain decimals as a whole, several times as fast as row by row.

Anything unusual is left to `parsing`, which names the row with an error.
"""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from numpy.typing import NDArray

_EXACT = 2**53
_POWERS = np.array([float(f"1e{digits}") for digits in range(23)])  # exact as float64
_NEWLINE, _POINT, _MINUS, _PLUS = b"\n.-+"
_PLAIN = b"0123456789+-.\n"


def plain_numbers(text: str, delimiter: str, width: int) -> NDArray[Any] | None:
    """Parse the numbers in a table, as int64, or as float64 if there is a decimal point.

    A decimal is computed as the quotient of two integers that are exact as floats, and therefore correctly
    rounded.

    Parameters
    ----------
    text : str
        Rows that end with newlines.
    delimiter : str
        One character; empty for a single column.
    width : int
        Number of cells in a row.

    Returns
    -------
    ndarray or None
        Shape (rows, cells); None if the text contains anything but digits, signs, points and delimiters, a
        row has another number of cells, or a number has more digits than a float.
    """
    try:
        data = text.encode("ascii")
    except UnicodeEncodeError:
        return None
    if data.translate(None, _PLAIN + delimiter.encode()):
        return None
    data = data if data.endswith(b"\n") else data + b"\n"
    places = np.frombuffer(data, np.uint8)
    are_ends = (places == _NEWLINE) | (places == (ord(delimiter) if delimiter else _NEWLINE))
    ends = np.flatnonzero(are_ends)
    if not len(ends) or len(ends) % width or not _is_rectangle(places[ends], width):
        return None
    if not _signs_begin_numbers(places, are_ends):
        return None
    whole = _integers(data, delimiter, len(ends))
    if whole is None:
        return None
    numbers = _with_points(places, ends, whole) if b"." in data else whole
    return None if numbers is None else numbers.reshape(-1, width)


def _is_rectangle(ends: NDArray[np.uint8], width: int) -> bool:
    """Return whether every row has this number of cells, given the characters after the cells."""
    rows = ends.reshape(-1, width) == _NEWLINE
    return bool(rows[:, -1].all()) and not bool(rows[:, :-1].any())


def _signs_begin_numbers(places: NDArray[np.uint8], are_ends: NDArray[np.bool_]) -> bool:
    """Return whether each sign begins a cell, and is not all of it: numpy reads a lone sign as 0."""
    signs = (places == _MINUS) | (places == _PLUS)
    if bool((signs[1:] & ~are_ends[:-1]).any()):
        return False
    nothing = are_ends.copy()  # where a cell ends, or a point ends it
    nothing[:-1] |= (places[:-1] == _POINT) & are_ends[1:]
    return not bool((signs[:-1] & nothing[1:]).any())


def _integers(data: bytes, delimiter: str, count: int) -> NDArray[np.int64] | None:
    """Return the digits of all cells as integers, None if a cell is not valid or too large."""
    separator = delimiter or ","
    digits = data[:-1].replace(b".", b"").replace(b"\n", separator.encode())
    try:
        # numpy before 2.3 stops early, with a DeprecationWarning; the count below detects that. The warning
        # is not turned into an error, since filters are global: it would be raised in other threads too.
        whole = np.fromstring(digits, np.int64, sep=separator)
    except (ValueError, DeprecationWarning):
        return None
    if len(whole) != count or int(whole.max()) >= _EXACT or int(whole.min()) <= -_EXACT:
        return None
    return whole


def _with_points(
    places: NDArray[np.uint8], ends: NDArray[np.int64], whole: NDArray[np.int64]
) -> NDArray[np.float64] | None:
    points = np.flatnonzero(places == _POINT)
    cells = np.searchsorted(ends, points)
    if bool((np.diff(cells) == 0).any()):
        return None  # two points in one cell
    decimals = ends[cells] - points - 1
    if int(decimals.max()) >= len(_POWERS):
        return None
    numbers = whole.astype(np.float64)
    numbers[cells] /= _POWERS[decimals]
    begins = np.concatenate([[0], ends[:-1] + 1])
    negative = (places[begins] == _MINUS) & (whole == 0)
    numbers[negative] = -0.0
    return numbers
