"""Structures of datapacks: checked on arrival, searched and changed in their stored form.

The stored form is JSON text of a document that matches the schema. Documents may be nested more deeply than
Python's recursion limit, so nothing here recurses.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

import orjson

from rinofs.datapack.document import jsontext, model, validation
from rinofs.datapack.document.messages import shortened
from rinofs.errors import InvalidDatapackError
from rinofs.protocol.limits import MAX_KEYWORDS, MAX_NODES
from rinofs.server.budgets import check_time
from rinofs.server.errors import Unprocessable

if TYPE_CHECKING:
    from collections.abc import Iterator

__all__ = ["CONTENT_LINK", "Structure", "check_link", "json_text", "structure_of", "structure_problem"]

CONTENT_LINK = "repovizz:"
"""Prefix of a link to a content of the datapack; its hash follows."""

_MESSAGE = 1000  # maximum length in characters: names of nodes in a message can have any length


@dataclass(frozen=True, slots=True)
class Structure:
    """The document of a datapack.

    Attributes
    ----------
    text : str
        The document, as JSON.
    """

    text: str

    def data_nodes(self) -> Iterator[dict[str, Any]]:
        """Yield the data nodes, as new JSON objects, in document order."""
        return _data_nodes(orjson.loads(self.text))

    def hashes(self) -> frozenset[str]:
        """Return the hashes of the contents that nodes link to."""
        return _hashes(orjson.loads(self.text))

    def linked(self, link: str, content: str) -> tuple[Structure, frozenset[str]] | None:
        """Link the nodes with a link to a content.

        Parameters
        ----------
        link : str
            Current link of the nodes.
        content : str
            Hash of the content.

        Returns
        -------
        tuple of Structure and frozenset, or None
            The structure with the new links, and the hashes that its nodes link to; None if no node has the
            link.
        """
        whole = orjson.loads(self.text)
        found = [node for node in _data_nodes(whole) if node["link"] == link]
        for node in found:
            node["link"] = CONTENT_LINK + content
        return (Structure(json_text(whole).decode()), _hashes(whole)) if found else None

    def etag(self, name: str) -> str:
        """Return the etag of this document with a name."""
        return hashlib.sha256(f"{name}\0{self.text}".encode()).hexdigest()[:32]


def structure_of(value: object) -> Structure:
    """Check a document, and return its structure.

    Parameters
    ----------
    value : object
        The document, as `rinofs.server.web.bodies.parse_json` returns it.

    Raises
    ------
    Unprocessable
        If it does not match the schema, or is larger than the server accepts; the message names the node.
    """
    _refuse_large(value)
    try:
        document = model.from_json(value)
        validation.check(document, any_link=True, step=check_time)
        return Structure(json_text(value).decode())
    except InvalidDatapackError as error:
        raise Unprocessable(f"structure: {shortened(str(error), _MESSAGE)}", field="structure") from error


def _refuse_large(value: object) -> None:
    if not isinstance(value, dict):
        return
    info = value.get("info")
    keywords = info.get("keywords") if isinstance(info, dict) else None
    if isinstance(keywords, list) and len(keywords) > MAX_KEYWORDS:
        raise Unprocessable(f"structure: a datapack has at most {MAX_KEYWORDS} keywords", field="structure")
    nodes = 0
    level = [value]
    while level:
        check_time()
        rows = [one["children"] for one in level if isinstance(one.get("children"), list)]
        nodes += sum(map(len, rows))
        if nodes > MAX_NODES:
            raise Unprocessable(f"structure: a datapack has at most {MAX_NODES} nodes", field="structure")
        level = [node for row in rows for node in row if isinstance(node, dict)]


def structure_problem(text: str) -> str | None:
    """Return what is wrong with a stored document, or None."""
    try:
        validation.check(model.parse(text), any_link=True)
    except InvalidDatapackError as error:
        return str(error)
    return None


def check_link(link: str) -> None:
    """Refuse a text that cannot be the link of a data node.

    Raises
    ------
    Unprocessable
        If it has empty segments, or ``.`` or ``..`` among them.
    """
    if {"", ".", ".."} & set(link.split("/")):
        raise Unprocessable(f"link: {link!r} has an empty segment, or '.' or '..' as one", field="link")


def json_text(value: object) -> bytes:
    """Return the JSON text of a value from a document, however deeply it is nested."""
    try:
        return orjson.dumps(value)
    except orjson.JSONEncodeError:
        return jsontext.dumps(value).encode()


def _data_nodes(whole: dict[str, Any]) -> Iterator[dict[str, Any]]:
    rows = [iter(whole["children"])]
    while rows:
        for node in rows[-1]:
            if node["class"] == "container":
                rows.append(iter(node["children"]))
                break
            yield node
        else:
            rows.pop()


def _hashes(whole: dict[str, Any]) -> frozenset[str]:
    links = (node["link"] for node in _data_nodes(whole))
    return frozenset(link.removeprefix(CONTENT_LINK) for link in links if link.startswith(CONTENT_LINK))
