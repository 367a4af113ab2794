"""Sources of file objects that are not streamed: contents in memory, and ranges of other filesystems."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Self

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence


@dataclass(frozen=True, slots=True)
class MemorySource:
    """A content in memory.

    Attributes
    ----------
    data : bytes
        The content.
    key : str
        Key of the content.
    """

    data: bytes = field(repr=False)
    key: str

    @classmethod
    def of(cls, data: bytes) -> Self:
        """Create a source for bytes, with their digest as its key."""
        return cls(data, f"memory {hashlib.sha256(data).hexdigest()}")

    @property
    def size(self) -> int:
        """Size in bytes."""
        return len(self.data)

    def sized(self) -> Self:
        """Return this source."""
        return self

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop), as a slice."""
        return self.data[start:stop]

    def load(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop)."""
        return self.data[start:stop]

    def load_many(self, spans: Sequence[tuple[int, int]]) -> Sequence[bytes]:
        """Return several ranges."""
        return [self.data[start:stop] for start, stop in spans]

    def stream(self, start: int, before: Iterable[bytes | None]) -> None:
        """Return None: nothing has to be downloaded."""


@dataclass(slots=True)
class FetcherSource:
    """Reads ranges of a file of another filesystem; its blocks are not shared."""

    load: Callable[[int, int], bytes]
    size: int
    key: str

    def stream(self, start: int, before: Iterable[bytes | None]) -> None:
        """Return None: only ranges can be read."""
