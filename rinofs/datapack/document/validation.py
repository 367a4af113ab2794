"""Validate documents against their JSON Schemas, with errors that name the node.

The schemas are in ``schema/``. Nodes are validated one by one, not recursively, so that trees of any depth
can be validated. The cost is linear in the size of the document, because a server validates what anybody
sends: valid nodes pass `_compiled`, which is a hundred times faster than jsonschema, and jsonschema describes
the errors of the others. A path may be as long as the document, so it is built only for a node with an error.
"""

from __future__ import annotations

import json
import re
from collections.abc import Callable
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from itertools import islice
from typing import TYPE_CHECKING, Any

from rinofs.datapack.document.messages import shortened
from rinofs.datapack.document.naming import parts_of
from rinofs.datapack.document.nodes import Container
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping, Sequence

    from jsonschema import ValidationError
    from jsonschema.protocols import Validator

    from rinofs.datapack.document.model import Document
    from rinofs.datapack.document.nodes import Node

    _Way = tuple[Node, ...]

MAX_FLAWS = 100
"""Maximum number of further violations that `check` counts."""

_KINDS = {"array": "an array", "integer": "an integer", "object": "an object"}


@dataclass(frozen=True, slots=True)
class Flaw:
    """A violation of the schema.

    Attributes
    ----------
    path : str
        Path of the node; empty for the document itself.
    problem : str
        Description, with the name of the key.
    """

    path: str
    problem: str

    def __str__(self) -> str:
        return f"{self.path or 'datapack'}: {self.problem}"


def flaws(document: Document) -> list[Flaw]:
    """Return the violations in a document; empty if it is valid.

    Raises
    ------
    ImportError
        If it is not valid and the extra ``datapack`` is not installed.
    """
    paths = _Paths(document)
    return [Flaw(paths.of(way), problem) for way, problem in _flawed(document, any_link=False)]


def check(document: Document, *, any_link: bool = False, step: Callable[[], object] | None = None) -> None:
    """Raise an error if a document is not valid.

    Parameters
    ----------
    document : Document
        Document.
    any_link : bool
        Whether to allow any text as a link, as the service does; a bad link is then refused when it is used.
    step : callable, optional
        Called before each node; it may raise an error to end the check.

    Raises
    ------
    InvalidDatapackError
        If it is not valid; the message has the first violation and the number of others, up to `MAX_FLAWS`.
    ImportError
        If it is not valid and the extra ``datapack`` is not installed.
    """
    found = _flawed(document, any_link=any_link, step=step)
    for way, problem in found:
        others = sum(1 for _ in islice(found, MAX_FLAWS))
        least = "at least " if others == MAX_FLAWS else ""
        more = f" (and {least}{others} more flaws)" if others else ""
        raise InvalidDatapackError(f"{Flaw(_Paths(document).of(way), problem)}{more}")


def datatype_problems(document: Any) -> list[str]:
    """Return the violations of the datatype schema in a datatype's document."""
    return list(_problems(_validator("datatype", None).iter_errors(document)))


def _flawed(
    document: Document, *, any_link: bool, step: Callable[[], object] | None = None
) -> Iterator[tuple[_Way, str]]:
    """Yield what is wrong, and the nodes that lead there."""
    # Without its children, which are validated one by one.
    own = dict(document.fields)
    if isinstance(own.get("info"), tuple):
        own["info"] = dict(document.info.fields)
    yield from (((), problem) for problem in _problems_of(_shallow(own, document.children), None))
    above: list[Node] = []
    rows = [iter(document.children)]
    while rows:
        node = next(rows[-1], None)
        if node is None:
            rows.pop()
            del above[-1:]
            continue
        if step is not None:
            step()
        children = node.children if isinstance(node, Container) else ()
        fields = _shallow(node.fields, children)
        if any_link and isinstance(fields.get("link"), str):
            fields["link"] = "any"
        yield from (((*above, node), problem) for problem in _problems_of(fields, node.kind))
        if children:
            above.append(node)
            rows.append(iter(children))


class _Paths:
    """The paths of nodes in one document, found out where they are asked for."""

    def __init__(self, document: Document) -> None:
        self._document = document
        self._parts: dict[int, dict[int, str]] = {}

    def of(self, way: _Way) -> str:
        """Return the path of the last of some nodes, each of which is in the one before."""
        above: list[Document | Node] = [self._document, *way]
        return "/".join(self._of_children(outer)[id(inner)] for outer, inner in zip(above, way, strict=False))

    def _of_children(self, outer: Any) -> dict[int, str]:
        parts = self._parts.get(id(outer))
        if parts is None:
            shown = parts_of(outer.children, top=outer is self._document)
            parts = self._parts[id(outer)] = {id(node): part for part, node in reversed(shown.items())}
        return parts


