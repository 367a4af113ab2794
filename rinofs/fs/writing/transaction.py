"""Transactions: files are kept until the transaction ends, all of them in one temporary file."""

from __future__ import annotations

import io
import pickle
import shutil
import struct
import tempfile
import threading
import warnings
from functools import partial
from typing import IO, TYPE_CHECKING, Any, cast

from fsspec.transaction import Transaction

from rinofs.errors import NotWrittenWarning
from rinofs.fs.backend import Upload
from rinofs.fs.files.writer import SPOOLED_IN_MEMORY, RemoteWriter

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

_HEAD = struct.Struct("<QQ")

_NAMED = 20
"""Maximum number of files in a note; they are stored in the order in which they were closed."""


class _Slice(io.RawIOBase):
    """A section of a file, as a file."""

    def __init__(self, file: IO[bytes], start: int, size: int) -> None:
        super().__init__()
        self._file, self._start, self._size, self._position = file, start, size, 0

    def readable(self) -> bool:
        return True

    def seekable(self) -> bool:
        return True

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        base = {io.SEEK_SET: 0, io.SEEK_CUR: self._position, io.SEEK_END: self._size}[whence]
        self._position = max(0, base + offset)
        return self._position

    def tell(self) -> int:
        return self._position

    def readinto(self, buffer: Any) -> int:
        self._file.seek(self._start + self._position)
        data = self._file.read(max(0, min(len(buffer), self._size - self._position)))
        buffer[: len(data)] = data
        self._position += len(data)
        return len(data)


class StagedFiles:
    """The files of a transaction; closed files are kept in one temporary file, one after the other.

    Files that append keep their own content: only the service knows what it follows. Replaces the list that
    fsspec uses.
    """

    def __init__(self) -> None:
        self._file: IO[bytes] | None = None
        self._lock = threading.Lock()
        self._open: dict[int, RemoteWriter] = {}
        self._appending: list[RemoteWriter] = []
        self._count = 0
        self._end = 0

    @property
    def _staged(self) -> IO[bytes]:
        if self._file is None:
            self._file = tempfile.TemporaryFile()  # noqa: SIM115 - closed by `close`
        return self._file

    def __len__(self) -> int:
        return self._count + len(self._open)

    def append(self, writer: RemoteWriter) -> None:
        """Add an open file; called by fsspec."""
        self._open[id(writer)] = writer
        writer.stage = partial(self._stage, writer)

    def _stage(self, writer: RemoteWriter) -> None:
        head = pickle.dumps((writer.path, writer.full_name, writer.storing))
        appends = writer.storing is None
        spool, size = (io.BytesIO(), 0) if appends else writer.written()
        with self._lock:
            # What a failed write has left there is written over.
            self._staged.seek(self._end)
            self._staged.write(_HEAD.pack(len(head), size) + head)
            shutil.copyfileobj(spool, self._staged)
            self._end = self._staged.tell()
            self._count += 1
            del self._open[id(writer)]
            if appends:
                self._appending.append(writer)
        if not appends:
            writer.discard()

    def _entries(self) -> Iterator[tuple[str, dict[str, Any] | None, str, int, int]]:
        position = 0
        for _ in range(self._count):
            self._staged.seek(position)
            head, size = _HEAD.unpack(self._staged.read(_HEAD.size))
            path, url, storing = pickle.loads(self._staged.read(head))  # noqa: S301 - written above
            start = position + _HEAD.size + head
            yield path, storing, url, start, size
            position = start + size

    def commit(self, send: Callable[[Upload], None]) -> None:
        """Store all files, in the order in which they were closed.

        Raises
        ------
        Exception
            The first error; a note on it lists the files that were stored before.
        """
        stored, appending = 0, iter(self._appending)
        try:
            for path, storing, _, start, size in self._entries():
                if storing is None:
                    next(appending).commit()
                else:
                    send(Upload(path, self._content(start, size), size, **storing))
                stored += 1
        except BaseException as error:
            self._tell(error, stored)
            raise
        for writer in self._open.values():
            if not writer.closed:
                message = (
                    f"{writer.full_name} was not closed before the transaction ended: nothing was written"
                )
                warnings.warn(message, NotWrittenWarning, stacklevel=4)

    def _content(self, start: int, size: int) -> IO[bytes] | bytes:
        if size > SPOOLED_IN_MEMORY:
            return cast("IO[bytes]", io.BufferedReader(_Slice(self._staged, start, size)))
        self._staged.seek(start)
        return self._staged.read(size)

    def _tell(self, error: BaseException, stored: int) -> None:
        urls = [url for _, _, url, _, _ in self._entries()]
        before = (
            f"stored before that: {_listed(urls[:stored])}" if stored else "nothing was stored before that"
        )
        error.add_note(f"the transaction failed at {urls[stored]}")
        error.add_note(f"{before}; not stored: {_listed(urls[stored:])}")

    def close(self) -> None:
        """Discard the files that are left."""
        for writer in (*self._open.values(), *self._appending):
            writer.discard()
        self._open.clear()
        self._appending.clear()
        self._count = self._end = 0
        if self._file is not None:
            self._file.close()
            self._file = None


def _listed(urls: list[str]) -> str:
    more = f" and {len(urls) - _NAMED} more" if len(urls) > _NAMED else ""
    return ", ".join(urls[:_NAMED]) + more


class StagedTransaction(Transaction):  # type: ignore[misc]
    """A transaction with one file descriptor and little memory for any number of files."""

    def __init__(self, fs: Any, **options: Any) -> None:
        super().__init__(fs, **options)
        self.fs: Any = fs
        self.files = StagedFiles()

    def start(self) -> None:
        """Start: files that are opened from now on are kept."""
        self.files.close()
        self.fs._intrans = True

    def complete(self, commit: bool = True) -> None:
        """End the transaction; store or discard the files."""
        fs = self.fs
        try:
            if commit:
                self.files.commit(fs._backend.send)
        finally:
            self.files.close()
            fs._intrans, fs._transaction, self.fs = False, None, None
