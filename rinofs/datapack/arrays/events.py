"""Events (sparse data) as labelled arrays."""

from __future__ import annotations

import math
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from rinofs.datapack.datatypes.labels import identifier, seconds_per
from rinofs.datapack.document.messages import shortened, warn
from rinofs.datapack.formats.detect import Format, NotDataError
from rinofs.datapack.formats.npy import npy_header
from rinofs.datapack.formats.tables import csv_rows, is_number, json_rows
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rinofs.datapack.datatypes.layouts import Column, Sparse
    from rinofs.datapack.formats.handles import FileHandle

_NUMBERS = {"float", "number", "double", "integer", "int"}
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def events_dataset(handle: FileHandle, kind: Format, layout: Sparse, label: str) -> xr.Dataset:
    """Return events as a dataset over ``event``.

    Parameters
    ----------
    handle : FileHandle
        The file.
    kind : str
        What it is.
    layout : Sparse
        What is said of each event.
    label : str
        What the file is called in messages.

    Raises
    ------
    InvalidDatapackError
        If an event has more or fewer values than the datatype has columns, or a time is no number.
    """
    columns = layout.columns
    rows = _rows(handle, kind, columns)
    names: list[str] = []
    variables: dict[str, xr.Variable] = {}
    for number, column in enumerate(columns):
        name = identifier(column.label, taken={*names, "event"})
        names.append(name)
        cells = [row[number] for row in rows]
        variables[name] = _variable(cells, column, timed=column in layout.coordinates, label=label)
    return xr.Dataset(variables)


def _rows(handle: FileHandle, kind: Format, columns: Sequence[Column]) -> list[Sequence[Any]]:
    """Return the events, each with a value for each column."""
    if kind == "csv":
        return _csv_events(csv_rows(handle.read_all(), len(columns)), columns)
    if kind == "json":
        return [
            _json_event(row, number, columns) for number, row in enumerate(json_rows(handle.read_all()), 1)
        ]
    if kind == "npy":
        return _npy_events(handle, columns)
    raise NotDataError(f"events are read from JSON, CSV and .npy, and this is {kind}")


def _csv_events(rows: list[list[str]], columns: Sequence[Column]) -> list[Sequence[Any]]:
    first = 1
    order = list(range(len(columns)))
    if rows and _is_header(rows[0], columns):
        order = _order([cell.lstrip("# ") for cell in rows[0]], columns)
        rows, first = rows[1:], 2
    for number, row in enumerate(rows, first):
        _check_count(row, number, columns)
    return [[row[position] for position in order] for row in rows]


def _is_header(row: Sequence[str], columns: Sequence[Column]) -> bool:
    labels = {column.label.lower() for column in columns}
    if {cell.lower().lstrip("# ") for cell in row} == labels:
        return True
    numeric = [cell for cell, column in zip(row, columns, strict=False) if column.type in _NUMBERS]
    return bool(numeric) and not any(is_number(cell) for cell in numeric)


def _order(header: Sequence[str], columns: Sequence[Column]) -> list[int]:
    """Return where in a row the columns are."""
    found = [cell.lower() for cell in header]
    labels = [column.label.lower() for column in columns]
    if len(found) != len(labels):
        raise InvalidDatapackError(_wrong_count("the header", len(found), columns))
    return [found.index(label) for label in labels] if set(found) == set(labels) else list(range(len(labels)))


def _json_event(row: Any, number: int, columns: Sequence[Column]) -> Sequence[Any]:
    if isinstance(row, dict):
        return [row.get(column.label, row.get(identifier(column.label))) for column in columns]
    values: list[Any] = row if isinstance(row, list) else [row]
    _check_count(values, number, columns)
    return values


def _npy_events(handle: FileHandle, columns: Sequence[Column]) -> list[Sequence[Any]]:
    shape, fortran, dtype, offset = npy_header(handle)
    data = handle.read_all()[offset:]
    if len(data) < int(np.prod(shape)) * dtype.itemsize:
        raise InvalidDatapackError("the file ends before its last event")
    count = int(np.prod(shape))
    array = np.frombuffer(data, dtype, count).reshape(shape, order="F" if fortran else "C")
    rows: list[Sequence[Any]] = [
        list(row) if np.ndim(row) or dtype.names else [row] for row in array.tolist()
    ]
    for number, row in enumerate(rows, 1):
        _check_count(row, number, columns)
    return rows


def _check_count(row: Sequence[Any], number: int, columns: Sequence[Column]) -> None:
    if len(row) != len(columns):
        raise InvalidDatapackError(_wrong_count(f"event {number}", len(row), columns))


def _wrong_count(what: str, count: int, columns: Sequence[Column]) -> str:
    labels = ", ".join(column.label for column in columns)
    return f"{what} has {count} values, and the datatype {len(columns)} columns ({labels})"


def _variable(cells: list[Any], column: Column, *, timed: bool, label: str) -> xr.Variable:
    attrs: dict[str, Any] = {"long_name": column.label}
    if timed or column.type in _NUMBERS:
        values: Any = np.array([_number(cell, column, row) for row, cell in enumerate(cells, 1)], np.float64)
        factor = seconds_per(column.units) if timed else None
        if factor is not None:
            values, attrs["units"] = values * factor, "s"
        elif column.units:
            attrs["units"] = column.units
        if column.type in {"integer", "int"} and bool(np.isfinite(values).all()):
            values = values.astype(np.int64)
    elif column.type in {"boolean", "bool"}:
        values = _truths(cells, column, label)
    else:
        values = np.array(["" if cell is None else str(cell) for cell in cells], dtype=object)
    return xr.Variable(("event",), values, attrs)


def _number(cell: Any, column: Column, row: int) -> float:
    try:
        return float(cell)
    except (OverflowError, TypeError, ValueError):
        if cell is None or (isinstance(cell, str) and is_number(cell)):  # a word for what is missing
            return math.nan
        raise InvalidDatapackError(
            f"event {row}: {column.label} is {shortened(repr(cell))}, which is no number"
        ) from None


def _truths(cells: list[Any], column: Column, label: str) -> Any:
    values = [_TRUTH.get(str(cell).strip().lower()) for cell in cells]
    if None in values:
        warn(label, f"{column.label} is not always true or false: it is read as text")
        return np.array(["" if cell is None else str(cell) for cell in cells], dtype=object)
    return np.array(values, dtype=bool)
