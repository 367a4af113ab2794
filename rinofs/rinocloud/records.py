"""Rinocloud's records of objects as frozen dataclasses, and pages of records."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from sys import intern
from types import MappingProxyType
from typing import TYPE_CHECKING, Any

from rinofs.errors import ProtocolError
from rinofs.fs.values import moment_text
from rinofs.protocol.limits import CLIENT_PAGE
from rinofs.protocol.records import RECORD_FIELDS, SERVICE_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

LOCAL_TYPES = {"file": "file", "folder": "directory"}
"""The types in `info()` for those of the service; all others are ``other``."""


@dataclass(frozen=True, slots=True)
class Record:
    """The service's description of an object.

    Attributes
    ----------
    id : int
        Id; of two objects with the same name in a folder, the one with the larger id is newer.
    name : str
        Exact name.
    type : str
        ``file``, ``directory`` or ``other`` (an object without data).
    size : int or None
        Size in bytes; 0 without content, None if the service does not report it.
    parent : int or None
        Id of its folder; None at the top level.
    etag : str or None
        Identifies the content.
    blake3, sha256 : str or None
        Hex digests of the content, as far as the service reports them.
    metadata : mapping
        The user's JSON object.
    tags : tuple of str
        The user's tags.
    versions : tuple of int
        Ids of earlier versions, oldest first.
    owner, project, project_name : str, int and str, or None
        Owner and project.
    shared : bool or None
        Whether it is shared with other users.
    more : mapping
        Values of all other fields of the record, by name.
    created, modified : datetime or None
        Creation time of its first version and of its current content, in UTC.
    path : tuple of str
        In a recursive listing, the names from the listed folder to the object.
    """

    id: int
    name: str
    type: str
    size: int | None
    parent: int | None
    etag: str | None = None
    blake3: str | None = None
    sha256: str | None = None
    metadata: Mapping[str, Any] = field(default_factory=dict)
    tags: tuple[str, ...] = ()
    versions: tuple[int, ...] = ()
    owner: str | None = None
    created: datetime | None = None
    modified: datetime | None = None
    path: tuple[str, ...] = ()
    project: int | None = None
    project_name: str | None = None
    shared: bool | None = None
    more: Mapping[str, Any] = field(default_factory=dict)

    def info(self, path: str) -> dict[str, Any]:
        """Return the description for fsspec.

        Parameters
        ----------
        path : str
            Path of the object.

        Returns
        -------
        dict
            A new dict, which the caller may modify.
        """
        described = {
            "name": path,
            "size": self.size,
            "type": self.type,
            "id": self.id,
            "etag": self.etag,
            "blake3": self.blake3,
            "sha256": self.sha256,
            "created": self.created,
            "modified": self.modified,
            "owner": self.owner,
            "metadata": _copy(self.metadata),
            "tags": list(self.tags),
            "versions": list(self.versions),
        }
        for known in _MORE:
            if known.info is not None:
                described[known.info] = self.more.get(known.name)
        return described

    def fields(self) -> dict[str, Any]:
        """Return the record with the service's field names, for comparisons."""
        return {
            "id": self.id,
            "name": self.name,
            "type": SERVICE_TYPES[self.type],
            "size": self.size if self.type == "file" else None,
            "parent": self.parent,
            "metadata": self.metadata,
            "tags": list(self.tags),
            "etag": self.etag,
            "blake3": self.blake3,
            "sha256": self.sha256,
            "versions": list(self.versions),
            "project": self.project,
            "project_name": self.project_name,
            "owner": self.owner,
            "shared": self.shared,
            "created_on": None if self.created is None else moment_text(self.created),
            "updated_on": None if self.modified is None else moment_text(self.modified),
            **self.more,
        }


_NAMED = frozenset({*Record.__dataclass_fields__, "created_on", "updated_on"})
_MORE = tuple(known for known in RECORD_FIELDS.values() if known.name not in _NAMED)
"""Fields without an attribute of their own."""


def parse_record(data: object, where: str) -> Record:
    """Parse a record from JSON.

    Parameters
    ----------
    data : object
        Decoded JSON. Missing fields get defaults; unknown fields are ignored.
    where : str
        URL of the request, for errors.

    Returns
    -------
    Record
        Parsed record.

    Raises
    ------
    ProtocolError
        If it has no id, name or type, or a value has the wrong type.
    """
    if not isinstance(data, dict):
        raise ProtocolError(f"expected a record, got {type(data).__name__}", where)
    try:
        return _parse(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"a field of a record is missing or invalid: {error!r}", where) from error


