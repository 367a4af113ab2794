"""Copy the files of a plan with the filesystems' own get, put and copy."""

from __future__ import annotations

from itertools import groupby
from pathlib import Path
from typing import TYPE_CHECKING, Any

from rinofs.cli.errors import CommandError, Problems, describe
from rinofs.cli.output import human
from rinofs.fs.copying import Transfer, copy_between
from rinofs.fs.filesystem import RemoteFileSystem
from rinofs.fs.transfer.resume import kept_size, kept_sizes

if TYPE_CHECKING:
    from collections.abc import Mapping, Sequence

    from fsspec import AbstractFileSystem

    from rinofs.cli.places import FileCopy
    from rinofs.cli.progress import Progress

__all__ = ["transfer_files"]


def transfer_files(
    files: Sequence[FileCopy],
    progress: Progress,
    problems: Problems,
    *,
    resume: bool,
    sidecars: bool,
    attributes: Mapping[str, Any],
) -> list[FileCopy]:
    """Copy files; failures are reported, and the other files are copied.

    Rinocloud and repovizz2 receive whole lists, so small files share requests and large ones use several
    connections; other filesystems copy one file at a time. A local file is replaced only when complete.

    Parameters
    ----------
    files : sequence of FileCopy
        Sources and targets.
    progress : Progress
        Counts the bytes.
    problems : Problems
        Reports failures.
    resume : bool
        Whether to keep interrupted downloads and continue them.
    sidecars : bool
        Whether to read and write the metadata of local files in sidecar files.
    attributes : mapping
        ``metadata`` and ``tags`` to store with each uploaded file.

    Returns
    -------
    list of FileCopy
        Files that were copied.
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
    """Files with the same source and target filesystem."""

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
        """Files that were copied."""
        return [copy for copy in self._copies if copy.source.path not in self._failed]

    def transfer(self, *, resume: bool, sidecars: bool, attributes: Mapping[str, Any]) -> None:
        """Copy all files."""
        if resume:
            local = {copy.target.path: copy.size for copy in self._copies if copy.target.is_local}
            self._progress.begin_at(kept_sizes(local))
        copies = [Transfer(copy.source.path, copy.target.path, copy.size) for copy in self._copies]
        copy_between(
            self._source,
            self._target,
            copies,
            callback=self._progress,
            on_error=self._fail,
            resume=resume,
            sidecars=sidecars,
            attributes=attributes,
        )
        if self._source is self._target and isinstance(self._source, RemoteFileSystem):
            self._progress.add(sum(copy.size for copy in self.done))

    def _fail(self, path: str, error: Exception) -> None:
        copy = self._by_source[path]
        self._failed.add(path)
        line = describe(error, copy.source.url)
        if copy.target.is_local and (kept := kept_size(copy.target.path)):
            line += f"; {human(kept)} of {human(copy.size)} are kept: the same command continues there"
        with self._progress.aside():
            self._problems.report(line)
