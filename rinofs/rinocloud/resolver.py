"""Find the records for paths.

A path consists of names separated by slashes. ``@848`` in place of a name addresses an object by its id; a
name that looks like one gets another ``@`` in front. An object whose name is not allowed in a path is shown
as its id.
"""

from __future__ import annotations

import errno
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, TypeAlias

from rinofs.errors import InvalidPathError, InvalidRequestError, NotFoundError, ProtocolError, ServiceError
from rinofs.fs.backend import ABSENT, ListedEntry
from rinofs.fs.transfer.pool import run
from rinofs.protocol.extensions import RinocloudExtension
from rinofs.protocol.names import InvalidNameError, check_name
from rinofs.rinocloud.client import NO_SUCH_ENDPOINT
from rinofs.rinocloud.records import Record

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rinofs.fs.listings import Age, Listings, Moment
    from rinofs.rinocloud.children import Children, Name
    from rinofs.rinocloud.client import RinocloudClient

_ID = re.compile(r"@[0-9]+")
_ESCAPED = re.compile(r"@@+[0-9]+")
_LOOKS_LIKE_ID = re.compile(r"@+[0-9]+")
_URL = re.compile(r"[A-Za-z][A-Za-z0-9+.-]*://")


@dataclass(frozen=True, slots=True)
class ById:
    """A part of a path that is an id."""

    id: int


Part: TypeAlias = str | ById


def parse(path: str) -> tuple[Part, ...]:
    """Split a path into names and ids.

    Parameters
    ----------
    path : str
        Path without protocol and without leading or trailing slashes; empty for the top level.

    Returns
    -------
    tuple of str or ById
        Names and ids from the top level down.

    Raises
    ------
    InvalidPathError
        If a part is neither an id nor an allowed name.
    """
    return tuple(_parse_part(part, path) for part in path.split("/")) if path else ()


def _parse_part(part: str, path: str) -> Part:
    name = part
    if part.startswith("@"):
        if _ID.fullmatch(part):
            return ById(int(part[1:]))
        name = part[1:] if _ESCAPED.fullmatch(part) else part
    try:
        check_name(name)
    except InvalidNameError as error:
        # In a URL, the two slashes after the protocol enclose an empty name.
        reason = "it is a URL of something else" if _URL.match(path) else error
        raise InvalidPathError(f"{path!r} is not a path: {reason}") from None
    return name


def part_of(name: str, record_id: int) -> str:
    """Return the part of a path for a record.

    Parameters
    ----------
    name : str
        Name of the record.
    record_id : int
        Id of the record, used if the name is not allowed in a path.

    Returns
    -------
    str
        Part that `parse` converts to the name or the id.
    """
    if _LOOKS_LIKE_ID.fullmatch(name):
        return f"@{name}" if _is_name(name) else f"@{record_id}"
    return name if _is_name(name) else f"@{record_id}"


def _is_name(name: str) -> bool:
    try:
        check_name(name)
    except InvalidNameError:
        return False
    return True


def join(parent: str, part: str) -> str:
    """Return the path of `part` in the folder `parent`."""
    return f"{parent}/{part}" if parent else part


_FEW = 3
"""Number of objects in a folder that are looked up one by one rather than in the folder's listing."""

TOP = Record(id=0, name="", type="directory", size=0, parent=None)
"""Represents the top level, which has no record of its own."""


