r"""Input and output of the catalog: frozen values, objects as the API shows them, and JSON as stored.

Metadata and lists are JSON text that goes into responses unchanged. A backslash is written ``\u005c``, so
that there are never two backslashes in a row, and the text ``\u0000`` always stands for the character NUL;
queries depend on it.
"""

from __future__ import annotations

import json
import math
from dataclasses import dataclass, field, make_dataclass
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any, NoReturn

import orjson

from rinofs.protocol.digests import BLAKE3, SHA256
from rinofs.protocol.limits import MAX_METADATA, MAX_METADATA_DEPTH, TRUNCATED_FROM
from rinofs.protocol.records import METADATA_TRUNCATED, RECORD_FIELDS
from rinofs.server.errors import BadRequest, TooLarge

if TYPE_CHECKING:
    from collections.abc import Collection, Mapping, Sequence

__all__ = [
    "Change",
    "Kind",
    "NewObject",
    "Record",
    "User",
    "changed_values",
    "dump",
    "dump_list",
    "dump_metadata",
    "known_digests",
    "load_metadata",
    "metadata_values",
    "now",
    "refuse_fields",
]


class Kind:
    """Types of objects, named as in the API."""

    FILE = "file"
    FOLDER = "folder"
    OBJECT = "object"


@dataclass(frozen=True, slots=True)
class User:
    """A user who has signed in.

    Attributes
    ----------
    id : int
        Number of the account.
    username, email, project : str
        As set when the account was created.
    """

    id: int
    username: str
    email: str
    project: str


@dataclass(frozen=True, slots=True)
class NewObject:
    """An object to create.

    Attributes
    ----------
    parent : int or None
        Id of its folder; None for the top level.
    folders : tuple of str
        Names of folders to follow below `parent`; missing ones are created.
    name : str
        Its name.
    metadata : mapping
        Its metadata.
    tags : sequence of str
        Its tags.
    versions : frozenset of int
        Ids that the client names as earlier versions.
    new_version : bool
        Whether an existing file with the same content and name becomes an earlier version too.
    """

    parent: int | None
    name: str
    folders: tuple[str, ...] = ()
    metadata: Mapping[str, object] = field(default_factory=dict)
    tags: Sequence[str] = ()
    versions: frozenset[int] = frozenset()
    new_version: bool = False


@dataclass(frozen=True, slots=True)
class Change:
    """A change of an object's name, tags and metadata; None leaves a field as it is.

    Attributes
    ----------
    name : str or None
        The new name.
    metadata : mapping or None
        Replaces all metadata.
    merged : mapping
        Merged into the metadata afterwards.
    file_fields : mapping
        The same, for names that are fields of file records; other objects have no such fields.
    tags : sequence of str or None
        The new tags.
    versions : frozenset of int
        Ids to add to the earlier versions.
    """

    name: str | None = None
    metadata: Mapping[str, object] | None = None
    merged: Mapping[str, object] = field(default_factory=dict)
    file_fields: Mapping[str, object] = field(default_factory=dict)
    tags: Sequence[str] | None = None
    versions: frozenset[int] = frozenset()


@dataclass(frozen=True, slots=True)
class NamedColumns:
    """An object as a row of the database: the columns that code uses by name.

    Attributes
    ----------
    metadata, tags, versions : str
        JSON, as in responses.
    version_of : int or None
        Id of the current object, if this is an earlier version.
    blob : int or None
        Row number of its content, if it has one.
    key, blake3, sha256 : str or None
        Key of the content in the blob store, and its digests, if computed.
    """

    id: int
    parent: int | None
    name: str
    type: str
    size: int | None
    etag: str | None
    blob: int | None
    key: str | None
    blake3: str | None
    sha256: str | None
    metadata: str
    metadata_size: int
    tags: str
    versions: str
    version_of: int | None
    created_on: str
    updated_on: str

    def to_json(
        self, user: User, *, digests: bool = True, truncated: bool = False, path: Sequence[str] | None = None
    ) -> dict[str, object]:
        """Return the object as the API shows it, for `orjson`.

        Parameters
        ----------
        user : User
            Its owner.
        digests : bool
            Whether to include the known digests of its content.
        truncated : bool
            Whether to leave out large metadata.
        path : sequence of str, optional
            Path of the object, relative to the start of a recursive listing.
        """
        shown: dict[str, object] = {
            "id": self.id,
            "name": self.name,
            "type": self.type,
            "size": self.size,
            "parent": self.parent,
            "metadata": orjson.Fragment(self.metadata),
            "tags": orjson.Fragment(self.tags),
            "etag": self.etag,
            "versions": orjson.Fragment(self.versions),
            "project": user.id,
            "project_name": user.project,
            "owner": user.username,
            "shared": False,
            "created_on": self.created_on,
            "updated_on": self.updated_on,
        }
        if digests:
            shown |= self.digests
        if truncated and self.metadata_size > TRUNCATED_FROM:
            # Still an object: published clients iterate over it.
            shown |= {"metadata": {}, METADATA_TRUNCATED: True}
        for name in _MORE:
            shown[name] = getattr(self, name)
        if path is not None:
            shown["path"] = path
        return shown

    def header(self, user: User, *, digests: bool, limit: int = 8192) -> str:
        """Return the object as ASCII JSON; parts beyond `limit` bytes are left out, first the metadata."""
        shown = self.to_json(user, digests=digests)
        if self.metadata_size > limit:
            del shown["metadata"]
        whole = _ascii(shown)
        for name in ("metadata", "versions", "tags"):
            if len(whole) <= limit:
                break
            if shown.pop(name, None) is not None:
                whole = _ascii(shown)
        return whole

    @property
    def digests(self) -> dict[str, str]:
        """The known digests of its content, by name."""
        return known_digests(self.blake3, self.sha256)

    @property
    def modified(self) -> datetime:
        """When its content was last modified."""
        return datetime.fromisoformat(self.updated_on)


