"""Walk, find, glob and expand paths, on top of the listings of a backend."""

from __future__ import annotations

import re
from glob import has_magic
from typing import TYPE_CHECKING, Any

from fsspec.utils import glob_translate

from rinofs.errors import InvalidPathError, ProtocolError
from rinofs.fs.backend import ABSENT, Info
from rinofs.fs.transfer.pool import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from rinofs.fs.backend import Backend

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

    def find(self, path: str, maxdepth: int | None = None, *, withdirs: bool = False) -> dict[str, Info]:
        """Return everything below a path, sorted and by path; for a file, the file itself.

        Parameters
        ----------
        path : str
            Where to start.
        maxdepth : int, optional
            Maximum number of levels; unlimited by default.
        withdirs : bool
            Whether to include folders, the first one too. Objects without data are never included.

        Returns
        -------
        dict
            Infos by path; empty if the path does not exist.
        """
        _check_depth(maxdepth)
        try:
            infos = self._backend.descendants(path) if maxdepth is None else None
            if infos is None:
                infos = self._descend(path, maxdepth)
        except NotADirectoryError:
            info = self._backend.info(path)
            return {path: info} if info["type"] == "file" else {}
        except FileNotFoundError:
            return {}
        if withdirs and path:
            infos.append(self._backend.info(path))
        wanted = {"file", "directory"} if withdirs else {"file"}
        return {info["name"]: info for info in sorted(infos, key=_name) if info["type"] in wanted}

    def _descend(self, path: str, maxdepth: int | None) -> list[Info]:
        """List level by level; the folders of one level are listed concurrently."""
        infos: list[Info] = self._backend.list_folder(path)
        level = [(info, _Ancestors()) for info in infos if info["type"] == "directory"]
        depth = 1
        while level and (maxdepth is None or depth < maxdepth):
            listings = run(lambda folder: self._listing(folder[0]["name"]), level, self._max_concurrency)
            below = []
            for (folder, ancestors), listing in zip(level, listings, strict=True):
                infos.extend(listing)
                folders = [info for info in listing if info["type"] == "directory"]
                if folders:
                    further = ancestors.below(folder)
                    below += [(info, further) for info in folders]
            level = below
            depth += 1
        return infos

    def _listing(self, path: str) -> list[Info]:
        try:
            return self._backend.list_folder(path)
        except ABSENT:
            return []  # deleted while its siblings were listed

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
        try:
            listing = self._backend.list_folder(path)
        except OSError as error:
            if callable(on_error):
                on_error(error)
            elif on_error == "raise" or not isinstance(error, ABSENT):
                raise
            return
        folders = {_last(info): info for info in listing if info["type"] == "directory"}
        files = {_last(info): info for info in listing if info["type"] != "directory"}
        if detail:
            self._backend.fill_sizes(files.values())
        chosen: Any = folders if detail else list(folders)
        here = path, chosen, files if detail else list(files)
        if topdown:
            yield here
        if maxdepth is None or maxdepth > 1:
            below = None if maxdepth is None else maxdepth - 1
            for name in list(chosen):
                # With topdown, the caller may have removed, added or reordered names, as with os.walk.
                child = folders.get(name) or {"name": f"{path}/{name}".lstrip("/")}
                further = ancestors.below(child)
                yield from self._walk(child["name"], below, topdown, on_error, detail, further)
        if not topdown:
            yield here

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
        _check_depth(maxdepth)
        only_folders = pattern.endswith("/")
        pattern = self._strip(pattern)
        magic = _MAGIC.search(pattern)
        if magic is None:
            return {pattern: self._backend.info(pattern)} if self.type_of(pattern) else {}
        root = pattern[: magic.start()].rpartition("/")[0]
        depth: int | None = pattern[len(root) :].lstrip("/").count("/") + 1
        if "**" in pattern:
            last = pattern[pattern.find("**") :].count("/") + 1
            depth = None if depth is None or maxdepth is None else depth - last + maxdepth
        matches = re.compile(glob_translate(pattern + ("/" if only_folders else ""))).match
        as_folders = only_folders or pattern.endswith("/**")

        def matching(info: Info) -> bool:
            is_folder = as_folders and info["type"] == "directory"
            return matches(info["name"] + ("/" if is_folder else "")) is not None

        below = self.find(root, depth, withdirs=True)
        return {path: info for path, info in below.items() if matching(info)}

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

    def below(self, folder: Info) -> _Ancestors:
        """Return the ancestors of what a folder contains.

        Raises
        ------
        ProtocolError
            If the folder contains itself, or there are more levels than anybody makes.
        """
        number = folder.get("id")
        if number is not None and number in self._ids:
            raise ProtocolError("the service lists this folder below itself", folder["name"])
        if self._depth >= _DEEPEST:
            raise ProtocolError(f"the service lists more than {_DEEPEST} levels of folders", folder["name"])
        return _Ancestors(self._ids if number is None else self._ids | {number}, self._depth + 1)


def _check_depth(maxdepth: int | None) -> None:
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")


def _name(info: Info) -> str:
    return str(info["name"])


def _last(info: Info) -> str:
    return str(info["name"]).rpartition("/")[2]
