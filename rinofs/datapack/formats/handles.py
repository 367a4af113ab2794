"""File handles that read ranges of a file, in any number of threads and processes."""

from __future__ import annotations

import copy
import io
import os
import time
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsspec import AbstractFileSystem

SMALL = 128 * 1024
"""Files up to this size in bytes are read whole at once, as remote filesystems do anyway."""

HEADER = 64 * 1024
"""Number of bytes at the beginning of a remote file that one request fetches."""

BLOCK = 4 * 1024 * 1024
"""Maximum number of bytes per read into a larger buffer."""


_SETTLED = 2.0
"""Seconds after which any filesystem assigns another modification time to another change of a file."""


class FileHandle:
    """A file, pinned to the version at its first opening.

    Each thread uses a file object of its own, from a pool. A pickle opens the file again, with the same
    version if the filesystem supports versions.

    Parameters
    ----------
    fs : AbstractFileSystem
        The filesystem.
    path : str
        Path in the filesystem.
    """

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self.fs = fs
        self.path = path
        self._model: Any = None
        self._free: list[Any] = []
        self._whole: bytes | None = None

    @contextmanager
    def file(self) -> Iterator[Any]:
        """Yield a seekable file object."""
        try:
            file = self._free.pop()
        except IndexError:
            file = self._another()
        try:
            yield file
        finally:
            if self._model is None:
                file.close()  # local file objects are cheap, and there may be thousands
            else:
                _end_download(file)
                self._free.append(file)

    def _another(self) -> Any:
        if self._model is not None:
            return copy.copy(self._model)
        file = self.fs.open(self.path, "rb")
        if _reopens_itself(file):
            self._model = file
        return file

    def read(self, start: int, size: int) -> bytes:
        """Read a range of the file; shorter at its end."""
        with self.file() as file:
            file.seek(start)
            data: bytes = file.read(size)
            return data

    def head(self, size: int) -> bytes:
        """Read the beginning of the file; a small file is read whole and then kept in memory."""
        with self.file() as file:
            file.seek(0)
            length = getattr(file, "size", None)
            self._whole = file.read() if isinstance(length, int) and length <= SMALL else None
            head: bytes = file.read(size) if self._whole is None else self._whole[:size]
            return head

    def read_all(self) -> bytes:
        """Read the whole file."""
        whole, self._whole = self._whole, None
        if whole is not None:
            return whole
        with self.file() as file:
            file.seek(0)
            data: bytes = file.read()
            return data

    def stream(self, start: int, stop: int, size: int) -> Iterator[bytes]:
        """Yield the bytes between two offsets in pieces of `size` bytes."""
        if self._whole is not None:
            whole, self._whole = self._whole, None
            for at in range(start, min(stop, len(whole)), size):
                yield whole[at : min(at + size, stop)]
            return
        with self.file() as file:
            if start == 0 and stop < file.seek(0, io.SEEK_END):
                # A larger first read would start a download of the whole file.
                file.seek(0)
                data = file.read(min(HEADER, size, stop))
                start = len(data)
                yield data
            file.seek(start)
            while start < stop and (data := file.read(min(size, stop - start))):
                start += len(data)
                yield data

    def read_into(self, start: int, target: memoryview) -> int:
        """Read into `target`, starting at an offset; returns the number of bytes."""
        done = 0
        with self.file() as file:
            file.seek(start)
            while done < len(target):
                data = file.read(min(BLOCK, len(target) - done))
                if not data:
                    break
                target[done : done + len(data)] = data
                done += len(data)
        return done

    @property
    def size(self) -> int:
        """Size of the file in bytes."""
        if self._whole is not None:
            return len(self._whole)
        with self.file() as file:
            return int(file.seek(0, 2))

    def version(self) -> str:
        """Return a cache key for the content; empty if its version is not known."""
        with self.file() as file:
            return _version_of(file, f"{type(self.fs).__name__} {self.path}")

    def forget(self) -> None:
        """Free the memory that `head` keeps for `read_all`."""
        self._whole = None

    def close(self) -> None:
        """Close the file objects in the pool; a later read opens new ones."""
        self.forget()
        while self._free:
            self._free.pop().close()

    def __getstate__(self) -> tuple[AbstractFileSystem, str, Any]:
        return self.fs, self.path, self._model

    def __setstate__(self, state: tuple[AbstractFileSystem, str, Any]) -> None:
        self.fs, self.path, self._model = state
        self._free = [] if self._model is None else [self._model]
        self._whole = None

    def __copy__(self) -> FileHandle:
        return self  # a copy that shared file objects would interfere with their positions

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self.fs, self.path


def _version_of(file: Any, name: str) -> str:
    key = getattr(file, "version_key", None)
    if key is not None:
        return str(key)
    try:
        status = os.fstat(file.fileno())
    except (AttributeError, OSError, ValueError):
        details: dict[str, Any] = getattr(file, "details", None) or {}
        etag = str(details.get("ETag") or details.get("etag") or "W/")
        return "" if etag.startswith("W/") else f"{name} {details.get('size')} {etag}"
    if time.time() - status.st_mtime < _SETTLED:
        return ""
    numbers = status.st_dev, status.st_ino, status.st_size, status.st_mtime_ns, status.st_ctime_ns
    return f"{name} {' '.join(map(str, numbers))}"


def _end_download(file: Any) -> None:
    """Release the connection of a running download; the next read opens another."""
    end = getattr(getattr(file, "cache", None), "close", None)
    if end is not None:
        end()


def _reopens_itself(file: Any) -> bool:
    """Return whether a copy of a file object opens the same content again."""
    from fsspec.spec import AbstractBufferedFile

    return isinstance(file, AbstractBufferedFile)
