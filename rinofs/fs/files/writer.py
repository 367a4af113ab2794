"""The file object for writing: buffered in a temporary file, uploaded on close unless an error occurred."""

from __future__ import annotations

import contextlib
import errno
import io
import sys
import tempfile
import warnings
from enum import Enum
from typing import IO, TYPE_CHECKING, Any, NoReturn, Protocol

from rinofs.errors import NotWrittenWarning

if TYPE_CHECKING:
    from collections.abc import Callable
    from types import TracebackType

    from _typeshed import ReadableBuffer

__all__ = [
    "AppendingWriter",
    "CompressedWriter",
    "NotWrittenWarning",
    "OpenMode",
    "RemoteWriter",
    "TextWriter",
    "compressed",
]

SPOOLED_IN_MEMORY = 4 * 1024 * 1024
"""Bytes of a file being written that are kept in memory; larger files go to a temporary file."""


class OpenMode(Enum):
    """Why a file is opened for writing."""

    READ = "rb"
    REPLACE = "wb"
    APPEND = "ab"
    CREATE = "xb"

    @classmethod
    def parse(cls, mode: str) -> OpenMode:
        """Parse a binary mode.

        Raises
        ------
        ValueError
            If it is another mode, such as one for both reading and writing.
        """
        letters = mode.replace("b", "")
        for known in cls:
            if known.value[0] == letters:
                return known
        raise ValueError(f"invalid mode {mode!r}; use rb, wb, ab or xb, or r, w, a or x")


class Send(Protocol):
    """Uploads a content."""

    def __call__(self, source: IO[bytes], size: int) -> None:
        """Upload `size` bytes of a file, from its first byte on."""
        ...


