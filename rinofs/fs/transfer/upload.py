"""Local files on their way to a service."""

from __future__ import annotations

import io
from typing import IO, TYPE_CHECKING, Any

if TYPE_CHECKING:
    from fsspec.callbacks import Callback

    from rinofs.fs.transfer.pool import Stop


class ProgressReader(io.RawIOBase):
    """A file that reports how much of it was read, and that can be told to stop.

    Parameters
    ----------
    file : binary file
        The file.
    callback : Callback
        Is told of the bytes.
    stop : Stop
        Ends the reading early.
    """

    def __init__(self, file: IO[bytes], callback: Callback, stop: Stop) -> None:
        super().__init__()
        self._file = file
        self._callback = callback
        self._stop = stop

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        self._stop.check()
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        self._callback.relative_update(count)
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Go to a position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()
