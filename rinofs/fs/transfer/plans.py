"""Plan the transfer of many files: the target of each source."""

from __future__ import annotations

import errno
import os
import warnings
from dataclasses import dataclass, replace
from glob import has_magic
from pathlib import Path
from typing import TYPE_CHECKING, Protocol, TypeAlias

from fsspec.implementations.local import LocalFileSystem, make_path_posix, trailing_sep
from fsspec.utils import other_paths, stringify_path

from rinofs.fs.transfer.local_names import local_paths, refuse_same

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rinofs.fs.backend import Info

Paths: TypeAlias = str | os.PathLike[str] | list[str]

_NAMED = 3  # maximum number of names in a warning


class RemoteTree(Protocol):
    """What a plan needs to know about remote files."""

    def expand(
        self, paths: Sequence[str], *, recursive: bool = False, maxdepth: int | None = None
    ) -> Mapping[str, Info | None]:
        """Expand patterns and folders to a list of paths, with infos where they are known."""
        ...

    def is_pattern(self, path: str) -> bool:
        """Return whether a path is a glob pattern that does not exist literally."""
        ...

    def is_folder(self, path: str) -> bool:
        """Return whether a path is a folder."""
        ...


@dataclass(frozen=True, slots=True)
class Copy:
    """One file or folder to copy.

    Attributes
    ----------
    source, target : str
        Source and target path.
    is_folder : bool or None
        Whether it is a folder; None if not known.
    only_file : bool
        Whether to skip it if it turns out to be a folder.
    """

    source: str
    target: str
    is_folder: bool | None
    only_file: bool = False


def given(paths: Paths) -> str | list[str]:
    """Return one path as a string, or a list as it is; raises TypeError for everything else."""
    found = paths if isinstance(paths, list) else stringify_path(paths)
    if not isinstance(found, (str, list)):
        raise TypeError(f"{paths!r}: a path or a list of paths is expected, not {type(paths).__name__}")
    return found


def plan_get(
    tree: RemoteTree, source: Paths, target: Paths, recursive: bool, maxdepth: int | None
) -> list[Copy]:
    """Plan which remote file goes to which local path, as fsspec's ``get`` defines it.

    Names from the service that this system does not allow are changed, with a warning, so that no two targets
    are the same. If two targets are the same nevertheless, the plan is refused.
    """
    source, target = given(source), given(target)
    copies = _named_copies(tree, source, target, recursive, maxdepth)
    refuse_same([copy.target for copy in copies if not copy.is_folder])
    return copies


def _named_copies(
    tree: RemoteTree, source: Paths, target: Paths, recursive: bool, maxdepth: int | None
) -> list[Copy]:
    if isinstance(source, list) and isinstance(target, list):
        return list(dict.fromkeys(_listed(source, target)))
    if isinstance(target, list):
        return _remote(tree, source, target, recursive, maxdepth, LocalFileSystem().isdir)
    folder = make_path_posix(os.fspath(target))
    copies = _remote(tree, source, folder, recursive, maxdepth, LocalFileSystem().isdir)
    local = local_paths([copy.target for copy in copies], folder)
    changed = [(copy, path) for copy, path in zip(copies, local, strict=True) if copy.target != path]
    if not changed:
        return copies
    shown = ", ".join(f"{copy.source} as {path}" for copy, path in changed[:_NAMED])
    more = f" and {len(changed) - _NAMED} more" if len(changed) > _NAMED else ""
    warnings.warn(f"some names are not valid on this system; stored {shown}{more}", stacklevel=4)
    return [replace(copy, target=path) for copy, path in zip(copies, local, strict=True)]


def plan_copy(
    tree: RemoteTree, source: Paths, target: Paths, recursive: bool, maxdepth: int | None
) -> list[Copy]:
    """Plan which remote file goes to which other remote path, as fsspec's ``copy`` defines it.

    If two would go to one path that the caller did not name, the plan is refused.
    """
    source, target = given(source), given(target)
    if isinstance(source, list) and isinstance(target, list):
        return _listed(source, target)
    plan = _remote(tree, source, target, recursive, maxdepth, tree.is_folder)
    refuse_same_target((copy.source, copy.target) for copy in plan if not copy.is_folder)
    return [
        copy
        for copy in plan
        if not (copy.only_file and copy.is_folder is None and tree.is_folder(copy.source))
    ]


