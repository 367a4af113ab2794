"""A progress bar over the bytes of many files, fed by fsspec's callbacks."""

from __future__ import annotations

import contextlib
import sys
import threading
from typing import TYPE_CHECKING, Any, Self

from fsspec.callbacks import Callback

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["FileProgress", "Progress"]


class Progress(Callback):  # type: ignore[misc]
    """Bytes done of all bytes to do, on a bar where someone watches.

    It is the callback of a transfer of many files, and counts the bytes of each.

    Parameters
    ----------
    what : str
        What is going on, shown before the bar.
    total : int
        Bytes to do.
    shown : bool
        Whether to draw a bar on standard error.
    """

    def __init__(self, what: str, total: int, *, shown: bool) -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._bar: Any = None
        self._kept: dict[str, int] = {}
        if shown:
            from tqdm import tqdm

            # Drawn when there is something to show, which may begin above 0.
            self._bar = tqdm(
                desc=what, total=total, unit="B", unit_scale=True, unit_divisor=1024, delay=1e-9, leave=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin_at(self, kept: Mapping[str, int]) -> None:
        """Count what is there of files already, by their targets, as done before the beginning.

        Else the bar would start at 0 where it continues, and tell a rate that nothing has.
        """
        self._kept.update(kept)
        if self._bar is not None:
            size = sum(kept.values())
            with self._lock:
                self._bar.initial += size
                self._bar.update(size)
                self._bar.refresh()

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> FileProgress:  # noqa: ARG002 - fsspec's
        """Return the callback of one file."""
        return FileProgress(self, self._kept.pop(path_2, 0))

    def add(self, size: int) -> None:
        """Count `size` more bytes (fewer, where something starts over)."""
        if self._bar is not None:
            with self._lock:
                self._bar.update(size)

    def expect(self, total: int) -> None:
        """Say how many bytes there are to do, where that was not known at the beginning."""
        if self._bar is not None:
            with self._lock:
                self._bar.reset(total)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Make room for other lines on standard error."""
        if self._bar is None:
            yield
            return
        with self._lock, self._bar.external_write_mode(file=sys.stderr):
            yield


class FileProgress(Callback):  # type: ignore[misc]
    """The callback of one file, which counts its bytes on the bar of all.

    Parameters
    ----------
    progress : Progress
        Where the bytes are counted.
    counted : int
        Bytes that are counted already, as those that a download continues after.
    """

    def __init__(self, progress: Progress, counted: int = 0) -> None:
        super().__init__()
        self._progress = progress
        self._counted = counted

    def relative_update(self, inc: int = 1) -> None:
        """Count `inc` more bytes of the file."""
        self.value += inc
        # What a download continues after comes first, and at once; else it started over.
        self._progress.add(inc - self._counted)
        self._counted = 0

    def absolute_update(self, value: int) -> None:
        """Count the file's bytes as `value`."""
        self.relative_update(value - self.value)
