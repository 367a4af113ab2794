"""Samples written as text: verified and indexed by one pass over the file, then read in parts."""

from __future__ import annotations

import bisect
import threading
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rinofs.datapack.document.messages import warn
from rinofs.datapack.formats.samples import CHUNK
from rinofs.datapack.formats.tables.dialect import HEAD, dialect_of, normal_lines
from rinofs.datapack.formats.tables.parsing import Block, Parser, json_block
from rinofs.datapack.formats.tables.timeaxis import Times, time_column, times_of

if TYPE_CHECKING:
    from collections.abc import Iterator

    from numpy.typing import NDArray

    from rinofs.datapack.formats.detect import Format
    from rinofs.datapack.formats.handles import FileHandle

BLOCK = 128 * 1024
"""Bytes of text that are read and parsed at once; the places of blocks are kept, so that slices read few."""

KEPT = 8 * 1024 * 1024
"""Bytes of text up to which all numbers stay in memory once they are read."""


class Mark(NamedTuple):
    """Where a block begins: how many rows, bytes and lines are before it."""

    row: int
    position: int
    line: int


class TableSamples:
    """Samples written as text.

    Opening reads the file once, a block at a time: it is verified, and the number of samples becomes known.
    Where blocks begin is kept, so that a slice of a large table reads no more than it needs.

    Parameters
    ----------
    handle : FileHandle
        The file.
    kind : str
        ``json`` or ``csv``.
    label : str
        What it is called in warnings.
    """

    def __init__(self, handle: FileHandle, kind: Format, label: str) -> None:
        self._handle = handle
        self._lock = threading.Lock()
        self._parser: Parser | None = None
        self._marks: list[Mark] = []
        self._values: NDArray[Any] | None = None
        self._facts = _Facts()
        self._time: int | None = None
        self._stamps: list[NDArray[Any]] = []
        self.labels: tuple[str, ...] | None = None
        self.units: tuple[str, ...] | None = None
        self.rate: float | None = None
        self.unix_start: float | None = None
        if kind == "json":
            self._keep([json_block(handle.read_all())])
        else:
            self._open(label)
        self.shape = (self._facts.rows, *self._facts.tail)
        self.dtype = np.dtype(self._facts.dtype)
        self._is_kept = self._values is not None
        self._dropped: int | None = None
        self.parts = None if self._is_kept else max(1, CHUNK // (8 * max(self.shape[1], 1)))

    def _open(self, label: str) -> None:
        head, size = self._handle.head(HEAD), self._handle.size
        dialect = dialect_of(head, whole=len(head) >= size)
        self._parser = Parser(dialect)
        self.labels, self.units = dialect.labels, dialect.units
        self.rate, self.unix_start = dialect.rate, dialect.start
        for doubt in dialect.doubts:
            warn(label, doubt)
        self._facts.tail = (len(dialect.columns),)
        blocks = self._blocks(Mark(0, 0, 0), size)
        if size <= KEPT or dialect.encoding == "utf-16":
            self._keep([block for _, block in blocks])
            return
        for mark, block in blocks:
            self._marks.append(mark)
            self._add(block)

    def _keep(self, blocks: list[Block]) -> None:
        for block in blocks:
            self._add(block)
        parts = [block.values for block in blocks] or [np.zeros((0, *self._facts.tail))]
        self._values = np.concatenate([part.astype(self._facts.dtype, copy=False) for part in parts])

    def _add(self, block: Block) -> None:
        if not self._facts.rows:
            dialect = self._parser.dialect if self._parser else None
            stamps = [column - (dialect.index is not None) for column in dialect.stamps] if dialect else []
            self._time = time_column(self.labels, block.values, stamps)
        self._facts.add(block)
        if self._time is not None:
            self._stamps.append(block.exact.get(self._time, block.values[:, self._time]))

    def times(self) -> tuple[int, str, Times | None] | None:
        """Return the column that says when the samples are, its label, and its times if they increase.

        None where there is no such column, or it is all there is.
        """
        if self._time is None:
            return None
        label = self.labels[self._time] if self.labels else ""
        stamps, self._stamps = self._stamps, []
        return self._time, label or str(self._time + 1), times_of(np.concatenate(stamps), label)

    def drop(self, column: int) -> None:
        """Leave a column out."""
        self._dropped = column
        self.shape = (self.shape[0], self.shape[1] - 1)
        self._facts.drop(column)
        for name in ("labels", "units"):
            cells = getattr(self, name)
            if cells is not None:
                setattr(self, name, cells[:column] + cells[column + 1 :])

    def _blocks(self, begin: Mark, end: int) -> Iterator[tuple[Mark, Block]]:
        """Yield the blocks from a mark to a byte, each with where it begins."""
        assert self._parser is not None
        dialect = self._parser.dialect
        mark = begin
        for data in _whole_lines(self._handle, begin.position, end, dialect.encoding):
            text = _text(data, dialect.encoding)
            lines = text.count("\n") + text.count("\r") - text.count("\r\n")
            above = max(0, dialect.skip - mark.line)
            rows = "\n".join(normal_lines(text)[above:]) if above else text
            block = self._parser.block(rows, mark.line + above, mark.row)
            yield mark, block
            mark = Mark(mark.row + len(block.values), mark.position + len(data), mark.line + lines)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return some samples; the array is the caller's."""
        if self._is_kept:
            return self._kept_columns(self.values[start:stop]).copy()
        values = np.empty((max(stop - start, 0), *self.shape[1:]), self.dtype)
        first = max(bisect.bisect_right(self._marks, start, key=lambda mark: mark.row) - 1, 0)
        after = bisect.bisect_left(self._marks, stop, key=lambda mark: mark.row)
        end = self._marks[after].position if after < len(self._marks) else self._handle.size
        for mark, block in self._blocks(self._marks[first], end) if len(values) else ():
            part = self._kept_columns(block.values)[max(start - mark.row, 0) : max(stop - mark.row, 0)]
            at = max(mark.row - start, 0)
            values[at : at + len(part)] = part
        return values

    def _kept_columns(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self._dropped is None else np.delete(values, self._dropped, axis=1)

    @property
    def values(self) -> NDArray[Any]:
        """All of them, with the column that was left out."""
        with self._lock:
            if self._is_kept and self._values is None:  # in another process
                if self._parser is None:
                    self._values = json_block(self._handle.read_all()).values
                else:
                    parts = [block.values for _, block in self._blocks(Mark(0, 0, 0), self._handle.size)]
                    self._values = np.concatenate(parts) if parts else np.zeros((0, *self._facts.tail))
        assert self._values is not None
        return self._values

    def fits(self, dtype: np.dtype[Any]) -> bool:
        """Whether all values stay what they are in another type."""
        facts = self._facts
        return dtype.kind == "f" or bool(np.all(facts.boolean if dtype.kind == "b" else facts.integral))

    def warn_of_lost_digits(self, label: str) -> None:
        """Warn of columns whose integers a float cannot hold."""
        for column in sorted(self._facts.lost):
            name = self.labels[column] if self.labels else str(column + 1)
            warn(label, f"column {name!r} holds integers that a float cannot: their last digits are lost")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_values": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._lock = threading.Lock()


class _Facts:
    """What is known of all values, block by block."""

    def __init__(self) -> None:
        self.rows = 0
        self.tail: tuple[int, ...] = (0,)
        self.dtype: np.dtype[Any] = np.dtype(np.float64)
        self.boolean: Any = True  # of each column
        self.integral: Any = True
        self.lost: set[int] = set()

    def add(self, block: Block) -> None:
        """Count the values of a block."""
        values = block.values
        if len(values):
            self.dtype = np.result_type(self.dtype, values.dtype) if self.rows else values.dtype
        self.rows += len(values)
        self.tail = values.shape[1:]
        self.lost |= block.lost
        with np.errstate(invalid="ignore"):
            if values.dtype.kind == "f":
                self.integral = self.integral & (values.astype(np.int64) == values).all(axis=0)
            elif values.dtype.kind == "i" and values.size and values.ndim == 2:
                # A large integer is lost if other blocks hold fractions.
                self.lost |= set(np.flatnonzero((values.astype(float).astype(int) != values).any(0)).tolist())
        if values.dtype.kind != "b":
            self.boolean = self.boolean & np.isin(values, (0, 1)).all(axis=0)

    def drop(self, column: int) -> None:
        """Forget a column."""
        self.lost = {each - (each > column) for each in self.lost - {column}}
        for name in ("boolean", "integral"):
            each = getattr(self, name)
            setattr(self, name, each if np.ndim(each) == 0 else np.delete(each, column))


def _text(data: bytes, encoding: str) -> str:
    if encoding == "utf-16":
        return data.decode("utf-16")
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("latin-1")  # what is no ASCII is no number either, and is named


def _whole_lines(handle: FileHandle, begin: int, end: int, encoding: str) -> Iterator[bytes]:
    """Yield the bytes between two places in blocks that end where a line does."""
    if encoding == "utf-16":
        yield handle.read(begin, end - begin)
        return
    rest = b""
    for data in handle.stream(begin, end, BLOCK):
        block = rest + data
        # A carriage return at the very end may be half of what ends a line.
        cut = max(block.rfind(b"\n"), block.rfind(b"\r", 0, len(block) - 1)) + 1
        if block[cut - 1 : cut + 1] == b"\r\n":
            cut += 1
        rest = block[cut:]
        if cut:
            yield block[:cut]
    if rest:
        yield rest
