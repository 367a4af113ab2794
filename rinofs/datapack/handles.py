"""Files to read parts of, from many threads and in other processes."""

from __future__ import annotations

import copy
from contextlib import contextmanager
from typing import TYPE_CHECKING, Any

if TYPE_CHECKING:
    from collections.abc import Iterator

    from fsspec import AbstractFileSystem

BLOCK = 4 * 1024 * 1024
"""Bytes that are read at once, into what was allocated for the whole."""


class FileHandle:
    """A file that stays the version that it was when it was first opened.

    Every thread that reads has a file object of its own; one that is free is used again. A pickle opens the
    file again, and its very version on filesystems that know versions.

    Parameters
    ----------
    fs : AbstractFileSystem
        The filesystem.
    path : str
        The path there.
    """

    def __init__(self, fs: AbstractFileSystem, path: str) -> None:
        self.fs = fs
        self.path = path
        self._model: Any = None
        self._free: list[Any] = []
        self._head = b""

    @contextmanager
    def file(self) -> Iterator[Any]:
        """Lend a file object that can seek."""
        try:
            file = self._free.pop()
        except IndexError:
            file = self._another()
        try:
            yield file
        finally:
            self._free.append(file)

    def _another(self) -> Any:
        if self._model is not None:
            return copy.copy(self._model)
        file = self.fs.open(self.path, "rb")
        if _reopens_itself(file):
            self._model = file
        return file

    def read(self, start: int, size: int) -> bytes:
        """Return a part of the file, shorter at its end."""
        with self.file() as file:
            file.seek(start)
            data: bytes = file.read(size)
            return data

    def head(self, size: int) -> bytes:
        """Return the beginning of the file, which `read_all` does not read again."""
        self._head = self.read(0, size)
        return self._head

    def read_all(self) -> bytes:
        """Return all of the file."""
        head, self._head = self._head, b""
        with self.file() as file:
            file.seek(len(head))  # going on where the head ended, a remote file goes on with its answer
            data: bytes = head + file.read()
            return data

    def read_into(self, start: int, target: memoryview) -> int:
        """Fill `target` with what begins at `start`; return how many bytes there were."""
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
        """Bytes in the file."""
        with self.file() as file:
            return int(file.seek(0, 2))

    def close(self) -> None:
        """Close the file objects that nobody uses; reading again opens others."""
        while self._free:
            self._free.pop().close()

    def __getstate__(self) -> tuple[AbstractFileSystem, str, Any]:
        return self.fs, self.path, self._model

    def __setstate__(self, state: tuple[AbstractFileSystem, str, Any]) -> None:
        self.fs, self.path, self._model = state
        self._free = [] if self._model is None else [self._model]
        self._head = b""

    def __copy__(self) -> FileHandle:
        return self  # two that lend the same file objects would seek under each other

    def __dask_tokenize__(self) -> tuple[Any, ...]:
        return type(self).__name__, self.fs, self.path


def _reopens_itself(file: Any) -> bool:
    """Whether a copy of a file object is another one of the same content."""
    from fsspec.spec import AbstractBufferedFile

    return isinstance(file, AbstractBufferedFile)
