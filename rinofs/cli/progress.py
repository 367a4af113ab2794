"""A progress bar for the bytes of many files, updated by fsspec's callbacks."""

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
    """Counts the transferred bytes of all files, and shows a progress bar on a terminal.

    The callback of a transfer of many files; its branches count the bytes of each.

    Parameters
    ----------
    what : str
        Label of the bar.
    total : int
        Bytes to transfer.
    shown : bool
        Whether to show a bar on standard error.
    unit : str
        What is counted, if it is not bytes.
    """

    def __init__(self, what: str, total: int, *, shown: bool, unit: str = "B") -> None:
        super().__init__()
        self._lock = threading.Lock()
        self._bar: Any = None
        self._kept: dict[str, int] = {}
        if shown:
            from tqdm import tqdm

            # Created when there is progress to show, which may start above 0.
            base = 1024 if unit == "B" else 1000
            self._bar = tqdm(
                desc=what, total=total, unit=unit, unit_scale=True, unit_divisor=base, delay=1e-9, leave=True
            )

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *raised: object) -> None:
        if self._bar is not None:
            self._bar.close()

    def begin_at(self, kept: Mapping[str, int]) -> None:
        """Count the bytes of partial files as done, by target, before the transfer starts.

        Otherwise a resumed transfer would start at 0 and show a wrong rate.
        """
        self._kept.update(kept)
        if self._bar is not None:
            size = sum(kept.values())
            with self._lock:
                self._bar.initial += size
                self._bar.update(size)
                self._bar.refresh()

    def branched(self, path_1: str, path_2: str, **kwargs: Any) -> FileProgress:  # noqa: ARG002 - fsspec's
        """Return the callback for one file."""
        return FileProgress(self, self._kept.pop(path_2, 0))

    def add(self, size: int) -> None:
        """Count `size` more bytes; negative if a file starts over."""
        if self._bar is not None:
            with self._lock:
                self._bar.update(size)

    def expect(self, total: int) -> None:
        """Set the number of bytes to transfer, if it was not known in advance."""
        if self._bar is not None:
            with self._lock:
                self._bar.reset(total)

    @contextlib.contextmanager
    def aside(self) -> Iterator[None]:
        """Hide the bar while other lines are written to standard error."""
        if self._bar is None:
            yield
            return
        with self._lock, self._bar.external_write_mode(file=sys.stderr):
            yield


class FileProgress(Callback):  # type: ignore[misc]
    """The callback for one file, which adds its bytes to those of all files.

    Parameters
    ----------
    progress : Progress
        Counts the bytes of all files.
    counted : int
        Bytes of the file that are counted already, such as those of a partial file.
    """

    def __init__(self, progress: Progress, counted: int = 0) -> None:
        super().__init__()
        self._progress = progress
        self._counted = counted

    def relative_update(self, inc: int = 1) -> None:
        """Count `inc` more bytes of the file."""
        self.value += inc
        # A resumed download reports its partial file first, as one step. Otherwise it started over.
        self._progress.add(inc - self._counted)
        self._counted = 0

    def absolute_update(self, value: int) -> None:
        """Set the number of bytes of the file."""
        self.relative_update(value - self.value)
