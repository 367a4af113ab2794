"""Choose the panels for a datapack, and their heights."""

from __future__ import annotations

from dataclasses import dataclass, field, replace
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from rinofs.errors import InvalidDatapackError
from rinofs.plotting.axis import SECONDS, UTC_TIME, PanelAxis, axis_of, seconds_of, start_of
from rinofs.plotting.lettering import cleaned

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOGETHER = 4
"""Maximum number of channels on one scale; more are drawn in rows."""

MOST_CHANNELS = 64

_DURATIONS = {"duration", "dur"}

_SPACIOUS = 25  # maximum number of channels with letters of the usual size


@dataclass(frozen=True, slots=True, eq=False)
class StreamPanel:
    """A signal.

    Attributes
    ----------
    title, text : str
        Path and description.
    signal : xarray.DataArray
        Samples x channels.
    axis : PanelAxis
        Axis of the samples.
    shift : float
        Added to its times on the axis, in seconds.
    units : tuple of str
        Units of each channel.
    """

    title: str
    text: str
    signal: xr.DataArray
    axis: PanelAxis = SECONDS
    shift: float = 0.0
    units: tuple[str, ...] = ()

    @property
    def height(self) -> float:
        """Height in inches."""
        channels = self.signal.shape[1]
        if self.is_together:
            return 1.25
        return max(1.25, 0.2 * channels if channels <= _SPACIOUS else 0.135 * channels)

    @property
    def is_together(self) -> bool:
        """Whether all channels share one scale."""
        return len(self.units) <= TOGETHER and len(set(self.units)) <= 1

    @property
    def labels(self) -> list[str]:
        """Names of the channels."""
        channel = self.signal.dims[1]
        if channel in self.signal.coords:
            return [cleaned(label) for label in self.signal[channel].values.tolist()]
        return [str(number) for number in range(1, self.signal.shape[1] + 1)]

    @property
    def ends(self) -> tuple[float, float]:
        """Start and end on the axis."""
        dimension = self.signal.dims[0]
        if dimension not in self.signal.coords:
            return 0.0, float(self.signal.sizes[dimension] - 1)
        stamps = self.signal[dimension]
        ends = seconds_of(np.asarray(stamps[[0, -1]].values)) + self.shift
        if not np.isfinite(ends).all():
            ends = seconds_of(np.asarray(stamps.values)) + self.shift
        if not np.isfinite(ends).any():
            return 0.0, 1.0
        return float(np.nanmin(ends)), float(np.nanmax(ends))


@dataclass(frozen=True, slots=True, eq=False)
class EventPanel:
    """Events with start and end.

    Attributes
    ----------
    title, text : str
        Path and description.
    starts, stops : ndarray
        Seconds; equal if an event has no end.
    labels : list of str
        Label of each event.
    lanes : ndarray of int
        Row of each event, such that events do not overlap.
    axis : PanelAxis
        Axis of the events.
    row_names : tuple of str
        Name of each row, drawn at its left; empty unless each label has rows of its own.
    """

    title: str
    text: str
    starts: NDArray[Any]
    stops: NDArray[Any]
    labels: list[str]
    lanes: NDArray[Any] = field(repr=False)
    axis: PanelAxis = SECONDS
    row_names: tuple[str, ...] = ()

    @property
    def height(self) -> float:
        """Height in inches."""
        if self.row_names:
            return 0.3 + 0.17 * self.rows
        return 0.3 + 0.22 * min(12, self.rows)

    def by_label(self) -> EventPanel:
        """Return the same events with rows of their own for each label, ordered by first occurrence."""
        lanes = np.zeros(len(self.starts), int)
        words = np.array(self.labels, object)
        names: list[str] = []
        for word in dict.fromkeys(self.labels):
            own = np.flatnonzero(words == word)
            inner = _lanes(self.starts[own], self.stops[own])
            lanes[own] = len(names) + inner
            names += [word] + [""] * int(inner.max())
        return replace(self, lanes=lanes, row_names=tuple(names))

    @property
    def rows(self) -> int:
        """Number of rows."""
        return int(self.lanes.max(initial=0)) + 1

    @property
    def ends(self) -> tuple[float, float]:
        """Start and end on the axis."""
        return float(self.starts.min()), float(self.stops.max())


