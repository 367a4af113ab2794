"""Moving, copying and deleting objects with everything below them, within one transaction."""

from __future__ import annotations

import json
from typing import TYPE_CHECKING, Any

from sqlalchemy import delete as sql_delete
from sqlalchemy import insert, or_, select

from rinofs.server.catalog import objects
from rinofs.server.catalog.records import Kind, Record, User, dump_list, now
from rinofs.server.catalog.tables import objects as table
from rinofs.server.errors import BadRequest, Conflict

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection

__all__ = ["ancestors", "copy", "delete", "move", "prune"]

_CHUNK = 1000
"""Values bound in one statement."""

_NEW_IN_COPIES = frozenset({"id", "owner", "parent", "versions", "version_of", "created_on", "updated_on"})
_KEPT_IN_COPIES = tuple(column.name for column in table.columns if column.name not in _NEW_IN_COPIES)


def ancestors(connection: Connection, user: User, record: Record) -> list[Record]:
    """Return the folders above an object, from the top level down."""
    found: list[Record] = []
    parent = record.parent
    while parent is not None:
        folder = objects.get(connection, user, parent)
        found.append(folder)
        parent = folder.parent
    return found[::-1]


def move(
    connection: Connection,
    user: User,
    numbers: Sequence[int],
    parent: int | None,
    name: str | None,
    *,
    replace: bool = False,
) -> list[Record]:
    """Move objects into a folder, under another name if one is given.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    user : User
        The owner.
    numbers : sequence of int
        The objects.
    parent : int or None
        The folder; None is the top level.
    name : str or None
        The name, for one object.
    replace : bool
        Whether an existing object of that name becomes an earlier version, if neither of the two is a folder.

    Raises
    ------
    NotFound
        If an object or the folder does not exist.
    BadRequest
        If a folder would end up below itself, or several objects would get one name.
    Conflict
        If a name is taken.
    """
    records = _several(connection, user, numbers, name, changed=True)
    _refuse_loops(connection, user, records, parent)
    moved: list[Record] = []
    for record, target, present in _targets(connection, user, records, parent, name, replace=replace):
        place = {"parent": parent, "name": target}
        if present is not None:
            moved.append(objects.take_place(connection, present, record, place))
            continue
        objects.refuse_taken(connection, user, parent, target, but=record.id)
        moved.append(objects.set_values(connection, record, place))
    return moved


def copy(
    connection: Connection,
    user: User,
    numbers: Sequence[int],
    parent: int | None,
    name: str | None,
    *,
    replace: bool = False,
) -> list[Record]:
    """Copy objects, folders with everything below them, into a folder; the parameters are those of `move`.

    Copies share contents and keep metadata and tags, but not earlier versions.

    Raises
    ------
    NotFound, BadRequest, Conflict
        As for `move`.
    """
    records = _several(connection, user, numbers, name, changed=False)
    _refuse_loops(connection, user, records, parent)
    copies: list[Record] = []
    for record, target, present in _targets(connection, user, records, parent, name, replace=replace):
        values = _duplicate(user, record, parent, now()) | {"name": target}
        if present is not None:
            copies.append(_copy_over(connection, present, values))
            continue
        objects.refuse_taken(connection, user, parent, target)
        made = Record(*connection.execute(insert(table).values(values).returning(*objects.RETURNED)).one())
        copies.append(made)
        if record.type == Kind.FOLDER:
            _copy_below(connection, user, {record.id: made.id})
    return copies


def delete(
    connection: Connection, user: User, numbers: Sequence[int], *, exact: bool, empty: bool
) -> set[int]:
    """Delete objects with their earlier versions and everything below them; all of them, or none.

    Returns the numbers of their contents.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    user : User
        The owner.
    numbers : sequence of int
        Ids of the objects, or of earlier versions of them.
    exact : bool
        Whether the id of an earlier version means that version, deletable only with its current object.
    empty : bool
        Whether to delete folders only if nothing is in them.

    Raises
    ------
    NotFound
        If one does not exist.
    Conflict
        If an earlier version is meant, and its current object is not among them, or a folder is not empty.
    """
    named = set(numbers)
    exactly = {number: objects.get(connection, user, number).version_of for number in named}
    for number, current in exactly.items():
        if exact and current is not None and current not in named:
            raise Conflict(f"id: {number} is an earlier version of {current}, read-only", field="id")
    wanted = {number if current is None else current for number, current in exactly.items()}
    contents: set[int] = set()
    if empty:
        _refuse_full(connection, user, sorted(wanted))
    for chunk in _chunks(sorted(wanted)):
        start = select(table.c.id).where(or_(table.c.id.in_(chunk), table.c.version_of.in_(chunk)))
        doomed = start.where(table.c.owner == user.id).cte("doomed", recursive=True)
        inner = table.alias()
        below = select(inner.c.id).join(doomed, inner.c.parent == doomed.c.id)
        doomed = doomed.union(below.where(inner.c.owner == user.id))
        # One statement, since a row that others refer to can only be deleted together with them.
        gone = sql_delete(table).where(table.c.id.in_(select(doomed.c.id))).returning(table.c.blob)
        contents.update(number for number in connection.scalars(gone) if number is not None)
    return contents


