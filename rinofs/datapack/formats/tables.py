"""Numbers written as text: JSON arrays and CSV, to arrays of samples x columns."""

from __future__ import annotations

import csv
import io
import json
import math
import threading
from dataclasses import dataclass
from itertools import islice
from typing import TYPE_CHECKING, Any

from rinofs.datapack.document.messages import shortened
from rinofs.datapack.formats.detect import NotDataError, text_of
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rinofs.datapack.formats.detect import Format
    from rinofs.datapack.formats.handles import FileHandle

_DELIMITERS = (",", "\t", ";")
_MISSING = frozenset({"", "na", "n/a", "nan", "null", "none"})


@dataclass(frozen=True, slots=True, eq=False)
class Table:
    """Numbers of a text file.

    Attributes
    ----------
    values : ndarray
        Samples x columns, or more dimensions where JSON is nested deeper; bool, int64 or float64.
    labels : tuple of str, optional
        The header of the columns, where the file has one.
    """

    values: NDArray[Any]
    labels: tuple[str, ...] | None = None


def json_rows(data: bytes) -> list[Any]:
    """Return the JSON array that a file is.

    Raises
    ------
    NotDataError
        If it is none.
    """
    text = text_of(data)
    if text is None or not text.strip():
        raise NotDataError("the file is empty" if not data.strip() else "this is no text in UTF-8")
    try:
        value = json.loads(text)
    except (ValueError, RecursionError) as error:
        raise NotDataError(f"this is not JSON: {error}") from error
    if not isinstance(value, list):
        raise NotDataError(f"this is JSON, but {shortened(repr(value))} is no array of numbers or of rows")
    return value


def json_table(data: bytes) -> Table:
    """Return the numbers of a JSON array; ``null`` is NaN.

    Raises
    ------
    InvalidDatapackError
        If the rows are not of one length, or hold something else than numbers.
    """
    import numpy as np

    rows = json_rows(data)
    try:
        values = np.array(rows)
    except ValueError:
        raise InvalidDatapackError(_ragged(rows)) from None
    if not values.size and values.ndim <= 2:
        return Table(np.zeros((len(values), 0) if values.ndim == 2 else (0, 0)))
    if values.dtype.kind not in "biuf":
        values = _floats(rows)
    return Table(_as_columns(_plain(values)))


def _as_columns(values: NDArray[Any]) -> NDArray[Any]:
    return values[:, None] if values.ndim == 1 else values


def _plain(values: NDArray[Any]) -> NDArray[Any]:
    return (
        values
        if values.dtype.kind == "b"
        else values.astype("int64" if values.dtype.kind == "i" else "float64")
    )


def _floats(rows: list[Any]) -> NDArray[Any]:
    """Return rows as floats, where ``null`` stands for a missing number."""
    import numpy as np

    for number, row in enumerate(rows, 1):
        for value in _leaves(row):
            if value is not None and not isinstance(value, (int, float)):
                raise NotDataError(f"row {number} holds {shortened(repr(value))}, which is no number")
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


def csv_rows(data: bytes, columns: int) -> list[list[str]]:
    """Return the rows of a CSV or TSV file, without empty lines.

    Parameters
    ----------
    data : bytes
        The file.
    columns : int
        How many there should be, which tells commas that separate from others.

    Raises
    ------
    NotDataError
        If it is no text.
    """
    text = _text(data)

    def fitting(delimiter: str) -> int:
        return sum(len(row) == columns for row in islice(_rows(text, delimiter), 2))

    return list(_rows(text, max(_DELIMITERS, key=fitting)))


def csv_table(data: bytes) -> Table:
    """Return the numbers of a CSV or TSV file, with its header where it has one; empty cells are NaN.

    Raises
    ------
    NotDataError
        If there are no numbers in it.
    InvalidDatapackError
        If its rows are not of one length, or hold text.
    """
    text = _text(data)
    delimiter = _delimiter(text)
    head = list(islice(_rows(text, delimiter), 2))
    if not head:
        raise NotDataError("the file is empty")
    labels = None
    if not all(is_number(_point(cell, delimiter)) for cell in head[0]):
        labels = (head[0][0].lstrip("# ").strip(), *head[0][1:])
        if not head[1:]:
            return Table(_empty(len(labels)), labels)
    values = _quickly(text, delimiter, head[labels is not None], labels is not None)
    if values is None:
        values = _carefully(list(_rows(text, delimiter)), delimiter, labels is not None)
    if labels is not None and len(labels) != values.shape[1]:
        raise InvalidDatapackError(
            f"the header has {len(labels)} columns, and the rows have {values.shape[1]}"
        )
    return Table(values, labels)


