"""Names of nodes <-> parts of paths.

A node's name is any text; a part of a path is not empty, holds no slash and is neither ``.`` nor ``..``.
The two are in bijection: a slash shows as ``%2F``, a whole name ``.`` or ``..`` as ``%2E`` or ``%2E.``, and
a name that holds (or is) such a mark already shows it with one more ``25``. Every other ``%`` is itself.
Siblings of one name are told apart by numbers, which belong to the listing and not to the name.
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
"""At the top of a datapack, the name of the document itself."""

UNNAMED = "unnamed"
"""What a node without name and link shows as."""

_SLASH = re.compile(r"/|%((?:25)*)2F")
_DOTS = re.compile(r"%((?:25)*)2E(\.?)\Z")


def part_of_name(name: str) -> str:
    """Return how a name shows in paths; an empty one has no such form and stays empty."""
    if name in {".", ".."}:
        return "%2E" + name[1:]
    if "/" not in name and "%" not in name:
        return name
    name = _DOTS.sub(r"%25\g<1>2E\2", name) if _DOTS.match(name) else name
    return _SLASH.sub(lambda mark: "%2F" if mark[0] == "/" else f"%25{mark[1]}2F", name)


def name_of_part(part: str) -> str:
    """Return the name that shows as `part`, the inverse of `part_of_name`.

    Raises
    ------
    InvalidPathError
        If no name shows so: an empty part, ``.`` and ``..``, or one that holds a slash.
    """
    if part in {"", ".", ".."} or "/" in part:
        raise InvalidPathError(f"{part!r} cannot be a part of a path")
    if dots := _DOTS.match(part):
        return f"%{dots[1][2:]}2E{dots[2]}" if dots[1] else f".{dots[2]}"
    return _SLASH.sub(lambda mark: f"%{mark[1][2:]}2F" if mark[1] else "/", part)


def parts_of(children: Iterable[Node], *, top: bool = False) -> dict[str, Node]:
    """Return the nodes of one container by the parts of paths that they show as, in their order.

    The first node of a name shows as the name, the n-th with ``~n`` before the extension, or with the
    next number that makes a free name. Nodes without a name come after all others and go by their link.

    Parameters
    ----------
    children : iterable of nodes
        The container's children.
    top : bool, optional
        Whether they are the datapack's own children, beside which the document has its name.
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
    """The parts that are taken in one container."""

    def __init__(self, taken: set[str]) -> None:
        self._taken = taken
        self._numbers: dict[str, int] = {}

    def claim(self, part: str) -> bool:
        """Take a part; False if it is taken."""
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
        # Numbers below stay taken, so that the next one of this name need not try them again.
        self._numbers[part] = number
        return f"{stem}~{number}{extension}"