def _refuse_full(connection: Connection, user: User, numbers: Sequence[int]) -> None:
    for chunk in _chunks(numbers):
        inside = select(table.c.parent).where(table.c.parent.in_(chunk), table.c.owner == user.id).limit(1)
        full = connection.scalar(inside)
        if full is not None:
            raise Conflict(f"id: {full} is a folder that is not empty", field="id")


def prune(connection: Connection, user: User, numbers: Sequence[int]) -> set[int]:
    """Delete earlier versions, and nothing else; all of them, or none.

    Returns the numbers of their contents.

    Raises
    ------
    NotFound
        If one does not exist.
    Conflict
        If one is a current object.
    """
    doomed = set(numbers)
    records = [objects.get(connection, user, number) for number in sorted(doomed)]
    for record in records:
        if record.version_of is None:
            raise Conflict(f"id: {record.id} is a current object, not an earlier version", field="id")
    for chunk in _chunks(sorted(doomed)):
        connection.execute(sql_delete(table).where(table.c.id.in_(chunk)))
    for current in {record.version_of for record in records}:
        left = objects.RECORDS.where((table.c.id == current) | (table.c.version_of == current))
        for row in connection.execute(left).all():
            record = Record(*row)
            named = json.loads(record.versions)
            kept = [number for number in named if number not in doomed]
            if kept != named:
                objects.set_values(connection, record, {"versions": dump_list(kept)})
    return {record.blob for record in records if record.blob is not None}


def _targets(
    connection: Connection,
    user: User,
    records: Sequence[Record],
    parent: int | None,
    name: str | None,
    *,
    replace: bool,
) -> Iterator[tuple[Record, str, Record | None]]:
    """Yield each object with its name in a folder, and the object that it replaces there.

    Looks them up one at a time: an object moved before may have the name, and is not replaced.
    """
    taken: set[str] = set()
    for record in records:
        target = name or record.name
        onto = replace and target not in taken
        taken.add(target)
        yield record, target, _replaceable(connection, user, record, parent, target) if onto else None


def _replaceable(
    connection: Connection, user: User, record: Record, parent: int | None, name: str
) -> Record | None:
    """Return the object that another one can replace; None if nothing else has the name."""
    present = objects.child(connection, user, parent, name)
    if present is None or present.id == record.id:
        return None
    objects.refuse_folder(present)
    if record.type == Kind.FOLDER:
        raise Conflict(f"name: {name!r} is a file, which a folder does not replace", field="name")
    return present


def _copy_over(connection: Connection, present: Record, values: dict[str, Any]) -> Record:
    versions = dump_list(sorted(objects.earlier(present)))
    return objects.supersede(
        connection, present, {**values, "versions": versions, "created_on": present.created_on}
    )


def _several(
    connection: Connection, user: User, numbers: Sequence[int], name: str | None, *, changed: bool
) -> list[Record]:
    find = objects.changeable if changed else objects.get
    found = [find(connection, user, number, field="items") for number in dict.fromkeys(numbers)]
    if name is not None and len(found) != 1:
        raise BadRequest("name: only one object can get the name", field="name")
    return found


def _refuse_loops(connection: Connection, user: User, records: Sequence[Record], parent: int | None) -> None:
    if parent is None:
        return
    target = objects.get(connection, user, parent, field="parent")
    around = {target.id, *(folder.id for folder in ancestors(connection, user, target))}
    for record in records:
        if record.id in around:
            raise BadRequest(f"parent: {parent} is {record.id} itself, or below it", field="parent")


def _duplicate(user: User, record: Record, parent: int | None, moment: str) -> dict[str, Any]:
    values: dict[str, Any] = {name: getattr(record, name) for name in _KEPT_IN_COPIES}
    return values | {
        "owner": user.id,
        "parent": parent,
        "versions": "[]",
        "version_of": None,
        "created_on": moment,
        "updated_on": moment,
    }


def _copy_below(connection: Connection, user: User, made: dict[int, int]) -> None:
    """Copy what is in some folders into their copies, level by level."""
    moment = now()
    returning = insert(table).returning(table.c.id, sort_by_parameter_order=True)
    while made:
        deeper: dict[int, int] = {}
        for chunk in _chunks(sorted(made)):
            inside = objects.RECORDS.where(table.c.parent.in_(chunk), table.c.owner == user.id)
            found = connection.execute(inside.where(table.c.version_of.is_(None))).all()
            for part in _chunks(found):
                records = [Record(*row) for row in part]
                copies = [_duplicate(user, record, made[record.parent or 0], moment) for record in records]
                numbers = connection.scalars(returning, copies).all()
                deeper |= {
                    record.id: number
                    for record, number in zip(records, numbers, strict=True)
                    if record.type == Kind.FOLDER
                }
        made = deeper


def _chunks(values: Sequence[Any]) -> Iterator[Sequence[Any]]:
    for start in range(0, len(values), _CHUNK):
        yield values[start : start + _CHUNK]