class Resolver:
    """Finds the records for paths, with few requests.

    Attributes
    ----------
    client : RinocloudClient
        Sends the requests.
    listings : Listings
        Cached records.
    url : callable
        Converts a path to its URL for messages.
    """

    def __init__(
        self, client: RinocloudClient, listings: Listings[Record], url: Callable[[str], str]
    ) -> None:
        self.client = client
        self.listings = listings
        self.url = url

    def record(self, path: str, max_age: Age) -> Record:
        """Return the record at a path.

        Parameters
        ----------
        path : str
            Path.
        max_age : float or Moment
            Maximum age of a cached record, as for `Listings.get`.

        Raises
        ------
        NotFoundError
            If the path does not exist.
        InvalidPathError
            If the path is not valid.
        """
        parts = parse(path)
        if not parts:
            return TOP
        known = self.listings.get(path, max_age)
        if known is not None:
            if known.entry is None:
                raise self._absent(path)
            return known.entry
        moment = self.listings.moment()
        record = self._ask(path, parts, max_age)
        self.listings.keep(path, record, moment)
        return record

    def records(self, paths: Iterable[str], max_age: Age, concurrency: int) -> dict[str, Record | None]:
        """Return the records at many paths, with few requests.

        Parameters
        ----------
        paths : iterable of str
            Paths.
        max_age : float or Moment
            Maximum age of a cached record, as for `Listings.get`.
        concurrency : int
            Maximum number of concurrent requests.

        Returns
        -------
        dict
            Records by path, in order; None for a path that does not exist.

        Raises
        ------
        InvalidPathError
            If a path is not valid.
        """
        found: dict[str, Record | None] = dict.fromkeys(paths)
        folders, alone = self._by_folder(found, max_age)
        above = [folder for folder in folders if folder]
        if above and not self.client.features.may_have(RinocloudExtension.PATH):
            # Each name leads to the next one: resolve the folders first, each of them once.
            known = self.records(above, max_age, concurrency)
            folders = {
                folder: below for folder, below in folders.items() if known.get(folder, TOP) is not None
            }

        def look_into(folder: str) -> dict[str, Record] | None:
            if len(folders[folder]) <= _FEW:
                return None
            try:
                return self._short_listing(folder, len(folders[folder]), max_age)
            except ABSENT:
                return {}

        def look_up(path: str) -> Record | None:
            try:
                return self.record(path, max_age)
            except ABSENT:
                return None

        for folder, listed in zip(folders, run(look_into, folders, concurrency), strict=True):
            if listed is None:
                alone += folders[folder]
            else:
                found.update({path: listed.get(path) for path in folders[folder]})
        found.update(zip(alone, run(look_up, alone, concurrency), strict=True))
        return found

    def _by_folder(self, paths: Iterable[str], max_age: Age) -> tuple[dict[str, list[str]], list[str]]:
        """Return the paths to ask for by folder, and those that are known or that listings do not tell."""
        folders: dict[str, list[str]] = {}
        alone = []
        for path in paths:
            parts = parse(path)
            if not parts or isinstance(parts[-1], ById) or self.listings.get(path, max_age) is not None:
                alone.append(path)
            else:
                folders.setdefault(path.rpartition("/")[0], []).append(path)
        return folders, alone

    def _short_listing(self, folder: str, wanted: int, max_age: Age) -> dict[str, Record] | None:
        """Return the children of a folder by path; None if looking up those that are wanted is less work."""
        cached = self.listings.children(folder, max_age)
        if cached is not None:
            return cached
        found, moment = self._list(folder, max_age)
        return self._keep(folder, found, moment) if found.pages <= wanted else None

    def _ask(self, path: str, parts: Sequence[Part], max_age: Age) -> Record:
        names = _names(parts)
        if names is not None:
            record = self.client.metadata_at(names, self.url(path))
            if record is not None:
                return record
        last = parts[-1]
        if isinstance(last, ById):
            record = self.client.metadata(last.id, self.url(path))
            if len(parts) > 1 and record.parent != self.folder_id(path.rpartition("/")[0], max_age):
                raise self._absent(path)
            return record
        try:
            folder = self.folder_id(path.rpartition("/")[0], max_age)
        except NotADirectoryError:
            raise self._absent(path) from None
        return self._in_folder(path, last, folder, max_age)

    def _in_folder(self, path: str, name: str, folder: int | None, max_age: Age) -> Record:
        features = self.client.features
        found: Record | None = None
        if "query" not in features.lacking:
            try:
                found = self.client.lookup(name, folder, self.url(path))
            except (ServiceError, ProtocolError) as error:
                if error.status not in {400, *NO_SUCH_ENDPOINT}:
                    raise
                found = self.children(path.rpartition("/")[0], max_age).get(path)
                features.lacks("query")  # other endpoints work, so only this one is missing
        else:
            found = self.children(path.rpartition("/")[0], max_age).get(path)
        if found is None:
            raise self._absent(path)
        return found

    def folder_id(self, path: str, max_age: Age) -> int | None:
        """Return the id of a folder by path; None is the top level.

        Raises
        ------
        NotFoundError
            If the path does not exist.
        NotADirectoryError
            If the path is not a folder.
        """
        record = self.record(path, max_age)
        if record is TOP:
            return None
        if record.type != "directory":
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", self.url(path))
        return record.id

    def named(self, path: str) -> str | None:
        """Return a path to the same object that ends in its name.

        Parameters
        ----------
        path : str
            Path, which may end in an id.

        Returns
        -------
        str or None
            None for an earlier version, since its name leads to the current one.

        Raises
        ------
        NotFoundError
            If the path ends in an id that does not exist.
        """
        parts = parse(path)
        if not parts or not isinstance(parts[-1], ById):
            return path
        record = self.record(path, 0)
        above = "" if record.parent is None else f"@{record.parent}"
        named = join(above, part_of(record.name, record.id))
        try:
            return named if self.record(named, 0).id == record.id else None
        except NotFoundError:
            return None

    def check_way(self, path: str) -> None:
        """Check that all existing parents of a path are folders.

        Raises
        ------
        NotADirectoryError
            If a parent is not a folder.
        """
        above = path.rpartition("/")[0]
        while above:
            try:
                self.folder_id(above, 0)
            except NotFoundError:
                above = above.rpartition("/")[0]
            else:
                return

    def children(self, path: str, max_age: Age) -> dict[str, Record]:
        """Return the records in a folder, by path.

        Raises
        ------
        NotFoundError
            If the path does not exist.
        NotADirectoryError
            If the path is not a folder.
        """
        cached = self.listings.children(path, max_age)
        if cached is not None:
            return cached
        found, moment = self._list(path, max_age)
        return self._keep(path, found, moment)

    def entries(self, path: str, max_age: Age) -> Iterator[ListedEntry]:
        """Iterate over a folder, holding no records if the listing is long; raises as `children` does."""
        known = self.listings.children(path, max_age)
        if known is None:
            found, moment = self._list(path, max_age)
            if found.is_long:
                names = found.names()[1]
                return (ListedEntry(join(path, part_of(one.name, one.id)), one.type, one.id) for one in names)
            known = self._keep(path, found, moment)
        return (ListedEntry(where, record.type, record.id) for where, record in known.items())

    def _keep(self, path: str, found: Children, moment: Moment) -> dict[str, Record]:
        # If a name occurs several times, the largest id is the current object: sorted last, it wins.
        records = sorted(found.records(), key=lambda record: record.id)
        children = {join(path, part_of(record.name, record.id)): record for record in records}
        self.listings.keep_children(path, children, moment)
        return children

    def _list(self, path: str, max_age: Age) -> tuple[Children, Moment]:
        """Return a listing, and the mark from before it."""
        moment = self.listings.moment()
        try:
            return self._ask_for_children(path, max_age), moment
        except NotFoundError:
            # The cached folder may have been replaced by another one with the same name.
            if self.listings.get(path, max_age) is None:
                raise
            self.listings.forget(path)
            moment = self.listings.moment()
            return self._ask_for_children(path, max_age), moment

    def _ask_for_children(self, path: str, max_age: Age) -> Children:
        parts = parse(path)
        names = _names(parts)
        known = self.listings.get(path, max_age)
        if parts and names is not None and known is None:
            found = self._list_names(path, names)
            if found is not None:
                return found
        return self.client.children(self.folder_id(path, max_age), self.url(path))

    def _list_names(self, path: str, names: Sequence[str]) -> Children | None:
        try:
            return self.client.children_at(names, self.url(path))
        except InvalidRequestError:
            self.folder_id(path, 0)  # raises the reason if it applies
            raise

    def tree(self, path: str) -> dict[str, Record] | None:
        """Return the records of everything below a folder, by path; None if the server cannot.

        Raises
        ------
        NotFoundError
            If the path does not exist.
        NotADirectoryError
            If the path is not a folder.
        """
        moment = self.listings.moment()
        found = self._list_tree(path)
        return None if found is None else self._arrange(path, list(found.records()), moment)

    def entries_below(self, path: str) -> Iterator[ListedEntry] | None:
        """Iterate over everything below a folder, as `entries` does; raises as `tree` does."""
        moment = self.listings.moment()
        found = self._list_tree(path)
        if found is None:
            return None
        if found.is_long:
            return _placed(path, *found.names())
        known = self._arrange(path, list(found.records()), moment)
        return (ListedEntry(where, record.type, record.id) for where, record in known.items())

    def _list_tree(self, path: str) -> Children | None:
        names = _names(parse(path))
        if names is None:
            return None
        try:
            return self.client.descendants(names, self.url(path))
        except InvalidRequestError:
            self.folder_id(path, 0)  # raises the reason if it applies
            raise

    def _arrange(self, path: str, records: list[Record], moment: Moment) -> dict[str, Record]:
        """Find the path of each record, and cache the listing of each folder."""
        ids: dict[int | None, Record] = {record.id: record for record in records}
        paths: dict[int | None, str] = {}
        listings: dict[str, dict[str, Record]] = {path: {}}

        def place(record: Record) -> str:
            # Iterative, since folders may be nested deeper than the recursion limit.
            chain = [record]
            while chain[-1].id not in paths and chain[-1].parent in ids:
                chain.append(ids[chain[-1].parent])
            for link in reversed(chain):
                if link.id not in paths:
                    above = paths.get(link.parent, path)
                    paths[link.id] = join(above, part_of(link.name, link.id))
            return paths[record.id]

        for record in sorted(records, key=lambda record: record.id):
            where = place(record)
            listings.setdefault(where.rpartition("/")[0], {})[where] = record
            if record.type == "directory":
                listings.setdefault(where, {})
        for folder, children in listings.items():
            self.listings.keep_children(folder, children, moment)
        return {where: record for children in listings.values() for where, record in children.items()}

    def _absent(self, path: str) -> NotFoundError:
        return NotFoundError(path=self.url(path))


def names_of(path: str) -> list[str] | None:
    """Return the names in a path, or None if it has an id."""
    return _names(parse(path))


def _names(parts: Sequence[Part]) -> list[str] | None:
    """Return the parts if all of them are names, else None."""
    names = [part for part in parts if isinstance(part, str)]
    return names if len(names) == len(parts) else None


def _placed(path: str, folder: int | None, names: Iterator[Name]) -> Iterator[ListedEntry]:
    """Find the path of each object below a folder; what is moved out of it meanwhile is left out."""
    paths: dict[int | None, str] = {folder: path}
    waiting: dict[int | None, list[Name]] = {}  # for a folder that comes later, since it is newer
    for name in names:
        if name.parent not in paths:
            waiting.setdefault(name.parent, []).append(name)
            continue
        ready = [name]
        while ready:
            one = ready.pop()
            where = join(paths[one.parent], part_of(one.name, one.id))
            yield ListedEntry(where, one.type, one.id)
            if one.type == "directory":
                paths[one.id] = where
                ready += waiting.pop(one.id, ())