Panel = StreamPanel | EventPanel


@dataclass(frozen=True, slots=True)
class Contents:
    """The panels for a datapack.

    Attributes
    ----------
    panels : list of StreamPanel or EventPanel
        Panels to draw.
    left_out : list of str
        What is not drawn, with reasons.
    start : tuple of float and PanelAxis, or None
        Start time of the whole datapack in Unix seconds, and its axis, if known.
    """

    panels: list[Panel]
    left_out: list[str]
    start: tuple[float, PanelAxis] | None


def panels_of(source: xr.DataTree | xr.Dataset, start: float | None, stop: float | None) -> Contents:
    """Choose the panels for a datapack or dataset between two times.

    Raises
    ------
    InvalidDatapackError
        If `start` is after `stop`.
    """
    if start is not None and stop is not None and not start < stop:
        raise InvalidDatapackError(f"no samples between {start:g} s and {stop:g} s")
    panels: list[Panel] = []
    left_out: list[str] = []
    found = list(_datasets(source))
    starts = _starts(found, source)
    said = {starts.get(path) for path, dataset in found if dataset.data_vars}
    common = said.pop() if len(said) == 1 else None
    if common:
        starts = {}  # all equal: their seconds share one axis without a shift
    for path, dataset in found:
        before = f"{path}/" if path else ""
        left_out += [cleaned(f"{before}{name}") for name in dataset.attrs.get("other_files", ())]
        if "event" in dataset.dims:
            panels += _events(path, dataset, start, stop, starts.get(path))
            continue
        for name, variable in dataset.data_vars.items():
            title = cleaned(path if len(dataset.data_vars) == 1 else f"{before}{name}") or cleaned(name)
            panel = _stream(title, dataset, variable, start, stop, starts.get(path))
            if isinstance(panel, str):
                left_out.append(f"{title} ({panel})")
            else:
                panels.append(panel)
    return Contents(panels, left_out, common)


def _datasets(source: xr.DataTree | xr.Dataset) -> list[tuple[str, xr.Dataset]]:
    if isinstance(source, xr.DataTree):
        before = len(source.path.rstrip("/")) + 1
        return [(group.path[before:], group.to_dataset()) for group in source.subtree]
    return [(str(source.attrs.get("name", "")), source)]


def _starts(
    found: list[tuple[str, xr.Dataset]], source: xr.DataTree | xr.Dataset
) -> dict[str, tuple[float, PanelAxis]]:
    """Return the origin of each dataset's time axis in Unix seconds, where known.

    The start time is an attribute of the dataset or of a container above it. If the whole tree has one too,
    times are counted from there, also in a part of the tree.
    """
    said = {path: start_of(dataset.attrs.get("start_time", "")) for path, dataset in found}
    if isinstance(source, xr.DataTree) and (of_root := start_of(source.root.attrs.get("start_time", ""))):
        said[""] = of_root
    whole = said.get("")
    several = any(start for path, start in said.items() if path)
    starts: dict[str, tuple[float, PanelAxis]] = {}
    for path, _ in found:
        above = path
        while above and not said.get(above):
            above = above.rpartition("/")[0]
        own = said.get(above)
        if own and (above or not several):
            starts[path] = whole or own
    return starts


