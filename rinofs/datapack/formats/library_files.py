"""Files for libraries that take a file object, and do not pass its errors on.

libsndfile calls back from C: what a read raises is printed and lost, and the library goes on as if the file
had ended (https://github.com/bastibe/python-soundfile/issues/274). HDF5 says "can't synchronously read data"
in its place. A refusal of the service or a fault of the network must be raised as what it is.
"""

from __future__ import annotations

import io
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.datapack.formats.handles import FileHandle


class LibraryFile(io.RawIOBase):
    """A file that keeps the first error of reading it, and has ended from then on.

    Parameters
    ----------
    file : file object
        The file that is read.
    head : bytes, optional
        What stands in place of the file's first bytes.
    start : int, optional
        How many bytes that replaces.
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
        """Whether it can be read: always."""
        return True

    def seekable(self) -> bool:
        """Whether it can seek: always."""
        return True

    def tell(self) -> int:
        """Return where the next read begins."""
        return self._position

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move to where the next read begins."""
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position}.get(whence)
        self._position = max(0, (self.size if base is None else base) + offset)
        return self._position

    @property
    def size(self) -> int:
        """Bytes in the file."""
        if self._size is None:
            try:
                self._size = int(self._file.seek(0, io.SEEK_END)) - self._moved
            except Exception as error:  # noqa: BLE001 - raised by `raise_error`
                self._keep(error)
                return 0
        return self._size

    def readinto(self, target: Any) -> int:
        """Fill what it is given, or as much of it as there is."""
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
        """Raise the first error of reading, once.

        The error is not kept: its traceback leads to objects of HDF5, which hold this file from C, where
        Python's garbage collector cannot see it. HDF5 would release the file after Python's end, and crash.
        """
        if self._error is not None:
            error, self._error = self._error, None
            try:
                raise error
            finally:
                del error


@contextmanager
def library_file(handle: FileHandle, head: bytes = b"", start: int = 0) -> Iterator[LibraryFile]:
    """Lend a file object to a library; an error of the file goes before whatever the library makes of it.

    Parameters
    ----------
    handle : FileHandle
        The file.
    head : bytes, optional
        What stands in place of its first `start` bytes.
    start : int, optional
        How many bytes that replaces.
    """
    with handle.file() as file:
        lent = LibraryFile(file, head, start)
        try:
            yield lent
        except Exception:
            lent.raise_error()
            raise
        lent.raise_error()
