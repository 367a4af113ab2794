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
        Where its filesystem has it.
    kind : str
        ``file``, ``directory``, or ``other`` for what cannot be copied.
    size : int or None
        Bytes of content, where they are known.
    digests : mapping
        Digests of the content, where the service tells them, by what they are.
    """

    path: str
    kind: str
    size: int | None = None
    digests: Mapping[str, str] = field(default_factory=dict)


@dataclass
class FileTree:
    """All that is below a folder.

    Attributes
    ----------
    entries : dict of str to TreeEntry
        By their path below it.
    passed_over : set of str
        The folders in which there is something that was excluded.
    errors : dict of str to Exception
        What cannot be looked into or copied, by path.
    """

    entries: dict[str, TreeEntry] = field(default_factory=dict)
    passed_over: set[str] = field(default_factory=set)
    errors: dict[str, Exception] = field(default_factory=dict)

    def pass_over(self, relative: str) -> None:
        """Take note that something is there which is not looked at."""
        self.passed_over.update(str(above) for above in PurePosixPath(relative).parents)


class Exclusions:
    """Tells what is left alone, by patterns.

    Parameters
    ----------
    patterns : sequence of str
        One without a slash is for names at any depth, others are for paths below the top. What is below an
        excluded folder is excluded too.
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
    """Look at all that is below a folder of this machine.

    Parameters
    ----------
    top : str
        The folder.
    exclusions : Exclusions
        What is passed over.
    is_source : bool
        Whether it is to be copied: then links are followed to files, and what cannot be copied is an error.
        Else the links themselves count, which are replaced or deleted, and nothing behind them.
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
    """What makes one tree equal to another.

    Attributes
    ----------
    new, changed : list of str
        Files to copy: that the target lacks, and whose content there is another one.
    folders : list of str
        Folders that the target lacks.
    extra : list of str
        What only the target has, and may be deleted; each folder after what is in it.
    late : set of str
        What cannot be copied before something else of its name was deleted.
    unchanged : int
        Files that are the same.
    errors : dict of str to Exception
        What cannot be made equal, by its path at the source.
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
    """Find out what makes the target equal to the source.

    Parameters
    ----------
    source, target : FileTree
        The trees.
    same : callable
        Tells whether two files have the same content.
    names : LocalNames, optional
        The names that the target can hold, where it is on this machine.
    concurrency : int
        Files that are compared at a time.
    delete : bool
        Whether what only the target has is to be deleted, so that it is not in the way.
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
    """Decides what becomes of each file and folder, those above it first."""

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
        """Decide what becomes of one."""
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
        """Return what the target has beyond the source, each folder after what is in it."""
        wanted = {self._key(relative) for relative in self._source}
        extra = [
            one for one in self._target.entries if self._key(one) not in wanted or one in self._in_the_way
        ]
        return [one for one in reversed(_in_order(extra)) if one not in self._target.passed_over]


def _in_order(paths: Iterable[str]) -> list[str]:
    return sorted(paths, key=lambda path: path.split("/"))