def _stream(
    title: str,
    dataset: xr.Dataset,
    variable: xr.DataArray,
    start: float | None,
    stop: float | None,
    started: tuple[float, PanelAxis] | None,
) -> StreamPanel | str:
    if variable.ndim == 1:
        variable = variable.expand_dims("channel", axis=1)
    if variable.ndim != 2 or variable.dtype.kind not in "biuf":
        return f"{variable.ndim} dimensions of {variable.dtype}"
    first = next((name for name in ("time", "sample") if name in variable.dims), variable.dims[0])
    variable = variable.transpose(first, ...)
    if start is not None or stop is not None:
        if first not in variable.coords:
            return "no sampling rate, so no times"
        variable = variable.sel({first: slice(*_labels(variable[first], start, stop))})
    if not variable.size:
        return "no samples"
    stamps = variable[first] if first in variable.coords else None
    if stamps is not None and stamps.dtype.kind not in "iufMm":
        return f"its {first} is {stamps.dtype}, neither numbers nor times"
    units = "" if stamps is None else str(stamps.attrs.get("units", ""))
    axis = axis_of(str(first), None if stamps is None else np.asarray(stamps[[0, -1]].values), units)
    shift = 0.0
    if axis == SECONDS and started:
        shift, axis = started
    text = cleaned(dataset.attrs.get("text", ""))
    shown = variable[:, :MOST_CHANNELS]
    return StreamPanel(title, text, shown, axis, shift, _units(dataset, variable)[:MOST_CHANNELS])


def _labels(stamps: xr.DataArray, *seconds: float | None) -> list[Any]:
    """Return two times as labels of a coordinate; as dates if it contains dates."""
    if stamps.dtype.kind not in "Mm":
        return list(seconds)
    kind = "datetime64" if stamps.dtype.kind == "M" else "timedelta64"
    return [
        None if time is None else np.array(round(time * 1e9)).astype(f"{kind}[ns]")[()] for time in seconds
    ]


def _units(dataset: xr.Dataset, variable: xr.DataArray) -> tuple[str, ...]:
    """Return the units of each channel; a recording lists them if they differ."""
    own = cleaned(variable.attrs.get("units", ""))
    channels = variable.shape[1]
    said = dataset.attrs.get("channel_units", ())
    each = said.split(", ") if isinstance(said, str) else list(said)
    if own or len(each) != channels:
        return (own,) * channels
    return tuple(cleaned(units) for units in each)


def _events(
    path: str,
    dataset: xr.Dataset,
    start: float | None,
    stop: float | None,
    started: tuple[float, PanelAxis] | None,
) -> list[Panel]:
    columns = list(dataset.data_vars.values())
    times = [column for column in columns if column.attrs.get("units") == "s" or column.dtype.kind == "M"]
    if not times:
        return []
    starts = seconds_of(np.asarray(times[0].values))
    stops = seconds_of(np.asarray(times[1].values)) if len(times) > 1 else starts
    if len(times) > 1 and times[1].name in _DURATIONS:
        stops = starts + stops
    stops = np.where(stops >= starts, stops, starts)  # also replaces NaN, for events without an end
    low, high = -np.inf if start is None else start, np.inf if stop is None else stop
    chosen = np.flatnonzero((stops >= low) & (starts <= high))
    chosen = chosen[np.argsort(starts[chosen], kind="stable")]
    if not chosen.size:
        return []
    words = next((column for column in columns if column.dtype.kind in "OUT"), None)
    labels = [""] * len(chosen) if words is None else [cleaned(words.values[index]) for index in chosen]
    starts, stops = starts[chosen], stops[chosen]
    axis = UTC_TIME if times[0].dtype.kind == "M" else axis_of("time", starts, "s")
    if axis == SECONDS and started:
        starts, stops, axis = starts + started[0], stops + started[0], started[1]
    title, text = cleaned(path), cleaned(dataset.attrs.get("text", ""))
    return [EventPanel(title, text, starts, stops, labels, _lanes(starts, stops), axis)]


def _lanes(starts: NDArray[Any], stops: NDArray[Any]) -> NDArray[Any]:
    """Return the first free row for each event."""
    free: list[float] = []
    lanes = np.zeros(len(starts), int)
    for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        lane = next((lane for lane, end in enumerate(free) if end < start), len(free))
        free[lane : lane + 1] = [stop]
        lanes[index] = lane
    return lanes
