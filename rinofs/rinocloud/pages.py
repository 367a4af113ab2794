"""Listings that come in pages, whatever size of page the server grants."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING, Any

from rinofs.errors import ProtocolError
from rinofs.protocol.limits import CLIENT_PAGE
from rinofs.rinocloud.records import Record, parse_record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator


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
