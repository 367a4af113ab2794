"""The records in which Rinocloud describes objects, as frozen values; and the pages in which they come."""

from __future__ import annotations

from dataclasses import dataclass, field
from datetime import UTC, datetime
from typing import TYPE_CHECKING, Any

from rinofs.errors import ProtocolError
from rinofs.fs.values import moment_text
from rinofs.protocol.limits import CLIENT_PAGE
from rinofs.protocol.records import RECORD_FIELDS, SERVICE_TYPES

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

_TYPES = {"file": "file", "folder": "directory"}


@dataclass(frozen=True, slots=True)
class Record:
    """An object as the service describes it.

    Attributes
    ----------
    id : int
        Its number; of two objects of one name in one folder, the larger is the newer.
    name : str
        Its name, as it is.
    type : str
        ``file``, ``directory`` or ``other`` (an object without data).
    size : int or None
        Bytes of content; 0 where there is none, None if the service does not say.
    parent : int or None
        The id of its folder; None at the top level.
    etag : str or None
        Names the content.
    sha256 : str or None
        Of the content, in hex, where the service gives it.
    metadata : mapping
        The user's JSON object.
    tags : tuple of str
        The user's tags.
    versions : tuple of int
        The ids of earlier contents, oldest first.
    owner, project, project_name : str, int and str, or None
        Whose it is.
    shared : bool or None
        Whether others see it.
    more : mapping
        The values of all other fields that records have, as the service gives them, by name.
    created, modified : datetime or None
        When its first version and its content came to be, in UTC.
    path : tuple of str
        In a recursive listing, the names from its start down to the object's own.
    """

    id: int
    name: str
    type: str
    size: int | None
    parent: int | None
    etag: str | None = None
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
        """Describe the object as fsspec does.

        Parameters
        ----------
        path : str
            The path that it was found at.

        Returns
        -------
        dict
            A new one, the caller's to change.
        """
        described = {
            "name": path,
            "size": self.size,
            "type": self.type,
            "id": self.id,
            "etag": self.etag,
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
        """Describe the object as the service does, for what compares its fields."""
        return {
            "id": self.id,
            "name": self.name,
            "type": SERVICE_TYPES[self.type],
            "size": self.size if self.type == "file" else None,
            "parent": self.parent,
            "metadata": self.metadata,
            "tags": list(self.tags),
            "etag": self.etag,
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
"""The fields that nothing here treats by name."""


def parse_record(data: object, where: str) -> Record:
    """Read a record from the JSON of an answer.

    Parameters
    ----------
    data : object
        The decoded JSON. What the service leaves out gets its default; what is not known is passed over.
    where : str
        The URL of the request, for the message of an error.

    Returns
    -------
    Record
        The record.

    Raises
    ------
    ProtocolError
        If it is not a record: without an id, a name or a type, or with values of other types.
    """
    if not isinstance(data, dict):
        raise ProtocolError(f"expected a record, got {type(data).__name__}", where)
    try:
        return _parse(data)
    except (KeyError, TypeError, ValueError) as error:
        raise ProtocolError(f"a field of a record is missing or invalid: {error!r}", where) from error


def _parse(data: Mapping[str, Any]) -> Record:
    kind = _TYPES.get(data["type"], "other")
    metadata = data.get("metadata")
    path = data.get("path")
    return Record(
        id=_whole(data["id"]),
        name=_text(data["name"]),
        type=kind,
        size=_optional(data.get("size"), _whole) if kind == "file" else 0,
        parent=_optional(data.get("parent"), _whole),
        etag=data.get("etag") or None,
        sha256=data.get("sha256") or None,
        metadata=metadata if isinstance(metadata, dict) else {},
        tags=tuple(data.get("tags") or ()),
        versions=tuple(sorted(map(_whole, data.get("versions") or ()))),
        owner=data.get("owner"),
        created=_optional(data.get("created_on"), _moment),
        modified=_optional(data.get("updated_on") or data.get("created_on"), _moment),
        path=tuple(map(_text, path)) if isinstance(path, list) else (),
        project=data.get("project"),
        project_name=data.get("project_name"),
        shared=data.get("shared"),
        more={known.name: data.get(known.name) for known in _MORE} if _MORE else {},
    )


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
    """Copy plain JSON; several times faster than copy.deepcopy, which every listing would pay for."""
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
        The records.
    count : int or None
        How many records there are in all, where the server says so.
    limit : int or None
        The size of page that the server granted, where it says so.
    """

    records: list[Record]
    count: int | None
    limit: int | None


def parse_page(data: object, where: str) -> Page:
    """Read a page from the JSON of an answer: an object with ``result``, or the bare list.

    Raises
    ------
    ProtocolError
        If it is neither.
    """
    fields: dict[str, Any] = data if isinstance(data, dict) else {"result": data}
    items = fields.get("result")
    if not isinstance(items, list):
        raise ProtocolError("expected a list of records", where)
    return Page(
        [parse_record(item, where) for item in items],
        _number(fields.get("count")),
        _number(fields.get("limit")),
    )


def _number(value: object) -> int | None:
    return value if isinstance(value, int) and not isinstance(value, bool) else None


def all_pages(fetch: Callable[[dict[str, int]], Page], *, by_id: bool) -> Iterator[Record]:
    """Go through all records of a listing, each once.

    Parameters
    ----------
    fetch : callable
        Asks for one page, given what to add to the request.
    by_id : bool
        Whether the server can go on after the last id seen. By offset, what is added or removed meanwhile
        shifts the pages; a record that comes twice is given once.

    Yields
    ------
    Record
        The records, in the server's order.
    """
    seen: set[int] = set()
    position: dict[str, int] = {}
    received = 0
    while True:
        page = fetch({"limit": CLIENT_PAGE, **position})
        fresh = [record for record in page.records if record.id not in seen]
        yield from fresh
        received += len(page.records)
        # A server that knows no offset gives the same page again: nothing fresh means the end as well.
        if not fresh or _is_last(page, received, by_id):
            return
        seen.update(record.id for record in fresh)
        position = {"after": max(record.id for record in page.records)} if by_id else {"offset": received}


def _is_last(page: Page, received: int, by_id: bool) -> bool:
    # A count shrinks when others delete, which by id would end the listing early on any page but the first;
    # by offset it is the only thing to go by, since a server may grant less than the limit that it repeats.
    is_first = received == len(page.records)
    if page.count is not None and (is_first or not by_id):
        return received >= page.count
    return page.limit is not None and len(page.records) < page.limit
