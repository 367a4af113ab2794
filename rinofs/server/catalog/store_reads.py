"""The half of the store that only looks."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from sqlalchemy import and_, func, select

from rinofs.server.catalog import listings, lookups, moves
from rinofs.server.catalog.queries import searches
from rinofs.server.catalog.queries.conditions import compile_query, compile_sort
from rinofs.server.catalog.records import Kind, Record, User
from rinofs.server.catalog.tables import objects as table
from rinofs.server.errors import BadRequest

if TYPE_CHECKING:
    from collections.abc import Sequence

    from sqlalchemy import ColumnElement, Connection, TextClause

    from rinofs.server.catalog.database import Database
    from rinofs.server.catalog.listings import Listing, Page, Selection

__all__ = ["StoreReads"]

_LONG_SQL = 2000  # characters


class StoreReads:
    """What can be asked of the objects of a user.

    Parameters
    ----------
    database : Database
        Where they are kept.
    """

    def __init__(self, database: Database) -> None:
        self._database = database

    def get(self, user: User, where: int | Sequence[str], *, at_once: bool = False) -> Record:
        """Return an object by its id, or by its path.

        Parameters
        ----------
        user : User
            The owner.
        where : int or sequence of str
            Id or path.
        at_once : bool
            Whether this is a thread that must not wait.

        Raises
        ------
        NotFound
            If there is none.
        WouldWait
            If it must not wait, and would have to.
        """
        with self._database.look() if at_once else self._database.read() as connection:
            if isinstance(where, int):
                return lookups.get(connection, user, where)
            return lookups.locate(connection, user, where)

    def locate_many(self, user: User, paths: Sequence[Sequence[str]]) -> list[Record | None]:
        """Return the current objects at some paths, in one state of everything; None where there is none."""
        with self._database.read() as connection:
            return lookups.locate_many(connection, user, paths)

    def ancestors(self, user: User, number: int) -> list[Record]:
        """Return the folders above an object, from the top level down."""
        with self._database.read() as connection:
            return moves.ancestors(connection, user, lookups.get(connection, user, number))

    def children(
        self, user: User, where: int | Sequence[str] | None, page: Page, *, recursive: bool = False
    ) -> Listing:
        """List a folder, or what is at the top level.

        Parameters
        ----------
        user : User
            The owner.
        where : int, sequence of str or None
            Id or path of the folder; None or an empty path for the top level.
        page : Page
            What part is wanted.
        recursive : bool
            Whether all that is anywhere below is listed, with its path.

        Raises
        ------
        NotFound
            If there is no such object.
        BadRequest
            If it is no folder.
        """
        with self._database.read() as connection:
            start = _folder(connection, user, where)
            inside = listings.below(user, start) if recursive else lookups.inside(user, start)
            selection = listings.Selection(inside, below=start, with_paths=recursive)
            return self._listed(connection, user, selection, page, counted=True)

    def query(
        self, user: User, query: object, page: Page, *, sort: object = None, digests: bool = True
    ) -> Listing:
        """List what a query finds; see `rinofs.server.catalog.queries.query`."""
        wanted = compile_query(user, query, digests=digests)
        condition = and_(searches.mine(user), wanted)
        order: tuple[ColumnElement[Any] | TextClause, ...] = (table.c.id,)
        if sort is not None:
            present, columns = compile_sort(user, sort, digests=digests)
            condition, order = and_(condition, present), (columns,)
        with self._database.read(keep_sql=len(wanted.text) < _LONG_SQL) as connection:
            return self._listed(connection, user, listings.Selection(condition, order), page)

    def count(self, user: User, query: object, *, digests: bool = True) -> int:
        """Count what a query finds."""
        condition = compile_query(user, query, digests=digests)
        with self._database.read(keep_sql=len(condition.text) < _LONG_SQL) as connection:
            return _count(connection, and_(searches.mine(user), condition))

    def search(self, user: User, text: str, page: Page) -> Listing:
        """List what has a text in it, the newest first."""
        condition = and_(searches.mine(user), searches.matching_text(text))
        with self._database.read() as connection:
            selection = listings.Selection(condition, (table.c.id.desc(),))
            return self._listed(connection, user, selection, page)

    def field_names(self, user: User) -> list[str]:
        """Return the metadata keys that a user's objects have."""
        with self._database.read() as connection:
            return searches.field_names(connection, user)

    def field_values(self, user: User, field: str, *, digests: bool = True) -> list[object]:
        """Return the values that a field has among a user's objects."""
        with self._database.read() as connection:
            return searches.known_values(connection, user, field, digests=digests)

    def _listed(
        self, connection: Connection, user: User, selection: Selection, page: Page, *, counted: bool = False
    ) -> Listing:
        total = _count(connection, selection.condition) if counted else None
        return listings.Listing(self._database, user, selection, page, total).begin(connection)


def _count(connection: Connection, condition: ColumnElement[bool]) -> int:
    return connection.scalar(select(func.count()).select_from(table).where(condition)) or 0


def _folder(connection: Connection, user: User, where: int | Sequence[str] | None) -> int | None:
    if where is None or (not isinstance(where, int) and not where):
        return None
    if isinstance(where, int):
        found = lookups.get(connection, user, where)
    else:
        found = lookups.locate(connection, user, where)
    if found.type != Kind.FOLDER:
        raise BadRequest(f"id: {found.id} is no folder", field="id")
    return found.id
