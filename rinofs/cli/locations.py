"""Convert what the user typed to a filesystem and a path, and format paths for output."""

from __future__ import annotations

import inspect
import os
import re
from dataclasses import dataclass, replace
from typing import TYPE_CHECKING, Any, TypeAlias

import click
from click.shell_completion import CompletionItem
from fsspec import available_protocols, get_filesystem_class
from fsspec.core import has_magic, split_protocol, url_to_fs
from fsspec.implementations.chained import ChainedFileSystem
from fsspec.implementations.local import LocalFileSystem

from rinofs.cli.errors import CommandError

if TYPE_CHECKING:
    from collections.abc import Iterable

    from fsspec import AbstractFileSystem

    from rinofs.cli.errors import Problems

__all__ = ["URL", "Info", "Location", "entries", "expand", "is_folder", "locate", "tree_of"]


class _UrlType(click.types.StringParamType):
    """A URL or path, as text; shells complete it like a file name."""

    name = "url"

    def shell_complete(
        self, ctx: click.Context, param: click.Parameter, incomplete: str
    ) -> list[CompletionItem]:
        del ctx, param
        return [CompletionItem(incomplete, type="file")]


URL = _UrlType()
"""Type of arguments that are URLs or paths."""

Info: TypeAlias = dict[str, Any]

_SLIP = re.compile(r"(rino|rinocloud|repovizz2?):/?(?!/)")
"""Looks like a mistyped URL of a service, but is a local path."""


@dataclass(frozen=True, slots=True)
class Location:
    """A URL or local path, as typed by the user and in its filesystem.

    Attributes
    ----------
    url : str
        The user's spelling.
    fs : AbstractFileSystem
        Filesystem.
    path : str
        Path in the filesystem, without protocol and trailing slash.
    matched : bool
        Whether it is the match of a pattern.
    """

    url: str
    fs: AbstractFileSystem
    path: str
    matched: bool = False

    @property
    def is_local(self) -> bool:
        """Whether it is on a local filesystem."""
        return isinstance(self.fs, LocalFileSystem)

    @property
    def name(self) -> str:
        """Last part of the path; empty for a root."""
        return self.path.rstrip("/").rpartition("/")[2]

    def below(self, relative: str) -> Location:
        """Return the location of a relative path (empty, or without a leading slash)."""
        if not relative:
            return self
        path = f"{self.path.rstrip('/')}/{relative}" if self.path else relative
        head, *chained = self.url.split("::") if _is_chain(self.url) else [self.url]
        shown = head if head.endswith("/") else f"{head}/"
        if "://" in head or not chained:
            return Location("::".join([shown + relative, *chained]), self.fs, path)
        return Location(_respelt(self.url, path), self.fs, path)

    def at(self, path: str) -> Location:
        """Return the location of another path in the same filesystem, in the same spelling."""
        start = f"{self.path.rstrip('/')}/" if self.path else ""
        if path == self.path:
            return self
        if path.startswith(start):
            return Location(self.below(path[len(start) :].lstrip("/")).url, self.fs, path)
        return Location(_respelt(self.url, path), self.fs, path)


def locate(url: str) -> Location:
    """Return the location for a URL or local path.

    Raises
    ------
    CommandError
        If the protocol is unknown, or a package for it is not installed.
    """
    if not url:
        raise CommandError("a path must not be empty")
    if (slip := _SLIP.match(url)) and not os.path.lexists(url):
        raise CommandError("no such file", url, f"did you mean {slip[1]}://{url[slip.end() :]}?")
    try:
        if "::" in url and not _is_chain(url):
            # fsspec takes every "::" for a chain of filesystems; here it is part of a name.
            kind = get_filesystem_class(split_protocol(url)[0] or "file")
            return Location(url, kind(**kind._get_kwargs_from_urls(url)), kind._strip_protocol(url))  # noqa: SLF001
        fs, path = url_to_fs(url)
    except ImportError as error:
        raise CommandError("a package for this protocol is missing", url, str(error)) from error
    except ValueError as error:
        if "Protocol not known" not in str(error):
            raise
        raise CommandError("unknown protocol", url, "use rino://, repovizz:// or a path") from None
    return Location(url, fs, path)


def expand(urls: Iterable[str], problems: Problems) -> list[Location]:
    """Return the locations of URLs, with patterns replaced by their matches.

    A URL that exists is not treated as a pattern. The shell expands patterns in local paths. Failures are
    reported and left out.
    """
    found: list[Location] = []
    for url in urls:
        with problems.collected(url):
            here = locate(url)
            if "://" not in url or not has_magic(here.path) or here.fs.exists(here.path):
                found.append(here)
                continue
            matches = sorted(here.fs.glob(here.path))
            if not matches:
                raise CommandError("nothing matches", url)
            found += [replace(here.at(match), matched=True) for match in matches]
    return found


def is_folder(info: Info) -> bool:
    """Return whether an info is that of a folder."""
    return bool(info["type"] == "directory")


def entries(here: Location) -> list[Info]:
    """Return the infos in a folder, or of a file, sorted by name.

    Raises
    ------
    FileNotFoundError
        If the location does not exist.
    """
    listed: list[Info] = here.fs.ls(here.path, detail=True)
    return sorted(listed, key=lambda info: str(info["name"]))


def tree_of(here: Location, problems: Problems, maxdepth: int | None = None) -> list[Info]:
    """Return the infos of everything below a folder, including folders, or of a file, sorted by path.

    A local folder that cannot be read is reported and left out; on a server it is an error.

    Parameters
    ----------
    here : Location
        Folder.
    problems : Problems
        Reports folders that cannot be read.
    maxdepth : int, optional
        Maximum number of levels; 1 stands for the folder's own entries.

    Raises
    ------
    FileNotFoundError
        If the location does not exist.
    """
    # By default, fsspec's walk silently ignores folders that cannot be read.
    walk = {"on_error": problems.report} if here.is_local else {}
    if here.is_local:
        here.fs.info(here.path)
    found: dict[str, Info] = here.fs.find(here.path, maxdepth=maxdepth, withdirs=True, detail=True, **walk)
    for top in {here.path, here.path.rstrip("/")} & found.keys():
        if is_folder(found[top]):
            del found[top]
    if not found and not here.is_local:
        here.fs.info(here.path)  # find returns the same for an empty and a missing folder
    return [found[path] for path in sorted(found, key=lambda path: path.split("/"))]


def _is_chain(url: str) -> bool:
    first, linked, _ = url.partition("::")
    if not linked:
        return False
    protocol = split_protocol(first)[0] or (first if first in available_protocols() else None)
    if protocol is None:
        return False
    kind = get_filesystem_class(protocol)
    accepted = inspect.signature(kind.__init__).parameters
    return bool(issubclass(kind, ChainedFileSystem)) or not accepted.keys().isdisjoint(
        {"fo", "target_protocol"}
    )


def _respelt(url: str, path: str) -> str:
    """Return a path in the spelling of `url`."""
    if "://" in path:
        return path
    links = url.split("::") if _is_chain(url) else [url]
    position = next((n for n, link in enumerate(links) if "://" in link), len(links) - 1)
    protocol, named, _ = links[position].partition("://")
    links[position] = f"{protocol}://{path}" if named else path
    return "::".join(links)
