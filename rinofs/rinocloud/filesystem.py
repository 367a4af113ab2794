"""The fsspec filesystem for Rinocloud: versions, metadata and queries."""

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

    Each part of a path is the exact name of an object; ``@848`` addresses an object by its id, including
    earlier versions, which are read-only. The parameters are those of `RemoteFileSystem`.
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
        """Describe all versions of a file, oldest first; the last one is the current version.

        Parameters
        ----------
        path : str
            Path of the file.

        Returns
        -------
        list of dict
            As from `info`; the ``id`` can be used as ``version_id``, or as the path ``@id``.
        """
        return self._backend.versions(self._strip_protocol(path))

    def restore(self, path: str, version_id: int) -> None:
        """Make an earlier version of a file the current one, by storing it as a new version.

        Parameters
        ----------
        path : str
            Path of the file.
        version_id : int
            Id of the version; its metadata and tags are restored too.

        Raises
        ------
        NotFoundError
            If the file has no such version.
        """
        path = self._strip_protocol(path)
        self._changing.store_again(path, path, version_id)

    def prune(self, path: str, version_id: int) -> None:
        """Delete one earlier version of a file. The current version does not change.

        Parameters
        ----------
        path : str
            Path of the file.
        version_id : int
            Id of the version, from `versions`.

        Raises
        ------
        NotFoundError
            If the file has no such version.
        NotAllowedError
            If it is the current version.
        NotImplementedError
            If the server does not have this extension, and therefore cannot delete a single version.
        """
        self._backend.prune(self._strip_protocol(path), int(version_id))

    # Metadata and tags

    def get_metadata(self, path: str) -> dict[str, Any]:
        """Return the metadata of a file or folder.

        Parameters
        ----------
        path : str
            Path of the object. A server that resolves paths is always asked; with the published API, the
            result may be as old as cached listings.

        Returns
        -------
        dict
            A new dict, which the caller may modify.

        Raises
        ------
        NotFoundError
            If the path does not exist.
        """
        return self._metadata.get(self._strip_protocol(path))

    def get_tags(self, path: str) -> list[str]:
        """Return the tags of a file or folder; raises NotFoundError if the path does not exist."""
        return list(self._metadata.record(self._strip_protocol(path)).tags)

    def set_metadata(self, path: str, metadata: Mapping[str, Any], replace: bool = False) -> dict[str, Any]:
        """Change the metadata of a file or folder.

        Parameters
        ----------
        path : str
            Path of the object.
        metadata : mapping
            Names and values; see the page on metadata for the types of values.
        replace : bool
            Whether to replace the existing metadata. Otherwise the server merges: other names keep their
            values, even if they are changed at the same time.

        Returns
        -------
        dict
            Current metadata of the object.

        Raises
        ------
        TypeError, ValueError
            If JSON cannot represent a value, or a name cannot be merged; nothing is sent then.
        NotFoundError
            If the path does not exist.
        NotAllowedError
            If the path is an earlier version, which is read-only.
        """
        return self._metadata.set(self._strip_protocol(path), metadata, replace=replace)

    def set_metadata_many(self, metadata: Mapping[str, Mapping[str, Any]], replace: bool = False) -> None:
        """Change the metadata of many files and folders concurrently.

        Parameters
        ----------
        metadata : mapping
            Argument of `set_metadata` for each path.
        replace : bool
            As for `set_metadata`.

        Raises
        ------
        TypeError, ValueError
            If any value cannot be stored; nothing is sent then.
        NotFoundError
            If one of the paths does not exist; other objects may have been changed.
        """
        items = [(self._strip_protocol(path), path, given) for path, given in metadata.items()]
        self._metadata.set_many(items, replace=replace)

    def delete_metadata(self, path: str, *fields: str) -> dict[str, Any]:
        """Remove names from the metadata of a file or folder, one after the other.

        Parameters
        ----------
        path : str
            Path of the object.
        *fields : str
            Names. Names that do not exist are ignored.

        Returns
        -------
        dict
            The remaining metadata.

        Raises
        ------
        NotFoundError
            If the path does not exist.
        """
        return self._metadata.delete(self._strip_protocol(path), fields)

    def set_tags(self, path: str, tags: Sequence[str]) -> None:
        """Replace the tags of a file or folder.

        Parameters
        ----------
        path : str
            Path of the object.
        tags : list of str
            New tags.

        Raises
        ------
        TypeError
            If it is not a list of strings.
        NotFoundError
            If the path does not exist.
        """
        self._metadata.set_tags(self._strip_protocol(path), tags)

    def getxattr(self, path: str, attr: str) -> Any:
        """Return one metadata value; raises KeyError if the name does not exist."""
        metadata = self.get_metadata(path)
        if attr not in metadata:
            raise KeyError(f"{self.url(path)} has no {attr!r} in its metadata")
        return metadata[attr]

    def setxattrs(self, path: str, **attrs: Any) -> dict[str, Any]:
        """Set metadata values by name; None removes a name, as in other fsspec filesystems.

        Parameters
        ----------
        path : str
            Path of the object.
        **attrs
            Names and values.

        Returns
        -------
        dict
            Current metadata of the object.
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
        """Find files, folders and objects by their properties and metadata.

        Parameters
        ----------
        path : str
            A folder; only matches anywhere below it are returned.
        sort : str, optional
            Field to sort by; objects without it are omitted. The default is the id.
        descending : bool
            Whether to sort in descending order.
        limit : int, optional
            Maximum number of results.
        where : mapping, optional
            Query in the service's own language, combined with the filters.
        scan : bool
            Whether to download all records below `path` and match them locally, for servers without queries.
        **filters
            ``subject="A22"``, ``rate_hz__gt=100``, ``device__gain__in=[1, 2]``, ``tags__in=["pilot"]``,
            ``name__string_contains=".csv"``, ``created__gt=datetime(...)``. Of filters that end in ``__or``,
            at least one must match. Names are keys of infos, or else metadata fields.

        Returns
        -------
        iterator of dict
            Infos, requested in pages during the iteration.

        Raises
        ------
        TypeError, ValueError
            If a filter is not valid.

        Notes
        -----
        The iteration raises NotImplementedError if the server has no queries, and NotFoundError or
        NotADirectoryError if `path` is not an existing folder.
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
        """Find files, folders and objects by a search text, as typed into a search box.

        Parameters
        ----------
        text : str
            ``cold spike*``, ``"exact phrase"``, ``subject:A22 AND rate_hz:>=100``,
            ``created:[2026-01 TO *]``, ``+tags:pilot -name:*.bak``. Words match whole words in names, tags,
            and keys and values of the metadata, ignoring case. ``*`` matches everything.
        path : str
            A folder; only matches anywhere below it are returned.
        sort, descending, limit, scan
            As for `query`. With a server without searches, the client always matches locally.

        Returns
        -------
        iterator of dict
            Infos, requested in pages during the iteration.

        Raises
        ------
        ValueError
            If the text is not a valid search; the message gives the reason.
        ImportError
            If Lark is not installed: ``pip install 'rinofs[search]'``.
        """
        return self._queries.search(
            text, self._strip_protocol(path), sort=sort, descending=descending, limit=limit, scan=scan
        )

    def count(
        self, path: str = "", *, where: Mapping[str, Any] | None = None, scan: bool = False, **filters: Any
    ) -> int:
        """Return the number of matches; the parameters are those of `query`."""
        return self._queries.count(self._strip_protocol(path), where=where, scan=scan, **filters)

    def query_frame(self, path: str = "", **query: Any) -> pd.DataFrame:
        """Return the results of `query` as a data frame, one row for each object.

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
            ``tags``, ``id``, ``etag``, ``owner``, and one for each metadata field; nested fields have dotted
            names.

        Raises
        ------
        ImportError
            If pandas is not installed.
        """
        return self._queries.frame(self._strip_protocol(path), **query)

    # Many files

    def open_many(self, files: Iterable[Any], mode: str = "rb", **kwargs: Any) -> Any:
        """Open many files concurrently.

        Parameters
        ----------
        files : iterable
            Paths, or infos from `query`.
        mode : str
            As for `open`.
        **kwargs
            ``compression``, ``encoding``, ``errors`` and ``newline``, as for `open`.

        Returns
        -------
        fsspec.core.OpenFiles
            A list to use in a ``with`` statement, or file by file, like the result of ``fsspec.open_files``.
        """
        if isinstance(files, OpenFiles):  # fsspec calls this at the start of the ``with`` statement
            return run(lambda file: file.__enter__(), files, self.options.max_concurrency)
        paths = [file["name"] if isinstance(file, Mapping) else os.fspath(file) for file in files]
        opened = [OpenFile(self, self._strip_protocol(path), mode, **kwargs) for path in paths]
        return OpenFiles(opened, mode=mode, fs=self)

    def commit_many(self, files: Iterable[Any]) -> None:
        """Do nothing: each file is stored when it is closed; fsspec calls this after `open_many`."""
