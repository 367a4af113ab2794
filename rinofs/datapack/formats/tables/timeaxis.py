"""Which column of a table says when its rows were sampled.

A column is the time if its label is one of `TIME_LABELS`, with a unit or without, if it holds increasing Unix
times from 2000 to 2100, or dates with times as ISO 8601 has them. Numbers that merely increase are no times.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from datetime import UTC, datetime
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

from rinofs.datapack.datatypes.labels import identifier, name_and_unit, seconds_per

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

TIME_LABELS = frozenset(
    {"time", "t", "timestamp", "timestamps", "time_stamp", "datetime", "date_time", "unix_time", "unixtime"}
    | {"unix_timestamp", "unix", "epoch", "utc", "elapsed", "elapsed_time", "system_time", "sample_time"}
    | {"local_timestamp", "lsl_timestamp", "recording_time", "relative_time"}
)
"""Labels of columns of times, in lower case and as names of variables."""

_EARLIEST, _LATEST = 946_684_800, 4_102_444_800  # 2000 and 2100, in Unix seconds
_PER_SECOND = (1, 1_000, 1_000_000, 1_000_000_000)
_STAMP = re.compile(
    r"(\d{4}-\d\d-\d\d)[T ](\d\d:\d\d)(?::(\d\d)(?:[.,](\d{1,9}))?)? ?(Z|UTC|[+-]\d\d(?::?\d\d)?)?", re.ASCII
)


@dataclass(frozen=True, slots=True)
class Times:
    """When the rows of a table were sampled.

    Attributes
    ----------
    seconds : ndarray
        From the first one.
    first : float
        The first one as the column has it, in seconds; 0 for Unix times.
    unix_ns : int or None
        The first one as a Unix time in nanoseconds.
    quantum : float
        Seconds to which they are rounded.
    """

    seconds: NDArray[np.float64]
    first: float
    unix_ns: int | None
    quantum: float


def stamp_ns(text: str) -> int | None:
    """Return a date with a time as Unix nanoseconds, None for other text; without a zone it is UTC."""
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
    """Return a Unix time in nanoseconds as ISO 8601 has it, without zeros at its end."""
    seconds, rest = divmod(unix_ns, 1_000_000_000)
    fraction = f".{rest:09d}".rstrip("0").rstrip(".")
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%S}{fraction}Z"


def is_time_label(label: str) -> bool:
    """Whether a column of this label holds times."""
    name, unit = name_and_unit(label)
    return identifier(name).casefold() in TIME_LABELS and (not unit or seconds_per(unit) is not None)


def time_column(labels: Sequence[str] | None, values: NDArray[Any], stamps: Sequence[int]) -> int | None:
    """Return the column of a table that may hold times, by its label or by its first rows.

    Parameters
    ----------
    labels : sequence of str, optional
        Of the columns.
    values : ndarray
        The first rows.
    stamps : sequence of int
        Columns that hold dates with times.
    """
    if values.ndim != 2 or values.shape[1] < 2 or len(values) < 2:
        return None
    named = [column for column, label in enumerate(labels or ()) if is_time_label(label)]
    unix = [column for column in range(values.shape[1]) if _is_unix(values[:, column])]
    return next(iter([*named, *stamps, *unix]), None)


def times_of(values: NDArray[Any], label: str) -> Times | None:
    """Return the times that a column holds, None where they do not increase.

    Parameters
    ----------
    values : ndarray
        The column: integers, or floats.
    label : str
        Its label, which may name a unit.
    """
    if len(values) < 2 or not bool(np.isfinite(values).all()) or bool((np.diff(values) < 0).any()):
        return None
    if values[0] == values[-1]:
        return None
    named = seconds_per(name_and_unit(label)[1])
    unit, per_second = named or 1.0, _unix_unit(float(values[0]))
    if named is not None and per_second is not None and abs(per_second * named - 1) > 1e-9:
        per_second = None  # in the unit that the label names, it is no Unix time
    factor = Fraction(1, per_second) if per_second else Fraction(str(unit))
    since = values - values[0]
    seconds = (since * factor.numerator) / factor.denominator
    first = Fraction(values[0].item()) * factor
    quantum = float(_quantum(values) * factor)
    if per_second:
        return Times(seconds, 0.0, round(first * 1_000_000_000), quantum)
    return Times(seconds, float(first), None, quantum)


def _quantum(values: NDArray[Any]) -> Fraction:
    """Return to what numbers are rounded: 1, 0.1, 0.01, ..."""
    if values.dtype.kind == "i":
        return Fraction(1)
    some = values[:1000]
    noise = 4 * float(np.spacing(np.abs(some).max()))
    for digits in range(10):
        if bool((np.abs(some - np.round(some, digits)) <= noise).all()):
            return Fraction(1, 10**digits)
    return Fraction(noise)


def _is_unix(values: NDArray[Any]) -> bool:
    ends = [_unix_unit(float(values[place])) for place in (0, -1)]
    return ends[0] is not None and ends[0] == ends[1] and bool((np.diff(values) > 0).all())


def _unix_unit(value: float) -> int | None:
    """Return how many of a Unix time's units are in a second, None where a number is no Unix time."""
    return next((unit for unit in _PER_SECOND if _EARLIEST * unit <= value <= _LATEST * unit), None)
