"""Copy files between any two filesystems, with their own get, put and copy."""

from __future__ import annotations

import secrets
import tempfile
from dataclasses import dataclass
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK, Callback
from fsspec.implementations.local import LocalFileSystem

from rinofs.fs.filesystem import RemoteFileSystem
from rinofs.fs.transfer.download import PART_PREFIX, PART_SUFFIX, is_special, unfinished
from rinofs.fs.transfer.pool import FileErrors, Stop, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fsspec import AbstractFileSystem

    from rinofs.fs.transfer.pool import OnError

WORKERS = 8
"""Number of concurrent copies for filesystems that copy one file at a time."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A file to copy from one filesystem to another.

    Attributes
    ----------
    source, target : str
        Paths in the two filesystems.
    size : int
        Size in bytes, for the progress display.
    """

    source: str
    target: str
    size: int = 0


def copy_between(
    source: AbstractFileSystem,
    target: AbstractFileSystem,
    copies: Sequence[Transfer],
    *,
    callback: Callback = DEFAULT_CALLBACK,
    on_error: OnError = "raise",
    resume: bool = False,
    sidecars: bool = False,
    attributes: Mapping[str, Any] | None = None,
) -> None:
    """Copy files from one filesystem to another, or within one.

    For Rinocloud and repovizz2, `get` and `put` receive the whole list, so small files share requests and
    large files use several connections; within one service, the server copies. Other filesystems copy one
    file at a time. A local file is replaced only when the whole content has arrived.

    Parameters
    ----------
    source, target : AbstractFileSystem
        Source and target filesystem.
    copies : sequence of Transfer
        Files to copy.
    callback : Callback
        Its branches receive the progress of each file in bytes; no progress is reported if the server copies.
    on_error : str or callable
        ``raise``, ``omit``, or a function that is called with the source path and the error of each failed
        file.
    resume : bool
        Whether to keep interrupted downloads and continue them.
    sidecars : bool
        Whether to read and write the metadata of local files in sidecar files.
    attributes : mapping, optional
        ``metadata`` and ``tags`` for each file that is uploaded to Rinocloud.
    """
    sources, targets = [copy.source for copy in copies], [copy.target for copy in copies]
    extra = {"sidecars": True} if sidecars else {}
    if not copies:
        return
    if isinstance(source, RemoteFileSystem) and isinstance(target, LocalFileSystem):
        source.get(sources, targets, callback=callback, resume=resume, on_error=on_error, **extra)
    elif isinstance(source, LocalFileSystem) and isinstance(target, RemoteFileSystem):
        given = {**extra, **(attributes or {})}
        target.put(sources, targets, callback=callback, on_error=on_error, **given)
    elif source is target and isinstance(source, RemoteFileSystem):
        source.copy(sources, targets, on_error=on_error)
    else:
        _one_by_one(source, target, copies, callback, FileErrors(on_error))


class _Stoppable(Callback):  # type: ignore[misc]
    """The callback of one file, which cancels its transfer when the whole copy was cancelled."""

    def __init__(self, callback: Callback, stop: Stop) -> None:
        super().__init__()
        self._callback = callback
        self._stop = stop

    def relative_update(self, inc: int = 1) -> None:
        self._stop.check()
        self.value += inc
        self._callback.relative_update(inc)

    def absolute_update(self, value: int) -> None:
        self.relative_update(value - self.value)


def _one_by_one(
    source: AbstractFileSystem,
    target: AbstractFileSystem,
    copies: Sequence[Transfer],
    callback: Callback,
    errors: FileErrors,
) -> None:
    stop = Stop()
    copy_one = _way(source, target)

    def work(copy: Transfer) -> None:
        with errors.about(copy.source):
            child = _Stoppable(callback.branched(copy.source, copy.target), stop)
            copy_one(source, target, copy, child)
            child.absolute_update(copy.size)

    run(work, copies, WORKERS, stop)


def _way(
    source: AbstractFileSystem, target: AbstractFileSystem
) -> Callable[[AbstractFileSystem, AbstractFileSystem, Transfer, Callback], None]:
    if isinstance(target, LocalFileSystem):
        return _get
    if isinstance(source, LocalFileSystem):
        return _put
    return _copy if source is target else _copy_through_file


def _get(source: AbstractFileSystem, _: AbstractFileSystem, copy: Transfer, callback: Callback) -> None:
    target = Path(copy.target)
    if is_special(target):
        source.get_file(copy.source, copy.target, callback=callback)
        return
    part = target.with_name(f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}")
    try:
        with unfinished(part):
            source.get_file(copy.source, str(part), callback=callback)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _put(_: AbstractFileSystem, target: AbstractFileSystem, copy: Transfer, callback: Callback) -> None:
    target.put_file(copy.source, copy.target, callback=callback)


def _copy(source: AbstractFileSystem, _: AbstractFileSystem, copy: Transfer, __: Callback) -> None:
    source.cp_file(copy.source, copy.target)


def _copy_through_file(
    source: AbstractFileSystem, target: AbstractFileSystem, copy: Transfer, callback: Callback
) -> None:
    # Through a temporary file: some filesystems publish a half-written file when an error ends the writing.
    with tempfile.TemporaryDirectory(prefix="rinofs-") as folder:
        spooled = str(Path(folder) / "content")
        source.get_file(copy.source, spooled)
        target.put_file(spooled, copy.target, callback=callback)
