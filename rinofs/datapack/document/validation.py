"""Validate documents against their JSON Schemas, with errors that name the node.

The schemas are in ``schema/``. Nodes are validated one by one, not recursively, so that trees of any depth
can be validated.
"""

from __future__ import annotations

import json
from dataclasses import dataclass
from functools import cache
from importlib.resources import files
from typing import TYPE_CHECKING, Any

from rinofs.datapack.document.messages import shortened
from rinofs.datapack.document.model import Tree
from rinofs.datapack.document.nodes import Container
from rinofs.errors import InvalidDatapackError

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from jsonschema import Draft202012Validator, ValidationError

    from rinofs.datapack.document.model import Document

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
        If the extra ``datapack`` is not installed.
    """
    return list(_flaws(document, any_link=False))


def check(document: Document, *, any_link: bool = False) -> None:
    """Raise an error if a document is not valid.

    Parameters
    ----------
    document : Document
        Document.
    any_link : bool
        Whether to allow any text as a link, as the service does; a bad link is then refused when it is used.

    Raises
    ------
    InvalidDatapackError
        If it is not valid; the message has the first violation and the number of all.
    ImportError
        If the extra ``datapack`` is not installed.
    """
    if found := list(_flaws(document, any_link=any_link)):
        more = f" (and {len(found) - 1} more flaws)" if len(found) > 1 else ""
        raise InvalidDatapackError(f"{found[0]}{more}")


def datatype_problems(document: Any) -> list[str]:
    """Return the violations of the datatype schema in a datatype's document."""
    return list(_problems(_validator("datatype", None).iter_errors(document)))


def _flaws(document: Document, *, any_link: bool) -> Iterator[Flaw]:
    # Without its children, which are validated one by one.
    own = dict(document.fields)
    if isinstance(own.get("info"), tuple):
        own["info"] = dict(document.info.fields)
    yield from _flaws_of("", _shallow(own, document.children), _validator("datapack", None))
    for path, node in Tree(document).walk():
        children = node.children if isinstance(node, Container) else ()
        validator = _validator("datapack", node.kind)
        fields = _shallow(node.fields, children)
        if any_link and isinstance(fields.get("link"), str):
            fields["link"] = "any"
        yield from _flaws_of(path, fields, validator)


def _shallow(fields: Mapping[str, Any], children: object) -> dict[str, Any]:
    shallow = {key: value for key, value in fields.items() if not isinstance(value, tuple)}
    if isinstance(fields.get("children"), tuple) or children:
        shallow["children"] = []
    return shallow


def _flaws_of(path: str, value: Mapping[str, Any], validator: Draft202012Validator) -> Iterator[Flaw]:
    yield from (Flaw(path, problem) for problem in _problems(validator.iter_errors(value)))


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
def _validator(schema: str, definition: str | None) -> Draft202012Validator:
    try:
        from jsonschema import Draft202012Validator
    except ImportError as error:
        raise ImportError("validating documents needs jsonschema: pip install 'rinofs[datapack]'") from error
    whole = json.loads(files("rinofs.datapack").joinpath("schema", f"{schema}.json").read_text("utf-8"))
    part = {"$ref": f"#/$defs/{definition}"} if definition else {}
    return Draft202012Validator(
        {"$schema": whole["$schema"], "$defs": whole["$defs"], **part} if part else whole
    )
