"""Horizontal axes: seconds, times of day, samples, or another dimension."""

from __future__ import annotations

import math
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import TYPE_CHECKING, Any

import numpy as np
from matplotlib.ticker import Formatter, Locator

if TYPE_CHECKING:
    from collections.abc import Sequence

    from numpy.typing import NDArray

_FIRST, _LAST = 946_684_800.0, 4_102_444_800.0  # 2000 and 2100, in Unix seconds
_DAY = 86_400.0
_LONG = (15, 20, 30, 60, 120, 300, 600, 900, 1200, 1800, 3600, 7200, 10_800, 21_600, 43_200, _DAY)
_EPOCH = datetime(1970, 1, 1, tzinfo=UTC)


@dataclass(frozen=True, slots=True)
class PanelAxis:
    """A kind of horizontal axis; panels with equal axes share it.

    Attributes
    ----------
    kind : {"seconds", "utc", "clock", "sample", "other"}
        Seconds from an unknown start, UTC times, times in an unknown time zone, sample numbers, or values of
        another coordinate.
    name, units : str
        Name and units of the coordinate.
    """

    kind: str
    name: str
    units: str = ""

    @property
    def is_absolute(self) -> bool:
        """Whether values are Unix seconds."""
        return self.kind in {"utc", "clock"}


SECONDS = PanelAxis("seconds", "time", "s")
UTC_TIME = PanelAxis("utc", "time", "UTC")
CLOCK_TIME = PanelAxis("clock", "time")


def axis_of(name: str, values: NDArray[Any] | None, units: str) -> PanelAxis:
    """Return the axis for a coordinate, or for a dimension without one.

    Parameters
    ----------
    name : str
        Name of the dimension.
    values : ndarray or None
        Some of the coordinate's values, including the first and the last.
    units : str
        Its units, from its attributes.
    """
    if values is None:
        return PanelAxis("sample", "sample")
    if values.dtype.kind == "M":
        return UTC_TIME
    if (units or ("s" if name == "time" else "")) != "s":
        return PanelAxis("other", name, units)
    finite = np.asarray(values, "float64")
    finite = finite[np.isfinite(finite)]
    if finite.size and finite.min() >= _FIRST and finite.max() <= _LAST:
        return UTC_TIME
    return SECONDS


def seconds_of(values: NDArray[Any]) -> NDArray[Any]:
    """Return the values of a coordinate as floats; dates as Unix seconds."""
    if values.dtype.kind == "M":
        nanoseconds = values.astype("datetime64[ns]")
        seconds = nanoseconds.astype("int64") / 1e9
        return np.asarray(np.where(np.isnat(nanoseconds), np.nan, seconds))
    if values.dtype.kind == "m":
        return np.asarray(values / np.timedelta64(1, "ns") / 1e9, "float64")
    return np.asarray(values, "float64")


def start_of(value: Any) -> tuple[float, PanelAxis] | None:
    """Return the start of a recording in Unix seconds, and its axis; None if the value is not a time.

    Parameters
    ----------
    value : object
        Attribute ``start_time``: ISO 8601, or Unix seconds.
    """
    if isinstance(value, (int, float, np.integer, np.floating)) and not isinstance(value, bool):
        return (float(value), UTC_TIME) if _FIRST <= float(value) <= _LAST else None
    try:
        time = value if isinstance(value, datetime) else datetime.fromisoformat(str(value))
    except ValueError:
        return None
    if time.tzinfo is None:
        return (time.replace(tzinfo=UTC) - _EPOCH).total_seconds(), CLOCK_TIME
    return (time - _EPOCH).total_seconds(), UTC_TIME


