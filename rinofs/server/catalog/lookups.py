"""Finding objects, by their ids, their names and their paths."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam, select

from rinofs.protocol.limits import LARGEST_ID
from rinofs.server.catalog.records import Kind, Record, User
from rinofs.server.catalog.tables import objects
from rinofs.server.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Sequence

    from sqlalchemy import ColumnElement, Connection

    from rinofs.server.catalog.inline_reader import Reader

__all__ = ["RECORD", "changeable", "child", "children", "get", "inside", "locate", "locate_many"]

RECORD = tuple(objects.c[name] for name in Record.__dataclass_fields__)
"""The columns of a `Record`, in its order."""

# What is behind almost every request. Putting such a statement together takes longer than running it.
_MINE = objects.c.owner == bindparam("user")
_BY_ID = select(*RECORD).where(_MINE, objects.c.id == bindparam("number"))
_BY_NAME = select(*RECORD).where(_MINE, objects.c.name == bindparam("called"), objects.c.version_of.is_(None))
_AT_TOP = _BY_NAME.where(objects.c.parent.is_(None))
_IN_FOLDER = _BY_NAME.where(objects.c.parent == bindparam("folder"))


def get(reader: Reader, user: User, number: int, *, field: str = "id") -> Record:
    """Return an object of a user, current or earlier.

    Raises
    ------
    NotFound
        If the user has none of that id; whether others have is not told.
    """
    if 0 < number <= LARGEST_ID:
        row = reader.execute(_BY_ID, {"user": user.id, "number": number}).one_or_none()
        if row is not None:
            return Record(*row)
    raise NotFound(f"{field}: there is no object {number}", field=field)


def changeable(connection: Connection, user: User, number: int, *, field: str = "id") -> Record:
    """Return an object that may be changed.

    Raises
    ------
    NotFound
        If the user has none of that id.
    Conflict
        If it is an earlier version, which can only be read.
    """
    record = get(connection, user, number, field=field)
    if record.version_of is not None:
        raise Conflict(
            f"{field}: {number} is an earlier version of {record.version_of}, read-only", field=field
        )
    return record


def inside(user: User, parent: int | None) -> ColumnElement[bool]:
    """Return the condition of being a current object of a user in a folder."""
    here = objects.c.parent.is_(None) if parent is None else objects.c.parent == parent
    return here & (objects.c.owner == user.id) & objects.c.version_of.is_(None)


def child(reader: Reader, user: User, parent: int | None, name: str) -> Record | None:
    """Return the current object of a name in a folder, or None."""
    found = _AT_TOP if parent is None else _IN_FOLDER
    row = reader.execute(found, {"user": user.id, "called": name, "folder": parent}).one_or_none()
    return None if row is None else Record(*row)


def locate(reader: Reader, user: User, path: Sequence[str]) -> Record:
    """Return the current object at a path.

    Raises
    ------
    NotFound
        Naming the first part that is missing.
    """
    found: Record | None = None
    for depth, name in enumerate(path):
        if found is not None and found.type != Kind.FOLDER:
            break
        step = child(reader, user, None if found is None else found.id, name)
        if step is None:
            where = f"in {'/'.join(path[:depth])}" if depth else "at the top level"
            raise NotFound(f"path: there is no {name!r} {where}", field="path")
        found = step
    else:
        if found is not None:
            return found
    raise NotFound(f"path: {'/'.join(path)} is below an object that is no folder", field="path")


def locate_many(connection: Connection, user: User, paths: Sequence[Sequence[str]]) -> list[Record | None]:
    """Return the current objects at some paths, None where there is none; each folder is looked up once."""
    below: dict[tuple[str, ...], set[str]] = {}
    for path in paths:
        if path:
            below.setdefault(tuple(path[:-1]), set()).add(path[-1])
    found: dict[tuple[str, ...], Record] = {}
    for folder, names in below.items():
        try:
            record = locate(connection, user, folder) if folder else None
        except NotFound:
            continue
        if record is not None and record.type != Kind.FOLDER:
            continue
        inside_it = children(connection, user, None if record is None else record.id, names)
        found |= {(*folder, name): child for name, child in inside_it.items()}
    return [found.get(tuple(path)) for path in paths]


def children(
    connection: Connection, user: User, parent: int | None, names: Collection[str]
) -> dict[str, Record]:
    """Return the current objects of some names in a folder, by name."""
    asked = select(*RECORD).where(inside(user, parent), objects.c.name.in_(sorted(names)))
    return {row.name: Record(*row) for row in connection.execute(asked)}
