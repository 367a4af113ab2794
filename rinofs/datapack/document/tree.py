"""The tree of a document: paths -> nodes.

Containers are directories, data nodes are files. A path is the parts of `rinofs.datapack.document.naming`
joined by slashes; the empty path is the document.
"""

from __future__ import annotations

import errno
import os
from typing import TYPE_CHECKING

from rinofs.datapack.document.document import Container, DataNode, Document, Node
from rinofs.datapack.document.naming import DOCUMENT_NAME, UNNAMED, name_of_part, part_of_name, parts_of

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping

__all__ = ["DOCUMENT_NAME", "UNNAMED", "Tree", "name_of_part", "part_of_name", "parts_of"]


class Tree:
    """Lookups by path in one document.

    What each container's children show as is found out at the first look into it, and kept.

    Parameters
    ----------
    document : Document
        The document.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self._parts: dict[int, dict[str, Node]] = {}

    def get(self, path: str) -> Document | Node | None:
        """Return the node at a path, None where there is none."""
        found: Document | Node = self.document
        for part in path.split("/") if path else ():
            if isinstance(found, DataNode):
                return None
            inner = self._children(found).get(part)
            if inner is None:
                return None
            found = inner
        return found

    def __getitem__(self, path: str) -> Document | Node:
        """Return the node at a path.

        Raises
        ------
        FileNotFoundError
            If there is none.
        """
        found = self.get(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    def __contains__(self, path: str) -> bool:
        return self.get(path) is not None

    def children(self, path: str = "") -> Mapping[str, Node]:
        """Return what a container (or the document) holds, by part, in the document's order.

        Raises
        ------
        FileNotFoundError
            If there is nothing at the path.
        NotADirectoryError
            If a data node is.
        """
        found = self[path]
        if isinstance(found, DataNode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return self._children(found)

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """Yield the nodes below a path with their paths, containers before what they hold."""
        rows = [self._row(path)]
        while rows:
            entry = next(rows[-1], None)
            if entry is None:
                rows.pop()
                continue
            yield entry
            if isinstance(entry[1], Container):
                rows.append(self._row(entry[0]))

    def _repr_html_(self) -> str:
        from rinofs.datapack.document.html import tree_html  # above this module, and for notebooks only

        return tree_html(self)

    def _row(self, path: str) -> Iterator[tuple[str, Node]]:
        before = f"{path}/" if path else ""
        return ((before + part, node) for part, node in self.children(path).items())

    def _children(self, found: Document | Container) -> dict[str, Node]:
        # By identity: the document keeps its containers alive as long as this tree lives. A container that is
        # there twice shows the same twice.
        parts = self._parts.get(id(found))
        if parts is None:
            parts = self._parts[id(found)] = parts_of(found.children, top=isinstance(found, Document))
        return parts
