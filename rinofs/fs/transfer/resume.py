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
from rinofs.fs.transfer.download import PART_PREFIX, PART_SUFFIX, download, replacing, unfinished

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from fsspec.callbacks import Callback

    from rinofs.fs.transfer.pool import Stop
    from rinofs.http.content.content import Content
    from rinofs.http.session.session import HttpSession

RESUMABLE_SIZE = 8 * 1024 * 1024
"""Bytes from which on a download that broke off is kept; smaller ones are faster done again."""


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
    """Download a content to a local file, which is replaced when everything has arrived and was checked.

    Parameters
    ----------
    session, content, verify, callback, stop, connections
        As for `download`.
    target : path-like
        The file.
    resume : bool
        Whether to keep what arrives of a large content, in a file beside the target, if the download breaks
        off; and to continue with that. This needs the content's version and size, or nothing is kept.

    Raises
    ------
    OSError
        What `download` raises. If something was kept, a note on the error says how much.
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
    """Return how many bytes are kept of a download to a local file that broke off."""
    return sum(part.stat().st_size for part in _parts(Path(target)))


def kept_sizes(sizes: Mapping[str, int]) -> dict[str, int]:
    """Return how many bytes are kept of each of many downloads, where any are.

    Parameters
    ----------
    sizes : mapping of str to int
        The bytes of each content, by the local file that it is downloaded to.
    """
    large = {target: size for target, size in sizes.items() if size >= RESUMABLE_SIZE}
    kept = {target: min(kept_size(target), size) for target, size in large.items()}
    return {target: size for target, size in kept.items() if size}


def _parts(target: Path) -> list[Path]:
    return list(target.parent.glob(f"{PART_PREFIX}{_digest(target.name)}-*{PART_SUFFIX}"))


def _digest(text: str) -> str:
    return hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest()[:16]


def _part_of(target: Path, content: Content) -> Path | None:
    """Return where the bytes of this version are kept, after removing those of others."""
    if content.etag is None or content.size is None or content.size < RESUMABLE_SIZE or target.is_dir():
        return None
    version = _digest(f"{content.etag} {content.size}")
    part = target.with_name(f"{PART_PREFIX}{_digest(target.name)}-{version}{PART_SUFFIX}")
    for other in _parts(target):
        if other != part:
            other.unlink(missing_ok=True)
    return part


# filelock locks files that it opens itself. A partial file is locked through the descriptor by which it is
# written, which stays the same file when it gets the name of its target.
if sys.platform == "win32":
    import msvcrt

    def _try_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed, or return False where another process holds the lock."""
        try:
            msvcrt.locking(descriptor, msvcrt.LK_NBLCK, 1)
        except PermissionError:
            return False
        return True

else:
    import fcntl

    def _try_lock(descriptor: int) -> bool:
        """Lock an open file until it is closed, or return False where another process holds the lock."""
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            return False
        return True


@contextlib.contextmanager
def _opened_alone(part: Path) -> Iterator[IO[bytes] | None]:
    """Open a partial file for this download alone; gives None where another one is at it."""
    part.parent.mkdir(parents=True, exist_ok=True)

    def create(path: str, flags: int) -> int:
        return os.open(path, flags | os.O_CREAT, 0o666)

    with open(part, "r+b", opener=create) as file:
        try:
            # The other may have finished between our opening and locking; then this is its target now.
            alone = _try_lock(file.fileno()) and os.path.samestat(os.fstat(file.fileno()), part.stat())
        except OSError:
            alone = False  # it is gone, or a disk without locks: no resuming there
        yield file if alone else None


def _continued(fetch: Callable[..., None], size: int, part: Path, target: Path, callback: Callback) -> bool:
    """Complete a partial file and put it in place; returns False where another download is at it."""
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
    except FileNotFoundError:
        if not target.exists():  # else another process put the same content there
            raise
    return True


def _keep(part: Path, size: int, error: BaseException) -> None:
    """Keep a partial file if it can be continued, and have the error say so."""
    useless = isinstance(error, ContentMismatchError | ContentChangedError)
    kept = part.stat().st_size if part.exists() and not useless else 0
    if kept:
        error.add_note(f"{kept} of {size} bytes are kept: the same call with resume=True continues there")
    else:
        part.unlink(missing_ok=True)
