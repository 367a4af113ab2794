"""Metadata and tags of existing objects."""

from __future__ import annotations

import errno
import threading
from typing import TYPE_CHECKING, Any

from rinofs.errors import ConflictError, NotFoundError
from rinofs.fs.process import Registry, after_fork_in_child
from rinofs.fs.transfer.pool import run
from rinofs.fs.values import as_metadata, as_tags
from rinofs.protocol.extensions import RinocloudExtension
from rinofs.protocol.records import ALSO_SENT, record_names
from rinofs.rinocloud.resolver import TOP

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rinofs.fs.listings import Moment
    from rinofs.rinocloud.backend import RinocloudBackend
    from rinofs.rinocloud.records import Record

RECORD_FIELDS = record_names(extended=True) | ALSO_SENT | {"path"}
"""Names that a merge cannot set as metadata, because they are fields of the record itself."""

_PLACES = 64


class _ObjectLocks:
    """Serialises changes of one object, so that the last response has the final state."""

    def __init__(self) -> None:
        self._make()
        after_fork_in_child(self._make)

    def _make(self) -> None:
        self._locks = [threading.Lock() for _ in range(_PLACES)]

    def of(self, record_id: int) -> threading.Lock:
        """Return the lock to hold while an object is changed."""
        return self._locks[record_id % _PLACES]


_locks_by_user: Registry[_ObjectLocks] = Registry()


class Metadata:
    """Reads and changes metadata and tags.

    Parameters
    ----------
    backend : RinocloudBackend
        Backend of the objects.
    """

    def __init__(self, backend: RinocloudBackend) -> None:
        self._client = backend.client
        self._resolver = backend.resolver
        self._listings = backend.listings
        self._backend = backend
        self._url = backend.url
        self._options = backend.options
        self._object_locks = _locks_by_user.get(backend.user, _ObjectLocks)

    def get(self, path: str) -> dict[str, Any]:
        """Return a copy of the metadata of an object."""
        return _metadata(self.record(path))

    def record(self, path: str) -> Record:
        """Return the record of an object, as fresh as for reads."""
        return self._resolver.record(path, self._backend.read_age)

    def set(self, path: str, metadata: Mapping[str, Any], *, replace: bool) -> dict[str, Any]:
        """Merge into the metadata of an object, or replace it; returns the new metadata."""
        return self._set(path, _changes(as_metadata(metadata), replace=replace))

    def _set(self, path: str, changes: Mapping[str, Any], age: Moment | None = None) -> dict[str, Any]:
        def update(record: Record) -> Record:
            return self._client.update(record.id, changes, self._url(path)) if changes else record

        return _metadata(self._change(path, update, age))

    def set_many(self, metadata: Sequence[tuple[str, str, Mapping[str, Any]]], *, replace: bool) -> None:
        """Change the metadata of many objects concurrently.

        Parameters
        ----------
        metadata : sequence of (str, str, mapping)
            Path, path as given by the user, and metadata.
        replace : bool
            Whether to replace the metadata instead of merging.
        """
        changes = [
            (path, _changes(as_metadata(given, f"metadata of {called}"), replace=replace))
            for path, called, given in metadata
        ]
        age = self._listings.moment()
        self._resolver.records([path for path, _ in changes], age, self._options.max_concurrency)
        run(lambda item: self._set(*item, age), changes, self._options.max_concurrency)

    def delete(self, path: str, fields: Sequence[str]) -> dict[str, Any]:
        """Remove names from the metadata of an object; returns the remaining metadata."""
        for number, field in enumerate(fields):
            if not isinstance(field, str):
                raise TypeError(f"fields[{number}]: the name of a field is expected, not {field!r}")

        def delete(record: Record) -> Record:
            for field in fields:
                record = self._client.delete_field(record.id, field, self._url(path))
            return record

        return _metadata(self._change(path, delete))

    def set_tags(self, path: str, tags: Sequence[str]) -> None:
        """Replace the tags of an object."""
        changes = {"tags": as_tags(tags)}
        self._change(path, lambda record: self._client.update(record.id, changes, self._url(path)))

    def _change(self, path: str, change: Callable[[Record], Record], age: Moment | None = None) -> Record:
        """Change the object that is at a path now, and once more if others changed it meanwhile.

        `age` is since when it may have been looked up; by default, it is looked up now.
        """
        for moment in (age or self._listings.moment(), None):
            record = self._resolver.record(path, moment or 0)
            if record is TOP:
                raise PermissionError(errno.EPERM, "the top level has no metadata", self._url(path))
            if not self._client.features.has(RinocloudExtension.EXACT):
                self._backend.refuse_earlier(path)  # the server could change the current object instead
            try:
                with self._object_locks.of(record.id), self._listings.changing(path):
                    return self._remember(path, record, change(record))
            except (NotFoundError, ConflictError):
                if moment is None:
                    self._backend.refuse_earlier(path)
                    raise
        raise AssertionError("unreachable")

    def _remember(self, path: str, before: Record, changed: Record) -> Record:
        if (before.id, before.name, before.parent) == (changed.id, changed.name, changed.parent):
            self._listings.put(path, changed)
        else:
            self._listings.forget(path)  # the object was moved meanwhile
        return changed


def _metadata(record: Record) -> dict[str, Any]:
    metadata: dict[str, Any] = record.info("")["metadata"]
    return metadata


def _changes(metadata: dict[str, Any], *, replace: bool) -> dict[str, Any]:
    """Return the fields of a request that sets metadata."""
    if replace:
        return {"metadata": metadata}
    _refuse(metadata.keys() & RECORD_FIELDS)
    return metadata


def _refuse(names: Iterable[str]) -> None:
    for name in names:
        raise ValueError(
            f"metadata[{name!r}]: this is the name of a field of the record and cannot be merged; "
            "replace all metadata with replace=True"
        )
