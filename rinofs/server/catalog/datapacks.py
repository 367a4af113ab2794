"""The datapacks of all users, and which contents belong to them.

Every method is one transaction, and takes the user in whose name it acts: datapacks of others are
as forbidden as those that do not exist. Methods block; handlers call them in worker threads.
"""

from __future__ import annotations

import time
import uuid
from typing import TYPE_CHECKING, TypeAlias

from sqlalchemy import delete, insert, select, update

from rinofs.server.catalog.datapack_records import (
    CONTENT,
    Content,
    Datapack,
    add_content,
    check_owner,
    find,
    get,
    is_content,
    refuse_taken,
    save,
    stored,
)
from rinofs.server.catalog.records import User, now
from rinofs.server.catalog.structures import CONTENT_LINK, Structure
from rinofs.server.catalog.tables import datapack_contents, datapacks
from rinofs.server.errors import NotFound

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence

    from sqlalchemy import Connection

    from rinofs.server.blobs.store import Blob
    from rinofs.server.catalog.database import Database

    Remember: TypeAlias = Callable[[Connection, Sequence[Datapack]], None]

__all__ = ["KEPT", "Content", "Datapack", "Datapacks"]

KEPT = 24 * 3600.0
"""Seconds for which a content stays that no node links to any more: somebody may be reading it, or undo."""


