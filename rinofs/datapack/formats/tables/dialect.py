"""How a table is written as text: its encoding, lines, delimiter, decimal sign, labels.

This is the one place that decides it, for streams and for events. It looks at the first `HEAD` bytes only;
what reads the rest verifies every row against the `Dialect`. A table that can be read in two ways is read in
the likelier one, and `Dialect.doubts` says so.
"""

from __future__ import annotations

import csv
import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from rinofs.datapack.document.messages import shortened
from rinofs.datapack.formats.detect import NotDataError, UnreadNumberError, decoded
from rinofs.datapack.formats.tables.cells import (
    GROUPED,
    NUMBER,
    STAMP,
    TRUTH,
    has_comma,
    is_number,
    is_value,
    misreading,
)
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

HEAD = 64 * 1024
"""Bytes at the beginning of a file that decide how it is written."""

LONGEST_HEAD = 64 * 1024 * 1024
"""Likewise, where the first rows take more."""

_SAMPLE = 400  # rows that are tried
_DELIMITERS = ("\t", ";", ",", "|", None, "")

_SEP = re.compile(r'"?sep=(.)"?[ ;,\t]*', re.IGNORECASE)
_COMMENT = re.compile(r'\s*"?(#(?!n/?a\b)|%|//)', re.IGNORECASE)
_UNIT = re.compile(r"[\[(]?[^\d\W]?[\w/^*.·%°µμΩ²³⁻¹ -]{0,14}[\])]?")


@dataclass(frozen=True, slots=True)
class Dialect:
    """How a table is written.

    Attributes
    ----------
    encoding : str
        Of its text.
    delimiter : str or None
        Between cells; None for blanks, empty where there is one column.
    decimal : str
        Point or comma.
    skip : int
        Lines before the first row of values.
    width : int
        Cells in a row.
    labels : tuple of str or None
        Of the columns, without that of an index.
    units : tuple of str or None
        Likewise, from a row of their own.
    trailing : bool
        Whether a delimiter that separates nothing ends every row.
    index : int or None
        What a first column that counts the rows begins with; it is no column of values.
    start, rate : float or None
        Unix time of the first sample and samples per second, where the first two rows say so.
    doubts : tuple of str
        What may be meant otherwise, for warnings.
    first : int
        The line of the first row of values, for messages.
    stamps : tuple of int
        Cells of a row that are dates with times.
    points : bool
        Whether numbers with points are in the head of a table of decimal commas.
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
        """Which cells of a row are values."""
        return range(self.index is not None, self.width - self.trailing)

    def is_row(self, line: str) -> bool:
        """Whether a line of a stream is a row, and neither blank nor a comment."""
        blank = line.strip(" ") if self.delimiter == "\t" else line.strip()
        return bool(blank) and not _COMMENT.match(line)

    def cells(self, lines: Iterable[str]) -> Iterator[list[str]]:
        """Yield the cells of lines."""
        return (row for _, row in split_rows(lines, self.delimiter))

    def may_group(self, cell: str) -> bool:
        """Whether a point may separate thousands: commas are decimal, and nothing was said of it."""
        return self.decimal == "," and not self.points and bool(GROUPED.fullmatch(cell))

    def point(self, cell: str) -> str:
        """Return a number with a decimal point."""
        return cell.replace(",", ".") if self.decimal == "," else cell


@dataclass(frozen=True, slots=True)
class _Text:
    """The beginning of a table, in lines."""

    encoding: str
    lines: list[str]
    skip: int
    delimiter: str | None
    comment: tuple[int, str] | None
    doubts: tuple[str, ...]


def normal_lines(text: str) -> list[str]:
    """Return the lines of a text, whatever ends them."""
    return text.replace("\r\n", "\n").replace("\r", "\n").split("\n")


def split_rows(lines: Iterable[str], delimiter: str | None) -> Iterator[tuple[int, list[str]]]:
    """Yield rows that are not empty as cells, each with the number of lines up to its end.

    Raises
    ------
    NotDataError
        If quotes do not end.
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
                yield reader.line_num, [_bare(cell) for cell in row]
    except csv.Error as error:
        raise NotDataError(f"not CSV: {error}") from error


