"""One file onto this machine: complete or not at all, and continued where it broke off."""

from __future__ import annotations

import contextlib
import hashlib
import os
import re
import secrets
from pathlib import Path
from typing import TYPE_CHECKING, BinaryIO

from rinofs.cli.errors import CommandError, describe
from rinofs.cli.output import human
from rinofs.cli.progress import CancelledError
from rinofs.errors import ContentChangedError, ContentMismatchError
from rinofs.fs.filesystem import RemoteFileSystem
from rinofs.locks import try_lock
from rinofs.protocol.digests import EtagHasher

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.cli.locations import Info
    from rinofs.cli.places import FileCopy
    from rinofs.cli.progress import FileTicks

__all__ = ["download"]

RESUMABLE_SIZE = 8 * 1024 * 1024
"""Bytes from which on a download that broke off is kept; smaller ones are faster done again."""

_PIECE = 1024 * 1024
_PREFIX = ".rinofs-"
_ETAG = re.compile(r"[0-9a-f]{32}-[0-9]+")
_SUFFIX = ".part"


def download(copy: FileCopy, ticks: FileTicks, *, resume: bool) -> None:
    """Copy one file to a path of this machine, in the place of what is there.

    The target is replaced when everything has arrived; until then the bytes are in a file beside it. One
    that names its version in full is kept if the download breaks off, and continued by the next one.

    Parameters
    ----------
    copy : FileCopy
        What to copy; the target is local.
    ticks : FileTicks
        Told of the bytes that arrive.
    resume : bool
        Whether to continue, and to keep what can be continued.

    Raises
    ------
    OSError
        Whatever the filesystems raise. The target is as it was.
    CommandError
        If the download broke off and what arrived was kept.
    """
    target = Path(copy.target.path)
    if not target.parent.is_dir():
        raise CommandError("no such folder", str(target.parent), "make it first")
    if target.is_dir():
        raise CommandError("is a folder", copy.target.url, "a file cannot take its place")
    version = _version(copy.info) if resume and copy.size >= RESUMABLE_SIZE else None
    if version is None or not _continued(copy, target, _part(target, version), ticks):
        _in_one_go(copy, target, ticks)


def _in_one_go(copy: FileCopy, target: Path, ticks: FileTicks) -> None:
    part = target.with_name(f"{_PREFIX}{secrets.token_hex(12)}{_SUFFIX}")
    try:
        with ticks.progress.unfinished(part, worth_keeping=False):
            if isinstance(copy.source.fs, RemoteFileSystem):
                with part.open("xb") as file:
                    copy.source.fs.get_file(copy.source.path, file, callback=ticks)
            else:
                copy.source.fs.get_file(copy.source.path, str(part), callback=ticks)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _version(info: Info) -> str | None:
    for key in ("sha256", "etag", "ETag"):
        if info.get(key):
            return f"{key}={info[key]} size={info['size']}"
    return None


def _part(target: Path, version: str) -> Path:
    """Return where a version's bytes are kept, after removing those of other versions."""
    names = [
        hashlib.sha256(text.encode("utf-8", "surrogatepass")).hexdigest() for text in (target.name, version)
    ]
    part = target.with_name(f"{_PREFIX}{names[0][:16]}-{names[1][:16]}{_SUFFIX}")
    for other in target.parent.glob(f"{_PREFIX}{names[0][:16]}-*{_SUFFIX}"):
        if other != part:
            other.unlink(missing_ok=True)
    return part


@contextlib.contextmanager
def _opened_alone(part: Path) -> Iterator[BinaryIO | None]:
    """Open a partial file for this process alone; gives None where another one is at it."""
    descriptor = os.open(part, os.O_RDWR | os.O_CREAT | getattr(os, "O_BINARY", 0), 0o666)
    with os.fdopen(descriptor, "r+b") as file:
        try:
            # The other may have finished between our opening and locking; then this is its target now.
            alone = try_lock(descriptor) and os.path.samestat(os.fstat(descriptor), part.stat())
        except FileNotFoundError:
            alone = False
        except OSError:
            alone = False  # a disk without locks: no resuming there
        yield file if alone else None


def _continued(copy: FileCopy, target: Path, part: Path, ticks: FileTicks) -> bool:
    """Complete a partial file and put it in place; returns False where another process is at it."""
    try:
        with _opened_alone(part) as file, ticks.progress.unfinished(part, worth_keeping=True):
            if file is None:
                return False
            _complete(copy, file, ticks)
    except BaseException as error:
        wrong = isinstance(error, ContentMismatchError)
        kept = part.stat().st_size if part.exists() and not wrong else 0
        if not kept:
            part.unlink(missing_ok=True)
        if kept and isinstance(error, Exception) and not isinstance(error, CancelledError):
            hint = f"{human(kept)} of {human(copy.size)} are kept: the same command continues there"
            raise CommandError(describe(error, copy.source.url), None, hint) from error
        raise
    try:
        part.replace(target)
    except FileNotFoundError:
        if not target.exists():  # else another process put the same content there
            raise
    return True


def _complete(copy: FileCopy, file: BinaryIO, ticks: FileTicks) -> None:
    """Fetch what is missing; where the whole turns out wrong, fetch it anew."""
    kept = file.seek(0, os.SEEK_END)
    if kept > copy.size:
        file.truncate(copy.size)
    if kept and _rest_fits(copy, file, ticks):
        return
    if kept:
        file.seek(0)
        file.truncate()
        ticks.absolute_update(0)
    if isinstance(copy.source.fs, RemoteFileSystem):
        copy.source.fs.get_file(copy.source.path, file, callback=ticks)  # checks the content itself
        fits = file.tell() == copy.size
    else:
        fits = _rest_fits(copy, file, ticks)
    if not fits:
        raise ContentMismatchError("the content is not what was announced; nothing was kept", copy.source.url)


def _rest_fits(copy: FileCopy, file: BinaryIO, ticks: FileTicks) -> bool:
    """Read what is there, fetch the rest, and return whether the whole is right."""
    check = _Check(copy)
    file.seek(0)
    while piece := file.read(_PIECE):
        check.update(piece)
        ticks.relative_update(len(piece))
    if check.size < copy.size:
        with copy.source.fs.open(copy.source.path, "rb") as remote:
            _require_version(copy, getattr(remote, "details", None))
            remote.seek(check.size)
            while piece := remote.read(_PIECE):
                file.write(piece)
                check.update(piece)
                ticks.relative_update(len(piece))
    return check.passed()


def _require_version(copy: FileCopy, opened: object) -> None:
    if isinstance(opened, dict) and _version({**copy.info, **opened}) != _version(copy.info):
        raise ContentChangedError(
            "the content was replaced meanwhile; run the command again", copy.source.url
        )


class _Check:
    """Compare content that passes by with what is known of it: the size, and where it is ours the digest."""

    def __init__(self, copy: FileCopy) -> None:
        self.size = 0
        self._size = copy.size
        ours = isinstance(copy.source.fs, RemoteFileSystem)
        self._sha256 = copy.info.get("sha256") if ours else None
        etag = str(copy.info.get("etag")) if ours and not self._sha256 else ""
        self._etag = etag if _ETAG.fullmatch(etag) else None
        self._hash = hashlib.sha256() if self._sha256 else EtagHasher() if self._etag else None

    def update(self, piece: bytes) -> None:
        self.size += len(piece)
        if self._hash is not None:
            self._hash.update(piece)

    def passed(self) -> bool:
        if self.size != self._size:
            return False
        if isinstance(self._hash, EtagHasher):
            return self._hash.etag() == self._etag
        return self._hash is None or self._hash.hexdigest() == self._sha256
