"""The nodes of a datapack's document, as immutable values.

Nodes keep the JSON objects that they were parsed from, so that unknown keys survive a round trip, in order.
Parsing is tolerant: only a document without a readable tree is an error.
`rinofs.datapack.document.validation` lists other flaws; values of the wrong type are treated as missing.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from rinofs.datapack.document import jsontext
from rinofs.datapack.document.messages import shortened
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


ELSEWHERE: tuple[()] = ()
"""Marks a value in ``fields`` that is an attribute of its own; no JSON value is a tuple."""


@dataclass(frozen=True, eq=False, repr=False)
class JsonRecord:
    """A JSON object: typed properties for known keys, and all keys as parsed."""

    fields: Mapping[str, Any]

    def __post_init__(self) -> None:
        object.__setattr__(self, "fields", MappingProxyType(dict(self.fields)))

    def _string(self, key: str) -> str:
        value = self.fields.get(key)
        return value if isinstance(value, str) else ""

    def _optional(self, key: str) -> str | None:
        return self._string(key) or None


class _Node(JsonRecord):
    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Any text; may be empty, contain slashes, and repeat among siblings."""
        return self._string("name")

    @property
    def text(self) -> str:
        """Description, free text."""
        return self._string("text")

    @property
    def id(self) -> str | None:
        """Identifier of the node, if any."""
        return self._optional("id")

    def with_fields(self, **changes: Any) -> Self:
        """Return the node with some keys set; existing keys keep their position."""
        return self._with({**self.fields, **changes})

    def without_fields(self, *keys: str) -> Self:
        """Return the node without some keys."""
        return self._with({key: value for key, value in self.fields.items() if key not in keys})

    def to_json(self) -> dict[str, Any]:
        """Return the node as a new JSON object."""
        return dict(self.fields)

    def _with(self, fields: Mapping[str, Any]) -> Self:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return type(self) is type(other) and self.fields == other.fields

    def __hash__(self) -> int:
        return hash((self.kind, self.name))

    def __reduce__(self) -> tuple[Any, ...]:
        return node_from_text, (jsontext.dumps(self.to_json()),)


