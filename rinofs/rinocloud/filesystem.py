"""Rinocloud as an fsspec filesystem: what it has beyond the others."""

from __future__ import annotations

import os
from collections.abc import Iterable, Mapping
from typing import TYPE_CHECKING, Any

from fsspec.core import OpenFile, OpenFiles

from rinofs.credentials import Service
from rinofs.fs.filesystem import RemoteFileSystem
from rinofs.fs.transfer.pool import run
from rinofs.rinocloud.backend import RinocloudBackend
from rinofs.rinocloud.metadata import Metadata
from rinofs.rinocloud.queries.search import Queries

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    import pandas as pd

    from rinofs.credentials import Credentials
    from rinofs.fs.backend import Info
    from rinofs.rinocloud.queries.results import Found


class RinoFileSystem(RemoteFileSystem):
    """Files and folders in Rinocloud, under ``rino://``.

    A part of a path is the name of an object, exactly as it is; ``@848`` addresses an object by its id,
    also one of an earlier version, which cannot be written. The parameters are those of `RemoteFileSystem`.
    """

    protocol: str | tuple[str, ...] = ("rino", "rinocloud")
    service = Service("rino", ("rino", "rinocloud"), "https://rinocloud.com")

    _backend: RinocloudBackend

    def _connect(self, credentials: Credentials, url: Callable[[str], str]) -> RinocloudBackend:
        backend = RinocloudBackend(credentials, self.options, url)
        self._metadata = Metadata(backend)
        self._queries = Queries(
            backend.resolver, max_age=self.options.listing_age, concurrency=self.options.max_concurrency
        )
        return backend

    # Versions

    def versions(self, path: str) -> list[Info]:
        """Describe all versions of a file, the oldest first and the current one last.

        Parameters
        ----------
        path : str
            The path.

        Returns
        -------
        list of dict
            As from `info`; the ``id`` opens the version as ``version_id``, or as path ``@id``.
        """
        return self._backend.versions(self._strip_protocol(path))

    def restore(self, path: str, version_id: int) -> None:
        """Make an earlier version of a file the current one, by storing it again as a new version.

        Parameters
        ----------
        path : str
            The path.
        version_id : int
            The id of the version; its metadata and tags come back too.

        Raises
        ------
        NotFoundError
            If the file has no such version.
        """
        path = self._strip_protocol(path)
        self._changing.store_again(path, path, version_id)

    def prune(self, path: str, version_id: int) -> None:
        """Delete one earlier version of a file. The current version stays as it is.

        Parameters
        ----------
        path : str
            The path.
        version_id : int
            The id of the version, as `versions` lists it.

        Raises
        ------
        NotFoundError
            If the file has no such version.
        NotAllowedError
            If it is the current version.
        NotImplementedError
            If the server lacks the embedded server's extensions, and so cannot delete a single version.
        """
        self._backend.prune(self._strip_protocol(path), int(version_id))

    # Metadata and tags

    def get_metadata(self, path: str) -> dict[str, Any]:
        """Return the metadata of a file or folder.

        Parameters
        ----------
        path : str
            The path. Where the server resolves paths, it is asked; on the published API the answer may be as
            old as listings may be.

        Returns
        -------
        dict
            A new one, the caller's to change.

        Raises
        ------
        NotFoundError
            If there is nothing at the path.
        """
        return self._metadata.get(self._strip_protocol(path))

    def get_tags(self, path: str) -> list[str]:
        """Return the tags of a file or folder; raises NotFoundError if there is nothing at the path."""
        return list(self._metadata.record(self._strip_protocol(path)).tags)

    def set_metadata(self, path: str, metadata: Mapping[str, Any], replace: bool = False) -> dict[str, Any]:
        """Change the metadata of a file or folder, in one request.

        Parameters
        ----------
        path : str
            The path.
        metadata : mapping
            Names and values; what values can be is said on the page about metadata.
        replace : bool
            Whether this is all that the object has from then on. Else it is merged by the server: names that
            are not given stay as they are, whoever sets them meanwhile.

        Returns
        -------
        dict
            The metadata that the object has now.

        Raises
        ------
        TypeError, ValueError
            If JSON cannot hold it, or a name cannot be merged; nothing is sent then.
        NotFoundError
            If there is nothing at the path.
        NotAllowedError
            If it is an earlier version, which cannot be changed.
        """
        return self._metadata.set(self._strip_protocol(path), metadata, replace=replace)

    def set_metadata_many(self, metadata: Mapping[str, Mapping[str, Any]], replace: bool = False) -> None:
        """Change the metadata of many files and folders, several at a time.

        Parameters
        ----------
        metadata : mapping
            For each path what `set_metadata` takes.
        replace : bool
            As for `set_metadata`.

        Raises
        ------
        TypeError, ValueError
            If any of it cannot be stored; nothing is sent then.
        NotFoundError
            If there is nothing at one of the paths; others may be changed by then.
        """
        items = [(self._strip_protocol(path), path, given) for path, given in metadata.items()]
        self._metadata.set_many(items, replace=replace)

    def delete_metadata(self, path: str, *fields: str) -> dict[str, Any]:
        """Remove names from the metadata of a file or folder, in one request each.

        Parameters
        ----------
        path : str
            The path.
        *fields : str
            The names. One that is not there is no error.

        Returns
        -------
        dict
            The metadata that is left.

        Raises
        ------
        NotFoundError
            If there is nothing at the path.
        """
        return self._metadata.delete(self._strip_protocol(path), fields)

    def set_tags(self, path: str, tags: Sequence[str]) -> None:
        """Give a file or folder new tags in place of those that it has.

        Parameters
        ----------
        path : str
            The path.
        tags : list of str
            The tags.

        Raises
        ------
        TypeError
            If it is not a list of texts.
        NotFoundError
            If there is nothing at the path.
        """
        self._metadata.set_tags(self._strip_protocol(path), tags)

    def getxattr(self, path: str, attr: str) -> Any:
        """Return one value of the metadata; raises KeyError if there is no such name."""
        metadata = self.get_metadata(path)
        if attr not in metadata:
            raise KeyError(f"{self.url(path)} has no {attr!r} in its metadata")
        return metadata[attr]

    def setxattrs(self, path: str, **attrs: Any) -> dict[str, Any]:
        """Set values of the metadata by name; None removes a name, as in other fsspec filesystems.

        Parameters
        ----------
        path : str
            The path.
        **attrs
            What to set.

        Returns
        -------
        dict
            The metadata that the object has now.
        """
        kept = {name: value for name, value in attrs.items() if value is not None}
        changed = self.set_metadata(path, kept)
        removed = [name for name in attrs if name not in kept]
        return self.delete_metadata(path, *removed) if removed else changed

    # Queries

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

    def search(
        self,
        text: str,
        path: str = "",
        *,
        sort: str | None = None,
        descending: bool = False,
        limit: int | None = None,
        scan: bool = False,
    ) -> Found:
        """Find files, folders and objects by words, as people type them into a search box.

        Parameters
        ----------
        text : str
            ``cold spike*``, ``"exact phrase"``, ``subject:A22 AND rate_hz:>=100``,
            ``created:[2026-01 TO *]``, ``+tags:pilot -name:*.bak``: words match whole words of names, tags,
            keys and values of the metadata, whatever their case. ``*`` finds everything.
        path : str
            A folder: only what is anywhere below it is found.
        sort, descending, limit, scan
            As for `query`. A server without searches is looked through in any case.

        Returns
        -------
        iterator of dict
            Infos, asked for in pages while it is gone through.

        Raises
        ------
        ValueError
            If the text is not a search; the message says why.
        ImportError
            If Lark is missing: ``pip install 'rinofs[search]'``.
        """
        return self._queries.search(
            text, self._strip_protocol(path), sort=sort, descending=descending, limit=limit, scan=scan
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
            Columns ``path``, ``url``, ``type``, ``size`` (bytes), ``created`` and ``modified`` (UTC),
            ``tags``, ``id``, ``etag``, ``owner``, and one for each field of the metadata; nested ones are
            dotted.

        Raises
        ------
        ImportError
            If pandas is missing.
        """
        return self._queries.frame(self._strip_protocol(path), **query)

    # Many files

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
