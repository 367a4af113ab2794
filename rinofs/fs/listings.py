"""The cache of listings."""

from __future__ import annotations

import threading
import time
from contextlib import contextmanager
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, NamedTuple, TypeAlias, TypeVar

from cachetools import LRUCache

from rinofs.errors import (
    ConnectionFailedError,
    ContentMismatchError,
    DeadlineError,
    ProtocolError,
    UnavailableError,
)
from rinofs.fs.process import after_fork_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Mapping

Entry = TypeVar("Entry")

_UNKNOWN = ConnectionFailedError, ContentMismatchError, DeadlineError, ProtocolError, UnavailableError

MAX_LISTED = 100_000
"""Maximum number of entries in all listings."""

MAX_SINGLE = 10_000
"""Maximum number of entries that were looked up one by one."""


@dataclass(frozen=True, slots=True)
class Known(Generic[Entry]):
    """What the cache knows about a path: its entry, or that it does not exist."""

    entry: Entry | None


class Moment(NamedTuple):
    """A mark in time, as `Listings.moment` returns it.

    Attributes
    ----------
    changes : int
        Number of changes before it.
    number : int
        Number of this mark; later ones have larger numbers.
    """

    changes: int
    number: int


Age: TypeAlias = float | Moment
"""How old cached information may be: a number of seconds, or that it was asked for after a moment."""


@dataclass(slots=True)
class _Dated(Generic[Entry]):
    time: float
    number: int
    value: Entry


@contextmanager
def unsure(forget: Callable[[], object]) -> Iterator[None]:
    """Call a function if a change ends with an error, or an interrupt, that leaves its outcome open."""
    try:
        yield
    except BaseException as error:
        if not isinstance(error, Exception) or isinstance(error, _UNKNOWN):
            forget()
        raise


