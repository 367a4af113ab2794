"""Parse and validate the values in requests to the Rinocloud API."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING

from rinofs.protocol.digests import DIGESTS
from rinofs.protocol.limits import DEFAULT_PAGE, LARGEST_ID, MAX_FIELDS, MAX_IDS, MAX_PAGE, MAX_TAGS
from rinofs.protocol.names import InvalidNameError, check_name
from rinofs.protocol.records import ALSO_SENT, METADATA, METADATA_TRUNCATED
from rinofs.server.catalog.listings import PageRequest
from rinofs.server.catalog.records import Change, Kind, NewObject, refuse_fields
from rinofs.server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Mapping

__all__ = [
    "change_of",
    "flag",
    "identifier",
    "identifiers",
    "name_of",
    "new_object",
    "page",
    "path_of",
    "text",
    "uploaded_file",
    "where",
    "whole_number",
]

_MOST_FOLDERS = 255  # other writers wait while they are created

# Fields of an object that a request sets; all others are set by the server, or metadata.
_SETTABLE = frozenset({"id", "name", "parent", METADATA, METADATA_TRUNCATED, "tags", "versions"})
_SETTABLE_EXTENDED = _SETTABLE | {"exact", "new_version"}
# Fields of objects of all types, which clients send back.
_READ_ONLY = frozenset(
    {"type", "etag", "project", "project_name", "owner", "shared", "created_on", "updated_on"}
)
_FILES = frozenset({"size", *DIGESTS})
_SENT_BACK = _READ_ONLY | _FILES | ALSO_SENT | {"path"}


def text(fields: Mapping[str, object], field: str) -> str | None:
    """Return a text field, or None if it is absent or null.

    Raises
    ------
    BadRequest
        If it has another type.
    """
    value = fields.get(field)
    if value is None:
        return None
    return _text(value, field)


def _text(value: object, field: str) -> str:
    if not isinstance(value, str):
        raise BadRequest(f"{field}: text is expected, not {_kind(value)}", field=field)
    try:
        value.encode()
    except UnicodeEncodeError:
        raise BadRequest(f"{field}: the text contains an unpaired surrogate", field=field) from None
    return value


def flag(fields: Mapping[str, object], field: str) -> bool:
    """Return a Boolean field, or False if it is absent or null."""
    value = fields.get(field)
    if value is None or isinstance(value, bool):
        return bool(value)
    raise BadRequest(f"{field}: true or false is expected, not {_kind(value)}", field=field)


def whole_number(fields: Mapping[str, object], field: str, default: int = 0) -> int:
    """Return a field with a non-negative integer, also given as text, or the default if it is absent."""
    value = fields.get(field)
    return default if value is None else _whole(value, field)


def _whole(value: object, field: str) -> int:
    if isinstance(value, str) and value.isascii() and value.isdigit() and len(value) < 20:
        value = int(value)
    if isinstance(value, bool) or not isinstance(value, int) or value < 0:
        raise BadRequest(f"{field}: a whole number is expected, not {_kind(value)}", field=field)
    return min(value, LARGEST_ID)


def identifier(fields: Mapping[str, object], field: str = "id") -> int | None:
    """Return a field with the id of an object, or None if it is absent or null."""
    value = fields.get(field)
    return None if value is None else _whole(value, field)


def needed_identifier(fields: Mapping[str, object], field: str = "id") -> int:
    """Return a required field with the id of an object."""
    value = identifier(fields, field)
    if value is None:
        raise BadRequest(f"{field}: the id of an object is missing", field=field)
    return value


def identifiers(fields: Mapping[str, object], *names: str) -> list[int]:
    """Return the ids in the first present field of several: one id, or a list of ids.

    Raises
    ------
    BadRequest
        If there are no ids, or too many.
    """
    for name in names:
        value = fields.get(name)
        if value is not None:
            if isinstance(value, list) and len(value) > MAX_IDS:
                raise BadRequest(f"{name}: at most {MAX_IDS} objects are taken at once", field=name)
            found = [_whole(one, name) for one in (value if isinstance(value, list) else [value])]
            if not found:
                raise BadRequest(f"{name}: the list of ids is empty", field=name)
            return found
    raise BadRequest(f"{names[0]}: the ids of objects are missing", field=names[0])


def path_of(value: object) -> list[str]:
    """Return a path, which is a list of names or, in a form, a single name."""
    parts = value if isinstance(value, list) else [value]
    return [_text(part, "path") for part in parts]


def where(fields: Mapping[str, object], *, extended: bool) -> int | list[str] | None:
    """Return the requested object: an id, a path if the server supports that, or None for neither."""
    number = identifier(fields)
    if number is None and extended and fields.get("path") is not None:
        return path_of(fields["path"])
    return number


def page(fields: Mapping[str, object], *, extended: bool) -> PageRequest:
    """Return the requested page of a list."""
    limit = min(whole_number(fields, "limit", DEFAULT_PAGE), MAX_PAGE)
    after = identifier(fields, "after") if extended else None
    return PageRequest(limit, whole_number(fields, "offset"), after)


def name_of(fields: Mapping[str, object]) -> str | None:
    """Return a valid name, or None if it is absent or null."""
    name = text(fields, "name")
    return None if name is None else _checked(name)


def _checked(name: str) -> str:
    try:
        check_name(name)
    except InvalidNameError as error:
        raise BadRequest(f"name: {error}", field="name") from error
    return name


def uploaded_file(
    fields: Mapping[str, object], *, extended: bool, filename: str | None, size: int
) -> NewObject:
    """Return the file to create from an upload.

    Parameters
    ----------
    fields : mapping
        Fields of the upload.
    extended : bool
        Whether the server offers its extensions.
    filename : str or None
        Filename of the content, for requests without another name.
    size : int
        Size of the content in bytes.

    Raises
    ------
    BadRequest
        If a field is not valid; the message names it.
    """
    found = {key: value for key, value in fields.items() if key != "size" or value != size}
    name = text(fields, "name")
    if name is None and filename is not None:
        found["name"] = filename.rpartition("/")[2]
    elif name is not None and name.startswith("/"):
        # A path on the client's machine. Its folders are only wanted below a folder that the client names.
        inside = identifier(fields, "parent") is not None
        found["name"] = name.lstrip("/") if inside else name.rpartition("/")[2]
    return new_object(found, extended=extended, nested=True, kind=Kind.FILE)


def new_object(fields: Mapping[str, object], *, extended: bool, nested: bool, kind: str) -> NewObject:
    """Return the object to create.

    Parameters
    ----------
    fields : mapping
        The request.
    extended : bool
        Whether the server offers its extensions.
    nested : bool
        Whether slashes in the name separate folders.
    kind : str
        Type of the object, one of `Kind`.

    Raises
    ------
    BadRequest
        If a field is not valid; the message names it.
    """
    name = text(fields, "name")
    if name is None:
        raise BadRequest("name: a name is missing", field="name")
    *folders, last = name.split("/") if nested else [name]
    if len(folders) > _MOST_FOLDERS:
        message = f"it leads through {len(folders)} folders, and at most {_MOST_FOLDERS} are made at once"
        raise BadRequest(f"name: {message}", field="name")
    metadata = _metadata(fields) or {}
    loose, file_fields = _loose(fields, extended=extended)
    if file_fields and kind == Kind.FILE:
        refuse_fields(file_fields)
    return NewObject(
        parent=identifier(fields, "parent"),
        name=_checked(last),
        folders=tuple(_checked(folder) for folder in folders),
        metadata={**metadata, **loose, **file_fields},
        tags=_tags(fields) or (),
        versions=_versions(fields),
        new_version=extended and flag(fields, "new_version"),
    )


def change_of(fields: Mapping[str, object], *, extended: bool) -> Change:
    """Return the requested change of an object."""
    metadata, (loose, file_fields) = _metadata(fields), _loose(fields, extended=extended)
    if metadata is not None and fields.get(METADATA_TRUNCATED) is True:
        loose, metadata = {**metadata, **loose}, None  # values that the listing truncated must not be lost
    return Change(
        name=name_of(fields),
        metadata=metadata,
        merged=loose,
        file_fields=file_fields,
        tags=_tags(fields),
        versions=_versions(fields),
    )


def _loose(fields: Mapping[str, object], *, extended: bool) -> tuple[dict[str, object], dict[str, object]]:
    """Return the metadata given as fields of the request itself, and those of them that are fields of files.

    Raises
    ------
    BadRequest
        If the request sets fields that only the server sets. They are ignored in a record that is sent back,
        and if they are null.
    """
    if len(fields) > MAX_FIELDS:
        raise BadRequest(f"at most {MAX_FIELDS} fields are taken at once; send more in `metadata`")
    said = _SETTABLE_EXTENDED if extended else _SETTABLE
    if "etag" in fields or "created_on" in fields:
        return {key: value for key, value in fields.items() if key not in said | _SENT_BACK}, {}
    given = {key: value for key, value in fields.items() if key not in said}
    given = {key: value for key, value in given.items() if value is not None or key not in _SENT_BACK}
    if _READ_ONLY & given.keys():
        refuse_fields(_READ_ONLY & given.keys())
    files = _FILES if extended else _FILES - DIGESTS.keys()
    of_files = {key: value for key, value in given.items() if key in files}
    return {key: value for key, value in given.items() if key not in files}, of_files


def _metadata(fields: Mapping[str, object]) -> dict[str, object] | None:
    value = fields.get("metadata")
    if value is None or isinstance(value, dict):
        return value
    raise BadRequest(f"metadata: an object is expected, not {_kind(value)}", field="metadata")


def _tags(fields: Mapping[str, object]) -> list[str] | None:
    value = fields.get("tags")
    if value is None:
        return None
    tags = value if isinstance(value, list) else [value]
    if len(tags) > MAX_TAGS:
        raise BadRequest(f"tags: at most {MAX_TAGS} are taken at once", field="tags")
    # In a form, the tag 2016 looks like a number. MATLAB pads the texts of a list to one length with blanks.
    texts = [json.dumps(tag) if type(tag) in {int, float} else _text(tag, "tags") for tag in tags]
    return [tag for tag in map(str.strip, texts) if tag]


def _versions(fields: Mapping[str, object]) -> frozenset[int]:
    value = fields.get("versions")
    if value is None:
        return frozenset()
    if not isinstance(value, list):
        raise BadRequest(f"versions: a list is expected, not {_kind(value)}", field="versions")
    if len(value) > MAX_IDS:
        raise BadRequest(f"versions: at most {MAX_IDS} are taken at once", field="versions")
    return frozenset(_whole(one, "versions") for one in value)


def _kind(value: object) -> str:
    known = {str: "text", bool: "true or false", list: "a list", dict: "an object", type(None): "null"}
    kind = known.get(type(value))
    return kind or f"the number {value}"
