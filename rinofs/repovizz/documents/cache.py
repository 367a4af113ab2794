"""The cache of datapacks and of their list."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING

from cachetools import LRUCache

from rinofs.fs.listings import Moment
from rinofs.fs.process import after_fork_in_child
from rinofs.repovizz.paths import part_of, parts_of

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable

    from rinofs.fs.listings import Age
    from rinofs.repovizz.records import Datapack

MAX_NODES = 500_000
"""Maximum number of nodes in all cached documents."""

MAX_SIZES = 200_000
"""Maximum number of contents whose size is cached."""


@dataclass(frozen=True, slots=True)
class _Dated:
    time: float
    number: int
    datapack: Datapack


@dataclass(frozen=True, slots=True)
class _Listed:
    time: float
    number: int
    ids: dict[str, str]


class DatapackCache:
    """Cache datapacks for all filesystem objects of one endpoint and user.

    Every change by this process calls `put`, `removed` or `forget`. A response to a request that was sent
    before such a change is not cached.

    Parameters
    ----------
    clock : callable, optional
        Monotonic clock, in seconds.

    Attributes
    ----------
    owner : int, str or None
        The service's id for the user, once known.
    """

    def __init__(self, clock: Callable[[], float] = time.monotonic) -> None:
        self._clock = clock
        self._forget_all()
        after_fork_in_child(self._forget_all)

    def _forget_all(self) -> None:
        self._lock = threading.Lock()
        self._changes = 0
        self._moments = 0
        self._ids: dict[str, str] = {}
        self._listed: _Listed | None = None
        self._packs: LRUCache[str, _Dated] = LRUCache(MAX_NODES, getsizeof=_weight)
        self._sizes: LRUCache[tuple[str, str], int] = LRUCache(MAX_SIZES)
        self.owner: int | str | None = None

    def moment(self) -> Moment:
        """Return a mark to take before a request, and to pass to `keep` with its response.

        As a `max_age`, it stands for what was asked for since.
        """
        with self._lock:
            return Moment(self._changes, self._next())

    def _next(self) -> int:
        self._moments += 1
        return self._moments

    # Reads

    def fresh(self, identifier: str, max_age: Age) -> Datapack | None:
        """Return a datapack if its cached state is recent enough, or None."""
        with self._lock:
            dated = self._packs.get(identifier)
            return dated.datapack if dated is not None and self._is_fresh(dated, max_age) else None

    def known(self, identifier: str) -> Datapack | None:
        """Return the last known state of a datapack, at any age, or None."""
        with self._lock:
            dated = self._packs.get(identifier)
            return None if dated is None else dated.datapack

    def id_of(self, part: str) -> str | None:
        """Return the last known id for a part of a path, or None."""
        with self._lock:
            return self._ids.get(part)

    def lacks(self, part: str, max_age: Age) -> bool:
        """Return whether a recent listing does not contain a part."""
        with self._lock:
            listed = self._listed
            return listed is not None and self._is_fresh(listed, max_age) and part not in listed.ids

    def listing(self, max_age: Age) -> dict[str, str] | None:
        """Return the ids of all datapacks by part of a path, or None if not known."""
        with self._lock:
            listed = self._listed
            return dict(listed.ids) if listed is not None and self._is_fresh(listed, max_age) else None

    def _is_fresh(self, dated: _Dated | _Listed, max_age: Age) -> bool:
        if isinstance(max_age, Moment):
            return dated.number > max_age.number
        return self._clock() - dated.time < max_age

    # Responses

    def keep(self, datapacks: Iterable[Datapack], moment: Moment) -> None:
        """Cache datapacks from a response."""
        with self._lock:
            if moment.changes == self._changes:
                for datapack in datapacks:
                    self._place(datapack, moment.number, self._clock())

    def keep_listing(self, datapacks: Iterable[Datapack], moment: Moment) -> None:
        """Cache the complete list of datapacks."""
        with self._lock:
            if moment.changes != self._changes:
                return
            shown = parts_of(datapacks)
            for datapack in shown.values():
                self._place(datapack, moment.number, self._clock())
            listed = {part: datapack.id for part, datapack in shown.items()}
            self._ids |= listed
            self._listed = _Listed(self._clock(), moment.number, listed)

    def _place(self, datapack: Datapack, number: int, asked: float) -> None:
        dated = _Dated(asked, number, datapack)
        self._packs.pop(datapack.id, None)
        if _weight(dated) <= self._packs.maxsize:
            self._packs[datapack.id] = dated
        self._ids[part_of(datapack)] = datapack.id

    # Changes

    def put(self, datapack: Datapack) -> None:
        """Record a datapack that this process created or changed."""
        with self._lock:
            self._changes += 1
            part = part_of(datapack)
            if self._ids.get(part) != datapack.id:
                self._drop_parts(datapack.id)
            self._ids[part] = datapack.id
            self._place(datapack, self._next(), self._clock())
            if self._listed is not None and self._listed.ids.setdefault(part, datapack.id) != datapack.id:
                self._listed = None  # another client has renamed the one that was listed

    def relink(self, identifier: str, link: str, new: str) -> None:
        """Record that the nodes with a link have a new one, because their content was stored."""
        with self._lock:
            self._changes += 1
            dated = self._packs.get(identifier)
            if dated is not None and link != new and dated.datapack.links.get(link):
                self._place(dated.datapack.relinked(link, new), dated.number, dated.time)

    def removed(self, identifier: str) -> None:
        """Record that a datapack was removed or renamed."""
        with self._lock:
            self._changes += 1
            self._drop_parts(identifier)
            self._packs.pop(identifier, None)

    def _drop_parts(self, identifier: str) -> None:
        for parts in (self._ids, self._listed.ids if self._listed is not None else {}):
            for part in [part for part, known in parts.items() if known == identifier]:
                del parts[part]

    def forget(self, part: str | None = None) -> None:
        """Mark a datapack, or all, as outdated."""
        with self._lock:
            self._changes += 1
            self._listed = None
            # Keep the state: a server that is asked whether it has changed sends less.
            chosen = list(self._packs) if not part else [self._ids.get(part, part.lower())]
            for identifier in chosen:
                dated = self._packs.get(identifier)
                if dated is not None:
                    self._packs[identifier] = _Dated(float("-inf"), 0, dated.datapack)

    # Sizes of contents, which never change

    def size(self, identifier: str, content_hash: str) -> int | None:
        """Return the size of a content in bytes, or None."""
        with self._lock:
            return self._sizes.get((identifier, content_hash))

    def keep_size(self, identifier: str, content_hash: str, size: int) -> None:
        """Cache the size of a content in bytes."""
        with self._lock:
            self._sizes[identifier, content_hash] = size


def _weight(dated: _Dated) -> int:
    return 1 + sum(dated.datapack.links.values())
