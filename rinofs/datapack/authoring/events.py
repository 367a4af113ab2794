"""Convert datasets over ``event`` to tables: columns of times first, then other columns."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.authoring.streams import EVENT
from rinofs.datapack.datatypes.labels import identifier, in_unit, name_and_unit, seconds_per
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    import xarray as xr

_KINDS = {"b": "boolean", "i": "integer", "u": "integer", "f": "float"}


@dataclass(frozen=True, slots=True)
class EventField:
    """A column of a table of events.

    Attributes
    ----------
    label : str
        Label, such as ``onset time``.
    kind : str
        ``float`` for times, else ``boolean``, ``integer``, ``float`` or ``text``.
    unit : str
        Unit of times: that in the label, else ``seconds``; empty for other columns.
    description : str
        Free text.
    values : sequence
        A value for each event; None if missing.
    """

    label: str
    kind: str
    unit: str
    description: str
    values: Sequence[Any]


@dataclass(frozen=True, slots=True)
class Events:
    """A table of events, columns of times first."""

    fields: tuple[EventField, ...]

    @property
    def labels(self) -> list[str]:
        """Labels of the columns."""
        return [field.label for field in self.fields]

    def rows(self) -> Iterator[tuple[Any, ...]]:
        """Yield the rows."""
        return zip(*(field.values for field in self.fields), strict=True)


def events_of(dataset: xr.Dataset, label: str) -> Events:
    """Convert a dataset over ``event`` to a table.

    Parameters
    ----------
    dataset : xarray.Dataset
        Variables along ``event``; those with a unit of time are times.
    label : str
        Name for messages.

    Raises
    ------
    InvalidDatapackError
        If a variable has another dimension, or there is no time.
    """
    # Coordinates of other dimensions are inherited from parent groups.
    columns = [
        name for name, one in dataset.variables.items() if name in dataset.data_vars or EVENT in one.dims
    ]
    found = [_field(str(name), dataset.variables[name], label) for name in columns]
    fields = sorted(found, key=lambda field: not field.unit)
    if not fields or not fields[0].unit:
        raise InvalidDatapackError(
            f"{label}: no variable has the times of the events; give one the attribute units='s'"
        )
    labels = [field.label for field in fields]
    twice = {each for each in labels if labels.count(each) > 1}
    if twice:
        raise InvalidDatapackError(f"{label}: two columns have the label {min(twice)!r}")
    return Events(tuple(fields))


def label_and_text(name: str, attrs: Mapping[Any, Any]) -> tuple[str, str]:
    """Return the label and the description for a variable.

    The variable's name is derived from the label when the file is read. A ``long_name`` is therefore used as
    label only if it gives the same name.
    """
    long_name, description = attrs.get("long_name"), attrs.get("description")
    words = long_name.strip() if isinstance(long_name, str) else ""
    text = description if isinstance(description, str) else ""
    if words and identifier(words) == name:
        return words, text
    spaced = name.replace("_", " ")
    return spaced if identifier(spaced) == name else name, text or words


def _field(name: str, variable: xr.Variable, label: str) -> EventField:
    label = f"{label}: {name}"
    if variable.dims != (EVENT,):
        raise InvalidDatapackError(
            f"{label} has the dimensions {variable.dims}; beside annotations, which have {EVENT!r} alone,"
            " streams go into a group of their own"
        )
    values = np.asarray(variable.values)
    title, description = label_and_text(name, variable.attrs)
    if values.dtype.kind == "m":
        return _times(title, description, values / np.timedelta64(1, "s"), 1.0)
    factor = seconds_per(str(variable.attrs.get("units", "")))
    if factor is not None and values.dtype.kind in "iuf":
        return _times(title, description, values, factor)
    kind = _KINDS.get(values.dtype.kind, "text")
    return EventField(title, kind, "", description, _listed(values, label))


def _times(title: str, description: str, values: np.ndarray[Any, Any], factor: float) -> EventField:
    """Return a column of times, in the unit that its label names, since readers go by it."""
    unit = name_and_unit(title)[1]
    to = seconds_per(unit)
    unit, to = ("seconds", 1.0) if to in {None, 1.0} else (unit, to)
    return EventField(title, "float", unit, description, _floats(in_unit(values, factor, to)))


def _floats(values: np.ndarray[Any, Any]) -> list[float | None]:
    return [None if np.isnan(value) else value for value in values.astype("float64").tolist()]


def _listed(values: np.ndarray[Any, Any], label: str) -> list[Any]:
    kind = values.dtype.kind
    if kind == "f":
        return _floats(values)
    if kind in "biu":
        return list(values.tolist())
    if kind in "OUT":
        return [_text(value, label) for value in values.tolist()]
    raise InvalidDatapackError(f"{label}: annotations store numbers, booleans and text, not {values.dtype}")


def _text(value: object, label: str) -> str:
    if value is None or (isinstance(value, float) and np.isnan(value)):
        return ""
    if not isinstance(value, str):
        raise InvalidDatapackError(f"{label}: {value!r} is not a string")
    return value
