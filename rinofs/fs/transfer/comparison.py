"""Compare two trees of files: missing, different and extra files."""

from __future__ import annotations

import errno
import fnmatch
import os
import re
import stat
from dataclasses import dataclass, field
from pathlib import PurePosixPath
from typing import TYPE_CHECKING

from fsspec.utils import glob_translate

from rinofs.fs.transfer.download import PART_PREFIX, PART_SUFFIX
from rinofs.fs.transfer.pool import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rinofs.fs.transfer.local_names import LocalNames

FILE, FOLDER, OTHER = "file", "directory", "other"


@dataclass(frozen=True, slots=True)
class TreeEntry:
    """A file or folder of a tree.

    Attributes
    ----------
    path : str
        Path in its filesystem.
    kind : str
        ``file``, ``directory``, or ``other`` for objects that cannot be copied.
    size : int or None
        Size in bytes, if known.
    digests : mapping
        Digests of the content that the service reports, by name.
    """

    path: str
    kind: str
    size: int | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FileTree:
    """Everything below a folder.

    Attributes
    ----------
    entries : dict of str to TreeEntry
        Entries by relative path.
    passed_over : set of str
        Folders that contain something excluded.
    errors : dict of str to Exception
        Errors by path: what cannot be read or copied.
    """

    entries: dict[str, TreeEntry] = field(default_factory=dict)
    passed_over: set[str] = field(default_factory=set)
    errors: dict[str, Exception] = field(default_factory=dict)

    def pass_over(self, relative: str) -> None:
        """Record that an entry is excluded."""
        self.passed_over.update(str(above) for above in PurePosixPath(relative).parents)


class Exclusions:
    """Patterns of what to exclude.

    Parameters
    ----------
    patterns : sequence of str
        A pattern without a slash matches names at any depth, others match paths below the top. Everything
        below an excluded folder is excluded too.
    """

    def __init__(self, patterns: Sequence[str]) -> None:
        bare = [pattern.rstrip("/") for pattern in patterns]
        names = [fnmatch.translate(pattern) for pattern in bare if "/" not in pattern]
        paths = [f"(?:{glob_translate(pattern.lstrip('/'))})" for pattern in bare if "/" in pattern]
        self._name = re.compile("|".join(names) or "(?!)")
        self._path = re.compile("|".join(paths) or "(?!)")
        self._known: dict[str, bool] = {"": False}

    def __contains__(self, relative: str) -> bool:
        if relative not in self._known:
            above, _, name = relative.rpartition("/")
            matches = self._name.match(name) or self._path.match(relative)
            self._known[relative] = matches is not None or above in self
        return self._known[relative]


def scan_local(top: str, exclusions: Exclusions, *, is_source: bool) -> FileTree:
    """List everything below a local folder.

    Parameters
    ----------
    top : str
        Folder.
    exclusions : Exclusions
        What to leave out.
    is_source : bool
        Whether the tree is the source. If so, links are followed to files, and anything that cannot be copied
        is an error. Otherwise links are entries of their own, which can be replaced or deleted but are never
        followed.
    """
    tree, left = FileTree(), [("", top)]
    while left:
        relative, folder = left.pop()
        try:
            with os.scandir(folder) as found:
                children = sorted(found, key=lambda child: child.name)
        except OSError as error:
            tree.errors[folder] = error
            continue
        for child in children:
            below = f"{relative}/{child.name}" if relative else child.name
            if below in exclusions or (is_source and _is_part(child.name)):
                tree.pass_over(below)
                continue
            entry = tree.entries[below] = _local_entry(child, tree.errors, is_source=is_source)
            if entry.kind == FOLDER:
                left.append((below, child.path))
    return tree


def _is_part(name: str) -> bool:
    return name.startswith(PART_PREFIX) and name.endswith(PART_SUFFIX)


def _local_entry(child: os.DirEntry[str], errors: dict[str, Exception], *, is_source: bool) -> TreeEntry:
    path = child.path.replace(os.sep, "/")
    try:
        is_link = child.is_symlink()
        about = child.stat()
    except OSError as error:
        if is_source:
            errors[path] = error
        return TreeEntry(path, OTHER)
    if stat.S_ISREG(about.st_mode):
        return TreeEntry(path, FILE, about.st_size)
    if stat.S_ISDIR(about.st_mode) and not is_link:
        return TreeEntry(path, FOLDER)
    if is_source:
        what = "a link to a folder is not followed" if is_link else "not a regular file"
        errors[path] = OSError(errno.EINVAL, what, path)
    return TreeEntry(path, OTHER)


