"""Datapacks in notebooks: their trees as HTML, with everything in them escaped."""

from __future__ import annotations

from html import escape
from typing import TYPE_CHECKING

from rinofs.datapack.datatypes.registry import DatatypeRegistry
from rinofs.datapack.document.jsontext import shortened
from rinofs.datapack.document.nodes import Container, DataNode

if TYPE_CHECKING:
    from collections.abc import Iterator

    from rinofs.datapack.document.document import Document
    from rinofs.datapack.document.nodes import Node
    from rinofs.datapack.document.tree import Tree

MOST_NODES = 500
"""Nodes that are shown; of larger trees the first, with a word on the rest."""

_OPEN_NODES = 60  # what is open at once, so that a tree fits a screen or two
_DEEPEST = 32

# Colours come from the notebook, so that it can be dark; classes are ours alone.
_STYLE = """
.rinofs-pack{font-family:inherit;line-height:1.5;max-width:60em}
.rinofs-pack .name{font-weight:600}
.rinofs-pack .quiet{opacity:.65;font-size:.9em;margin-left:.6em}
.rinofs-pack .head{border-bottom:1px solid rgba(128,128,128,.4);padding-bottom:.2em;margin-bottom:.3em}
.rinofs-pack ul{list-style:none!important;margin:0!important;padding-left:1.4em!important}
.rinofs-pack li{margin:0}
.rinofs-pack summary{cursor:pointer}
""".replace("\n", "")


def tree_html(tree: Tree) -> str:
    """Return a tree as HTML: what the datapack says about itself, then its nodes."""
    document = tree.document
    nodes = list(_first(tree))
    more = _count(document) - len(nodes)
    body = "".join(_lines(nodes))
    rest = f'<div class="quiet">and {more:,} more nodes</div>' if more > 0 else ""
    return f'<div class="rinofs-pack"><style>{_STYLE}</style>{_head(document)}{body}{rest}</div>'


def _first(tree: Tree) -> Iterator[tuple[str, Node]]:
    for number, entry in enumerate(tree.walk()):
        if number == MOST_NODES:
            return
        yield entry


def _count(document: Document) -> int:
    count, rows = 0, [document.children]
    while rows:
        row = rows.pop()
        count += len(row)
        rows += [node.children for node in row if isinstance(node, Container)]
    return count


def _head(document: Document) -> str:
    info = document.info
    said = [info.author, info.description, ", ".join(info.keywords)]
    about = "".join(_quiet(text) for text in said if text)
    return f'<div class="head"><span class="name">{escape(info.name or "datapack")}</span>{about}</div>'


def _lines(nodes: list[tuple[str, Node]]) -> Iterator[str]:
    """Yield the rows of a list of nodes, lists within lists."""
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
    return f'<span class="name">{escape(part)}/</span>{_quiet(node.text)}'


def _file(part: str, node: DataNode) -> str:
    told = [_datatype(node), node.mime or "", node.text]
    return f"{escape(part)}{''.join(_quiet(text) for text in told if text)}"


def _datatype(node: DataNode) -> str:
    if node.datatype is None:
        return ""
    own = node.meta.get("datatype")
    if isinstance(own, dict) and isinstance(own.get("name"), str):
        return str(own["name"])
    known = DatatypeRegistry.published().get(node.datatype)
    return known.name if known else f"datatype {node.datatype}"


def _quiet(text: str) -> str:
    return f'<span class="quiet">{escape(shortened(text, 120))}</span>' if text else ""