def plan_put(
    tree: RemoteTree, source: Paths, target: Paths, recursive: bool, maxdepth: int | None
) -> list[Copy]:
    """Plan which local file goes to which remote path, as fsspec's ``put`` defines it.

    A path that exists is never a pattern. If two would go to one path that the caller did not name, the plan
    is refused.
    """
    source, target = given(source), given(target)
    if isinstance(source, list) and isinstance(target, list):
        return _listed(source, target)
    one = None if isinstance(source, list) else make_path_posix(source)
    sources = source if isinstance(source, list) else [make_path_posix(source)]
    found = _expanded(sources, recursive, maxdepth)
    types: dict[str, bool | None] = {path: Path(path).is_dir() for path in found}
    pattern = one is not None and has_magic(one) and not Path(one).exists()
    flat = recursive is False or maxdepth is not None
    plan = _plan(types, one, pattern, target, tree.is_folder, flat=flat)
    refuse_same_target((copy.source, copy.target) for copy in plan if not copy.is_folder)
    return plan


def _expanded(sources: Sequence[str], recursive: bool, maxdepth: int | None) -> list[str]:
    """Expand local patterns, and folders if `recursive`; a path that exists is never a pattern."""
    local = LocalFileSystem()
    others: list[str] = []
    found: set[str] = set()
    for path in sources:
        bare = local._strip_protocol(path)
        if not Path(bare).exists():
            others.append(path)
            continue
        found.add(bare)
        if recursive:  # not by `expand_path`, which takes paths literally only in newer versions of fsspec
            found.update(local.find(bare, maxdepth=maxdepth, withdirs=True))
    try:
        if others or not found:
            found.update(local.expand_path(others, recursive, maxdepth))
    except FileNotFoundError:
        if not found:
            raise
    return sorted(found)


def refuse_same_target(pairs: Iterable[tuple[str, str]]) -> None:
    """Refuse pairs of source and target of which two have the same target.

    Raises
    ------
    FileExistsError
        If there are such pairs: one file would replace the other.
    """
    first: dict[str, str] = {}
    for source, target in pairs:
        other = first.setdefault(target.rstrip("/"), source)
        if other != source:
            problem = f"{other} has the same name there; choose another target for one of them"
            raise FileExistsError(errno.EEXIST, problem, source)


def _remote(
    tree: RemoteTree,
    source: Paths,
    target: Paths,
    recursive: bool,
    maxdepth: int | None,
    is_folder: Callable[[str], bool],
) -> list[Copy]:
    one = None if isinstance(source, list) else os.fspath(source)
    paths = source if isinstance(source, list) else [os.fspath(source)]
    found = tree.expand(paths, recursive=recursive, maxdepth=maxdepth)
    types = {path: None if info is None else info["type"] == "directory" for path, info in found.items()}
    pattern = one is not None and tree.is_pattern(one)
    return _plan(types, one, pattern, target, is_folder, flat=not recursive or maxdepth is not None)


def _listed(source: Sequence[str], target: Sequence[str]) -> list[Copy]:
    if len(source) != len(target):
        raise ValueError(f"{len(source)} sources but {len(target)} targets")
    return [Copy(one, other, None) for one, other in zip(source, target, strict=True)]


def _plan(
    types: Mapping[str, bool | None],
    source: str | None,
    pattern: bool,
    target: Paths,
    is_folder: Callable[[str], bool],
    *,
    flat: bool,
) -> list[Copy]:
    """Assign a target to each source.

    Parameters
    ----------
    types : mapping
        Sources, and whether each is a folder.
    source : str or None
        The argument, if it was a single path or pattern.
    pattern : bool
        Whether the argument is a pattern.
    target : str or list of str
        Target path or paths.
    is_folder : callable
        Returns whether the target is an existing folder.
    flat : bool
        Whether to leave out folders.
    """
    if source is not None and flat:
        types = {path: folder for path, folder in types.items() if not folder and not trailing_sep(path)}
    paths = list(types)
    if not paths:
        return []
    into = isinstance(target, str) and (trailing_sep(target) or is_folder(target))
    inside = source is not None and (
        (pattern and len(paths) == 1) or (not pattern and into and not trailing_sep(source))
    )
    # fsspec would take the names at the top level for their parent folder if they had no leading slash.
    rooted = [path if path.startswith("/") else f"/{path}" for path in paths]
    targets = other_paths(rooted, target, exists=inside, flatten=source is None)
    only_files = source is not None and flat
    return [Copy(path, where, types[path], only_files) for path, where in zip(paths, targets, strict=True)]
