"""The objects of all users.

Every method is one transaction, and takes the acting user: objects of others are not found. Methods block;
handlers call them in worker threads.
"""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import asdict, replace
from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from rinofs.server.catalog import bulk_insert, listings, moves, objects
from rinofs.server.catalog.blob_rows import drop_unreferenced
from rinofs.server.catalog.database import Repeated
from rinofs.server.catalog.path_lookups import locate, locate_few, locate_many, refuse_elsewhere
from rinofs.server.catalog.queries import searches
from rinofs.server.catalog.queries.conditions import compile_query, compile_sort
from rinofs.server.catalog.queries.indexes import FieldIndexes
from rinofs.server.catalog.records import (
    Change,
    Kind,
    NewObject,
    Record,
    User,
    changed_values,
    load_metadata,
    metadata_values,
    now,
)
from rinofs.server.catalog.tables import objects as table
from rinofs.server.catalog.users.audit import AuditEvent
from rinofs.server.errors import BadRequest, Conflict, NotFound, PreconditionFailed

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, TextClause

    from rinofs.server.blobs.store import Blob
    from rinofs.server.catalog.database import Database, RequestKey, Unit
    from rinofs.server.catalog.listings import Listing, NameListing, PageRequest, Selection
    from rinofs.server.catalog.queries.conditions import CompiledQuery

__all__ = ["FolderExists", "Store", "made_before"]

_LONG_SQL = 2000  # characters
_FIELDS = tuple(Record.__dataclass_fields__)
_MOST_KEPT = 16_000  # characters in all metadata, tags and lists of versions of a stored outcome
_NO_DETAILS: dict[str, Any] = {"metadata": "{}", "metadata_size": 2, "tags": "[]", "versions": "[]"}
_WITHOUT_DETAILS = "without_details"
_NOTHING = object()
_MOST_NAMED = 20  # deleted objects in one entry of the audit log
_TAKEN = "Folder name conflict."  # published clients look for exactly this text


class FolderExists(Conflict):
    """The folder to create exists already.

    Attributes
    ----------
    record : Record
        The folder.
    """

    def __init__(self, record: Record) -> None:
        super().__init__(_TAKEN, field="name")
        self.record = record


