"""Datapacks as the service tells of them, as frozen values."""

from __future__ import annotations

from dataclasses import dataclass, replace
from functools import cached_property
from typing import TYPE_CHECKING, Any

from rinofs.datapack import DataNode, Document, Tree, dump, from_json
from rinofs.datapack.document import edits
from rinofs.datapack.links import REPOVIZZ
from rinofs.errors import InvalidDatapackError, ProtocolError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping


@dataclass(frozen=True)
class Datapack:
    """A datapack as it was at one moment.

    Attributes
    ----------
    id : str
        UUID, lower case.
    name : str
        What it is called; its document may say something else.
    document : Document
        Its structure.
    etag : str or None
        Names this very state, where the server says.
    problem : str or None
        Why the structure cannot be read, if it cannot; the document is an empty one then.
    """

    id: str
    name: str
    document: Document
    etag: str | None = None
    problem: str | None = None

    @cached_property
    def tree(self) -> Tree:
        """The paths of its nodes."""
        return Tree(self.document)

    @cached_property
    def text(self) -> bytes:
        """What ``datapack.json`` holds."""
        return (dump(self.document, indent=2) + "\n").encode()

    @cached_property
    def links(self) -> Mapping[str, int]:
        """How many nodes have each link."""
        counts: dict[str, int] = {}
        for _, node in self.tree.walk():
            if isinstance(node, DataNode):
                counts[node.link] = counts.get(node.link, 0) + 1
        return counts

    def relinked(self, link: str, new: str) -> Datapack:
        """Return the datapack after a content was stored for the nodes of a link."""
        document = self.document
        for path, node in self.tree.walk():
            if isinstance(node, DataNode) and node.link == link:
                document = edits.set_link(document, path, new)
        return self.changed(document, None)

    def changed(self, document: Document, etag: str | None) -> Datapack:
        """Return the datapack after an edit."""
        return replace(self, document=document, etag=etag)


@dataclass(frozen=True, slots=True)
class Account:
    """Who is asking.

    Attributes
    ----------
    id : int or str
        What datapacks name their owner by.
    username : str or None
        The name, where the service says.
    datapacks : tuple of str
        The ids of the user's datapacks.
    """

    id: int | str
    username: str | None
    datapacks: tuple[str, ...]


def hash_of(link: str) -> str | None:
    """Return the hash in a link to a content of the service's; None for another one."""
    return link.removeprefix(REPOVIZZ) or None if link.startswith(REPOVIZZ) else None


def parse_datapack(value: Any, etag: str | None, url: str) -> Datapack:
    """Read an item of the service's.

    Parameters
    ----------
    value : object
        The JSON value.
    etag : str or None
        What names its state.
    url : str
        Where it came from, for messages.

    Raises
    ------
    ProtocolError
        If it is none.
    """
    if not isinstance(value, dict) or not isinstance(value.get("id"), str) or "structure" not in value:
        raise ProtocolError("not a datapack; is this a repovizz2 server?", url)
    name, problem = value.get("name"), None
    try:
        document = from_json(value["structure"])
    except InvalidDatapackError as error:
        # One that cannot be read must not hide the others that are listed with it.
        document, problem = Document.create(""), str(error)
    identifier = value["id"].lower()
    name = name if isinstance(name, str) else document.info.name
    return Datapack(identifier, name, document, None if problem else etag, problem)


def parse_account(value: Any, url: str) -> Account:
    """Read what the service says of a user; raises ProtocolError if it is nothing of that kind."""
    if not isinstance(value, dict) or not isinstance(value.get("id"), int | str):
        raise ProtocolError("not a user; is this a repovizz2 server?", url)
    username, ids = value.get("username"), value.get("datapacks")
    known = tuple(str(each).lower() for each in ids) if isinstance(ids, list) else ()
    return Account(value["id"], username if isinstance(username, str) else None, known)


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