class Datapacks:
    """The datapacks of all users.

    Parameters
    ----------
    database : Database
        Where they are kept.
    clock : callable
        Seconds since 1970.

    Notes
    -----
    Methods that change a datapack take `allowed`: called within the transaction with the datapack as it is,
    it raises where the change is not wanted. They take `remember` as those of the store of objects do.
    """

    def __init__(self, database: Database, *, clock: Callable[[], float] = time.time) -> None:
        self._database = database
        self._clock = clock

    def ids(self, user: User, name: str | None = None) -> list[str]:
        """Return the ids of a user's datapacks, the oldest first; only that of a name where one is given."""
        found = select(datapacks.c.id).where(datapacks.c.owner == user.id)
        if name is not None:
            found = found.where(datapacks.c.name == name)
        with self._database.read() as connection:
            return list(connection.scalars(found.order_by(datapacks.c.created_on, datapacks.c.id)))

    def each(self, user: User, ids: Sequence[str]) -> Iterator[Datapack]:
        """Yield those of some datapacks that are there; each is read when its turn comes."""
        for identifier in ids:
            with self._database.read() as connection:
                found = find(connection, user, identifier)
            if found is not None:
                yield found

    def get(self, user: User, identifier: str) -> Datapack:
        """Return a datapack.

        Raises
        ------
        Forbidden
            If the user has none of this id.
        """
        with self._database.read() as connection:
            return get(connection, user, identifier)

    def check(self, user: User, identifier: str) -> None:
        """Refuse a datapack that is not the user's.

        Raises
        ------
        Forbidden
            If the user has none of this id.
        """
        with self._database.read() as connection:
            check_owner(connection, user, identifier)

    def create(
        self, user: User, name: str, structure: Structure, *, remember: Remember | None = None
    ) -> Datapack:
        """Make a datapack.

        Raises
        ------
        Conflict
            If the user has one of this name.
        """
        moment = now()
        made = Datapack(str(uuid.uuid4()), name, structure, structure.etag(name), moment)
        row = {"id": made.id, "owner": user.id, "created_on": moment, **stored(made)}
        with self._database.write() as connection:
            refuse_taken(connection, user, name)
            connection.execute(insert(datapacks).values(row))
            if remember is not None:
                remember(connection, [made])
        return made

    def edit(
        self,
        user: User,
        identifier: str,
        *,
        name: str | None = None,
        structure: Structure | None = None,
        allowed: Callable[[Datapack], None],
        remember: Remember | None = None,
    ) -> Datapack:
        """Change what a datapack is called, what its document says, or both.

        Raises
        ------
        Forbidden
            If the user has none of this id.
        Conflict
            If the user has another one of the new name.
        """
        with self._database.write() as connection:
            present = get(connection, user, identifier)
            allowed(present)
            if name is not None and name != present.name:
                refuse_taken(connection, user, name)
            changed = save(connection, present, name or present.name, structure or present.structure)
            if structure is not None:
                self._mark(connection, identifier, present.structure.hashes(), structure.hashes())
            if remember is not None:
                remember(connection, [changed])
        return changed

    def delete(self, user: User, identifier: str, *, allowed: Callable[[Datapack], None]) -> None:
        """Remove a datapack with its contents.

        Raises
        ------
        Forbidden
            If the user has none of this id.
        """
        with self._database.write() as connection:
            allowed(get(connection, user, identifier))
            connection.execute(delete(datapack_contents).where(datapack_contents.c.datapack == identifier))
            connection.execute(delete(datapacks).where(datapacks.c.id == identifier))

    def put_content(
        self,
        user: User,
        identifier: str,
        link: str,
        blob: Blob,
        filename: str,
        *,
        allowed: Callable[[Datapack], None],
        remember: Remember | None = None,
    ) -> Datapack:
        """Give a content to the nodes of a link.

        Parameters
        ----------
        user : User
            The owner.
        identifier : str
            Id of the datapack.
        link : str
            The link of the nodes, as it is before.
        blob : Blob
            The stored content.
        filename : str
            A name to save it under.
        allowed, remember : callable
            See the notes of the class.

        Raises
        ------
        Forbidden
            If the user has no datapack of this id.
        NotFound
            If no node has the link.
        Conflict
            If the datapack has another content of the same hash.
        """
        with self._database.write() as connection:
            present = get(connection, user, identifier)
            allowed(present)
            linked = present.structure.linked(link, blob.sha1)
            if linked is None:
                raise NotFound(f"link: no data node of this datapack has the link {link!r}", field="link")
            structure, hashes = linked
            add_content(connection, identifier, blob, filename)
            self._mark(connection, identifier, present.structure.hashes(), hashes)
            changed = save(connection, present, present.name, structure)
            if remember is not None:
                remember(connection, [changed])
        return changed

    def store_content(self, user: User, identifier: str, blob: Blob, filename: str) -> None:
        """Keep a content for a while that no node has to link to yet.

        Raises
        ------
        Forbidden
            If the user has no datapack of this id.
        Conflict
            If the datapack has another content of the same hash.
        """
        with self._database.write() as connection:
            linked = get(connection, user, identifier).structure.hashes()
            add_content(connection, identifier, blob, filename)
            # Its time begins now, also where it has been lying here unlinked already.
            self._mark(connection, identifier, frozenset({blob.sha1}) - linked, frozenset())

    def contents(self, user: User, identifier: str) -> tuple[Datapack, dict[str, Content]]:
        """Return a datapack, and what is known about its contents, by their links, at the same moment.

        Raises
        ------
        Forbidden
            If the user has none of this id.
        """
        with self._database.read() as connection:
            found = get(connection, user, identifier)
            stored = select(*CONTENT).where(datapack_contents.c.datapack == identifier)
            rows = [Content(*row) for row in connection.execute(stored)]
        return found, {CONTENT_LINK + row.sha1: row for row in rows}

    def content(self, user: User, identifier: str, sha1: str) -> Content:
        """Return what is known about one content.

        Raises
        ------
        Forbidden
            If the user has no datapack of this id.
        NotFound
            If it has no such content.
        """
        with self._database.read() as connection:
            check_owner(connection, user, identifier)
            wanted = select(*CONTENT).where(is_content(identifier, sha1))
            row = connection.execute(wanted).one_or_none()
        if row is None:
            raise NotFound(f"this datapack has no content {sha1!r}")
        return Content(*row)

    def forget_unlinked(self) -> int:
        """Give up contents that no node has linked to for a while; return how many there were."""
        gone = datapack_contents.c.unlinked <= int(self._clock() - KEPT)
        with self._database.read() as connection:
            if connection.scalar(select(datapack_contents.c.sha1).where(gone).limit(1)) is None:
                return 0
        with self._database.write() as connection:
            return connection.execute(delete(datapack_contents).where(gone)).rowcount

    def _mark(
        self, connection: Connection, identifier: str, before: frozenset[str], after: frozenset[str]
    ) -> None:
        """Note which contents are linked to no longer, or again."""
        for hashes, moment in ((before - after, int(self._clock())), (after - before, None)):
            for sha1 in hashes:
                noted = update(datapack_contents).where(is_content(identifier, sha1))
                connection.execute(noted.values(unlinked=moment))
