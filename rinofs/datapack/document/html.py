"""HTML trees of datapacks for notebooks, with all text escaped."""

from __future__ import annotations

import json
from functools import cache
from html import escape
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING

from rinofs.datapack.document.messages import shortened
from rinofs.datapack.document.nodes import Container, DataNode
from rinofs.errors import visible

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from rinofs.datapack.document.nodes import Node

MOST_NODES = 500
"""Maximum number of nodes; a larger tree is truncated, with a note."""

_OPEN_NODES = 60  # nodes that are expanded at first, one or two screens
_DEEPEST = 32

# Colours are inherited from the notebook, for dark themes; class names are unique to rinofs.
_STYLE = """
.rinofs-pack{font-family:inherit;line-height:1.5;max-width:60em}
.rinofs-pack .name{font-weight:600}
.rinofs-pack .quiet{opacity:.65;font-size:.9em;margin-left:.6em}
.rinofs-pack .head{border-bottom:1px solid rgba(128,128,128,.4);padding-bottom:.2em;margin-bottom:.3em}
.rinofs-pack ul{list-style:none!important;margin:0!important;padding-left:1.4em!important}
.rinofs-pack li{margin:0}
.rinofs-pack summary{cursor:pointer}
""".replace("\n", "")


def tree_html(
    name: str, said: Iterable[str], children: Sequence[Node], walk: Iterable[tuple[str, Node]]
) -> str:
    """Return a datapack as HTML: its properties, then its nodes.

    Parameters
    ----------
    name : str
        Name of the datapack.
    said : iterable of str
        Other properties.
    children : sequence of nodes
        Top-level nodes.
    walk : iterable of tuple
        All nodes with their paths, containers before their children.
    """
    nodes = list(islice(walk, MOST_NODES))
    more = _count(children) - len(nodes)
    about = "".join(_quiet(text) for text in said if text)
    head = f'<div class="head"><span class="name">{_escaped(name or "datapack")}</span>{about}</div>'
    rest = f'<div class="quiet">and {more:,} more nodes</div>' if more > 0 else ""
    return f'<div class="rinofs-pack"><style>{_STYLE}</style>{head}{"".join(_lines(nodes))}{rest}</div>'


def _count(children: Sequence[Node]) -> int:
    return sum(1 + (_count(node.children) if isinstance(node, Container) else 0) for node in children)


def _lines(nodes: list[tuple[str, Node]]) -> Iterator[str]:
    """Yield nested HTML lists of nodes."""
    state = " open" if len(nodes) <= _OPEN_NODES else ""
    depth = 0
    yield "<ul>"
    for index, (path, node) in enumerate(nodes):
        level = min(path.count("/"), _DEEPEST)
        while depth > level:
            yield "</ul></details></li>"
            depth -= 1
        following = nodes[index + 1][0] if index + 1 < len(nodes) else ""
        part = path.rpartition("/")[2]
        if isinstance(node, Container) and following.startswith(f"{path}/") and level < _DEEPEST:
            yield f"<li><details{state}><summary>{_container(part, node)}</summary><ul>"
            depth += 1
        else:
            yield f"<li>{_container(part, node) if isinstance(node, Container) else _file(part, node)}</li>"
    yield "</ul></details></li>" * depth
    yield "</ul>"


def _container(part: str, node: Container) -> str:
    return f'<span class="name">{_escaped(part)}/</span>{_quiet(node.text)}'


def _file(part: str, node: DataNode) -> str:
    told = [_datatype(node), node.mime or "", node.text]
    return f"{_escaped(part)}{''.join(_quiet(text) for text in told if text)}"


def _datatype(node: DataNode) -> str:
    if node.datatype is None:
        return ""
    own = node.meta.get("datatype")
    if isinstance(own, dict) and isinstance(own.get("name"), str):
        return str(own["name"])
    return _published_names().get(node.datatype.lower()) or f"datatype {node.datatype}"


@cache
def _published_names() -> dict[str, str]:
    """Return the names of the published datatypes by id, without importing `datatypes`, which is above."""
    documents = [
        json.loads(entry.read_bytes()) for entry in files("rinofs.datapack").joinpath("data").iterdir()
    ]
    return {str(document.get("datatypeID")).lower(): document["name"] for document in reversed(documents)}


def _quiet(text: str) -> str:
    return f'<span class="quiet">{_escaped(shortened(text, 120))}</span>' if text else ""


def _escaped(text: str) -> str:
    return escape(visible(text))
