"""Find the column with the times of the rows.

A column contains times if its label is one of `TIME_LABELS`, with or without a unit, or if its values are
increasing Unix times from 2000 to 2100 or ISO 8601 times. Numbers that merely increase are not times.
"""

from __future__ import annotations

import io
import re
import tempfile
import weakref
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.datatypes.labels import identifier, name_and_unit, seconds_per

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from numpy.typing import NDArray

TIME_LABELS = frozenset(
    {"time", "t", "timestamp", "timestamps", "time_stamp", "datetime", "date_time", "unix_time", "unixtime"}
    | {"unix_timestamp", "unix", "epoch", "utc", "elapsed", "elapsed_time", "system_time", "sample_time"}
    | {"local_timestamp", "lsl_timestamp", "recording_time", "relative_time"}
)
"""Labels of columns of times, in lower case and as variable names."""

TOLERANCE = 1e-6
"""Maximum deviation from even spacing, as a fraction of the interval, unless numbers are large."""

_IN_MEMORY = 4 * 1024 * 1024
_PART = 256 * 1024  # numbers that are checked at once

_EARLIEST, _LATEST = 946_684_800, 4_102_444_800  # 2000 and 2100, in Unix seconds
_PER_SECOND = (1, 1_000, 1_000_000, 1_000_000_000)
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)? ?(Z|UTC|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Times:
    """The times of the rows of a table.

    Attributes
    ----------
    size : int
        Number of rows.
    first : float
        First time in the column in seconds; 0 for Unix times.
    unix_ns : int or None
        First time as Unix time in nanoseconds.
    rate : float or None
        Samples per second; for unevenly spaced times, the average. None for fewer than two times.
    seconds : ndarray or None
        Time of each row in seconds from the first one, if unevenly spaced; shape (size,).
    """

    size: int
    first: float
    unix_ns: int | None
    rate: float | None
    seconds: NDArray[np.float64] | None


class Stamps:
    """A column of times, collected in parts: in memory if small, else in a temporary file."""

    def __init__(self) -> None:
        self._file = tempfile.SpooledTemporaryFile(max_size=_IN_MEMORY)  # noqa: SIM115 - closed by the next line
        weakref.finalize(self, self._file.close)
        self._parts: list[tuple[np.dtype[Any], int]] = []

    @classmethod
    def of(cls, values: NDArray[Any]) -> Stamps:
        """Create a column from an array."""
        stamps = cls()
        stamps.append(values)
        return stamps

    def append(self, values: NDArray[Any]) -> None:
        """Append values, integers or floats."""
        values = np.ascontiguousarray(values, np.int64 if values.dtype.kind in "iub" else np.float64)
        if not len(values):
            return
        self._file.seek(0, io.SEEK_END)
        self._file.write(values.tobytes())
        if self._parts and self._parts[-1][0] == values.dtype:
            self._parts[-1] = (values.dtype, self._parts[-1][1] + len(values))
        else:
            self._parts.append((values.dtype, len(values)))

    def __len__(self) -> int:
        return sum(count for _, count in self._parts)

    def __iter__(self) -> Iterator[NDArray[Any]]:
        """Yield the values in order, either all as integers or all as floats."""
        dtype = np.result_type(*(dtype for dtype, _ in self._parts)) if self._parts else np.dtype(float)
        self._file.seek(0)
        for stored, count in self._parts:
            for at in range(0, count, _PART):
                data = self._file.read(8 * min(_PART, count - at))
                yield np.frombuffer(data, stored).astype(dtype, copy=False)


def stamp_ns(text: str) -> int | None:
    """Parse an ISO 8601 time to Unix nanoseconds, None for other text; without a time zone, it is UTC."""
    found = _STAMP.fullmatch(text)
    if found is None:
        return None
    day, minute, second, fraction, zone = found.groups()
    zone = "+00:00" if zone in {None, "Z", "UTC"} else zone
    try:
        moment = datetime.fromisoformat(f"{day}T{minute}:{second or '00'}{zone}")
    except ValueError:
        return None
    since = moment - datetime(1970, 1, 1, tzinfo=UTC)
    return (since.days * 86_400 + since.seconds) * 1_000_000_000 + int((fraction or "").ljust(9, "0"))


def iso_of_ns(unix_ns: int) -> str:
    """Return a Unix time in nanoseconds as ISO 8601, without trailing zeros."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC).replace(tzinfo=None).isoformat()}{fraction}Z"


def is_time_label(label: str) -> bool:
    """Return whether a label stands for times."""
    name, unit = name_and_unit(label)
    return identifier(name).casefold() in TIME_LABELS and (not unit or seconds_per(unit) is not None)


def time_column(labels: Sequence[str] | None, values: NDArray[Any], stamps: Sequence[int]) -> int | None:
    """Return the column that may contain times, according to its label or its first values.

    Unix times are recognised from two rows on.

    Parameters
    ----------
    labels : sequence of str, optional
        Labels of the columns.
    values : ndarray
        First rows, shape (rows, columns).
    stamps : sequence of int
        Columns with ISO 8601 times.
    """
    if values.ndim != 2 or values.shape[1] < 2:
        return None
    named = [column for column, label in enumerate(labels or ()) if is_time_label(label)]
    unix = [column for column in range(values.shape[1]) if _is_unix(values[:, column])]
    return next(iter([*named, *stamps, *unix]), None)


def times_of(stamps: Stamps, label: str, *, dates: int = 0) -> Times | None:
    """Return the times in a column, None if they do not increase.

    Parameters
    ----------
    stamps : Stamps
        Column.
    label : str
        Label, which may contain a unit.
    dates : int, optional
        If the column contained dates, of any century: how many units of their Unix times are a second.
    """
    if not len(stamps):
        return Times(0, 0.0, None, None, np.zeros(0))
    ends = _rising_ends(stamps)
    if ends is None:
        return None
    first, last = ends
    named = None if dates else seconds_per(name_and_unit(label)[1])
    unit, per_second = named or 1.0, dates or _unix_unit(float(first))
    if named is not None and per_second is not None and abs(per_second * named - 1) > 1e-9:
        per_second = None  # not a Unix time in the unit of the label
    if per_second and not dates and _unix_unit(float(last)) != per_second:
        return None  # a mix of seconds and milliseconds
    factor = Fraction(1, per_second) if per_second else Fraction(str(unit))

    def seconds() -> Iterator[NDArray[np.float64]]:
        return (((part - first) * factor.numerator) / factor.denominator for part in stamps)

    # Rounded when they were written, and again as floats, whose precision is low for large numbers.
    roundings = float(_quantum(next(iter(stamps))) * factor), 0.0
    if isinstance(first, np.floating):
        roundings = roundings[0], 4 * float(np.spacing(max(abs(first), abs(last)))) * float(factor)
    span = float((last - first) * factor.numerator / factor.denominator)
    rate = even_rate(seconds, len(stamps), span, roundings)
    uneven = None if rate else np.concatenate(list(seconds()))
    rate = rate or ((len(stamps) - 1) / span if span else None)
    start = Fraction(first.item()) * factor
    if per_second:
        return Times(len(stamps), 0.0, round(start * 1_000_000_000), rate, uneven)
    return Times(len(stamps), float(start), None, rate, uneven)


def _rising_ends(stamps: Stamps) -> tuple[Any, Any] | None:
    """Return the first and last of values that never decrease, None for others."""
    first = last = None
    for part in stamps:
        if not bool(np.isfinite(part).all()) or bool((np.diff(part) < 0).any()):
            return None
        if last is not None and part[0] < last:
            return None
        first, last = part[0] if first is None else first, part[-1]
    return None if len(stamps) > 1 and first == last else (first, last)


def even_rate(
    parts: Callable[[], Iterable[NDArray[np.float64]]], size: int, span: float, roundings: Iterable[float]
) -> float | None:
    """Return the rate of evenly spaced times, None for others.

    Parameters
    ----------
    parts : callable
        Returns the times relative to the first one, in parts.
    size : int
        Number of times.
    span : float
        Last time, in seconds.
    roundings : iterable of float
        Maximum rounding errors in seconds; large ones, compared with the spacing, are not accepted.
    """
    interval = span / (size - 1) if size > 1 else 0.0
    if interval <= 0:
        return None
    # Rounding turns 1 / 0.005 into almost 200: prefer a rate with few digits if it is consistent.
    rates = [*(float(f"{1 / interval:.{digits}g}") for digits in (3, 6, 9, 12)), 1 / interval]
    rounding = max((each for each in roundings if each <= interval / 4), default=0.0)
    misses, largest, at = np.zeros(len(rates)), 0.0, 0
    for part in parts():
        steps = np.arange(at, at + len(part))
        apart = [float(np.abs(steps / rate - part).max(initial=0.0)) for rate in rates]
        misses, largest = np.maximum(misses, apart), max(largest, float(np.abs(part).max(initial=0.0)))
        at += len(part)
    best = float(misses.min())
    if not best <= max(TOLERANCE * interval, rounding):
        return None
    allowed = max(best + 4 * float(np.spacing(largest)), rounding)
    return next(rate for rate, miss in zip(rates, misses, strict=True) if miss <= allowed)


def _quantum(values: NDArray[Any]) -> Fraction:
    """Return the precision to which numbers are rounded: 1, 0.1, 0.01, ..."""
    if values.dtype.kind == "i":
        return Fraction(1)
    some = values[:1000]
    noise = 4 * float(np.spacing(np.abs(some).max()))
    for digits in range(10):
        if bool((np.abs(some - np.round(some, digits)) <= noise).all()):
            return Fraction(1, 10**digits)
    return Fraction(noise)


def _is_unix(values: NDArray[Any]) -> bool:
    if len(values) < 2:
        return False
    ends = [_unix_unit(float(values[place])) for place in (0, -1)]
    return ends[0] is not None and ends[0] == ends[1] and bool((np.diff(values) > 0).all())


def _unix_unit(value: float) -> int | None:
    """Return the number of a Unix time's units in a second, None if a number is not a Unix time."""
    return next((unit for unit in _PER_SECOND if _EARLIEST * unit <= value <= _LATEST * unit), None)