class Listings(Generic[Entry]):
    """Cache entries and listings for all filesystem objects of one endpoint and user.

    Every change by this process calls `put`, `removed`, `forget` or `clear`. A response to a request that was
    sent before such a change is not cached.

    Parameters
    ----------
    is_alias : callable, optional
        Returns whether a path may lead to an object that also has another path.
    is_newer : callable, optional
        Returns whether the first of two entries for a path is newer. Needed because results of several
        threads do not arrive in the order in which the service produced them.
    clock : callable, optional
        Monotonic clock, in seconds.
    """

    def __init__(
        self,
        is_alias: Callable[[str], bool] = lambda _path: False,
        is_newer: Callable[[Entry, Entry], bool] = lambda _one, _other: True,
        clock: Callable[[], float] = time.monotonic,
    ) -> None:
        self._is_alias = is_alias
        self._is_newer = is_newer
        self._clock = clock
        self._forget_all()
        after_fork_in_child(self._forget_all)

    def _forget_all(self) -> None:
        self._lock = threading.Lock()
        self._changes = 0
        self._moments = 0
        self._aliases: set[str] = set()
        self._single: LRUCache[str, _Dated[Entry]] = LRUCache(MAX_SINGLE)
        self._listed: LRUCache[str, _Dated[dict[str, Entry]]] = LRUCache(
            MAX_LISTED, getsizeof=lambda listing: len(listing.value) + 1
        )

    def moment(self) -> Moment:
        """Return a mark to take before a request, and to pass to `keep` with its response.

        As a `max_age`, it stands for what was asked for since.
        """
        with self._lock:
            return Moment(self._changes, self._next())

    def _next(self) -> int:
        self._moments += 1
        return self._moments

    def get(self, path: str, max_age: Age) -> Known[Entry] | None:
        """Return what is known about a path.

        Parameters
        ----------
        path : str
            Path.
        max_age : float or Moment
            Maximum age of the information in seconds, or the moment since when it must have been asked for.

        Returns
        -------
        Known or None
            The entry, or that the listing of its folder does not contain it; None if nothing is known.
        """
        with self._lock:
            single = self._single.get(path)
            if single is not None and self._is_fresh(single, max_age):
                return Known(single.value)
            listing = self._listed.get(_parent(path)) if path else None
            if listing is not None and self._is_fresh(listing, max_age):
                entry = listing.value.get(path)
                # A listing shows each entry under one path only, so it says nothing about its aliases.
                if entry is not None or not self._is_alias(path):
                    return Known(entry)
            return None

    def children(self, path: str, max_age: Age) -> dict[str, Entry] | None:
        """Return the entries of a folder by path, or None if they are not known."""
        with self._lock:
            listing = self._listed.get(path)
            if listing is None or not self._is_fresh(listing, max_age):
                return None
            return dict(listing.value)

    def _is_fresh(self, dated: _Dated[Entry] | _Dated[dict[str, Entry]], max_age: Age) -> bool:
        if isinstance(max_age, Moment):
            return dated.number > max_age.number
        return self._clock() - dated.time < max_age

    def keep(self, path: str, entry: Entry, moment: Moment) -> None:
        """Cache an entry from a response."""
        with self._lock:
            if moment.changes == self._changes:
                self._single[path] = _Dated(self._clock(), moment.number, entry)
                self._note_alias(path)

    def keep_children(self, path: str, entries: Mapping[str, Entry], moment: Moment) -> None:
        """Cache the complete listing of a folder, by path."""
        with self._lock:
            if moment.changes == self._changes and len(entries) < MAX_LISTED:
                self._listed[path] = _Dated(self._clock(), moment.number, dict(entries))
                self._note_alias(path)

    def put(self, path: str, entry: Entry) -> None:
        """Record an entry that this process created or changed."""
        with self._lock:
            if self._change(path):
                return
            known = self._single.get(path)
            if known is not None and not self._is_newer(entry, known.value):
                return
            self._single[path] = _Dated(self._clock(), self._next(), entry)
            self._update_parent(path, entry)

    def removed(self, path: str, *, tree: bool) -> None:
        """Record that a path no longer exists.

        Parameters
        ----------
        path : str
            Path.
        tree : bool
            Whether there may have been something below it.
        """
        with self._lock:
            if self._change(path):
                return
            self._single.pop(path, None)
            self._update_parent(path, None)
            if tree:
                self._drop(lambda key: key == path or key.startswith(f"{path}/"))

    def forget(self, path: str) -> None:
        """Remove a path, its parent folder and everything below it from the cache."""
        with self._lock:
            if self._change(path):
                return
            if not path:
                self._clear()
                return
            self._listed.pop(_parent(path), None)
            self._drop(lambda key: key == path or key.startswith(f"{path}/"))

    @contextmanager
    def changing(self, *paths: str) -> Iterator[None]:
        """Forget paths and what is around them if it stays unknown whether they changed."""

        def forget() -> None:
            for path in {path.partition("/")[0] for path in paths}:  # folders may be new, too
                self.forget(path)

        with unsure(forget):
            yield

    def clear(self) -> None:
        """Clear the cache."""
        with self._lock:
            self._changes += 1
            self._clear()

    def _clear(self) -> None:
        self._single.clear()
        self._listed.clear()
        self._aliases.clear()

    def _note_alias(self, path: str) -> None:
        if not self._is_alias(path):
            return
        self._aliases.add(path)
        if len(self._aliases) > 2 * (len(self._single) + len(self._listed)):  # most were evicted
            self._aliases = {
                alias for alias in self._aliases if alias in self._single or alias in self._listed
            }

    def _change(self, path: str) -> bool:
        """Count a change. If it was made by an alias, clear the cache and return True."""
        self._changes += 1
        if self._is_alias(path):
            self._clear()
            return True
        for alias in self._aliases:
            self._single.pop(alias, None)
            self._listed.pop(alias, None)
        self._aliases.clear()
        return False

    def _update_parent(self, path: str, entry: Entry | None) -> None:
        parent = _parent(path)
        listing = self._listed.get(parent)
        if listing is None or not path:
            return
        if entry is None:
            listing.value.pop(path, None)
        else:
            listing.value[path] = entry
        self._listed[parent] = listing  # counts its size anew

    def _drop(self, unwanted: Callable[[str], bool]) -> None:
        for cache in (self._single, self._listed):
            for key in [key for key in cache if unwanted(key)]:
                cache.pop(key, None)


def _parent(path: str) -> str:
    return path.rpartition("/")[0]
