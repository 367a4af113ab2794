"""Events (sparse data) as labelled arrays."""

from __future__ import annotations

import math
from dataclasses import replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from rinofs.datapack.datatypes.labels import identifier, in_unit, match_labels, name_and_unit, seconds_per
from rinofs.datapack.document.messages import shortened, warn
from rinofs.datapack.formats.detect import Format, NotDataError
from rinofs.datapack.formats.npy import npy_header
from rinofs.datapack.formats.tables.cells import INTEGER, is_number, number_of
from rinofs.datapack.formats.tables.parsing import json_rows
from rinofs.datapack.formats.tables.sniffing import event_rows
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

    from rinofs.datapack.datatypes.layouts import Column, Sparse
    from rinofs.datapack.formats.handles import FileHandle

_NUMBERS = {"float", "number", "double", "integer", "int"}
_TRUTH = {"true": True, "1": True, "yes": True, "false": False, "0": False, "no": False}


def events_dataset(handle: FileHandle, kind: Format, layout: Sparse, label: str) -> xr.Dataset:
    """Return events as a dataset over ``event``.

    Parameters
    ----------
    handle : FileHandle
        File.
    kind : str
        Format of the file.
    layout : Sparse
        Columns of the events.
    label : str
        Name of the file for messages.

    Raises
    ------
    InvalidDatapackError
        If the number of values in an event differs from that of columns, or a time is not a number.
    """
    rows, units = _rows(handle, kind, layout.columns, label)
    columns = list(layout.columns)
    for at, unit in enumerate(units):
        columns[at] = _with_unit(columns[at], unit, layout, label)
    names: list[str] = []
    variables: dict[str, xr.Variable] = {}
    for number, column in enumerate(columns):
        name = identifier(column.label, taken={*names, "event"})
        names.append(name)
        cells = [row[number] for row in rows]
        variables[name] = _variable(cells, column, timed=number < len(layout.coordinates), label=label)
    return xr.Dataset(variables)


def _with_unit(column: Column, unit: str, layout: Sparse, label: str) -> Column:
    """Return a column of times with the unit from its label in the file."""
    factor = seconds_per(unit)
    if column not in layout.coordinates or factor is None or factor == seconds_per(column.units):
        return column
    said = f"{column.label} is in {unit} by its label but in {column.units} by its datatype"
    if seconds_per(column.units) and factor == seconds_per(name_and_unit(column.label)[1]):
        warn(label, f"{said}, which has the same label; assuming {column.units}")
        return column
    warn(label, f"{said}; assuming {unit}")
    return replace(column, units=unit)


def _rows(
    handle: FileHandle, kind: Format, columns: Sequence[Column], label: str
) -> tuple[list[Sequence[Any]], Sequence[str]]:
    """Return the events, with a value for each column, and the units of times that the file contains."""
    if kind == "csv":
        return _csv_events(handle.read_all(), columns, label)
    if kind == "json":
        return _json_events(json_rows(handle.read_all()), columns, label)
    if kind == "npy":
        return _npy_events(handle, columns, label)
    raise NotDataError(f"unsupported format {kind}; events are read from JSON, CSV and .npy")


def _csv_events(
    data: bytes, columns: Sequence[Column], label: str
) -> tuple[list[Sequence[Any]], Sequence[str]]:
    numeric = sum(column.type in _NUMBERS for column in columns)
    dialect, rows, comment = event_rows(data, len(columns), numeric)
    for doubt in dialect.doubts:
        warn(label, doubt)
    header = None
    if rows and _is_header(rows[0], columns):
        header, *rows = rows
    elif comment is not None and len(match_labels(comment, _labels(columns))) == len(columns):
        header = comment
    for number, row in enumerate(rows, 1):
        _check_count(row, number, columns)
    if header is None:
        return list(rows), ()
    if len(header) != len(columns):
        raise InvalidDatapackError(_wrong_count("the header", len(header), columns))
    return _in_order(list(rows), header, columns, label)


def _labels(columns: Sequence[Column]) -> list[str]:
    return [column.label for column in columns]


def _is_header(row: Sequence[str], columns: Sequence[Column]) -> bool:
    if any(cell and is_number(cell, ",") for cell in row):
        return False
    return bool(match_labels(row, _labels(columns))) or any(
        cell for cell, column in zip(row, columns, strict=False) if column.type in _NUMBERS
    )


def _in_order(
    rows: list[Sequence[Any]], header: Sequence[str], columns: Sequence[Column], label: str
) -> tuple[list[Sequence[Any]], Sequence[str]]:
    """Return rows with columns in the order of the datatype, according to their labels."""
    wanted = _labels(columns)
    same = match_labels(header, wanted)
    if len(same) < len(wanted):
        said = f"its columns are called {_listed(header)}, and those of its datatype {_listed(wanted)}"
        if any(place != at for at, place in same.items()):
            raise InvalidDatapackError(f"{said}: rename them, or name another datatype=")
        warn(label, f"{said}; assuming this order")
        same = {at: at for at in range(len(wanted))}
    order = [same[at] for at in range(len(wanted))]
    units = [name_and_unit(header[place])[1] for place in order]
    return [[row[place] for place in order] for row in rows], units


