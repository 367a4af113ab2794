"""Plan the requests for many ranges."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

MAX_GAP = 64 * 1024
"""Gap between two ranges, in bytes, up to which downloading it costs less than another request."""

MAX_PART = 8 * 1024 * 1024
"""Maximum size of joined ranges in bytes."""

MAX_BATCH = 1024 * 1024
"""Maximum number of bytes in a response with several parts; larger parts are faster concurrently."""


@dataclass(frozen=True, slots=True)
class Wanted:
    """A requested range.

    Attributes
    ----------
    position : int
        Index among all requested ranges.
    start, stop : int or None
        First byte and end, as in a slice.
    """

    position: int
    start: int | None
    stop: int | None

    def within(self, size: int) -> Wanted:
        """Return the same range with bounds between 0 and `size`."""
        start, stop, _ = slice(self.start, self.stop).indices(size)
        return Wanted(self.position, start, max(start, stop))


@dataclass(slots=True)
class Part:
    """Bytes [start, stop) of a content that one request downloads, and the requested ranges in them."""

    start: int
    stop: int
    wanted: list[Wanted]

    def cut(self, data: bytes) -> list[tuple[int, bytes]]:
        """Return the position and bytes of each requested range."""
        if len(self.wanted) == 1:
            return [(self.wanted[0].position, data)]
        bounds = ((w.position, (w.start or 0) - self.start, (w.stop or 0) - self.start) for w in self.wanted)
        return [(position, data[start:stop]) for position, start, stop in bounds]


@dataclass(frozen=True, slots=True)
class Fetch:
    """A request, and the parts that it returns.

    Attributes
    ----------
    load : callable
        Returns the bytes of each part.
    parts : list of Part
        Parts; the only range of a part receives all bytes of it.
    """

    load: Callable[[], Sequence[bytes]]
    parts: Sequence[Part]

    def run(self, on_error: str) -> list[tuple[int, bytes | Exception]]:
        """Return the position of each range with its bytes or its error."""
        try:
            loaded = self.load()
        except Exception as error:
            if on_error != "return":
                raise
            return [(item.position, error) for part in self.parts for item in part.wanted]
        return [cut for part, data in zip(self.parts, loaded, strict=True) for cut in part.cut(data)]


def single(load: Callable[[], bytes], wanted: list[Wanted], offset: int = 0) -> Fetch:
    """Return the request for a single part that starts at `offset`."""
    return Fetch(lambda: [load()], [Part(offset, offset, wanted)])


def batches(parts: Iterable[Part], count: int, size: int = MAX_BATCH) -> list[list[Part]]:
    """Group parts: at most `count` and, if there are several, `size` bytes in each group."""
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
    """Return the planned requests, or requests that raise the error with which planning failed."""
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
    """Join ranges of one content that are close to each other.

    Parameters
    ----------
    wanted : iterable of Wanted
        Ranges in any order, with bounds counted from the first byte of the content.
    max_gap : int
        Maximum gap between two ranges, in bytes.
    max_part : int
        Maximum size of a part that joins several ranges, in bytes.

    Returns
    -------
    list of Part
        Parts in ascending order. Empty ranges are in none of them.
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
    """Return one bound for each range, given one for all or one for each.

    Raises
    ------
    ValueError
        If the numbers of bounds and ranges differ.
    """
    if value is None or isinstance(value, int):
        return [value] * count
    if len(value) != count:
        raise ValueError(f"{len(value)} bounds for {count} paths")
    return list(value)
