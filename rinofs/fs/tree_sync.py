"""Synchronise one tree of files with another: compare digests, and copy only what differs."""

from __future__ import annotations

import contextlib
import errno
import hashlib
import io
import os
from dataclasses import dataclass, field
from functools import partial
from pathlib import Path
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.core import url_to_fs
from fsspec.implementations.local import LocalFileSystem

from rinofs.fs.copying import WORKERS, Transfer, copy_between
from rinofs.fs.filesystem import RemoteFileSystem
from rinofs.fs.transfer.comparison import (
    FOLDER,
    Comparison,
    Exclusions,
    FileTree,
    TreeEntry,
    compare_trees,
    scan_local,
)
from rinofs.fs.transfer.local_names import LocalNames, NameRules
from rinofs.fs.transfer.pool import FileErrors
from rinofs.protocol.digests import BLAKE3, DIGESTS, SHA256, EtagHasher, best_digest, new_hasher

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from fsspec import AbstractFileSystem
    from fsspec.callbacks import Callback

    from rinofs.fs.transfer.pool import OnError

_PIECE = 1024 * 1024


def sync(
    source: str | os.PathLike[str],
    target: str | os.PathLike[str],
    *,
    delete: bool = False,
    dry_run: bool = False,
    exclude: Sequence[str] = (),
    on_error: OnError = "raise",
    callback: Callback = DEFAULT_CALLBACK,
    source_options: Mapping[str, Any] | None = None,
    target_options: Mapping[str, Any] | None = None,
) -> SyncPlan:
    """Make the files below one folder equal to those below another, copying only differences.

    Files are compared by size and then by digest. No content is downloaded if the service reports a digest.
    Metadata is not compared. An interrupted sync continues where it stopped when it is repeated.

    Parameters
    ----------
    source, target : str or path-like
        Folders, as URLs or local paths.
    delete : bool
        Whether to delete what only the target has, after everything was copied without an error.
    dry_run : bool
        Whether to only return the plan.
    exclude : sequence of str
        Patterns to exclude on both sides: ``*.tmp`` matches names at any depth, ``raw/*.bin`` matches paths.
    on_error : str or callable
        ``raise`` stops with the first error; ``omit`` and ``return`` continue with the other files; a
        function is called with the source path and the error of each failed file. The result always contains
        the errors.
    callback : Callback
        Its branches receive the progress of each file in bytes.
    source_options, target_options : mapping, optional
        Options of the filesystems, such as ``token``.

    Returns
    -------
    SyncPlan
        What was done or, in a dry run, would be done.

    Raises
    ------
    FileNotFoundError, NotADirectoryError
        If the source does not exist, or one of the two is a file.
    ValueError
        If one of the two is inside the other.
    """
    ends = [(source, source_options), (target, target_options)]
    sides = [SyncSide(*url_to_fs(os.fspath(url), **(options or {}))) for url, options in ends]
    plan = plan_sync(*sides, delete=delete, exclude=exclude)
    if not dry_run:
        plan.carry_out(on_error=on_error, callback=callback)
    return plan


