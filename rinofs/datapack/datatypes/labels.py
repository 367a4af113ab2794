"""Labels of columns and channels: variable names, units, and matching of labels."""

from __future__ import annotations

import re
from fractions import Fraction
from typing import TYPE_CHECKING, Any

import numpy as np

if TYPE_CHECKING:
    from collections.abc import Callable, Collection, Sequence

_SECONDS = {
    1.0: ("s", "sec", "secs", "second", "seconds"),
    1e-3: ("ms", "msec", "millisecond", "milliseconds"),
    1e-6: ("us", "µs", "μs", "microsecond", "microseconds"),
    1e-9: ("ns", "nanosecond", "nanoseconds"),
    60.0: ("min", "minute", "minutes"),
    3600.0: ("h", "hour", "hours"),
}

_BRACKETS = re.compile(r"(.*\S|)\s*[\[(]([^\[\]()]*)[\])]")
_SUFFIX = re.compile(r"(.*)[ _]([^\W_]+)")


def identifier(label: str, *, default: str = "value", taken: Collection[str] = ()) -> str:
    """Return a label as a variable name: ``angular velocity`` becomes ``angular_velocity``.

    Parameters
    ----------
    label : str
        Any text.
    default : str, optional
        Name for a text without letters.
    taken : collection of str, optional
        Names that are taken; a number is added if necessary.
    """
    name = re.sub(r"\W+", "_", label).strip("_") or default
    name = f"_{name}" if name[0].isdigit() else name
    chosen, number = name, 2
    while chosen in taken:
        chosen, number = f"{name}_{number}", number + 1
    return chosen


def unique_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return the labels with numbers added to repeated and missing ones."""
    taken: set[str] = set()
    found = []
    for position, label in enumerate(labels, 1):
        stem = chosen = label or str(position)
        number = 2
        while chosen in taken or (chosen != label and chosen in labels):
            chosen, number = f"{stem} {number}", number + 1
        taken.add(chosen)
        found.append(chosen)
    return tuple(found)


def seconds_per(units: str) -> float | None:
    """Return the length of a time unit in seconds, None for other units."""
    word = units.strip().lower()
    return next((factor for factor, words in _SECONDS.items() if word in words), None)


def in_unit(times: Any, factor: float, to: float = 1.0) -> Any:
    """Return times in another unit, by default in seconds.

    Parameters
    ----------
    times : ndarray
        Times.
    factor, to : float
        Length of their unit and of the other one in seconds, from `seconds_per`.
    """
    # Quotients of integers: 7 ms are 7 / 1000 s, while 7 * 1e-3 is another float.
    ratio = Fraction(str(factor)) / Fraction(str(to))
    if ratio == 1:
        return times
    return np.asarray(times, np.float64) * ratio.numerator / ratio.denominator  # small integers overflow


def name_and_unit(label: str) -> tuple[str, str]:
    """Split a label into name and unit: ``Time [ms]``, ``time (ms)`` and ``time_ms`` have one.

    After a blank or an underscore, only time units are recognised.
    """
    if found := _BRACKETS.fullmatch(label.strip()):
        return found[1], found[2].strip()
    found = _SUFFIX.fullmatch(label.strip())
    if found and seconds_per(found[2]) is not None:
        return found[1], found[2]
    return label.strip(), ""


def match_labels(found: Sequence[str], wanted: Sequence[str]) -> dict[int, int]:
    """Match the labels of a file with those of a datatype.

    Labels match if they are equal; else if they are equal ignoring case; else as variable names; else as
    variable names without units. The first of these rules that matches applies.

    Parameters
    ----------
    found, wanted : sequence of str
        Labels of the file and of the datatype.

    Returns
    -------
    dict of int to int
        For each index in `wanted`, the index in `found`; labels without a match are left out.
    """
    same: dict[int, int] = {}
    for key in _KEYS:
        left = {at: key(label) for at, label in enumerate(found) if at not in same.values()}
        places: dict[str, list[int]] = {}
        for at, label in left.items():
            places.setdefault(label, []).append(at)
        for at, label in enumerate(wanted):
            there = places.get(key(label), [])
            if at not in same and len(there) == 1:
                same[at] = there.pop()
    return same


def _folded(label: str) -> str:
    return label.strip().casefold()


def _as_identifier(label: str) -> str:
    return identifier(label).casefold()


def _without_unit(label: str) -> str:
    return identifier(name_and_unit(label)[0]).casefold()


_KEYS: tuple[Callable[[str], str], ...] = (str.strip, _folded, _as_identifier, _without_unit)
