"""The nodes of a datapack's document, as frozen values.

Values keep the JSON objects that they were read from, so that what this module does not know survives
a round trip, in its order. Reading is tolerant: a flaw that leaves the tree readable is no error here
(`rinofs.datapack.document.validation` lists them), and what is of a wrong type reads as absent.
"""

from __future__ import annotations

from dataclasses import dataclass
from types import MappingProxyType
from typing import TYPE_CHECKING, Any, ClassVar, Self

from rinofs.datapack.document import jsontext
from rinofs.datapack.document.jsontext import shortened
from rinofs.datapack.document.record import ELSEWHERE, Record
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Mapping, Sequence


class _Node(Record):
    kind: ClassVar[str]

    @property
    def name(self) -> str:
        """Free text; may be empty, hold slashes, and repeat among siblings."""
        return self._string("name")

    @property
    def text(self) -> str:
        """Description in free text."""
        return self._string("text")

    @property
    def id(self) -> str | None:
        """Identifier of the node, where it has one."""
        return self._optional("id")

    def with_fields(self, **changes: Any) -> Self:
        """Return the node with some keys set; those that it has keep their place."""
        return self._with({**self.fields, **changes})

    def without_fields(self, *keys: str) -> Self:
        """Return the node without some keys."""
        return self._with({key: value for key, value in self.fields.items() if key not in keys})

    def to_json(self) -> dict[str, Any]:
        """Return the node as a fresh JSON object."""
        return nodes_to_json([self])[0]

    def _with(self, fields: Mapping[str, Any]) -> Self:
        raise NotImplementedError

    def __eq__(self, other: object) -> bool:
        return isinstance(other, _Node) and equal([self], [other])

    def __hash__(self) -> int:
        return hash((self.kind, self.name))

    def __reduce__(self) -> tuple[Any, ...]:
        # As text, since pickle descends by recursion and a document may be deep.
        return node_from_text, (jsontext.dumps(self.to_json()),)


class DataNode(_Node):
    """A node that stands for a file."""

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
        """Make a data node.

        Parameters
        ----------
        name : str
            Any text.
        link : str
            Where the file is: a path relative to the document, or ``repovizz:`` and a hash.
        text : str, optional
            Description.
        mime : str, optional
            Media type, ``audio/wav``.
        datatype : str, optional
            UUID of the datatype that says what the file's numbers are.
        meta : mapping, optional
            Anything else.
        """
        fields: dict[str, Any] = {"class": "data", "name": name, "text": text, "link": link}
        optional = {"type": datatype, "mime": mime, "meta": None if meta is None else dict(meta)}
        return cls({**fields, **{key: value for key, value in optional.items() if value is not None}})

    @property
    def link(self) -> str:
        """Where the file is: a relative path, or ``repovizz:`` and a hash; empty where it is missing."""
        return self._string("link")

    @property
    def datatype(self) -> str | None:
        """UUID of the datatype."""
        return self._optional("type")

    @property
    def meta(self) -> Mapping[str, Any]:
        """Further properties."""
        meta = self.fields.get("meta")
        return meta if isinstance(meta, dict) else {}

    @property
    def mime(self) -> str | None:
        """Media type as the document gives it; it may be wrong."""
        within = self.meta.get("mime")
        return self._optional("mime") or (within if isinstance(within, str) and within else None)

    def _with(self, fields: Mapping[str, Any]) -> Self:
        return type(self)(fields)

    def __repr__(self) -> str:
        return f"DataNode({self.name!r}, link={self.link!r})"


@dataclass(frozen=True, eq=False, repr=False)
class Container(_Node):
    """A node that holds others."""

    children: tuple[Node, ...] = ()
    kind = "container"

    def __post_init__(self) -> None:
        super().__post_init__()
        if self.children and self.fields.get("children") is not ELSEWHERE:
            object.__setattr__(self, "fields", MappingProxyType({**self.fields, "children": ELSEWHERE}))

    @classmethod
    def create(cls, name: str, children: Iterable[Node] = (), *, text: str = "") -> Container:
        """Make a container of nodes."""
        fields = {"class": "container", "name": name, "text": text, "children": ELSEWHERE}
        return cls(fields, tuple(children))

    def with_children(self, children: Iterable[Node]) -> Container:
        """Return the container with other nodes in it."""
        return Container({**self.fields, "children": ELSEWHERE}, tuple(children))

    def _with(self, fields: Mapping[str, Any]) -> Self:
        return type(self)(fields, self.children)

    __hash__ = _Node.__hash__

    def __repr__(self) -> str:
        return f"Container({self.name!r}, {len(self.children)} children)"