# The same for all objects of a user, so not stored in columns.
_OF_USER = {"project", "project_name", "owner", "shared"}
_MORE = tuple(name for name in RECORD_FIELDS if name not in {*NamedColumns.__dataclass_fields__, *_OF_USER})

if TYPE_CHECKING:
    Record = NamedColumns
else:
    # Adds the columns of fields that are named only in the table in `rinofs.protocol`.
    Record = make_dataclass(
        "Record", [(name, object) for name in _MORE], bases=(NamedColumns,), frozen=True, slots=True
    )


def _ascii(shown: dict[str, object]) -> str:
    text = orjson.dumps(shown).decode()
    return text if text.isascii() else json.dumps(json.loads(text))


def known_digests(blake3: str | None, sha256: str | None) -> dict[str, str]:
    """Return the known digests of a content, by name, best first."""
    return {name: digest for name, digest in ((BLAKE3, blake3), (SHA256, sha256)) if digest is not None}


def now() -> str:
    """Return the current time, as stored and shown."""
    return datetime.now(UTC).strftime("%Y-%m-%dT%H:%M:%S.%fZ")


_MAX_INTEGER = 10**300


def dump(value: object) -> str:
    """Return a JSON value as text in the canonical form for storage and comparison.

    Raises
    ------
    BadRequest
        If JSON cannot represent it, or it is nested too deeply.
    """
    _check(value, MAX_METADATA_DEPTH)
    text = json.dumps(value, ensure_ascii=False, allow_nan=False, separators=(",", ":"))
    # Backslashes occur only in escapes, and two of them only in an escaped backslash.
    return text.replace("\\\\", "\\u005c")


def dump_list(values: Sequence[object]) -> str:
    """Return a list as JSON text."""
    return dump(list(values))


def dump_metadata(metadata: Mapping[str, object]) -> str:
    """Return metadata as JSON text.

    Raises
    ------
    BadRequest
        If JSON cannot represent it, or it is nested too deeply.
    TooLarge
        If it has more than `MAX_METADATA` bytes.
    """
    if not metadata:
        return "{}"
    text = dump(dict(metadata))
    if len(text) > MAX_METADATA or len(text.encode()) > MAX_METADATA:
        raise TooLarge(f"metadata: at most {MAX_METADATA} bytes are kept for an object", field="metadata")
    return text


def load_metadata(text: str) -> dict[str, Any]:
    """Parse stored metadata."""
    loaded: dict[str, Any] = json.loads(text)
    return loaded


def _check(value: object, depth: int) -> None:
    if isinstance(value, str):
        if not value.isascii() and any("\ud800" <= character <= "\udfff" for character in value):
            raise BadRequest("metadata: a text contains an unpaired surrogate", field="metadata")
    elif isinstance(value, float):
        if not math.isfinite(value):
            raise BadRequest(f"metadata: {value} is not a JSON number", field="metadata")
    elif isinstance(value, bool) or value is None:
        pass
    elif isinstance(value, int):
        if abs(value) > _MAX_INTEGER:
            raise BadRequest("metadata: integers have at most 300 digits", field="metadata")
    else:
        _check_nested(value, depth)


def _check_nested(value: object, depth: int) -> None:
    if depth == 0:
        raise BadRequest(
            f"metadata: at most {MAX_METADATA_DEPTH} levels of nesting are kept", field="metadata"
        )
    if isinstance(value, dict):
        for key, item in value.items():
            _check(key, depth)
            _check(item, depth - 1)
    elif isinstance(value, list | tuple):
        for item in value:
            _check(item, depth - 1)
    else:
        raise BadRequest(f"metadata: a {type(value).__name__} is not a JSON value", field="metadata")


def changed_values(record: Record, change: Change) -> dict[str, object]:
    """Return the columns that a change of an object sets.

    Raises
    ------
    BadRequest
        If metadata of a file is given the name of a field of files.
    """
    if change.file_fields and record.type == Kind.FILE:
        refuse_fields(change.file_fields)
    values: dict[str, object] = {}
    if change.name is not None:
        values["name"] = change.name
    if change.tags is not None:
        values["tags"] = dump_list(change.tags)
    if change.metadata is not None or change.merged or change.file_fields:
        metadata = load_metadata(record.metadata) if change.metadata is None else change.metadata
        values |= metadata_values({**metadata, **change.merged, **change.file_fields})
    if change.versions:
        values["versions"] = dump_list(sorted(change.versions.union(json.loads(record.versions))))
    # The modification time of a file is that of its content.
    if values and record.type != Kind.FILE:
        values["updated_on"] = now()
    return values


def refuse_fields(names: Collection[str]) -> NoReturn:
    """Refuse record fields that only the server sets."""
    named = ", ".join(sorted(names))
    message = "only the server sets this; as metadata it has to be inside the field 'metadata'"
    raise BadRequest(f"{named}: {message}", field=min(names))


def metadata_values(metadata: Mapping[str, object]) -> dict[str, object]:
    """Return the columns for new metadata."""
    text = dump_metadata(metadata)
    return {"metadata": text, "metadata_size": len(text.encode())}
