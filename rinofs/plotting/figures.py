"""Figures: a stream, or a datapack as panels above one time axis."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import xarray as xr

from rinofs.datapack.arrays.located import filesystem_of, pack_of
from rinofs.datapack.document.naming import DOCUMENT_NAME
from rinofs.datapack.document.nodes import DataNode
from rinofs.errors import InvalidDatapackError
from rinofs.plotting.lettering import cleaned
from rinofs.plotting.page import FigurePage
from rinofs.plotting.panels import panels_of
from rinofs.plotting.picture import drawing_settings

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.plotting.picture import Picture

_MOST_PANELS = 40


def plot(
    source: str | os.PathLike[str] | xr.DataTree | xr.Dataset | xr.DataArray,
    *,
    start: float | None = None,
    stop: float | None = None,
    width: float = 9.0,
    storage_options: Mapping[str, Any] | None = None,
    **options: Any,
) -> Picture:
    """Draw a stream, or a datapack as panels above one time axis.

    Panels share an axis if they have the same kind: seconds, times of day, or samples if there is no rate.
    Streams whose recordings started at different times (attribute ``start_time``) and streams with Unix times
    are drawn on one axis of dates.

    Long signals are reduced to the lowest and highest value of short intervals, one block at a time, so peaks
    stay visible and memory is bounded. Data outside `start` and `stop` is not read if the format allows it.

    Parameters
    ----------
    source : str, path, DataTree, Dataset or DataArray
        URL of a datapack, container, data node or file of samples; or an opened object.
    start, stop : float, optional
        Limits in seconds of each stream's own axis; by default everything is drawn.
    width : float, optional
        Width of the figure in inches.
    storage_options : mapping, optional
        Options of the filesystem of a URL.
    **options
        ``datatype``, ``rate`` and ``channels`` of a single file, as ``engine="datapack"`` takes them.

    Returns
    -------
    Picture
        A matplotlib figure that notebooks display. It has its own canvas and is not registered with pyplot.
        `save` writes it to a file.

    Raises
    ------
    InvalidDatapackError
        If it contains nothing to draw.
    """
    if isinstance(source, (str, os.PathLike)):
        with _opened(os.fspath(source), storage_options, options) as opened:
            return _figure(opened, start, stop, width)
    if isinstance(source, xr.DataArray):
        source = source.to_dataset(name=source.name or "value")
    return _figure(source, start, stop, width)


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
            raise InvalidDatapackError(
                f"{url} is a datapack; {', '.join(options)} apply to a single file only"
            )
        return xr.open_datatree(url, engine="datapack", storage_options=storage_options)
    return xr.open_dataset(url, engine="datapack", storage_options=storage_options, **options)


def _figure(
    source: xr.DataTree | xr.Dataset, start: float | None, stop: float | None, width: float
) -> Picture:
    contents = panels_of(source, start, stop)
    left_out = list(contents.left_out)
    if not contents.panels:
        why = f" ({'; '.join(left_out)})" if left_out else ""
        raise InvalidDatapackError(f"nothing to draw{why}")
    left_out += [f"{panel.title} (too many panels)" for panel in contents.panels[_MOST_PANELS:]]
    name = about = ""
    if isinstance(source, xr.DataTree):
        name, about = (cleaned(source.attrs.get(each, "")) for each in ("name", "description"))
    with drawing_settings():
        page = FigurePage(contents.panels[:_MOST_PANELS], width, start, stop, contents.start)
        return page.finished(name, about, left_out)
