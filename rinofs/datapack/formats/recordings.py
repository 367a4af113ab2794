"""Files with several streams or annotations: detection, and the common result of their readers."""

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
"""Command that installs the libraries for these formats."""

RecordingFormat: TypeAlias = Literal["edf", "xdf", "hdf5", "eaf", "textgrid", "webvtt", "repovizz1"]

RECORDING_FORMATS: tuple[RecordingFormat, ...] = get_args(RecordingFormat)

_TEXTGRID = re.compile(r'\s*(?:File type = )?"ooTextFile"\s+(?:Object class = )?"TextGrid"')


def recording_format(head: bytes) -> RecordingFormat | None:
    """Return the format of a file according to its beginning, None for all other formats."""
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
    """Return whether the header's size matches the number of signals: text tables may start with 0 too."""
    size, signals = head[184:192].strip(), head[252:256].strip()
    return size.isdigit() and signals.isdigit() and int(size) == 256 * (int(signals) + 1)


def is_repovizz1(head: bytes) -> bool:
    """Return whether a file is a signal of repoVizz 1, according to its beginning."""
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
    """Samples of one device.

    Attributes
    ----------
    name : str
        Name in the file; slashes separate groups.
    samples : Samples
        Samples, with labels and rate.
    units : str
        Unit of the values; empty if not known.
    start : float
        Time of the first sample in seconds.
    times : ndarray, optional
        Time of each sample in seconds, if not evenly spaced.
    attrs : mapping
        Other attributes from the file. ``start_time`` is the origin of its times.
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
        Name in the file.
    columns : mapping of str to sequence
        Columns by name; columns with names that end in ``_time`` are in seconds.
    attrs : mapping
        Other attributes from the file.
    """

    name: str
    columns: Mapping[str, Any]
    attrs: Mapping[str, Any] = field(default_factory=dict)


@dataclass(frozen=True, slots=True)
class Recording:
    """The contents of a file.

    Attributes
    ----------
    streams : tuple of Stream
        Sampled data.
    events : tuple of EventTable
        Annotations.
    attrs : mapping
        Attributes of the file, such as the start of the recording.
    """

    streams: tuple[Stream, ...] = ()
    events: tuple[EventTable, ...] = ()
    attrs: Mapping[str, Any] = field(default_factory=dict)


class ArraySamples:
    """Samples in memory.

    Parameters
    ----------
    values : ndarray
        Shape (samples, channels).
    labels : tuple of str, optional
        Labels of the channels.
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
        """Number of samples, and shape of a sample."""
        return self._values.shape

    @property
    def dtype(self) -> np.dtype[Any]:
        """Type of the values."""
        return self._values.dtype

    def read(self, start: int, stop: int) -> NDArray[Any]:
        """Return the samples [start, stop)."""
        return self._values[start:stop].copy()
