"""Metadata and tags of objects that are there already."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any

from rinofs.errors import ConflictError, NotAllowedError, NotFoundError
from rinofs.fs.process import Registry, after_fork_in_child
from rinofs.fs.transfer.pool import run
from rinofs.fs.values import as_metadata, as_tags
from rinofs.protocol.records import ALSO_SENT, record_names
from rinofs.rinocloud.resolver import TOP
from rinofs.rinocloud.sidecars import SidecarFileSystem

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rinofs.fs.listings import Listings
    from rinofs.rinocloud.client import RinocloudClient
    from rinofs.rinocloud.records import Record
    from rinofs.rinocloud.resolver import Resolver

RECORD_FIELDS = record_names(extended=True) | ALSO_SENT | {"path"}
"""What a request that merges names into the metadata cannot mean by these: they are the record's own."""

_PLACES = 64


class _Turns:
    """Has the changes of one object follow each other, so that the last answer tells the last state."""

    def __init__(self) -> None:
        self._make()
        after_fork_in_child(self._make)

    def _make(self) -> None:
        self._locks = [threading.Lock() for _ in range(_PLACES)]

    def of(self, record_id: int) -> threading.Lock:
        """Return the lock to hold while an object is changed."""
        return self._locks[record_id % _PLACES]


_turns: Registry[_Turns] = Registry()


