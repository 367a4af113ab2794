"""Finding objects by their paths, one or many at a time, within one transaction."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import bindparam

from rinofs.server.catalog import objects
from rinofs.server.catalog.records import Kind, Record, User
from rinofs.server.catalog.tables import objects as table
from rinofs.server.errors import Conflict, NotFound

if TYPE_CHECKING:
    from collections.abc import Collection, Iterable, Sequence

    from sqlalchemy import Connection

    from rinofs.server.catalog.transactions import Reader

__all__ = ["in_folders", "locate", "locate_few", "locate_many", "refuse_elsewhere"]

_BY_NAMES = objects.RECORDS.where(
    table.c.owner == bindparam("user"),
    table.c.name.in_(bindparam("names", expanding=True)),
    table.c.version_of.is_(None),
)
_SOME_AT_TOP = _BY_NAMES.where(table.c.parent.is_(None))
_SOME_IN_FOLDER = _BY_NAMES.where(table.c.parent == bindparam("folder"))
_IN_SOME_FOLDERS = _BY_NAMES.where(table.c.parent.in_(bindparam("folders", expanding=True)))

_MOST_COMBINATIONS = 1024
"""Maximum of folders times names in one statement; a hundred lookups take as long as another statement."""


def locate(reader: Reader, user: User, path: Sequence[str]) -> Record:
    """Return the current object at a path.

    Raises
    ------
    NotFound
        With the first part that is missing.
    """
    found: Record | None = None
    for depth, name in enumerate(path):
        if found is not None and found.type != Kind.FOLDER:
            break
        step = objects.child(reader, user, None if found is None else found.id, name)
        if step is None:
            where = f"in {'/'.join(path[:depth])}" if depth else "at the top level"
            raise NotFound(f"path: {name!r} does not exist {where}", field="path")
        found = step
    else:
        if found is not None:
            return found
    raise NotFound(f"path: {'/'.join(path)} is below an object that is not a folder", field="path")


def refuse_elsewhere(
    connection: Connection, user: User, numbers: Sequence[int], paths: Sequence[Sequence[str]] | None
) -> None:
    """Raise Conflict if one of the objects is not at its path, if there is a path for each."""
    if paths is None:
        return
    for number, path, found in zip(numbers, paths, locate_many(connection, user, paths), strict=True):
        if found is None or found.id != number:
            there = "nothing" if found is None else f"{found.id}"
            raise Conflict(f"paths: not {number} but {there} is at {'/'.join(path)}", field="paths")


def locate_many(connection: Connection, user: User, paths: Sequence[Sequence[str]]) -> list[Record | None]:
    """Return the current objects at some paths, None where there is none.

    Each level of all paths is looked up together: chunks of arrays are in a folder each.
    """
    found: list[Record | None] = [None] * len(paths)
    followed = [number for number, path in enumerate(paths) if path]
    depth = 0
    while followed:
        steps = {number: (_id_of(found[number]), paths[number][depth]) for number in followed}
        records = in_folders(connection, user, steps.values())
        depth += 1
        followed = []
        for number, step in steps.items():
            record = found[number] = records.get(step)
            if record is not None and len(paths[number]) > depth:
                if record.type == Kind.FOLDER:
                    followed.append(number)
                else:
                    found[number] = None
    return found


def locate_few(reader: Reader, user: User, paths: Sequence[Sequence[str]]) -> list[Record | None]:
    """Return what `locate_many` returns, with one statement for each folder and object along the paths."""
    steps: dict[tuple[int | None, str], Record | None] = {}
    found: list[Record | None] = []
    for path in paths:
        here: Record | None = None
        for depth, name in enumerate(path):
            if depth and (here is None or here.type != Kind.FOLDER):
                here = None
                break
            step = (_id_of(here), name)
            if step not in steps:
                steps[step] = objects.child(reader, user, *step)
            here = steps[step]
        found.append(here)
    return found


def _id_of(record: Record | None) -> int | None:
    return None if record is None else record.id


def in_folders(
    connection: Connection, user: User, places: Iterable[tuple[int | None, str]]
) -> dict[tuple[int | None, str], Record]:
    """Return the current objects with some names in some folders, by folder and name."""
    below: dict[int | None, set[str]] = {}
    for folder, name in places:
        below.setdefault(folder, set()).add(name)
    names = {name for of_folder in below.values() for name in of_folder}
    if len(below) < 2 or None in below or len(below) * len(names) > _MOST_COMBINATIONS:
        return {
            (folder, name): record
            for folder, of_folder in below.items()
            for name, record in _children(connection, user, folder, of_folder).items()
        }
    values = {"user": user.id, "folders": sorted(filter(None, below)), "names": sorted(names)}
    rows = connection.execute(_IN_SOME_FOLDERS, values)
    found = {(row.parent, row.name): Record(*row) for row in rows}
    return {place: record for place, record in found.items() if place[1] in below[place[0]]}


def _children(
    connection: Connection, user: User, parent: int | None, names: Collection[str]
) -> dict[str, Record]:
    """Return the current objects with some names in a folder, by name."""
    if len(names) == 1:
        [name] = names
        record = objects.child(connection, user, parent, name)
        return {} if record is None else {name: record}
    asked = _SOME_AT_TOP if parent is None else _SOME_IN_FOLDER
    rows = connection.execute(asked, {"user": user.id, "names": sorted(names), "folder": parent})
    return {row.name: Record(*row) for row in rows}
