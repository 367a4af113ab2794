"""Download a whole content to a file, verified, all or nothing."""

from __future__ import annotations

import atexit
import contextlib
import errno
import io
import secrets
import shutil
import tempfile
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rinofs.fs.transfer.connections import fetch_rest
from rinofs.fs.transfer.splitting import Split
from rinofs.http.content.content import open_content
from rinofs.http.content.verify import Verifier, copy_to

if TYPE_CHECKING:
    import os
    from collections.abc import Iterator

    from fsspec.callbacks import Callback

    from rinofs.fs.transfer.pool import Stop
    from rinofs.http.content.content import Content
    from rinofs.http.session.session import HttpSession

PART_PREFIX = ".rinofs-"
PART_SUFFIX = ".part"


def download(
    session: HttpSession,
    content: Content,
    file: IO[bytes],
    *,
    verify: bool,
    callback: Callback,
    stop: Stop,
    connections: int = 1,
    kept: int = 0,
) -> None:
    """Download a whole content to an open file, in constant memory.

    Parameters
    ----------
    session : HttpSession
        Sends the request.
    content : Content
        Content to download.
    file : binary file
        Target.
    verify : bool
        Whether to verify the content.
    callback : Callback
        Receives size and progress in bytes.
    stop : Stop
        Cancels the download.
    connections : int
        Number of connections, 0 for up to four if a single connection is slow. Other than 1 only if `file` is
        a local file that was opened by path and that nothing else uses.
    kept : int
        Bytes of the content that the file contains already; only the rest is downloaded. The file must be
        readable then.

    Raises
    ------
    ContentMismatchError
        If the content does not match the service's digest. The written data must not be used.
    """
    with open_content(session, content, kept) as stream:
        callback.set_size(stream.size)
        size = content.size if stream.size is None else stream.size
        verifier = Verifier.for_response(
            stream.headers if verify else {},
            (content.etag or stream.etag) if verify else None,
            size,
            label=content.label,
            passing=True,
            # Not other objects, which may belong to the thread of the caller.
            write_thread=isinstance(file, io.BufferedWriter | io.BufferedRandom),
        )

        whole = None if connections == 1 else stream.in_parts
        split = None if whole is None else Split(stream.session, (whole.size or 0) - kept, connections)

        def keep_going(count: int) -> bool:
            stop.check()
            callback.relative_update(count)
            return split is None or not split.begins(count)

        try:
            if kept:
                callback.relative_update(kept)
                _feed(verifier, file, kept, stop)
            copy_to(stream, partial(write_all, file), verifier, keep_going)
            if whole is not None and split is not None and split.count > 1:
                file.flush()
                fetch_rest(
                    stream.session,
                    whole,
                    stream,
                    split.count,
                    Path(file.name),
                    verifier,
                    progress=callback.relative_update,
                    stop=stop,
                )
            stop.check()
        finally:
            verifier.abandon()


def write_all(file: IO[bytes], data: bytes | memoryview) -> None:
    """Write all bytes, also to a raw file, such as a pipe, which may take only some of them at once.

    Raises
    ------
    BlockingIOError
        If it takes none of them at the moment.
    """
    view = memoryview(data)
    while len(view):
        count: int | None = file.write(view)
        if not count and (count == 0 or isinstance(file, io.RawIOBase)):
            raise BlockingIOError(errno.EAGAIN, "the file to write to takes no data; open it as blocking")
        view = view[len(view) if count is None else count :]


def _feed(verifier: Verifier, file: IO[bytes], count: int, stop: Stop) -> None:
    """Verify the bytes that a file contains already."""
    file.seek(0)
    while count:
        stop.check()
        buffer = verifier.buffer()
        got = file.readinto(buffer[:count])  # type: ignore[attr-defined]
        if not got:
            raise OSError("the file was truncated while it was being read")
        verifier.feed(buffer[:got])
        count -= got


@contextlib.contextmanager
def replacing(path: str | os.PathLike[str]) -> Iterator[IO[bytes]]:
    """Open a temporary file that replaces `path` on success and is deleted on failure.

    A device or a pipe is not replaced: the complete content is written to it.

    Parameters
    ----------
    path : path-like
        Local file; its folder is created if missing.

    Yields
    ------
    binary file
        Temporary file.
    """
    target = Path(path)
    if is_special(target):
        with tempfile.NamedTemporaryFile(prefix=PART_PREFIX, suffix=PART_SUFFIX) as file:
            yield file
            file.seek(0)
            with target.open("wb") as device:
                shutil.copyfileobj(file, device)
        return
    temporary = target.with_name(f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}")
    try:
        with unfinished(temporary), _created(temporary) as file:
            yield file
        try:
            temporary.replace(target)
        except IsADirectoryError:
            raise FileExistsError(
                errno.EEXIST, "a folder with this name already exists", str(target)
            ) from None
    except BaseException:
        temporary.unlink(missing_ok=True)
        raise


def is_special(path: Path) -> bool:
    """Return whether a path leads to a device, a pipe or a socket, such as ``/dev/null``."""
    return path.exists() and not (path.is_file() or path.is_dir())


def _created(path: Path) -> IO[bytes]:
    try:
        return path.open("xb")
    except FileNotFoundError:
        path.parent.mkdir(parents=True, exist_ok=True)
        return path.open("xb")


_unfinished: dict[Path, bool] = {}


@contextlib.contextmanager
def unfinished(path: Path, *, resumable: bool = False) -> Iterator[None]:
    """Delete a file at exit if a thread that could not be stopped is still writing to it.

    Parameters
    ----------
    path : Path
        File.
    resumable : bool
        Whether to keep the file if it is not empty.
    """
    _unfinished[path] = resumable
    try:
        yield
    finally:
        _unfinished.pop(path, None)


@atexit.register
def _remove_unfinished() -> None:
    for path, resumable in list(_unfinished.items()):
        with contextlib.suppress(OSError):
            if not (resumable and path.stat().st_size):
                path.unlink()