class DescribedFileSystem(SidecarFileSystem):
    """A filesystem whose objects carry metadata and tags; the parameters are those of its base."""

    _client: RinocloudClient
    _resolver: Resolver
    _listings: Listings[Record]

    def get_metadata(self, path: str) -> dict[str, Any]:
        """Return the metadata of a file or folder.

        Parameters
        ----------
        path : str
            The path. Where the server resolves paths, it is asked; on the published API the answer may be as
            old as listings may be.

        Returns
        -------
        dict
            A new one, the caller's to change.

        Raises
        ------
        NotFoundError
            If there is nothing at the path.
        """
        metadata: dict[str, Any] = self._current(path).info(path)["metadata"]
        return metadata

    def get_tags(self, path: str) -> list[str]:
        """Return the tags of a file or folder; raises NotFoundError if there is nothing at the path."""
        return list(self._current(path).tags)

    def _current(self, path: str) -> Record:
        return self._resolver.record(self._strip_protocol(path), self._read_age())

    def set_metadata(self, path: str, metadata: Mapping[str, Any], replace: bool = False) -> dict[str, Any]:
        """Change the metadata of a file or folder, in one request.

        Parameters
        ----------
        path : str
            The path.
        metadata : mapping
            Names and values; what values can be is said on the page about metadata.
        replace : bool
            Whether this is all that the object has from then on. Else it is merged by the server: names that
            are not given stay as they are, whoever sets them meanwhile.

        Returns
        -------
        dict
            The metadata that the object has now.

        Raises
        ------
        TypeError, ValueError
            If it is nothing that JSON can hold, or a name cannot be merged; nothing is sent then.
        NotFoundError
            If there is nothing at the path.
        NotAllowedError
            If it is an earlier version, which cannot be changed.
        """
        return self._set_metadata(path, _changes(as_metadata(metadata), replace=replace))

    def _set_metadata(self, path: str, changes: Mapping[str, Any]) -> dict[str, Any]:
        def update(record: Record) -> Record:
            return self._client.update(record.id, changes, self.url(path)) if changes else record

        found: dict[str, Any] = self._described(path, update).info(path)["metadata"]
        return found

    def set_metadata_many(self, metadata: Mapping[str, Mapping[str, Any]], replace: bool = False) -> None:
        """Change the metadata of many files and folders, several at a time.

        Parameters
        ----------
        metadata : mapping
            For each path what `set_metadata` takes.
        replace : bool
            As for `set_metadata`.

        Raises
        ------
        TypeError, ValueError
            If any of it cannot be stored; nothing is sent then.
        NotFoundError
            If there is nothing at one of the paths; others may be changed by then.
        """
        changes = [
            (path, _changes(as_metadata(given, f"metadata of {path}"), replace=replace))
            for path, given in metadata.items()
        ]
        run(lambda item: self._set_metadata(*item), changes, self.options.max_concurrency)

    def delete_metadata(self, path: str, *fields: str) -> dict[str, Any]:
        """Remove names from the metadata of a file or folder, in one request each.

        Parameters
        ----------
        path : str
            The path.
        *fields : str
            The names. One that is not there is no error.

        Returns
        -------
        dict
            The metadata that is left.

        Raises
        ------
        NotFoundError
            If there is nothing at the path.
        """
        for number, field in enumerate(fields):
            if not isinstance(field, str):
                raise TypeError(f"fields[{number}]: the name of a field is expected, not {field!r}")

        def delete(record: Record) -> Record:
            for field in fields:
                record = self._client.delete_field(record.id, field, self.url(path))
            return record

        left: dict[str, Any] = self._described(path, delete).info(path)["metadata"]
        return left

    def set_tags(self, path: str, tags: Sequence[str]) -> None:
        """Give a file or folder new tags in place of those that it has.

        Parameters
        ----------
        path : str
            The path.
        tags : list of str
            The tags.

        Raises
        ------
        TypeError
            If it is no list of texts.
        NotFoundError
            If there is nothing at the path.
        """
        changes = {"tags": as_tags(tags)}
        self._described(path, lambda record: self._client.update(record.id, changes, self.url(path)))

    def getxattr(self, path: str, attr: str) -> Any:
        """Return one value of the metadata.

        Raises
        ------
        KeyError
            If there is no such name.
        NotFoundError
            If there is nothing at the path.
        """
        metadata = self.get_metadata(path)
        if attr not in metadata:
            raise KeyError(f"{self.url(path)} has no {attr!r} in its metadata")
        return metadata[attr]

    def setxattrs(self, path: str, **attrs: Any) -> dict[str, Any]:
        """Set values of the metadata by name; None removes a name, as in other fsspec filesystems.

        Parameters
        ----------
        path : str
            The path.
        **attrs
            What to set.

        Returns
        -------
        dict
            The metadata that the object has now.
        """
        kept = {name: value for name, value in attrs.items() if value is not None}
        changed = self.set_metadata(path, kept)
        removed = [name for name in attrs if name not in kept]
        return self.delete_metadata(path, *removed) if removed else changed

    def _described(self, path: str, change: Callable[[Record], Record]) -> Record:
        """Change what is known to be at a path, and once more after looking if that was overtaken."""
        path = self._strip_protocol(path)
        turns = _turns.get((self.endpoint_url, self._identity), _Turns)
        for max_age in (self.options.listing_age, 0.0):
            record = self._resolver.record(path, max_age)
            if record is TOP:
                raise PermissionError(errno.EPERM, "the top level has no metadata", self.url(path))
            try:
                with turns.of(record.id):
                    return self._noted(path, record, change(record))
            except (NotFoundError, ConflictError):
                if not max_age:
                    self._refuse_earlier(path)
                    raise
                self._listings.forget(path)
        raise AssertionError("unreachable")

    def _noted(self, path: str, before: Record, changed: Record) -> Record:
        if (before.id, before.name, before.parent) == (changed.id, changed.name, changed.parent):
            self._listings.put(path, changed)
        else:
            self._listings.forget(path)  # it was moved meanwhile
        return changed

    def _refuse_earlier(self, path: str) -> None:
        if self._resolver.named(path) is None:
            raise NotAllowedError("this is an earlier version, which cannot be changed", self.url(path))


def _changes(metadata: dict[str, Any], *, replace: bool) -> dict[str, Any]:
    """Return what a request says that sets metadata."""
    if replace:
        return {"metadata": metadata}
    _refuse(metadata.keys() & RECORD_FIELDS)
    return metadata


def _refuse(names: Iterable[str]) -> None:
    for name in names:
        raise ValueError(
            f"metadata[{name!r}]: the record itself has a field of this name, so it cannot be merged; "
            "set all metadata at once, with replace=True"
        )