class DataNode(_Node):
    """A node that represents a file."""

    kind = "data"

    @classmethod
    def create(
        cls,
        name: str,
        link: str,
        *,
        text: str = "",
        mime: str | None = None,
        datatype: str | None = None,
        meta: Mapping[str, Any] | None = None,
    ) -> DataNode:
        """Create a data node.

        Parameters
        ----------
        name : str
            Any text.
        link : str
            Location of the file: a path relative to the document, or ``repovizz:`` and a hash.
        text : str, optional
            Description.
        mime : str, optional
            Media type, such as ``audio/wav``.
        datatype : str, optional
            UUID of the datatype, which describes the numbers in the file.
        meta : mapping, optional
            Any other properties.
        """
        fields: dict[str, Any] = {"class": "data", "name": name, "text": text, "link": link}
        optional = {"type": datatype, "mime": mime, "meta": None if meta is None else dict(meta)}
        return cls({**fields, **{key: value for key, value in optional.items() if value is not None}})

    @property
    def link(self) -> str:
        """Location of the file: a relative path, or ``repovizz:`` and a hash; empty if missing."""
        return self._string("link")

    @property
    def is_at_service(self) -> bool:
        """Whether the file is stored in repovizz2, which assigns the hash when it is uploaded."""
        return self.link.startswith("repovizz:")

    @property
    def datatype(self) -> str | None:
        """UUID of the datatype."""
        return self._optional("type")

    @property
    def meta(self) -> Mapping[str, Any]:
        """Any other properties."""
        meta = self.fields.get("meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def mime(self) -> str | None:
        """Media type in the document; it may be wrong."""
        within = self.meta.get("mime")
        return self._optional("mime") or (within if isinstance(within, str) and within else None)

    def _with(self, fields: Mapping[str, Any]) -> Self:
        return type(self)(fields)

    def __repr__(self) -> str:
        return f"DataNode({self.name!r}, link={self.link!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Container(_Node):
    """A node that contains other nodes."""

    children: tuple[Node, ...] = ()
    kind = "container"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.children and self.fields.get("children") is not ELSEWHERE:
            object.__setattr__(self, "fields", MappingProxyType({**self.fields, "children": ELSEWHERE}))

    @classmethod
    def create(cls, name: str, children: Iterable[Node] = (), *, text: str = "") -> Container:
        """Create a container from nodes."""
        fields = {"class": "container", "name": name, "text": text, "children": ELSEWHERE}
        return cls(fields, tuple(children))

    def with_children(self, children: Iterable[Node]) -> Container:
        """Return the container with its nodes replaced."""
        return Container({**self.fields, "children": ELSEWHERE}, tuple(children))

    def _with(self, fields: Mapping[str, Any]) -> Self:
        return type(self)(fields, self.children)

    def to_json(self) -> dict[str, Any]:
        """Return the container and everything in it as a new JSON object."""
        fields = dict(self.fields)
        if fields.get("children") is ELSEWHERE:
            fields["children"] = [child.to_json() for child in self.children]
        return fields

    def __eq__(self, other: object) -> bool:
        return super().__eq__(other) and self.children == other.children  # type: ignore[attr-defined]

    __hash__ = _Node.__hash__

    def __repr__(self) -> str:
        return f"Container({self.name!r}, {len(self.children)} children)"


Node = Container | DataNode
"""A node of a datapack."""


def nodes_from_json(children: Sequence[Any]) -> tuple[Node, ...]:
    """Return the nodes in a JSON array.

    Raises
    ------
    InvalidDatapackError
        If an item is not a node, or is nested too deeply; the message names it.
    """
    return _nodes(children, ())


def node_from_text(text: str) -> Node:
    """Parse the JSON text of a node."""
    return nodes_from_json([jsontext.loads(text)])[0]


def _nodes(children: Sequence[Any], way: tuple[str, ...]) -> tuple[Node, ...]:
    return tuple([_node(raw, (*way, _label(raw, index))) for index, raw in enumerate(children)])


def _label(raw: Any, index: int) -> str:
    """Return the name of a node for messages."""
    for key in ("name", "link"):
        if isinstance(raw, dict) and isinstance(raw.get(key), str) and raw[key]:
            return str(raw[key]).replace("/", "%2F")
    return f"[{index}]"


def _node(raw: Any, way: tuple[str, ...]) -> Node:
    """Return the node for a JSON object; raises an error if it is not one."""
    if not isinstance(raw, dict):
        raise _refusal(way, f"is not a JSON object but {shortened(repr(raw))}")
    level = 2 * len(way) + 1  # one level for the document, and an object and an array for each container
    is_container = _is_container(raw, way)
    own = (value for key, value in raw.items() if not (is_container and key == "children"))
    if level + max(map(jsontext.nesting, own), default=0) > jsontext.MAX_NESTING:
        raise _refusal(way, f"is {jsontext.TOO_DEEP}")
    if not is_container:
        return DataNode(raw)
    children = raw.get("children")
    if not isinstance(children, list):
        if children is not None:
            raise _refusal(way, f"'children' is not an array but {shortened(repr(children))}")
        return Container(raw)
    return Container({**raw, "children": ELSEWHERE}, _nodes(children, way))


def _is_container(raw: Mapping[str, Any], way: tuple[str, ...]) -> bool:
    kind = raw.get("class")
    if kind in ("container", "data"):
        return bool(kind == "container")
    if "children" in raw or "link" in raw:
        return "children" in raw
    problem = "is missing" if kind is None else f"is {shortened(repr(kind))}, neither 'container' nor 'data'"
    raise _refusal(way, f"'class' {problem}; every node needs it")


def _refusal(way: tuple[str, ...], problem: str) -> InvalidDatapackError:
    labels = list(way)
    if len(labels) > 12:
        labels[6:-6] = ["..."]
    return InvalidDatapackError(f"{'/'.join(labels)}: {problem}")
