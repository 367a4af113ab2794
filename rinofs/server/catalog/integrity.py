"""Integrity checks of the database and of its records about contents: the statements for fsck."""

from __future__ import annotations

from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select

from rinofs.server.catalog.database import kind_of
from rinofs.server.catalog.records import Kind
from rinofs.server.catalog.structures import structure_problem
from rinofs.server.catalog.tables import datapack_contents, datapacks, objects

if TYPE_CHECKING:
    from collections.abc import Iterator

    from sqlalchemy import Connection, Select

    from rinofs.server.blobs.store import Digests, Verified
    from rinofs.server.catalog.blob_rows import BlobRow
    from rinofs.server.catalog.database import Database

__all__ = ["check_content", "check_datapacks", "check_rows"]

_NAMED = 5


def check_rows(database: Database) -> tuple[int, list[str]]:
    """Count the objects; return the problems of the database and its rows."""
    with database.read() as connection:
        problems = [*database.kind.problems(connection), *_row_problems(connection)]
        return connection.scalar(select(func.count()).select_from(objects)) or 0, problems


def check_datapacks(database: Database) -> tuple[int, list[str]]:
    """Count the datapacks, and read their documents one by one; return their problems."""
    with database.read() as connection:
        ids = connection.scalars(select(datapacks.c.id)).all()
    problems = []
    for identifier in ids:
        with database.read() as connection:
            document = connection.scalar(select(datapacks.c.structure).where(datapacks.c.id == identifier))
        problem = structure_problem(document) if document is not None else None
        if problem is not None:
            problems.append(f"datapack {identifier}: {problem}")
    return len(ids), problems


def check_content(database: Database, row: BlobRow, read: Verified) -> list[str]:
    """Return the problems of a content that was read, and of other records about it."""
    problem = read.problem_of(blake3=row.blake3, sha256=row.sha256)
    with database.read() as connection:
        if problem is None:
            return _contradictions(connection, row, read.found)
        holders = ", ".join(_holders(connection, row.id))
    # Without holders, whatever it belonged to was deleted meanwhile.
    return [f"content {row.key} (of {holders}) {problem}"] if holders else []


def _row_problems(connection: Connection) -> Iterator[str]:
    above = objects.alias("above")
    stray = (
        select(objects.c.id)
        .join(above, above.c.id == objects.c.parent)
        .where(or_(above.c.type != Kind.FOLDER, above.c.owner != objects.c.owner))
    )
    for number in connection.scalars(stray):
        yield f"object {number}: its parent is not a folder of its owner"
    whole = and_(objects.c.blob.is_not(None), objects.c.size.is_not(None), objects.c.etag.is_not(None))
    for number in connection.scalars(select(objects.c.id).where(objects.c.type == Kind.FILE, ~whole)):
        yield f"object {number}: a file without content"
    for name in ("metadata", "tags", "versions"):
        for number in kind_of(connection).not_json(connection, objects.c.id, objects.c[name]):
            yield f"object {number}: its {name} are not JSON"
    for number in connection.scalars(_unreachable()):
        yield f"object {number}: no path leads to it from the top level"


def _unreachable() -> Select[tuple[int]]:
    reached = select(objects.c.id).where(objects.c.parent.is_(None)).cte("reached", recursive=True)
    below = objects.alias()
    reached = reached.union_all(select(below.c.id).join(reached, below.c.parent == reached.c.id))
    return select(objects.c.id).where(objects.c.id.not_in(select(reached.c.id)))


def _holders(connection: Connection, number: int) -> Iterator[str]:
    """Name some objects and datapacks that a content belongs to."""
    numbers = select(objects.c.id).where(objects.c.blob == number).limit(_NAMED)
    packs = select(datapack_contents.c.datapack).where(datapack_contents.c.blob == number).limit(_NAMED)
    yield from (f"object {identifier}" for identifier in connection.scalars(numbers))
    yield from (f"datapack {identifier}" for identifier in connection.scalars(packs))


def _contradictions(connection: Connection, row: BlobRow, found: Digests) -> list[str]:
    """Compare what rows record about a content with the content itself."""
    of_packs = datapack_contents.c
    other = or_(of_packs.size != found.size, of_packs.etag != found.etag, of_packs.sha1 != found.sha1)
    packs = select(of_packs.datapack).where(of_packs.blob == row.id, other)
    differs = or_(objects.c.size != found.size, objects.c.etag != found.etag)
    wrong = select(objects.c.id).where(objects.c.blob == row.id, differs)
    own = [] if (row.size, row.etag) == (found.size, found.etag) else [row.key]
    return [
        *(f"content {key}: its noted size or etag is not that of its bytes" for key in own),
        *(
            f"object {number}: its size or etag is not that of its content"
            for number in connection.scalars(wrong)
        ),
        *(
            f"datapack {identifier}: the size, etag or hash of {row.key} do not match its content"
            for identifier in connection.scalars(packs)
        ),
    ]
