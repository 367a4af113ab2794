"""The datapacks of all users, and their contents.

Every method of `DatapackStore` is one transaction, and takes the acting user: datapacks of others are
forbidden, like those that do not exist. Methods block; handlers call them in worker threads.
"""

from __future__ import annotations

import time
import uuid
from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import bindparam, delete, func, insert, select, update

from rinofs.server.catalog.blob_rows import drop_unreferenced
from rinofs.server.catalog.objects import refer
from rinofs.server.catalog.records import User, known_digests, now
from rinofs.server.catalog.structures import CONTENT_LINK, Structure
from rinofs.server.catalog.tables import blobs, datapack_contents, datapacks
from rinofs.server.catalog.users.audit import AuditEvent
from rinofs.server.errors import Conflict, Forbidden, NotFound, PreconditionFailed

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection

    from rinofs.server.blobs.store import Blob
    from rinofs.server.catalog.database import Database, RequestKey

__all__ = ["ANY_STATE", "KEPT", "Datapack", "DatapackContent", "DatapackStore", "ExpectedState"]

KEPT = 24 * 3600.0
"""Seconds for which an unlinked content is kept: somebody may be reading it, or may undo the change."""

_FORBIDDEN = "Method not allowed."  # the message of the service, whether it exists or not

_COLUMNS = (
    datapacks.c.id,
    datapacks.c.name,
    datapacks.c.structure,
    datapacks.c.etag,
    datapacks.c.updated_on,
)
_CONTENTS = select(
    datapack_contents.c.sha1,
    blobs.c.key,
    blobs.c.blake3,
    blobs.c.sha256,
    datapack_contents.c.size,
    datapack_contents.c.etag,
    datapack_contents.c.filename,
    datapack_contents.c.created_on,
).join(blobs, datapack_contents.c.blob == blobs.c.id)


@dataclass(frozen=True, slots=True)
class Datapack:
    """A datapack.

    Attributes
    ----------
    id : str
        Its UUID.
    name : str
        Name given by its owner; that in the document may differ.
    structure : Structure
        Its document.
    etag : str
        Identifies its current state.
    updated_on : str When it was last changed.
    """

    id: str
    name: str
    structure: Structure
    etag: str
    updated_on: str

    @property
    def modified(self) -> datetime:
        """When it was last changed."""
        return datetime.fromisoformat(self.updated_on)


@dataclass(frozen=True, slots=True)
class DatapackContent:
    """A content of a datapack.

    Attributes
    ----------
    sha1 : str
        The hash in links.
    key : str
        Key in the blob store.
    blake3, sha256 : str or None
        Digests in hex, if computed.
    size : int
        Size in bytes.
    etag : str
        Etag of the stored content.
    filename : str
        Name for saving it.
    created_on : str
        When it was first uploaded.
    """

    sha1: str
    key: str
    blake3: str | None
    sha256: str | None
    size: int
    etag: str
    filename: str
    created_on: str

    @property
    def digests(self) -> dict[str, str]:
        """Its known digests, by name."""
        return known_digests(self.blake3, self.sha256)

    @property
    def modified(self) -> datetime:
        """When it was first uploaded."""
        return datetime.fromisoformat(self.created_on)


@dataclass(frozen=True, slots=True)
class ExpectedState:
    """The state that a datapack must have to be changed, by its etag.

    Attributes
    ----------
    one_of : frozenset of str or None
        The etag must be one of these; None for any.
    none_of : frozenset of str
        The etag must not be one of these.
    """

    one_of: frozenset[str] | None = None
    none_of: frozenset[str] = frozenset()

    def check(self, present: Datapack) -> None:
        """Refuse to change a datapack that is in another state.

        Raises
        ------
        PreconditionFailed
            With its current state.
        """
        if present.etag in self.none_of or (self.one_of is not None and present.etag not in self.one_of):
            message = "the datapack is not in the state that the request is about; read it again"
            raise PreconditionFailed(message, headers={"etag": f'"{present.etag}"'})


ANY_STATE = ExpectedState()


