"""Create datatypes for streams and events."""

from __future__ import annotations

import json
import uuid
import warnings
from typing import TYPE_CHECKING, Any

from rinofs.datapack.authoring.events import label_and_text
from rinofs.datapack.datatypes.datatype import DatatypeWarning, parse_datatype
from rinofs.datapack.datatypes.labels import identifier, seconds_per
from rinofs.datapack.datatypes.layouts import Lattice, Sparse
from rinofs.datapack.datatypes.registry import DatatypeRegistry

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.datapack.authoring.events import Events
    from rinofs.datapack.authoring.streams import PlannedStream
    from rinofs.datapack.datatypes.layouts import Column, Datatype

NAMESPACE = uuid.UUID("6d0e3b1c-1f53-5a5e-9f0a-8a4d6d3f4a10")
"""Namespace for the UUIDs of written datatypes: equal descriptions always get the same id."""

_KINDS = {"b": "boolean", "i": "integer", "u": "integer"}


def datatype_of_stream(stream: PlannedStream, attrs: Mapping[str, Any]) -> Datatype | None:
    """Return the datatype of a stream: a matching published one, or a new one.

    Parameters
    ----------
    stream : PlannedStream
        Stream to describe.
    attrs : mapping
        Attributes of its dataset; ``datatype`` and ``datatype_name`` give the type that it was read with.

    Returns
    -------
    Datatype or None
        None if the sampling rate is not known, which a datatype requires.
    """
    if stream.rate is None:
        return None
    label, description = label_and_text(str(stream.array.name), stream.array.attrs)
    kind = _KINDS.get(stream.array.dtype.kind, "float")
    units = str(stream.array.attrs.get("units", ""))
    quantity = _described({"label": label, "units": units, "type": kind}, description)
    axes = [{"label": axis.label, "units": axis.units, "resolution": axis.rate} for axis in stream.axes]
    lattice = {
        "primary_dimensions": [
            {"label": "time", "units": "seconds", "resolution": _plain(stream.rate)},
            *axes,
        ],
        "secondary_dimensions": [quantity],
        "channels": [{"label": channel} for channel in stream.channels],
    }
    return _datatype({"lattice": lattice}, attrs, label)


def datatype_of_events(events: Events, attrs: Mapping[str, Any]) -> Datatype:
    """Return the datatype of events; as `datatype_of_stream`."""
    times = [field for field in events.fields if field.unit]
    said = [field for field in events.fields if not field.unit]
    units = list(dict.fromkeys(field.unit for field in times))
    sparse = {
        "dimensions": [
            {"label": f"time in {unit}" if number else "time", "units": unit}
            for number, unit in enumerate(units)
        ],
        "format": {
            "primary_dimensions": [
                _described(
                    {"label": field.label, "primaryDimension": units.index(field.unit) + 1}, field.description
                )
                for field in times
            ],
            "secondary_dimensions": [
                _described({"label": field.label, "type": field.kind}, field.description) for field in said
            ],
        },
    }
    return _datatype({"sparse": sparse}, attrs, str(attrs.get("name") or "events"))


def columns_of(datatype: Datatype) -> tuple[Column, ...]:
    """Return the columns of a datatype for events."""
    return datatype.layout.columns if isinstance(datatype.layout, Sparse) else ()


def is_published(datatype: Datatype) -> bool:
    """Return whether a datatype is published, so that readers know it by its id."""
    return datatype.id is not None and DatatypeRegistry.published().get(datatype.id) == datatype


def _datatype(layout: dict[str, Any], attrs: Mapping[str, Any], label: str) -> Datatype:
    known = DatatypeRegistry.published().get(str(attrs.get("datatype", "")))
    named = attrs.get("datatype_name")
    name = f"{known.name} (variant)" if known else named if isinstance(named, str) and named else label
    document: dict[str, Any] = {"datatypeID": _id(name, layout), "name": name, "datatype": layout}
    if known is not None and known.id:
        document["parent"] = known.id
    with warnings.catch_warnings():
        warnings.simplefilter("ignore", DatatypeWarning)
        made = parse_datatype(document)
    return known if known is not None and known.id and _same(known.layout, made.layout) else made


def _described(value: dict[str, Any], description: str) -> dict[str, Any]:
    return {**value, "description": description} if description else value


def _id(name: str, layout: dict[str, Any]) -> str:
    return str(uuid.uuid5(NAMESPACE, json.dumps([name, layout], sort_keys=True)))


def _same(some: Lattice | Sparse | None, other: Lattice | Sparse | None) -> bool:
    """Return whether two layouts describe the same data."""
    return _essence(some) == _essence(other)


def _essence(layout: Lattice | Sparse | None) -> object:
    if isinstance(layout, Lattice):
        axes = [(axis.label, axis.units, axis.resolution) for axis in layout.dimensions]
        quantities = [(identifier(each.label), each.units, each.type) for each in layout.quantities]
        return axes, quantities, [channel.label for channel in layout.channels]
    if isinstance(layout, Sparse):
        return [
            (identifier(column.label), column.type, column.dimension, seconds_per(column.units))
            for column in layout.columns
        ]
    return None


def _plain(rate: float) -> float:
    return int(rate) if rate == int(rate) else rate
