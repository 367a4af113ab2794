"""Find the files that data nodes link to, and describe them for `info` and `ls`."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import Path, PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from fsspec.implementations.cached import CachingFileSystem
from fsspec.implementations.dirfs import DirFileSystem
from fsspec.implementations.local import LocalFileSystem

from rinofs.datapack.document.model import DataNode, Document, Node
from rinofs.errors import InvalidDatapackError, InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fsspec import AbstractFileSystem

REPOVIZZ = "repovizz:"
"""Prefix of links to files at the service; the hash of the content follows."""

_FEW = 4
"""Number of files in a folder up to which each file is looked up, instead of listing the folder."""

_STRUCTURE = re.compile("[^/]+/datapack[.]json")


class Place(NamedTuple):
    """A file: filesystem and path."""

    fs: AbstractFileSystem
    path: str


class Links:
    """Finds the files of links: beside the document, or at the service.

    Parameters
    ----------
    fs : AbstractFileSystem
        Filesystem of the document.
    document_path : str
        Path of the document.
    repovizz : AbstractFileSystem or None
        Filesystem for ``repovizz:`` links.
    """

    def __init__(
        self, fs: AbstractFileSystem, document_path: str, repovizz: AbstractFileSystem | None
    ) -> None:
        self._fs = fs
        self._repovizz = repovizz
        head, slash, _ = document_path.rpartition("/")
        self._folder = head + slash
        # Paths of HTTP filesystems are URLs, in which "#", "?", "%" and spaces of a link must be escaped.
        protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        self._escape = bool({"http", "https"} & protocols)
        self._local_folder = _local_path(fs, self._folder)
        # The document of a datapack at the service: its contents have paths beside it.
        self._is_structure = "repovizz" in protocols and bool(_STRUCTURE.fullmatch(document_path))

    def find(self, node_path: str, link: str, datapack: str | None) -> Place:
        """Return the file of a link.

        Parameters
        ----------
        node_path : str
            Path of the node, for errors.
        link : str
            Link.
        datapack : str or None
            Id or name of the datapack at the service.

        Raises
        ------
        InvalidDatapackError
            If the link is not valid, or leads out of the folder of the document.
        InvalidOptionError
            If the link leads to the service, and there is no filesystem for that.
        """
        if not link:
            raise InvalidDatapackError(f"{node_path}: 'link' is missing")
        if link.startswith(REPOVIZZ):
            return self._at_service(node_path, link, datapack)
        if _leads_out(link):
            raise InvalidDatapackError(
                f"{node_path}: the link {link!r} points outside the document's folder and is not followed"
            )
        path = self._folder + (quote(link) if self._escape else link)
        if self._local_folder is not None and not _is_inside(self._local_folder, link):
            raise InvalidDatapackError(
                f"{node_path}: {link!r} is a symbolic link out of the document's folder and is not followed;"
                " copy the file there"
            )
        return Place(self._fs, path)

    def _at_service(self, node_path: str, link: str, datapack: str | None) -> Place:
        if self._is_structure and re.fullmatch("repovizz:[0-9A-Za-z]+", link):
            return Place(self._fs, self._folder + link)
        if self._repovizz is None:
            raise InvalidOptionError(
                f"{node_path}: its file is {link}; set repovizz= to a filesystem or its options"
            )
        if not datapack:
            raise InvalidDatapackError(
                f"{node_path}: its file is {link}, but 'info' has neither the datapack's id nor its name"
            )
        if not re.fullmatch("repovizz:[0-9A-Za-z]+", link):
            raise InvalidDatapackError(f"{node_path}: {link!r} is not a repovizz link")
        return Place(self._repovizz, f"{datapack}/{link}")


def is_path(link: str) -> bool:
    """Return whether a link is a path below the document or a hash, and not a URL or empty."""
    return not {"", ".", ".."} & set(link.split("/"))


def _local_path(fs: AbstractFileSystem, path: str) -> str | None:
    """Return a file's local path, also behind a cache or another top folder; None if it is not local."""
    while not isinstance(fs, LocalFileSystem):
        if isinstance(fs, DirFileSystem):
            path, fs = fs._join(path), fs.fs  # noqa: SLF001 - fsspec's own way
        elif isinstance(fs, CachingFileSystem):
            fs = fs.fs
        else:
            return None
    return path


def _is_inside(folder: str, link: str) -> bool:
    return Path(folder, link).resolve().is_relative_to(Path(folder or ".").resolve())


def _leads_out(link: str) -> bool:
    # Both separators, since the document may also be used on Windows.
    if ".." in re.split(r"[/\\]", link) or {"", "."} & set(link.split("/")):
        return True
    return os.name == "nt" and bool(PureWindowsPath(link).drive or PureWindowsPath(link).root)


def entry_of(path: str, node: Document | Node) -> dict[str, Any]:
    """Return the info of a node; the size of a file is not known yet."""
    if isinstance(node, Document):
        about = node.info
        own: dict[str, Any] = {"node_name": about.name, "text": about.description, "id": about.id}
    else:
        own = {"node_name": node.name, "text": node.text, "id": node.id}
    if not isinstance(node, DataNode):
        return {"name": path, "size": 0, "type": "directory", **own}
    of_file = {"link": node.link, "mime": node.mime, "datatype": node.datatype}
    return {"name": path, "size": None, "type": "file", **own, **of_file}


def fill_in_sizes(
    entries: Iterable[dict[str, Any]], place_of: Callable[[dict[str, Any]], Place | None]
) -> None:
    """Set the sizes of files; lists a folder instead of looking up each file if that needs fewer requests.

    Parameters
    ----------
    entries : iterable of dict
        Infos from `entry_of`; the size stays None if it is not known or there is no file.
    place_of : callable
        Returns the file of an entry, or None.
    """
    folders: dict[tuple[int, str], list[tuple[dict[str, Any], Place]]] = defaultdict(list)
    for entry in entries:
        place = place_of(entry) if entry["type"] == "file" else None
        if place is not None:
            folder = place.fs._parent(place.path)  # noqa: SLF001 - fsspec's own way
            folders[id(place.fs), folder].append((entry, place))
    for (_, folder), files in folders.items():
        fs, path = files[0][1]
        # A datapack at the service does not list contents by hash.
        listable = len(files) > _FEW and not path.rpartition("/")[2].startswith(REPOVIZZ)
        listed = _listed_sizes(fs, folder) if listable else None
        for entry, place in files:
            entry["size"] = _size_of(place) if listed is None else listed.get(place.path)


def _size_of(place: Place) -> int | None:
    try:
        info: Mapping[str, Any] = place.fs.info(place.path)
    except FileNotFoundError:
        return None
    size = info.get("size")
    return size if isinstance(size, int) else None


def _listed_sizes(fs: AbstractFileSystem, folder: str) -> dict[str, int | None] | None:
    """Return the sizes of the files in a folder, None if the filesystem cannot list it."""
    try:
        entries = fs.ls(folder, detail=True)
    except FileNotFoundError:
        return {}
    except NotImplementedError:
        return None
    return {entry["name"]: entry.get("size") for entry in entries}
