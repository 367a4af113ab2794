"""Listings of folders, page by page: whole records, or only names if that is enough."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any, NamedTuple

from rinofs.errors import ProtocolError
from rinofs.protocol.extensions import RinocloudExtension
from rinofs.protocol.limits import NAMES_PAGE
from rinofs.rinocloud.records import LOCAL_TYPES, MOST_LISTED, all_pages, is_last, parse_page

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    from rinofs.http.connection.response import Response
    from rinofs.rinocloud.records import Page, Record

__all__ = ["Children", "Name"]


class Name(NamedTuple):
    """The name and location of an object; the attributes are those of a `Record`."""

    id: int
    name: str
    type: str
    parent: int | None


class Children:
    """The children of a folder, or everything below it; the first page has been received.

    Parameters
    ----------
    ask : callable
        Sends the request, with additional fields.
    first : Response
        Response for the first page.
    extensions : frozenset of str
        Extensions of the server.
    """

    def __init__(
        self, ask: Callable[[Mapping[str, Any]], Response], first: Response, extensions: frozenset[str]
    ) -> None:
        self._ask = ask
        self._first: Page | None = parse_page(first.json(), first.url)
        self._by_id = RinocloudExtension.AFTER in extensions
        self._has_names = self._by_id and RinocloudExtension.NAMES in extensions

    @property
    def is_long(self) -> bool:
        """Whether there are more pages, for which the server can send only the names."""
        page = self._first
        if not self._has_names or page is None or page.count is None:
            return False
        return not is_last(page, len(page.records), self._by_id)

    @property
    def pages(self) -> int:
        """Number of requests that all records take, as far as the first page tells."""
        page = self._first
        if page is None or not page.records or page.count is None:
            return 1
        return -(-page.count // len(page.records))

    def records(self) -> Iterator[Record]:
        """Iterate over all records, once."""

        def fetch(position: Mapping[str, int]) -> Page:
            if self._first is not None:
                first, self._first = self._first, None
                return first
            answer = self._ask(position)
            return parse_page(answer.json(), answer.url)

        return all_pages(fetch, by_id=self._by_id)

    def names(self) -> tuple[int | None, Iterator[Name]]:
        """Return the folder's id, and an iterator over all names by id; call once, and only if `is_long`."""
        assert self._first is not None
        known = [Name(one.id, one.name, one.type, one.parent) for one in self._first.records]
        self._first = None
        folder, page, more = self._names_after(known[-1].id)
        return folder, self._all_names(known, page, more=more)

    def _all_names(self, known: list[Name], page: list[Name], *, more: bool) -> Iterator[Name]:
        yield from known
        yield from page
        received = len(known) + len(page)
        del known
        while more:
            _, page, more = self._names_after(page[-1].id)
            received += len(page)
            if received > MOST_LISTED:
                raise ProtocolError(f"the listing has no end: more than {MOST_LISTED} records")
            yield from page

    def _names_after(self, last: int) -> tuple[int | None, list[Name], bool]:
        """Return the id of the folder, a page of names, and whether there may be more."""
        answer = self._ask({"names": True, "limit": NAMES_PAGE, "after": last})
        data = answer.json()
        try:
            folder, rows, limit = data["folder"], data["result"], data.get("limit")
            names = [_name(row["id"], row["name"], row["type"], row["parent"]) for row in rows]
        except (KeyError, TypeError) as error:
            raise ProtocolError(f"expected a page of names: {error!r}", answer.url) from error
        if names and not last < names[0].id <= names[-1].id:
            raise ProtocolError(f"expected the names after {last}", answer.url)
        return folder, names, bool(names) if limit is None else len(names) == limit


def _name(number: object, name: object, kind: Any, parent: object) -> Name:
    if type(number) is not int or type(name) is not str or (parent is not None and type(parent) is not int):
        raise TypeError("an id or a name has the wrong type")
    return Name(number, name, LOCAL_TYPES.get(kind, "other"), parent)