class RemoteWriter(io.BufferedIOBase):
    """A file that is written to a service when it is closed without an error.

    Until then, written data can be read again and overwritten. The data is discarded if an exception leaves
    the ``with`` block, if an exception is being handled on close that was not being handled on open, if a
    write failed, or if the file is never closed. This also works through text wrappers and compressors, which
    close the file without passing on the exception.

    Parameters
    ----------
    path : str
        Path in the filesystem.
    url : str
        URL of the file, for messages.
    mode : str
        ``wb``, ``ab`` or ``xb``.
    send : callable
        Uploads the content.
    autocommit : bool
        Whether closing the file uploads it; otherwise `commit` does.

    Attributes
    ----------
    stage : callable or None
        Called on close, to have the file stored when a transaction ends; None outside a transaction.
    storing : dict or None
        Fields of the `Upload` other than path and content; None if only `send` knows them.
    """

    storing: dict[str, Any] | None = None
    stage: Callable[[], None] | None = None

    def __init__(self, path: str, url: str, mode: str, send: Send, *, autocommit: bool) -> None:
        super().__init__()
        self.path = path
        self.full_name = url
        self.mode = mode
        self.autocommit = autocommit
        self._send = send
        self._failed = False
        self._damage: OSError | None = None
        self._spool: IO[bytes] | None = tempfile.SpooledTemporaryFile(SPOOLED_IN_MEMORY)  # noqa: SIM115
        self._handled_at_opening = sys.exc_info()[1]

    def __repr__(self) -> str:
        return f"<{type(self).__name__} {self.full_name}, {self.mode}>"

    def _file(self) -> IO[bytes]:
        if self.closed or self._spool is None:
            raise ValueError(f"I/O operation on closed file {self.full_name}")
        return self._spool

    def readable(self) -> bool:
        """Return True: written data can be read again."""
        return True

    def writable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True: nothing is uploaded before the file is closed."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write bytes at the current position; returns their number."""
        file = self._file()
        with memoryview(data) as view:  # raises for text, which changes nothing
            try:
                return self._put(file, view)
            except BaseException as error:
                self.damage(error)
                raise

    def _put(self, file: IO[bytes], view: memoryview) -> int:
        return file.write(view)

    def read(self, size: int | None = -1) -> bytes:
        """Read written data from the current position."""
        return self._file().read(-1 if size is None else size)

    read1 = read

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Move the current position; returns it."""
        # SpooledTemporaryFile.seek returns nothing on Python 3.11 while it is in memory.
        self._file().seek(offset, whence)
        return self._file().tell()

    def tell(self) -> int:
        """Return the current position."""
        return self._file().tell()

    def truncate(self, size: int | None = None) -> int:
        """Cut or extend the file to `size`, by default the current position; returns the size."""
        position = self.tell()
        size = position if size is None else size
        file = self._file()
        try:
            file.truncate(size)
            missing = size - self.seek(0, io.SEEK_END)
            if missing > 0:  # in memory; a file on disk has been extended already
                file.write(bytes(missing))
            self.seek(position)
        except BaseException as error:
            self.damage(error)
            raise
        return size

    def fail(self) -> None:
        """Mark as failed; upload nothing. For wrappers that see the exception."""
        self._failed = True

    def damage(self, error: BaseException) -> None:
        """Mark as incomplete after a failed write: closing uploads nothing, and raises an error."""
        code = getattr(error, "errno", None) or errno.EIO
        reason = f"nothing was stored, because a write failed ({str(error) or type(error).__name__})"
        self._damage = self._damage or OSError(code, f"{reason}; write the file again", self.full_name)

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is None:
            self._finish()
        else:
            self.discard()

    def close(self) -> None:
        """Upload the written data, unless an exception is being handled."""
        if self.closed:
            return
        error = sys.exc_info()[1]
        if error is None or error is self._handled_at_opening or self._failed:
            self._finish()
            return
        self.discard()
        if not _is_leaving_a_with_block():
            warnings.warn(
                f"{self.full_name} was not written, because it was closed while {type(error).__name__} was "
                "being handled; open it in its own `with` statement to write it anyway",
                NotWrittenWarning,
                stacklevel=2,
            )

    def __reduce__(self) -> NoReturn:
        raise TypeError(f"{self.full_name} is open for writing and cannot be pickled")

    def _finish(self) -> None:
        if self.closed:
            return
        if self._failed:
            self.discard()
        elif self._damage is not None:
            self.discard()
            raise self._damage
        elif self.autocommit:
            try:
                self.commit()
            finally:
                self.discard()
        else:
            try:
                if self.stage is not None:
                    self.stage()
            except BaseException:
                self.discard()
                raise
            super().close()

    def written(self) -> tuple[IO[bytes], int]:
        """Return the written data as a file at its beginning, and its size in bytes."""
        spool = self._file() if self._spool is None else self._spool
        size = spool.seek(0, io.SEEK_END) or spool.tell()
        spool.seek(0)
        return spool, size

    def commit(self) -> None:
        """Upload the written data; called by a transaction when it succeeds."""
        if self._spool is None:
            return
        spool, size = self.written()
        self._send(spool, size)
        self._spool = None
        spool.close()

    def discard(self) -> None:
        """Discard the written data and close the file."""
        spool, self._spool = self._spool, None
        if spool is not None:
            with contextlib.suppress(OSError):  # raised if its last bytes do not fit on the disk
                spool.close()
        super().close()

    def __del__(self) -> None:
        # Do not upload here: it could block, or fail unseen, at any time the garbage collector runs.
        if getattr(self, "_spool", None) is not None and not self.closed:
            self.discard()
            warnings.warn(
                f"{self.full_name} was never closed: nothing was written", NotWrittenWarning, stacklevel=2
            )


class AppendingWriter(RemoteWriter):
    """A file that appends to the content that existed when it was opened.

    Attributes
    ----------
    kept : int
        Size in bytes of the content that existed.
    rewritten : bool
        Whether that content was truncated.
    """

    kept = 0
    rewritten = False

    def _put(self, file: IO[bytes], view: memoryview) -> int:
        file.seek(0, io.SEEK_END)  # as POSIX defines it for append mode
        return super()._put(file, view)

    def truncate(self, size: int | None = None) -> int:
        """Cut the file at `size`, by default at the current position; returns the size."""
        size = super().truncate(size)
        self.rewritten = self.rewritten or size < self.kept
        return size


def _is_leaving_a_with_block() -> bool:
    """Return whether an ``__exit__`` is on the stack; if so, the exception will reach the user."""
    frame = sys._getframe(1)
    while frame.f_back is not None:
        if frame.f_code.co_name == "__exit__":
            return True
        frame = frame.f_back
    return False


class TextWriter(io.TextIOWrapper):
    """A text file over a `RemoteWriter`, which an exception in the ``with`` block marks as failed."""

    def __init__(self, file: Any, fail: Callable[[], None], **options: Any) -> None:
        super().__init__(file, **options)
        self._fail = fail

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self._fail()
        super().__exit__(kind, error, trace)

    def __del__(self) -> None:
        # The discarded file underneath raises ValueError because it was not closed.
        with contextlib.suppress(ValueError):
            if not self.closed:
                self.detach()


class CompressedWriter(io.BufferedIOBase):
    """A compressor over a `RemoteWriter`; closing it closes both, which compressors alone do not do.

    Parameters
    ----------
    compressor : file
        Compresses and writes to `target`.
    target : RemoteWriter
        File to write to.
    """

    def __init__(self, compressor: Any, target: RemoteWriter) -> None:
        super().__init__()
        self._compressor = compressor
        self._target = target

    def writable(self) -> bool:
        """Return True."""
        return True

    def write(self, data: ReadableBuffer) -> int:
        """Write bytes; returns their number before compression."""
        with memoryview(data) as view:  # raises for text, which changes nothing
            try:
                written: int | None = self._compressor.write(view)
            except BaseException as error:
                self._target.damage(error)
                raise
            return view.nbytes if written is None else written

    def flush(self) -> None:
        """Do nothing: data is uploaded only when the file is closed."""

    def tell(self) -> int:
        """Return the number of bytes written, before compression."""
        return int(self._compressor.tell())

    def fail(self) -> None:
        """Mark as failed; upload nothing."""
        self._target.fail()

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        if kind is not None:
            self.fail()
        self.close()

    def close(self) -> None:
        """Finish compressing, and upload."""
        if self.closed:
            return
        try:
            self._compressor.close()
        except BaseException:
            self.fail()
            raise
        finally:
            super().close()
            self._target.close()

    def __del__(self) -> None:
        self._target.fail()
        if not self.closed:
            super().close()


def compressed(writer: RemoteWriter, path: str, compression: str) -> Any:
    """Return a file that compresses into a writer, with one of fsspec's compressions or ``infer``."""
    from fsspec.compression import compr
    from fsspec.core import get_compression

    try:
        name = get_compression(path, compression)
        return writer if name is None else CompressedWriter(compr[name](writer, mode="w"), writer)
    except BaseException:
        writer.discard()
        raise
