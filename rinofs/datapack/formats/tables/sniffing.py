"""Find the dialect of a text table, from the first `HEAD` bytes of the file only.

All rules are in this module, for streams and for events. An ambiguous table is read in the more likely way,
and `Dialect.doubts` has a warning.
"""

from __future__ import annotations

import re
from collections import Counter
from dataclasses import dataclass, replace
from itertools import islice
from typing import TYPE_CHECKING

from rinofs.datapack.document.messages import shortened
from rinofs.datapack.formats.detect import NotDataError, decoded
from rinofs.datapack.formats.tables.cells import GROUPED, NUMBER, STAMP, TRUTH, has_comma, is_number, is_value
from rinofs.datapack.formats.tables.dialect import (
    COMMENT,
    INDEX_LABEL,
    SEPARATOR_LINE,
    Dialect,
    check_row,
    normal_lines,
    split_rows,
)
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Sequence

HEAD = 64 * 1024
"""Number of bytes at the beginning of a file that determine its dialect."""

LONGEST_HEAD = 64 * 1024 * 1024
"""Number of bytes if the first rows are longer than `HEAD`."""

_SAMPLE = 400  # number of rows to try
_DELIMITERS = ("\t", ";", ",", "|", None, "")

_UNIT = re.compile(r"[\[(]?[^\d\W]?[\w/^*.·%°µμΩ²³⁻¹ -]{0,14}[\])]?")


@dataclass(frozen=True, slots=True)
class _Head:
    """The lines at the beginning of a table."""

    encoding: str
    lines: list[str]
    skip: int
    delimiter: str | None
    comment: tuple[int, str] | None
    doubts: tuple[str, ...]


def dialect_of(data: bytes, *, whole: bool, channels: Sequence[str] | None = None) -> Dialect:
    """Find the dialect of a table of numbers.

    Parameters
    ----------
    data : bytes
        First `HEAD` bytes, or the whole file.
    whole : bool
        Whether this is the whole file.
    channels : sequence of str, optional
        Labels of the columns according to a datatype, which settle what would be ambiguous without them.

    Raises
    ------
    NotDataError
        If it is not a table of numbers; the message names the first row with an error.
    InvalidDatapackError
        If its rows have different lengths.
    """
    text = _read_head(data, whole=whole)
    body = [line if not COMMENT.match(line) else "" for line in text.lines[text.skip :]]
    tried = [_Candidate.of(body, *candidate) for candidate in _candidates(text)]
    named = [trial for trial in tried if trial.is_named(channels)]
    best = max(named or tried, key=lambda trial: trial.score)  # the first candidate with the highest score
    return best.dialect(text, channels)


def _candidates(text: _Head) -> list[tuple[str | None, str]]:
    delimiters = _DELIMITERS if text.delimiter is None else (text.delimiter,)
    return [(delimiter, decimal) for delimiter in delimiters for decimal in ".,"]


def _read_head(data: bytes, *, whole: bool) -> _Head:
    """Decode the beginning of a file, and find the lines above the rows."""
    found = decoded(data, cut=not whole)
    if found is None:
        raise NotDataError("not text in UTF-8, UTF-16 or Windows-1252")
    text, encoding = found
    lines = normal_lines(text)
    if not whole:
        lines.pop()  # may be incomplete
        if not lines:
            raise NotDataError(f"its first {len(data) // 1024} KiB are one line")
    if not any(line.strip() for line in lines):
        raise NotDataError("the file is empty")
    doubts = ("the text is not UTF-8; it is read as Windows-1252",) if encoding == "cp1252" else ()
    skip, delimiter, comment = 0, None, None
    for number, line in enumerate(lines):
        if sep := SEPARATOR_LINE.fullmatch(line):
            delimiter = sep[1]
        elif COMMENT.match(line) or _is_semicolon_comment(lines, number):
            comment = number, line.strip().strip('"').lstrip("#%/; ").strip()
        elif line.strip(" "):
            break
        skip = number + 1
    if not whole and skip == len(lines):
        raise NotDataError(f"its first {len(data) // 1024} KiB hold no row, but comments alone")
    return _Head(encoding, lines, skip, delimiter, comment, doubts)


