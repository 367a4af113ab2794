"""Long lists of objects, in pages of limited size from one snapshot."""

from __future__ import annotations

import json
from array import array
from bisect import bisect_right
from dataclasses import dataclass, replace
from itertools import starmap
from typing import TYPE_CHECKING, Any, Generic, NamedTuple, Self, TypeVar

from sqlalchemy import bindparam, func, select, text

from rinofs.server.catalog.objects import RECORDS
from rinofs.server.catalog.queries.query_dialect import listed_numbers
from rinofs.server.catalog.records import Record, User
from rinofs.server.catalog.tables import objects

if TYPE_CHECKING:
    from collections.abc import Iterator, Sequence

    from sqlalchemy import ColumnElement, Connection, Row, Select, TextClause

    from rinofs.server.catalog.database import Database

__all__ = ["Item", "ListedName", "Listing", "NameListing", "PageRequest", "Selection", "below"]

PIECE_BYTES = 2 * 1024 * 1024
"""Approximate size in bytes of the records held at a time."""
PIECE_ROWS = 2500
"""Maximum number of rows held at a time."""
_ROW_BYTES = 600

_NUMBERS = listed_numbers("numbers")
_THESE = (objects.c.owner == bindparam("user")) & objects.c.id.in_(_NUMBERS)
_SIZE = select(func.coalesce(func.sum(objects.c.metadata_size + _ROW_BYTES), 0)).where(_THESE)
_BY_OWN_ID = (objects.c.id,)
_SORTED_ID = (text("+objects.id"),)  # the sign makes SQLite sort them, not scan all in that order

Found = TypeVar("Found")


@dataclass(frozen=True, slots=True)
class PageRequest:
    """The requested part of a list.

    Attributes
    ----------
    limit : int
        Maximum number of objects.
    offset : int
        Number of objects to skip at the beginning.
    after : int or None
        Skip objects with this id or a smaller one.
    """

    limit: int = 20
    offset: int = 0
    after: int | None = None


@dataclass(frozen=True, slots=True)
class Selection:
    """The objects to list.

    Attributes
    ----------
    condition : column element
        Condition that each object meets.
    order : sequence of column elements, optional
        Sort order; by id if omitted.
    few : bool
        Whether an index finds them, but not in the order of ids.
    below : int or None
        Id of the folder where the paths of a recursive listing start; None for the top level.
    with_paths : bool
        Whether to return each object with its path.
    in_folder : bool
        Whether all objects are those in the folder `below`.
    """

    condition: ColumnElement[bool]
    order: Sequence[ColumnElement[Any] | TextClause] | None = None
    few: bool = False
    below: int | None = None
    with_paths: bool = False
    in_folder: bool = False


class Item(NamedTuple):
    """An object in a list, with its path if requested."""

    record: Record
    path: Sequence[str] | None


class ListedName(NamedTuple):
    """The name of an object, and its folder."""

    id: int
    name: str
    type: str
    parent: int | None


# Built once: building the statement takes longer than running it.
def _these(rows: Select[Any]) -> Select[Any]:
    return rows.where(_THESE).order_by(objects.c.id)


