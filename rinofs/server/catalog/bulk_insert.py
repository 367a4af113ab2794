"""Insert many files in one transaction."""

from __future__ import annotations

from contextlib import contextmanager
from dataclasses import replace
from itertools import groupby
from typing import TYPE_CHECKING

from rinofs.server.catalog import objects
from rinofs.server.catalog.records import Kind, NewObject, Record, User
from rinofs.server.errors import ApiError

if TYPE_CHECKING:
    from collections.abc import Iterator, Mapping, Sequence

    from sqlalchemy import Connection

    from rinofs.server.blobs.store import Blob

__all__ = ["about", "add_files"]


@contextmanager
def about(number: int) -> Iterator[None]:
    """Have a refusal say which of the files it is about."""
    try:
        yield
    except ApiError as error:
        raise error.about(f"files[{number}]") from error


def add_files(connection: Connection, user: User, files: Sequence[tuple[NewObject, Blob]]) -> list[Record]:
    """Make files one after the other, as single uploads do, each of a name that is there a further version.

    Parameters
    ----------
    connection : Connection
        A writing transaction.
    user : User
        The owner.
    files : sequence of (NewObject, Blob)
        The files, and their contents, which the caller keeps from being collected.

    Returns
    -------
    list of Record
        In the order of the files.

    Raises
    ------
    NotFound, BadRequest, Conflict
        If one of them cannot be made; the message says which. The transaction is to be undone then.
    """
    made: list[Record] = []
    # All of them at once: two requests that add the same contents in turn would wait for each other.
    numbers = objects.refer(connection, [blob for _, blob in files])
    for _, neighbours in groupby(files, key=lambda file: (file[0].parent, file[0].folders)):
        for run in _without_repetition(list(neighbours)):
            made += _add_run(connection, user, run, len(made), numbers)
    return made


def _without_repetition(files: Sequence[tuple[NewObject, Blob]]) -> Iterator[list[tuple[NewObject, Blob]]]:
    """Cut files so that no name comes twice between two cuts: the second one is a version of the first."""
    run: dict[str, tuple[NewObject, Blob]] = {}
    for file in files:
        if file[0].name in run:
            yield list(run.values())
            run = {}
        run[file[0].name] = file
    yield list(run.values())


def _add_run(
    connection: Connection,
    user: User,
    files: Sequence[tuple[NewObject, Blob]],
    first: int,
    numbers: Mapping[str, int],
) -> list[Record]:
    """Make files of different names in one folder: looked up at once, and the new ones added at once."""
    start = files[0][0]
    with about(first):
        folder = objects.folder_for(connection, user, start.parent, start.folders)
    present = objects.children(connection, user, folder, [new.name for new, _ in files])
    made: dict[str, Record] = {}
    rows: list[dict[str, object]] = []
    for number, (new, blob) in enumerate(files, first):
        here = replace(new, parent=folder, folders=())
        content = numbers[blob.blake3]
        replaced = present.get(new.name)
        if replaced is None:
            row = objects.row_of(user, here, Kind.FILE, blob=blob, number=content, replaced=None)
            rows.append(row)
            continue
        _add_rows(connection, rows, made)  # first, so that ids are in the order of the files
        with about(number):
            objects.refuse_folder(replaced)
            made[new.name] = objects.add(
                connection, user, here, Kind.FILE, blob=blob, number=content, replaced=replaced
            )
    _add_rows(connection, rows, made)
    return [made[new.name] for new, _ in files]


def _add_rows(connection: Connection, rows: list[dict[str, object]], made: dict[str, Record]) -> None:
    if rows:
        made |= {record.name: record for record in objects.add_all(connection, rows)}
        rows.clear()
