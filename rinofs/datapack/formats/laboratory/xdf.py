"""Recordings of the Lab Streaming Layer (XDF), by `pyxdf`.

Times are those of `pyxdf`: synchronised and without jitter. A file is read whole.
"""

from __future__ import annotations

import io
import struct
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.formats.library_files import library_file
from rinofs.datapack.formats.recordings import EXTRA, ArraySamples, EventTable, Recording, Stream
from rinofs.datapack.formats.tables.cells import decimal_of
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from rinofs.datapack.formats.handles import FileHandle

_EVEN = 1e-6
"""Maximum deviation in seconds of a time in an evenly sampled stream."""


def xdf_recording(handle: FileHandle) -> Recording:
    """Read the streams of an XDF file; streams of text become events.

    Raises
    ------
    ImportError
        If `pyxdf` is not installed.
    InvalidDatapackError
        If the file is not valid.
    """
    try:
        import pyxdf
    except ImportError as error:
        raise ImportError(f"reading XDF needs pyxdf: {EXTRA}") from error
    with library_file(handle) as file:
        try:
            found, header = pyxdf.load_xdf(io.BufferedReader(file, 1 << 20), verbose=False)
        except (ValueError, KeyError, IndexError, RuntimeError, OSError, EOFError, struct.error) as error:
            raise InvalidDatapackError(f"cannot read this XDF file: {error}") from error
    streams, events = [], []
    for one in sorted(found, key=lambda each: each["info"]["stream_id"]):
        made = _events(one) if isinstance(one["time_series"], list) else _stream(one)
        if isinstance(made, EventTable):
            events.append(made)
        elif made is not None:
            streams.append(made)
    # Times are those of a clock with an arbitrary origin.
    attrs = {"clock": "LSL"}
    if when := _text(header.get("info", {}), "datetime"):
        attrs["start_time"] = when
    return Recording(tuple(streams), tuple(events), attrs)


def _text(info: Any, key: str) -> str:
    value = info.get(key) if isinstance(info, dict) else None
    first = value[0] if isinstance(value, list) and value else value
    return first.strip() if isinstance(first, str) else ""


def _described(info: Any) -> list[dict[str, Any]]:
    """Return the description of each channel in a stream's header."""
    place = info.get("desc")
    for key in ("channels", "channel"):
        place = place[0] if isinstance(place, list) and place else place
        place = place.get(key) if isinstance(place, dict) else None
    return [each for each in place if isinstance(each, dict)] if isinstance(place, list) else []


def _stream(one: dict[str, Any]) -> Stream | None:
    info, values = one["info"], np.asarray(one["time_series"])
    if values.dtype.kind not in "biuf":
        return None
    values = values.reshape(len(values), -1)
    about = _described(info)
    labels = tuple(_text(each, "label") for each in about)
    units = {_text(each, "unit") for each in about}
    times = np.asarray(one["time_stamps"], float)
    try:
        nominal = decimal_of(_text(info, "nominal_srate") or "0")
    except ValueError as error:
        raise InvalidDatapackError(f"cannot read this XDF file: its nominal_srate {error}") from None
    rate = _even_rate(times, nominal)
    samples = ArraySamples(values, labels if len(labels) == values.shape[1] and all(labels) else None, rate)
    attrs = {key: value for key in ("type", "source_id", "hostname") if (value := _text(info, key))}
    shared = units.pop() if len(units) == 1 else ""
    if units:
        attrs["channel_units"] = ", ".join(_text(each, "unit") for each in about)
    start = float(times[0]) if times.size else 0.0
    return Stream(_text(info, "name"), samples, shared, start, None if rate else times, attrs)


def _even_rate(times: np.ndarray[Any, Any], nominal: float) -> float | None:
    """Return the rate of evenly spaced times, None for others."""
    if nominal <= 0 or len(times) < 2:
        return nominal or None
    span = float(times[-1] - times[0])
    if span <= 0:
        return None
    rate = (len(times) - 1) / span
    # Use the nominal rate if it is consistent with the times.
    rate = nominal if abs(rate / nominal - 1) * span < _EVEN else rate
    even = times[0] + np.arange(len(times)) / rate
    return rate if float(np.abs(even - times).max()) < _EVEN else None


def _events(one: dict[str, Any]) -> EventTable:
    info, rows = one["info"], one["time_series"]
    count = max((len(row) for row in rows), default=1)
    columns: dict[str, Any] = {"onset_time": np.asarray(one["time_stamps"], float)}
    for number in range(count):
        name = "text" if number == 0 else f"text_{number + 1}"
        columns[name] = np.array([row[number] if number < len(row) else "" for row in rows], dtype=object)
    return EventTable(_text(info, "name"), columns)
