"""Parse numbers in JSON, or in tables with a known `Dialect`, to arrays of samples x columns."""

from __future__ import annotations

import json
import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.document.messages import shortened
from rinofs.datapack.formats.detect import NotDataError, text_of
from rinofs.datapack.formats.tables.cells import GROUPED, INFINITE, INTEGER, MISSING, number_of
from rinofs.datapack.formats.tables.decimals import plain_numbers
from rinofs.datapack.formats.tables.dialect import Dialect, check_row, split_rows
from rinofs.datapack.formats.tables.timeaxis import stamp_ns
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from numpy.typing import NDArray

_EXACT = 2**53
_LONG = re.compile(r"(?<![\d.])\d{16,}(?![\d.eE])", re.ASCII)


@dataclass(slots=True)
class Block:
    """Some rows of a table.

    Attributes
    ----------
    values : ndarray
        Shape (rows, columns), or more dimensions for nested JSON: bool, int64 or float64.
    exact : dict
        Columns of integers that float64 cannot represent, as integers.
    lost : set
        Columns in which float64 lost digits of an integer.
    """

    values: NDArray[Any]
    exact: dict[int, NDArray[np.int64]] = field(default_factory=dict)
    lost: set[int] = field(default_factory=set)


def json_rows(data: bytes) -> list[Any]:
    """Parse a JSON array.

    Raises
    ------
    NotDataError
        If it is not a JSON array.
    """
    text = text_of(data)
    if text is None or not text.strip():
        raise NotDataError("the file is empty" if not data.strip() else "not text in UTF-8")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotDataError(f"not valid JSON: {error}") from error
    if not isinstance(value, list):
        raise NotDataError(f"the JSON value {shortened(repr(value))} is not an array of numbers or of rows")
    return value


def json_block(data: bytes) -> Block:
    """Parse a JSON array of numbers; ``null`` becomes NaN.

    Raises
    ------
    InvalidDatapackError
        If the rows have different lengths, or contain anything but numbers.
    """
    rows = json_rows(data)
    try:
        values = np.array(rows)
    except ValueError:
        raise InvalidDatapackError(_ragged(rows)) from None
    if not values.size and values.ndim <= 2:
        return Block(np.zeros((len(values), 0) if values.ndim == 2 else (0, 0)))
    if values.dtype.kind not in "bi":
        values = _floats(rows)
    values = values[:, None] if values.ndim == 1 else values
    if values.dtype.kind == "b":
        return Block(values)
    if values.dtype.kind == "i":
        return Block(values.astype(np.int64))
    block = Block(values)
    if values.ndim == 2:
        _find_lost(block, lambda column: [row[column] if isinstance(row, list) else row for row in rows])
    return block


def _floats(rows: list[Any]) -> NDArray[Any]:
    """Return rows as floats; ``null`` becomes NaN."""
    for number, row in enumerate(rows, 1):
        for value in _leaves(row):
            if value is not None and not isinstance(value, (int, float)):
                raise NotDataError(f"row {number} holds {shortened(repr(value))}, which is not a number")
    try:
        return np.array(rows, dtype=np.float64)
    except (OverflowError, TypeError, ValueError):
        raise InvalidDatapackError(_ragged(rows)) from None


def _leaves(value: Any) -> Iterator[Any]:
    if isinstance(value, list):
        for inner in value:
            yield from _leaves(inner)
    else:
        yield value


def _ragged(rows: list[Any]) -> str:
    def width(row: Any) -> int | None:
        return len(row) if isinstance(row, list) else None

    for number, row in enumerate(rows, 1):
        if width(row) != width(rows[0]):
            named = [
                f"{width(each)} values" if width(each) is not None else "a number" for each in (row, rows[0])
            ]
            return f"rows are not of one length: row {number} has {named[0]}, row 1 has {named[1]}"
    return "rows are not of one length, or hold more than numbers"


def _find_lost(block: Block, cells_of: Callable[[int], Sequence[Any]]) -> None:
    """Find the columns of a block whose integers float64 cannot represent, and keep their exact values."""
    with np.errstate(invalid="ignore"):
        large = np.flatnonzero((np.abs(block.values) >= _EXACT).any(axis=0)).tolist()
    for column in large:
        numbers = [cell if type(cell) is int else None for cell in cells_of(column)]
        if any(number is not None and float(number) != number for number in numbers):
            block.lost.add(column)
        if all(number is not None and abs(number) < 2**63 for number in numbers):
            block.exact[column] = np.array(numbers, np.int64)


