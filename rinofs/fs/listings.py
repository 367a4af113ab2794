"""The cache of listings."""

from __future__ import annotations

import threading
import time
from dataclasses import dataclass
from typing import TYPE_CHECKING, Generic, TypeVar

from cachetools import LRUCache

from rinofs.fs.process import after_fork_in_child

if TYPE_CHECKING:
    from collections.abc import Callable, Mapping

Entry = TypeVar("Entry")

MAX_LISTED = 100_000
"""Entries that all listings together hold at most."""

MAX_SINGLE = 10_000
"""Entries that were asked for one by one, at most."""


@dataclass(frozen=True, slots=True)
class Known(Generic[Entry]):
    """What is known of a path: an entry, or that there is none."""

    entry: Entry | None


@dataclass(slots=True)
class _Dated(Generic[Entry]):
    time: float
    value: Entry


class Listings(Generic[Entry]):
    """Remember entries and listings for all filesystem objects of one endpoint and user.

    Every change that this process makes ends in `put`, `removed` or `clear`, and nothing else forgets. What
    was asked for before such a change and answered after it is not kept.

    Parameters
    ----------
    is_alias : callable, optional
        Tells of a path whether it may lead to an object that has another path too.
    is_newer : callable, optional
        Tells whether the first of two entries for one path is the newer one; what several threads put at
        once does not arrive in the order in which the service did it.
    clock : callable, optional
        Seconds on a clock that never goes back.
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
        self._aliases: set[str] = set()
        self._single: LRUCache[str, _Dated[Entry]] = LRUCache(MAX_SINGLE)
        self._listed: LRUCache[str, _Dated[dict[str, Entry]]] = LRUCache(
            MAX_LISTED, getsizeof=lambda listing: len(listing.value) + 1
        )

    def moment(self) -> int:
        """Return a mark to take before asking the service, and to give to `keep` with its answer."""
        with self._lock:
            return self._changes

    def get(self, path: str, max_age: float) -> Known[Entry] | None:
        """Return what is known of a path.

        Parameters
        ----------
        path : str
            The path.
        max_age : float
            Seconds that the knowledge may be old.

        Returns
        -------
        Known or None
            The entry, or that a listing of its folder lacked it; None if nothing is known.
        """
        with self._lock:
            single = self._single.get(path)
            if single is not None and self._is_fresh(single, max_age):
                return Known(single.value)
            listing = self._listed.get(_parent(path)) if path else None
            if listing is not None and self._is_fresh(listing, max_age):
                entry = listing.value.get(path)
                # A listing shows each entry under one path, and tells nothing of the other ones.
                if entry is not None or not self._is_alias(path):
                    return Known(entry)
            return None

    def children(self, path: str, max_age: float) -> dict[str, Entry] | None:
        """Return the entries of a folder by path, or None if they are not known."""
        with self._lock:
            listing = self._listed.get(path)
            if listing is None or not self._is_fresh(listing, max_age):
                return None
            return dict(listing.value)

    def _is_fresh(self, dated: _Dated[Entry] | _Dated[dict[str, Entry]], max_age: float) -> bool:
        return self._clock() - dated.time < max_age

    def keep(self, path: str, entry: Entry, moment: int) -> None:
        """Remember an entry that the service told of."""
        with self._lock:
            if moment == self._changes:
                self._note_alias(path)
                self._single[path] = _Dated(self._clock(), entry)

    def keep_children(self, path: str, entries: Mapping[str, Entry], moment: int) -> None:
        """Remember the whole listing of a folder, its entries by path."""
        with self._lock:
            if moment == self._changes and len(entries) < MAX_LISTED:
                self._note_alias(path)
                self._listed[path] = _Dated(self._clock(), dict(entries))

    def put(self, path: str, entry: Entry) -> None:
        """Take note of an entry that this process made or changed."""
        with self._lock:
            if self._change(path):
                return
            known = self._single.get(path)
            if known is not None and not self._is_newer(entry, known.value):
                return
            self._single[path] = _Dated(self._clock(), entry)
            self._update_parent(path, entry)

    def removed(self, path: str, *, tree: bool) -> None:
        """Take note that there is nothing at a path any more.

        Parameters
        ----------
        path : str
            The path.
        tree : bool
            Whether something may have been below it.
        """
        with self._lock:
            if self._change(path):
                return
            self._single.pop(path, None)
            self._update_parent(path, None)
            if tree:
                self._drop(lambda key: key == path or key.startswith(f"{path}/"))

    def forget(self, path: str) -> None:
        """Forget what is known of a path, its folder and all below it."""
        with self._lock:
            if self._change(path):
                return
            if not path:
                self._clear()
                return
            self._listed.pop(_parent(path), None)
            self._drop(lambda key: key == path or key.startswith(f"{path}/"))

    def clear(self) -> None:
        """Forget everything."""
        with self._lock:
            self._changes += 1
            self._clear()

    def _clear(self) -> None:
        self._single.clear()
        self._listed.clear()
        self._aliases.clear()

    def _note_alias(self, path: str) -> None:
        if self._is_alias(path):
            self._aliases.add(path)

    def _change(self, path: str) -> bool:
        """Count a change; where it came by an alias, forget everything and say so."""
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