@dataclass(frozen=True, slots=True)
class SyncSide:
    """One of the two folders of a sync.

    Attributes
    ----------
    fs : AbstractFileSystem
        Filesystem of the folder.
    path : str
        Path in the filesystem.
    """

    fs: AbstractFileSystem
    path: str

    @property
    def is_local(self) -> bool:
        """Whether it is a local folder."""
        return isinstance(self.fs, LocalFileSystem)

    def at(self, relative: str) -> str:
        """Return the path of an entry, given its path relative to the folder."""
        top = self.path.rstrip("/")
        return f"{top}/{relative}" if top or self.path else relative

    def is_there(self) -> bool:
        """Return whether the folder exists; raises NotADirectoryError if it is a file."""
        if isinstance(self.fs, RemoteFileSystem):
            self.fs.invalidate_cache(self.path)  # others may have renamed it since it was listed
        try:
            kind = self.fs.info(self.path)["type"]
        except FileNotFoundError:
            return False
        if kind != "directory":
            raise self._not_a_folder()
        return True

    def _not_a_folder(self) -> NotADirectoryError:
        return NotADirectoryError(errno.ENOTDIR, "is a file: sync needs folders", self.path)

    def scan(self, exclusions: Exclusions, *, is_source: bool) -> FileTree:
        """List everything below the folder; raises FileNotFoundError if a source disappears meanwhile."""
        if self.is_local:
            return scan_local(self.path, exclusions, is_source=is_source)
        tree, start = FileTree(), self.at("")
        for info in self._infos(is_source=is_source):
            path = str(info["name"]).rstrip("/")
            relative = path.removeprefix(start).lstrip("/")
            if not relative or path == self.path:
                if is_source and info["type"] != "directory":
                    raise self._not_a_folder()
                continue
            if relative in exclusions:
                tree.pass_over(relative)
                continue
            digests = self.fs.digests_of(info) if isinstance(self.fs, RemoteFileSystem) else {}
            tree.entries[relative] = TreeEntry(path, info["type"], info.get("size"), digests)
        return tree

    def _infos(self, *, is_source: bool) -> list[dict[str, Any]]:
        if isinstance(self.fs, RemoteFileSystem):
            self.fs.invalidate_cache(self.path)  # stale listings would lack what others added
            # A source that is gone is not an empty one, for which all of the target would be deleted.
            on_error = "raise" if is_source else "omit"
            infos = self.fs.find(self.path, withdirs=True, detail=True, sizes=False, on_error=on_error)
            return list(infos.values())
        found = []
        for _, folders, files in self.fs.walk(self.path, detail=True, on_error="raise"):
            found += [*folders.values(), *files.values()]
        return found

    def digest(self, entry: TreeEntry, kind: str) -> str:
        """Return a digest of a file: the reported one, or one computed from its content."""
        if kind in entry.digests:
            return entry.digests[kind]
        hasher = _HASHERS[kind]()
        if isinstance(self.fs, RemoteFileSystem):
            self.fs.get_file(entry.path, _HashingFile(hasher))
        else:
            with self.fs.open(entry.path, "rb") as file:
                while piece := file.read(_PIECE):
                    hasher.update(piece)
        return hasher.etag() if isinstance(hasher, EtagHasher) else str(hasher.hexdigest())


_HASHERS: dict[str, Callable[[], Any]] = {
    **{name: partial(new_hasher, name) for name in DIGESTS},
    "sha1": lambda: hashlib.sha1(usedforsecurity=False),
    "etag": EtagHasher,
}
"""Digests that services report, preferred ones first."""


class _HashingFile(io.RawIOBase):
    """A file that computes the digest of what is written to it."""

    def __init__(self, hasher: Any) -> None:
        super().__init__()
        self._hasher = hasher

    def writable(self) -> bool:
        return True

    def write(self, data: Any, /) -> int:
        self._hasher.update(data)
        return memoryview(data).nbytes


def plan_sync(
    source: SyncSide, target: SyncSide, *, delete: bool = False, exclude: Sequence[str] = ()
) -> SyncPlan:
    """Compare two folders; the parameters are those of `sync`."""
    if source.fs is target.fs or (source.is_local and target.is_local):
        _check_apart(source.path.rstrip("/"), target.path.rstrip("/"))
    if not source.is_there():
        raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), source.path)
    exclusions = Exclusions(exclude)
    there = source.scan(exclusions, is_source=True)
    here = target.scan(exclusions, is_source=False) if target.is_there() else FileTree()
    names = LocalNames(NameRules.of(Path(target.path))) if target.is_local else None
    same = _ContentComparer(source, target)
    comparison = compare_trees(there, here, same, names, WORKERS, delete=delete)
    return SyncPlan(source, target, comparison, there.entries, here.entries)


def _check_apart(source: str, target: str) -> None:
    if (
        f"{target}/".startswith(f"{source}/")
        or f"{source}/".startswith(f"{target}/")
        or not (source and target)
    ):
        raise ValueError(f"{source or '/'} and {target or '/'}: one of them is in the other")


class _ContentComparer:
    """Compares the contents of two files."""

    def __init__(self, source: SyncSide, target: SyncSide) -> None:
        self._source = source
        self._target = target

    def __call__(self, one: TreeEntry, other: TreeEntry) -> bool:
        if one.size is not None and other.size is not None and one.size != other.size:
            return False
        kind = self._kind(one, other)
        try:
            return self._source.digest(one, kind) == self._target.digest(other, kind)
        except OSError:
            return False  # copying it will raise the error

    @staticmethod
    def _kind(one: TreeEntry, other: TreeEntry) -> str:
        """Return the digest for which the fewest contents must be read: known to both sides, or to one."""
        known = [[kind for kind in _HASHERS if kind in entry.digests] for entry in (one, other)]
        both = [kind for kind in known[0] if kind in known[1]]
        usable = [kind for kind in known[1] + known[0] if kind != BLAKE3 or best_digest([BLAKE3])]
        return (both + usable + [best_digest(DIGESTS) or SHA256])[0]


