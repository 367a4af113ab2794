"""Samples in text: validated and indexed by one scan of the file, then read in parts."""

from __future__ import annotations

import bisect
import contextlib
import os
import threading
import weakref
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.document.messages import warn
from rinofs.datapack.formats.index_cache import load_index, store_index
from rinofs.datapack.formats.samples import CHUNK
from rinofs.datapack.formats.tables.dialect import normal_lines
from rinofs.datapack.formats.tables.index import IndexBuilder, Mark, TableIndex
from rinofs.datapack.formats.tables.parsing import Parser, json_block
from rinofs.datapack.formats.tables.sniffing import HEAD, LONGEST_HEAD, dialect_of, has_long_rows
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from numpy.typing import NDArray

    from rinofs.datapack.formats.detect import Format
    from rinofs.datapack.formats.handles import FileHandle
    from rinofs.datapack.formats.tables.parsing import Block
    from rinofs.datapack.formats.tables.timeaxis import Times

BLOCK = 128 * 1024
"""Number of bytes that are read and parsed at once; blocks are indexed, so a slice reads few of them."""

AT_ONCE = 1024 * 1024
"""Number of bytes of a slice that are requested and parsed at once."""

KEPT = 8 * 1024 * 1024
"""Maximum size in bytes of a text whose values all stay in memory."""

_BEGIN = Mark(0, 0, 0)

_tables: weakref.WeakSet[TableSamples] = weakref.WeakSet()


def _after_fork() -> None:
    for table in list(_tables):
        table._make_lock()  # noqa: SLF001 - another thread of the parent may hold the old one for ever


if hasattr(os, "register_at_fork"):
    os.register_at_fork(after_in_child=_after_fork)


