"""The service's descriptions of datapacks and users, as frozen dataclasses."""

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
    """The state of a datapack at one time.

    Attributes
    ----------
    id : str
        UUID in lower case.
    name : str
        Name at the service; the document may contain another one.
    document : Document
        Document.
    etag : str or None
        Identifies this state, if the server reports it.
    problem : str or None
        Why the document cannot be read; None if it can. If not None, the document is empty.
    """

    id: str
    name: str
    document: Document
    etag: str | None = None
    problem: str | None = None

    @cached_property
    def tree(self) -> Tree:
        """Lookups by path."""
        return Tree(self.document)

    @cached_property
    def text(self) -> bytes:
        """Content of ``datapack.json``."""
        return (dump(self.document, indent=2) + "\n").encode()

    @cached_property
    def links(self) -> Mapping[str, int]:
        """Number of nodes for each link."""
        counts: dict[str, int] = {}
        for _, node in self.tree.walk():
            if isinstance(node, DataNode):
                counts[node.link] = counts.get(node.link, 0) + 1
        return counts

    def relinked(self, link: str, new: str) -> Datapack:
        """Return the state after a content was stored for the nodes with a link."""
        document = self.document
        for path, node in self.tree.walk():
            if isinstance(node, DataNode) and node.link == link:
                document = edits.set_link(document, path, new)
        return self.changed(document, None)

    def changed(self, document: Document, etag: str | None) -> Datapack:
        """Return the state after an edit."""
        return replace(self, document=document, etag=etag)


@dataclass(frozen=True, slots=True)
class Account:
    """The current user.

    Attributes
    ----------
    id : int or str
        Id in the owner field of datapacks.
    username : str or None
        Name, if the service reports it.
    datapacks : tuple of str
        Ids of the user's datapacks.
    """

    id: int | str
    username: str | None
    datapacks: tuple[str, ...]


def hash_of(link: str) -> str | None:
    """Return the hash in a link to a content of the service, None for another link."""
    return link.removeprefix(REPOVIZZ) or None if link.startswith(REPOVIZZ) else None


def parse_datapack(value: Any, etag: str | None, url: str) -> Datapack:
    """Parse the JSON of a datapack.

    Parameters
    ----------
    value : object
        JSON value.
    etag : str or None
        Identifies its state.
    url : str
        URL of the request, for errors.

    Raises
    ------
    ProtocolError
        If it is not a datapack.
    """
    if not isinstance(value, dict) or not isinstance(value.get("id"), str) or "structure" not in value:
        raise ProtocolError("not a datapack; is this a repovizz2 server?", url)
    name, problem = value.get("name"), None
    try:
        document = from_json(value["structure"])
    except InvalidDatapackError as error:
        # A document that cannot be read must not hide the other datapacks in a listing.
        document, problem = Document.create(""), str(error)
    identifier = value["id"].lower()
    name = name if isinstance(name, str) else document.info.name
    return Datapack(identifier, name, document, None if problem else etag, problem)


def parse_account(value: Any, url: str) -> Account:
    """Parse the JSON of a user; raises ProtocolError if it is not one."""
    if not isinstance(value, dict) or not isinstance(value.get("id"), int | str):
        raise ProtocolError("not a user; is this a repovizz2 server?", url)
    username, ids = value.get("username"), value.get("datapacks")
    known = tuple(str(each).lower() for each in ids) if isinstance(ids, list) else ()
    return Account(value["id"], username if isinstance(username, str) else None, known)


def relinked(document: Document, link_of: Callable[[str], str]) -> Document:
    """Return the document with each link replaced by the result of a function."""
    value = document.to_json()
    for node in _data_nodes(value):
        node["link"] = link_of(str(node.get("link", "")))
    return from_json(value)


def without_links(document: Document) -> Document:
    """Return the document without links, to compare documents that differ only in the location of files."""
    return relinked(document, lambda _link: "")


def _data_nodes(value: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rows = [list(value.get("children") or [])]
    while rows:
        for node in rows.pop():
            if isinstance(node.get("children"), list) and node.get("class") != "data":
                rows.append(node["children"])
            elif node.get("class") != "container":
                yield node
