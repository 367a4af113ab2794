"""Resume interrupted downloads of the same version."""

from __future__ import annotations

import contextlib
import hashlib
import os
import sys
from functools import partial
from pathlib import Path
from typing import IO, TYPE_CHECKING

from rinofs.errors import ContentChangedError, ContentMismatchError
from rinofs.fs.transfer.download import PART_PREFIX, PART_SUFFIX, download, is_special, replacing, unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fsspec.callbacks import Callback

    from rinofs.fs.transfer.pool import Stop
    from rinofs.http.content.content import Content
    from rinofs.http.session.session import HttpSession

RESUMABLE_SIZE = 8 * 1024 * 1024
"""Minimum size of a content, in bytes, whose interrupted download is kept; others are faster to repeat."""


def download_to(
    session: HttpSession,
    content: Content,
    target: str | os.PathLike[str],
    *,
    verify: bool,
    callback: Callback,
    stop: Stop,
    connections: int,
    resume: bool,
) -> None:
    """Download a content to a local file, which is replaced only by a complete and verified download.

    Parameters
    ----------
    session, content, verify, callback, stop, connections
        As for `download`.
    target : path-like
        Target.
    resume : bool
        Whether to keep the received part of a large content beside the target if the download is interrupted,
        and to continue it the next time. Nothing is kept if the version or the size of the content is not
        known.

    Raises
    ------
    OSError
        As raised by `download`. If a partial file was kept, a note on the error gives its size.
    """
    fetch = partial(
        download, session, content, verify=verify, callback=callback, stop=stop, connections=connections
    )
    part = _part_of(Path(target), content) if resume else None
    if part is not None and _continued(fetch, content.size or 0, part, Path(target), callback):
        return
    with replacing(target) as file:
        fetch(file)


def kept_size(target: str | os.PathLike[str]) -> int:
    """Return how many bytes are kept of an interrupted download to a local file."""
    return sum(map(_size, _parts(Path(target))))


def kept_sizes(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return how many bytes are kept of each of several downloads, if any.

    Parameters
    ----------
    sizes : mapping of str to int
        Size of each content in bytes, by target file.
    """
    large = {target: size for target, size in sizes.items() if size >= RESUMABLE_SIZE}
    kept = {target: min(kept_size(target), size) for target, size in large.items()}
    return {target: size for target, size in kept.items() if size}


def _parts(target: Path) -> list[Path]:
    return list(target.parent.glob(f"{PART_PREFIX}{_digest(target.name)}-*{PART_SUFFIX}"))


def _size(part: Path) -> int:
    try:
        return part.stat().st_size
    except FileNotFoundError:  # another process has completed it meanwhile
        return 0


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _part_of(target: Path, content: Content) -> Path | None:
    """Return the path for the partial file of this version, after deleting those of other versions."""
    if content.etag is None or content.size is None or content.size < RESUMABLE_SIZE:
        return None
    if target.is_dir() or is_special(target):
        return None
    version = _digest(f"{content.etag} {content.size}")
    part = target.with_name(f"{PART_PREFIX}{_digest(target.name)}-{version}{PART_SUFFIX}")
    for other in _parts(target):
        if other != part:
            _remove_unused(other)
    return part


# filelock only locks files that it opens itself. A partial file is locked by the descriptor through which it
# is written, which remains valid when the file is renamed to its target.
if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed, or return False if another process holds the lock."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed, or return False if another process holds the lock."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


_NO_LINKS = getattr(os, "O_NOFOLLOW", 0)
"""The names of partial files are known in advance: a link that others put there must not lead elsewhere."""


def _open_existing(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_LINKS)


def _open_or_create(path: str, flags: int) -> int:
    return os.open(path, flags | _NO_LINKS | os.O_CREAT, 0o666)  # the target gets this mode


@contextlib.contextmanager
def _opened_alone(part: Path) -> Iterator[IO[bytes] | None]:
    """Open and lock a partial file; yields None if another process is using it, or if it is a link."""
    part.parent.mkdir(parents=True, exist_ok=True)
    try:
        file = open(part, "r+b", opener=_open_or_create)  # noqa: SIM115
    except OSError:
        if not part.is_symlink():
            raise
        yield None
        return
    with file:
        try:
            # The other process may have renamed the file to the target between our opening and locking it.
            found = os.fstat(file.fileno())
            alone = _try_lock(file.fileno()) and os.path.samestat(found, part.stat()) and found.st_nlink == 1
        except OSError:
            alone = False  # deleted meanwhile, or a disk without locks: do not resume
        yield file if alone else None


def _remove_unused(part: Path) -> None:
    """Delete a partial file, unless another thread or process is using it."""
    with contextlib.suppress(OSError), open(part, "r+b", opener=_open_existing) as file:
        if _try_lock(file.fileno()) and os.path.samestat(os.fstat(file.fileno()), part.stat()):
            part.unlink()


def _continued(fetch: Callable[..., None], size: int, part: Path, target: Path, callback: Callback) -> bool:
    """Complete a partial file and rename it to the target; returns False if others use or delete it."""
    try:
        with _opened_alone(part) as file, unfinished(part, resumable=True):
            if file is None:
                return False
            kept = min(os.fstat(file.fileno()).st_size, size)
            try:
                file.truncate(kept)
                fetch(file, kept=kept)
            except ContentMismatchError:
                if not kept:
                    raise
                callback.absolute_update(0)
                file.seek(0)
                file.truncate()
                fetch(file)
    except BaseException as error:
        _keep(part, size, error)
        raise
    try:
        part.replace(target)
    except FileNotFoundError:  # deleted, or renamed by another process: what the target is now is not known
        callback.absolute_update(0)
        return False
    return True


def _keep(part: Path, size: int, error: BaseException) -> None:
    """Keep a partial file if it can be resumed, and add a note to the error."""
    useless = isinstance(error, ContentMismatchError | ContentChangedError)
    kept = 0 if useless else _size(part)
    if kept:
        error.add_note(f"{kept} of {size} bytes are kept: the same call with resume=True continues there")
    else:
        _remove_unused(part)
