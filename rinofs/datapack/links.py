"""Resolve the links of data nodes to files, and describe these for `info` and `ls`."""

from __future__ import annotations

import os
import re
from collections import defaultdict
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, Any, NamedTuple
from urllib.parse import quote

from rinofs.datapack.document.model import DataNode, Document, Node
from rinofs.errors import InvalidDatapackError, InvalidOptionError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping

    from fsspec import AbstractFileSystem

REPOVIZZ = "repovizz:"
"""What the link of a file starts with that the service keeps; a hash follows."""

_FEW = 4
"""Files of one folder up to which each is asked about itself, rather than the folder listed."""

_STRUCTURE = re.compile("[^/]+/datapack[.]json")


class Place(NamedTuple):
    """A file: its filesystem, and its path there."""

    fs: AbstractFileSystem
    path: str


class Links:
    """Finds the files behind links: beside the document, or at the service.

    Parameters
    ----------
    fs : AbstractFileSystem
        Where the document is.
    document_path : str
        Its path there.
    repovizz : AbstractFileSystem or None
        Where ``repovizz:`` links lead.
    """

    def __init__(
        self, fs: AbstractFileSystem, document_path: str, repovizz: AbstractFileSystem | None
    ) -> None:
        self._fs = fs
        self._repovizz = repovizz
        head, slash, _ = document_path.rpartition("/")
        self._folder = head + slash
        # Paths of HTTP filesystems are URLs, in which a link's "#", "?", "%" and spaces must be escaped.
        protocols = {fs.protocol} if isinstance(fs.protocol, str) else set(fs.protocol)
        self._escape = bool({"http", "https"} & protocols)
        # The structure of a datapack at the service, whose contents are beside it there.
        self._is_structure = "repovizz" in protocols and bool(_STRUCTURE.fullmatch(document_path))

    def find(self, node_path: str, link: str, datapack: str | None) -> Place:
        """Return the file that a link leads to.

        Parameters
        ----------
        node_path : str
            Path of the node, for messages.
        link : str
            The link.
        datapack : str or None
            The datapack's id (or name) at the service.

        Raises
        ------
        InvalidDatapackError
            If it leads nowhere, or out of the folder of the document.
        InvalidOptionError
            If it leads to the service and no filesystem was given for that.
        """
        if not link:
            raise InvalidDatapackError(f"{node_path}: 'link' is missing")
        if link.startswith(REPOVIZZ):
            return self._at_service(node_path, link, datapack)
        if _leads_out(link):
            raise InvalidDatapackError(
                f"{node_path}: the link {link!r} points outside the document's folder and is not followed"
            )
        return Place(self._fs, self._folder + (quote(link) if self._escape else link))

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
    """Return whether a link is a path below the document or a hash, and not a URL or nothing."""
    return not {"", ".", ".."} & set(link.split("/"))


def _leads_out(link: str) -> bool:
    # Both slashes: a document is also read where a backslash separates names.
    if ".." in re.split(r"[/\\]", link) or {"", "."} & set(link.split("/")):
        return True
    return os.name == "nt" and bool(PureWindowsPath(link).drive or PureWindowsPath(link).root)


def entry_of(path: str, node: Document | Node) -> dict[str, Any]:
    """Return what `info` says of a node; the size of a file is not known yet."""
    if isinstance(node, Document):
        about = node.info
        own: dict[str, Any] = {"node_name": about.name, "text": about.description, "id": about.id}
    else:
        own = {"node_name": node.name, "text": node.text, "id": node.id}
    if not isinstance(node, DataNode):
        return {"name": path, "size": 0, "type": "directory", **own}
    of_file = {"link": node.link, "mime": node.mime, "datatype": node.datatype}
    return {"name": path, "size": None, "type": "file", **own, **of_file}


def measure(entries: Iterable[dict[str, Any]], place_of: Callable[[dict[str, Any]], Place | None]) -> None:
    """Set the sizes of files, asking their folders once where that is less to ask.

    Parameters
    ----------
    entries : iterable of dict
        What `entry_of` returned; the size stays None where it is not known, or where there is no file.
    place_of : callable
        Tells where the file of an entry is, None if that cannot be told.
    """
    folders: dict[tuple[int, str], list[tuple[dict[str, Any], Place]]] = defaultdict(list)
    for entry in entries:
        place = place_of(entry) if entry["type"] == "file" else None
        if place is not None:
            folder = place.fs._parent(place.path)  # noqa: SLF001 - fsspec's own way
            folders[id(place.fs), folder].append((entry, place))
    for (_, folder), files in folders.items():
        fs, path = files[0][1]
        # A datapack at the service does not list its files by their hashes.
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
    """Return the sizes of the files in a folder, None where the filesystem cannot list."""
    try:
        entries = fs.ls(folder, detail=True)
    except FileNotFoundError:
        return {}
    except NotImplementedError:
        return None
    return {entry["name"]: entry.get("size") for entry in entries}
