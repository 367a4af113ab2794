"""Links of data nodes -> files of other filesystems."""

from __future__ import annotations

import os
import re
from pathlib import PureWindowsPath
from typing import TYPE_CHECKING, NamedTuple
from urllib.parse import quote

from rinofs.errors import InvalidDatapackError, InvalidOptionError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

REPOVIZZ = "repovizz:"
"""What the link of a file starts with that the service keeps; a hash follows."""

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
                f"{node_path}: the link {link!r} leads out of the document's folder, and is not followed"
            )
        return Place(self._fs, self._folder + (quote(link) if self._escape else link))

    def _at_service(self, node_path: str, link: str, datapack: str | None) -> Place:
        if self._is_structure and re.fullmatch("repovizz:[0-9A-Za-z]+", link):
            return Place(self._fs, self._folder + link)
        if self._repovizz is None:
            raise InvalidOptionError(
                f"{node_path}: its file is {link}; give repovizz=, a filesystem or the options of one"
            )
        if not datapack:
            raise InvalidDatapackError(
                f"{node_path}: its file is {link}, but 'info' says neither the datapack's id nor its name"
            )
        if not re.fullmatch("repovizz:[0-9A-Za-z]+", link):
            raise InvalidDatapackError(f"{node_path}: {link!r} is no link of repovizz")
        return Place(self._repovizz, f"{datapack}/{link}")


def _leads_out(link: str) -> bool:
    # Both slashes: a document is also read where a backslash separates names.
    if ".." in re.split(r"[/\\]", link) or {"", "."} & set(link.split("/")):
        return True
    return os.name == "nt" and bool(PureWindowsPath(link).drive or PureWindowsPath(link).root)