def has_long_rows(head: bytes) -> bool:
    """Return whether two rows do not fit into `HEAD`, so that a longer beginning is needed.

    A text without line ends is a table only if its cells are short, as labels and numbers are.
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
    """Return whether a semicolon begins a comment: it is not a delimiter if later lines have none."""
    if not lines[number].startswith(";"):
        return False
    below = [line for line in lines[number + 1 :] if line.strip() and not line.startswith(";")]
    return bool(below) and not any(";" in line for line in below)


@dataclass(frozen=True, slots=True)
class _Candidate:
    """The rows at the beginning of a file for one delimiter and one decimal sign."""

    delimiter: str | None
    decimal: str
    rows: list[tuple[int, list[str]]]
    above: int  # number of rows of labels and units
    score: tuple[float, ...]

    @classmethod
    def of(cls, body: Sequence[str], delimiter: str | None, decimal: str) -> _Candidate:
        try:
            rows = list(islice(split_rows(body, delimiter), _SAMPLE))
        except NotDataError:
            return cls(delimiter, decimal, [], 0, (-1.0,))
        above = _rows_above([row for _, row in rows], decimal)
        values = [row for _, row in rows[above:]]
        trial = cls(delimiter, decimal, rows, above, ())
        return replace(trial, score=trial._score(values))

    def is_named(self, channels: Sequence[str] | None) -> bool:
        """Return whether the first row has the labels of the datatype."""
        return self.above > 0 and self.rows[0][1] == [label.strip() for label in channels or ()]

    def _score(self, values: list[list[str]]) -> tuple[float, ...]:
        if not values:
            several = bool(self.rows) and len(self.rows[0][1]) > 1 and self.delimiter is not None
            return (0.0, 0.0, float(several and self.decimal == "."))
        width = Counter(map(len, values)).most_common(1)[0][0]
        if width == 1 and self.delimiter != "":
            return (-0.5,)
        cells = [cell for row in values for cell in row]
        numeric = sum(is_value(cell, self.decimal) or cell.lower() in TRUTH for cell in cells) / len(cells)
        even = all(len(row) == width for row in values)
        if self.decimal == "," and not any(has_comma(cell) for cell in cells):
            return (-0.25, numeric)
        fits = self.above == 0 or len(self.rows[0][1]) == width
        if self.delimiter == "" and self.decimal == "," and self.above and "," in self.rows[0][1][0]:
            return (-0.25, numeric)  # the comma is a delimiter in the row of labels
        if (self.delimiter, self.decimal, self.above) == (",", ".", 0) and _must_be_decimal(values):
            return (-0.25, numeric)
        # Of two that fit, the one that takes the first row for values loses none.
        fit = float(numeric == 1.0 and even and fits), float(numeric == 1.0 and even)
        return (*fit, numeric, float(even), float(self.above == 0))

    def dialect(self, text: _Head, channels: Sequence[str] | None) -> Dialect:
        """Return the dialect; raises an error for a row that does not match it."""
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
        if self.above and not self.is_named(channels):
            _add_doubt_of_labels(self.rows[0][1], doubts)
        found = _with_labels(plain, labels, units, rows, doubts)
        found = _with_start_and_rate(found, values, text.skip, doubts)
        _add_doubts(found, rows, None if channels is None else len(channels), doubts)
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


def _rows_above(rows: list[list[str]], decimal: str) -> int:
    """Return the number of rows above the values: labels, and possibly units."""
    if not rows or all(is_value(cell, decimal) for cell in rows[0]):
        return int(bool(rows) and _is_counted_header(rows))
    if len(rows) > 1 and _are_truths(rows[0], rows[1], decimal):
        return 0
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


def _are_truths(row: list[str], below: list[str], decimal: str) -> bool:
    """Return whether true and false are values in a row, rather than labels: the row below has them, too."""
    return len(row) == len(below) and all(
        is_value(cell, decimal) or (cell.lower() in TRUTH and other.lower() in TRUTH)
        for cell, other in zip(row, below, strict=True)
    )


def _is_counted_header(rows: list[list[str]]) -> bool:
    """Return whether the first row is the header of an unnamed pandas table: an empty cell, 0, 1, 2..."""
    first, *rest = rows[0]
    counted = first == "" and len(rest) > 0 and rest == [str(number) for number in range(len(rest))]
    return counted and _counting([row[0] for row in rows[1:]]) is not None


def _counting(cells: Sequence[str]) -> int | None:
    """Return the first of consecutive integers, None for other cells."""
    if not cells or not all(cell.isascii() and cell.isdigit() and len(cell) < 20 for cell in cells):
        return None
    if int(cells[0]) > 1:
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
    """Return the dialect with labels, and without columns that have no values."""
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
        unnamed = len(labels) == width - trailing and labels[0].lower() in {"", INDEX_LABEL}
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
    """Use the first two rows as Unix time and rate, as Empatica writes them, if they are plausible."""
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
    """Return whether a number is a Unix time in seconds from 2000 to 2100."""
    return 946_684_800 <= seconds <= 4_102_444_800


def _add_doubts(dialect: Dialect, rows: list[list[str]], columns: int | None, doubts: list[str]) -> None:
    """Add warnings about ambiguities in the rows."""
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
    is_pair = dialect.delimiter == "," and dialect.width == 2 != columns
    if is_pair and all(map(_could_be_decimal, rows)):
        doubts.append(
            f"{','.join(rows[0])!r} is read as two columns: one column with decimal commas looks the same"
        )
    first, *others = rows
    counted = first in [[str(number + add) for number in range(len(first))] for add in (0, 1)]
    if counted and len(first) > 1 and any("." in cell for row in others for cell in row):
        doubts.append(
            f"the first row, {','.join(first)}, could be values or column numbers; it is read as values"
        )


def _add_doubt_of_labels(row: list[str], doubts: list[str]) -> None:
    """Add a warning if numbers are read as labels, unless they number the columns."""
    values = {at: cell for at, cell in enumerate(row) if is_value(cell, ",") and re.search(r"\d", cell)}
    if not values or values in [{at: str(at + first) for at in values} for first in (-1, 0, 1)]:
        return
    other = next((cell for cell in row if not is_value(cell, ",")), "")
    doubts.append(
        f"the first row, {shortened(','.join(row))}, is read as labels because of {shortened(repr(other))},"
        " but it also has numbers"
    )


def _must_be_decimal(rows: list[list[str]]) -> bool:
    """Return whether two columns of integers are halves of decimals: integers are not written -0 or 05."""
    if not all(len(row) == 2 and _could_be_decimal(row) for row in rows):
        return False
    return any(row[0] == "-0" or (len(row[1]) > 1 and row[1][0] == "0") for row in rows)


def _could_be_decimal(row: list[str]) -> bool:
    return bool(re.fullmatch(r"[+-]?\d+", row[0]) and re.fullmatch(r"\d+", row[1]))


# Tables of events


def event_rows(data: bytes, width: int, numeric: int) -> tuple[Dialect, list[list[str]], list[str] | None]:
    """Return the rows of a table of events, whose columns are known.

    Parameters
    ----------
    data : bytes
        Whole file.
    width : int
        Expected number of columns, which distinguishes delimiters from other commas.
    numeric : int
        Number of columns with numbers.

    Returns
    -------
    tuple
        Dialect, rows, and the cells of the last comment above the rows, which may be labels.

    Raises
    ------
    NotDataError
        If it is not text.
    """
    try:
        text = _read_head(data, whole=True)
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
        numbers = sum(sum(cell != "" and is_number(cell, ",") for cell in row) >= numeric for row in rows)
        return sum(len(row) == wide for row in rows), numbers

    delimiters = _DELIMITERS[:5] if text.delimiter is None else (text.delimiter,)
    delimiter = max(delimiters, key=fitting)
    rows = [row for _, row in split_rows(body, delimiter)]
    trailing = bool(rows) and all(len(row) == width + 1 and not row[-1] for row in rows)
    rows = [row[:-1] for row in rows] if trailing else rows
    if text.comment is not None:
        rows = [row for row in rows if len(row) == width or not COMMENT.match(row[0])]
    comment = (
        None if text.comment is None else next(iter(split_rows([text.comment[1]], delimiter)), (0, [""]))[1]
    )
    dialect = Dialect(text.encoding, delimiter, ",", text.skip, width, trailing=trailing, doubts=text.doubts)
    return dialect, rows, comment
