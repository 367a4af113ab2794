"""The datapack document: what a datapack says about itself, and its tree of nodes."""

from __future__ import annotations

from dataclasses import dataclass, field
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rinofs.datapack.document import jsontext
from rinofs.datapack.document.nodes import Container, DataNode, Node, equal, nodes_from_json, nodes_to_json
from rinofs.datapack.document.record import ELSEWHERE, Info
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping

__all__ = ["Container", "DataNode", "Document", "Info", "Node", "dump", "from_json", "parse"]


@dataclass(frozen=True, eq=False, repr=False)
class Document:
    """A datapack's document: what it says about itself, and its nodes."""

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
        """Make a document of nodes."""
        about = {"name": name, "author": author, "description": description}
        return cls(Info({**about, "keywords": list(dict.fromkeys(keywords))}), tuple(children))

    def with_children(self, children: Iterable[Node]) -> Document:
        """Return the document with other nodes in it."""
        return Document(self.info, tuple(children), {**self.fields, "children": ELSEWHERE})

    def with_info(self, **changes: Any) -> Document:
        """Return the document with other words about itself."""
        info = Info({**self.info.fields, **changes})
        return Document(info, self.children, {**self.fields, "info": ELSEWHERE})

    def to_json(self) -> dict[str, Any]:
        """Return the document as a fresh JSON object."""
        own = {"info": dict(self.info.fields), "children": nodes_to_json(self.children)}
        return {key: own[key] if value is ELSEWHERE else value for key, value in self.fields.items()}

    def __eq__(self, other: object) -> bool:
        if not isinstance(other, Document) or self.fields != other.fields or self.info != other.info:
            return False
        return equal(self.children, other.children)

    def __hash__(self) -> int:
        return hash((self.info, len(self.children)))

    def __repr__(self) -> str:
        return f"Document({self.info.name!r}, {len(self.children)} children)"

    def _repr_html_(self) -> str:
        from rinofs.datapack.document.tree import Tree  # above this module

        return Tree(self)._repr_html_()

    def __reduce__(self) -> tuple[Any, ...]:
        return parse, (dump(self),)


def parse(text: str | bytes) -> Document:
    """Return the document that a JSON text holds.

    Parameters
    ----------
    text : str or bytes
        The content of a ``datapack.json``.

    Raises
    ------
    InvalidDatapackError
        If it is not JSON, or no tree of nodes; the message names the node.
    """
    return from_json(jsontext.loads(text))


def from_json(value: Any) -> Document:
    """Return the document that a JSON object holds; raises as `parse` does."""
    if not isinstance(value, dict):
        raise InvalidDatapackError("a datapack document is a JSON object with 'info' and 'children'")
    fields = dict(value)
    info, children = fields.get("info"), fields.get("children")
    if "info" not in fields and "children" not in fields:
        raise InvalidDatapackError("'info' and 'children' are missing: this is no datapack document")
    if children is not None and not isinstance(children, list):
        raise InvalidDatapackError("'children' is not an array of nodes")
    if jsontext.nesting({key: fields[key] for key in fields if key != "children"}) > jsontext.MAX_NESTING:
        raise InvalidDatapackError(f"nested too deeply: at most {jsontext.MAX_NESTING} levels can be read")
    if isinstance(info, dict):
        fields["info"] = ELSEWHERE
    if isinstance(children, list):
        fields["children"] = ELSEWHERE
    return Document(Info(info if isinstance(info, dict) else {}), nodes_from_json(children or []), fields)


def dump(document: Document, indent: int | None = None) -> str:
    """Return the JSON text of a document.

    Parameters
    ----------
    document : Document
        The document.
    indent : int, optional
        Spaces a level, for a text that people read; one line otherwise.

    Raises
    ------
    InvalidDatapackError
        If JSON cannot hold a value that was put into it.
    """
    return jsontext.dumps(document.to_json(), indent)
