"""The query methods of the filesystem: evaluated by the server, or locally."""

from __future__ import annotations

import difflib
import warnings
from itertools import islice
from typing import TYPE_CHECKING, Any

from rinofs.errors import InvalidRequestError
from rinofs.protocol.operators import QueryError
from rinofs.protocol.records import RECORD_FIELDS, info_fields, service_name
from rinofs.protocol.search_syntax import parse_search
from rinofs.rinocloud.queries.matching import matcher, value_reader
from rinofs.rinocloud.queries.query import build, metadata_fields, sort_of
from rinofs.rinocloud.queries.results import Found, frame_of
from rinofs.rinocloud.queries.searching import Searcher

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Mapping

    import pandas as pd

    from rinofs.fs.backend import Info
    from rinofs.rinocloud.queries.query import Query
    from rinofs.rinocloud.queries.searching import Placed
    from rinofs.rinocloud.records import Record
    from rinofs.rinocloud.resolver import Resolver

__all__ = ["Queries"]


class Queries:
    """Finds objects for one filesystem; paths have no protocol.

    Parameters
    ----------
    resolver : Resolver
        Finds the objects; provides the client, the listings and the URLs.
    max_age : float
        Maximum age of cached folders in seconds.
    concurrency : int
        Maximum number of concurrent requests for local evaluation.
    """

    def __init__(self, resolver: Resolver, *, max_age: float, concurrency: int) -> None:
        self._url = resolver.url
        self._concurrency = concurrency
        self._searcher = Searcher(resolver, max_age)

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
        """Implement `RinoFileSystem.query`."""
        query = build(where, filters)
        title = f"{query or 'everything'}"
        return self._found(query, title, path, sort, limit, descending=descending, scan=scan)

    def search(
        self,
        text: str,
        path: str,
        *,
        sort: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        scan: bool = False,
    ) -> Found:
        """Implement `RinoFileSystem.search`."""
        try:
            query = parse_search(text, service_name)
            matcher(query, extensions=None)
        except (QueryError, InvalidRequestError) as error:
            raise ValueError(f"{text!r}: {error}") from error
        return self._found(
            query, f"{text!r}", path, sort, limit, descending=descending, scan=scan, is_search=True
        )

    def _found(
        self,
        query: Query,
        title: str,
        path: str,
        sort: str | None,
        limit: int | None,
        *,
        descending: bool,
        scan: bool,
        is_search: bool = False,
    ) -> Found:
        order = sort_of(sort, descending=descending)
        if limit is not None and (isinstance(limit, bool) or not isinstance(limit, int) or limit < 0):
            raise ValueError(f"limit: a whole number >= 0 is expected, not {limit!r}")
        infos = self._infos(path, query, order, limit, scan=scan, is_search=is_search)
        return Found(islice(infos, limit), f"{title} in {self._url(path)}")

    def _infos(
        self, path: str, query: Query, sort: str | None, limit: int | None, *, scan: bool, is_search: bool
    ) -> Iterator[Info]:
        unseen = metadata_fields(query)
        scan = scan or (is_search and not self._searcher.has_searches())
        if scan:
            tree = self._tree(path, query)
            unseen = _without(unseen, tree.values())
            pages = iter([self._searcher.select(tree, query, sort)])
        else:
            pages = self._searcher.find(path, query, sort, limit)
        for page in pages:
            for where, record in page:
                if unseen:
                    unseen = _without(unseen, [record])
                yield record.info(where)
        self._warn(path, unseen, scan=scan)

    def scan(self, path: str, query: Query, sort: str | None = None) -> list[Placed]:
        """Return the matches of a query with their paths, evaluated locally on everything below a folder."""
        return self._searcher.select(self._tree(path, query), query, sort)

    def _tree(self, path: str, query: Query) -> dict[str, Record]:
        matcher(query, extensions=None)  # refuse an invalid query before any request
        return self._searcher.tree(path, self._concurrency)

    def count(
        self, path: str, *, where: Mapping[str, Any] | None = None, scan: bool = False, **filters: Any
    ) -> int:
        """Return the number of matches."""
        query = build(where, filters)
        unseen = metadata_fields(query)
        if scan:
            tree = self._tree(path, query)
            number = len(self._searcher.select(tree, query, None))
            unseen = _without(unseen, tree.values())
        else:
            number = self._searcher.count(path, query)
        if number == 0:
            self._warn(path, unseen, scan=scan)
        return number

    def _warn(self, path: str, fields: set[str], *, scan: bool) -> None:
        """Warn of fields that no object has: an empty result would look like an answer."""
        for field in sorted(fields):
            if scan or not self._searcher.is_known(field, path):
                similar = difflib.get_close_matches(field, [*info_fields(), *RECORD_FIELDS], n=1)
                hint = f"; did you mean {similar[0]!r}?" if similar else ""
                message = f"{self._url(path)}: no object has the field {field!r}{hint}"
                warnings.warn(message, UserWarning, stacklevel=4)

    def frame(self, path: str, **query: Any) -> pd.DataFrame:
        """Return the results of `query` as a data frame."""
        return frame_of(self.query(path, **query), self._url)


def _without(fields: set[str], records: Iterable[Record]) -> set[str]:
    """Return the metadata fields that none of the records has."""
    left = {field: value_reader(field, extensions=None) for field in fields}
    for record in records:
        if not left:
            break
        known = record.fields()
        left = {field: value_of for field, value_of in left.items() if value_of(known) is None}
    return set(left)
