"""Copy and move on the server; a replaced file becomes an earlier version if the server supports that."""

from __future__ import annotations

import errno
import secrets
from functools import partial
from typing import TYPE_CHECKING, TypeVar

from rinofs.errors import (
    ConflictError,
    DeadlineError,
    NotAllowedError,
    NotFoundError,
    OutcomeUnknownError,
    ProtocolError,
    RinofsError,
    ServiceError,
)
from rinofs.protocol.extensions import RinocloudExtension
from rinofs.rinocloud.client import NO_SUCH_ENDPOINT
from rinofs.rinocloud.resolver import names_of, parse

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rinofs.fs.listings import Age
    from rinofs.rinocloud.changes import Changes
    from rinofs.rinocloud.client import RinocloudClient
    from rinofs.rinocloud.records import Record
    from rinofs.rinocloud.resolver import Resolver

Result = TypeVar("Result")


class Moves:
    """Copies and moves objects.

    Parameters
    ----------
    resolver : Resolver
        Finds the objects; provides the client, the listings and the URLs.
    changes : Changes
        Creates parent folders, and checks whether objects exist.
    """

    def __init__(self, resolver: Resolver, changes: Changes) -> None:
        self._resolver = resolver
        self._client, self._listings, self._url = resolver.client, resolver.listings, resolver.url
        self._changes = changes

    def copy(self, source: str, record: Record, target: str, max_age: Age) -> bool:
        """Copy an object, or a folder with its contents, to a path; a file there becomes an earlier version.

        Returns
        -------
        bool
            False if the server cannot copy, or cannot keep the replaced file as a version.

        Raises
        ------
        FileExistsError
            If the target is a folder.
        """
        if source == target:
            return True
        folder, name = self._place(target, max_age)
        renamed = name if name != record.name else None

        def copy() -> Record:
            label = self._url(target)
            return self._client.copy(record.id, folder, renamed, label, names_of(source))

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
            made = self._on_server("copy", record, folder, copy_once)
        except ConflictError as error:
            return self._is_in_place(target, record, error)
        if made is not None:
            self._listings.put(target, made)
        return made is not None

    def move(self, source: str, record: Record, target: str, max_age: Age) -> bool:
        """Move and rename an object, or a folder with its contents.

        A file at the target becomes an earlier version.

        Returns
        -------
        bool
            False if the server cannot move, or cannot keep the replaced file as a version.

        Raises
        ------
        FileExistsError
            If the target is a folder.
        """
        if source == target:
            return True
        folder, name = self._place(target, max_age)

        def move() -> bool:
            self._move(record, folder, name, names_of(source))
            return True

        try:
            if not self._on_server("move", record, folder, move):
                return False
        except ConflictError as error:
            return self._is_in_place(target, record, error)
        self._listings.removed(source, tree=True)
        self._listings.forget(target)
        return True

    def _move(self, record: Record, folder: int | None, name: str, names: Sequence[str] | None) -> None:
        label, has = f"rino://@{record.id}", self._client.features.has
        if folder == record.parent and not (names and has(RinocloudExtension.PLACES)):
            self._rename(record, name, label)
        elif name == record.name:
            self._client.move(record.id, folder, None, label, names)
        elif has(RinocloudExtension.RENAME):
            self._client.move(record.id, folder, name, label, names)
        else:
            move_in_steps(self._client, record, folder, name, label)

    def _rename(self, record: Record, name: str, label: str) -> None:
        try:
            self._client.update(record.id, {"name": name}, label)
        except ConflictError:
            if not self._client.features.has(RinocloudExtension.VERSIONS):
                raise
            self._client.move(record.id, record.parent, name, label)  # an update cannot replace a file

    def _place(self, target: str, max_age: Age) -> tuple[int | None, str]:
        """Return folder and name for a new object, creating parent folders."""
        try:
            named = self._resolver.named(target)
        except NotFoundError:
            named = None
        name = parse(named)[-1] if named else None
        if named is None or not isinstance(name, str):
            raise NotAllowedError("an id cannot be chosen; use a name", self._url(target))
        there = self._listings.get(named, max_age)
        if there is not None and there.entry is not None:
            return there.entry.parent, name
        above = named.rpartition("/")[0]
        try:
            return self._resolver.folder_id(above, max_age), name
        except NotFoundError:
            self._changes.make_folder(above, max_age, exist_ok=True)
            return self._resolver.folder_id(above, max_age), name

    def _is_in_place(self, target: str, record: Record, error: ConflictError) -> bool:
        """Return after a conflict whether the target is another path to the same object.

        If False, the target is a file that the server cannot keep as an earlier version.
        """
        there = self._look_again(target)
        if there is None:
            raise error
        if there.id == record.id:
            return True
        if there.type == "directory":
            raise ConflictError("is a folder; folders are not replaced", self._url(target)) from None
        if record.type == "directory":
            raise NotADirectoryError(
                errno.ENOTDIR, "is a file; a folder cannot replace it", self._url(target)
            ) from None
        if self._client.features.has(RinocloudExtension.VERSIONS):
            raise error
        return False

    def _on_server(
        self, endpoint: str, record: Record, folder: int | None, act: Callable[[], Result]
    ) -> Result | None:
        """Act on an object and a folder; None if the server turns out not to have the endpoint."""
        if endpoint in self._client.features.lacking:
            return None
        involved = [record.id] if folder is None else [record.id, folder]
        for _ in range(2):  # twice before falling back to a copy, which would lose the versions
            try:
                return act()
            except (ServiceError, ProtocolError) as error:
                if error.status not in NO_SUCH_ENDPOINT or not all(map(self._changes.is_there, involved)):
                    raise
        self._client.features.lacks(endpoint)
        return None

    def _look_again(self, path: str) -> Record | None:
        self._listings.forget(path)
        try:
            return self._resolver.record(path, 0)
        except NotFoundError:
            return None