class Store:
    """The objects of all users.

    Parameters
    ----------
    database : Database
        Their database.

    Notes
    -----
    Methods whose requests clients repeat take an idempotency key. If the request was carried out before, they
    raise `Repeated`, with the records that were its result (`made_before`). Large metadata, tags and lists of
    versions are in them as they are now: the size of what is stored does not depend on these.
    """

    def __init__(self, database: Database) -> None:
        self._database = database
        self._indexes = FieldIndexes(database)
        self._dialect = database.kind.queries

    # Reading

    def get(self, user: User, where: int | Sequence[str], *, at_once: bool = False) -> Record:
        """Return an object by its id, or by its path.

        Parameters
        ----------
        user : User
            The owner.
        where : int or sequence of str
            Id or path.
        at_once : bool
            Whether the calling thread must not wait.

        Raises
        ------
        NotFound If there is none. WouldWait
            If it would have to wait, but must not.
        """
        database = self._database
        one_row = isinstance(where, int) or len(where) == 1
        with database.look() if at_once else database.lookups() if one_row else database.read() as reader:
            if isinstance(where, int):
                return objects.get(reader, user, where)
            return locate(reader, user, where)

    def locate_many(
        self, user: User, paths: Sequence[Sequence[str]], *, at_once: bool = False
    ) -> list[Record | None]:
        """Return the current objects at some paths, from one snapshot; None for paths without an object.

        Use `at_once`, as in `get`, only for few paths.
        """
        if at_once:
            with self._database.look() as reader:
                return locate_few(reader, user, paths)
        with self._database.read() as connection:
            return locate_many(connection, user, paths)

    def ancestors(self, user: User, number: int) -> list[Record]:
        """Return the folders above an object, from the top level down."""
        with self._database.read() as connection:
            return moves.ancestors(connection, user, objects.get(connection, user, number))

    def children(
        self, user: User, where: int | Sequence[str] | None, page: PageRequest, *, recursive: bool = False
    ) -> Listing:
        """List a folder, or the top level.

        Parameters
        ----------
        user : User
            The owner.
        where : int, sequence of str or None
            Id or path of the folder; None or an empty path for the top level.
        page : PageRequest
            The requested part; for objects after an id, there is no total.
        recursive : bool
            Whether to list everything below, with paths.

        Raises
        ------
        NotFound
            If the object does not exist.
        BadRequest
            If it is not a folder.
        """
        with self._database.read() as connection:
            start = _folder(connection, user, where)
            selection, total = _selected(connection, user, start, page, recursive=recursive)
            return listings.Listing(self._database, user, selection, page, total).begin(connection)

    def names(
        self, user: User, where: int | Sequence[str] | None, page: PageRequest, *, recursive: bool = False
    ) -> tuple[int | None, NameListing]:
        """Return the id of a folder, and only the names of what it contains.

        The parameters and errors are those of `children`.
        """
        with self._database.read() as connection:
            start = _folder(connection, user, where)
            selection, total = _selected(connection, user, start, page, recursive=recursive)
            return start, listings.NameListing(self._database, user, selection, page, total).begin(connection)

    def query(
        self, user: User, query: object, page: PageRequest, *, sort: object = None, digests: bool = True
    ) -> Listing:
        """List the objects that match a query; see `rinofs.server.catalog.queries.query`."""
        wanted = self._compiled(user, query, digests=digests)
        sorting = sort if sort is None else self._sorting(user, sort, digests=digests)
        with self._database.read(keep_sql=len(wanted.sql) < _LONG_SQL) as connection:
            condition, order = and_(searches.mine(user, wanted), wanted.clause(connection)), None
            if sorting is not None:
                condition, order = and_(condition, sorting[0]), (sorting[1],)
            return self._listed(connection, user, listings.Selection(condition, order), page)

    def count(self, user: User, query: object, *, digests: bool = True) -> int:
        """Count the objects that match a query."""
        wanted = self._compiled(user, query, digests=digests)
        with self._database.read(keep_sql=len(wanted.sql) < _LONG_SQL) as connection:
            return _count(connection, and_(searches.mine(user, wanted), wanted.clause(connection)))

    def search(self, user: User, query: object, page: PageRequest, *, digests: bool = True) -> Listing:
        """List the objects that match a query, newest first."""
        wanted = self._compiled(user, query, digests=digests)
        with self._database.read(keep_sql=len(wanted.sql) < _LONG_SQL) as connection:
            condition = and_(searches.mine(user, wanted), wanted.clause(connection))
            selection = listings.Selection(condition, (table.c.id.desc(),))
            return self._listed(connection, user, selection, page)

    def _compiled(self, user: User, query: object, *, digests: bool) -> CompiledQuery:
        return compile_query(self._dialect, user, query, digests=digests, indexed=self._indexes.fields())

    def _sorting(self, user: User, sort: object, *, digests: bool) -> tuple[TextClause, TextClause]:
        return compile_sort(self._dialect, user, sort, digests=digests, indexed=self._indexes.fields())

    def field_names(self, user: User) -> list[str]:
        """Return the metadata keys of a user's objects."""
        with self._database.read() as connection:
            return searches.field_names(connection, user)

    def field_values(self, user: User, field: str, *, digests: bool = True) -> list[object]:
        """Return the values of a field among a user's objects."""
        with self._database.read() as connection:
            return searches.known_values(connection, user, field, digests=digests)

    def _listed(self, connection: Connection, user: User, selection: Selection, page: PageRequest) -> Listing:
        return listings.Listing(self._database, user, selection, page).begin(connection)

    # Changing

    def create_folder(self, user: User, new: NewObject, *, key: RequestKey | None = None) -> Record:
        """Create a folder, and missing folders above it.

        Parameters
        ----------
        user : User
            The owner.
        new : NewObject
            The folder.
        key : RequestKey, optional
            See the notes of the class.

        Raises
        ------
        FolderExists
            If it exists already.
        Conflict
            If something else has the name.
        """
        with self._once(user, key) as unit:
            parent = objects.folder_for(unit.connection, user, new.parent, new.folders)
            present = objects.child(unit.connection, user, parent, new.name)
            if present is not None:
                raise FolderExists(present) if present.type == Kind.FOLDER else Conflict(_TAKEN, field="name")
            record = objects.add(unit.connection, user, _in(new, parent), Kind.FOLDER)
            _keep(unit, [record])
            return record

    def create_object(
        self, user: User, new: NewObject, change: Change | None = None, *, key: RequestKey | None = None
    ) -> Record:
        """Create an object without content.

        Parameters
        ----------
        user : User
            The owner.
        new : NewObject
            The object.
        change : Change, optional
            Change to make instead if an object without content has the name.
        key : RequestKey, optional
            See the notes of the class.

        Raises
        ------
        Conflict
            If the name is taken by an object that is not changed instead.
        """
        with self._once(user, key) as unit:
            parent = objects.folder_for(unit.connection, user, new.parent)
            present = objects.child(unit.connection, user, parent, new.name)
            if change is not None and present is not None and present.type == Kind.OBJECT:
                record = objects.set_values(unit.connection, present, changed_values(present, change))
            else:
                record = objects.add(unit.connection, user, _in(new, parent), Kind.OBJECT)
            _keep(unit, [record])
            return record

    def upload(
        self,
        user: User,
        new: NewObject,
        blob: Blob,
        *,
        only_new: bool = False,
        expected: frozenset[str] | None = None,
        key: RequestKey | None = None,
    ) -> Record:
        """Create a file with a stored content. An existing file with that name becomes an earlier version.

        Parameters
        ----------
        user : User
            The owner.
        new : NewObject
            The file.
        blob : Blob
            Its content, which the caller protects from collection.
        only_new : bool
            Whether the name must be free.
        expected : frozenset of str, optional
            Etags, one of which the current content must have; ``*`` means any.
        key : RequestKey, optional
            See the notes of the class.

        Raises
        ------
        Conflict
            If a folder has the name.
        PreconditionFailed
            If the name must be free and is not, or the current content is not as expected.
        """
        with self._once(user, key) as unit:
            parent = objects.folder_for(unit.connection, user, new.parent, new.folders)
            present = objects.child(unit.connection, user, parent, new.name)
            if present is not None and only_new:
                raise PreconditionFailed(f"name: {new.name!r} exists already", field="name")
            if expected is not None and (present is None or not expected & {"*", present.etag}):
                raise PreconditionFailed(f"name: {new.name!r} has another content by now", field="name")
            objects.refuse_folder(present)
            record = objects.add(
                unit.connection, user, _in(new, parent), Kind.FILE, blob=blob, replaced=present
            )
            _keep(unit, [record])
            return record

    def upload_many(
        self, user: User, files: Sequence[tuple[NewObject, Blob]], *, key: RequestKey | None = None
    ) -> list[Record]:
        """Add files of stored contents, all or none; see `rinofs.server.catalog.bulk_insert.add_files`."""
        with self._once(user, key) as unit:
            records = bulk_insert.add_files(unit.connection, user, files)
            _keep(unit, records)
            return records

    def replace_content(
        self, user: User, number: int, blob: Blob, *, expected: int | None
    ) -> tuple[Record, set[str]] | None:
        """Replace the content of a file, which keeps its id.

        Parameters
        ----------
        user : User
            The owner.
        number : int
            The file.
        blob : Blob
            Its content, which the caller protects from collection.
        expected : int or None
            Row number that its current content must have.

        Returns
        -------
        tuple or None
            The file, and the keys of unreferenced contents; None if it has another content by now.
        """
        with self._database.write(user.id) as connection:
            record = objects.changeable(connection, user, number)
            if record.blob != expected:
                return None
            content = {
                "size": blob.size,
                "etag": blob.etag,
                "blob": objects.refer(connection, [blob])[blob.blake3],
            }
            values = {**content, "type": Kind.FILE, "updated_on": now()}
            changed = objects.set_values(connection, record, values)
            return changed, drop_unreferenced(connection, [] if expected is None else [expected])

    def update(
        self, user: User, number: int, change: Change, *, exact: bool = False, key: RequestKey | None = None
    ) -> Record:
        """Change the name, the metadata or the tags of an object.

        Parameters
        ----------
        user : User
            The owner.
        number : int
            Its id, or that of an earlier version of it.
        change : Change
            What to change.
        exact : bool
            Whether the id of an earlier version means that version, which is read-only.
        key : RequestKey, optional
            See the notes of the class.

        Raises
        ------
        NotFound
            If there is none with that id.
        BadRequest
            If metadata of a file is given the name of a field of files.
        Conflict
            If the new name is taken, or an earlier version is meant.
        """
        with self._once(user, key) as unit:
            record = objects.changeable(unit.connection, user, number, exact=exact)
            if change.name is not None and change.name != record.name:
                objects.refuse_taken(unit.connection, user, record.parent, change.name, but=record.id)
            record = objects.set_values(unit.connection, record, changed_values(record, change))
            _keep(unit, [record])
            return record

    def delete_field(
        self, user: User, number: int, field: str, *, exact: bool = False, key: RequestKey | None = None
    ) -> Record:
        """Remove a key from the metadata of an object; the parameters are those of `update`.

        Raises
        ------
        NotFound
            If the object does not exist; a missing key is not an error.
        Conflict
            If an earlier version is meant.
        """
        with self._once(user, key, grows=False) as unit:
            record = objects.changeable(unit.connection, user, number, exact=exact)
            metadata = load_metadata(record.metadata)
            if metadata.pop(field, _NOTHING) is not _NOTHING:
                record = objects.set_values(unit.connection, record, metadata_values(metadata))
            _keep(unit, [record])
            return record

    def move(
        self,
        user: User,
        numbers: Sequence[int],
        parent: int | None,
        name: str | None = None,
        *,
        replace: bool = False,
        paths: Sequence[Sequence[str]] | None = None,
        key: RequestKey | None = None,
    ) -> list[Record]:
        """Move objects into a folder, all or none; see `moves.move` and `refuse_elsewhere`."""
        with self._once(user, key, grows=False) as unit:
            refuse_elsewhere(unit.connection, user, numbers, paths)
            target = objects.folder_for(unit.connection, user, parent)
            moved = moves.move(unit.connection, user, numbers, target, name, replace=replace)
            _keep(unit, moved)
            return moved

    def copy(
        self,
        user: User,
        numbers: Sequence[int],
        parent: int | None,
        name: str | None = None,
        *,
        replace: bool = False,
        paths: Sequence[Sequence[str]] | None = None,
        key: RequestKey | None = None,
    ) -> list[Record]:
        """Copy objects into a folder, all or none; see `moves.copy` and `refuse_elsewhere`."""
        with self._once(user, key) as unit:
            refuse_elsewhere(unit.connection, user, numbers, paths)
            target = objects.folder_for(unit.connection, user, parent)
            copies = moves.copy(unit.connection, user, numbers, target, name, replace=replace)
            _keep(unit, copies)
            return copies

    def delete(
        self,
        user: User,
        numbers: Sequence[int],
        *,
        exact: bool = False,
        empty: bool = False,
        paths: Sequence[Sequence[str]] | None = None,
    ) -> set[str]:
        """Delete objects, all or none; see `rinofs.server.catalog.moves.delete`.

        Returns the keys of unreferenced contents. `paths` are as for `refuse_elsewhere`.
        """
        with self._database.write(user.id) as connection:
            refuse_elsewhere(connection, user, numbers, paths)
            named = [objects.get(connection, user, number).name for number in numbers[:_MOST_NAMED]]
            contents = moves.delete(connection, user, numbers, exact=exact, empty=empty)
            ids = list(numbers[:_MOST_NAMED])
            self._database.note(connection, AuditEvent.DELETED, user.username, ids=ids, names=named)
            return drop_unreferenced(connection, contents)

    def prune(self, user: User, numbers: Sequence[int]) -> set[str]:
        """Delete earlier versions, all or none; see `rinofs.server.catalog.moves.prune`.

        Returns the keys of unreferenced contents.
        """
        with self._database.write(user.id) as connection:
            contents = moves.prune(connection, user, numbers)
            versions = list(numbers[:_MOST_NAMED])
            self._database.note(connection, AuditEvent.DELETED, user.username, versions=versions)
            return drop_unreferenced(connection, contents)

    @contextmanager
    def _once(self, user: User, key: RequestKey | None, *, grows: bool = True) -> Iterator[Unit]:
        """Do the work of a request once, as `Database.once` does; `_keep` stores its outcome."""
        try:
            with self._database.once(user.id, key, grows=grows) as unit:
                yield unit
        except Repeated as repeated:
            raise Repeated(self._completed(user, repeated.outcome)) from None

    def _completed(self, user: User, outcome: Any) -> Any:
        """Return a stored outcome with the present details of its records, if it was stored without."""
        if not isinstance(outcome, list) or not any(_WITHOUT_DETAILS in row for row in outcome):
            return outcome
        with self._database.read() as connection:
            return [row | _details(connection, user, row["id"]) for row in outcome]