@dataclass(frozen=True, slots=True)
class Parser:
    """Parses lines of a table, and refuses rows that do not match its dialect.

    Parameters
    ----------
    dialect : Dialect
        Dialect of the table.
    """

    dialect: Dialect

    def block(self, text: str, line: int, row: int) -> Block:
        """Parse some lines.

        Parameters
        ----------
        text : str
            Complete lines.
        line : int
            Number of lines before them in the file.
        row : int
            Number of rows before them.

        Raises
        ------
        NotDataError, InvalidDatapackError
            If a row does not match the rows before it.
        """
        text = text.replace("\r\n", "\n").replace("\r", "\n")
        dubious = self._has_dubious_points(text)
        values = None if dubious else self._at_once(text)
        if values is not None:
            return self._columns(Block(values), line, row)
        lines = text.split("\n")
        kept = [each for each in lines if self.dialect.is_row(each)]
        if not kept:
            return Block(np.zeros((0, len(self.dialect.columns)), np.int64))
        values = None if self.dialect.stamps or dubious else self._quickly(kept)
        if values is None:
            values = self._carefully(lines, line)
        block = Block(values)
        for column in self.dialect.stamps:
            stamps = [stamp_ns(row[column]) for row in self.dialect.cells(kept)]
            if all(stamp is not None and abs(stamp) < 2**63 for stamp in stamps):
                block.exact[column] = np.array(stamps, np.int64)
            block.lost.add(column)
        if values.dtype.kind == "f" and _LONG.search(text):
            _find_lost(block, lambda column: self._integers(kept, column))
        return self._columns(block, line, row)

    def _integers(self, lines: Sequence[str], column: int) -> list[int | None]:
        cells = (row[column] for row in self.dialect.cells(lines))
        return [int(cell) if INTEGER.fullmatch(cell) else None for cell in cells]

    def _columns(self, block: Block, line: int, row: int) -> Block:
        """Return the block without its index column, which must continue counting."""
        if self.dialect.index is None:
            return block
        first = self.dialect.index + row
        if not np.array_equal(block.values[:, 0], np.arange(first, first + len(block.values))):
            raise InvalidDatapackError(
                f"the first column has no label and counts the rows only up to line {line}: it is"
                " neither an index nor a channel; give the column a label"
            )
        exact = {column - 1: cells for column, cells in block.exact.items() if column}
        return Block(block.values[:, 1:], exact, {column - 1 for column in block.lost if column})

    def _has_dubious_points(self, text: str) -> bool:
        """Return whether points may be thousands separators, in a table with decimal commas."""
        dialect = self.dialect
        return dialect.decimal == "," and not dialect.points and "." in text and bool(GROUPED.search(text))

    def _at_once(self, text: str) -> NDArray[Any] | None:
        """Parse rows of plain decimals, None for other rows."""
        dialect, delimiter = self.dialect, self.dialect.delimiter
        if dialect.stamps or delimiter is None or dialect.decimal == delimiter:
            return None
        if dialect.decimal == ",":
            text = text.replace(",", ".")
        width = dialect.width - dialect.trailing
        if dialect.trailing:
            ended = text if text.endswith("\n") else f"{text}\n"
            text = ended.replace(f"{delimiter}\n", "\n")
            if len(ended) - len(text) != ended.count("\n"):
                return None
        return plain_numbers(text, delimiter, width)

    def _quickly(self, lines: Sequence[str]) -> NDArray[Any] | None:
        """Parse lines with numpy's parser, None if there is anything unusual."""
        dialect, delimiter = self.dialect, self.dialect.delimiter
        if dialect.trailing:
            if not all(line.rstrip(" ").endswith(str(delimiter)) for line in lines):
                return None
            lines = [line.rstrip(" ")[:-1] for line in lines]
        if dialect.decimal == ",":
            if delimiter == ",":
                return None
            lines = [line.replace(",", ".") for line in lines]
        for dtype, rows in self._attempts(lines):
            try:
                values = np.loadtxt(
                    rows, delimiter=delimiter or None, ndmin=2, comments=None, dtype=dtype, quotechar='"'
                )
            except (ValueError, OverflowError):
                continue
            fits = values.shape == (len(lines), dialect.width - dialect.trailing)
            return values if fits else None
        return None

    def _attempts(self, lines: Sequence[str]) -> Iterator[tuple[Any, Sequence[str]]]:
        delimiter = self.dialect.delimiter
        plain = str.maketrans("", "", f'0123456789+-\n "\t{delimiter or ""}')
        if not "\n".join(lines).translate(plain):  # numpy before 2.3 truncates fractions to integers
            yield np.int64, lines
        yield np.float64, lines
        if delimiter:
            yield np.float64, _words_replaced(lines, delimiter)

    def _carefully(self, lines: Sequence[str], line: int) -> NDArray[Any]:
        """Parse lines one by one, naming the first row with an error."""
        dialect = self.dialect
        count = dialect.width - dialect.trailing
        rows: list[list[float]] = []
        lines = [each if dialect.is_row(each) else "" for each in lines]
        for number, row in split_rows(lines, dialect.delimiter):
            check_row(row, line + number, dialect)
            try:
                rows.append([self._number(cell) for cell in row[:count]])
            except ValueError as error:
                raise NotDataError(f"row {line + number}: {error}") from error
        return np.array(rows, np.float64).reshape(len(rows), count)

    def _number(self, cell: str) -> float:
        stamp = stamp_ns(cell) if self.dialect.stamps else None
        return number_of(cell, self.dialect.decimal) if stamp is None else float(stamp)


def _words_replaced(lines: Sequence[str], delimiter: str) -> list[str]:
    """Return lines in which numpy recognises missing and infinite numbers."""
    words = "|".join(map(re.escape, sorted({*MISSING, *INFINITE} - {""}, key=len, reverse=True)))
    end = re.escape(delimiter)
    pattern = re.compile(rf"(?:(?<={end})|^)(?: *(?:{words}) *| *)(?={end}|$)", re.IGNORECASE)

    def word(match: re.Match[str]) -> str:
        return repr(INFINITE.get(match[0].strip().lower(), float("nan")))

    return [pattern.sub(word, line) for line in lines]