def _bare(cell: str) -> str:
    cell = cell.strip()
    return cell[1:-1].replace('""', '"').strip() if len(cell) > 1 and cell[0] == cell[-1] == '"' else cell


def dialect_of(data: bytes, *, whole: bool) -> Dialect:
    """Return how a table of numbers is written.

    Parameters
    ----------
    data : bytes
        Its first `HEAD` bytes, or all of it.
    whole : bool
        Whether this is all of it.

    Raises
    ------
    NotDataError
        If it is no table of numbers; the message names the first row that is not.
    InvalidDatapackError
        If its rows are not of one length.
    """
    text = _beginning(data, whole=whole)
    body = [line if not _COMMENT.match(line) else "" for line in text.lines[text.skip :]]
    tried = [_Trial.of(body, *candidate) for candidate in _candidates(text)]
    best = max(tried, key=lambda trial: trial.score)  # the first of equals
    return best.dialect(text)


def _candidates(text: _Text) -> list[tuple[str | None, str]]:
    delimiters = _DELIMITERS if text.delimiter is None else (text.delimiter,)
    return [(delimiter, decimal) for delimiter in delimiters for decimal in ".,"]


def _beginning(data: bytes, *, whole: bool) -> _Text:
    """Return the lines of a head, and what stands above the rows."""
    found = decoded(data, cut=not whole)
    if found is None:
        raise NotDataError("not text in UTF-8, UTF-16 or Windows-1252")
    text, encoding = found
    lines = normal_lines(text)
    if not whole:
        lines.pop()  # which may be there in part
        if not lines:
            raise NotDataError(f"its first {len(data) // 1024} KiB are one line")
    if not any(line.strip() for line in lines):
        raise NotDataError("the file is empty")
    doubts = ("the text is not UTF-8; it is read as Windows-1252",) if encoding == "cp1252" else ()
    skip, delimiter, comment = 0, None, None
    for number, line in enumerate(lines):
        if sep := _SEP.fullmatch(line):
            delimiter = sep[1]
        elif _COMMENT.match(line) or _is_semicolon_comment(lines, number):
            comment = number, line.strip().strip('"').lstrip("#%/; ").strip()
        elif line.strip(" "):
            break
        skip = number + 1
    if not whole and skip == len(lines):
        raise NotDataError(f"its first {len(data) // 1024} KiB hold no row, but comments alone")
    return _Text(encoding, lines, skip, delimiter, comment, doubts)


def has_long_rows(head: bytes) -> bool:
    """Whether the beginning of a table has to be longer to tell how it is written: it holds no two rows.

    A text without ends of lines is no table unless its cells are short words, as labels and numbers are.
    """
    found = decoded(head, cut=True)
    if found is None:
        return False
    first, *others = normal_lines(found[0].lstrip())
    if len(others) > 3:
        return False
    delimiter = max("\t;,|", key=first.count)
    cells = first.split(delimiter)[:-1] or first.split()[:-1]
    return len(cells) > 100 and not any(len(cell) > 60 or " " in cell.strip() for cell in cells)


def _is_semicolon_comment(lines: Sequence[str], number: int) -> bool:
    """Whether a semicolon begins a comment: where those below have none, it separates nothing."""
    if not lines[number].startswith(";"):
        return False
    below = [line for line in lines[number + 1 :] if line.strip() and not line.startswith(";")]
    return bool(below) and not any(";" in line for line in below)