@dataclass
class Comparison:
    """The changes that make one tree equal to another.

    Attributes
    ----------
    new, changed : list of str
        Files to copy: missing from the target, or with different content there.
    folders : list of str
        Folders that are missing from the target.
    extra : list of str
        What only the target has and may be deleted; each folder after its contents.
    late : set of str
        What can be copied only after something else with its name was deleted.
    unchanged : int
        Number of files that are equal.
    errors : dict of str to Exception
        What cannot be made equal, by source path.
    """

    new: list[str] = field(default_factory=list)
    changed: list[str] = field(default_factory=list)
    folders: list[str] = field(default_factory=list)
    extra: list[str] = field(default_factory=list)
    late: set[str] = field(default_factory=set)
    unchanged: int = 0
    errors: dict[str, Exception] = field(default_factory=dict)


def compare_trees(
    source: FileTree,
    target: FileTree,
    same: Callable[[TreeEntry, TreeEntry], bool],
    names: LocalNames | None,
    concurrency: int,
    *,
    delete: bool,
) -> Comparison:
    """Compare two trees.

    Parameters
    ----------
    source, target : FileTree
        Trees to compare.
    same : callable
        Returns whether two files have the same content.
    names : LocalNames, optional
        Names that the target allows, if it is local.
    concurrency : int
        Maximum number of files compared at once.
    delete : bool
        Whether what only the target has will be deleted, and therefore does not block new names.
    """
    comparer = _Comparer(source, target, names, delete=delete)
    for relative in _in_order(source.entries):
        comparer.place(relative)
    result, pairs = comparer.result, comparer.both
    equal = run(lambda pair: same(pair[1], pair[2]), pairs, concurrency)
    result.unchanged = sum(equal)
    result.changed = [pair[0] for pair, is_equal in zip(pairs, equal, strict=True) if not is_equal]
    result.extra = comparer.extra() if delete else []
    return result


class _Comparer:
    """Decides what to do with each file and folder, parents first."""

    def __init__(self, source: FileTree, target: FileTree, names: LocalNames | None, *, delete: bool) -> None:
        self.result = Comparison(errors={**source.errors, **target.errors})
        self.both: list[tuple[str, TreeEntry, TreeEntry]] = []
        self._source = source.entries
        self._target = target
        self._names = names
        self._key = names.rules.key if names else str
        self._delete = delete
        self._at_target = {self._key(relative): relative for relative in target.entries}
        self._skipped: set[str] = set()
        self._in_the_way: set[str] = set()

    def place(self, relative: str) -> None:
        """Decide what to do with one entry."""
        entry, above = self._source[relative], relative.rpartition("/")[0]
        if entry.kind == OTHER or above in self._skipped:
            self._skipped.add(relative)
        elif self._names and self._names.path(relative) != relative:
            self._skip(
                relative, errno.EINVAL, "this machine cannot hold the name, or another one is the same"
            )
        elif above in self.result.late:
            self.result.late.add(relative)
            self._add(relative, None)
        else:
            self._match(relative, self._at_target.get(self._key(relative)))

    def _match(self, relative: str, at_target: str | None) -> None:
        found = None if at_target is None else self._target.entries[at_target]
        if at_target is None or found is None or found.kind == self._source[relative].kind:
            self._add(relative, found)
        elif self._delete:
            self.result.late.add(relative)
            self._in_the_way.add(at_target)
            self._add(relative, None)
        else:
            what = "a folder" if found.kind == FOLDER else "something else"
            self._skip(relative, errno.EEXIST, f"{what} has this name at the target, and is not deleted")

    def _add(self, relative: str, found: TreeEntry | None) -> None:
        entry = self._source[relative]
        if entry.kind == FOLDER:
            self.result.folders += [] if found else [relative]
        elif found is None:
            self.result.new.append(relative)
        else:
            self.both.append((relative, entry, found))

    def _skip(self, relative: str, number: int, problem: str) -> None:
        path = self._source[relative].path
        self._skipped.add(relative)
        self.result.errors[path] = OSError(number, problem, path)

    def extra(self) -> list[str]:
        """Return what only the target has, each folder after its contents."""
        wanted = {self._key(relative) for relative in self._source}
        extra = [
            one for one in self._target.entries if self._key(one) not in wanted or one in self._in_the_way
        ]
        return [one for one in reversed(_in_order(extra)) if one not in self._target.passed_over]


def _in_order(paths: Iterable[str]) -> list[str]:
    return sorted(paths, key=lambda path: path.split("/"))
