"""The dialect of a text table: encoding, lines, delimiter, decimal sign, labels.

`sniffing` finds the dialect from the beginning of a file. Readers check each later row against it.
"""

from __future__ import annotations

import csv
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.datapack.document.messages import shortened
from rinofs.datapack.formats.detect import NotDataError, UnreadNumberError
from rinofs.datapack.formats.tables.cells import GROUPED, TRUTH, is_value, misreading
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

_ERRORS = r"n/?a\b|(?:ref|div/0|value|num|null|spill|calc)!|name\?"  # the words of spreadsheets
COMMENT = re.compile(rf'\s*"?(#(?!{_ERRORS})|%|//)', re.IGNORECASE)
"""Beginning of a comment line."""

SEPARATOR_LINE = re.compile(r'"?sep=(.)"?[ ;,\t]*', re.IGNORECASE)
"""A line above a table that tells Excel the delimiter."""

INDEX_LABEL = "unnamed: 0"
"""Label that pandas gives to an index, in lower case."""


@dataclass(frozen=True, slots=True)
class Dialect:
    """The dialect of a text table.

    Attributes
    ----------
    encoding : str
        Encoding of the text.
    delimiter : str or None
        Separates cells; None for blanks, empty for a single column.
    decimal : str
        Decimal sign, point or comma.
    skip : int
        Number of lines before the first row of values.
    width : int
        Number of cells in a row.
    labels : tuple of str or None
        Labels of the columns, without that of an index.
    units : tuple of str or None
        Units of the columns, if they have a row.
    trailing : bool
        Whether every row ends with a delimiter.
    index : int or None
        First value of an index, a first column that counts the rows; it is not a column of values.
    start, rate : float or None
        Unix time of the first sample in seconds, and samples per second, if the first two rows contain them.
    doubts : tuple of str
        Warnings about ambiguities, and how they are read.
    first : int
        Line number of the first row of values, for messages.
    stamps : tuple of int
        Indices of cells with ISO 8601 times.
    points : bool
        Whether the beginning of a table with decimal commas also contains numbers with points.
    """

    encoding: str
    delimiter: str | None
    decimal: str
    skip: int
    width: int
    labels: tuple[str, ...] | None = None
    units: tuple[str, ...] | None = None
    trailing: bool = False
    index: int | None = None
    start: float | None = None
    rate: float | None = None
    doubts: tuple[str, ...] = ()
    first: int = 1
    stamps: tuple[int, ...] = ()
    points: bool = False

    @property
    def columns(self) -> range:
        """Indices of the cells with values."""
        return range(self.index is not None, self.width - self.trailing)

    def is_row(self, line: str) -> bool:
        """Return whether a line is a row, and not blank or a comment."""
        blank = line.strip(" ") if self.delimiter == "\t" else line.strip()
        return bool(blank) and not COMMENT.match(line)

    def cells(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Yield the cells of each row."""
        return (row for _, row in split_rows(lines, self.delimiter))

    def may_group(self, cell: str) -> bool:
        """Return whether a point may be a thousands separator, in a table with decimal commas."""
        return self.decimal == "," and not self.points and bool(GROUPED.fullmatch(cell))

    def point(self, cell: str) -> str:
        """Return a number with its decimal comma replaced by a point."""
        return cell.replace(",", ".") if self.decimal == "," else cell


def normal_lines(text: str) -> list[str]:
    """Split a text into lines that end with LF, CR or CR LF."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def split_rows(lines: Iterable[str], delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield the cells of each row that is not empty, with the line number of its end.

    Raises
    ------
    NotDataError
        If a quoted cell does not end.
    """
    if delimiter == "":
        for number, line in enumerate(lines, 1):
            if line.strip():
                yield number, [_bare(line)]
        return
    if delimiter is None:
        lines = (line.replace("\t", " ").strip() for line in lines)
    reader = csv.reader(
        (f"{line}\n" for line in lines), delimiter=delimiter or " ", skipinitialspace=delimiter is None
    )
    try:
        for row in reader:
            if len(row) > 1 or (row and not row[0].isspace()):
                # After a blank, a quote is part of the cell for `csv`.
                yield reader.line_num, [_bare(cell) if cell[:1].isspace() else cell.rstrip() for cell in row]
    except csv.Error as error:
        raise NotDataError(f"not CSV: {error}") from error


def _bare(cell: str) -> str:
    cell = cell.strip()
    return cell[1:-1].replace('""', '"').strip() if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def check_row(row: Sequence[str], number: int, dialect: Dialect) -> None:
    """Raise an error if a row does not match the dialect.

    Parameters
    ----------
    row : sequence of str
        Cells of the row.
    number : int
        Line number in the file.
    dialect : Dialect
        Dialect of the table.

    Raises
    ------
    InvalidDatapackError
        If it has more or fewer cells than other rows.
    NotDataError
        If a cell is not a number.
    """
    width, decimal = dialect.width - dialect.trailing, dialect.decimal
    wrong = next((cell for cell in row if not is_value(cell, decimal) and cell.lower() not in TRUTH), None)
    count = len(row) - (dialect.trailing and len(row) > 1 and not row[-1])
    if count != width and (wrong is None or len(row) > 1):
        raise InvalidDatapackError(
            f"rows differ in length: row {number} has {count} values, row {dialect.first} has {width}"
        )
    if wrong is not None:
        advice = misreading(wrong)
        message = f"row {number} holds {shortened(repr(wrong))}, which is not a number"
        raise UnreadNumberError(f"{message}; {advice}") if advice else NotDataError(message)
    for cell in row:
        if dialect.may_group(cell):
            whole = cell.replace(".", "")
            raise UnreadNumberError(
                f"row {number} holds {cell!r} among decimal commas, which may be {whole} or"
                f" {cell.replace('.', ',')}"
            )
