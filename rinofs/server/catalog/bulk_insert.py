"""Insert many files in one transaction."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from typing import TYPE_CHECKING

from rinofs.server.catalog import objects
from rinofs.server.catalog.path_lookups import in_folders
from rinofs.server.catalog.records import Kind, NewObject, Record, User
from rinofs.server.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from rinofs.server.blobs.store import Blob

__all__ = ["about", "add_files"]


@contextmanager
def about(number: int) -> Iterator[None]:
    """Add to a refusal which of the files it concerns."""
    try:
        yield
    except ApiError as error:
        raise error.about(f"files[{number}]") from error


def add_files(connection: Connection, user: User, files: Sequence[tuple[NewObject, Blob]]) -> list[Record]:
    """Create files with the same results as single uploads in sequence: an existing name gets a new version.

    Missing folders are created first.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    user : User
        The owner.
    files : sequence of (NewObject, Blob)
        The files, and their contents, which the caller protects from collection.

    Returns
    -------
    list of Record
        In the order of the files.

    Raises
    ------
    NotFound, BadRequest, Conflict
        If one of them cannot be created; the message says which. The caller must roll back the transaction.
    """
    made: list[Record] = []
    # All at once: two requests that add the same contents one by one could deadlock.
    numbers = objects.refer(connection, [blob for _, blob in files])
    for group in _apart(files):
        folders = _folders_of(connection, user, [new for new, _ in group], len(made))
        placed = [
            (replace(new, parent=folder, folders=()), blob)
            for (new, blob), folder in zip(group, folders, strict=True)
        ]
        for run in _without_repetition(placed):
            made += _add_run(connection, user, run, len(made), numbers)
    return made


def _apart(files: Sequence[tuple[NewObject, Blob]]) -> Iterator[list[tuple[NewObject, Blob]]]:
    """Split files into groups in which no path leads through another file, which is refused."""
    group: list[tuple[NewObject, Blob]] = []
    made, passed = set[object](), set[object]()
    for file in files:
        new = file[0]
        path = (new.parent, (*new.folders, new.name))
        through = {(new.parent, new.folders[:depth]) for depth in range(1, len(new.folders) + 1)}
        if path in passed or through & made:
            yield group
            group, made, passed = [], set(), set()
        group.append(file)
        made.add(path)
        passed |= through
    yield group


def _folders_of(
    connection: Connection, user: User, files: Sequence[NewObject], start: int
) -> list[int | None]:
    """Return the folder of each file; missing folders of one depth are created with one statement."""
    first: dict[tuple[int | None, Sequence[str]], int] = {}
    for number, new in enumerate(files, start):
        first.setdefault((new.parent, new.folders), number)
    starts: dict[int | None, int | None] = {}
    for (parent, _), number in first.items():
        if parent not in starts:
            with about(number):
                starts[parent] = objects.folder_for(connection, user, parent)
    here = {place: starts[place[0]] for place in first}
    depth = 0
    while followed := [place for place in first if len(place[1]) > depth]:
        steps = {place: (here[place], place[1][depth]) for place in followed}
        found = _made_folders(connection, user, list(dict.fromkeys(steps.values())))
        for place, step in steps.items():
            with about(first[place]):
                here[place] = objects.needed_folder(found[step]).id
        depth += 1
    return [here[new.parent, new.folders] for new in files]


def _made_folders(
    connection: Connection, user: User, wanted: Sequence[tuple[int | None, str]]
) -> dict[tuple[int | None, str], Record]:
    """Return the objects with some names in some folders; missing ones are created as folders."""
    found = in_folders(connection, user, wanted)
    rows = [
        objects.row_of(user, NewObject(*place), Kind.FOLDER, blob=None, number=None, replaced=None)
        for place in wanted
        if place not in found
    ]
    if rows:
        found |= {(record.parent, record.name): record for record in objects.add_all(connection, rows)}
    return found


def _without_repetition(files: Sequence[tuple[NewObject, Blob]]) -> Iterator[list[tuple[NewObject, Blob]]]:
    """Split files into groups in which no name is repeated in a folder: the second one is a new version."""
    run: dict[tuple[int | None, str], tuple[NewObject, Blob]] = {}
    for file in files:
        place = (file[0].parent, file[0].name)
        if place in run:
            yield list(run.values())
            run = {}
        run[place] = file
    yield list(run.values())


def _add_run(
    connection: Connection,
    user: User,
    files: Sequence[tuple[NewObject, Blob]],
    first: int,
    numbers: Mapping[str, int],
) -> list[Record]:
    """Create files at different paths: look up all at once, and add the new ones at once."""
    places = [(new.parent, new.name) for new, _ in files]
    present = in_folders(connection, user, places)
    made: dict[tuple[int | None, str], Record] = {}
    rows: list[dict[str, object]] = []
    for number, (place, (new, blob)) in enumerate(zip(places, files, strict=True), first):
        content = numbers[blob.blake3]
        replaced = present.get(place)
        if replaced is None:
            row = objects.row_of(user, new, Kind.FILE, blob=blob, number=content, replaced=None)
            rows.append(row)
            continue
        _add_rows(connection, rows, made)  # first, so that ids are in the order of the files
        with about(number):
            objects.refuse_folder(replaced)
            made[place] = objects.add(
                connection, user, new, Kind.FILE, blob=blob, number=content, replaced=replaced
            )
    _add_rows(connection, rows, made)
    return [made[place] for place in places]


def _add_rows(
    connection: Connection, rows: list[dict[str, object]], made: dict[tuple[int | None, str], Record]
) -> None:
    if rows:
        made |= {(record.parent, record.name): record for record in objects.add_all(connection, rows)}
        rows.clear()
