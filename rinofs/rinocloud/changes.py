"""Making, copying, moving and deleting objects, on the server."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, TypeVar

from rinofs.errors import (
    ConflictError,
    NotAllowedError,
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    ServiceError,
)
from rinofs.rinocloud.features import NO_SUCH_ENDPOINT
from rinofs.rinocloud.paths import ById, parse
from rinofs.rinocloud.undo import kept_aside, move_in_steps

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping, Sequence

    from rinofs.fs.listings import Listings
    from rinofs.rinocloud.client import RinocloudClient
    from rinofs.rinocloud.records import Record
    from rinofs.rinocloud.resolver import Resolver
    from rinofs.rinocloud.uploads import Uploader

Result = TypeVar("Result")

DELETED_AT_ONCE = 10_000
"""Ids in one request, so that no request grows beyond what servers take."""

DELETE_TRIES = 3
"""How often what is left is deleted, where it is not known what the last request did."""


class Changes:
    """Change what is where.

    Parameters
    ----------
    client : RinocloudClient
        Sends the requests.
    resolver : Resolver
        Finds the objects.
    listings : Listings
        Is told of every change.
    uploader : Uploader
        Knows where new objects go.
    url : callable
        Turns a path into what messages call it.
    """

    def __init__(
        self,
        client: RinocloudClient,
        resolver: Resolver,
        listings: Listings[Record],
        uploader: Uploader,
        url: Callable[[str], str],
    ) -> None:
        self._client = client
        self._resolver = resolver
        self._listings = listings
        self._uploader = uploader
        self._url = url

    def make_folder(self, path: str, max_age: float, *, exist_ok: bool) -> None:
        """Make a folder and those on the way.

        Raises
        ------
        ConflictError
            If there is something already, unless it is a folder and `exist_ok`.
        NotADirectoryError
            If something on the way is not a folder.
        """
        known = self._listings.get(path, max_age)
        if not path or (known is not None and known.entry is not None and known.entry.type == "directory"):
            if exist_ok:
                return
            raise ConflictError("there is a folder already", self._url(path))
        if isinstance(parse(path)[-1], ById):
            self._check_folder_by_id(path, max_age, exist_ok=exist_ok)
            return

        def create() -> tuple[str | None, Record]:
            target = self._uploader.target(path, max_age)
            label = self._url(path)
            return target.made, self._client.create_folder(
                target.name, target.folder, exist_ok=exist_ok, label=label
            )

        made, record = self._made(path, create)
        if made is not None:
            self._listings.forget(made)
        self._listings.put(path, record)
        if record.type != "directory":
            raise ConflictError("there is something else than a folder", self._url(path))

    def _check_folder_by_id(self, path: str, max_age: float, *, exist_ok: bool) -> None:
        try:
            record = self._resolver.record(path, max_age)
        except NotFoundError:
            raise NotAllowedError("an id cannot be chosen; give the folder a name", self._url(path)) from None
        if record.type != "directory" or not exist_ok:
            raise ConflictError("there is something already", self._url(path))

    def _once_more_if_overtaken(self, path: str, act: Callable[[], Result]) -> Result:
        """Act on what is known, and once more after looking if that was overtaken."""
        unknown: OutcomeUnknownError | None = None
        try:
            return act()
        except NotFoundError:
            pass
        except OutcomeUnknownError as error:
            unknown = error
        self._listings.forget(path.partition("/")[0])
        try:
            return act()
        except ConflictError:
            if unknown is not None:
                raise unknown from None  # it may have been the first request that took the name
            raise

    def _made(self, path: str, create: Callable[[], Result]) -> Result:
        try:
            return self._once_more_if_overtaken(path, create)
        except ConflictError:
            self._resolver.check_way(path)
            raise

    def delete(self, found: Mapping[str, Record]) -> None:
        """Delete objects, folders with all below them, in one request.

        Parameters
        ----------
        found : mapping
            Records by path.

        Raises
        ------
        NotFoundError
            If one is not there any more; then none was deleted.
        """
        # What is below another goes with it, and is not there any more when its own turn comes.
        tops = [path for path in sorted(found) if not _above(path) & found.keys()]
        ids = [found[path].id for path in tops]
        label = self._url(tops[0]) if len(tops) == 1 else f"{self._url(tops[0])} and {len(tops) - 1} more"
        for start in range(0, len(ids), DELETED_AT_ONCE):
            self._delete(ids[start : start + DELETED_AT_ONCE], label)
        for path in tops:
            self._listings.removed(path, tree=found[path].type == "directory")

    def _delete(self, ids: Sequence[int], label: str) -> None:
        left = ids
        for tries_left in reversed(range(DELETE_TRIES)):
            try:
                self._client.delete(left, label)
            except OutcomeUnknownError:
                if not tries_left:
                    raise
            else:
                return
            left = [record_id for record_id in left if self._is_there(record_id)]
            if not left:
                return

    def _is_there(self, record_id: int) -> bool:
        try:
            self._client.metadata(record_id, f"rino://@{record_id}")
        except NotFoundError:
            return False
        return True

    def _look_again(self, path: str) -> Record | None:
        self._listings.forget(path)
        try:
            return self._resolver.record(path, 0)
        except NotFoundError:
            return None

    def copy(self, source: str, record: Record, target: str, max_age: float) -> bool:
        """Copy an object, a folder with all below it, to a path; a file there is replaced.

        Returns
        -------
        bool
            False if the server cannot copy.

        Raises
        ------
        FileExistsError
            If there is a folder.
        """
        if source == target:
            return True
        folder, name = self._place(target, max_age)
        renamed = name if name != record.name else None

        def copy() -> Record:
            return self._client.copy([record.id], folder, renamed, self._url(target))[0]

        def copy_once() -> Record:
            try:
                return copy()
            except OutcomeUnknownError:
                there = self._look_again(target)
                if there is None:
                    return copy()
                if not _is_copy(there, record):
                    raise
                return there

        try:
            made = self._on_server("copy", record, folder, lambda: self._replacing(target, record, copy_once))
        except ConflictError:
            there = self._look_again(target)
            if there is None or there.id != record.id:
                raise
            return True  # another path to the object itself
        if made is not None:
            self._listings.put(target, made)
        return made is not None

    def move(self, source: str, record: Record, target: str, max_age: float) -> bool:
        """Move and rename an object, a folder with all below it; a file at the target is replaced.

        Returns
        -------
        bool
            False if the server cannot move.

        Raises
        ------
        FileExistsError
            If there is a folder at the target.
        """
        if source == target:
            return True
        folder, name = self._place(target, max_age)

        def move() -> bool:
            self._move(record, folder, name)
            return True

        if not self._on_server("move", record, folder, lambda: self._replacing(target, record, move)):
            return False
        self._listings.removed(source, tree=True)
        self._listings.forget(target)
        return True

    def _move(self, record: Record, folder: int | None, name: str) -> None:
        label = f"rino://@{record.id}"
        if folder == record.parent:
            self._client.update(record.id, {"name": name}, label)
        elif name == record.name:
            self._client.move([record.id], folder, None, label)
        elif self._client.features.has("rename"):
            self._client.move([record.id], folder, name, label)
        else:
            move_in_steps(self._client, record, folder, name, label)

    def _place(self, target: str, max_age: float) -> tuple[int | None, str]:
        """Return the folder and the name of a new object, making the folders on the way."""
        try:
            named = self._resolver.named(target)
        except NotFoundError:
            named = None
        name = parse(named)[-1] if named else None
        if named is None or not isinstance(name, str):
            raise NotAllowedError("an id cannot be chosen; give the target a name", self._url(target))
        above = named.rpartition("/")[0]
        try:
            return self._resolver.folder_id(above, max_age), name
        except NotFoundError:
            self.make_folder(above, max_age, exist_ok=True)
            return self._resolver.folder_id(above, max_age), name

    def _replacing(self, target: str, record: Record, act: Callable[[], Result]) -> Result:
        """Act, and if a file is in the way, keep it aside until that has worked, then delete it."""
        try:
            return act()
        except ConflictError:
            there = self._look_again(target)
            if there is None or there.id == record.id:
                raise
            if there.type == "directory":
                raise ConflictError("there is a folder, which is not replaced", self._url(target)) from None
            if record.type == "directory":
                raise NotADirectoryError(
                    errno.ENOTDIR, "there is a file, which a folder does not replace", self._url(target)
                ) from None
        with kept_aside(self._client, there, self._url(target)):
            result = act()
        self._delete([there.id], self._url(target))
        return result

    def _on_server(
        self, endpoint: str, record: Record, folder: int | None, act: Callable[[], Result]
    ) -> Result | None:
        """Act on an object and a folder; None if the server turns out to lack the endpoint."""
        if endpoint in self._client.features.lacking:
            return None
        involved = [record.id] if folder is None else [record.id, folder]
        for _ in range(2):  # once is not enough to do without: a copy in place of a move has no versions
            try:
                return act()
            except (ServiceError, ProtocolError) as error:
                if error.status not in NO_SUCH_ENDPOINT or not all(map(self._is_there, involved)):
                    raise
        self._client.features.lacks(endpoint)
        return None


def _is_copy(one: Record, other: Record) -> bool:
    """Tell whether two files are alike in all that a copy keeps; of folders that cannot be seen."""
    alike = (one.type, one.size, one.etag, one.metadata, one.tags) == (
        other.type,
        other.size,
        other.etag,
        other.metadata,
        other.tags,
    )
    return alike and one.type == "file" and one.etag is not None


def _above(path: str) -> set[str]:
    parts = path.split("/")
    return {"/".join(parts[:length]) for length in range(1, len(parts))}