def _text(data: bytes) -> str:
    text = text_of(data)
    if text is None:
        raise NotDataError("this is no text in UTF-8")
    return text


def _empty(columns: int) -> NDArray[Any]:
    import numpy as np

    return np.zeros((0, columns))


def _rows(text: str, delimiter: str | None) -> Iterator[list[str]]:
    lines = io.StringIO(text, newline="")
    if delimiter is None:
        yield from (line.split() for line in lines if line.strip())
        return
    try:
        for row in csv.reader(lines, delimiter=delimiter):
            if len(row) > 1 or (row and not row[0].isspace()):
                yield [cell.strip() for cell in row]
    except csv.Error as error:
        raise NotDataError(f"this is not CSV: {error}") from error


def _delimiter(text: str) -> str | None:
    """Return what separates the numbers of a text; None for blanks."""

    def fitting(delimiter: str) -> int:
        rows = list(islice(_rows(text, delimiter), 2))
        if not rows or len(rows[-1]) == 1:
            return int(delimiter == _DELIMITERS[0])  # a single column, unless another one separates more
        numeric = all(is_number(_point(cell, delimiter)) for cell in rows[-1])
        widths = {len(row) for row in rows}
        return 2 + 4 * numeric + 2 * (len(widths) == 1)

    cells = next(reversed(list(islice(_rows(text, None), 2))), [])
    if len(cells) > 1 and all(map(is_number, cells)):
        return None
    return max(_DELIMITERS, key=fitting)


def _point(cell: str, delimiter: str | None) -> str:
    """Return a number with a decimal point: where semicolons separate, commas are in numbers."""
    return cell.replace(",", ".") if delimiter == ";" else cell


def is_number(cell: str) -> bool:
    """Whether a cell holds a number, or says that it is missing."""
    try:
        float(cell)
    except ValueError:
        return cell.lower() in _MISSING
    return True


def _quickly(text: str, delimiter: str | None, row: list[str], has_header: bool) -> NDArray[Any] | None:
    """Return the numbers of a text without missing values, None where there is anything unusual."""
    import numpy as np

    whole = all(cell.lstrip("+-").isdigit() for cell in row)
    for dtype in (np.int64, np.float64) if whole else (np.float64,):
        lines = (_point(line, delimiter) for line in io.StringIO(text) if line.strip())
        if has_header:
            next(lines)
        try:
            return np.loadtxt(lines, delimiter=delimiter, ndmin=2, comments=None, dtype=dtype)
        except (ValueError, OverflowError):
            continue
    return None


def _carefully(rows: list[list[str]], delimiter: str | None, has_header: bool) -> NDArray[Any]:
    """Return the numbers of rows, naming the first that is wrong."""
    import numpy as np

    first = 1 + has_header
    columns = len(rows[has_header])
    values = np.empty((len(rows) - has_header, columns))
    for number, row in enumerate(rows[has_header:]):
        if len(row) != columns:
            raise InvalidDatapackError(
                f"rows are not of one length: row {number + first} has {len(row)} values,"
                f" row {first} has {columns}"
            )
        values[number] = [_number(_point(cell, delimiter), number + first) for cell in row]
    return values


def _number(cell: str, row: int) -> float:
    word = cell.lower()
    if word in _MISSING:
        return math.nan
    if word in {"true", "false"}:
        return float(word == "true")
    try:
        return float(cell)
    except ValueError:
        raise NotDataError(f"row {row} holds {shortened(repr(cell))}, which is no number") from None


class TableSamples:
    """Samples written as text, which can only be read whole; another process reads them once more."""

    rate = None
    parts = None

    def __init__(self, handle: FileHandle, kind: Format) -> None:
        self._handle = handle
        self._kind = kind
        self._lock = threading.Lock()
        self._values: NDArray[Any] | None = None
        table = self._load()
        self._values = table.values
        self.labels = table.labels
        self.shape = table.values.shape
        self.dtype = table.values.dtype

    def _load(self) -> Table:
        data = self._handle.read_all()
        return json_table(data) if self._kind == "json" else csv_table(data)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return some samples."""
        with self._lock:
            if self._values is None:
                self._values = self._load().values
        return self._values[start:stop].copy()

    @property
    def values(self) -> NDArray[Any]:
        """All of them."""
        return self.read(0, self.shape[0])

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_values": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()
