"""Figures: a stream, or a datapack as panels above one time axis."""

from __future__ import annotations

import io
import os
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, Any

import xarray as xr
from matplotlib.backends.backend_agg import FigureCanvasAgg
from matplotlib.figure import Figure
from matplotlib.ticker import FuncFormatter
from PIL import Image

from rinofs.datapack.arrays.located import filesystem_of, pack_of
from rinofs.datapack.document.naming import DOCUMENT_NAME
from rinofs.datapack.document.nodes import DataNode
from rinofs.errors import InvalidDatapackError
from rinofs.plotting import drawing
from rinofs.plotting.panels import EventPanel, StreamPanel, panels_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from matplotlib.axes import Axes

    from rinofs.plotting.panels import Panel

_UNDATED = {".svg": {"Date": None}, ".pdf": {"CreationDate": None}}
_MINUTES = 180.0  # seconds from which on the axis counts minutes
_MOST_PANELS = 40
_MOST_MARKED = 60
_LEFT, _RIGHT = 0.95, 0.85  # inches beside the panels, for their labels
_GAP = 0.42  # inches between panels, with room for a title


def plot(
    source: str | os.PathLike[str] | xr.DataTree | xr.Dataset | xr.DataArray,
    *,
    start: float | None = None,
    stop: float | None = None,
    width: float = 9.0,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Figure:
    """Draw a stream, or a datapack as panels above one time axis.

    Long signals are drawn as the lowest and highest values of short stretches, a block at a time, so that
    neither peaks nor memory are lost. Nothing outside `start` and `stop` is read where the format allows it.

    Parameters
    ----------
    source : str, path, DataTree, Dataset or DataArray
        A URL (a datapack, a container, a data node, any file of samples), or what was opened already.
    start, stop : float, optional
        Seconds; all there is by default.
    width : float, optional
        Of the figure, in inches.
    storage_options : mapping, optional
        Of the filesystem of a URL.
    **options
        ``datatype``, ``rate`` and ``channels`` of a single file, as ``engine="datapack"`` takes them.

    Returns
    -------
    matplotlib.figure.Figure
        With a canvas of its own: pyplot knows nothing of it. `save` writes it.

    Raises
    ------
    InvalidDatapackError
        If there is nothing in it to draw.
    """
    if isinstance(source, (str, os.PathLike)):
        with _opened(os.fspath(source), storage_options, options) as opened:
            return _figure(opened, start, stop, width)
    if isinstance(source, xr.DataArray):
        source = source.to_dataset(name=source.name or "value")
    return _figure(source, start, stop, width)


def save(figure: Figure, path: str | os.PathLike[str], *, dpi: float = 110) -> None:
    """Write a figure to a file whose extension says the format (png, svg, pdf); complete, or not at all.

    Parameters
    ----------
    figure : Figure
        The figure.
    path : str or path
        On this machine.
    dpi : float, optional
        Pixels an inch.
    """
    target = Path(path)
    staging = target.with_name(f".{target.stem}.{secrets.token_hex(4)}{target.suffix}")
    kind = target.suffix.lower()
    try:
        if kind == ".png":
            _save_png(figure, staging, dpi)
        else:
            # Without dates, the same data make the same file.
            figure.savefig(staging, dpi=dpi, metadata=_UNDATED.get(kind))
        staging.replace(target)
    finally:
        staging.unlink(missing_ok=True)


def _save_png(figure: Figure, path: Path, dpi: float) -> None:
    # A palette holds the few colours of a plot in a third of the bytes.
    drawn = io.BytesIO()
    figure.savefig(drawn, dpi=dpi, format="png")
    with Image.open(drawn) as picture:
        flat = picture.convert("RGB").quantize(128, dither=Image.Dither.NONE)
        flat.save(path, optimize=True)


def _opened(
    url: str, storage_options: Mapping[str, Any] | None, options: Mapping[str, Any]
) -> xr.DataTree | xr.Dataset:
    fs, path = filesystem_of(url, storage_options)
    pack = pack_of(fs, path)
    if pack is not None:
        found = pack.tree.get(pack.inner)
        is_tree = found is not None and not isinstance(found, DataNode)
    else:
        is_tree = path.rpartition("/")[2] == DOCUMENT_NAME or fs.isdir(path)
    if is_tree:
        if options:
            raise InvalidDatapackError(f"{url} is a datapack: {', '.join(options)} are for a single file")
        return xr.open_datatree(url, engine="datapack", storage_options=storage_options)
    return xr.open_dataset(url, engine="datapack", storage_options=storage_options, **options)


def _figure(
    source: xr.DataTree | xr.Dataset, start: float | None, stop: float | None, width: float
) -> Figure:
    panels, left_out = panels_of(source, start, stop)
    if not panels:
        why = f" ({'; '.join(left_out)})" if left_out else ""
        raise InvalidDatapackError(f"there is nothing to draw{why}")
    left_out += [f"{panel.title} (too many panels)" for panel in panels[_MOST_PANELS:]]
    panels = panels[:_MOST_PANELS]
    heading = str(source.attrs.get("name", "")) if isinstance(source, xr.DataTree) else ""
    top, bottom = (0.75 if heading else 0.45), (0.75 if left_out else 0.55)
    height = top + bottom + sum(panel.height for panel in panels) + _GAP * (len(panels) - 1)
    figure = Figure(figsize=(width, height), facecolor="white")
    FigureCanvasAgg(figure)
    axes = _axes(figure, panels, top)
    for panel, ax in zip(panels, axes, strict=True):
        drawing.title(ax, panel.title, panel.text)
        if isinstance(panel, StreamPanel):
            drawing.stream(ax, panel)
    _finish(axes, panels, start, stop, width)
    if heading:
        about = str(source.attrs.get("description", ""))
        drawing.heading(figure, heading, about, 1 - 0.28 / height)
    if left_out:
        drawing.footnote(figure, f"not drawn: {', '.join(left_out)}", 0.12 / height)
    return figure


def _axes(figure: Figure, panels: list[Panel], top: float) -> list[Axes]:
    width, height = figure.get_size_inches()
    left, right = _LEFT / width, 1 - _RIGHT / width
    axes: list[Axes] = []
    edge = height - top
    for panel in panels:
        box = (left, (edge - panel.height) / height, right - left, panel.height / height)
        axes.append(figure.add_axes(box))
        edge -= panel.height + _GAP
    return axes


def _finish(
    axes: list[Axes], panels: list[Panel], start: float | None, stop: float | None, width: float
) -> None:
    """Give all panels one time axis, and draw what depends on it."""
    low, high = _ends(panels)
    low, high = (low if start is None else start), (high if stop is None else stop)
    events = [panel for panel in panels if isinstance(panel, EventPanel)]
    marked = [panel for panel in events if len(panel.starts) <= _MOST_MARKED]
    for ax, panel in zip(axes, panels, strict=True):
        ax.set_xlim(low, high if high > low else low + 1)
        if isinstance(panel, EventPanel):
            drawing.events(ax, panel, width - _LEFT - _RIGHT)
        else:
            drawing.marks(ax, marked)
        ax.tick_params(labelbottom=ax is axes[-1], length=3, labelsize=8, colors=drawing.INK)
    first = next((str(panel.signal.dims[0]) for panel in panels if isinstance(panel, StreamPanel)), "time")
    in_minutes = first == "time" and high - low >= _MINUTES
    if in_minutes:
        axes[-1].xaxis.set_major_formatter(FuncFormatter(lambda value, _: _minutes(value)))
    unit = "min:s" if in_minutes else "s" if first == "time" else ""
    axes[-1].set_xlabel(f"{first} ({unit})" if unit else first, fontsize=9, color=drawing.INK)


def _ends(panels: list[Panel]) -> tuple[float, float]:
    lows, highs = [], []
    for panel in panels:
        if isinstance(panel, EventPanel):
            lows.append(float(panel.starts.min()))
            highs.append(float(panel.stops.max()))
        else:
            stamps = panel.signal[panel.signal.dims[0]]
            lows.append(float(stamps[0].values))
            highs.append(float(stamps[-1].values))
    return min(lows), max(highs)


def _minutes(seconds: float) -> str:
    minutes, rest = divmod(abs(seconds), 60)
    return f"{'-' if seconds < 0 else ''}{minutes:.0f}:{rest:02.0f}"