def _shallow(fields: Mapping[str, Any], children: object) -> dict[str, Any]:
    shallow = {key: value for key, value in fields.items() if not isinstance(value, tuple)}
    if isinstance(fields.get("children"), tuple) or children:
        shallow["children"] = []
    return shallow


def _problems_of(value: Mapping[str, Any], definition: str | None) -> Iterator[str]:
    if not _compiled(definition)(value):
        yield from _problems(_validator("datapack", definition).iter_errors(value))


def _problems(errors: Iterable[ValidationError]) -> Iterator[str]:
    lacking = set()
    for error in errors:
        where = ".".join(str(key) for key in error.absolute_path)
        if error.validator != "required":
            yield _problem(where, error)
        elif where not in lacking:  # each missing key is an error of its own, which does not name the key
            lacking.add(where)
            required: Any = error.validator_value
            present: Any = error.instance
            missing = (key for key in required if key not in present)
            yield from (f"'{where}.{key}' is missing" if where else f"'{key}' is missing" for key in missing)


def _problem(where: str, error: ValidationError) -> str:
    shown = shortened(repr(error.instance), 60)
    if error.validator == "type":
        kind = str(error.validator_value)
        return f"'{where}' is {shown}, not {_KINDS.get(kind, f'a {kind}')}"
    if error.validator == "pattern":
        return f"'{where}' is {shown}, not a relative path without empty, '.' and '..' segments"
    message = shortened(error.message, 120)
    return f"'{where}': {message}" if where else message


@cache
def _validator(schema: str, definition: str | None) -> Validator:
    try:
        from jsonschema import Draft202012Validator, validators
    except ImportError as error:
        raise ImportError("validating documents needs jsonschema: pip install 'rinofs[datapack]'") from error
    whole = _schema(schema)
    part = {"$ref": f"#/$defs/{definition}"} if definition else {}
    extend: Any = validators.extend  # which has no types
    linear = extend(Draft202012Validator, {"uniqueItems": _unique_items})
    found: Validator = linear(
        {"$schema": whole["$schema"], "$defs": whole["$defs"], **part} if part else whole
    )
    return found


@cache
def _schema(name: str) -> dict[str, Any]:
    text = files("rinofs.datapack").joinpath("schema", f"{name}.json").read_text("utf-8")
    whole: dict[str, Any] = json.loads(text)
    return whole


def _unique_items(_validator: object, wanted: bool, value: object, _schema: object) -> Iterator[Any]:
    # jsonschema compares each item with each other where they cannot be sorted.
    from jsonschema import ValidationError

    if wanted and isinstance(value, list) and not _are_unique(value):
        yield ValidationError(f"{shortened(repr(value[:20]), 100)} has non-unique elements")


def _are_unique(items: Sequence[Any]) -> bool:
    plain = [int(item) if isinstance(item, float) and item.is_integer() else item for item in items]
    return len({json.dumps(item, sort_keys=True) for item in plain}) == len(plain)


Check = Callable[[Any], bool]
_TYPES = {"string": str, "array": list, "object": dict}
_ANNOTATIONS = {"$schema", "$defs", "title", "description", "format"}


@cache
def _compiled(definition: str | None) -> Check:
    """Return a function that tells whether a value fits a definition of the schema of datapacks."""
    schema = _schema("datapack")
    return _compile(schema if definition is None else schema["$defs"][definition])


def _compile(schema: Mapping[str, Any]) -> Check:
    if "if" in schema:  # nodes below others, which are checked by themselves
        return lambda _value: False
    checks = [_KEYWORDS[key](wanted) for key, wanted in schema.items() if key not in _ANNOTATIONS]
    return lambda value: all(check(value) for check in checks)


def _properties(wanted: Mapping[str, Any]) -> Check:
    checks = {key: _compile(schema) for key, schema in wanted.items()}
    return lambda value: all(check(value[key]) for key, check in checks.items() if key in value)


def _items(wanted: Mapping[str, Any]) -> Check:
    check = _compile(wanted)
    return lambda value: all(map(check, value))


def _pattern(wanted: str) -> Check:
    search = re.compile(wanted).search
    return lambda value: search(value) is not None


_KEYWORDS: Mapping[str, Callable[[Any], Check]] = {
    # In the order of a schema its type comes first, so what follows may rely on it.
    "type": lambda wanted: lambda value: isinstance(value, _TYPES[wanted]),
    "required": lambda wanted: lambda value: all(key in value for key in wanted),
    "properties": _properties,
    "items": _items,
    "uniqueItems": lambda wanted: lambda value: not wanted or _are_unique(value),
    "const": lambda wanted: lambda value: bool(value == wanted),
    "pattern": _pattern,
    "$ref": lambda wanted: _compile(_schema("datapack")["$defs"][wanted.rpartition("/")[2]]),
}