def _keep(unit: Unit, records: Sequence[Record]) -> None:
    """Store records as the outcome of a request; without their details, if these are large."""
    size = sum(len(record.metadata) + len(record.tags) + len(record.versions) for record in records)
    if size <= _MOST_KEPT:
        unit.keep(records)
        return
    # Empty rather than absent: workers of the release before can read that.
    unit.keep([asdict(record) | _NO_DETAILS | {_WITHOUT_DETAILS: True} for record in records])


def _details(connection: Connection, user: User, number: int) -> dict[str, Any]:
    """Return the details of an object that `_keep` leaves out; empty ones if it is gone."""
    try:
        record = objects.get(connection, user, number)
    except NotFound:
        return _NO_DETAILS
    return {name: getattr(record, name) for name in _NO_DETAILS}


def made_before(repeated: Repeated) -> list[Record]:
    """Return what a request created or changed when it was first carried out; see the notes of `Store`."""
    return [Record(**{name: row.get(name) for name in _FIELDS}) for row in repeated.outcome]


def _in(new: NewObject, parent: int | None) -> NewObject:
    return replace(new, parent=parent, folders=())


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(table).where(condition)) or 0


def _selected(
    connection: Connection, user: User, start: int | None, page: PageRequest, *, recursive: bool
) -> tuple[Selection, int | None]:
    inside = listings.below(user, start) if recursive else objects.inside(user, start)
    # Counting for each page would make the time for a list grow with the square of its length.
    total = _count(connection, inside) if page.after is None else None
    few = recursive and (start is not None or (total is not None and total <= page.limit))
    selection = listings.Selection(
        inside, few=few, below=start, with_paths=recursive, in_folder=not recursive
    )
    return selection, total


def _folder(connection: Connection, user: User, where: int | Sequence[str] | None) -> int | None:
    if where is None or (not isinstance(where, int) and not where):
        return None
    if isinstance(where, int):
        found = objects.get(connection, user, where)
    else:
        found = locate(connection, user, where)
    if found.type != Kind.FOLDER:
        raise BadRequest(f"id: {found.id} is not a folder", field="id")
    return found.id
