"""Many ranges at once: which requests fetch them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_GAP = 64 * 1024
"""Bytes between two ranges up to which fetching them too costs less than another request."""

MAX_PART = 8 * 1024 * 1024
"""Bytes that ranges are joined to at most."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A range that somebody asked for.

    Attributes
    ----------
    position : int
        Its place among all ranges that were asked for.
    start, stop : int or None
        First byte and byte to end before, as in slices.
    """

    position: int
    start: int | None
    stop: int | None

    def within(self, size: int) -> Wanted:
        """Return the same range in a content of `size` bytes, in numbers from 0 to `size`."""
        start, stop, _ = slice(self.start, self.stop).indices(size)
        return Wanted(self.position, start, max(start, stop))


@dataclass(slots=True)
class Part:
    """Bytes [start, stop) of a content that one request fetches, and the ranges within."""

    start: int
    stop: int
    wanted: list[Wanted]


@dataclass(frozen=True, slots=True)
class Fetch:
    """A request, and which ranges its answer holds.

    Attributes
    ----------
    load : callable
        Sends the request and returns its bytes.
    wanted : list of Wanted
        The ranges; if there is only one, and it is as it was asked for, it is all of the bytes.
    offset : int
        Where in the content the bytes begin.
    """

    load: Callable[[], bytes]
    wanted: list[Wanted]
    offset: int

    def run(self, on_error: str) -> list[tuple[int, bytes | Exception]]:
        """Return the bytes of each range with its position, or the error in their place."""
        try:
            data = self.load()
        except Exception as error:
            if on_error != "return":
                raise
            return [(item.position, error) for item in self.wanted]
        if len(self.wanted) == 1:
            return [(self.wanted[0].position, data)]
        cut = ((i.position, (i.start or 0) - self.offset, (i.stop or 0) - self.offset) for i in self.wanted)
        return [(position, data[start:stop]) for position, start, stop in cut]


def attempt(plan: Callable[[], list[Fetch]], wanted: list[Wanted], on_error: str) -> list[Fetch]:
    """Return what to fetch, or something that gives the error which kept that from being known."""
    try:
        return plan()
    except Exception as error:
        if on_error != "return":
            raise
        return [Fetch(_raising(error), wanted, 0)]


def _raising(error: Exception) -> Callable[[], bytes]:
    def load() -> bytes:
        raise error

    return load


def join(wanted: Iterable[Wanted], max_gap: int = MAX_GAP, max_part: int = MAX_PART) -> list[Part]:
    """Join ranges of one content that lie close to each other.

    Parameters
    ----------
    wanted : iterable of Wanted
        The ranges in any order, their bounds counted from the content's first byte.
    max_gap : int
        Bytes between two ranges that are fetched along.
    max_part : int
        Bytes that a part of several ranges has at most.

    Returns
    -------
    list of Part
        In order of their first bytes. A range without bytes is in none.
    """
    parts: list[Part] = []
    bounds = [(item.start or 0, item.stop or 0, item) for item in wanted]
    for start, stop, item in sorted(bounds, key=lambda bound: bound[:2]):
        if start >= stop:
            continue
        last = parts[-1] if parts else None
        if last is None or start > last.stop + max_gap or max(stop, last.stop) - last.start > max_part:
            last = Part(start, stop, [])
            parts.append(last)
        last.stop = max(last.stop, stop)
        last.wanted.append(item)
    return parts


def spread(value: int | Sequence[int | None] | None, count: int) -> list[int | None]:
    """Return one bound per range, where the caller gave one for all or one for each.

    Raises
    ------
    ValueError
        If there are more or fewer bounds than ranges.
    """
    if value is None or isinstance(value, int):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{len(value)} bounds do not go with {count} paths")
    return list(value)