@dataclass(frozen=True, slots=True)
class _Trial:
    """The rows of a head as one delimiter and one decimal sign make them."""

    delimiter: str | None
    decimal: str
    rows: list[tuple[int, list[str]]]
    above: int  # rows without any number: labels, and units
    score: tuple[float, ...]

    @classmethod
    def of(cls, body: Sequence[str], delimiter: str | None, decimal: str) -> _Trial:
        try:
            rows = list(islice(split_rows(body, delimiter), _SAMPLE))
        except NotDataError:
            return cls(delimiter, decimal, [], 0, (-1.0,))
        above = _rows_above([row for _, row in rows], decimal)
        values = [row for _, row in rows[above:]]
        trial = cls(delimiter, decimal, rows, above, ())
        return replace(trial, score=trial._score(values))

    def _score(self, values: list[list[str]]) -> tuple[float, ...]:
        if not values:
            several = bool(self.rows) and len(self.rows[0][1]) > 1 and self.delimiter is not None
            return (0.0, 0.0, float(several and self.decimal == "."))
        width = Counter(map(len, values)).most_common(1)[0][0]
        if width == 1 and self.delimiter != "":
            return (-0.5,)
        cells = [cell for row in values for cell in row]
        numeric = sum(is_value(cell, self.decimal) for cell in cells) / len(cells)
        even = all(len(row) == width for row in values)
        if self.decimal == "," and not any(has_comma(cell) for cell in cells):
            return (-0.25, numeric)
        fits = self.above == 0 or len(self.rows[0][1]) == width
        if self.delimiter == "" and self.decimal == "," and self.above and "," in self.rows[0][1][0]:
            return (-0.25, numeric)  # the labels say that a comma separates
        if (self.delimiter, self.decimal, self.above) == (",", ".", 0) and _must_be_decimal(values):
            return (-0.25, numeric)
        return (float(numeric == 1.0 and even and fits), float(numeric == 1.0 and even), numeric, float(even))

    def dialect(self, text: _Text) -> Dialect:
        """Return the dialect, refusing rows that do not fit it."""
        labels = list(self.rows[0][1]) if self.above else None
        units = list(self.rows[1][1]) if self.above > 1 else None
        values = self.rows[self.above :]
        skip = text.skip + (self.rows[self.above - 1][0] if self.above else 0)
        if not values:
            return self._without_values(text.encoding, labels or [], skip, text.doubts)
        if labels is None and text.comment is not None:
            labels = self._labels_in(text.comment[1], len(values[0][1]))
        width, first = len(values[0][1]), values[0][0] + text.skip
        plain = Dialect(text.encoding, self.delimiter, self.decimal, skip, width, first=first)
        stamps = {at for _, row in values for at, cell in enumerate(row[:width]) if STAMP.fullmatch(cell)}
        points = self.decimal == "," and any(
            "." in cell and is_number(cell) for _, row in values for cell in row
        )
        plain = replace(plain, stamps=tuple(sorted(stamps)), points=points)
        for number, row in values:
            check_row(row, number + text.skip, plain)
        doubts = list(text.doubts)
        rows = [row for _, row in values]
        found = _with_labels(plain, labels, units, rows, doubts)
        found = _with_start_and_rate(found, values, text.skip, doubts)
        _doubt(found, rows, doubts)
        return replace(found, doubts=tuple(doubts))

    def _without_values(
        self, encoding: str, labels: list[str], skip: int, doubts: tuple[str, ...]
    ) -> Dialect:
        trailing = len(labels) > 1 and not labels[-1]
        names = tuple(labels[:-1] if trailing else labels)
        plain = Dialect(encoding, self.delimiter, self.decimal, skip, len(labels), names, doubts=doubts)
        return replace(plain, trailing=trailing)

    def _labels_in(self, comment: str, width: int) -> list[str] | None:
        cells = next(iter(split_rows([comment], self.delimiter)), (0, []))[1]
        if len(cells) != width or all(is_value(cell, self.decimal) for cell in cells):
            return None
        return cells