class DatapackStore:
    """The datapacks of all users.

    Parameters
    ----------
    database : Database
        Their database.
    clock : callable
        Returns seconds since 1970.

    Notes
    -----
    Methods that change a datapack take its expected state, and an idempotency key. If the request was carried
    out before, they raise `Repeated`, with the ``id`` and ``etag`` of the result.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def ids(self, user: User, name: str | None = None) -> list[str]:
        """Return the ids of a user's datapacks, oldest first; only the one with a given name, if any."""
        found = select(datapacks.c.id).where(datapacks.c.owner == user.id)
        if name is not None:
            found = found.where(datapacks.c.name == name)
        with self._database.read() as connection:
            return list(connection.scalars(found.order_by(datapacks.c.created_on, datapacks.c.id)))

    def each(self, user: User, ids: Sequence[str]) -> Iterator[Datapack]:
        """Yield the existing ones of some datapacks, reading each only when it is requested."""
        for identifier in ids:
            with self._database.read() as connection:
                found = _find(connection, user, identifier)
            if found is not None:
                yield found

    def get(self, user: User, identifier: str) -> Datapack:
        """Return a datapack.

        Raises
        ------
        Forbidden
            If the user has none with this id.
        """
        with self._database.read() as connection:
            return _get(connection, user, identifier)

    def check(self, user: User, identifier: str) -> int:
        """Refuse a datapack that is not the user's; return the length of its document in characters.

        Raises
        ------
        Forbidden
            If the user has none with this id.
        """
        owned = (datapacks.c.id == identifier) & (datapacks.c.owner == user.id)
        with self._database.read() as connection:
            length = connection.scalar(select(func.length(datapacks.c.structure)).where(owned))
        if length is None:
            raise Forbidden(_FORBIDDEN)
        return int(length)

    def create(
        self, user: User, name: str, structure: Structure, *, key: RequestKey | None = None
    ) -> Datapack:
        """Create a datapack.

        Raises
        ------
        Conflict
            If the user has one with this name.
        """
        moment = now()
        made = Datapack(str(uuid.uuid4()), name, structure, structure.etag(name), moment)
        row = {"id": made.id, "owner": user.id, "created_on": moment, **_columns(made)}
        with self._database.once(user.id, key) as unit:
            _refuse_taken(unit.connection, user, name)
            unit.connection.execute(insert(datapacks).values(row))
            unit.keep({"id": made.id, "etag": made.etag})
        return made

    def edit(
        self,
        user: User,
        identifier: str,
        *,
        name: str | None = None,
        structure: Structure | None = None,
        expected: ExpectedState = ANY_STATE,
        key: RequestKey | None = None,
    ) -> Datapack:
        """Change the name or the document of a datapack, or both.

        Raises
        ------
        Forbidden
            If the user has none with this id.
        Conflict
            If the user has another one with the new name.
        """
        with self._database.once(user.id, key) as unit:
            present = _get(unit.connection, user, identifier)
            expected.check(present)
            if name is not None and name != present.name:
                _refuse_taken(unit.connection, user, name)
            changed = _save(unit.connection, present, name or present.name, structure or present.structure)
            if structure is not None:
                self._mark(unit.connection, identifier, present.structure.hashes(), structure.hashes())
            unit.keep({"id": changed.id, "etag": changed.etag})
        return changed

    def delete(self, user: User, identifier: str, *, expected: ExpectedState = ANY_STATE) -> set[str]:
        """Remove a datapack with its contents; return the keys of unreferenced contents.

        Raises
        ------
        Forbidden
            If the user has none with this id.
        """
        with self._database.write(user.id) as connection:
            found = _get(connection, user, identifier)
            expected.check(found)
            gone = delete(datapack_contents).where(datapack_contents.c.datapack == identifier)
            contents = set(connection.scalars(gone.returning(datapack_contents.c.blob)))
            connection.execute(delete(datapacks).where(datapacks.c.id == identifier))
            details = {"datapack": identifier, "name": found.name}
            self._database.note(connection, AuditEvent.DELETED, user.username, **details)
            return drop_unreferenced(connection, contents)

    def put_content(
        self,
        user: User,
        identifier: str,
        link: str,
        blob: Blob,
        filename: str,
        *,
        expected: ExpectedState = ANY_STATE,
        key: RequestKey | None = None,
    ) -> Datapack:
        """Set the content of the nodes with a link.

        Parameters
        ----------
        user : User
            The owner.
        identifier : str
            Id of the datapack.
        link : str
            The current link of the nodes.
        blob : Blob
            The stored content.
        filename : str
            Name for saving it.
        expected, key
            See the notes of the class.

        Raises
        ------
        Forbidden
            If the user has no datapack with this id.
        NotFound
            If no node has the link.
        Conflict
            If the datapack has another content with the same hash.
        """
        with self._database.once(user.id, key) as unit:
            present = _get(unit.connection, user, identifier)
            expected.check(present)
            linked = present.structure.linked(link, blob.sha1)
            if linked is None:
                raise NotFound(f"link: no data node of this datapack has the link {link!r}", field="link")
            structure, hashes = linked
            _add_content(unit.connection, identifier, blob, filename)
            self._mark(unit.connection, identifier, present.structure.hashes(), hashes)
            changed = _save(unit.connection, present, present.name, structure)
            unit.keep({"id": changed.id, "etag": changed.etag})
        return changed

    def store_content(self, user: User, identifier: str, blob: Blob, filename: str) -> None:
        """Store a content that no node needs to link to yet; it is kept for a while.

        Raises
        ------
        Forbidden
            If the user has no datapack with this id.
        Conflict
            If the datapack has another content with the same hash.
        """
        with self._database.write(user.id) as connection:
            linked = _get(connection, user, identifier).structure.hashes()
            _add_content(connection, identifier, blob, filename)
            # Its time starts now, even if it was already stored unlinked.
            self._mark(connection, identifier, frozenset({blob.sha1}) - linked, frozenset())

    def contents(self, user: User, identifier: str) -> tuple[Datapack, dict[str, DatapackContent]]:
        """Return a datapack and its contents by link, from one snapshot.

        Raises
        ------
        Forbidden
            If the user has none with this id.
        """
        with self._database.read() as connection:
            found = _get(connection, user, identifier)
            stored = _CONTENTS.where(datapack_contents.c.datapack == identifier)
            rows = [DatapackContent(*row) for row in connection.execute(stored)]
        return found, {CONTENT_LINK + row.sha1: row for row in rows}

    def content(self, user: User, identifier: str, sha1: str) -> DatapackContent:
        """Return the description of one content.

        Raises
        ------
        Forbidden
            If the user has no datapack with this id.
        NotFound
            If it has no such content.
        """
        with self._database.read() as connection:
            _check_owner(connection, user, identifier)
            wanted = _CONTENTS.where(_is_content(identifier, sha1))
            row = connection.execute(wanted).one_or_none()
        if row is None:
            raise NotFound(f"this datapack has no content {sha1!r}")
        return DatapackContent(*row)

    def forget_unlinked(self) -> int:
        """Remove contents that no node has linked to for a while; return their number."""
        gone = datapack_contents.c.unlinked <= int(self._clock() - KEPT)
        mine = select(datapacks.c.id).where(datapacks.c.owner == bindparam("user"))
        forget = delete(datapack_contents).where(gone, datapack_contents.c.datapack.in_(mine))
        owners = select(datapacks.c.owner).join(datapack_contents).where(gone).distinct()
        with self._database.read() as connection:
            found = connection.scalars(owners).all()
        forgotten = 0
        for owner in found:
            with self._database.write(owner) as connection:
                forgotten += connection.execute(forget, {"user": owner}).rowcount
        return forgotten

    def _mark(
        self, connection: Connection, identifier: str, before: frozenset[str], after: frozenset[str]
    ) -> None:
        """Record which contents are no longer linked, or linked again."""
        if before == after:
            return
        present = select(datapack_contents.c.sha1).where(datapack_contents.c.datapack == identifier)
        stored = set(
            connection.scalars(present)
        )  # a document may have many more links than there are contents
        for hashes, moment in ((before - after, int(self._clock())), (after - before, None)):
            for sha1 in hashes & stored:
                noted = update(datapack_contents).where(_is_content(identifier, sha1))
                connection.execute(noted.values(unlinked=moment))


