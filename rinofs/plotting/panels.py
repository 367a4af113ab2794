"""What of a datapack gets a panel, and how tall that is."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

import numpy as np
import xarray as xr

from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from numpy.typing import NDArray

TOGETHER = 4
"""Channels that share one scale; more of them are drawn one above the other."""

MOST_CHANNELS = 64


@dataclass(frozen=True, slots=True, eq=False)
class StreamPanel:
    """A signal.

    Attributes
    ----------
    title, text : str
        Its path, and what is said of it.
    signal : xarray.DataArray
        Samples x channels.
    """

    title: str
    text: str
    signal: xr.DataArray

    @property
    def height(self) -> float:
        """In inches."""
        channels = self.signal.shape[1]
        return 1.25 if channels <= TOGETHER else max(1.25, min(5.0, 0.2 * channels))


@dataclass(frozen=True, slots=True, eq=False)
class EventPanel:
    """Events, from their beginnings to their ends.

    Attributes
    ----------
    title, text : str
        Their path, and what is said of them.
    starts, stops : ndarray
        Seconds; the same where an event has no end.
    labels : list of str
        What is written beside each.
    lanes : ndarray of int
        Which row each is in, so that none covers another.
    """

    title: str
    text: str
    starts: NDArray[Any]
    stops: NDArray[Any]
    labels: list[str]
    lanes: NDArray[Any] = field(repr=False)

    @property
    def height(self) -> float:
        """In inches."""
        return 0.3 + 0.22 * min(12, int(self.lanes.max(initial=0)) + 1)


Panel = StreamPanel | EventPanel


def panels_of(
    source: xr.DataTree | xr.Dataset, start: float | None, stop: float | None
) -> tuple[list[Panel], list[str]]:
    """Return what is drawn of a datapack or a dataset between two times, and what is not, with the reasons.

    Raises
    ------
    InvalidDatapackError
        If the times are not in order.
    """
    if start is not None and stop is not None and not start < stop:
        raise InvalidDatapackError(f"nothing lies between {start:g} s and {stop:g} s")
    panels: list[Panel] = []
    left_out: list[str] = []
    for path, dataset in _datasets(source):
        before = f"{path}/" if path else ""
        left_out += [f"{before}{name}" for name in dataset.attrs.get("other_files", ())]
        if "event" in dataset.dims:
            panels += _events(path, dataset, start, stop)
            continue
        for name, variable in dataset.data_vars.items():
            title = path if len(dataset.data_vars) == 1 else f"{before}{name}"
            panel = _stream(title or str(name), dataset, variable, start, stop)
            if isinstance(panel, str):
                left_out.append(f"{title} ({panel})")
            else:
                panels.append(panel)
    return panels, left_out


def _datasets(source: xr.DataTree | xr.Dataset) -> list[tuple[str, xr.Dataset]]:
    if isinstance(source, xr.DataTree):
        before = len(source.path.rstrip("/")) + 1
        return [(group.path[before:], group.to_dataset()) for group in source.subtree]
    return [(str(source.attrs.get("name", "")), source)]


def _stream(
    title: str, dataset: xr.Dataset, variable: xr.DataArray, start: float | None, stop: float | None
) -> StreamPanel | str:
    if variable.ndim == 1:
        variable = variable.expand_dims("channel", axis=1)
    if variable.ndim != 2 or variable.dtype.kind not in "biuf":
        return f"{variable.ndim} dimensions of {variable.dtype}"
    first = variable.dims[0]
    if start is not None or stop is not None:
        if first not in variable.coords:
            return "without a sampling rate there are no times"
        variable = variable.sel({first: slice(start, stop)})
    if not variable.size:
        return "no samples"
    return StreamPanel(title, str(dataset.attrs.get("text", "")), variable[:, :MOST_CHANNELS])


def _events(path: str, dataset: xr.Dataset, start: float | None, stop: float | None) -> list[Panel]:
    times = [column for column in dataset.data_vars.values() if column.attrs.get("units") == "s"]
    if not times:
        return []
    starts = np.asarray(times[0].values, "float64")
    stops = np.asarray(times[1].values, "float64") if len(times) > 1 else starts
    stops = np.where(stops >= starts, stops, starts)  # those without an end, too
    low, high = -np.inf if start is None else start, np.inf if stop is None else stop
    chosen = np.flatnonzero((stops >= low) & (starts <= high))
    chosen = chosen[np.argsort(starts[chosen], kind="stable")]
    if not chosen.size:
        return []
    words = next((column for column in dataset.data_vars.values() if column.dtype.kind in "OUT"), None)
    labels = [""] * len(chosen) if words is None else [str(words.values[index]) for index in chosen]
    starts, stops = starts[chosen], stops[chosen]
    text = str(dataset.attrs.get("text", ""))
    return [EventPanel(path, text, starts, stops, labels, _lanes(starts, stops))]


def _lanes(starts: NDArray[Any], stops: NDArray[Any]) -> NDArray[Any]:
    """Return for each event the first row that is free by then."""
    free: list[float] = []
    lanes = np.zeros(len(starts), int)
    for index, (start, stop) in enumerate(zip(starts, stops, strict=True)):
        lane = next((lane for lane, end in enumerate(free) if end < start), len(free))
        free[lane : lane + 1] = [stop]
        lanes[index] = lane
    return lanes