class _Pieces(Generic[Found]):
    """A part of a list: its first piece, and a way to get the others.

    Only the ids of the other objects are kept, so that a slow reader does not hold a transaction open. What
    was deleted or moved away meanwhile is left out, and objects from after the part take its place: clients
    take a part that is shorter than its limit for the last one.

    Attributes
    ----------
    these : Select
        Reads the rows with some ids, ordered by id, which is the first column.
    is_measured : bool
        Whether rows may be large, and have a `metadata_size`.
    total : int or None
        Number of objects in the whole list, if counted.
    """

    these: Select[Any]
    is_measured = False

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
        self._first: list[Found] = []
        self._start = 0
        self._left_out = 0
        self._ids = array("q")
        self._sizes = array("q")  # of metadata; empty if ordered by id

    def begin(self, connection: Connection) -> Self:
        """Collect the ids, and fetch the first piece."""
        self._collect(connection)
        self._first = self._piece(connection)
        return self

    def _collect(self, connection: Connection) -> None:
        if self._selection.order is None:
            self._ids.extend(connection.scalars(self._wanted(objects.c.id)).all())
        else:
            for number, size in connection.execute(self._wanted(objects.c.id, objects.c.metadata_size)):
                self._ids.append(number)
                self._sizes.append(size)

    def _wanted(self, *columns: ColumnElement[Any]) -> Select[Any]:
        page, selection = self._page, self._selection
        wanted = select(*columns).where(selection.condition)
        if page.after is not None:
            wanted = wanted.where(objects.c.id > page.after)
        own = _SORTED_ID if selection.few else _BY_OWN_ID
        order = own if selection.order is None else selection.order
        return wanted.order_by(*order).limit(page.limit).offset(page.offset)

    def pieces(self) -> Iterator[list[Found]]:
        """Yield the list in pieces, once, keeping none of them; blocks during queries."""
        yield self._take_first()
        while self._start < len(self._ids) or self._has_gaps():
            yield self._next_piece()

    def _take_first(self) -> list[Found]:
        first, self._first = self._first, []
        return first

    def _has_gaps(self) -> bool:
        return self._left_out > 0 and len(self._ids) == self._page.limit

    def _next_piece(self) -> list[Found]:
        with self._database.read() as connection:
            if self._start == len(self._ids):
                self._go_on(connection)
            return self._piece(connection)

    def _go_on(self, connection: Connection) -> None:
        """Collect the ids of as many objects as were left out."""
        limit, shown = self._left_out, self._page.limit - self._left_out
        if self._selection.order is None:
            self._page = PageRequest(limit, after=self._ids[-1])
        else:
            self._page = replace(self._page, limit=limit, offset=self._page.offset + shown)
        self._start = self._left_out = 0
        self._ids, self._sizes = array("q"), array("q")
        self._collect(connection)

    def _piece(self, connection: Connection) -> list[Found]:
        """Return the next piece."""
        start, end = self._start, self._end(self._start)
        if start == end:
            return []
        wanted = self._ids[start:end].tolist()
        rows, was_cut = self._read(connection, wanted)
        if was_cut:
            end = bisect_right(self._ids, rows[-1][0], start, end)
        if self._sizes:
            by_id = {row[0]: row for row in rows}
            rows = [by_id[number] for number in wanted if number in by_id]
        found = self._found(connection, rows)
        self._start, self._left_out = end, self._left_out + end - start - len(found)
        return found

    def _end(self, start: int) -> int:
        end = min(start + PIECE_ROWS, len(self._ids))
        room = PIECE_BYTES
        for index, size in enumerate(self._sizes[start:end], start):
            room -= _ROW_BYTES + size
            if room <= 0:
                return index + 1
        return end

    def _read(self, connection: Connection, wanted: list[int]) -> tuple[list[Row[Any]], bool]:
        """Return the rows with some ids, ordered by id, and whether they were cut to fit into one piece."""
        told = {"user": self._user.id, "numbers": json.dumps(wanted)}
        found = connection.execute(self.these, told)
        if not self.is_measured or self._sizes or connection.execute(_SIZE, told).scalar_one() <= PIECE_BYTES:
            return list(found.all()), False
        rows: list[Row[Any]] = []
        room = PIECE_BYTES
        with found:
            for row in found:
                rows.append(row)
                room -= _ROW_BYTES + row.metadata_size
                if room <= 0:
                    return rows, True
        return rows, False

    def _found(self, connection: Connection, rows: list[Row[Any]]) -> list[Found]:
        raise NotImplementedError

    def _is_away(self, parent: int | None) -> bool:
        """Return whether an object was moved out of the folder that is listed."""
        return self._selection.in_folder and parent != self._selection.below


class Listing(_Pieces[Item]):
    """Objects, with their paths if requested."""

    these = _these(RECORDS)
    is_measured = True

    def _found(self, connection: Connection, rows: list[Row[Any]]) -> list[Item]:
        records = list(starmap(Record, rows))
        if not self._selection.with_paths:
            return [Item(record, None) for record in records if not self._is_away(record.parent)]
        folders = _paths(connection, {record.parent for record in records}, self._selection.below)
        return [
            Item(record, [*folders[record.parent], record.name])
            for record in records
            if record.parent in folders
        ]


class NameListing(_Pieces[ListedName]):
    """The names of objects, and their folders."""

    these = _these(select(*(objects.c[name] for name in ListedName._fields)))

    def _found(self, connection: Connection, rows: list[Row[Any]]) -> list[ListedName]:  # noqa: ARG002
        return [ListedName._make(row) for row in rows if not self._is_away(row.parent)]


def _paths(
    connection: Connection, numbers: set[int | None], start: int | None
) -> dict[int | None, tuple[str, ...]]:
    """Return the path of each of some folders, relative to the start above them; none for others."""
    wanted = [number for number in numbers if number is not None]
    above = (
        select(objects.c.id, objects.c.parent, objects.c.name)
        .where(objects.c.id.in_(_NUMBERS))
        .cte("above", recursive=True)
    )
    folder = objects.alias()
    above = above.union(
        select(folder.c.id, folder.c.parent, folder.c.name).join(above, folder.c.id == above.c.parent)
    )
    found = connection.execute(select(above), {"numbers": json.dumps(wanted)})
    known = {row.id: (row.parent, row.name) for row in found}
    paths: dict[int | None, tuple[str, ...]] = {start: ()}
    away: set[int] = set()  # moved out of the start, or deleted, since they were found below it

    def find(number: int) -> None:
        # Not recursive: folders may be nested more deeply than Python's recursion limit.
        chain: list[int] = []
        here: int | None = number
        while here not in paths:
            if here is None or here in away or here not in known:
                away.update(chain)
                return
            chain.append(here)
            here = known[here][0]
        for below in reversed(chain):
            paths[below] = (*paths[known[below][0]], known[below][1])

    for number in wanted:
        find(number)
    return paths


def below(user: User, start: int | None) -> ColumnElement[bool]:
    """Return the condition for current objects of a user anywhere below a folder."""
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
