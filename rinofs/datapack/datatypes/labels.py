"""Words of datatypes, as names of variables and as units of time."""

from __future__ import annotations

import re
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

_SECONDS = {
    1.0: ("s", "sec", "secs", "second", "seconds"),
    1e-3: ("ms", "msec", "millisecond", "milliseconds"),
    1e-6: ("us", "µs", "μs", "microsecond", "microseconds"),
    1e-9: ("ns", "nanosecond", "nanoseconds"),
    60.0: ("min", "minute", "minutes"),
    3600.0: ("h", "hour", "hours"),
}


def identifier(label: str, *, default: str = "value", taken: Collection[str] = ()) -> str:
    """Return a label as the name of a variable: ``angular velocity`` is ``angular_velocity``.

    Parameters
    ----------
    label : str
        Any text.
    default : str, optional
        The name for a text without letters.
    taken : collection of str, optional
        Names that it cannot be; it gets a number then.
    """
    name = re.sub(r"\W+", "_", label).strip("_") or default
    name = f"_{name}" if name[0].isdigit() else name
    chosen, number = name, 2
    while chosen in taken:
        chosen, number = f"{name}_{number}", number + 1
    return chosen


def unique_labels(labels: Sequence[str]) -> tuple[str, ...]:
    """Return labels, those that are repeated or missing with a number; the others keep theirs."""
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
    """Return how many seconds a unit of time is, None for other units."""
    word = units.strip().lower()
    return next((factor for factor, words in _SECONDS.items() if word in words), None)