class TableSamples:
    """Samples in text.

    The first opening reads the file once, block by block, to validate it and to count the samples. The result
    is cached on disk for large files, by content. A slice reads only the blocks that it touches.

    Parameters
    ----------
    handle : FileHandle
        File.
    kind : str
        ``json`` or ``csv``.
    label : str
        Name for warnings.
    channels : sequence of str, optional
        Labels of the columns according to a datatype.
    """

    def __init__(
        self, handle: FileHandle, kind: Format, label: str, channels: Sequence[str] | None = None
    ) -> None:
        self._handle = handle
        self._make_lock()
        self._parser: Parser | None = None
        self._values: NDArray[Any] | None = None
        self.labels: tuple[str, ...] | None = None
        self.units: tuple[str, ...] | None = None
        self.rate: float | None = None
        self.unix_start: float | None = None
        self._index = self._of_json() if kind == "json" else self._of_table(label, channels)
        self._facts = self._index.facts
        self.shape = (self._facts.rows, *self._facts.tail)
        self.dtype = np.dtype(self._facts.dtype)
        self._is_kept = self._values is not None
        self._dropped: int | None = None
        self.parts = None if self._is_kept else max(1, CHUNK // (8 * max(self.shape[1], 1)))

    def _of_json(self) -> TableIndex:
        block = json_block(self._handle.read_all())
        builder = IndexBuilder(None)
        builder.add(block, _BEGIN)
        self._values = block.values
        return builder.index()

    def _of_table(self, label: str, channels: Sequence[str] | None) -> TableIndex:
        head, size = self._head()
        dialect = dialect_of(head, whole=len(head) >= size, channels=channels)
        self._parser = Parser(dialect)
        self.labels, self.units = dialect.labels, dialect.units
        self.rate, self.unix_start = dialect.rate, dialect.start
        for doubt in dialect.doubts:
            warn(label, doubt)
        if size <= KEPT:
            return self._pass(size, keep=True)
        version = self._handle.version()
        kept = load_index(version, "table")
        if kept is not None:
            with contextlib.suppress(KeyError, TypeError, ValueError):
                return TableIndex.from_arrays(kept)
        index = self._pass(size, keep=False)
        store_index(version, "table", index.to_arrays())
        return index

    def _head(self) -> tuple[bytes, int]:
        """Return the beginning of the file, which determines the dialect, and the file's size in bytes."""
        head, size = self._handle.head(HEAD), self._handle.size
        while len(head) < min(size, LONGEST_HEAD) and has_long_rows(head):
            head = self._handle.read(0, 4 * len(head))
        return head, size

    def _pass(self, size: int, *, keep: bool) -> TableIndex:
        """Read the whole table, and optionally keep its values."""
        assert self._parser is not None
        dialect = self._parser.dialect
        stamped = [column - (dialect.index is not None) for column in dialect.stamps]
        builder = IndexBuilder(self.labels, stamped, (len(dialect.columns),))
        kept = []
        for mark, block in self._blocks(_BEGIN, size):
            builder.add(block, mark)
            if keep:
                kept.append(block.values)
        index = builder.index()
        if keep:
            parts = [part.astype(index.facts.dtype, copy=False) for part in kept]
            self._values = np.concatenate(parts) if parts else np.zeros((0, *index.facts.tail))
        return index

    def times(self) -> tuple[int, str, Times | None] | None:
        """Return the index and label of the column with times, and the times if they increase.

        None if there is no such column, or no other one.
        """
        if self._index.time is None:
            return None
        label = self.labels[self._index.time] if self.labels else ""
        return self._index.time, label or str(self._index.time + 1), self._index.times

    def drop(self, column: int) -> None:
        """Remove a column."""
        self._dropped = column
        self.shape = (self.shape[0], self.shape[1] - 1)
        self._facts.drop(column)
        for name in ("labels", "units"):
            cells = getattr(self, name)
            if cells is not None:
                setattr(self, name, cells[:column] + cells[column + 1 :])

    def _blocks(self, begin: Mark, end: int, at_once: int = BLOCK) -> Iterator[tuple[Mark, Block]]:
        """Yield the blocks between a position and an offset in bytes, with their positions."""
        assert self._parser is not None
        dialect = self._parser.dialect
        mark = begin
        for data in _whole_lines(self._handle, begin.position, end, dialect.encoding, at_once):
            text = _text(data, dialect.encoding)
            text = text if mark.position else text.lstrip("\ufeff")
            returns = text.count("\r")
            lines = text.count("\n") + (returns - text.count("\r\n") if returns else 0)
            above = max(0, dialect.skip - mark.line)
            rows = "\n".join(normal_lines(text)[above:]) if above else text
            block = self._parser.block(rows, mark.line + above, mark.row)
            yield mark, block
            mark = Mark(mark.row + len(block.values), mark.position + len(data), mark.line + lines)

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples [start, stop); the array may be modified by the caller."""
        if self._is_kept:
            return self._kept_columns(self.values[start:stop]).copy()
        values = np.empty((max(stop - start, 0), *self.shape[1:]), self.dtype)
        marks = self._index.marks
        first = max(bisect.bisect_right(marks, start, key=lambda mark: mark.row) - 1, 0)
        after = bisect.bisect_left(marks, stop, key=lambda mark: mark.row)
        last = marks[after] if after < len(marks) else Mark(self.shape[0], self._handle.size, 0)
        found = marks[first].row
        for mark, block in self._blocks(marks[first], last.position, AT_ONCE) if len(values) else ():
            part = self._kept_columns(block.values)[max(start - mark.row, 0) : max(stop - mark.row, 0)]
            at = max(mark.row - start, 0)
            values[at : at + len(part)] = part
            found = mark.row + len(block.values)
        if len(values) and found != last.row:
            raise InvalidDatapackError(
                f"{self._handle.path}: {found} rows where {last.row} were: it changed since it was opened"
            )
        return values

    def _kept_columns(self, values: NDArray[Any]) -> NDArray[Any]:
        return values if self._dropped is None else np.delete(values, self._dropped, axis=1)

    @property
    def values(self) -> NDArray[Any]:
        """All values, including the removed column."""
        with self._lock:
            if self._is_kept and self._values is None:  # after unpickling in another process
                if self._parser is None:
                    self._values = json_block(self._handle.read_all()).values
                else:
                    self._pass(self._handle.size, keep=True)
        assert self._values is not None
        return self._values

    def fits(self, dtype: np.dtype[Any]) -> bool:
        """Return whether another type can represent all values exactly."""
        facts = self._facts
        return dtype.kind == "f" or bool(np.all(facts.boolean if dtype.kind == "b" else facts.integral))

    def warn_of_lost_digits(self, label: str) -> None:
        """Warn of columns with integers that a float cannot represent."""
        for column in sorted(self._facts.lost):
            name = self.labels[column] if self.labels else str(column + 1)
            warn(label, f"column {name!r} holds integers too large for a float; their last digits are lost")

    def __getstate__(self) -> dict[str, Any]:
        return {**self.__dict__, "_lock": None, "_values": None}

    def __setstate__(self, state: dict[str, Any]) -> None:
        self.__dict__.update(state)
        self._make_lock()

    def _make_lock(self) -> None:
        self._lock = threading.Lock()
        _tables.add(self)


def _text(data: bytes, encoding: str) -> str:
    try:
        return data.decode(encoding)
    except UnicodeDecodeError:
        return data.decode("latin-1")  # not a number; the parser reports it


def _whole_lines(handle: FileHandle, begin: int, end: int, encoding: str, at_once: int) -> Iterator[bytes]:
    """Yield the bytes between two offsets in blocks that end at line ends."""
    rest = b""
    for data in handle.stream(begin, end, at_once):
        block = rest + data
        cut = _end_of_lines(block, encoding)
        rest = block[cut:]
        if cut:
            yield block[:cut]
    if rest:
        yield rest


def _end_of_lines(block: bytes, encoding: str) -> int:
    """Return the end of the last complete line."""
    width = 2 if encoding.startswith("utf-16") else 1
    newline, ret = (each.encode(encoding) for each in "\n\r")
    whole = len(block) - len(block) % width
    cut = _last(block, newline, whole, width) + width
    # A carriage return at the end of the block may be the first half of CR LF.
    lone = _last(block, ret, whole - width, width)
    if lone >= 0 and block[lone + width : lone + 2 * width] != newline:
        cut = max(cut, lone + width)
    return max(cut, 0)


def _last(block: bytes, end: bytes, stop: int, width: int) -> int:
    """Return the last position of a character, -width if absent; in UTF-16, only at even offsets."""
    at = block.rfind(end, 0, stop)
    while at > 0 and at % width:
        at = block.rfind(end, 0, at + width - 1)
    return at if at >= 0 else -width
