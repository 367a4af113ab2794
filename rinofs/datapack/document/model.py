"""The datapack document: properties of a datapack, and its tree of nodes.

Containers are directories, data nodes are files. A path consists of the parts of
`rinofs.datapack.document.naming`, separated by slashes; the empty path is the document.
"""

from __future__ import annotations

import errno
import os
from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rinofs.datapack.document import jsontext
from rinofs.datapack.document.naming import parts_of
from rinofs.datapack.document.nodes import ELSEWHERE, Container, DataNode, JsonRecord, Node, nodes_from_json
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

__all__ = ["Container", "DataNode", "Document", "Info", "Node", "Tree", "dump", "from_json", "parse"]


class Info(JsonRecord):
    """Properties of a datapack."""

    @property
    def name(self) -> str:
        """Name of the datapack."""
        return self._string("name")

    @property
    def author(self) -> str:
        """Author of the datapack."""
        return self._string("author")

    @property
    def description(self) -> str:
        """Description of the datapack, free text."""
        return self._string("description")

    @property
    def keywords(self) -> tuple[str, ...]:
        """Keywords for searches."""
        words = self.fields.get("keywords")
        return tuple(word for word in words if isinstance(word, str)) if isinstance(words, list) else ()

    @property
    def id(self) -> str | None:
        """UUID of the datapack at the service, None before it is uploaded."""
        return self._optional("id")

    def __eq__(self, other: object) -> bool:
        return isinstance(other, Info) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash(self.name)

    def __repr__(self) -> str:
        return f"Info({dict(self.fields)!r})"

    def __reduce__(self) -> tuple[Any, ...]:
        return Info, (dict(self.fields),)


@dataclass(frozen=True, eq=False, repr=False)
class Document:
    """The document of a datapack: its properties and its nodes."""

    info: Info
    children: tuple[Node, ...] = ()
    fields: Mapping[str, Any] = field(default_factory=lambda: {"info": ELSEWHERE, "children": ELSEWHERE})

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))

    @classmethod
    def create(
        cls,
        name: str,
        children: Iterable[Node] = (),
        *,
        author: str = "",
        description: str = "",
        keywords: Iterable[str] = (),
    ) -> Document:
        """Create a document from nodes."""
        about = {"name": name, "author": author, "description": description}
        return cls(Info({**about, "keywords": list(dict.fromkeys(keywords))}), tuple(children))

    def with_children(self, children: Iterable[Node]) -> Document:
        """Return the document with its nodes replaced."""
        return Document(self.info, tuple(children), {**self.fields, "children": ELSEWHERE})

    def with_info(self, **changes: Any) -> Document:
        """Return the document with some properties replaced."""
        info = Info({**self.info.fields, **changes})
        return Document(info, self.children, {**self.fields, "info": ELSEWHERE})

    def to_json(self) -> dict[str, Any]:
        """Return the document as a new JSON object."""
        own = {"info": dict(self.info.fields), "children": [child.to_json() for child in self.children]}
        return {key: own[key] if value is ELSEWHERE else value for key, value in self.fields.items()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Document) or self.fields != other.fields or self.info != other.info:
            return False
        return self.children == other.children

    def __hash__(self) -> int:
        return hash((self.info, len(self.children)))

    def __repr__(self) -> str:
        return f"Document({self.info.name!r}, {len(self.children)} children)"

    def _repr_html_(self) -> str:
        return Tree(self)._repr_html_()

    def __reduce__(self) -> tuple[Any, ...]:
        return parse, (dump(self),)


class Tree:
    """Lookups by path in one document.

    The parts of a container's children are computed on first access.

    Parameters
    ----------
    document : Document
        Document.
    """

    def __init__(self, document: Document) -> None:
        self.document = document
        self._parts: dict[int, dict[str, Node]] = {}

    def get(self, path: str) -> Document | Node | None:
        """Return the node at a path, or None."""
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
            If the path does not exist.
        """
        found = self.get(path)
        if found is None:
            raise FileNotFoundError(errno.ENOENT, os.strerror(errno.ENOENT), path)
        return found

    def __contains__(self, path: str) -> bool:
        return self.get(path) is not None

    def children(self, path: str = "") -> Mapping[str, Node]:
        """Return the children of a container or of the document, by part of the path, in order.

        Raises
        ------
        FileNotFoundError
            If the path does not exist.
        NotADirectoryError
            If the path is a data node.
        """
        found = self[path]
        if isinstance(found, DataNode):
            raise NotADirectoryError(errno.ENOTDIR, os.strerror(errno.ENOTDIR), path)
        return self._children(found)

    def walk(self, path: str = "") -> Iterator[tuple[str, Node]]:
        """Yield all nodes below a path with their paths, containers before their children."""
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
        from rinofs.datapack.document.html import tree_html  # for notebooks only

        info = self.document.info
        said = (info.author, info.description, ", ".join(info.keywords))
        return tree_html(info.name, said, self.document.children, self.walk())

    def _row(self, path: str) -> Iterator[tuple[str, Node]]:
        before = f"{path}/" if path else ""
        return ((before + part, node) for part, node in self.children(path).items())

    def _children(self, found: Document | Container) -> dict[str, Node]:
        # By identity, which is safe as the document keeps its containers alive. A container that occurs twice
        # has the same parts in both places.
        parts = self._parts.get(id(found))
        if parts is None:
            parts = self._parts[id(found)] = parts_of(found.children, top=isinstance(found, Document))
        return parts


def parse(text: str | bytes) -> Document:
    """Parse the JSON text of a document.

    Parameters
    ----------
    text : str or bytes
        Content of a ``datapack.json``.

    Raises
    ------
    InvalidDatapackError
        If it is not valid JSON, or not a tree of nodes; the message names the node.
    """
    return from_json(jsontext.loads(text))


def from_json(value: Any) -> Document:
    """Return the document for a JSON object; raises as `parse` does."""
    if not isinstance(value, dict):
        raise InvalidDatapackError("a datapack document is a JSON object with 'info' and 'children'")
    fields = dict(value)
    info, children = fields.get("info"), fields.get("children")
    if "info" not in fields and "children" not in fields:
        raise InvalidDatapackError("not a datapack document: 'info' and 'children' are missing")
    if children is not None and not isinstance(children, list):
        raise InvalidDatapackError("'children' is not an array of nodes")
    if jsontext.nesting({key: fields[key] for key in fields if key != "children"}) > jsontext.MAX_NESTING:
        raise InvalidDatapackError(jsontext.TOO_DEEP)
    if isinstance(info, dict):
        fields["info"] = ELSEWHERE
    if isinstance(children, list):
        fields["children"] = ELSEWHERE
    return Document(Info(info if isinstance(info, dict) else {}), nodes_from_json(children or []), fields)


def dump(document: Document, indent: int | None = None) -> str:
    """Serialize a document as JSON.

    Parameters
    ----------
    document : Document
        Document.
    indent : int, optional
        Indentation in spaces; without it, the result is one line.

    Raises
    ------
    InvalidDatapackError
        If a value has no JSON form.
    """
    return jsontext.dumps(document.to_json(), indent)