def _is_copy(one: Record, other: Record) -> bool:
    """Return whether two files have the same content, metadata and tags; always False for folders."""
    alike = (one.type, one.size, one.etag, one.metadata, one.tags) == (
        other.type,
        other.size,
        other.etag,
        other.metadata,
        other.tags,
    )
    return alike and one.type == "file" and one.etag is not None


# Changes that need several requests, and their reversal if one of them fails


def move_in_steps(client: RinocloudClient, record: Record, folder: int | None, name: str, label: str) -> None:
    """Move and rename an object by way of a temporary name, so that it never conflicts with an existing one.

    Parameters
    ----------
    client : RinocloudClient
        Sends the requests.
    record : Record
        Object to move.
    folder : int or None
        Id of the target folder; None is the top level.
    name : str
        New name.
    label : str
        Name of the object for messages.

    Raises
    ------
    RinofsError
        If a step failed. The object was moved back, or a note on the error says where it is.
    """
    between = _unused_name()

    def rename(to: str) -> None:
        client.update(record.id, {"name": to}, label)

    def move(to: int | None) -> None:
        client.move(record.id, to, None, label)

    try:
        rename(between)
        move(folder)
        rename(name)
    except BaseException as error:
        # A failed step may have been carried out, so reverse all of them.
        back = (partial(rename, between), partial(move, record.parent), partial(rename, record.name))
        _undo(error, record, *back)
        raise


def _undo(error: BaseException, record: Record, *steps: Callable[[], object]) -> None:
    """Carry out the steps as far as possible; if one fails, add a note to the error."""
    undone = True
    for step in steps:
        try:
            step()
        except RinofsError as failure:
            undone = False
            if isinstance(failure, DeadlineError):
                break  # the next one would time out too
    if not undone:
        error.add_note(
            f"{record.name!r} may have another name or place by now; find it as rino://@{record.id}"
        )


def _unused_name() -> str:
    return f".rinofs-{secrets.token_hex(8)}"
