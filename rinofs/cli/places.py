"""Find the files and folders that a copy or move creates, given its arguments."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rinofs.cli.errors import CommandError
from rinofs.cli.locations import expand, is_folder, locate, tree_of
from rinofs.fs.transfer.local_names import LocalNames, NameRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rinofs.cli.errors import Problems
    from rinofs.cli.locations import Info, Location

__all__ = ["CopyPlan", "FileCopy", "Pair", "copy_pairs", "move_pairs", "plan_copies"]


@dataclass(frozen=True, slots=True)
class Pair:
    """One source and its target.

    Attributes
    ----------
    source, target : Location
        Source and target.
    info : dict
        Info of the source.
    replaces : dict or None
        Info of an existing target, or None.
    renamed : bool
        Whether the target has another name because the local system does not allow the source's.
    """

    source: Location
    target: Location
    info: Info
    replaces: Info | None
    renamed: bool


@dataclass(frozen=True, slots=True)
class FileCopy:
    """One file to copy.

    Attributes
    ----------
    source, target : Location
        Source and target.
    info : dict
        Info of the source.
    """

    source: Location
    target: Location
    info: Info

    @property
    def size(self) -> int:
        """Size in bytes, as far as known."""
        return int(self.info.get("size") or 0)


@dataclass
class CopyPlan:
    """The folders and files that a copy creates.

    Attributes
    ----------
    folders : list of Location
        Folders to create, parents first.
    files : list of FileCopy
        Files to copy.
    renamed : dict of str to str
        URLs whose names the local system does not allow, with their local paths.
    """

    folders: list[Location] = field(default_factory=list)
    files: list[FileCopy] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Size of all files in bytes, as far as known."""
        return sum(copy.size for copy in self.files)


def copy_pairs(urls: Sequence[str], destination: str, problems: Problems) -> list[Pair]:
    """Return the target of each source of a copy; repeating the command gives the same tree.

    The contents of a single folder are copied into the destination. Several sources, and the matches of a
    pattern, are copied into it under their own names. A single file is copied into an existing folder, or
    else to the given name.
    """
    return _pairs(urls, destination, problems, copying=True)


def move_pairs(urls: Sequence[str], destination: str, problems: Problems) -> list[Pair]:
    """Return the target of each source of a move: inside an existing folder, or else the given name.

    Raises
    ------
    CommandError
        If there are several sources and the destination is not a folder.
    """
    return _pairs(urls, destination, problems, copying=False)


def _pairs(urls: Sequence[str], destination: str, problems: Problems, *, copying: bool) -> list[Pair]:
    sources = expand(urls, problems)
    target = locate(destination)
    there = _info_or_none(target)
    # Count arguments: with a missing source, the other one is still one of several.
    several = len(urls) > 1 or any(source.matched for source in sources)
    into = destination.endswith("/") or (there is not None and is_folder(there))
    if several and not copying and not into:
        hint = "name an existing folder, or end the name with a slash to create it"
        raise CommandError("not a folder", destination, hint)
    if (several or into) and there is not None and not is_folder(there):
        raise CommandError("is a file, and no folder", destination, "delete it, or choose another name")
    names = LocalNames(NameRules.of(Path(target.path))) if target.is_local else None
    found: list[Pair] = []
    for source in sources:
        with problems.collected(source.url):
            info = source.fs.info(source.path)
            below = several or (into and not (copying and is_folder(info)))
            pair = _pair(source, info, target, there, names, below=below, copying=copying)
            if any(pair.target.path == other.target.path for other in found):
                raise CommandError(f"would replace another source at {pair.target.url}", source.url)
            found.append(pair)
    if there is None and any(pair.target is not target for pair in found):
        target.fs.makedirs(target.path, exist_ok=True)
    return found


def _pair(
    source: Location,
    info: Info,
    target: Location,
    there: Info | None,
    names: LocalNames | None,
    *,
    below: bool,
    copying: bool,
) -> Pair:
    name = source.name if below else ""
    local = names.path(name) if names and not source.is_local else name
    place = target.below(local)
    replaces = there if place is target else _info_or_none(place)
    if source.fs is target.fs or (source.is_local and target.is_local):
        _check_apart(source, info, place)
    if copying and is_folder(info) and replaces is not None and not is_folder(replaces):
        raise CommandError("is a file", place.url, f"the folder {source.url} cannot replace it")
    return Pair(source, place, info, replaces, renamed=local != name)


def _check_apart(source: Location, info: Info, place: Location) -> None:
    """Raise CommandError if the target is the source or inside it."""
    start = source.path.rstrip("/")
    if place.path.rstrip("/") == start:
        raise CommandError("source and destination are the same", source.url)
    if is_folder(info) and (not start or place.path.startswith(f"{start}/")):
        raise CommandError(f"cannot be copied or moved into itself ({place.url})", source.url)


def _info_or_none(here: Location) -> Info | None:
    try:
        info: Info = here.fs.info(here.path)
    except (FileNotFoundError, NotADirectoryError):
        return None
    return info


def plan_copies(pairs: Sequence[Pair], problems: Problems, *, recursive: bool) -> CopyPlan:
    """Return everything that the pairs copy, including the contents of folders.

    Objects that cannot be copied are reported and left out.
    """
    plan = CopyPlan()
    for pair in pairs:
        with problems.collected(pair.source.url):
            if pair.renamed:
                plan.renamed[pair.source.url] = pair.target.url
            if not is_folder(pair.info):
                plan.files.append(FileCopy(pair.source, pair.target, pair.info))
                continue
            if not recursive:
                raise CommandError("is a folder", pair.source.url, "use -r to copy it with its contents")
            _plan_folder(plan, pair, problems)
    return plan


def _plan_folder(plan: CopyPlan, pair: Pair, problems: Problems) -> None:
    source, target = pair.source, pair.target
    names = LocalNames(NameRules.of(Path(target.path))) if target.is_local and not source.is_local else None
    plan.folders.append(target)
    start = f"{source.path.rstrip('/')}/" if source.path else ""
    for info in tree_of(source, problems):
        path = str(info["name"]).rstrip("/")
        relative = path.removeprefix(start).lstrip("/")
        here = source.below(relative)
        place = target.below(names.path(relative) if names else relative)
        if is_folder(info):
            plan.folders.append(place)
            continue
        with problems.collected(here.url):
            plan.files.append(FileCopy(here, place, _content_of(here, info)))
    for relative, local in (names.renamed if names else {}).items():
        plan.renamed[source.below(relative).url] = target.below(local).url


def _content_of(here: Location, info: Info) -> Info:
    """Return the info of the file behind a listed link; other infos unchanged."""
    if info["type"] == "file":
        return info
    if not info.get("islink"):
        raise CommandError("not a regular file", here.url, "skipped")
    behind: Info = here.fs.info(os.path.realpath(here.path))
    if is_folder(behind):
        raise CommandError("is a link to a folder", here.url, "skipped; copy the folder itself")
    return behind
