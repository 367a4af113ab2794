"""Parse and validate the values in requests to the repovizz2 API."""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rinofs.datapack.document.jsontext import MAX_NESTING
from rinofs.server.catalog.structures import check_link
from rinofs.server.errors import Unprocessable, UnsupportedMedia
from rinofs.server.web.bodies import body_stream, content_type_of, parse_object, settings_of

if TYPE_CHECKING:
    from collections.abc import Mapping

    from starlette.requests import Request

    from rinofs.server.api.calls import Call
    from rinofs.server.settings import ServerSettings

__all__ = ["datapack_id", "extended", "link_of", "name_of", "parse_document", "read_document"]

_LONGEST_NAME = 1000
_MAX_DEPTH = MAX_NESTING + 300
"""Maximum depth of a request: enough to parse a document that is nested too deeply, and report where."""


def extended(call: Call) -> bool:
    """Return whether the server offers its extensions of the API."""
    return call.services.settings.repovizz_extensions


def datapack_id(call: Call) -> str:
    """Return the id of the requested datapack."""
    found: str = call.request.path_params["id"]
    return found.lower()


def link_of(call: Call) -> str:
    """Return the requested link.

    Raises
    ------
    Unprocessable
        If it is not valid.
    """
    link: str = call.request.path_params["link"]
    check_link(link)
    return link


def name_of(fields: Mapping[str, object]) -> str | None:
    """Return the new name of a datapack, or None if there is none.

    Raises
    ------
    Unprocessable
        If it is not valid.
    """
    name = fields.get("name")
    if name is None:
        return None
    if not isinstance(name, str) or not 1 <= len(name) <= _LONGEST_NAME or any(char < " " for char in name):
        message = f"name: 1 to {_LONGEST_NAME} characters without control characters are needed"
        raise Unprocessable(message, field="name")
    return name


async def read_document(request: Request) -> bytes:
    """Read a JSON body of any declared type: published clients declare a form.

    Raises
    ------
    TooLarge
        If it exceeds the maximum size of documents.
    UnsupportedMedia
        If it is compressed or multipart.
    """
    kind = content_type_of(request)
    if kind.startswith("multipart/"):
        raise UnsupportedMedia(f"unsupported body type {kind}; send JSON")
    limit = settings_of(request).max_structure_bytes
    return b"".join([data async for data in body_stream(request, limit, kept=True)])


def parse_document(raw: bytes, settings: ServerSettings) -> dict[str, object]:
    """Return the fields of a JSON body.

    Raises
    ------
    BadRequest
        If it is not a JSON object.
    """
    return parse_object(raw, replace(settings, max_json_depth=_MAX_DEPTH))
