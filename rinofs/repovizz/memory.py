"""A content that is in memory already."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


@dataclass(slots=True)
class MemorySource:
    """Bytes that a file object reads from.

    Attributes
    ----------
    data : bytes
        The content.
    key : str
        Names it.
    size : int
        Its bytes.
    """

    data: bytes = field(repr=False)
    key: str
    size: int

    @classmethod
    def of(cls, data: bytes) -> MemorySource:
        """Make one of bytes, named by what they are."""
        return cls(data, f"memory {hashlib.sha256(data).hexdigest()}", len(data))

    def load(self, start: int, stop: int) -> bytes:
        """Return the bytes [start, stop)."""
        return self.data[start:stop]

    def stream(self) -> None:
        """Return None: there is nothing to download."""
        return
