"""Walking, finding and expanding: what is below a path."""

from __future__ import annotations

from glob import has_magic
from typing import TYPE_CHECKING, Any, TypeAlias

from rinofs.errors import InvalidPathError
from rinofs.fs.transfer.pool import run

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator

    from rinofs.fs.base import RemoteFileSystem

Info: TypeAlias = dict[str, Any]

ABSENT = (FileNotFoundError, NotADirectoryError)
"""The only errors that mean that something is not there."""


def find(fs: RemoteFileSystem, path: str, maxdepth: int | None, withdirs: bool) -> dict[str, Info]:
    """Return what is below a path, by path and in order; a file is found below itself.

    Parameters
    ----------
    fs : RemoteFileSystem
        Where to look.
    path : str
        Where to begin.
    maxdepth : int, optional
        Levels to go down; all by default.
    withdirs : bool
        Whether folders are returned too, the first one included. Objects without data never are.

    Returns
    -------
    dict
        Infos by path; empty if there is nothing at the path.
    """
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")
    try:
        found = fs.tree_of(path) if maxdepth is None else None
        if found is None:
            found = _descend(fs, path, maxdepth)
    except NotADirectoryError:
        info = fs.info(path)
        return {path: info} if info["type"] == "file" else {}
    except FileNotFoundError:
        return {}
    if withdirs and path:
        found.append(fs.info(path))
    wanted = {"file", "directory"} if withdirs else {"file"}
    return {info["name"]: info for info in sorted(found, key=_name) if info["type"] in wanted}


def _name(info: Info) -> str:
    return str(info["name"])


def _descend(fs: RemoteFileSystem, path: str, maxdepth: int | None) -> list[Info]:
    """List level by level, the folders of a level at once."""
    found: list[Info] = fs.ls_folder(path)
    level = [info for info in found if info["type"] == "directory"]
    depth = 1
    while level and (maxdepth is None or depth < maxdepth):
        listings = run(lambda info: _listing(fs, info["name"]), level, fs.options.max_concurrency)
        entries = [info for listing in listings for info in listing]
        found.extend(entries)
        level = [info for info in entries if info["type"] == "directory"]
        depth += 1
    return found


def _listing(fs: RemoteFileSystem, path: str) -> list[Info]:
    try:
        return fs.ls_folder(path)
    except ABSENT:
        return []  # it went while its siblings were listed


def walk(
    fs: RemoteFileSystem,
    path: str,
    maxdepth: int | None,
    topdown: bool,
    on_error: str | Callable[[OSError], Any],
    detail: bool,
) -> Iterator[tuple[str, Any, Any]]:
    """Yield (path, folders, files) for a folder and all below it, as `os.walk` does.

    Only a folder that is not there counts as an error that may be omitted; all others are raised unless
    `on_error` is a function, which gets them.
    """
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")
    try:
        listing = fs.ls_folder(path)
    except OSError as error:
        if callable(on_error):
            on_error(error)
        elif on_error == "raise" or not isinstance(error, ABSENT):
            raise
        return
    folders = {_last(info): info for info in listing if info["type"] == "directory"}
    files = {_last(info): info for info in listing if info["type"] != "directory"}
    shown: Any = folders if detail else list(folders)
    here = path, shown, files if detail else list(files)
    if topdown:
        yield here
    if maxdepth is None or maxdepth > 1:
        below = None if maxdepth is None else maxdepth - 1
        for name in list(shown):
            # A caller that walks top down may have taken names out, put others in, or reordered them.
            child = folders[name]["name"] if name in folders else f"{path}/{name}".lstrip("/")
            yield from walk(fs, child, below, topdown, on_error, detail)
    if not topdown:
        yield here


def _last(info: Info) -> str:
    return str(info["name"]).rpartition("/")[2]


def expand(
    fs: RemoteFileSystem, paths: Iterable[str], recursive: bool, maxdepth: int | None
) -> dict[str, Info | None]:
    """Turn paths and patterns into the paths that they stand for.

    A path that is there is meant literally, whatever characters it holds; only then it is a pattern.

    Parameters
    ----------
    fs : RemoteFileSystem
        Where to look.
    paths : iterable of str
        Paths or patterns.
    recursive : bool
        Whether all that is below them is meant too.
    maxdepth : int, optional
        Levels to go down; all by default.

    Returns
    -------
    dict
        Infos by path, in order; None for a path that was not looked up.

    Raises
    ------
    FileNotFoundError
        If nothing was found.
    """
    if maxdepth is not None and maxdepth < 1:
        raise ValueError("maxdepth must be at least 1")
    found: dict[str, Info | None] = {}
    for path in map(fs._strip_protocol, paths):
        if is_pattern(fs, path):
            matches: dict[str, Info] = fs.glob(path, maxdepth=maxdepth, detail=True, sizes=False)
            found |= matches
            if recursive and maxdepth != 1:
                below = None if maxdepth is None else maxdepth - 1
                for match in matches:
                    found |= find(fs, match, below, withdirs=True)
        elif recursive:
            found |= find(fs, path, maxdepth, withdirs=True)
            if not path:
                found[path] = None
        else:
            found[path] = None
    if not found:
        raise FileNotFoundError(2, "nothing matches", str(list(paths)))
    return dict(sorted(found.items()))


def is_pattern(fs: RemoteFileSystem, path: str) -> bool:
    """Tell whether a path is a pattern: it holds magic characters, and is not itself a path that exists."""
    if not has_magic(path):
        return False
    try:
        return not fs.exists(path)
    except InvalidPathError:
        return True
