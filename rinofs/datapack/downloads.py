"""Which node of a download goes to which local file."""

from __future__ import annotations

import os
from glob import has_magic
from typing import TYPE_CHECKING, Any

from fsspec.implementations.local import make_path_posix, trailing_sep
from fsspec.utils import other_paths, stringify_path

from rinofs.errors import InvalidPathError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem


def plan(
    fs: AbstractFileSystem, source: str, target: Any, recursive: bool, maxdepth: int | None
) -> tuple[list[str], list[str]]:
    """Lay out what one path or pattern stands for below a local path, as fsspec's ``get`` defines it.

    Returns
    -------
    tuple of two lists of str
        The paths of nodes, and where each goes.

    Raises
    ------
    InvalidPathError
        If a node's name would lead out of the target.
    """
    target = make_path_posix(stringify_path(target))
    path = fs._strip_protocol(source)  # noqa: SLF001 - fsspec's own way
    pattern = has_magic(path) and not fs.exists(path)
    if pattern:
        paths = fs.expand_path(path, recursive=recursive, maxdepth=maxdepth)
    else:
        below = fs.find(path, maxdepth=maxdepth, withdirs=True) if recursive else []
        paths = sorted({path, *below})
    if not recursive or maxdepth is not None:
        paths = [each for each in paths if not fs.isdir(each)]
    if not paths:
        return [], []
    into = trailing_sep(target) or os.path.isdir(target)  # noqa: PTH112 - posix, also on Windows
    inside = len(paths) == 1 if pattern else into and not trailing_sep(source)
    # With a slash in front: of a path without any, fsspec takes the name for the folder that it is in.
    targets = other_paths([f"/{each}" for each in paths], target, exists=inside)
    for where in targets:
        _refuse_outside(target, where)
    return paths, targets


def _refuse_outside(target: str, where: str) -> None:
    # No part of a path is "..", but where a backslash separates names, a name may hold some.
    inner, outer = os.path.abspath(where), os.path.abspath(target)  # noqa: PTH100
    if inner != outer and not inner.startswith(outer.rstrip(os.sep) + os.sep):
        raise InvalidPathError(f"{where!r} lies outside of {target!r}")


def make_parent(lpath: Any) -> None:
    """Make the folder that a local path is in."""
    if parent := os.path.dirname(stringify_path(lpath).rstrip("/")):  # noqa: PTH120 - as fsspec
        os.makedirs(parent, exist_ok=True)  # noqa: PTH103