Node = Container | DataNode
"""What a datapack is made of."""


_TOO_DEEP = f"is nested too deeply: at most {jsontext.MAX_NESTING} levels of JSON can be read"


def equal(some: Sequence[object], others: Sequence[object]) -> bool:
    """Whether two rows of nodes are equal, all the way down."""
    rows = [(some, others)]
    while rows:
        left, right = rows.pop()
        if len(left) != len(right):
            return False
        for one, other in zip(left, right, strict=True):
            if one is other:
                continue
            if not isinstance(one, Record) or type(one) is not type(other) or one.fields != other.fields:
                return False
            if isinstance(one, Container) and isinstance(other, Container):
                rows.append((one.children, other.children))
    return True


def nodes_to_json(nodes: Iterable[object]) -> list[dict[str, Any]]:
    """Return nodes as fresh JSON objects."""
    top: list[dict[str, Any]] = []
    rows = [(nodes, top)]
    while rows:
        row, into = rows.pop()
        for node in row:
            assert isinstance(node, _Node)
            fields = dict(node.fields)
            if isinstance(node, Container) and fields.get("children") is ELSEWHERE:
                fields["children"] = []
                rows.append((node.children, fields["children"]))
            into.append(fields)
    return top


def nodes_from_json(children: Sequence[Any]) -> tuple[Node, ...]:
    """Return the nodes that a JSON array holds.

    Raises
    ------
    InvalidDatapackError
        If something in it cannot be read as a node, or is nested too deeply; the message names it.
    """
    top: list[Node] = []
    open_rows: list[_Row] = [_Row(children, top)]
    while open_rows:
        row = open_rows[-1]
        for raw in row.rest:
            row.index += 1
            inner = _children_of(raw, open_rows)
            if inner is None:
                row.nodes.append(DataNode(raw))
            else:
                open_rows.append(_Row(inner, [], raw))
                break
        else:
            open_rows.pop()
            if open_rows:
                open_rows[-1].nodes.append(row.container())
    return tuple(top)


def node_from_text(text: str) -> Node:
    """Return the node that a JSON text describes."""
    return nodes_from_json([jsontext.loads(text)])[0]


class _Row:
    """Children of one container, while they are read."""

    def __init__(
        self, children: Sequence[Any], nodes: list[Node], owner: Mapping[str, Any] | None = None
    ) -> None:
        self.rest = iter(children)
        self.nodes = nodes
        self.owner = owner
        self.children = children
        self.index = -1

    def container(self) -> Container:
        assert self.owner is not None
        fields = dict(self.owner)
        if isinstance(fields.get("children"), list):
            fields["children"] = ELSEWHERE
        return Container(fields, tuple(self.nodes))

    def label(self) -> str:
        """How the child that is being read is called in messages."""
        raw = self.children[self.index]
        for key in ("name", "link"):
            if isinstance(raw, dict) and isinstance(raw.get(key), str) and raw[key]:
                return str(raw[key]).replace("/", "%2F")
        return f"[{self.index}]"


def _children_of(raw: Any, rows: Sequence[_Row]) -> list[Any] | None:
    """Return what a raw container holds, None for a data node; refuse what is neither."""
    if not isinstance(raw, dict):
        raise _refusal(rows, f"is not a JSON object but {shortened(repr(raw))}")
    level = 2 * len(rows) + 1  # the document, and an object and an array for every container on the way
    if level > jsontext.MAX_NESTING:
        raise _refusal(rows, _TOO_DEEP)
    is_container = _is_container(raw, rows)
    own = (value for key, value in raw.items() if not (is_container and key == "children"))
    if level + max(map(jsontext.nesting, own), default=0) > jsontext.MAX_NESTING:
        raise _refusal(rows, _TOO_DEEP)
    if not is_container:
        return None
    children = raw.get("children")
    if not isinstance(children, list) and children is not None:
        raise _refusal(rows, f"'children' is not an array but {shortened(repr(children))}")
    return children or []


def _is_container(raw: Mapping[str, Any], rows: Sequence[_Row]) -> bool:
    kind = raw.get("class")
    if kind in ("container", "data"):
        return bool(kind == "container")
    if "children" in raw or "link" in raw:
        return "children" in raw
    problem = "is missing" if kind is None else f"is {shortened(repr(kind))}, neither 'container' nor 'data'"
    raise _refusal(rows, f"'class' {problem}, and without it this is no node")


def _refusal(rows: Sequence[_Row], problem: str) -> InvalidDatapackError:
    labels = [row.label() for row in rows]
    if len(labels) > 12:
        labels[6:-6] = ["..."]
    return InvalidDatapackError(f"{'/'.join(labels)}: {problem}")