def _find(connection: Connection, user: User, identifier: str) -> Datapack | None:
    """Return a datapack of a user, or None."""
    wanted = select(*_COLUMNS).where(datapacks.c.id == identifier, datapacks.c.owner == user.id)
    row = connection.execute(wanted).one_or_none()
    if row is None:
        return None
    return Datapack(row.id, row.name, Structure(row.structure), row.etag, row.updated_on)


def _get(connection: Connection, user: User, identifier: str) -> Datapack:
    """Return a datapack of a user; a missing one is refused with the same message as another user's."""
    found = _find(connection, user, identifier)
    if found is None:
        raise Forbidden(_FORBIDDEN)
    return found


def _check_owner(connection: Connection, user: User, identifier: str) -> None:
    """Refuse a datapack that is not the user's, without reading its document."""
    owned = select(datapacks.c.id).where(datapacks.c.id == identifier, datapacks.c.owner == user.id)
    if connection.scalar(owned) is None:
        raise Forbidden(_FORBIDDEN)


def _refuse_taken(connection: Connection, user: User, name: str) -> None:
    """Refuse a name that another datapack of the user has."""
    same = select(datapacks.c.id).where(datapacks.c.owner == user.id, datapacks.c.name == name)
    present = connection.scalar(same)
    if present is not None:
        raise Conflict(f"Datapack {name} already exists with id {present}", field="name")


