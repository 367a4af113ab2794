"""Edits of a document: pure functions from document to document.

Unchanged parts are shared with the original document. Paths are those of `rinofs.datapack.document.model`. A
node that is placed at a path is renamed accordingly.
"""

from __future__ import annotations

import errno
import os
from collections import defaultdict
from typing import TYPE_CHECKING

from rinofs.datapack.document import jsontext
from rinofs.datapack.document.model import Container, DataNode, Document, Node, Tree
from rinofs.datapack.document.naming import DOCUMENT_NAME, name_of_part, parts_of
from rinofs.errors import InvalidPathError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence

Place = tuple[int, ...]
"""Position of a node: its index among its siblings, after the indices of its containers."""


def add(document: Document, path: str, node: Node) -> Document:
    """Return the document with an additional node; missing containers are added.

    Raises
    ------
    FileExistsError
        If the path exists.
    NotADirectoryError
        If a parent is a data node.
    InvalidPathError
        If the path is not allowed.
    """
    return add_all(document, {path: node})


def add_all(document: Document, nodes: Mapping[str, Node]) -> Document:
    """Return the document with additional nodes; the same as several calls of `add`, but faster."""
    added: dict[tuple[str, ...], Node] = {}
    for path, node in nodes.items():
        parts = tuple(path.split("/"))
        named = node.with_fields(name=name_of_part(parts[-1]))
        if 2 * len(parts) + jsontext.nesting(named.to_json()) > jsontext.MAX_NESTING:
            raise InvalidPathError(f"{path!r} would be nested too deeply")
        added[parts] = named
    return document.with_children(_with_nodes(document.children, added, ()))


def add_container(document: Document, path: str, *, text: str = "") -> Document:
    """Return the document with an additional, empty container; raises as `add` does."""
    return add(document, path, Container.create("", text=text))


def remove(document: Document, *paths: str) -> Document:
    """Return the document without some nodes; all paths refer to the given document.

    Raises
    ------
    FileNotFoundError
        If a path does not exist.
    InvalidPathError
        If a path is the document itself.
    """
    doomed: dict[Place, set[int]] = defaultdict(set)
    for place in _places(document, paths):
        doomed[place[:-1]].add(place[-1])
    # In reverse order, so that removals do not shift the remaining positions.
    for parent in sorted(doomed, reverse=True):
        row = enumerate(_children_at(document, parent))
        kept = [node for index, node in row if index not in doomed[parent]]
        document = _with_children(document, parent, kept)
    return document


def replace(document: Document, path: str, node: Node) -> Document:
    """Return the document with a node replaced; the new node gets the name of the old one."""
    place = _place(document, path)
    former = _at(document, place)
    assert not isinstance(former, Document)
    return _with_siblings(document, place, [node.with_fields(name=former.name)])


def set_link(document: Document, path: str, link: str) -> Document:
    """Return the document with another link in a data node.

    Raises
    ------
    FileNotFoundError
        If the path does not exist.
    IsADirectoryError
        If the path is a container.
    """
    node = Tree(document)[path]
    if not isinstance(node, DataNode):
        raise IsADirectoryError(errno.EISDIR, os.strerror(errno.EISDIR), path)
    return replace(document, path, node.with_fields(link=link))


def move(document: Document, source: str, target: str) -> Document:
    """Return the document with a node moved to another path; missing containers are added.

    A node that stays in its container keeps its position.

    Raises
    ------
    FileNotFoundError
        If `source` does not exist.
    FileExistsError
        If `target` exists.
    InvalidPathError
        If `target` is inside `source`, or is not allowed.
    """
    if source == target:
        _place(document, source)
        return document
    node = _node(document, source)
    _refuse_inside(source, target)
    if source.rpartition("/")[0] == target.rpartition("/")[0]:
        _refuse_taken(document, target)
        renamed = node.with_fields(name=name_of_part(target.rpartition("/")[2]))
        return _with_siblings(document, _place(document, source), [renamed])
    # Add before removing: otherwise siblings with the same name could be renumbered.
    place = _place(document, source)
    document = add(document, target, node)
    return _with_siblings(document, place, [])


