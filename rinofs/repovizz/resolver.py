"""Find datapacks, nodes and contents for paths, and the sizes of contents."""

from __future__ import annotations

import errno
from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.datapack import DataNode
from rinofs.datapack.document.naming import name_of_part
from rinofs.datapack.links import is_path
from rinofs.errors import (
    AuthenticationError,
    InvalidDatapackError,
    InvalidPathError,
    NotAllowedError,
    NotFoundError,
)
from rinofs.fs.transfer.pool import run
from rinofs.http.content.content import open_content
from rinofs.repovizz.paths import is_id, parse, part_of, parts_of
from rinofs.repovizz.records import hash_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rinofs.datapack import Document, Node
    from rinofs.fs.backend import Info
    from rinofs.fs.listings import Age
    from rinofs.repovizz.client import RepovizzClient
    from rinofs.repovizz.documents.cache import DatapackCache
    from rinofs.repovizz.records import Datapack


@dataclass(frozen=True, slots=True)
class Stored:
    """A content that a path leads to.

    Attributes
    ----------
    datapack : Datapack
        Datapack that contains it.
    hash : str
        Hash of the content.
    node : DataNode or None
        Node; None if the path addresses the content by its hash.
    """

    datapack: Datapack
    hash: str
    node: DataNode | None


class Resolver:
    """Finds datapacks, nodes and contents for paths, with few requests.

    Parameters
    ----------
    client : RepovizzClient
        Sends the requests.
    cache : DatapackCache
        Cached datapacks.
    url : callable
        Converts a path to its URL for messages.
    max_concurrency : int
        Maximum number of concurrent requests.
    """

    def __init__(
        self, client: RepovizzClient, cache: DatapackCache, url: Callable[[str], str], max_concurrency: int
    ) -> None:
        self._client = client
        self._cache = cache
        self._url = url
        self._max_concurrency = max_concurrency

    def listing(self, max_age: Age) -> dict[str, str]:
        """Return the ids of all datapacks, by part of a path."""
        listed = self._cache.listing(max_age)
        if listed is not None:
            return listed
        return {part: datapack.id for part, datapack in parts_of(self._all()).items()}

    def _all(self) -> list[Datapack]:
        moment = self._cache.moment()
        found = self._client.datapacks()
        if found is None:
            account = self._client.account()
            self._cache.owner = account.id
            asked = run(self._if_there, account.datapacks, self._max_concurrency)
            found = [datapack for datapack in asked if datapack is not None]
        self._cache.keep_listing(found, moment)
        return found

    def _if_there(self, identifier: str) -> Datapack | None:
        try:
            return self._client.datapack(identifier, self._cache.known(identifier), self._url(identifier))
        except AuthenticationError:
            raise
        except (NotAllowedError, NotFoundError):
            return None  # deleted since

    def datapack(self, part: str, max_age: Age) -> Datapack:
        """Return the datapack for a part of a path.

        Parameters
        ----------
        part : str
            Its encoded name, or its id.
        max_age : float or Moment
            Maximum age of a cached state in seconds, or the moment since when it must have been asked for.

        Raises
        ------
        NotFoundError
            If the user has no datapack with this name.
        NotAllowedError
            If no datapack has this id, or it belongs to another user; the service does not tell these apart.
        InvalidDatapackError
            If its document cannot be read; the message names the node.
        """
        return self._readable(self._found(part, max_age), self._url(part))

    @staticmethod
    def _readable(datapack: Datapack, label: str) -> Datapack:
        if datapack.problem is not None:
            raise InvalidDatapackError(f"{label}: {datapack.problem}")
        return datapack

    def _found(self, part: str, max_age: Age) -> Datapack:
        if is_id(part):
            return self._by_id(part, max_age)
        identifier = self._cache.id_of(part)
        if identifier is not None:
            found = self._cache.fresh(identifier, max_age) or self._still_there(identifier)
            if found is not None and part_of(found) == part:
                return found
        elif self._cache.lacks(part, max_age):
            raise self._absent(part)
        return self._by_name(part)

    def _by_id(self, part: str, max_age: Age) -> Datapack:
        identifier = part.lower()
        known = self._cache.fresh(identifier, max_age)
        if known is not None:
            return known
        try:
            return self.again(identifier, self._url(part))
        except AuthenticationError:
            raise
        except NotAllowedError as error:
            message = "this datapack does not exist or belongs to another user"
            raise NotAllowedError(message, self._url(part), status=error.status) from None

    def _still_there(self, identifier: str) -> Datapack | None:
        try:
            return self.again(identifier, self._url(identifier))
        except AuthenticationError:
            raise
        except (NotAllowedError, NotFoundError):
            self._cache.removed(identifier)
            return None

    def again(self, identifier: str, label: str) -> Datapack:
        """Request a datapack by its id, bypassing the cache."""
        moment = self._cache.moment()
        found = self._client.datapack(identifier, self._cache.known(identifier), label)
        self._cache.keep([found], moment)
        return self._readable(found, label)

    def _by_name(self, part: str) -> Datapack:
        moment = self._cache.moment()
        found = self._client.datapacks(name_of(part, self._url))
        if found is None:
            found = self._all()
        else:
            self._cache.keep(found, moment)
        datapack = parts_of(found).get(part)
        if datapack is None:
            raise self._absent(part)
        return datapack

    def node(self, path: str, max_age: Age) -> tuple[Datapack, Document | Node]:
        """Return the node at a path, and its datapack.

        Raises
        ------
        NotFoundError
            If the path does not exist.
        """
        place = parse(path)
        datapack = self.datapack(place.datapack, max_age)
        found = datapack.tree.get(place.inner)
        if found is None:
            raise self._absent(path)
        return datapack, found

    def stored(self, path: str, max_age: Age) -> Stored:
        """Return the content at a path: that of a node, or one addressed by its hash.

        Raises
        ------
        NotFoundError
            If the path does not exist, or the content of its node was not uploaded yet.
        IsADirectoryError
            If the path is a folder.
        """
        place = parse(path)
        if not place.inner:
            if place.datapack:
                self.datapack(place.datapack, max_age)  # raises if it does not exist
            raise IsADirectoryError(errno.EISDIR, "is a folder", self._url(path))
        datapack = self.datapack(place.datapack, max_age)
        node = datapack.tree.get(place.inner)
        if node is None:
            if place.hash is None:
                raise self._absent(path)
            return Stored(datapack, place.hash, None)
        if not isinstance(node, DataNode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", self._url(path))
        content_hash = hash_of(node.link)
        if content_hash is None:
            if not is_path(node.link):
                problem = (
                    f"The link of this node, {node.link!r}, leads out of the datapack and is not followed"
                )
                raise NotFoundError(problem, self._url(path))
            raise NotFoundError("The content of this node was not uploaded yet", self._url(path))
        return Stored(datapack, content_hash, node)

    def _absent(self, path: str) -> NotFoundError:
        if "/" in path:
            return NotFoundError(path=self._url(path))
        return NotFoundError("No such datapack", self._url(path))


def name_of(part: str, url: Callable[[str], str]) -> str:
    """Return the name of the datapack for a part of a path.

    Raises
    ------
    NotFoundError
        If no datapack can have that name.
    """
    try:
        return name_of_part(part)
    except InvalidPathError:
        raise NotFoundError("No datapack can have this name", url(part)) from None


class Sizes:
    """Finds the sizes of contents.

    Parameters
    ----------
    client : RepovizzClient
        Sends the requests.
    cache : DatapackCache
        Caches the sizes.
    max_concurrency : int
        Maximum number of concurrent requests.
    """

    def __init__(self, client: RepovizzClient, cache: DatapackCache, max_concurrency: int) -> None:
        self._client = client
        self._cache = cache
        self._max_concurrency = max_concurrency

    def fill_in(self, infos: Iterable[Info]) -> None:
        """Set the sizes of files that are None; they stay None for files without content."""
        lacking = [info for info in infos if info["size"] is None and hash_of(info.get("link", ""))]
        unknown: dict[str, dict[str, str]] = {}
        for info in lacking:
            content_hash = hash_of(info["link"]) or ""
            if self._cache.size(info["datapack"], content_hash) is None:
                unknown.setdefault(info["datapack"], {})[content_hash] = info["name"]
        for identifier, hashes in unknown.items():
            self._ask(identifier, hashes)
        for info in lacking:
            info["size"] = self._cache.size(info["datapack"], hash_of(info["link"]) or "")

    def _ask(self, identifier: str, hashes: dict[str, str]) -> None:
        if "sizes" not in self._client.features.lacking:
            found = self._client.sizes(identifier, next(iter(hashes.values())))
            for link, size in found.items():
                self._cache.keep_size(identifier, hash_of(link) or link, size)
            if not found:
                self._client.features.lacks("sizes")
        left = [each for each in hashes if self._cache.size(identifier, each) is None]
        run(lambda each: self._measure(identifier, each, hashes[each]), left, self._max_concurrency)

    def _measure(self, identifier: str, content_hash: str, label: str) -> None:
        content = self._client.content(identifier, content_hash, label)
        try:
            with open_content(self._client.session, content, 0, 1) as stream:
                size = stream.size
        except NotFoundError:
            return
        if size is not None:
            self._cache.keep_size(identifier, content_hash, size)