def check_row(row: Sequence[str], number: int, dialect: Dialect) -> None:
    """Refuse a row that is not like the others.

    Parameters
    ----------
    row : sequence of str
        Its cells.
    number : int
        Its line in the file.
    dialect : Dialect
        How the table is written.

    Raises
    ------
    InvalidDatapackError
        If it has more or fewer cells.
    NotDataError
        If a cell is no number.
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


def _rows_above(rows: list[list[str]], decimal: str) -> int:
    """Return how many rows stand above the values: labels, and units below them."""
    if not rows or all(is_value(cell, decimal) for cell in rows[0]):
        return int(bool(rows) and _is_counted_header(rows))
    if len(rows) < 3 or len(rows[1]) != len(rows[0]):
        return 1
    units = [cell for cell in rows[1] if cell and not is_value(cell, decimal)]
    are_units = (
        len(units) > 0
        and all(not cell or not is_value(cell, decimal) for cell in rows[1])
        and all(_UNIT.fullmatch(cell) and cell.lower() not in TRUTH for cell in units)
        and all(is_value(cell, decimal) for cell in rows[2])
    )
    return 2 if are_units else 1


def _is_counted_header(rows: list[list[str]]) -> bool:
    """Whether the first row is that of a table of pandas without names: an empty cell, then 0, 1, 2..."""
    first, *rest = rows[0]
    counted = first == "" and len(rest) > 0 and rest == [str(number) for number in range(len(rest))]
    return counted and _counting([row[0] for row in rows[1:]]) is not None


def _counting(cells: Sequence[str]) -> int | None:
    """Return the number that cells count up from by one, None where they do not."""
    if not cells or not all(cell.isascii() and cell.isdigit() for cell in cells) or int(cells[0]) > 1:
        return None
    first = int(cells[0])
    return first if [int(cell) for cell in cells] == list(range(first, first + len(cells))) else None


def _with_labels(
    dialect: Dialect,
    labels: list[str] | None,
    units: list[str] | None,
    rows: list[list[str]],
    doubts: list[str],
) -> Dialect:
    """Return the dialect with labels, and without columns that hold no values."""
    width = dialect.width
    empty_last = width > 1 and dialect.delimiter is not None and all(not row[-1] for row in rows)
    named = labels is not None and len(labels) == width and labels[-1] != ""
    trailing = empty_last and not named
    if trailing and labels is None:
        doubts.append(f"every row ends with an empty cell; only the other {width - 1} columns are read")
    if labels is not None and trailing and len(labels) == width:
        labels = labels[:-1]
    counted = _counting([row[0] for row in rows]) if width - trailing > 1 else None
    index = None
    if labels is not None and counted is not None:
        unnamed = len(labels) == width - trailing and labels[0].lower() in {"", "unnamed: 0"}
        if unnamed or len(labels) == width - trailing - 1:
            index = counted
            labels = labels[1:] if unnamed else labels
            doubts.append(
                f"the first column has no label and counts the rows from {counted}; it is read as an index"
            )
    columns = width - trailing - (index is not None)
    if labels is not None and len(labels) != columns:
        raise InvalidDatapackError(f"the header has {len(labels)} columns, but the rows have {columns}")
    if units is not None:
        units = units[int(index is not None) :][:columns]
        doubts.append(f"the row below the labels is read as units: {', '.join(units)}")
    return replace(
        dialect,
        labels=None if labels is None else tuple(labels),
        units=None if units is None else tuple(unit.strip("[]() ") for unit in units),
        trailing=trailing,
        index=index,
    )


def _with_start_and_rate(
    dialect: Dialect, values: list[tuple[int, list[str]]], skip: int, doubts: list[str]
) -> Dialect:
    """Take the first two rows for a Unix time and a rate, as Empatica writes them, where they look so."""
    if dialect.labels is not None or len(values) < 3:
        return dialect
    rows = [[dialect.point(row[at]) for at in dialect.columns] for _, row in values[:3]]
    if any(len(set(row)) != 1 or not NUMBER.fullmatch(row[0]) for row in rows[:2]):
        return dialect
    start, rate = (float(row[0]) for row in rows[:2])
    later = [float(cell) for cell in rows[2] if NUMBER.fullmatch(cell)]
    if not is_unix_time(start) or not 0 < rate <= 100_000 or any(map(is_unix_time, later)):
        return dialect
    doubts.append(
        f"its first rows look like the Unix time of the first sample ({start:.6f}) and a rate ({rate:g} Hz);"
        " they are read as these"
    )
    return replace(dialect, skip=skip + values[1][0], start=start, rate=rate)


def is_unix_time(seconds: float) -> bool:
    """Whether a number is a Unix time in seconds from 2000 to 2100."""
    return 946_684_800 <= seconds <= 4_102_444_800


def _doubt(dialect: Dialect, rows: list[list[str]], doubts: list[str]) -> None:
    """Say what else the rows could mean."""
    cells = [cell for row in rows for cell in row]
    commas = [cell for cell in cells if has_comma(cell)]
    if dialect.points:
        doubts.append("decimal points and decimal commas are both in its numbers: each is read as a decimal")
    elif commas and all(re.fullmatch(r"[+-]?[1-9]\d{0,2},\d{3}", cell) for cell in commas):
        doubts.append(f"commas are read as decimal signs, {commas[0]!r} as {commas[0].replace(',', '.')}")
    points = [cell for cell in cells if "." in cell]
    if dialect.delimiter == ";" and not commas and points and all(map(GROUPED.fullmatch, points)):
        doubts.append(f"points are read as decimal signs, {points[0]!r} as {float(points[0]):g}")
    if dialect.labels is not None:
        return
    if dialect.delimiter == "," and dialect.width == 2 and all(map(_could_be_decimal, rows)):
        doubts.append(
            f"{','.join(rows[0])!r} is read as two columns: one column with decimal commas looks the same"
        )
    first, *others = rows
    counted = first in [[str(number + add) for number in range(len(first))] for add in (0, 1)]
    if counted and len(first) > 1 and any("." in cell for row in others for cell in row):
        doubts.append(
            f"the first row, {','.join(first)}, could be values or column numbers; it is read as values"
        )


def _must_be_decimal(rows: list[list[str]]) -> bool:
    """Whether two columns of integers are halves of numbers: nobody writes the integers -0 and 05."""
    if not all(len(row) == 2 and _could_be_decimal(row) for row in rows):
        return False
    return any(row[0] == "-0" or (len(row[1]) > 1 and row[1][0] == "0") for row in rows)


def _could_be_decimal(row: list[str]) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+", row[0]) and re.fullmatch(r"\d+", row[1]))


# Tables whose columns are known


def event_rows(data: bytes, width: int, numeric: int) -> tuple[Dialect, list[list[str]], list[str] | None]:
    """Return the rows of a table of events.

    Parameters
    ----------
    data : bytes
        All of the file.
    width : int
        How many columns there should be, which tells commas that separate from others.
    numeric : int
        How many of them hold numbers.

    Returns
    -------
    tuple
        The dialect, all rows, and the cells of the last comment above them, which may hold the labels.

    Raises
    ------
    NotDataError
        If it is no text.
    """
    try:
        text = _beginning(data, whole=True)
    except NotDataError as error:
        if str(error) == "the file is empty":
            return Dialect("utf-8", ",", ".", 0, width), [], None
        raise
    body = text.lines[text.skip :]

    def fitting(delimiter: str | None) -> tuple[int, int]:
        try:
            rows = [row for _, row in islice(split_rows(body, delimiter), _SAMPLE)]
        except NotDataError:
            return -1, 0
        wide = width + (rows[-1:] != [] and all(len(row) > width and not row[-1] for row in rows))
        numbers = sum(sum(is_number(cell, ",") for cell in row) >= numeric for row in rows)
        return sum(len(row) == wide for row in rows), numbers

    delimiters = _DELIMITERS[:5] if text.delimiter is None else (text.delimiter,)
    delimiter = max(delimiters, key=fitting)
    rows = [row for _, row in split_rows(body, delimiter)]
    trailing = bool(rows) and all(len(row) == width + 1 and not row[-1] for row in rows)
    rows = [row[:-1] for row in rows] if trailing else rows
    if text.comment is not None:
        rows = [row for row in rows if len(row) == width or not _COMMENT.match(row[0])]
    comment = (
        None if text.comment is None else next(iter(split_rows([text.comment[1]], delimiter)), (0, [""]))[1]
    )
    dialect = Dialect(text.encoding, delimiter, ",", text.skip, width, trailing=trailing, doubts=text.doubts)
    return dialect, rows, comment
