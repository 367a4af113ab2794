"""Queries as the filesystem offers them: by keywords, on the server or by looking through everything."""

from __future__ import annotations

from itertools import islice
from typing import TYPE_CHECKING, Any

from rinofs.rinocloud.queries.query import build, sort_of
from rinofs.rinocloud.queries.results import Found, frame_of
from rinofs.rinocloud.queries.searching import Searcher

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

    import pandas as pd

    from rinofs.fs.backend import Info
    from rinofs.fs.listings import Listings
    from rinofs.rinocloud.client import RinocloudClient
    from rinofs.rinocloud.queries.query import Query
    from rinofs.rinocloud.queries.searching import Placed
    from rinofs.rinocloud.records import Record
    from rinofs.rinocloud.resolver import Resolver

__all__ = ["Queries"]


class Queries:
    """Find objects for one filesystem. Paths are without a protocol.

    Parameters
    ----------
    client : RinocloudClient
        Asks the server.
    resolver : Resolver
        Finds folders.
    listings : Listings
        Remembers the folders that paths lead through, by id.
    url : callable
        Turns a path into what messages call it.
    max_age : float
        Seconds that what is known of folders may be old.
    concurrency : int
        Requests at a time, where everything is looked through.
    """

    def __init__(
        self,
        client: RinocloudClient,
        resolver: Resolver,
        listings: Listings[Record],
        *,
        url: Callable[[str], str],
        max_age: float,
        concurrency: int,
    ) -> None:
        self._url = url
        self._concurrency = concurrency
        self._searcher = Searcher(client, resolver, listings, url, max_age)

    def query(
        self,
        path: str,
        *,
        sort: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        where: Mapping[str, Any] | None = None,
        scan: bool = False,
        **filters: Any,
    ) -> Found:
        """Find what `RinoFileSystem.query` describes."""
        query, order = build(where, filters), sort_of(sort, descending=descending)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise ValueError(f"limit: a whole number >= 0 is expected, not {limit!r}")
        infos = self._infos(path, query, order, limit, scan=scan)
        return Found(islice(infos, limit), f"{query or 'everything'} in {self._url(path)}")

    def _infos(
        self, path: str, query: Query, sort: str | None, limit: int | None, *, scan: bool
    ) -> Iterator[Info]:
        pages = (
            iter([self.scan(path, query, sort)]) if scan else self._searcher.find(path, query, sort, limit)
        )
        for page in pages:
            for where, record in page:
                yield record.info(where)

    def scan(self, path: str, query: Query, sort: str | None = None) -> list[Placed]:
        """Return what a query finds, with paths, by looking through everything below a folder."""
        return self._searcher.scan(path, query, sort, self._concurrency)

    def count(
        self, path: str, *, where: Mapping[str, Any] | None = None, scan: bool = False, **filters: Any
    ) -> int:
        """Return how many objects `query` finds."""
        query = build(where, filters)
        return len(self.scan(path, query)) if scan else self._searcher.count(path, query)

    def frame(self, path: str, **query: Any) -> pd.DataFrame:
        """Return what `query` finds as a data frame."""
        return frame_of(self.query(path, **query))