def copy(document: Document, source: str, target: str) -> Document:
    """Return the document with a copy of a node, which has the same links.

    Ids of nodes are not copied. Raises as `move` does.
    """
    node = _node(document, source)
    _refuse_inside(source, target)
    return add(document, target, _without_ids(node))


def _with_nodes(
    children: Sequence[Node], added: Mapping[tuple[str, ...], Node], way: tuple[str, ...]
) -> list[Node]:
    """Return the children of a container, given by its path, with additional nodes at any depth."""
    row = list(children)
    indexes = _indexes(row, top=not way)
    groups: dict[str, dict[tuple[str, ...], Node]] = defaultdict(dict)
    for parts, node in added.items():
        groups[parts[0]][parts[1:]] = node
    for part, below in groups.items():
        here = (*way, part)
        path = "/".join(here)
        # The parent was added as a container already, so an added node cannot take its place.
        late = () in below and next(iter(below)) != ()
        itself = below.pop((), None)
        taken = part in indexes or path == DOCUMENT_NAME
        if itself is not None and (taken or late):
            raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), path)
        if not taken:
            indexes[part] = len(row)
            row.append(itself or Container.create(name_of_part(part)))
        if below:
            found = row[indexes[part]] if part in indexes else None
            if not isinstance(found, Container):
                raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
            row[indexes[part]] = found.with_children(_with_nodes(found.children, below, here))
    return row


def _indexes(row: Iterable[Node], *, top: bool) -> dict[str, int]:
    return {part: index for index, part in enumerate(parts_of(row, top=top))}


def _place(document: Document, path: str) -> Place:
    return _places(document, [path])[0]


def _places(document: Document, paths: Iterable[str]) -> list[Place]:
    known: dict[Place, dict[str, int]] = {}

    def index_of(part: str, outer: Place, path: str) -> int:
        if outer not in known:
            found = _at(document, outer)
            row = () if isinstance(found, DataNode) else found.children
            known[outer] = _indexes(row, top=not outer)
        if part not in known[outer]:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return known[outer][part]

    places = []
    for path in paths:
        if not path:
            raise InvalidPathError("the document itself cannot be moved, copied or removed")
        place: Place = ()
        for part in path.split("/"):
            place = (*place, index_of(part, place, path))
        places.append(place)
    return places


def _node(document: Document, path: str) -> Node:
    found = _at(document, _place(document, path))
    assert not isinstance(found, Document)
    return found


def _at(document: Document, place: Place) -> Document | Node:
    found: Document | Node = document
    for index in place:
        assert not isinstance(found, DataNode)
        found = found.children[index]
    return found


def _children_at(document: Document, place: Place) -> Sequence[Node]:
    found = _at(document, place)
    assert not isinstance(found, DataNode)
    return found.children


def _with_children(document: Document, place: Place, children: Iterable[Node]) -> Document:
    """Return the document with the children of a container replaced."""
    for depth in range(len(place), 0, -1):
        container = _at(document, place[:depth])
        assert isinstance(container, Container)
        siblings = _children_at(document, place[: depth - 1])
        index = place[depth - 1]
        children = [*siblings[:index], container.with_children(children), *siblings[index + 1 :]]
    return document.with_children(children)


def _with_siblings(document: Document, place: Place, instead: Iterable[Node]) -> Document:
    """Return the document with a node replaced by others."""
    *parent, index = place
    row = _children_at(document, tuple(parent))
    return _with_children(document, tuple(parent), [*row[:index], *instead, *row[index + 1 :]])


def _refuse_inside(source: str, target: str) -> None:
    if target.startswith(f"{source}/"):
        raise InvalidPathError(f"{target!r} is inside {source!r}")


def _refuse_taken(document: Document, target: str) -> None:
    if target == DOCUMENT_NAME or target in Tree(document):
        raise FileExistsError(errno.EEXIST, os.strerror(errno.EEXIST), target)


def _without_ids(node: Node) -> Node:
    node = node.without_fields("id")
    return node if isinstance(node, DataNode) else node.with_children(map(_without_ids, node.children))
