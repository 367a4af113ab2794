"""Convert names of nodes to parts of paths, and back.

A node's name is any text; a part of a path is not empty, contains no slash, and is neither ``.`` nor ``..``.
The conversion is reversible: a slash becomes ``%2F``, the names ``.`` and ``..`` become ``%2E`` and ``%2E.``,
and a name that already contains such a sequence gets another ``25`` after its ``%``. Every other ``%`` is
unchanged. Siblings with the same name are numbered in paths; the number is not part of the name.
"""

from __future__ import annotations

import re
from posixpath import splitext
from typing import TYPE_CHECKING

from rinofs.datapack.document.nodes import DataNode, Node
from rinofs.errors import InvalidPathError

if TYPE_CHECKING:
    from collections.abc import Iterable

DOCUMENT_NAME = "datapack.json"
"""The part for the document itself, at the top level of a datapack."""

UNNAMED = "unnamed"
"""The part for a node without name and link."""

_SLASH = re.compile(r"/|%((?:25)*)2F")
_DOTS = re.compile(r"%((?:25)*)2E(\.?)\Z")


def part_of_name(name: str) -> str:
    """Return the part of a path for a name; empty for an empty name, which has none."""
    if name in {".", ".."}:
        return "%2E" + name[1:]
    if "/" not in name and "%" not in name:
        return name
    name = _DOTS.sub(r"%25\g<1>2E\2", name) if _DOTS.match(name) else name
    return _SLASH.sub(lambda mark: "%2F" if mark[0] == "/" else f"%25{mark[1]}2F", name)


def name_of_part(part: str) -> str:
    """Return the name for a part of a path, the inverse of `part_of_name`.

    Raises
    ------
    InvalidPathError
        If no name has this part: it is empty, ``.`` or ``..``, or contains a slash.
    """
    if part in {"", ".", ".."} or "/" in part:
        raise InvalidPathError(f"{part!r} cannot be a part of a path")
    if dots := _DOTS.match(part):
        return f"%{dots[1][2:]}2E{dots[2]}" if dots[1] else f".{dots[2]}"
    return _SLASH.sub(lambda mark: f"%{mark[1][2:]}2F" if mark[1] else "/", part)


def parts_of(children: Iterable[Node], *, top: bool = False) -> dict[str, Node]:
    """Return the nodes of a container by part of the path, in order.

    The first node with a name gets the name, the n-th gets ``~n`` before the extension, or the next number
    that gives a free name. Nodes without a name come last and are named after their link.

    Parameters
    ----------
    children : iterable of nodes
        Children of the container.
    top : bool, optional
        Whether they are at the top level, where the document's own name is taken.
    """
    nodes = list(children)
    named = {index: part_of_name(node.name) for index, node in enumerate(nodes) if node.name}
    nameless = {index: _fallback(node) for index, node in enumerate(nodes) if not node.name}
    names = _Names({DOCUMENT_NAME} if top else set())
    shown: dict[int, str] = {}
    for group in (named, nameless):
        shown |= {index: part for index, part in group.items() if names.claim(part)}
        shown |= {index: names.number(part) for index, part in group.items() if index not in shown}
    return {shown[index]: node for index, node in enumerate(nodes)}


def _fallback(node: Node) -> str:
    return part_of_name(node.link if isinstance(node, DataNode) else "") or UNNAMED


class _Names:
    """The parts that are taken in a container."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._numbers: dict[str, int] = {}

    def claim(self, part: str) -> bool:
        """Take a part; returns False if it is already taken."""
        if part in self._taken:
            return False
        self._taken.add(part)
        return True

    def number(self, part: str) -> str:
        """Take the next free numbered form of a part."""
        stem, extension = splitext(part)
        number = self._numbers.get(part, 1) + 1
        while not self.claim(f"{stem}~{number}{extension}"):
            number += 1
        # Lower numbers remain taken, so the next node with this name starts here.
        self._numbers[part] = number
        return f"{stem}~{number}{extension}"
