"""The document and the files of a ``datapack://`` filesystem."""

from __future__ import annotations

import errno
import os
import time
from typing import TYPE_CHECKING, Any

from rinofs.datapack.document.model import DataNode, Tree, parse
from rinofs.datapack.document.naming import DOCUMENT_NAME
from rinofs.errors import InvalidDatapackError, InvalidOptionError

if TYPE_CHECKING:
    from fsspec import AbstractFileSystem

    from rinofs.datapack.links import Links, Place


class DocumentSource:
    """The document, read again when it has changed.

    Parameters
    ----------
    place : Place
        File of the document.
    age : float
        Seconds until it is checked for changes again.
    """

    def __init__(self, place: Place, age: float) -> None:
        self.place = place
        self._age = age
        # Replaced as a whole, so that threads need no lock.
        self._state: tuple[int, Tree, float] | None = None

    def tree(self) -> Tree:
        """Return the tree of the document, at most `age` seconds old."""
        state, now = self._state, time.monotonic()
        if state is not None and now - state[2] < self._age:
            return state[1]
        fs, path = self.place
        try:
            version = fs.checksum(path)
            tree = state[1] if state is not None and state[0] == version else self._read(fs, path)
        except FileNotFoundError as error:
            where = fs.unstrip_protocol(path)
            raise FileNotFoundError(errno.ENOENT, "no such document", where) from error
        except IsADirectoryError as error:
            where = fs.unstrip_protocol(path)
            raise IsADirectoryError(errno.EISDIR, "is a folder, not a document", where) from error
        self._state = version, tree, now
        return tree

    def tree_if_there(self) -> Tree | None:
        """Return the tree, None if there is no document."""
        try:
            return self.tree()
        except FileNotFoundError:
            return None

    def forget(self) -> None:
        """Read the document again at the next access."""
        self._state = None

    @staticmethod
    def _read(fs: AbstractFileSystem, path: str) -> Tree:
        try:
            return Tree(parse(fs.cat_file(path)))
        except InvalidDatapackError as error:
            raise InvalidDatapackError(f"{fs.unstrip_protocol(path)}: {error}") from error


class Files:
    """Finds the files of nodes.

    Parameters
    ----------
    source : DocumentSource
        Document.
    links : Links
        Finds the files of its links.
    """

    def __init__(self, source: DocumentSource, links: Links) -> None:
        self._source = source
        self._links = links

    def place(self, path: str) -> Place:
        """Return the file of a node.

        Raises
        ------
        FileNotFoundError, IsADirectoryError
            If the path is not a data node.
        InvalidDatapackError, InvalidOptionError
            If its link is not valid.
        """
        if path == DOCUMENT_NAME:
            return self._source.place
        tree = self._source.tree()
        node = tree[path]
        if not isinstance(node, DataNode):
            raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
        return self._of_link(tree, path, node.link)

    def usable_place(self, tree: Tree, entry: dict[str, Any]) -> Place | None:
        """Return the file of a listed data node, None if its link is not valid."""
        if entry["name"] == DOCUMENT_NAME:
            return self._source.place
        try:
            return self._of_link(tree, entry["name"], entry["link"])
        except (InvalidDatapackError, InvalidOptionError):
            return None  # listings include nodes that cannot be opened

    def _of_link(self, tree: Tree, path: str, link: str) -> Place:
        about = tree.document.info
        return self._links.find(path, link, about.id or about.name)
