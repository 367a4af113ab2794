"""Files with several streams as datasets: combined, or one group for each stream."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from rinofs.datapack.arrays.lattice import StreamFacts, stream_dataset
from rinofs.datapack.datatypes.labels import identifier
from rinofs.datapack.document.messages import warn
from rinofs.datapack.document.naming import part_of_name
from rinofs.errors import InvalidOptionError

if TYPE_CHECKING:
    from rinofs.datapack.formats.recordings import EventTable, Recording, Stream


def recording_datasets(recording: Recording, facts: StreamFacts) -> dict[str, xr.Dataset]:
    """Return a dataset for each stream and each table of events by path, below one for the file.

    A file with a single stream or table is that dataset, with the path "".
    """
    several = len(recording.streams) > 1
    if several and (facts.channels or facts.datatype):
        raise InvalidOptionError(
            f"channels= and datatype= apply to a single stream, but the file has {len(recording.streams)}:"
            f" {', '.join(stream.name for stream in recording.streams[:8])}"
        )
    parts: list[tuple[str, xr.Dataset]] = []
    parts += [(stream.name, _stream_dataset(stream, facts)) for stream in recording.streams]
    parts += [(table.name, _events_dataset(table, facts.start or 0.0)) for table in recording.events]
    if len(parts) == 1:
        return {"": parts[0][1].assign_attrs({**recording.attrs, **parts[0][1].attrs})}
    found = {"": xr.Dataset(attrs=dict(recording.attrs))}
    for name, dataset in parts:
        path = "/".join(part_of_name(part) for part in name.split("/") if part) or "stream"
        chosen, number = path, 2
        while chosen in found:
            chosen, number = f"{path}~{number}", number + 1
        found[chosen] = dataset
    return found


def combined(datasets: dict[str, xr.Dataset]) -> xr.Dataset:
    """Combine the datasets of a file into one.

    Streams on the same time axis share ``time``, those with the same labels share ``channel``. Others have
    their own dimensions, whose names end with the name of the variable.
    """
    found = datasets[""]
    if len(datasets) == 1:
        return found
    for path, dataset in datasets.items():
        if not path:
            continue
        [*names] = dataset.data_vars
        if len(names) == 1:
            # The file's own name is more specific than the default.
            name = identifier(path.rpartition("/")[2], taken={*map(str, found.variables), "event"})
            dataset = dataset.rename({names[0]: name})
        else:
            name = identifier(path)
        clashes = {dim: f"{dim}_{name}" for dim in dataset.dims if not _fits(dataset, found, str(dim))}
        clashes |= {each: f"{each}_{name}" for each in dataset.data_vars if each in found.variables}
        found = found.merge(_renamed(dataset, clashes).drop_attrs(deep=False), join="exact")
    found.set_close(datasets[""]._close)  # noqa: SLF001 - xarray has no other way to pass it on
    return found


def _fits(dataset: xr.Dataset, into: xr.Dataset, dim: str) -> bool:
    """Return whether a dimension is already present and equal, or its name is free."""
    if dim not in into.dims:
        return dim not in into.variables
    if dataset.sizes[dim] != into.sizes[dim] or (dim in dataset.indexes) != (dim in into.indexes):
        return False
    return dim not in dataset.coords or bool(dataset.xindexes[dim].equals(into.xindexes[dim]))


def _renamed(dataset: xr.Dataset, names: dict[Any, str]) -> xr.Dataset:
    renamed = dataset.rename(names)
    for variable in renamed.data_vars.values():
        chunks = variable.encoding.get("preferred_chunks")
        if chunks:
            variable.encoding["preferred_chunks"] = {
                names.get(dim, dim): size for dim, size in chunks.items()
            }
    return renamed


def _stream_dataset(stream: Stream, facts: StreamFacts) -> xr.Dataset:
    start = (facts.start or 0.0) + stream.start
    own = StreamFacts(facts.label, facts.datatype, facts.rate, facts.channels, start)
    if stream.times is not None and facts.rate is not None:
        warn(facts.label, f"the stream {stream.name!r} has its own timestamps; rate= is ignored for it")
        own = StreamFacts(facts.label, facts.datatype, None, facts.channels, start)
    dataset = stream_dataset(stream.samples, own)
    [name] = dataset.data_vars
    if stream.times is not None:
        dataset = _with_times(dataset, np.asarray(stream.times, float) + (facts.start or 0.0))
    variable = dataset[name]
    if stream.units and not variable.attrs.get("units"):
        variable.attrs["units"] = stream.units
    if name == "value" and facts.datatype is None:
        label = stream.name.rpartition("/")[2]
        variable.attrs.setdefault("long_name", label)
    return dataset.assign_attrs(**stream.attrs, **({"name": stream.name} if stream.name else {}))


def _with_times(dataset: xr.Dataset, times: np.ndarray[Any, Any]) -> xr.Dataset:
    """Return a stream with unevenly spaced times, in place of those computed from a rate."""
    if "sample" in dataset.dims:
        dataset = _renamed(dataset, {"sample": "time"})
    dataset = dataset.drop_vars("time", errors="ignore")
    for variable in dataset.data_vars.values():
        variable.attrs.pop("sampling_rate", None)
    return dataset.assign_coords(time=("time", times, {"units": "s"}))


def _events_dataset(table: EventTable, start: float) -> xr.Dataset:
    variables = {}
    for name, values in table.columns.items():
        timed = name.endswith("_time")
        attrs: dict[str, Any] = {"long_name": name.replace("_", " ")}
        variables[name] = (
            ("event", values + start, {**attrs, "units": "s"}) if timed else ("event", values, attrs)
        )
    return xr.Dataset(variables, attrs={**table.attrs, **({"name": table.name} if table.name else {})})
