"""Plan the requests for many ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_GAP = 64 * 1024
"""Bytes between two ranges up to which fetching them too costs less than another request."""

MAX_PART = 8 * 1024 * 1024
"""Bytes that ranges are joined to at most."""

MAX_BATCH = 1024 * 1024
"""Bytes of parts that one answer brings; larger parts come faster side by side."""


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

    def cut(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return what each range has of the bytes, with its position."""
        if len(self.wanted) == 1:
            return [(self.wanted[0].position, data)]
        bounds = ((w.position, (w.start or 0) - self.start, (w.stop or 0) - self.start) for w in self.wanted)
        return [(position, data[start:stop]) for position, start, stop in bounds]


@dataclass(frozen=True, slots=True)
class Fetch:
    """A piece of work, and which parts come of it.

    Attributes
    ----------
    load : callable
        Returns the bytes of each part.
    parts : list of Part
        The parts; where somebody wanted only one range of a part, that is all of its bytes.
    """

    load: Callable[[], Sequence[bytes]]
    parts: Sequence[Part]

    def run(self, on_error: str) -> list[tuple[int, bytes | Exception]]:
        """Return the bytes of each range with its position, or the error in their place."""
        try:
            loaded = self.load()
        except Exception as error:
            if on_error != "return":
                raise
            return [(item.position, error) for part in self.parts for item in part.wanted]
        return [cut for part, data in zip(self.parts, loaded, strict=True) for cut in part.cut(data)]


def single(load: Callable[[], bytes], wanted: list[Wanted], offset: int = 0) -> Fetch:
    """Return the fetch of one part whose first byte is at `offset`."""
    return Fetch(lambda: [load()], [Part(offset, offset, wanted)])


def batches(parts: Iterable[Part], count: int, size: int = MAX_BATCH) -> list[list[Part]]:
    """Put parts together, at most `count` and, if there are several, `size` bytes."""
    found: list[list[Part]] = []
    room = 0
    for part in parts:
        length = part.stop - part.start
        if not found or len(found[-1]) == count or length > room:
            found.append([])
            room = size
        found[-1].append(part)
        room -= length
    return found


def attempt(plan: Callable[[], list[Fetch]], wanted: list[Wanted], on_error: str) -> list[Fetch]:
    """Return what to fetch, or something that gives the error which kept that from being known."""
    try:
        return plan()
    except Exception as error:
        if on_error != "return":
            raise
        return [single(_raising(error), wanted)]


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
        raise ValueError(f"{len(value)} bounds for {count} paths")
    return list(value)
