"""Looking after what a server keeps: removing what nobody refers to, and checking what somebody does.

Both may run beside a serving process.
"""

from __future__ import annotations

from dataclasses import dataclass
from functools import partial
from typing import TYPE_CHECKING

from sqlalchemy import and_, func, or_, select, text, union

from rinofs.server.catalog.records import Kind
from rinofs.server.catalog.structures import structure_problem
from rinofs.server.catalog.tables import BLOB_REFERENCES, datapack_contents, datapacks, objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import Connection, Select

    from rinofs.server.blobs.store import Blob
    from rinofs.server.services import Services

__all__ = ["FsckReport", "GcReport", "fsck", "gc"]

_CHUNK = 500
_NAMED = 5


@dataclass(frozen=True, slots=True)
class GcReport:
    """What a collection removed.

    Attributes
    ----------
    blobs_removed : int
        Contents that nobody referred to.
    bytes_removed : int
        Their bytes.
    temporary_removed : int
        Temporary files of processes that are gone.
    """

    blobs_removed: int
    bytes_removed: int
    temporary_removed: int


@dataclass(frozen=True, slots=True)
class FsckReport:
    """What a check found.

    Attributes
    ----------
    objects_checked : int
        Objects in the database.
    datapacks_checked : int
        Datapacks in the database.
    blobs_checked : int
        Contents that were read and hashed.
    bytes_checked : int
        Their bytes.
    problems : tuple of str
        What is wrong, each with the objects that it is about; empty where all is well.
    """

    objects_checked: int
    datapacks_checked: int
    blobs_checked: int
    bytes_checked: int
    problems: tuple[str, ...]


def gc(services: Services) -> GcReport:
    """Remove contents that nobody refers to, and what killed processes left behind.

    A content that an upload is about to refer to stays, in whatever process that is.

    Parameters
    ----------
    services : Services
        Whose contents they are.
    """
    services.datapacks.forget_unlinked()
    removed = services.blobs.collect(partial(_referred, services))
    return GcReport(removed.blobs, removed.bytes, removed.temporary)


def _referred(services: Services, names: Sequence[str]) -> set[str]:
    """Return those of some contents that the database refers to."""
    found = union(*(select(column).where(column.in_(names)) for column in BLOB_REFERENCES))
    with services.database.read() as connection:
        return set(connection.scalars(found))


def fsck(services: Services) -> FsckReport:
    """Check the database, and read every content that it refers to.

    Parameters
    ----------
    services : Services
        What to check; nothing is changed.
    """
    with services.database.read() as connection:
        problems = [*_database_problems(connection), *_row_problems(connection)]
        checked = connection.scalar(select(func.count()).select_from(objects)) or 0
    packs, flawed = _datapack_problems(services)
    problems += flawed
    blobs = size = 0
    for length, found in _content_problems(services):
        blobs += 1
        size += length
        problems += found
    return FsckReport(checked, packs, blobs, size, tuple(problems))


def _database_problems(connection: Connection) -> Iterator[str]:
    if connection.dialect.name != "sqlite":
        return
    for (line,) in connection.execute(text("PRAGMA integrity_check")):
        if line != "ok":
            yield f"database: {line}"
    for row in connection.execute(text("PRAGMA foreign_key_check")):
        yield f"database: row {row[1]} of {row[0]} refers to a row of {row[2]} that is not there"


def _row_problems(connection: Connection) -> Iterator[str]:
    above = objects.alias("above")
    stray = (
        select(objects.c.id)
        .join(above, above.c.id == objects.c.parent)
        .where(or_(above.c.type != Kind.FOLDER, above.c.owner != objects.c.owner))
    )
    for number in connection.scalars(stray):
        yield f"object {number}: its parent is no folder of its owner"
    whole = and_(objects.c.sha256.is_not(None), objects.c.size.is_not(None), objects.c.etag.is_not(None))
    for number in connection.scalars(select(objects.c.id).where(objects.c.type == Kind.FILE, ~whole)):
        yield f"object {number}: a file without content"
    if connection.dialect.name == "sqlite":
        for name in ("metadata", "tags", "versions"):
            broken = select(objects.c.id).where(func.json_valid(objects.c[name]) == 0)
            for number in connection.scalars(broken):
                yield f"object {number}: its {name} are no JSON"
    for number in connection.scalars(_unreachable()):
        yield f"object {number}: no path leads to it from the top level"


def _unreachable() -> Select[tuple[int]]:
    reached = select(objects.c.id).where(objects.c.parent.is_(None)).cte("reached", recursive=True)
    below = objects.alias()
    reached = reached.union_all(select(below.c.id).join(reached, below.c.parent == reached.c.id))
    return select(objects.c.id).where(objects.c.id.not_in(select(reached.c.id)))


def _datapack_problems(services: Services) -> tuple[int, list[str]]:
    """Count the datapacks, and read their documents one by one."""
    with services.database.read() as connection:
        ids = connection.scalars(select(datapacks.c.id)).all()
    problems = []
    for identifier in ids:
        with services.database.read() as connection:
            text = connection.scalar(select(datapacks.c.structure).where(datapacks.c.id == identifier))
        problem = structure_problem(text) if text is not None else None
        if problem is not None:
            problems.append(f"datapack {identifier}: {problem}")
    return len(ids), problems


def _content_problems(services: Services) -> Iterator[tuple[int, list[str]]]:
    """Read each content that is referred to; yield its bytes and what is wrong with it."""
    last = ""
    while True:
        following = (select(column.label("name")).where(column > last) for column in BLOB_REFERENCES)
        names = union(*following).subquery()
        with services.database.read() as connection:
            wanted = select(names.c.name).distinct().order_by(names.c.name).limit(_CHUNK)
            chunk = connection.scalars(wanted).all()
        if not chunk:
            return
        for name in chunk:
            yield _check(services, name)
        last = chunk[-1]


def _check(services: Services, name: str) -> tuple[int, list[str]]:
    read = services.blobs.verify(name)
    with services.database.read() as connection:
        if read.problem is None:
            return read.found.size, _claims(connection, read.found)
        if not _referred(services, [name]):
            return read.found.size, []  # what it belonged to was deleted meanwhile
        holders = ", ".join(_holders(connection, name))
    return read.found.size, [f"content {name} (of {holders}) {read.problem}"]


def _holders(connection: Connection, name: str) -> Iterator[str]:
    """Name some of what a content belongs to."""
    numbers = select(objects.c.id).where(objects.c.sha256 == name).limit(_NAMED)
    packs = select(datapack_contents.c.datapack).where(datapack_contents.c.sha256 == name).limit(_NAMED)
    yield from (f"object {number}" for number in connection.scalars(numbers))
    yield from (f"datapack {identifier}" for identifier in connection.scalars(packs))


def _claims(connection: Connection, found: Blob) -> list[str]:
    """Compare what objects and datapacks say about a content with what it is."""
    of_packs = datapack_contents.c
    other = or_(of_packs.size != found.size, of_packs.etag != found.etag, of_packs.sha1 != found.sha1)
    packs = select(of_packs.datapack).where(of_packs.sha256 == found.sha256, other)
    differs = or_(objects.c.size != found.size, objects.c.etag != found.etag)
    wrong = select(objects.c.id).where(objects.c.sha256 == found.sha256, differs)
    return [
        *(
            f"object {number}: its size or etag is not that of its content"
            for number in connection.scalars(wrong)
        ),
        *(
            f"datapack {identifier}: the size, etag or hash of {found.sha256} do not match its content"
            for identifier in connection.scalars(packs)
        ),
    ]
