"""Create, copy, move and delete objects on the server."""

from __future__ import annotations

from typing import TYPE_CHECKING

from rinofs.errors import (
    ConflictError,
    NotAllowedError,
    NotFoundError,
    OutcomeUnknownError,
)
from rinofs.protocol.extensions import RinocloudExtension
from rinofs.rinocloud.resolver import ById, names_of, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rinofs.fs.listings import Age
    from rinofs.rinocloud.records import Record
    from rinofs.rinocloud.resolver import Resolver
    from rinofs.rinocloud.uploads import Uploader

DELETED_AT_ONCE = 10_000
"""Maximum number of ids in a request, to stay within limits on the size of requests."""

DELETE_TRIES = 3
"""Maximum number of attempts to delete what is left when the outcome of a request is not known."""


class Changes:
    """Create and delete objects.

    Parameters
    ----------
    resolver : Resolver
        Finds the objects; provides the client, the listings and the URLs.
    uploader : Uploader
        Finds the folders of new objects.
    """

    def __init__(self, resolver: Resolver, uploader: Uploader) -> None:
        self._resolver = resolver
        self._client, self._listings, self._url = resolver.client, resolver.listings, resolver.url
        self._uploader = uploader

    def make_folder(self, path: str, max_age: Age, *, exist_ok: bool) -> None:
        """Create a folder and its parents.

        Raises
        ------
        ConflictError
            If the path exists, unless it is a folder and `exist_ok`.
        NotADirectoryError
            If a parent is not a folder.
        """
        known = self._listings.get(path, max_age)
        if not path or (known is not None and known.entry is not None and known.entry.type == "directory"):
            if exist_ok:
                return
            raise ConflictError("a folder with this name already exists", self._url(path))
        if isinstance(parse(path)[-1], ById):
            self._check_folder_by_id(path, max_age, exist_ok=exist_ok)
            return

        def create() -> Record:
            target = self._uploader.target(path)
            return self._client.create_folder(
                target.name, target.folder, exist_ok=exist_ok, label=self._url(path)
            )

        record = self._made(path, create)
        self._uploader.remember(path, record)
        if record.type != "directory":
            raise ConflictError("exists and is not a folder", self._url(path))

    def _check_folder_by_id(self, path: str, max_age: Age, *, exist_ok: bool) -> None:
        try:
            record = self._resolver.record(path, max_age)
        except NotFoundError:
            raise NotAllowedError("an id cannot be chosen; use a name", self._url(path)) from None
        if record.type != "directory" or not exist_ok:
            raise ConflictError("already exists", self._url(path))

    def _made(self, path: str, create: Callable[[], Record]) -> Record:
        try:
            return create()
        except OutcomeUnknownError as error:
            unknown = error
        except ConflictError:
            self._resolver.check_way(path)
            raise
        try:
            return create()
        except ConflictError:
            raise unknown from None  # the first request may have created it

    def delete(self, found: dict[str, Record], *, empty: bool = False) -> None:
        """Delete objects, and folders with all their contents, with one request unless they are very many.

        Parameters
        ----------
        found : dict
            Records by path; those that are deleted are removed from it.
        empty : bool
            Whether to delete folders only if they are empty, if the server can check that.

        Raises
        ------
        NotFoundError
            If one that is left no longer exists; then none of the same request was deleted.
        ConflictError
            If one is an earlier version by now, or not empty; likewise.
        """
        # Deleting a folder deletes its contents, which then would not be found.
        tops = [path for path in sorted(found) if not _above(path) & found.keys()]
        for path in found.keys() - set(tops):
            del found[path]
        if not tops:
            return
        label = self._url(tops[0]) if len(tops) == 1 else f"{self._url(tops[0])} and {len(tops) - 1} more"
        for start in range(0, len(tops), DELETED_AT_ONCE):
            chunk = tops[start : start + DELETED_AT_ONCE]
            self._delete_by_id({found[path].id: names_of(path) for path in chunk}, label, empty=empty)
            for path in chunk:
                self._listings.removed(path, tree=found.pop(path).type == "directory")

    def _delete_by_id(self, found: Mapping[int, Sequence[str] | None], label: str, *, empty: bool) -> None:
        """Delete objects with one request; with more only if its response is lost."""
        left, unknown = found, False
        for tries_left in reversed(range(DELETE_TRIES)):
            try:
                self._client.delete(left, label, empty=empty)
            except OutcomeUnknownError:
                if not tries_left:
                    raise
                unknown = True
            except NotFoundError:
                # A request whose response was lost may have been carried out only now.
                if not (unknown and tries_left):
                    raise
            else:
                return
            left = {record_id: names for record_id, names in left.items() if self.is_there(record_id)}
            if not left:
                return

    def prune(self, record_id: int, label: str) -> None:
        """Delete one earlier version; raises NotImplementedError if the server cannot."""
        self._client.discover()
        if not self._client.features.has(RinocloudExtension.VERSIONS):
            # Other servers could take the request to mean the whole file.
            raise NotImplementedError(f"{label}: the server cannot delete one version of a file")
        try:
            self._client.prune(record_id, label)
        except OutcomeUnknownError:
            if self.is_there(record_id):
                self._client.prune(record_id, label)

    def is_there(self, record_id: int) -> bool:
        """Return whether an object with this id exists."""
        try:
            self._client.metadata(record_id, f"rino://@{record_id}")
        except NotFoundError:
            return False
        return True


def _above(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:length]) for length in range(1, len(parts))}
