"""The fields of Rinocloud's records, and the names for them in queries.

Responses, `info()`, queries and the command line read `RECORD_FIELDS`. "Where to make common changes" in
docs/architecture.md says what a new field needs.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Literal, TypeAlias

from rinofs.protocol.extensions import RinocloudExtension

if TYPE_CHECKING:
    from collections.abc import Collection

__all__ = [
    "ALSO_SENT",
    "METADATA",
    "METADATA_TRUNCATED",
    "NUL_STAND_IN",
    "RECORD_FIELDS",
    "SERVICE_TYPES",
    "JsonType",
    "RecordField",
    "field_parts",
    "info_fields",
    "metadata_name",
    "record_field",
    "record_names",
    "service_name",
]

JsonType: TypeAlias = Literal["integer", "real", "text", "array", "object", "true", "false"]
"""Type of a JSON value."""


@dataclass(frozen=True, slots=True)
class RecordField:
    """A field of a record.

    Attributes
    ----------
    name : str
        Name in requests, responses and queries, and of its column.
    type : str
        JSON type of its values; the value is null if an object has none.
    info : str or None
        Name in `info()`; None if not shown there.
    extension : RinocloudExtension or None
        Extension that adds the field; None if it is part of the published API.
    is_time : bool
        Whether the value is an ISO 8601 time in UTC of fixed length, so that the order of strings is that of
        times.
    """

    name: str
    type: JsonType
    info: str | None = None
    extension: RinocloudExtension | None = None
    is_time: bool = False


METADATA = "metadata"
"""The field for the user's own metadata."""

METADATA_TRUNCATED = "metadata_truncated"
"""True in a record whose metadata was omitted; in a request, it makes the server merge and not replace."""

RECORD_FIELDS: dict[str, RecordField] = {
    field.name: field
    for field in (
        RecordField("id", "integer", info="id"),
        RecordField("name", "text"),
        RecordField("type", "text", info="type"),
        RecordField("size", "integer", info="size"),
        RecordField("parent", "integer"),
        RecordField(METADATA, "object", info="metadata"),
        RecordField("tags", "array", info="tags"),
        RecordField("etag", "text", info="etag"),
        RecordField("sha256", "text", info="sha256", extension=RinocloudExtension.DIGEST),
        RecordField("blake3", "text", info="blake3", extension=RinocloudExtension.BLAKE3),
        RecordField("versions", "array", info="versions"),
        RecordField("project", "integer"),
        RecordField("project_name", "text"),
        RecordField("owner", "text", info="owner"),
        RecordField("shared", "false"),
        RecordField("created_on", "text", info="created", is_time=True),
        RecordField("updated_on", "text", info="modified", is_time=True),
    )
}
"""Fields of a record by name; queries can filter and sort by all of them."""

SERVICE_TYPES = {"file": "file", "directory": "folder", "other": "object"}
"""The service's names for the types in `info()`."""

ALSO_SENT = frozenset({"filepath"})
"""Fields that published clients send back beside those of a record; the server does not store them."""

NUL_STAND_IN = "\U0010fffd"
"""Replaces NUL in strings and keys for comparisons: SQLite ends a string at NUL."""

_SEPARATOR = re.compile(r"\.|__")
_EXPLICIT = re.compile(rf"{METADATA}(?:\.|__)(?=.)", re.DOTALL)


def record_field(name: str, *, extensions: Collection[str] | None = None) -> RecordField | None:
    """Return the record field with a name, or None.

    Parameters
    ----------
    name : str
        Name.
    extensions : collection of str, optional
        Extensions of the server; by default all.
    """
    field = RECORD_FIELDS.get(name)
    if field is None or extensions is None or field.extension is None or field.extension in extensions:
        return field
    return None


def record_names(*, extended: bool) -> frozenset[str]:
    """Return the names of the fields, with or without those of extensions."""
    return frozenset(name for name, field in RECORD_FIELDS.items() if extended or field.extension is None)


def info_fields() -> dict[str, RecordField]:
    """Return the fields that `info()` shows, by their names there."""
    return {field.info: field for field in RECORD_FIELDS.values() if field.info is not None}


def service_name(name: str) -> str:
    """Return the name in requests for a name in `info()`: ``created_on`` for ``created``."""
    field = info_fields().get(name)
    return name if field is None else field.name


def metadata_name(name: str) -> str:
    """Return the metadata key for a name that is not a record field: ``x`` for ``metadata.x``."""
    return _EXPLICIT.sub("", name, count=1) if _EXPLICIT.match(name) else name


def field_parts(name: str) -> list[str]:
    """Return the nested keys that a metadata name may stand for, or the name alone.

    The name is split at each ``.`` and ``__`` from the left, but not if a part would be empty.
    """
    parts = _SEPARATOR.split(name)
    return parts if all(parts) else [name]
