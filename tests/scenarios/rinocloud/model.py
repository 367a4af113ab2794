"""What a Rinocloud filesystem is to do, as a dict of paths."""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass, field
from fnmatch import fnmatchcase
from typing import Any, TypeAlias

Names: TypeAlias = tuple[str, ...]
"""The names on the way from the top level; empty for the top level itself."""


def path_of(names: Names) -> str:
    return "/".join(f"@{name}" if re.fullmatch("@+[0-9]+", name) else name for name in names)


@dataclass(frozen=True)
class Version:
    data: bytes
    metadata: dict[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()


@dataclass
class File:
    """Versions, the oldest first, each with the number of its id: ids grow."""

    versions: list[Version]
    numbers: list[int]

    @property
    def current(self) -> Version:
        return self.versions[-1]

    def store(self, version: Version, number: int) -> None:
        """Take a content; the very same one makes no new version."""
        if version.data == self.current.data:
            self.versions[-1] = version
        else:
            self.versions.append(version)
            self.numbers.append(number)

    def join_versions(self, other: File) -> None:
        """Have the versions of another file, in whose place this one comes, as earlier ones."""
        *mine, last = zip(self.numbers, self.versions, strict=True)
        earlier = sorted([*mine, *zip(other.numbers, other.versions, strict=True)], key=lambda pair: pair[0])
        self.numbers, self.versions = map(list, zip(*earlier, last, strict=True))


class Folder:
    pass


def _is_text(data: bytes) -> bool:
    try:
        data.decode()
    except UnicodeDecodeError:
        return False
    return True


class Model:
    """The files and folders; every method does what the filesystem's does, or raises the builtin error.

    Parameters
    ----------
    extended : bool
        Whether the server moves a file onto another one, else its versions are stored again; and whether
        what is appended makes a version, else text grows in place.
    """

    def __init__(self, *, extended: bool) -> None:
        self.nodes: dict[Names, File | Folder] = {(): Folder()}
        self._extended = extended
        self._last = 0

    def _number(self) -> int:
        self._last += 1
        return self._last

    # Looking

    def has(self, names: Names) -> bool:
        return names in self.nodes

    def is_folder(self, names: Names) -> bool:
        return isinstance(self.nodes.get(names), Folder)

    def is_file(self, names: Names) -> bool:
        return isinstance(self.nodes.get(names), File)

    def node(self, names: Names) -> File | Folder:
        if names not in self.nodes:
            raise FileNotFoundError(names)
        return self.nodes[names]

    def file(self, names: Names) -> File:
        node = self.node(names)
        if isinstance(node, Folder):
            raise IsADirectoryError(names)
        return node

    def below(self, start: Names) -> list[Names]:
        """Return what is anywhere below, without the start."""
        count = len(start)
        return sorted(names for names in self.nodes if len(names) > count and names[:count] == start)

    def children(self, folder: Names) -> list[Names]:
        if self.is_file(folder):
            raise NotADirectoryError(folder)
        self.node(folder)
        return [names for names in self.below(folder) if len(names) == len(folder) + 1]

    def find(self, start: Names, maxdepth: int | None, withdirs: bool) -> list[Names]:
        if not self.has(start):
            return []
        if self.is_file(start):
            return [start]
        deepest = None if maxdepth is None else len(start) + maxdepth
        found = [names for names in self.below(start) if deepest is None or len(names) <= deepest]
        if withdirs:
            return ([start] if start else []) + found
        return [names for names in found if self.is_file(names)]

    def glob(self, folder: Names, patterns: tuple[str, ...]) -> list[Names]:
        """Return what matches below a folder, one pattern a level."""
        return [
            names
            for names in self.below(folder)
            if len(names) == len(folder) + len(patterns)
            and all(
                fnmatchcase(path_of((name,)), pattern)
                for name, pattern in zip(names[len(folder) :], patterns, strict=True)
            )
        ]

    def size(self, start: Names) -> int:
        return sum(len(self.file(names).current.data) for names in self.find(start, None, withdirs=False))

    # Changing

    def _refuse_file_above(self, names: Names) -> None:
        if any(self.is_file(names[:depth]) for depth in range(1, len(names))):
            raise NotADirectoryError(names)

    def _make_above(self, names: Names) -> None:
        self._refuse_file_above(names)
        for depth in range(1, len(names)):
            self.nodes.setdefault(names[:depth], Folder())

    def write(self, names: Names, version: Version, *, exclusive: bool = False) -> None:
        self._refuse_file_above(names)
        there = self.nodes.get(names)
        if exclusive and there is not None:
            raise IsADirectoryError(names) if not names else FileExistsError(names)
        if isinstance(there, Folder):
            raise IsADirectoryError(names)
        self._make_above(names)
        if there is None:
            self.nodes[names] = File([version], [self._number()])
        else:
            there.store(version, self._number())

    def append(self, names: Names, data: bytes) -> None:
        before = self.file(names).current if self.has(names) else Version(b"")
        after = Version(before.data + data, before.metadata, before.tags)
        if self.is_file(names) and not self._extended and _is_text(data):
            self.file(names).versions[-1] = after  # the service appends text in place
        else:
            self.write(names, after)

    def restore(self, names: Names, index: int) -> None:
        file = self.file(names)
        file.store(file.versions[index], self._number())

    def mkdir(self, names: Names, *, create_parents: bool = True) -> None:
        above = names[:-1]
        if not create_parents and not self.is_folder(above):
            raise NotADirectoryError(above) if self.has(above) else FileNotFoundError(above)
        self._refuse_file_above(names)
        if self.has(names):
            raise FileExistsError(names)
        self._make_above(names)
        self.nodes[names] = Folder()

    def makedirs(self, names: Names, *, exist_ok: bool) -> None:
        if not (exist_ok and self.is_folder(names)):
            self.mkdir(names)

    def rmdir(self, names: Names) -> None:
        if self.children(names):
            raise OSError(errno.ENOTEMPTY, "not empty", names)
        self.remove([names], recursive=True)

    def remove(self, several: list[Names], *, recursive: bool) -> None:
        for names in several:
            if not names:
                raise PermissionError(names)
            if isinstance(self.node(names), Folder) and not recursive:
                raise IsADirectoryError(names)
        for names in several:
            for inner in self.below(names):
                self.nodes.pop(inner)
            self.nodes.pop(names, None)

    def landing(self, source: Names, target: Names) -> Names:
        """Return where something goes that is put at a target: inside, if that is a folder."""
        return (*target, source[-1]) if self.is_folder(target) else target

    def _refuse_to_replace(self, source: Names, target: Names) -> None:
        self._refuse_file_above(target)
        if self.is_folder(target):
            raise FileExistsError(target)
        if self.is_folder(source) and self.has(target):
            raise NotADirectoryError(target)

    def move(self, source: Names, target: Names) -> None:
        self.node(source)
        if source == target:
            return
        target = self.landing(source, target)
        if source == target:
            return
        if target[: len(source)] == source:
            raise OSError(errno.EINVAL, "into itself", target)
        self._refuse_to_replace(source, target)
        self._make_above(target)
        there = self.nodes.get(target)
        if isinstance(there, File):
            self._move_onto(self.file(source), there, target)
            del self.nodes[source]
            return
        for names in [source, *self.below(source)]:
            self.nodes[target + names[len(source) :]] = self.nodes.pop(names)

    def _move_onto(self, file: File, there: File, target: Names) -> None:
        if self._extended:
            file.join_versions(there)
            self.nodes[target] = file
            return
        for version in file.versions:
            there.store(version, self._number())

    def copy_file(self, source: Names, target: Names) -> None:
        if isinstance(self.node(source), Folder):
            self.makedirs(target, exist_ok=True)
            return
        if source == target:
            return
        self._refuse_to_replace(source, target)
        self._make_above(target)
        self.write(target, self.file(source).current)

    def copy(self, source: Names, target: Names) -> None:
        """Copy recursively."""
        self.node(source)
        target = self.landing(source, target)
        copies = [(names, target + names[len(source) :]) for names in [source, *self.below(source)]]
        snapshot = {names: self.nodes[names] for names, _ in copies}
        for names, where in copies:
            node = snapshot[names]
            if isinstance(node, Folder):
                self.makedirs(where, exist_ok=True)
            else:
                self.copy_file(names, where)

    def clashes(self, source: Names, target: Names) -> bool:
        """Tell whether a recursive copy would meet files where it has folders, or the other way round."""
        landing = self.landing(source, target)
        return any(
            self.has(where) and self.is_folder(where) != self.is_folder(names)
            for names in self.below(source)
            for where in [landing + names[len(source) :]]
        )