def _columns(datapack: Datapack) -> dict[str, str]:
    """Return the columns that change with a datapack, with their values."""
    return {
        "name": datapack.name,
        "structure": datapack.structure.text,
        "etag": datapack.etag,
        "updated_on": datapack.updated_on,
    }


def _save(connection: Connection, present: Datapack, name: str, structure: Structure) -> Datapack:
    """Save the name and the document of a datapack, either of which may be unchanged."""
    etag = structure.etag(name)
    if etag == present.etag:
        return present
    changed = replace(present, name=name, structure=structure, etag=etag, updated_on=now())
    connection.execute(update(datapacks).where(datapacks.c.id == present.id).values(_columns(changed)))
    return changed


def _add_content(connection: Connection, identifier: str, blob: Blob, filename: str) -> None:
    """Record that a content belongs to a datapack."""
    number = refer(connection, [blob])[blob.blake3]
    same = select(datapack_contents.c.blob).where(_is_content(identifier, blob.sha1))
    present = connection.scalar(same)
    if present is None:
        row = {
            "datapack": identifier,
            "sha1": blob.sha1,
            "blob": number,
            "size": blob.size,
            "etag": blob.etag,
            "filename": filename,
            "created_on": now(),
        }
        connection.execute(insert(datapack_contents).values(row))
    elif present != number:
        if not _is_same(connection, present, blob):
            # A deliberate collision: these exist for SHA-1, and a link must always mean the same content.
            raise Conflict(f"this datapack has different content with the hash {blob.sha1}")
        changed = update(datapack_contents).where(_is_content(identifier, blob.sha1))
        connection.execute(changed.values(blob=number))  # whose bytes have just been verified
        drop_unreferenced(connection, [present])


def _is_same(connection: Connection, number: int, blob: Blob) -> bool:
    """Return whether a content without BLAKE3, stored by an earlier version of the server, is the same."""
    same = (blobs.c.id == number) & (blobs.c.size == blob.size) & (blobs.c.etag == blob.etag)
    return connection.scalar(select(blobs.c.id).where(same, blobs.c.blake3.is_(None))) is not None


def _is_content(identifier: str, sha1: str) -> ColumnElement[bool]:
    """Return the condition for the row of one content."""
    return (datapack_contents.c.datapack == identifier) & (datapack_contents.c.sha1 == sha1)
