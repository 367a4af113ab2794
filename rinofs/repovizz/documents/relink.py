"""Documents with other links, whatever their depth."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from rinofs.datapack import from_json

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator

    from rinofs.datapack import Document


def relinked(document: Document, link_of: Callable[[str], str]) -> Document:
    """Return a document in which each link is what a function makes of it."""
    value = document.to_json()
    for node in _data_nodes(value):
        node["link"] = link_of(str(node.get("link", "")))
    return from_json(value)


def without_links(document: Document) -> Document:
    """Return what documents have in common that differ only in where the files are."""
    return relinked(document, lambda _link: "")


def _data_nodes(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rows = [list(value.get("children") or [])]
    while rows:
        for node in rows.pop():
            if isinstance(node.get("children"), list) and node.get("class") != "data":
                rows.append(node["children"])
            elif node.get("class") != "container":
                yield node
