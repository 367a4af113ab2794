"""Walk, find, glob and expand paths, on top of the listings of a backend."""

from __future__ import annotations

import re
from glob import has_magic
from typing import TYPE_CHECKING, Any, TypeVar

from fsspec.utils import glob_translate

from rinofs.errors import InvalidPathError, ProtocolError
from rinofs.fs.backend import ABSENT, Info, ListedEntry, entry_of
from rinofs.fs.transfer.pool import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rinofs.fs.backend import Backend

Listed = TypeVar("Listed")

_MAGIC = re.compile(r"[*?[]")

_DEEPEST = 500
"""Levels of folders that are followed: a service whose folders have no end cannot keep a client busy."""


class Browser:
    """Find files by path or pattern.

    Parameters
    ----------
    backend : Backend
        Lists folders.
    strip : callable
        Converts a path or URL to a backend path.
    max_concurrency : int
        Maximum number of folders listed at once.
    """

    def __init__(self, backend: Backend, strip: Callable[[str], str], max_concurrency: int) -> None:
        self._backend = backend
        self._strip = strip
        self._max_concurrency = max_concurrency

    # One path

    def type_of(self, path: str) -> str | None:
        """Return the type of the object at a path, None if there is none; raises other errors."""
        try:
            return str(self._backend.info(self._strip(path))["type"])
        except ABSENT:
            return None

    def is_folder(self, path: str) -> bool:
        """Return whether a path is a folder."""
        return self.type_of(path) == "directory"

    def is_pattern(self, path: str) -> bool:
        """Return whether a path is a glob pattern: it has magic characters and does not exist literally."""
        path = self._strip(path)
        if not has_magic(path):
            return False
        try:
            return self.type_of(path) is None
        except InvalidPathError:
            return True

    # Everything below a path

    def find(
        self, path: str, maxdepth: int | None = None, *, withdirs: bool = False, strict: bool = False
    ) -> dict[str, Info]:
        """Return everything below a path, sorted and by path; for a file, the file itself.

        Parameters
        ----------
        path : str
            Where to start.
        maxdepth : int, optional
            Maximum number of levels; unlimited by default.
        withdirs : bool
            Whether to include folders, the first one too. Objects without data are never included.
        strict : bool
            Whether a missing path is an error, and so is a folder that disappears while others are listed.

        Returns
        -------
        dict
            Infos by path; empty if the path does not exist, unless `strict`.

        Raises
        ------
        FileNotFoundError
            If `strict`, and the path or a folder that was listed does not exist.
        """
        _check_depth(maxdepth)
        try:
            infos = self._backend.descendants(path) if maxdepth is None else None
            if infos is None:
                infos = list(self._descend(path, maxdepth, self._listing, strict=strict))
        except NotADirectoryError:
            info = self._backend.info(path)
            return {path: info} if info["type"] == "file" else {}
        except FileNotFoundError:
            if strict:
                raise
            return {}
        if withdirs and path:
            infos.append(self._backend.info(path))
        wanted = {"file", "directory"} if withdirs else {"file"}
        return {info["name"]: info for info in sorted(infos, key=_name) if info["type"] in wanted}

    def find_paths(self, path: str, maxdepth: int | None = None, *, withdirs: bool = False) -> list[str]:
        """Return the paths that `find` returns, holding no infos."""
        wanted = {"file", "directory"} if withdirs else {"file"}
        return self._chosen(path, maxdepth, lambda entry: entry.type in wanted)

    def _chosen(self, path: str, maxdepth: int | None, wanted: Callable[[ListedEntry], bool]) -> list[str]:
        """Return the paths of what is wanted of a path and everything below it, sorted."""
        _check_depth(maxdepth)
        itself = ListedEntry(path, "directory", None)
        chosen = []
        try:
            entries = self._backend.entries_below(path) if maxdepth is None else None
            if entries is None:
                chosen = list(self._descend(path, maxdepth, lambda folder: self._paths_in(folder, wanted)))
            else:
                chosen = [entry.path for entry in entries if wanted(entry)]
        except NotADirectoryError:
            itself = entry_of(self._backend.info(path))
        except FileNotFoundError:
            return []
        if path and wanted(itself):
            chosen.append(path)
        chosen.sort()
        return chosen

    def _listing(self, path: str) -> tuple[list[Info], list[ListedEntry]]:
        """Return the infos of what is in a folder, and the folders among it."""
        infos = self._backend.list_folder(path)
        return infos, [entry_of(info) for info in infos if info["type"] == "directory"]

    def _paths_in(
        self, path: str, wanted: Callable[[ListedEntry], bool]
    ) -> tuple[list[str], list[ListedEntry]]:
        """Return the paths of what is wanted in a folder, and the folders in it."""
        paths, folders = [], []
        for entry in self._backend.entries(path):
            if wanted(entry):
                paths.append(entry.path)
            if entry.type == "directory":
                folders.append(entry)
        return paths, folders

    def _descend(
        self,
        path: str,
        maxdepth: int | None,
        list_folder: Callable[[str], tuple[list[Listed], list[ListedEntry]]],
        *,
        strict: bool = False,
    ) -> Iterator[Listed]:
        """List level by level; the folders of one level are listed concurrently."""

        def list_below(level: tuple[ListedEntry, _Ancestors]) -> tuple[list[Listed], list[ListedEntry]]:
            try:
                return list_folder(level[0].path)
            except ABSENT:
                if strict:
                    raise
                return [], []  # deleted while its siblings were listed

        listed, folders = list_folder(path)
        yield from listed
        level = [(folder, _Ancestors()) for folder in folders]
        depth = 1
        while level and (maxdepth is None or depth < maxdepth):
            below: list[tuple[ListedEntry, _Ancestors]] = []
            found = run(list_below, level, self._max_concurrency)
            for (folder, ancestors), (listed, folders) in zip(level, found, strict=True):
                yield from listed
                if folders:
                    further = ancestors.below(folder)
                    below += [(inner, further) for inner in folders]
            level = below
            depth += 1

    def walk(
        self,
        path: str,
        maxdepth: int | None = None,
        *,
        topdown: bool = True,
        on_error: str | Callable[[OSError], Any] = "omit",
        detail: bool = False,
    ) -> Iterator[tuple[str, Any, Any]]:
        """Yield (path, folders, files) for a folder and all below it, as `os.walk` does.

        A missing folder is ignored unless `on_error` says otherwise. All other errors are raised, or passed
        to `on_error` if it is a function.
        """
        _check_depth(maxdepth)
        yield from self._walk(path, maxdepth, topdown, on_error, detail, _Ancestors())

    def _walk(
        self,
        path: str,
        maxdepth: int | None,
        topdown: bool,
        on_error: str | Callable[[OSError], Any],
        detail: bool,
        ancestors: _Ancestors,
    ) -> Iterator[tuple[str, Any, Any]]:
        folders: dict[str, ListedEntry] = {}
        try:
            here = self._walked(path, folders, detail=detail)
        except OSError as error:
            if callable(on_error):
                on_error(error)
            elif on_error == "raise" or not isinstance(error, ABSENT):
                raise
            return
        if topdown:
            yield here
        if maxdepth is None or maxdepth > 1:
            below = None if maxdepth is None else maxdepth - 1
            for name in list(here[1]):
                # With topdown, the caller may have removed, added or reordered names, as with os.walk.
                child = folders.get(name) or ListedEntry(f"{path}/{name}".lstrip("/"), "directory", None)
                further = ancestors.below(child)
                yield from self._walk(child.path, below, topdown, on_error, detail, further)
        if not topdown:
            yield here

    def _walked(self, path: str, folders: dict[str, ListedEntry], *, detail: bool) -> tuple[str, Any, Any]:
        """Return what `walk` yields for a folder, and add what is known about the folders in it."""
        if not detail:
            files = []
            for entry in self._backend.entries(path):
                if entry.type == "directory":
                    folders[_last(entry.path)] = entry
                else:
                    files.append(_last(entry.path))
            return path, list(folders), files
        listing = {_last(info["name"]): info for info in self._backend.list_folder(path)}
        within = {name: info for name, info in listing.items() if info["type"] == "directory"}
        folders.update({name: entry_of(info) for name, info in within.items()})
        others = {name: info for name, info in listing.items() if name not in within}
        self._backend.fill_sizes(others.values())
        return path, within, others

    # Patterns

    def glob(self, pattern: str, maxdepth: int | None = None) -> dict[str, Info]:
        """Return the matches of a glob pattern as fsspec defines them, sorted and by path.

        Parameters
        ----------
        pattern : str
            Pattern or URL; with a trailing slash, only folders match.
        maxdepth : int, optional
            Maximum number of levels that the first ``**`` matches.
        """
        literal = self._literal(pattern)
        if literal is not None:
            return {literal: self._backend.info(literal)} if self.type_of(literal) else {}
        root, depth, matches = self._parsed(pattern, maxdepth)
        below = self.find(root, depth, withdirs=True)
        return {path: info for path, info in below.items() if matches(entry_of(info))}

    def glob_paths(self, pattern: str, maxdepth: int | None = None, *, withdirs: bool = True) -> list[str]:
        """Return the paths that `glob` returns, holding no infos; folders only if these are wanted."""
        literal = self._literal(pattern)
        wanted = {"file", "directory"} if withdirs else {"file"}
        if literal is not None:
            kind = self.type_of(literal)
            return [literal] if kind and (withdirs or kind != "directory") else []
        root, depth, matches = self._parsed(pattern, maxdepth)
        return self._chosen(root, depth, lambda entry: entry.type in wanted and matches(entry))

    def _literal(self, pattern: str) -> str | None:
        """Return a pattern as a path, if it has no magic characters."""
        path = self._strip(pattern)
        return path if _MAGIC.search(path) is None else None

    def _parsed(
        self, pattern: str, maxdepth: int | None
    ) -> tuple[str, int | None, Callable[[ListedEntry], bool]]:
        """Return the folder of a pattern, how many levels to look at, and what tells whether one matches."""
        _check_depth(maxdepth)
        only_folders = pattern.endswith("/")
        pattern = self._strip(pattern)
        magic = _MAGIC.search(pattern)
        root = pattern[: magic.start() if magic else None].rpartition("/")[0]
        depth: int | None = pattern[len(root) :].lstrip("/").count("/") + 1
        if "**" in pattern:
            last = pattern[pattern.find("**") :].count("/") + 1
            depth = None if depth is None or maxdepth is None else depth - last + maxdepth
        matches = re.compile(glob_translate(pattern + ("/" if only_folders else ""))).match
        as_folders = only_folders or pattern.endswith("/**")

        def matching(entry: ListedEntry) -> bool:
            is_folder = as_folders and entry.type == "directory"
            return matches(entry.path + ("/" if is_folder else "")) is not None

        return root, depth, matching

    def expand(
        self, paths: Sequence[str], *, recursive: bool = False, maxdepth: int | None = None
    ) -> dict[str, Info | None]:
        """Expand patterns, and folders if `recursive`, to a list of paths.

        A path that exists is taken literally, even if it contains magic characters.

        Parameters
        ----------
        paths : sequence of str
            Paths, URLs or patterns.
        recursive : bool
            Whether to include everything below the paths.
        maxdepth : int, optional
            Maximum number of levels; unlimited by default.

        Returns
        -------
        dict
            Infos by path, in order; None for a path that was not looked up.

        Raises
        ------
        FileNotFoundError
            If nothing was found.
        """
        _check_depth(maxdepth)
        expanded: dict[str, Info | None] = {}
        for path in map(self._strip, paths):
            if self.is_pattern(path):
                matches = self.glob(path, maxdepth)
                expanded |= matches
                if recursive and maxdepth != 1:
                    below = None if maxdepth is None else maxdepth - 1
                    for match in matches:
                        expanded |= self.find(match, below, withdirs=True)
            elif recursive:
                expanded |= self.find(path, maxdepth, withdirs=True)
                if not path:
                    expanded[path] = None
            else:
                expanded[path] = None
        if not expanded:
            raise FileNotFoundError(2, "nothing matches", str(list(paths)))
        return dict(sorted(expanded.items()))


class _Ancestors:
    """The folders above one that is listed, by their ids where the service has ids."""

    def __init__(self, ids: frozenset[object] = frozenset(), depth: int = 0) -> None:
        self._ids = ids
        self._depth = depth

    def below(self, folder: ListedEntry) -> _Ancestors:
        """Return the ancestors of what a folder contains.

        Raises
        ------
        ProtocolError
            If the folder contains itself, or there are more levels than anybody makes.
        """
        number = folder.id
        if number is not None and number in self._ids:
            raise ProtocolError("the service lists this folder below itself", folder.path)
        if self._depth >= _DEEPEST:
            raise ProtocolError(f"the service lists more than {_DEEPEST} levels of folders", folder.path)
        return _Ancestors(self._ids if number is None else self._ids | {number}, self._depth + 1)


def _check_depth(maxdepth: int | None) -> None:
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")


def _name(info: Info) -> str:
    return str(info["name"])


def _last(path: str) -> str:
    return path.rpartition("/")[2]
