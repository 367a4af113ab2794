"""Queries, as methods of the filesystem."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fsspec.core import OpenFile, OpenFiles

from rinofs.fs.transfer.pool import run
from rinofs.rinocloud.metadata import DescribedFileSystem
from rinofs.rinocloud.queries.search import Queries

if TYPE_CHECKING:
    import pandas as pd

    from rinofs.rinocloud.queries.results import Found


class SearchableFileSystem(DescribedFileSystem):
    """A filesystem whose objects are found by what is known of them; the parameters are those of its base."""

    def query(
        self,
        path: str = "",
        *,
        sort: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        where: Mapping[str, Any] | None = None,
        scan: bool = False,
        **filters: Any,
    ) -> Found:
        """Find files, folders and objects by what is known about them.

        Parameters
        ----------
        path : str
            A folder: only what is anywhere below it is found.
        sort : str, optional
            A field to sort by; what does not have it is left out. By id otherwise.
        descending : bool
            Whether the order is reversed.
        limit : int, optional
            How many to find at most.
        where : mapping, optional
            A query in the service's own language, which has to hold too.
        scan : bool
            Whether to look through everything below `path` here, for servers without queries.
        **filters
            ``subject="A22"``, ``rate_hz__gt=100``, ``device__gain__in=[1, 2]``, ``tags__in=["pilot"]``,
            ``name__string_contains=".csv"``, ``created__gt=datetime(...)``; of those that end in ``__or`` one
            has to hold. Names are those of infos, and else fields of the metadata.

        Returns
        -------
        iterator of dict
            Infos, asked for in pages while it is gone through.

        Raises
        ------
        TypeError, ValueError
            If a filter makes no sense.

        Notes
        -----
        While it is gone through, it raises NotImplementedError if the server has no queries, and
        NotFoundError or NotADirectoryError if there is no folder at the path.
        """
        return self._queries.query(
            self._strip_protocol(path),
            sort=sort,
            descending=descending,
            limit=limit,
            where=where,
            scan=scan,
            **filters,
        )

    @property
    def _queries(self) -> Queries:
        return Queries(
            self._client,
            self._resolver,
            self._listings,
            url=self.url,
            max_age=self.options.listing_age,
            concurrency=self.options.max_concurrency,
        )

    def count(
        self, path: str = "", *, where: Mapping[str, Any] | None = None, scan: bool = False, **filters: Any
    ) -> int:
        """Return how many objects `query` finds with this path, ``where``, ``scan`` and these filters."""
        return self._queries.count(self._strip_protocol(path), where=where, scan=scan, **filters)

    def query_frame(self, path: str = "", **query: Any) -> pd.DataFrame:
        """Return what `query` finds as a data frame, one row an object.

        Parameters
        ----------
        path : str
            A folder, as for `query`.
        **query
            As for `query`.

        Returns
        -------
        pandas.DataFrame
            Columns ``path``, ``type``, ``size`` (bytes), ``created`` and ``modified`` (UTC), ``tags``,
            ``id``, ``etag``, ``owner``, and one for each field of the metadata; nested ones are dotted.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        return self._queries.frame(self._strip_protocol(path), **query)

    def open_many(self, files: Iterable[Any], mode: str = "rb", **kwargs: Any) -> Any:
        """Open many files, several at a time.

        Parameters
        ----------
        files : iterable
            Paths, or infos as `query` finds them.
        mode : str
            As for `open`.
        **kwargs
            ``compression``, ``encoding``, ``errors`` and ``newline``, as for `open`.

        Returns
        -------
        fsspec.core.OpenFiles
            A list, to be used in a ``with`` statement, or part by part, as ``fsspec.open_files`` gives it.
        """
        if isinstance(files, OpenFiles):  # as fsspec itself asks for it, when the ``with`` statement begins
            return run(lambda file: file.__enter__(), files, self.options.max_concurrency)
        paths = [file["name"] if isinstance(file, Mapping) else os.fspath(file) for file in files]
        opened = [OpenFile(self, self._strip_protocol(path), mode, **kwargs) for path in paths]
        return OpenFiles(opened, mode=mode, fs=self)

    def commit_many(self, files: Iterable[Any]) -> None:
        """Do nothing: each file was stored when it was closed; fsspec asks for this after `open_many`."""
