"""Send queries, and find the paths of the results."""

from __future__ import annotations

from itertools import pairwise
from typing import TYPE_CHECKING, TypeAlias

from rinofs.errors import NotFoundError
from rinofs.fs.backend import ABSENT
from rinofs.fs.transfer.pool import run
from rinofs.protocol.extensions import RinocloudExtension
from rinofs.protocol.limits import CLIENT_PAGE
from rinofs.protocol.operators import EXISTS
from rinofs.protocol.records import SERVICE_TYPES
from rinofs.rinocloud.queries.matching import matcher, ordered
from rinofs.rinocloud.queries.query import after_id, among, both
from rinofs.rinocloud.resolver import join, part_of

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    from rinofs.rinocloud.queries.query import Query
    from rinofs.rinocloud.records import Record
    from rinofs.rinocloud.resolver import Resolver

Placed: TypeAlias = "tuple[str, Record]"
"""A path and its record."""

AT_ONCE = 5_000
"""Maximum number of ids in a query; servers allow twice as many values."""


class Searcher:
    """Queries the objects below a folder.

    Parameters
    ----------
    resolver : Resolver
        Finds the objects; provides the client, the listings and the URLs.
    max_age : float
        Maximum age of cached folders in seconds.
    """

    def __init__(self, resolver: Resolver, max_age: float) -> None:
        self._resolver = resolver
        self._client, self._listings, self._url = resolver.client, resolver.listings, resolver.url
        self._max_age = max_age

    def find(
        self, path: str, query: Query, sort: str | None, limit: int | None = None
    ) -> Iterator[list[Placed]]:
        """Yield the matches of a query below a folder, page by page; `limit` is a hint.

        Raises
        ------
        NotImplementedError
            If the server has no queries.
        NotFoundError, NotADirectoryError
            If `path` is not an existing folder.
        """
        top = self._resolver.folder_id(path, self._max_age)
        folders = None if top is None else self._below(top, path)
        if folders is not None:
            query = both(among("parent", folders), query)
        start: dict[int | None, str] = {top: path}
        is_all_wanted = top is None or folders is not None
        for page in self._pages(query, sort, self._url(path), limit if is_all_wanted else None):
            paths = folders if folders is not None else self._paths_of(page, start)
            yield [
                (join(paths[record.parent], part_of(record.name, record.id)), record)
                for record in page
                if record.parent in paths
            ]

    def count(self, path: str, query: Query) -> int:
        """Return the number of matches below a folder; raises as `find` does."""
        top = self._resolver.folder_id(path, self._max_age)
        folders = None if top is None else self._below(top, path)
        if folders is not None:
            query = both(among("parent", folders), query)
        if top is None or folders is not None:
            try:
                return self._client.count(query, self._url(path))
            except NotImplementedError:
                pass  # it may support queries but not counts
        return sum(len(page) for page in self.find(path, query, None))

    # Requests

    def _pages(
        self, query: Query, sort: str | None, label: str, limit: int | None = None
    ) -> Iterator[list[Record]]:
        """Yield the matching records, each once, in pages of at most `limit`.

        Sorted by id, each page continues after the last id, so changes in between do no harm. A file that is
        written meanwhile gets a larger id; it is known by the earlier one, which its record names. The server
        of rinofs sorts by id by default; others are asked to. Other orders use offsets.
        """
        seen: set[int] = set()
        last = 0
        by_id = sort is None
        size = CLIENT_PAGE if limit is None else min(limit, CLIENT_PAGE)
        order = sort or (None if self._is_extended() else "id")
        while True:
            position = {} if by_id or not seen else {"offset": len(seen)}
            asked = both(query, after_id(last)) if by_id and last else query
            body = {"query": asked, "limit": size, **position, **({"sort": order} if order else {})}
            records = self._client.query(body, label).records
            fresh = [record for record in records if record.id not in seen]
            if fresh:
                seen.update(record.id for record in fresh)
                yield [record for record in fresh if seen.isdisjoint(record.versions)]
            # Only the embedded server is known to return as many records as requested.
            if not records or (self._is_extended() and len(records) < size) or not (fresh or by_id):
                return
            by_id = by_id and len(fresh) == len(records) and _ascending(records, last)
            last = records[-1].id

    def _is_extended(self) -> bool:
        return bool(self._client.features.extensions)

    # Paths

    def _below(self, top: int, path: str) -> dict[int | None, str] | None:
        """Return the paths of a folder and all folders below it, by id; None if there are too many."""
        paths: dict[int | None, str] = {top: path}
        level = [top]
        while level:
            query: Query = both({"type": SERVICE_TYPES["directory"]}, among("parent", level))
            level = []
            for page in self._pages(query, None, self._url(path)):
                for record in page:
                    if record.parent in paths and record.id not in paths:
                        paths[record.id] = join(paths[record.parent], part_of(record.name, record.id))
                        level.append(record.id)
                if len(paths) > AT_ONCE:
                    return None
        return paths

    def _paths_of(self, page: list[Record], start: Mapping[int | None, str]) -> dict[int | None, str]:
        """Return the paths of the records' parent folders, by id, as far as they are below `start`."""
        records: dict[int, Record] = {}
        above = {record.parent for record in page}
        while missing := {number for number in above if number is not None} - records.keys() - start.keys():
            found = self._folders(missing)
            records |= found
            above = {record.parent for record in found.values()}
        paths = dict(start)
        for number in {record.parent for record in page}:
            self._place(number, records, paths)
        return paths

    @staticmethod
    def _place(number: int | None, records: Mapping[int, Record], paths: dict[int | None, str]) -> None:
        chain: list[Record] = []
        above = number
        while above not in paths:
            if above is None or above not in records or len(chain) > len(records):
                return  # outside of the searched folder, or deleted meanwhile
            chain.append(records[above])
            above = records[above].parent
        for record in reversed(chain):
            paths[record.id] = join(paths[record.parent], part_of(record.name, record.id))

    def _folders(self, wanted: Iterable[int]) -> dict[int, Record]:
        """Return the records of folders by id: from the cache, and the others with a few requests."""
        found: dict[int, Record] = {}
        for number in wanted:
            known = self._listings.get(f"@{number}", self._max_age)
            if known is not None and known.entry is not None:
                found[number] = known.entry
        left = sorted(set(wanted) - found.keys())
        for start in range(0, len(left), AT_ONCE):
            found |= self._asked_for(left[start : start + AT_ONCE])
        return found

    def _asked_for(self, numbers: list[int]) -> dict[int, Record]:
        moment = self._listings.moment()
        found: dict[int, Record] = {}
        for page in self._pages(among("id", numbers), None, "rino://"):
            found |= {record.id: record for record in page}
            if len(found) == len(numbers):
                break
        for number in numbers:
            if number not in found:
                try:
                    found[number] = self._client.metadata(number, f"rino://@{number}")
                except NotFoundError:
                    continue
        for number, record in found.items():
            self._listings.keep(f"@{number}", record, moment)
        return found

    # Local evaluation

    def tree(self, path: str, concurrency: int) -> dict[str, Record]:
        """Return everything below a folder, by path.

        Raises
        ------
        NotFoundError, NotADirectoryError
            If `path` is not an existing folder.
        """
        tree = self._resolver.tree(path)
        return self._walk(path, concurrency) if tree is None else tree

    def select(self, tree: Mapping[str, Record], query: Query, sort: str | None) -> list[Placed]:
        """Return the matches of a query in a tree, sorted.

        Raises
        ------
        InvalidRequestError
            If the query is not valid.
        """
        extensions = self._client.features.extensions or frozenset()
        holds = matcher(query, extensions=extensions)
        found = [item for item in tree.items() if holds(item[1].fields())]
        found.sort(key=lambda item: item[1].id)
        if sort is None:
            return found
        order = ordered([record.fields() for _, record in found], sort, extensions=extensions)
        return [found[position] for position in order]

    def has_searches(self) -> bool:
        """Return whether the server supports the queries of searches."""
        self._client.discover()
        return self._client.features.has(RinocloudExtension.SEARCH)

    def is_known(self, field: str, path: str) -> bool:
        """Return whether any object has a field; True if the server cannot tell."""
        body = {"query": {field: {EXISTS.name: True}}, "limit": 1}
        try:
            return bool(self._client.query(body, self._url(path)).records)
        except (NotImplementedError, OSError):
            return True

    def _walk(self, path: str, concurrency: int) -> dict[str, Record]:
        found = self._resolver.children(path, self._max_age)
        level = found
        while folders := [where for where, record in level.items() if record.type == "directory"]:
            listings = run(self._listed, folders, concurrency)
            level = {where: record for listing in listings for where, record in listing.items()}
            found = {**found, **level}
        return found

    def _listed(self, path: str) -> dict[str, Record]:
        try:
            return self._resolver.children(path, self._max_age)
        except ABSENT:
            return {}  # deleted while its siblings were listed


def _ascending(records: list[Record], last: int) -> bool:
    numbers = [last, *(record.id for record in records)]
    return all(one < other for one, other in pairwise(numbers))
