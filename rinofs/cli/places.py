"""From what a copying command was given to the single files and folders to make."""

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
    """What was named, and where it goes.

    Attributes
    ----------
    source, target : Location
        From where to where.
    info : dict
        What the source's filesystem says of it.
    replaces : dict or None
        What is at the target now.
    renamed : bool
        Whether the target's name is another than the source's because this machine cannot hold that.
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
        From where to where.
    info : dict
        What the source's filesystem says of it.
    """

    source: Location
    target: Location
    info: Info

    @property
    def size(self) -> int:
        """Bytes of content, as far as known."""
        return int(self.info.get("size") or 0)


@dataclass
class CopyPlan:
    """What a copying command is to make.

    Attributes
    ----------
    folders : list of Location
        To be made, each before what is in it.
    files : list of FileCopy
        To be copied.
    renamed : dict of str to str
        The URLs that cannot have their name on this machine, with the paths that they get.
    """

    folders: list[Location] = field(default_factory=list)
    files: list[FileCopy] = field(default_factory=list)
    renamed: dict[str, str] = field(default_factory=dict)

    @property
    def size(self) -> int:
        """Bytes to copy, as far as known."""
        return sum(copy.size for copy in self.files)


def copy_pairs(urls: Sequence[str], destination: str, problems: Problems) -> list[Pair]:
    """Decide where each source goes when it is copied, so that the same command again gives the same tree.

    What a lone folder holds goes into the destination. Several sources, and what a pattern matches, go below
    it, each under its name. A lone file goes into a folder, and else gets the name given.
    """
    return _pairs(urls, destination, problems, copying=True)


def move_pairs(urls: Sequence[str], destination: str, problems: Problems) -> list[Pair]:
    """Decide where each source goes when it is moved: into a folder that exists, else to the name given.

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
    # What is counted is what was typed: a source that is missing does not make the other one a lone one.
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
    """Raise CommandError if something would go onto or into itself."""
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
    """Look at all that the pairs cover, and decide what to make.

    What cannot be copied is reported and left out.
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
    """Return the info of what is to be read for an entry of a listing; links are followed to files."""
    if info["type"] == "file":
        return info
    if not info.get("islink"):
        raise CommandError("not a regular file", here.url, "skipped")
    behind: Info = here.fs.info(os.path.realpath(here.path))
    if is_folder(behind):
        raise CommandError("is a link to a folder", here.url, "skipped; copy the folder itself")
    return behind
