"""Parse untrusted XML: no document types, entities or external content; bounded in size and depth."""

from __future__ import annotations

from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any, NoReturn
from xml.parsers import expat

from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterator

_DEEPEST = 200
_MOST = 1_000_000
"""Maximum number of elements in a document."""


@dataclass(slots=True)
class Element:
    """An element.

    Attributes
    ----------
    name : str
        Its name, as written.
    attributes : dict of str
        Attributes by name.
    children : list of Element
        Child elements.
    text : str
        Text directly inside the element.
    """

    name: str
    attributes: dict[str, str]
    children: list[Element] = field(default_factory=list)
    text: str = ""

    def iter(self, name: str) -> Iterator[Element]:
        """Yield the descendants with a name, in document order."""
        for child in self.children:
            if child.name == name:
                yield child
            yield from child.iter(name)

    def first(self, name: str) -> Element | None:
        """Return the first descendant with a name, or None."""
        return next(self.iter(name), None)


def parse_xml(data: bytes) -> Element:
    """Parse a document; returns its root.

    Raises
    ------
    InvalidDatapackError
        If it is not well-formed, declares entities or a document type, or exceeds the limits.
    """
    parser = expat.ParserCreate()
    parser.buffer_text = True
    root = Element("", {})
    open_elements = [root]
    # Joined at the end: adding each piece to the text before it would take the square of the time.
    pieces: list[list[str]] = [[]]
    count = 0

    def start(name: str, attributes: dict[str, str]) -> None:
        nonlocal count
        count += 1
        if count > _MOST or len(open_elements) > _DEEPEST:
            raise InvalidDatapackError("this XML has too many elements or is nested too deeply")
        element = Element(name, attributes)
        open_elements[-1].children.append(element)
        open_elements.append(element)
        pieces.append([])

    def end(name: str) -> None:  # noqa: ARG001 - as expat calls it
        open_elements.pop().text = "".join(pieces.pop())

    def text(data: str) -> None:
        pieces[-1].append(data)

    def refuse(*_: Any) -> NoReturn:
        raise InvalidDatapackError("this XML has a document type or entities, which are not supported")

    parser.StartElementHandler, parser.EndElementHandler = start, end
    parser.CharacterDataHandler = text
    parser.StartDoctypeDeclHandler = refuse
    parser.EntityDeclHandler = refuse
    parser.ExternalEntityRefHandler = refuse
    try:
        parser.Parse(data, True)
    except expat.ExpatError as error:
        raise InvalidDatapackError(f"this XML is not well-formed: {error}") from error
    return root.children[0]
