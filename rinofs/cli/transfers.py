"""Copying the files of a plan: by the filesystems' own get, put and copy, as many at once as they can."""

from __future__ import annotations

import secrets
import tempfile
from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import LocalFileSystem

from rinofs.cli.errors import CommandError, Problems, describe
from rinofs.cli.output import human
from rinofs.cli.progress import FileProgress
from rinofs.fs.filesystem import RemoteFileSystem
from rinofs.fs.transfer.download import PART_PREFIX, PART_SUFFIX, unfinished
from rinofs.fs.transfer.pool import FileErrors, Stop, run
from rinofs.fs.transfer.resume import kept_size

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fsspec import AbstractFileSystem

    from rinofs.cli.places import FileCopy
    from rinofs.cli.progress import Progress

__all__ = ["transfer_files"]

WORKERS = 8
"""Files that are copied at a time where a filesystem copies one by one."""


def transfer_files(
    files: Sequence[FileCopy],
    progress: Progress,
    problems: Problems,
    *,
    resume: bool,
    sidecars: bool,
    attributes: Mapping[str, Any],
) -> list[FileCopy]:
    """Copy files, each as its filesystems do that best; what fails is reported, and the rest goes on.

    Rinocloud and repovizz2 get whole lists, so that small files share requests and large ones have several
    connections; files of others are copied one by one. A local file is replaced when all of it has arrived.

    Parameters
    ----------
    files : sequence of FileCopy
        What goes where.
    progress : Progress
        Is told of the bytes.
    problems : Problems
        Where failures are reported.
    resume : bool
        Whether downloads that broke off are kept and continued.
    sidecars : bool
        Whether local files have their metadata in files beside them.
    attributes : mapping
        ``metadata`` and ``tags`` to store with each uploaded file.

    Returns
    -------
    list of FileCopy
        What was copied.
    """
    ready: list[FileCopy] = []
    for copy in files:
        try:
            if copy.target.is_local:
                _check_target(copy)
        except CommandError as error:
            with progress.aside():
                problems.report(error)
        else:
            ready.append(copy)
    done: list[FileCopy] = []
    for (source, target), group in groupby(ready, key=lambda copy: (copy.source.fs, copy.target.fs)):
        copies = _Group(source, target, list(group), progress, problems)
        copies.transfer(resume=resume, sidecars=sidecars, attributes=attributes)
        done += copies.done
    return done


def _check_target(copy: FileCopy) -> None:
    target = Path(copy.target.path)
    if not target.parent.is_dir():
        raise CommandError("no such folder", str(target.parent), "create it first")
    if target.is_dir():
        raise CommandError("is a folder", copy.target.url, "a file cannot replace it")


class _Group:
    """Files that go from one filesystem to another."""

    def __init__(
        self,
        source: AbstractFileSystem,
        target: AbstractFileSystem,
        copies: list[FileCopy],
        progress: Progress,
        problems: Problems,
    ) -> None:
        self._source = source
        self._target = target
        self._copies = copies
        self._by_source = {copy.source.path: copy for copy in copies}
        self._progress = progress
        self._problems = problems
        self._failed: set[str] = set()

    @property
    def done(self) -> list[FileCopy]:
        """What was copied."""
        return [copy for copy in self._copies if copy.source.path not in self._failed]

    def transfer(self, *, resume: bool, sidecars: bool, attributes: Mapping[str, Any]) -> None:
        """Copy them all."""
        ours = RemoteFileSystem
        extra = {"sidecars": True} if sidecars else {}
        sources = [copy.source.path for copy in self._copies]
        targets = [copy.target.path for copy in self._copies]
        if isinstance(self._source, ours) and isinstance(self._target, LocalFileSystem):
            self._source.get(
                sources, targets, callback=self._progress, resume=resume, on_error=self._fail, **extra
            )
        elif isinstance(self._source, LocalFileSystem) and isinstance(self._target, ours):
            self._target.put(
                sources, targets, callback=self._progress, on_error=self._fail, **extra, **attributes
            )
        elif self._source is self._target and isinstance(self._source, ours):
            self._source.copy(sources, targets, on_error=self._fail)
            self._progress.add(sum(copy.size for copy in self.done))
        else:
            self._one_by_one()

    def _fail(self, path: str, error: Exception) -> None:
        copy = self._by_source[path]
        self._failed.add(path)
        line = describe(error, copy.source.url)
        if copy.target.is_local and (kept := kept_size(copy.target.path)):
            line += f"; {human(kept)} of {human(copy.size)} are kept: the same command continues there"
        with self._progress.aside():
            self._problems.report(line)

    def _one_by_one(self) -> None:
        stop, errors = Stop(), FileErrors(self._fail)
        copy_one = self._how()

        def work(copy: FileCopy) -> None:
            with errors.about(copy.source.path):
                callback = FileProgress(self._progress, stop)
                copy_one(copy, callback)
                callback.absolute_update(copy.size)

        run(work, self._copies, WORKERS, stop)

    def _how(self) -> Callable[[FileCopy, FileProgress], None]:
        if isinstance(self._target, LocalFileSystem):
            return _get
        if isinstance(self._source, LocalFileSystem):
            return _put
        return _copy if self._source is self._target else _copy_through_file


def _get(copy: FileCopy, callback: FileProgress) -> None:
    target = Path(copy.target.path)
    part = target.with_name(f"{PART_PREFIX}{secrets.token_hex(8)}{PART_SUFFIX}")
    try:
        with unfinished(part):
            copy.source.fs.get_file(copy.source.path, str(part), callback=callback)
        part.replace(target)
    finally:
        part.unlink(missing_ok=True)


def _put(copy: FileCopy, callback: FileProgress) -> None:
    copy.target.fs.put_file(copy.source.path, copy.target.path, callback=callback)


def _copy(copy: FileCopy, _: FileProgress) -> None:
    copy.source.fs.cp_file(copy.source.path, copy.target.path)


def _copy_through_file(copy: FileCopy, callback: FileProgress) -> None:
    # Through a file: not every filesystem forgets a half-written file when an error ends the writing.
    with tempfile.TemporaryDirectory(prefix="rinofs-") as folder:
        spooled = str(Path(folder) / "content")
        copy.source.fs.get_file(copy.source.path, spooled)
        copy.target.fs.put_file(spooled, copy.target.path, callback=callback)
