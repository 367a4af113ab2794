"""File objects for libraries that do not pass on the errors of a file object.

libsndfile reads by a callback from C: an exception in it is printed and lost, and the library continues as if
the file had ended (https://github.com/bastibe/python-soundfile/issues/274). HDF5 reports "can't synchronously
read data" instead. Errors of the network or the service must be raised as such.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.datapack.formats.handles import FileHandle


class LibraryFile(io.RawIOBase):
    """A file that keeps the first error of a read, and has ended from then on.

    Parameters
    ----------
    file : file object
        File to read.
    head : bytes, optional
        Replaces the beginning of the file.
    start : int, optional
        Number of bytes that `head` replaces.
    """

    def __init__(self, file: Any, head: bytes = b"", start: int = 0) -> None:
        self._file = file
        self._head = head
        self._moved = start - len(head)
        self._size: int | None = None
        self._position = 0
        self._failed = False
        self._error: Exception | None = None

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def tell(self) -> int:
        """Return the current position."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the current position."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        self._position = max(0, (self.size if base is None else base) + offset)
        return self._position

    @property
    def size(self) -> int:
        """Size in bytes."""
        if self._size is None:
            try:
                self._size = int(self._file.seek(0, io.SEEK_END)) - self._moved
            except Exception as error:  # noqa: BLE001 - raised by `raise_error`
                self._keep(error)
                return 0
        return self._size

    def readinto(self, target: Any) -> int:
        """Read into `target`, as much as there is."""
        view = memoryview(target).cast("B")
        head = self._head[self._position : self._position + len(view)]
        view[: len(head)] = head
        done = len(head)
        try:
            if not self._failed and done < len(view):
                self._file.seek(self._position + done + self._moved)
            while done < len(view) and not self._failed:
                data = self._file.read(len(view) - done)
                if not data:
                    break
                view[done : done + len(data)] = data
                done += len(data)
        except Exception as error:  # noqa: BLE001 - raised by `raise_error`
            self._keep(error)
        self._position += done
        return done

    def _keep(self, error: Exception) -> None:
        if not self._failed:
            self._failed, self._error = True, error

    def raise_error(self) -> None:
        """Raise the first error of a read, once.

        The error is not kept afterwards: its traceback refers to HDF5 objects, which refer to this file from
        C, where Python's garbage collector cannot see it. HDF5 would release the file after Python's
        shutdown, and crash.
        """
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error


@contextmanager
def library_file(handle: FileHandle, head: bytes = b"", start: int = 0) -> Iterator[LibraryFile]:
    """Yield a file object for a library; errors of the file take precedence over those of the library.

    Parameters
    ----------
    handle : FileHandle
        File.
    head : bytes, optional
        Replaces the first `start` bytes.
    start : int, optional
        Number of bytes that `head` replaces.
    """
    with handle.file() as file:
        lent = LibraryFile(file, head, start)
        try:
            yield lent
        except Exception:
            lent.raise_error()
            raise
        lent.raise_error()