def _listed(labels: Sequence[str]) -> str:
    return ", ".join(map(repr, labels))


def _json_events(
    rows: list[Any], columns: Sequence[Column], label: str
) -> tuple[list[Sequence[Any]], Sequence[str]]:
    keys = dict.fromkeys(tuple(row) for row in rows if isinstance(row, dict))
    places = {each: match_labels(each, _labels(columns)) for each in keys}
    found = {at: each[place] for each, same in reversed(places.items()) for at, place in same.items()}
    if keys:
        _check_keys(list(dict.fromkeys(key for each in keys for key in each)), found, columns, label)
    events: list[Sequence[Any]] = []
    for number, row in enumerate(rows, 1):
        if isinstance(row, dict):
            same, values = places[tuple(row)], list(row.values())
            events.append([values[same[at]] if at in same else None for at in range(len(columns))])
        else:
            events.append(row if isinstance(row, list) else [row])
            _check_count(events[-1], number, columns)
    return events, [name_and_unit(found.get(at, ""))[1] for at in range(len(columns))]


def _check_keys(keys: list[str], found: dict[int, str], columns: Sequence[Column], label: str) -> None:
    missing = [column for at, column in enumerate(columns) if at not in found]
    if not missing:
        return
    said = f"its events have the keys {_listed(keys)}, but none for {_listed(_labels(missing))}"
    if any(column.type in _NUMBERS for column in missing):
        raise InvalidDatapackError(f"{said}: rename them, or name another datatype=")
    warn(label, f"{said}; it is left empty")


def _npy_events(
    handle: FileHandle, columns: Sequence[Column], label: str
) -> tuple[list[Sequence[Any]], Sequence[str]]:
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
    return (rows, ()) if dtype.names is None else _in_order(rows, dtype.names, columns, label)


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
            values, attrs["units"] = in_unit(values, factor), "s"
        elif column.units:
            attrs["units"] = column.units
        if not timed:
            values = _numbers(cells, values, column, label)
    elif column.type in {"boolean", "bool"}:
        values = _truths(cells, column, label)
    else:
        values = np.array(["" if cell is None else str(cell) for cell in cells], dtype=object)
    return xr.Variable(("event",), values, attrs)


def _numbers(cells: list[Any], floats: NDArray[Any], column: Column, label: str) -> NDArray[Any]:
    """Return integers if the datatype asks for them and the file has them, else floats; warn of any loss."""
    whole = [_whole(cell, value) for cell, value in zip(cells, floats.tolist(), strict=True)]
    integers = [number for number in whole if number is not None]
    if column.type in {"integer", "int"}:
        dtype = _integer_type(integers) if len(integers) == len(whole) else None
        if dtype is not None:
            return np.array(integers, dtype)
        warn(label, f"not all values of {column.label!r} fit the type integer; they stay float64")
    if any(float(number) != number for number in integers):
        lost = "holds integers too large for a float; their last digits are lost"
        warn(label, f"column {column.label!r} {lost}")
    return floats


def _whole(cell: Any, value: float) -> int | None:
    """Return the integer in a cell without losing digits, None for other numbers."""
    if isinstance(cell, int):
        return int(cell)
    if isinstance(cell, str) and math.isfinite(value) and INTEGER.fullmatch(cell.strip()):
        return int(cell)
    return int(value) if value.is_integer() else None


def _integer_type(numbers: Sequence[int]) -> type[np.signedinteger[Any] | np.unsignedinteger[Any]] | None:
    """Return the type that can represent some integers, None if there is none."""
    for dtype in (np.int64, np.uint64):
        limits = np.iinfo(dtype)
        if all(limits.min <= number <= limits.max for number in numbers):
            return dtype
    return None


def _number(cell: Any, column: Column, row: int) -> float:
    if cell is None:
        return math.nan
    try:
        return number_of(cell.strip(), ",") if isinstance(cell, str) else float(cell)
    except (OverflowError, TypeError, ValueError):
        raise InvalidDatapackError(
            f"event {row}: {column.label} is {shortened(repr(cell))}, not a number"
        ) from None


def _truths(cells: list[Any], column: Column, label: str) -> Any:
    values = [_TRUTH.get(str(cell).strip().lower()) for cell in cells]
    if None in values:
        warn(label, f"{column.label} holds values other than true and false; it is read as text")
        return np.array(["" if cell is None else str(cell) for cell in cells], dtype=object)
    return np.array(values, dtype=bool)
