"""Files of several streams, and annotations: how they are told, and what all readers of them return."""

from __future__ import annotations

import re
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, Literal, TypeAlias, get_args

if TYPE_CHECKING:
    from collections.abc import Mapping

    import numpy as np
    from numpy.typing import NDArray

    from rinofs.datapack.formats.samples import Samples

EXTRA = "pip install 'rinofs[formats]'"
"""What installs the libraries that these formats are read with."""

RecordingFormat: TypeAlias = Literal["edf", "xdf", "hdf5", "eaf", "textgrid", "webvtt", "repovizz1"]

RECORDING_FORMATS: tuple[RecordingFormat, ...] = get_args(RecordingFormat)

_ANNOTATIONS = frozenset({"eaf", "textgrid", "webvtt"})
_TEXTGRID = re.compile(r'\s*(?:File type = )?"ooTextFile"\s+(?:Object class = )?"TextGrid"')


def recording_format(head: bytes) -> RecordingFormat | None:
    """Return which of these formats a file has, by its beginning; None for all others."""
    if head.startswith((b"0       ", b"\xffBIOSEMI")) and _is_edf(head):
        return "edf"
    if head.startswith(b"XDF:"):
        return "xdf"
    if head.startswith(b"\x89HDF\r\n\x1a\n"):
        return "hdf5"
    if b"<ANNOTATION_DOCUMENT" in head and head.lstrip(b"\xef\xbb\xbf \t\r\n").startswith(b"<"):
        return "eaf"
    return _text_format(head)


def _is_edf(head: bytes) -> bool:
    """Whether the header is as long as its signals make it: tables of text may begin with a 0 as well."""
    size, signals = head[184:192].strip(), head[252:256].strip()
    return size.isdigit() and signals.isdigit() and int(size) == 256 * (int(signals) + 1)


def is_repovizz1(head: bytes) -> bool:
    """Whether a file is a signal of repoVizz 1, by its beginning."""
    line = head.lstrip(b"\xef\xbb\xbf").partition(b"\n")[0].strip().lower()
    return line == b"repovizz" or (line.startswith(b"repovizz,") and b"=" in line)


def _text_format(head: bytes) -> RecordingFormat | None:
    if is_repovizz1(head):
        return "repovizz1"
    text = head[:200].replace(b"\0", b"").lstrip(b"\xef\xbb\xbf\xff\xfe").decode("latin-1")
    if _TEXTGRID.match(text):
        return "textgrid"
    return "webvtt" if re.match(r"WEBVTT(?:\s|$)", text) else None


@dataclass(frozen=True, slots=True)
class Stream:
    """Samples of one recording device.

    Attributes
    ----------
    name : str
        What it is called in the file; slashes separate the groups that it is in.
    samples : Samples
        Its samples, with labels and rate.
    units : str
        Unit of the values; empty if unknown.
    start : float
        Seconds of the first sample.
    times : ndarray, optional
        Seconds of each sample, where they are not evenly spaced.
    attrs : mapping
        What else the file says of it. ``start_time`` is when its times are 0.
    """

    name: str
    samples: Samples
    units: str = ""
    start: float = 0.0
    times: NDArray[np.float64] | None = None
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class EventTable:
    """Annotations or markers.

    Attributes
    ----------
    name : str
        What they are called in the file.
    columns : mapping of str to sequence
        Their columns by name; those whose names end in ``_time`` are seconds.
    attrs : mapping
        What else the file says of them.
    """

    name: str
    columns: Mapping[str, Any]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """All that is in a file.

    Attributes
    ----------
    streams : tuple of Stream
        What was sampled.
    events : tuple of EventTable
        What was annotated.
    attrs : mapping
        What the file says of itself: the start of the recording, for example.
    """

    streams: tuple[Stream, ...] = ()
    events: tuple[EventTable, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)


class ArraySamples:
    """Samples in memory.

    Parameters
    ----------
    values : ndarray
        Samples x channels.
    labels : tuple of str, optional
        Of the channels.
    rate : float, optional
        Samples per second.
    """

    parts = None

    def __init__(
        self, values: NDArray[Any], labels: tuple[str, ...] | None = None, rate: float | None = None
    ) -> None:
        self._values = values
        self.labels = labels
        self.rate = rate

    @property
    def shape(self) -> tuple[int, ...]:
        """How many there are, then what each of them is."""
        return self._values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._values.dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return some samples."""
        return self._values[start:stop].copy()
