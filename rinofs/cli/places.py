"""From what a copying command was given to the single files and folders to make."""

from __future__ import annotations

import os
from dataclasses import dataclass, field
from pathlib import Path
from typing import TYPE_CHECKING

from rinofs.cli.errors import CommandError
from rinofs.cli.locations import is_folder, locate, tree_of
from rinofs.fs.transfer.local_names import LocalNames, NameRules

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rinofs.cli.errors import Problems
    from rinofs.cli.locations import Info, Location

__all__ = ["CopyPlan", "FileCopy", "Pair", "pairs_of", "plan_copies"]


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


def pairs_of(sources: Sequence[Location], destination: str, problems: Problems) -> list[Pair]:
    """Decide where each source goes, as `cp` does: into a folder that exists, else to the name given.

    Raises
    ------
    CommandError
        If there are several sources and the destination is not a folder.
    """
    target = locate(destination)
    there = _info_or_none(target)
    into = destination.endswith("/") or (there is not None and is_folder(there))
    if len(sources) > 1 and not into:
        hint = "name an existing folder, or end the name with a slash to create it"
        raise CommandError("not a folder", destination, hint)
    found: list[Pair] = []
    names = LocalNames(NameRules.of(Path(target.path))) if target.is_local else None
    for source in sources:
        with problems.collected(source.url):
            pair = _pair(source, target, there, names if into and not source.is_local else None, into=into)
            if any(pair.target.path == other.target.path for other in found):
                raise CommandError(f"would replace another source at {pair.target.url}", source.url)
            found.append(pair)
    if into and there is None and found:
        target.fs.makedirs(target.path, exist_ok=True)
    return found


def _pair(
    source: Location, target: Location, there: Info | None, names: LocalNames | None, *, into: bool
) -> Pair:
    info = source.fs.info(source.path)
    name = "" if source.url.rstrip("/").rpartition("/")[2] in {".", ".."} else source.name
    local = names.path(name) if names else name
    place = target.below(local) if into else target
    replaces = there if place is target else _info_or_none(place)
    if source.fs is target.fs or (source.is_local and target.is_local):
        start = source.path.rstrip("/")
        if place.path == start:
            raise CommandError("source and destination are the same", source.url)
        if is_folder(info) and f"{place.path}/".startswith(f"{start}/"):
            raise CommandError(f"cannot be copied or moved into itself ({place.url})", source.url)
    return Pair(source, place, info, replaces, renamed=local != name)


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