def _parse(data: Mapping[str, Any]) -> Record:
    kind = LOCAL_TYPES.get(data["type"], "other")
    metadata = data.get("metadata")
    name = _text(data["name"])
    path = names if isinstance(names := data.get("path"), list) else ()
    created, modified = data.get("created_on"), data.get("updated_on") or data.get("created_on")
    made = _optional(created, _moment)
    # Equal values are one object where many records have them: a listing may have a million.
    return Record(
        id=_whole(data["id"]),
        name=name,
        type=kind,
        size=_optional(data.get("size"), _whole) if kind == "file" else 0,
        parent=_optional(data.get("parent"), _whole),
        etag=data.get("etag") or None,
        blake3=data.get("blake3") or None,
        sha256=data.get("sha256") or None,
        metadata=metadata if isinstance(metadata, dict) else {},
        tags=tuple(data.get("tags") or ()),
        versions=tuple(sorted(map(_whole, data.get("versions") or ()))),
        owner=_shared(data.get("owner")),
        created=made,
        modified=made if modified == created else _optional(modified, _moment),
        path=tuple(name if part == name else intern(_text(part)) for part in path),
        project=data.get("project"),
        project_name=_shared(data.get("project_name")),
        shared=data.get("shared"),
        more={known.name: data.get(known.name) for known in _MORE} if _MORE else _NOTHING,
    )


_NOTHING: Mapping[str, Any] = MappingProxyType({})


def _shared(value: Any) -> Any:
    return intern(value) if type(value) is str else value


def _optional(value: Any, read: Any) -> Any:
    return None if value is None else read(value)


def _whole(value: object) -> int:
    if isinstance(value, bool) or not isinstance(value, int):
        raise TypeError(f"{value!r} is not a whole number")
    return value


def _text(value: object) -> str:
    if not isinstance(value, str):
        raise TypeError(f"{value!r} is not a string")
    return value


def _moment(value: str) -> datetime:
    moment = datetime.fromisoformat(value)
    return moment.replace(tzinfo=UTC) if moment.tzinfo is None else moment.astimezone(UTC)


def _copy(value: Any) -> Any:
    """Copy plain JSON, several times faster than copy.deepcopy, which matters for listings."""
    if isinstance(value, dict):
        return {key: _copy(item) for key, item in value.items()}
    if isinstance(value, list):
        return [_copy(item) for item in value]
    return value


@dataclass(frozen=True, slots=True)
class Page:
    """One page of records.

    Attributes
    ----------
    records : list of Record
        Records.
    count : int or None
        Total number of records, if the server reports it.
    limit : int or None
        Page size that the server used, if the server reports it.
    """

    records: list[Record]
    count: int | None
    limit: int | None


def parse_page(data: object, where: str) -> Page:
    """Parse a page from JSON: an object with ``result``, or a list.

    Raises
    ------
    ProtocolError
        If it is neither.
    """
    fields: dict[str, Any] = data if isinstance(data, dict) else {"result": data}
    items = fields.get("result")
    if not isinstance(items, list):
        raise ProtocolError("expected a list of records", where)
    for number, item in enumerate(items):
        items[number] = parse_record(item, where)  # in its place, so that not both are held for a whole page
    return Page(
        items,
        _number(fields.get("count")),
        _number(fields.get("limit")),
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


MOST_LISTED = 10_000_000
"""Maximum number of records in a listing."""


def all_pages(fetch: Callable[[dict[str, int]], Page], *, by_id: bool) -> Iterator[Record]:
    """Iterate over all records of a listing, each once.

    Parameters
    ----------
    fetch : callable
        Requests one page, given the additional fields of the request.
    by_id : bool
        Whether the server can continue after the last id. With offsets, concurrent changes shift the pages; a
        record that occurs twice is yielded once.

    Yields
    ------
    Record
        Records in the server's order.
    """
    seen: set[int] = set()  # of what comes by offsets
    last: int | None = None
    position: dict[str, int] = {}
    received = 0
    while True:
        page = fetch({"limit": CLIENT_PAGE, **position})
        fresh = [one for one in page.records if one.id not in seen and (last is None or one.id > last)]
        yield from fresh
        received += len(page.records)
        if received > MOST_LISTED:
            raise ProtocolError(f"the listing has no end: more than {MOST_LISTED} records")
        # A server that ignores offsets sends the same page again, so a page without new records is the end.
        if not fresh or is_last(page, received, by_id):
            return
        if by_id:
            last = max(record.id for record in page.records)
            position = {"after": last}
        else:
            seen.update(record.id for record in fresh)
            position = {"offset": received}


def is_last(page: Page, received: int, by_id: bool) -> bool:
    """Return whether there are no records after a page; `received` is the number of those up to its end."""
    # The total shrinks when others delete objects. By id, it can therefore be trusted on the first page only.
    # By offset it is the only criterion, since a server may return fewer records than the limit that it
    # reports.
    is_first = received == len(page.records)
    if page.count is not None and (is_first or not by_id):
        return received >= page.count
    return page.limit is not None and len(page.records) < page.limit