class TimeLocator(Locator):
    """Ticks at round seconds, minutes, hours and days; always at least one."""

    def __init__(self, most: int) -> None:
        self._most = max(2, most)

    def __call__(self) -> Any:
        """Return the ticks in the visible range."""
        return self.tick_values(*self.axis.get_view_interval())  # type: ignore[union-attr]

    def tick_values(self, vmin: float, vmax: float) -> Any:
        """Return the ticks between two values."""
        low, high = min(vmin, vmax), max(vmin, vmax)
        return self._ticks(low, high, self._step(high - low))

    def _ticks(self, low: float, high: float, step: float) -> Any:
        first = math.ceil(low / step - 1e-9)
        ticks = np.arange(first, math.floor(high / step + 1e-9) + 1) * step
        # With a step longer than the visible range, there may be no tick in it.
        return ticks if len(ticks) else self._ticks(low, high, self._step((high - low) / 2))

    def _step(self, span: float) -> float:
        least = max(span / self._most, 1e-9)
        if least > _DAY:
            return math.ceil(least / _DAY) * _DAY
        if least > 10:
            return float(next(step for step in _LONG if step >= least))
        return _round_up(least)


def _round_up(value: float) -> float:
    """Return the smallest 1, 2 or 5 times a power of ten that is at least `value`."""
    power = 10.0 ** math.floor(math.log10(value))
    return next(factor * power for factor in (1, 2, 5, 10) if factor * power >= value * (1 - 1e-9))


class ClockFormatter(Formatter):
    """Times of day, or dates if ticks are days apart; a midnight among times shows its date."""

    def __init__(self, base: float) -> None:
        self._base = base

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - as matplotlib calls it
        """Return the label of a tick."""
        return self.format_ticks([x])[0]

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the labels of ticks."""
        step = min(np.diff(values), default=1.0)
        return [self._text(value, float(step)) for value in values]

    def _text(self, value: float, step: float) -> str:
        time = _EPOCH + timedelta(seconds=self._base + value)
        if step >= _DAY * (1 - 1e-9):
            return f"{time:%Y-%m-%d}"
        if step >= 60 - 1e-6:
            time += timedelta(seconds=0.5)
            return f"{time:%m-%d}" if (time.hour, time.minute) == (0, 0) else f"{time:%H:%M}"
        digits = max(0, math.ceil(-math.log10(step) - 1e-9)) if step < 1 else 0
        seconds = round((self._base + value) % _DAY, digits) % _DAY
        hours, rest = divmod(seconds, 3600)
        minutes, rest = divmod(rest, 60)
        width = 3 + digits if digits else 2
        return f"{hours:02.0f}:{minutes:02.0f}:{rest:0{width}.{digits}f}"


class MinutesFormatter(Formatter):
    """Seconds as minutes and seconds, or as hours, minutes and seconds."""

    def __init__(self, *, hours: bool) -> None:
        self._hours = hours

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - as matplotlib calls it
        """Return the label of a tick."""
        minutes, seconds = divmod(round(abs(x)), 60)
        sign = "\u2212" if x < 0 else ""
        if not self._hours:
            return f"{sign}{minutes}:{seconds:02}"
        return f"{sign}{minutes // 60}:{minutes % 60:02}:{seconds:02}"


class PlainFormatter(Formatter):
    """Numbers with the fewest digits that distinguish the ticks, without an offset beside the axis."""

    def __call__(self, x: float, pos: int | None = None) -> str:  # noqa: ARG002 - as matplotlib calls it
        """Return the label of a tick."""
        return _plain(f"{x:.6g}")

    def format_ticks(self, values: Sequence[float]) -> list[str]:
        """Return the labels of ticks."""
        allowed = 0.01 * min(np.abs(np.diff(values)), default=0.0)
        for digits in range(1, 17):
            texts = [f"{value:.{digits}g}" for value in values]
            if all(abs(float(text) - value) <= allowed for text, value in zip(texts, values, strict=True)):
                break
        return [_plain(_positional(text)) for text in texts]


def _positional(text: str) -> str:
    """Return a number without an exponent if it has at most six digits."""
    value = float(text)
    if "e" in text and (value == 0 or 1e-3 <= abs(value) < 1e6):
        return f"{value:.0f}"
    return text


def _plain(text: str) -> str:
    mantissa, exponent, power = text.partition("e")
    return f"{mantissa}{exponent}{int(power) if power else ''}".replace("-", "\u2212")
