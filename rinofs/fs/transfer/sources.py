"""Local files to upload: checked before the upload, and again before the last byte is sent."""

from __future__ import annotations

import errno
import io
import os
import stat
from contextlib import contextmanager
from pathlib import Path
from typing import IO, TYPE_CHECKING, Any

from rinofs.errors import ContentChangedError

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from fsspec.callbacks import Callback

    from rinofs.fs.transfer.plans import Copy
    from rinofs.fs.transfer.pool import FileErrors, Stop

_KINDS = {
    stat.S_IFIFO: "a FIFO",
    stat.S_IFSOCK: "a socket",
    stat.S_IFCHR: "a device",
    stat.S_IFBLK: "a device",
}


@contextmanager
def open_source(path: str) -> Iterator[tuple[IO[bytes], int]]:
    """Open a regular file for an upload, and yield it with its size.

    Raises
    ------
    OSError
        If it is not a regular file: a FIFO, socket or device could be read without end, and a file in
        ``/proc`` has no size in advance.
    """
    _check_regular(path, os.stat(path).st_mode)  # noqa: PTH116 - twice as fast
    # Non-blocking, in case the path has become a FIFO: opening that would wait for a writer.
    with open(path, "rb", opener=_without_waiting) as file:
        about = os.fstat(file.fileno())
        _check_regular(path, about.st_mode)
        if not about.st_size and file.read(1):
            raise _not_regular(path, "its size is not known in advance; copy it to a regular file first")
        file.seek(0)
        yield file, about.st_size


def _without_waiting(path: str, flags: int) -> int:
    return os.open(path, flags | getattr(os, "O_NONBLOCK", 0))


def _check_regular(path: str, mode: int) -> None:
    if not stat.S_ISREG(mode):
        kind = _KINDS.get(stat.S_IFMT(mode), "no file")
        raise _not_regular(path, f"only regular files can be sent, and this is {kind}")


def _not_regular(path: str, problem: str) -> OSError:
    return OSError(errno.EINVAL, problem, str(path))


def without_links(copies: Sequence[Copy], errors: FileErrors) -> list[Copy]:
    """Return the copies to upload, after reporting an error for each link to a folder, which is left out."""
    with_contents = {os.path.dirname(copy.source) for copy in copies}  # noqa: PTH120 - faster
    whole = []
    for copy in copies:
        with errors.about(copy.source):
            if copy.is_folder and copy.source.rstrip("/") not in with_contents:
                _refuse_link(copy.source)
            whole.append(copy)
    return whole


def _refuse_link(path: str) -> None:
    if Path(path).is_symlink() and any(Path(path).iterdir()):
        raise _not_regular(path, "a link to a folder is not followed; send the folder itself")


def state_of(file: Any) -> tuple[int, int] | None:
    """Return values that change when an open regular file is modified; None for other files."""
    try:
        about = os.fstat(file.fileno())
    except (AttributeError, OSError, ValueError):
        return None
    return (about.st_size, about.st_mtime_ns) if stat.S_ISREG(about.st_mode) else None


class ProgressReader(io.RawIOBase):
    """A file that reports how much of it was read, and whose reading can be cancelled.

    The last bytes are returned only if the file was not modified during the upload: otherwise a mix of two
    versions would be stored.

    Parameters
    ----------
    file : binary file
        File to read.
    callback : Callback
        Receives the progress in bytes.
    stop : Stop
        Cancels the reading.
    """

    def __init__(self, file: IO[bytes], callback: Callback, stop: Stop) -> None:
        super().__init__()
        self._file = file
        self._callback = callback
        self._stop = stop
        self._state = state_of(file)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes; raises ContentChangedError before the last ones if the file was modified."""
        self._stop.check()
        count: int = self._file.readinto(buffer)  # type: ignore[attr-defined]
        if self._state is not None and (not count or self._file.tell() >= self._state[0]):
            self._check_unchanged()
        self._callback.relative_update(count)
        return count

    def _check_unchanged(self) -> None:
        if state_of(self._file) != self._state:
            name = str(getattr(self._file, "name", ""))
            raise ContentChangedError("the file changed while it was sent; nothing was stored", name)

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the position."""
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position."""
        return self._file.tell()
