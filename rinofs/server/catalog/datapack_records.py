"""Datapacks and their contents, as rows of the database have them."""

from __future__ import annotations

from dataclasses import dataclass, replace
from datetime import datetime
from typing import TYPE_CHECKING

from sqlalchemy import insert, select, update

from rinofs.server.catalog.records import User, now
from rinofs.server.catalog.structures import Structure
from rinofs.server.catalog.tables import datapack_contents, datapacks
from rinofs.server.errors import Conflict, Forbidden

if TYPE_CHECKING:
    from sqlalchemy import ColumnElement, Connection

    from rinofs.server.blobs.store import Blob

__all__ = [
    "CONTENT",
    "Content",
    "Datapack",
    "add_content",
    "check_owner",
    "find",
    "get",
    "is_content",
    "refuse_taken",
    "save",
    "stored",
]

_FORBIDDEN = "Method not allowed."  # in the words of the service, whether it exists or not

_COLUMNS = (
    datapacks.c.id,
    datapacks.c.name,
    datapacks.c.structure,
    datapacks.c.etag,
    datapacks.c.updated_on,
)
CONTENT = (
    datapack_contents.c.sha1,
    datapack_contents.c.sha256,
    datapack_contents.c.size,
    datapack_contents.c.etag,
    datapack_contents.c.filename,
    datapack_contents.c.created_on,
)


@dataclass(frozen=True, slots=True)
class Datapack:
    """A datapack.

    Attributes
    ----------
    id : str
        Its UUID.
    name : str
        What its owner calls it; the document may say otherwise.
    structure : Structure
        Its document.
    etag : str
        What names this state of it.
    updated_on : str
        When it was last changed.
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
class Content:
    """A content of a datapack.

    Attributes
    ----------
    sha1, sha256 : str
        Its digests, in hex; the first is the hash in links.
    size : int
        Its bytes.
    etag : str
        The etag of the stored content.
    filename : str
        A name to save it under.
    created_on : str
        When it was first uploaded.
    """

    sha1: str
    sha256: str
    size: int
    etag: str
    filename: str
    created_on: str

    @property
    def modified(self) -> datetime:
        """When it was first uploaded."""
        return datetime.fromisoformat(self.created_on)


def find(connection: Connection, user: User, identifier: str) -> Datapack | None:
    """Return a datapack of a user, or None."""
    wanted = select(*_COLUMNS).where(datapacks.c.id == identifier, datapacks.c.owner == user.id)
    row = connection.execute(wanted).one_or_none()
    if row is None:
        return None
    return Datapack(row.id, row.name, Structure(row.structure), row.etag, row.updated_on)


def get(connection: Connection, user: User, identifier: str) -> Datapack:
    """Return a datapack of a user; refuse where there is none, in the same words as one of others."""
    found = find(connection, user, identifier)
    if found is None:
        raise Forbidden(_FORBIDDEN)
    return found


def check_owner(connection: Connection, user: User, identifier: str) -> None:
    """Refuse a datapack that is not the user's, without reading its document."""
    owned = select(datapacks.c.id).where(datapacks.c.id == identifier, datapacks.c.owner == user.id)
    if connection.scalar(owned) is None:
        raise Forbidden(_FORBIDDEN)


def refuse_taken(connection: Connection, user: User, name: str) -> None:
    """Refuse a name that the user has given to a datapack."""
    same = select(datapacks.c.id).where(datapacks.c.owner == user.id, datapacks.c.name == name)
    present = connection.scalar(same)
    if present is not None:
        raise Conflict(f"Datapack {name} already exists with id ({present})", field="name")


def stored(datapack: Datapack) -> dict[str, str]:
    """Return what changes of a datapack change, by column."""
    return {
        "name": datapack.name,
        "structure": datapack.structure.text,
        "etag": datapack.etag,
        "updated_on": datapack.updated_on,
    }


def save(connection: Connection, present: Datapack, name: str, structure: Structure) -> Datapack:
    """Give a datapack a name and a document, each of which may be the one that it has."""
    etag = structure.etag(name)
    if etag == present.etag:
        return present
    changed = replace(present, name=name, structure=structure, etag=etag, updated_on=now())
    connection.execute(update(datapacks).where(datapacks.c.id == present.id).values(stored(changed)))
    return changed


def add_content(connection: Connection, identifier: str, blob: Blob, filename: str) -> None:
    """Note that a content belongs to a datapack."""
    same = select(datapack_contents.c.sha256).where(is_content(identifier, blob.sha1))
    present = connection.scalar(same)
    if present is None:
        row = {
            "datapack": identifier,
            "sha1": blob.sha1,
            "sha256": blob.sha256,
            "size": blob.size,
            "etag": blob.etag,
            "filename": filename,
            "created_on": now(),
        }
        connection.execute(insert(datapack_contents).values(row))
    elif present != blob.sha256:
        # Made on purpose: there are documents of the same sha-1, and a link has to mean one content for ever.
        raise Conflict(f"this datapack has another content of the hash {blob.sha1}")


def is_content(identifier: str, sha1: str) -> ColumnElement[bool]:
    """Return what holds for the row of one content."""
    return (datapack_contents.c.datapack == identifier) & (datapack_contents.c.sha1 == sha1)
