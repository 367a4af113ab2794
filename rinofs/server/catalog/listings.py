"""Long lists of objects, in pages of limited size from one snapshot."""

from __future__ import annotations

from array import array
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, NamedTuple

from sqlalchemy import select

from rinofs.server.catalog.objects import RECORD, RECORDS, WITH_CONTENT
from rinofs.server.catalog.records import Record, User
from rinofs.server.catalog.tables import objects

if TYPE_CHECKING:
    from collections.abc import Iterable, Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Select, TextClause

    from rinofs.server.catalog.database import Database

__all__ = ["Item", "Listing", "PageRequest", "Selection", "below"]

PIECE_BYTES = 2 * 1024 * 1024
"""Bytes of records that are held at a time, about."""
PIECE_ROWS = 2500
"""Records that are held at a time."""
_ROW_BYTES = 600


@dataclass(frozen=True, slots=True)
class PageRequest:
    """What part of a list is wanted.

    Attributes
    ----------
    limit : int
        Objects at most.
    offset : int
        Objects to leave out at the beginning.
    after : int or None
        Leave out what has this id or a smaller one.
    """

    limit: int = 20
    offset: int = 0
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """What is listed.

    Attributes
    ----------
    condition : column element
        What holds for each object.
    order : sequence of column elements
        What they are sorted by.
    below : int or None
        Where the paths of a recursive listing begin; None for the top level.
    with_paths : bool
        Whether each object comes with its path.
    """

    condition: ColumnElement[bool]
    order: Sequence[ColumnElement[Any] | TextClause] = (objects.c.id,)
    below: int | None = None
    with_paths: bool = False


class Item(NamedTuple):
    """An object in a list, with its path where that was asked for."""

    record: Record
    path: Sequence[str] | None


class Listing:
    """A part of a list: the first piece, and how to get the others.

    What is left out of the first piece is known by id, so that a slow reader holds no transaction open.

    Attributes
    ----------
    total : int or None
        Objects in the whole list.
    """

    def __init__(
        self,
        database: Database,
        user: User,
        selection: Selection,
        page: PageRequest,
        total: int | None = None,
    ) -> None:
        self.total = total
        self._database = database
        self._user = user
        self._selection = selection
        self._page = page
        self._first: list[Item] = []
        self._rest_ids = array("q")
        self._rest_sizes = array("q")

    def begin(self, connection: Connection) -> Listing:
        """Fetch the first piece, and note what comes after it."""
        page = self._page
        found: list[Record] = []
        room = PIECE_BYTES
        with connection.execute(self._statement(RECORD, page.offset, page.limit)) as rows:
            for row in rows:
                record = Record(*row)
                found.append(record)
                room -= _ROW_BYTES + record.metadata_size
                if room <= 0 or len(found) == PIECE_ROWS:
                    break
        self._first = self._items(connection, found)
        left = page.limit - len(found)
        if left and (room <= 0 or len(found) == PIECE_ROWS):
            columns = (objects.c.id, objects.c.metadata_size)
            for number, size in connection.execute(self._statement(columns, page.offset + len(found), left)):
                self._rest_ids.append(number)
                self._rest_sizes.append(size)
        return self

    def pieces(self) -> Iterator[list[Item]]:
        """Yield the list piece by piece, once, keeping none of them; blocks while the database is asked."""
        yield self._take_first()
        start = 0
        for end in self._cuts():
            yield self._piece(self._rest_ids[start:end].tolist())
            start = end

    def _take_first(self) -> list[Item]:
        first, self._first = self._first, []
        return first

    def _piece(self, wanted: list[int]) -> list[Item]:
        with self._database.read() as connection:
            mine = RECORDS.where(objects.c.owner == self._user.id, objects.c.id.in_(wanted))
            found = {row.id: Record(*row) for row in connection.execute(mine)}
            # What was deleted meanwhile is left out.
            return self._items(connection, [found[number] for number in wanted if number in found])

    def _cuts(self) -> Iterator[int]:
        start, room = 0, PIECE_BYTES
        for index, size in enumerate(self._rest_sizes):
            room -= _ROW_BYTES + size
            if room <= 0 or index + 1 - start == PIECE_ROWS:
                yield index + 1
                start, room = index + 1, PIECE_BYTES
        if start < len(self._rest_sizes):
            yield len(self._rest_sizes)

    def _statement(self, columns: Iterable[ColumnElement[Any]], offset: int, limit: int) -> Select[Any]:
        wanted = select(*columns).select_from(WITH_CONTENT).where(self._selection.condition)
        if self._page.after is not None:
            wanted = wanted.where(objects.c.id > self._page.after)
        return wanted.order_by(*self._selection.order).limit(limit).offset(offset)

    def _items(self, connection: Connection, records: list[Record]) -> list[Item]:
        if not self._selection.with_paths:
            return [Item(record, None) for record in records]
        folders = _paths(connection, {record.parent for record in records}, self._selection.below)
        return [Item(record, [*folders[record.parent], record.name]) for record in records]


def _paths(
    connection: Connection, numbers: set[int | None], start: int | None
) -> dict[int | None, tuple[str, ...]]:
    """Return the names that lead from a start down to each of some folders below it."""
    wanted = [number for number in numbers if number is not None]
    above = (
        select(objects.c.id, objects.c.parent, objects.c.name)
        .where(objects.c.id.in_(wanted))
        .cte("above", recursive=True)
    )
    folder = objects.alias()
    above = above.union(
        select(folder.c.id, folder.c.parent, folder.c.name).join(above, folder.c.id == above.c.parent)
    )
    known = {row.id: (row.parent, row.name) for row in connection.execute(select(above))}
    paths: dict[int | None, tuple[str, ...]] = {start: ()}

    def path(number: int) -> tuple[str, ...]:
        # Not recursive: folders may be nested more deeply than calls can be.
        chain = []
        here: int | None = number
        while here not in paths:
            assert here is not None
            chain.append(here)
            here = known[here][0]
        for below in reversed(chain):
            paths[below] = (*paths[known[below][0]], known[below][1])
        return paths[number]

    for number in wanted:
        path(number)
    return paths


def below(user: User, start: int | None) -> ColumnElement[bool]:
    """Return the condition of being a current object of a user anywhere below a folder."""
    mine = (objects.c.owner == user.id) & objects.c.version_of.is_(None)
    if start is None:
        return mine
    tree = select(objects.c.id).where(objects.c.id == start).cte("tree", recursive=True)
    folder = objects.alias()
    tree = tree.union_all(
        select(folder.c.id)
        .join(tree, folder.c.parent == tree.c.id)
        .where(folder.c.owner == user.id, folder.c.type == "folder")
    )
    return mine & objects.c.parent.in_(select(tree.c.id))
