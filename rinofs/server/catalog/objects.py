"""Changing objects within one transaction, and what holds for all that do."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, NoReturn

from sqlalchemy import insert, update
from sqlalchemy.exc import IntegrityError

from rinofs.server.catalog.lookups import RECORD, changeable, child
from rinofs.server.catalog.metadata import dump_list, dump_metadata
from rinofs.server.catalog.records import Kind, NewObject, Record, User, now
from rinofs.server.catalog.tables import objects
from rinofs.server.errors import BadRequest, Conflict

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from rinofs.server.blobs.store import Blob

__all__ = [
    "add",
    "add_all",
    "folder_for",
    "refuse_folder",
    "refuse_taken",
    "row_of",
    "set_values",
]

# Putting it together takes longer than running it.
_INSERT = insert(objects).returning(*RECORD)


def folder_for(
    connection: Connection, user: User, parent: int | None, names: Sequence[str] = ()
) -> int | None:
    """Return the id of a folder that things may be put into, None for the top level.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    user : User
        The owner.
    parent : int or None
        Where to begin.
    names : sequence of str
        Folders below it to go through, made where they are missing.

    Raises
    ------
    NotFound
        If `parent` is not there.
    BadRequest
        If `parent` is no folder.
    Conflict
        If something else has the name of a folder.
    """
    if parent is not None and changeable(connection, user, parent, field="parent").type != Kind.FOLDER:
        raise BadRequest(f"parent: {parent} is no folder", field="parent")
    here = parent
    for name in names:
        step = child(connection, user, here, name)
        if step is None:
            step = add(connection, user, NewObject(here, name), Kind.FOLDER)
        elif step.type != Kind.FOLDER:
            raise Conflict(f"name: {name!r} is no folder", field="name")
        here = step.id
    return here


def add(
    connection: Connection,
    user: User,
    new: NewObject,
    kind: str,
    *,
    blob: Blob | None = None,
    replaced: Record | None = None,
) -> Record:
    """Add an object; its folder is `new.parent`, known to be one.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    user : User
        The owner.
    new : NewObject
        What to add.
    kind : str
        One of `Kind`.
    blob : Blob, optional
        Its content, for a file.
    replaced : Record, optional
        The current object of that name, which becomes an earlier version.

    Raises
    ------
    Conflict
        If the name is taken.
    """
    values = row_of(user, new, kind, blob=blob, replaced=replaced)
    try:
        if replaced is None:
            return Record(*connection.execute(_INSERT, values).one())
        return _supersede(connection, replaced, values)
    except IntegrityError as error:
        _taken(new.name, error)


def add_all(connection: Connection, rows: Sequence[dict[str, object]]) -> Iterator[Record]:
    """Add objects, given as `row_of` returns them, whose names are known to be free; in any order."""
    return (Record(*row) for row in connection.execute(_INSERT, rows))


def row_of(
    user: User, new: NewObject, kind: str, *, blob: Blob | None, replaced: Record | None
) -> dict[str, object]:
    """Return the columns of an object that is to be added; the parameters are those of `add`."""
    text = dump_metadata(new.metadata)
    moment = now()
    return {
        "owner": user.id,
        "parent": new.parent,
        "name": new.name,
        "type": kind,
        "size": None if blob is None else blob.size,
        "etag": None if blob is None else blob.etag,
        "sha256": None if blob is None else blob.sha256,
        "metadata": text,
        "metadata_size": len(text.encode()),
        "tags": dump_list(new.tags),
        "versions": dump_list(sorted(new.versions | earlier(replaced))),
        "version_of": None,
        "created_on": moment if replaced is None else replaced.created_on,
        "updated_on": moment,
    }


def earlier(replaced: Record | None) -> frozenset[int]:
    """Return the ids of the earlier versions of what takes an object's place."""
    return frozenset() if replaced is None else frozenset({replaced.id, *json.loads(replaced.versions)})


def _supersede(connection: Connection, replaced: Record, values: Mapping[str, object]) -> Record:
    # Only one object of a name may be current at any moment, so the old one steps back first.
    whole = (objects.c.id == replaced.id) | (objects.c.version_of == replaced.id)
    connection.execute(update(objects).where(objects.c.id == replaced.id).values(version_of=replaced.id))
    record = Record(*connection.execute(_INSERT, dict(values)).one())
    connection.execute(update(objects).where(whole).values(version_of=record.id))
    return record


def set_values(connection: Connection, record: Record, values: Mapping[str, object]) -> Record:
    """Change columns of an object; its earlier versions follow its name and folder.

    Raises
    ------
    Conflict
        If its new name is taken.
    """
    if not values:
        return record
    change = update(objects).where(objects.c.id == record.id).values(values).returning(*RECORD)
    try:
        changed = Record(*connection.execute(change).one())
    except IntegrityError as error:
        _taken(str(values.get("name", record.name)), error)
    place = {key: values[key] for key in ("name", "parent") if key in values}
    if place:
        connection.execute(update(objects).where(objects.c.version_of == record.id).values(place))
    return changed


def refuse_folder(present: Record | None) -> None:
    """Refuse to put a file where a folder is."""
    if present is not None and present.type == Kind.FOLDER:
        raise Conflict(f"name: {present.name!r} is a folder", field="name")


def refuse_taken(connection: Connection, user: User, parent: int | None, name: str, *, but: int = 0) -> None:
    """Refuse a name that another object of a folder has.

    Raises
    ------
    Conflict
        If it is taken.
    """
    holder = child(connection, user, parent, name)
    if holder is not None and holder.id != but:
        _taken(name)


def _taken(name: str, error: IntegrityError | None = None) -> NoReturn:
    raise Conflict(f"name: {name!r} is taken", field="name") from error
