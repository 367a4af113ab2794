"""The fields of Rinocloud's records, and how names in queries lead to them.

A field that the server stores and `info()` shows is one line in `RECORD_FIELDS`, beside a column of the
server's table of objects, with its migration, and a test: what no code treats by name is answered, read,
shown and queried by this table alone.
"""

from __future__ import annotations

import re
from dataclasses import dataclass
from typing import Literal, TypeAlias

from rinofs.protocol.extensions import RinocloudExtension

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
"""The type of a JSON value."""


@dataclass(frozen=True, slots=True)
class RecordField:
    """A field of a record.

    Attributes
    ----------
    name : str
        Its name on the wire, in queries, and of its column.
    type : str
        The JSON type of its values; null where an object has none.
    info : str or None
        Its name in `info()`; None where that does not show it.
    extension : RinocloudExtension or None
        The extension without which there is no such field.
    is_time : bool
        Whether its text is a time: ISO 8601 in UTC, all of one length, so that their order is that of time.
    """

    name: str
    type: JsonType
    info: str | None = None
    extension: RinocloudExtension | None = None
    is_time: bool = False


METADATA = "metadata"
"""The field in which all else is that users know of an object."""

METADATA_TRUNCATED = "metadata_truncated"
"""True in a record whose metadata were left out; sent back, it has what is sent merge and not replace."""

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
        RecordField("versions", "array", info="versions"),
        RecordField("project", "integer"),
        RecordField("project_name", "text"),
        RecordField("owner", "text", info="owner"),
        RecordField("shared", "false"),
        RecordField("created_on", "text", info="created", is_time=True),
        RecordField("updated_on", "text", info="modified", is_time=True),
    )
}
"""The fields of a record, by name; all of them can be asked for and sorted by."""

SERVICE_TYPES = {"file": "file", "directory": "folder", "other": "object"}
"""What the service calls the types of `info()`."""

ALSO_SENT = frozenset({"filepath"})
"""What published clients send back beside the fields of a record; the server takes it for no metadata."""

NUL_STAND_IN = "\U0010fffd"
"""What NUL counts as in texts and keys that are compared: SQLite ends a text at NUL."""

_SEPARATOR = re.compile(r"\.|__")
_EXPLICIT = re.compile(rf"{METADATA}(?:\.|__)(?=.)", re.DOTALL)


def record_field(name: str, *, digests: bool = True) -> RecordField | None:
    """Return the field of that name on the wire; None where a record has none.

    Parameters
    ----------
    name : str
        The name.
    digests : bool
        Whether the server has the extension that adds digests.
    """
    field = RECORD_FIELDS.get(name)
    return field if field is not None and (digests or field.extension is None) else None


def record_names(*, extended: bool) -> frozenset[str]:
    """Return the names of the fields, with or without those of extensions."""
    return frozenset(name for name, field in RECORD_FIELDS.items() if extended or field.extension is None)


def info_fields() -> dict[str, RecordField]:
    """Return the fields that `info()` shows, by their names there."""
    return {field.info: field for field in RECORD_FIELDS.values() if field.info is not None}


def service_name(name: str) -> str:
    """Return the name on the wire of what `info()` calls so: ``created`` is ``created_on``."""
    field = info_fields().get(name)
    return name if field is None else field.name


def metadata_name(name: str) -> str:
    """Return the name within the metadata of a field that is none of the record: ``metadata.x`` is ``x``."""
    return _EXPLICIT.sub("", name, count=1) if _EXPLICIT.match(name) else name


def field_parts(name: str) -> list[str]:
    """Return the keys, one in the other, that a name within the metadata may stand for, or that name alone.

    It is split at each ``.`` and ``__``, from the left, and not at all where a part would be empty.
    """
    parts = _SEPARATOR.split(name)
    return parts if all(parts) else [name]
