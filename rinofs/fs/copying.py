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
from rinofs.fs.transfer.download import PART_PREFIX, PART_SUFFIX, unfinished
from rinofs.fs.transfer.pool import FileErrors, Stop, run

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fsspec import AbstractFileSystem

    from rinofs.fs.transfer.pool import OnError

WORKERS = 8
"""Files that are copied at a time where a filesystem copies one by one."""


@dataclass(frozen=True, slots=True)
class Transfer:
    """A file to copy from one filesystem to another.

    Attributes
    ----------
    source, target : str
        The paths in the two filesystems.
    size : int
        Bytes, for the progress.
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

    Rinocloud and repovizz2 get whole lists, so that small files share requests and large ones have several
    connections; within one of them, the server copies. Files of others are copied one by one. A local file is
    replaced when all of it has arrived.

    Parameters
    ----------
    source, target : AbstractFileSystem
        From where to where.
    copies : sequence of Transfer
        The files.
    callback : Callback
        Its branches are told of the bytes of each file; it is told of none where the server copies.
    on_error : str or callable
        ``raise``, ``omit``, or a function of the source path and the error of each file that fails.
    resume : bool
        Whether downloads that broke off are kept and continued.
    sidecars : bool
        Whether local files have their metadata in files beside them.
    attributes : mapping, optional
        ``metadata`` and ``tags`` to store with each file of an upload to Rinocloud.
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
    """The callback of one file, which ends its transfer where the work was given up."""

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
    # Through a file: not every filesystem forgets a half-written file when an error ends the writing.
    with tempfile.TemporaryDirectory(prefix="rinofs-") as folder:
        spooled = str(Path(folder) / "content")
        source.get_file(copy.source, spooled)
        target.put_file(spooled, copy.target, callback=callback)
