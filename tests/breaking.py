"""Interrupted downloads, and the partial files that remain."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rinofs.fs.transfer.resume import RESUMABLE_SIZE
from rinofs.testing import Fault

if TYPE_CHECKING:
    from pathlib import Path

    from rinofs.testing import LiveServer

SIZE = RESUMABLE_SIZE + 3_000_001
CONTENT = os.urandom(1_000_003) * (SIZE // 1_000_003 + 1)


def breaking(after: int) -> Any:
    """Interrupt every download after a number of bytes."""
    return lambda _, path: Fault(cut_after=after) if path.endswith("/download/") else None


class Broken:
    """Every download fails after a part of it has arrived."""

    def __init__(self, after: int) -> None:
        self.left = after

    def __call__(self, method: str, path: str) -> Fault | None:
        if not path.endswith("/download/"):
            return None
        if self.left:
            fault, self.left = Fault(cut_after=self.left), 0
            return fault
        return Fault(status=404, body=b'{"error": "gone for now"}')


def parts(folder: Path) -> list[Path]:
    """Return the partial files in a folder."""
    return sorted(folder.glob(".rinofs-*"))


def downloaded(server: LiveServer) -> int:
    """Return the number of content bytes that a server has sent."""
    return sum(request.bytes_out for request in server.requests if request.path.endswith("/download/"))


class Interrupting:
    """Interrupts a copy, as Ctrl-C does, after some progress."""

    def __init__(self, after: int) -> None:
        self.left = after

    def expect(self, total: int) -> None:
        pass

    def add(self, size: int) -> None:
        self.left -= size
        if self.left < 0:
            raise KeyboardInterrupt
