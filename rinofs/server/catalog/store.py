"""The objects of all users.

Every method is one transaction, and takes the user in whose name it acts: what belongs to others is not
found. Methods block; handlers call them in worker threads.
"""

from __future__ import annotations

from dataclasses import replace
from typing import TYPE_CHECKING

from rinofs.server.catalog import bulk_insert as arrivals
from rinofs.server.catalog import lookups, moves, objects
from rinofs.server.catalog.edits import changed_values, metadata_values
from rinofs.server.catalog.metadata import load_metadata
from rinofs.server.catalog.records import Change, Kind, NewObject, Record, User, now
from rinofs.server.catalog.store_reads import StoreReads
from rinofs.server.errors import Conflict, PreconditionFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from sqlalchemy import Connection

    from rinofs.server.blobs.store import Blob

    Remember = Callable[[Connection, Sequence[Record]], None]

__all__ = ["FolderExists", "Store"]

_NOTHING = object()
_TAKEN = "Folder name conflict."  # published clients look for this very text


class FolderExists(Conflict):
    """The folder to make is there already.

    Attributes
    ----------
    record : Record
        The folder.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(_TAKEN, field="name")
        self.record = record


class Store(StoreReads):
    """The objects of all users.

    Parameters
    ----------
    database : Database
        Where they are kept.

    Notes
    -----
    Methods that make objects take `remember`: called within the transaction, with what was made, so that the
    answer to the request is kept if and only if its work is.
    """

    def create_folder(self, user: User, new: NewObject, *, remember: Remember | None = None) -> Record:
        """Make a folder, and those on the way to it.

        Parameters
        ----------
        user : User
            The owner.
        new : NewObject
            The folder.
        remember : callable, optional
            See the notes of the class.

        Raises
        ------
        FolderExists
            If it is there already.
        Conflict
            If something else has the name.
        """
        with self._database.write() as connection:
            parent = objects.folder_for(connection, user, new.parent, new.folders)
            present = lookups.child(connection, user, parent, new.name)
            if present is not None:
                raise FolderExists(present) if present.type == Kind.FOLDER else Conflict(_TAKEN, field="name")
            record = objects.add(connection, user, _in(new, parent), Kind.FOLDER)
            _keep(remember, connection, [record])
            return record

    def create_object(self, user: User, new: NewObject, *, remember: Remember | None = None) -> Record:
        """Make an object without content.

        Raises
        ------
        Conflict
            If the name is taken.
        """
        with self._database.write() as connection:
            parent = objects.folder_for(connection, user, new.parent)
            record = objects.add(connection, user, _in(new, parent), Kind.OBJECT)
            _keep(remember, connection, [record])
            return record

    def upload(
        self,
        user: User,
        new: NewObject,
        blob: Blob,
        *,
        only_new: bool = False,
        remember: Remember | None = None,
    ) -> Record:
        """Make a file of a stored content. A file of that name becomes an earlier version of it.

        Parameters
        ----------
        user : User
            The owner.
        new : NewObject
            The file.
        blob : Blob
            Its content, kept from being collected by the caller.
        only_new : bool
            Whether the name has to be free.
        remember : callable, optional
            See the notes of the class.

        Raises
        ------
        Conflict
            If a folder has the name.
        PreconditionFailed
            If the name has to be free and is not.
        """
        with self._database.write() as connection:
            parent = objects.folder_for(connection, user, new.parent, new.folders)
            present = lookups.child(connection, user, parent, new.name)
            if present is not None and only_new:
                raise PreconditionFailed(f"name: {new.name!r} exists already", field="name")
            objects.refuse_folder(present)
            record = objects.add(connection, user, _in(new, parent), Kind.FILE, blob=blob, replaced=present)
            _keep(remember, connection, [record])
            return record

    def upload_many(
        self, user: User, files: Sequence[tuple[NewObject, Blob]], *, remember: Remember | None = None
    ) -> list[Record]:
        """Make files of stored contents, all or none; see `rinofs.server.catalog.bulk_insert.add_files`."""
        with self._database.write() as connection:
            records = arrivals.add_files(connection, user, files)
            _keep(remember, connection, records)
            return records

    def replace_content(self, user: User, number: int, blob: Blob, *, expected: str | None) -> Record | None:
        """Give a file a new content under the id that it has.

        Parameters
        ----------
        user : User
            The owner.
        number : int
            The file.
        blob : Blob
            Its content, kept from being collected by the caller.
        expected : str or None
            The sha-256 that its present content must have.

        Returns
        -------
        Record or None
            None if it has another content by now.
        """
        with self._database.write() as connection:
            record = lookups.changeable(connection, user, number)
            if record.sha256 != expected:
                return None
            content = {"size": blob.size, "etag": blob.etag, "sha256": blob.sha256}
            return objects.set_values(connection, record, {**content, "type": Kind.FILE, "updated_on": now()})

    def update(self, user: User, number: int, change: Change) -> Record:
        """Change the name, the metadata or the tags of an object.

        Raises
        ------
        NotFound
            If there is none of that id.
        Conflict
            If the new name is taken, or the object is an earlier version.
        """
        with self._database.write() as connection:
            record = lookups.changeable(connection, user, number)
            if change.name is not None and change.name != record.name:
                objects.refuse_taken(connection, user, record.parent, change.name, but=record.id)
            return objects.set_values(connection, record, changed_values(record, change))

    def delete_field(self, user: User, number: int, field: str) -> Record:
        """Remove a key from the metadata of an object.

        Raises
        ------
        NotFound
            If there is no such object; that it has no such key is no error.
        """
        with self._database.write() as connection:
            record = lookups.changeable(connection, user, number)
            metadata = load_metadata(record.metadata)
            if metadata.pop(field, _NOTHING) is _NOTHING:
                return record
            return objects.set_values(connection, record, metadata_values(metadata))

    def move(
        self, user: User, numbers: Sequence[int], parent: int | None, name: str | None = None
    ) -> list[Record]:
        """Put objects into a folder, all or none; see `rinofs.server.catalog.moves.move`."""
        with self._database.write() as connection:
            target = objects.folder_for(connection, user, parent)
            return moves.move(connection, user, numbers, target, name)

    def copy(
        self,
        user: User,
        numbers: Sequence[int],
        parent: int | None,
        name: str | None = None,
        *,
        remember: Remember | None = None,
    ) -> list[Record]:
        """Copy objects into a folder, all or none; see `rinofs.server.catalog.moves.copy`."""
        with self._database.write() as connection:
            target = objects.folder_for(connection, user, parent)
            copies = moves.copy(connection, user, numbers, target, name)
            _keep(remember, connection, copies)
            return copies

    def delete(self, user: User, numbers: Sequence[int]) -> None:
        """Delete objects, all or none; see `rinofs.server.catalog.moves.delete`."""
        with self._database.write() as connection:
            moves.delete(connection, user, numbers)


def _in(new: NewObject, parent: int | None) -> NewObject:
    return replace(new, parent=parent, folders=())


def _keep(remember: Remember | None, connection: Connection, made: Sequence[Record]) -> None:
    if remember is not None:
        remember(connection, made)