@dataclass
class SyncPlan:
    """The changes that make one folder equal to another.

    Attributes
    ----------
    source, target : SyncSide
        Folders.
    comparison : Comparison
        Differences, by relative path.
    source_entries, target_entries : dict
        Entries by relative path.
    deleted : int
        Number of deleted files and folders.
    errors : dict of str to Exception
        Errors by path: what could not be read, copied or deleted.
    """

    source: SyncSide
    target: SyncSide
    comparison: Comparison
    source_entries: dict[str, TreeEntry]
    target_entries: dict[str, TreeEntry]
    deleted: int = 0
    errors: dict[str, Exception] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.errors.update(self.comparison.errors)

    @property
    def copied(self) -> list[str]:
        """Files to copy: new, or with different content at the target."""
        return sorted(self.comparison.new + self.comparison.changed)

    @property
    def unchanged(self) -> int:
        """Number of equal files."""
        return self.comparison.unchanged

    @property
    def size(self) -> int:
        """Size of the files to copy in bytes, as far as known."""
        return sum(self.source_entries[relative].size or 0 for relative in self.copied)

    def carry_out(self, *, on_error: OnError = "raise", callback: Callback = DEFAULT_CALLBACK) -> None:
        """Copy, and then delete if there was no error; the parameters are those of `sync`."""
        outer = FileErrors(on_error)

        def fail(path: str, error: Exception) -> None:
            self.errors[path] = error
            if outer.raised:
                raise error
            outer.add(path, error)

        for path, error in list(self.errors.items()):
            fail(path, error)
        late = self.comparison.late
        self._copy([one for one in self.copied if one not in late], fail, callback, late=False)
        if self.errors:
            return
        self._delete(fail)
        if late and not self.errors:
            self._copy([one for one in self.copied if one in late], fail, callback, late=True)

    def _copy(
        self,
        relatives: list[str],
        fail: Callable[[str, Exception], None],
        callback: Callback,
        *,
        late: bool,
    ) -> None:
        files = [self.source_entries[relative] for relative in relatives]
        folders = [one for one in self.comparison.folders if (one in self.comparison.late) == late]
        if not late and self.target.is_local:
            folders = ["", *folders]
        if not self.target.is_local:
            # A service creates the parent folders of a file.
            folders = [one for one in folders if not any(file.startswith(f"{one}/") for file in relatives)]
        for folder in folders:
            try:
                self.target.fs.makedirs(self.target.at(folder), exist_ok=True)
            except OSError as error:
                fail(self.source.at(folder), error)
        copies = [
            Transfer(file.path, self.target.at(relative), file.size or 0)
            for relative, file in zip(relatives, files, strict=True)
        ]
        copy_between(self.source.fs, self.target.fs, copies, callback=callback, on_error=fail, resume=True)

    def _delete(self, fail: Callable[[str, Exception], None]) -> None:
        extra = self.comparison.extra
        files = [one for one in extra if self.target_entries[one].kind != FOLDER]
        try:
            self._delete_files([self.target_entries[one].path for one in files])
        except OSError as error:
            fail(self.target.path, error)
            return
        self.deleted += len(files)
        for folder in [one for one in extra if self.target_entries[one].kind == FOLDER]:
            path = self.target_entries[folder].path
            try:
                # Only if it is empty: keep what others have stored there meanwhile.
                self.target.fs.rmdir(path)
                self.deleted += 1
            except FileNotFoundError:
                pass
            except OSError as error:
                fail(path, error)

    def _delete_files(self, paths: list[str]) -> None:
        if isinstance(self.target.fs, RemoteFileSystem):
            if paths:
                self.target.fs.rm(paths)
            return
        for path in paths:
            with contextlib.suppress(FileNotFoundError):
                if self.target.is_local:
                    Path(path).unlink()  # removes a link, never its target
                else:
                    self.target.fs.rm_file(path)
