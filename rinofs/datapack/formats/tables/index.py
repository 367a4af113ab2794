"""The index of a table, from one scan of the file: number, position and type of its rows."""

from __future__ import annotations

import json
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NamedTuple

import numpy as np

from rinofs.datapack.formats.tables.timeaxis import Stamps, Times, time_column, times_of

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from numpy.typing import NDArray

    from rinofs.datapack.formats.tables.parsing import Block


class Mark(NamedTuple):
    """The position of a block: number of rows, bytes and lines before it."""

    row: int
    position: int
    line: int


@dataclass(slots=True)
class Facts:
    """Properties of all values, collected block by block.

    Attributes
    ----------
    rows : int
        Number of rows.
    tail : tuple of int
        Shape of a row.
    dtype : numpy.dtype
        Type that can represent all values.
    boolean, integral : bool or ndarray
        Whether all values of a column are booleans, or integers.
    lost : set of int
        Columns in which float64 loses digits of integers.
    """

    rows: int = 0
    tail: tuple[int, ...] = (0,)
    dtype: np.dtype[Any] = field(default_factory=lambda: np.dtype(np.float64))
    boolean: Any = True
    integral: Any = True
    lost: set[int] = field(default_factory=set)

    def add(self, block: Block) -> None:
        """Add the values of a block."""
        values = block.values
        if len(values):
            self.dtype = np.result_type(self.dtype, values.dtype) if self.rows else values.dtype
        self.rows += len(values)
        self.tail = values.shape[1:]
        self.lost |= block.lost
        if values.dtype.kind == "f" and np.any(self.integral):
            with np.errstate(invalid="ignore"):
                self.integral = self.integral & (values.astype(np.int64) == values).all(axis=0)
        elif values.dtype.kind == "i" and values.size and values.ndim == 2:
            # A large integer loses digits if another block contains fractions.
            as_floats = values.astype(float)
            with np.errstate(invalid="ignore"):  # the largest integers are rounded to 2**63, which overflows
                same = (as_floats < 2.0**63) & (as_floats.astype(np.int64) == values)
            self.lost |= set(np.flatnonzero(~same.all(0)).tolist())
        if values.dtype.kind != "b" and np.any(self.boolean):
            self.boolean = self.boolean & ((values == 0) | (values == 1)).all(axis=0)

    def drop(self, column: int) -> None:
        """Remove a column."""
        self.lost = {each - (each > column) for each in self.lost - {column}}
        for name in ("boolean", "integral"):
            each = getattr(self, name)
            setattr(self, name, each if np.ndim(each) == 0 else np.delete(each, column))


@dataclass(frozen=True, slots=True)
class TableIndex:
    """The result of scanning a table.

    Attributes
    ----------
    facts : Facts
        Properties of all values.
    marks : sequence of Mark
        Positions of the blocks.
    time : int or None
        Column with the times of the rows.
    times : Times or None
        Times; None if they do not increase.
    """

    facts: Facts
    marks: Sequence[Mark]
    time: int | None
    times: Times | None

    def to_arrays(self) -> dict[str, NDArray[Any]]:
        """Return the index as arrays, for the disk cache."""
        facts, times = self.facts, self.times
        told = {
            "rows": facts.rows,
            "tail": facts.tail,
            "dtype": facts.dtype.str,
            "lost": sorted(facts.lost),
            "time": self.time,
            "times": None if times is None else [times.size, times.first, times.unix_ns, times.rate],
        }
        arrays: dict[str, NDArray[Any]] = {
            "told": np.frombuffer(json.dumps(told).encode(), np.uint8),
            "marks": np.array(self.marks, np.int64).reshape(-1, 3),
            "boolean": np.asarray(facts.boolean),
            "integral": np.asarray(facts.integral),
        }
        if times is not None and times.seconds is not None:
            arrays["seconds"] = times.seconds
        return arrays

    @classmethod
    def from_arrays(cls, arrays: Mapping[str, NDArray[Any]]) -> TableIndex:
        """Create the index from the result of `to_arrays`."""
        told = json.loads(arrays["told"].tobytes())
        facts = Facts(
            told["rows"],
            tuple(told["tail"]),
            np.dtype(told["dtype"]),
            arrays["boolean"],
            arrays["integral"],
            set(told["lost"]),
        )
        times = None
        if told["times"] is not None:
            size, first, unix_ns, rate = told["times"]
            times = Times(size, first, unix_ns, rate, arrays.get("seconds"))
        return cls(facts, [Mark(*mark) for mark in arrays["marks"].tolist()], told["time"], times)


class IndexBuilder:
    """Builds an index from blocks, in the order of the file.

    Parameters
    ----------
    labels : sequence of str, optional
        Labels of the columns.
    stamped : sequence of int, optional
        Columns with ISO 8601 times.
    tail : tuple of int, optional
        Shape of a row, for tables without rows.
    """

    def __init__(
        self, labels: Sequence[str] | None, stamped: Sequence[int] = (), tail: tuple[int, ...] = (0,)
    ) -> None:
        self._labels = labels
        self._stamped = stamped
        self._facts = Facts(tail=tail)
        self._marks: list[Mark] = []
        self._time: int | None = None
        self._undecided: list[Block] | None = []
        self._stamps = Stamps()

    def add(self, block: Block, mark: Mark) -> None:
        """Add the next block and its position."""
        self._facts.add(block)
        self._marks.append(mark)
        blocks = [block]
        if self._undecided is not None:
            blocks = [*self._undecided, block]
            rows = np.concatenate([each.values for each in blocks])
            self._time = time_column(self._labels, rows, self._stamped)
            # A block of wide rows may have one row, which does not tell Unix times.
            self._undecided = blocks if self._time is None and len(rows) < 2 else None
        if self._time is not None:
            for each in blocks:
                self._stamps.append(each.exact.get(self._time, each.values[:, self._time]))

    def index(self) -> TableIndex:
        """Return the index of all blocks."""
        times = None
        if self._time is not None:
            label = self._labels[self._time] if self._labels else ""
            times = times_of(self._stamps, label, dates=1_000_000_000 if self._time in self._stamped else 0)
        return TableIndex(self._facts, self._marks, self._time, times)
