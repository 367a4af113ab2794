"""Rinocloud as an fsspec filesystem."""

from __future__ import annotations

import errno
import re
from typing import TYPE_CHECKING, Any

from fsspec.utils import tokenize

from rinofs.credentials import Service
from rinofs.errors import NotFoundError, ServiceError
from rinofs.fs.listings import Listings
from rinofs.fs.process import Registry
from rinofs.fs.reading import Pinned
from rinofs.fs.sessions import shared_session
from rinofs.fs.transfer.pool import run
from rinofs.protocol.extensions import REQUESTED_WITH, RinocloudExtension
from rinofs.rinocloud.auth import auth_for
from rinofs.rinocloud.batches import Batches
from rinofs.rinocloud.changes import Changes
from rinofs.rinocloud.client import RinocloudClient
from rinofs.rinocloud.features import Features
from rinofs.rinocloud.moves import Moves
from rinofs.rinocloud.paths import ById, parse
from rinofs.rinocloud.resolver import TOP, Resolver
from rinofs.rinocloud.searchable import SearchableFileSystem
from rinofs.rinocloud.uploads import Uploader

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rinofs.credentials import Credentials
    from rinofs.fs.browse import Info
    from rinofs.fs.transfer.bundles import WriteSmall
    from rinofs.fs.transfer.outgoing import Upload
    from rinofs.http.content.content import Content
    from rinofs.rinocloud.records import Record

_HAS_ID = re.compile(r"(^|/)@[0-9]+(/|$)")

# Shared by all filesystem objects of the process: fsspec makes one for each thread.
_features: Registry[Features] = Registry()
_listings: Registry[Listings[Record]] = Registry()


def _is_alias(path: str) -> bool:
    return _HAS_ID.search(path) is not None


def _is_newer(one: Record, other: Record) -> bool:
    return one.id >= other.id


class RinoFileSystem(SearchableFileSystem):
    """Files and folders in Rinocloud, under ``rino://``.

    A part of a path is the name of an object, exactly as it is; ``@848`` addresses an object by its id,
    also one of an earlier version, which cannot be written.
    """

    protocol = ("rino", "rinocloud")
    service = Service("rino", ("rino", "rinocloud"), "https://rinocloud.com")

    def _connect(self, credentials: Credentials) -> None:
        options = self.options
        self._features = _features.get(self.endpoint_url, Features)
        self.session = shared_session(
            self.endpoint_url,
            credentials,
            auth_for,
            options,
            self._features.observe,
            headers={REQUESTED_WITH: "XMLHttpRequest"},
        )
        self._listings = _listings.get(
            (self.endpoint_url, self._identity), lambda: Listings(_is_alias, _is_newer)
        )
        self._client = RinocloudClient(self.session, self._features)
        self._resolver = Resolver(self._client, self._listings, self.url)
        self._uploader = Uploader(
            self._client, self._resolver, self._listings, self.url, options.verify_content
        )
        self._batches = Batches(
            self._client, self._listings, self._uploader, self.url, options.verify_content
        )
        self._changes = Changes(self._client, self._resolver, self._listings, self._uploader, self.url)
        self._moves = Moves(self._client, self._resolver, self._listings, self._changes, self.url)

    def _record(self, path: str) -> Record:
        return self._resolver.record(path, self.options.listing_age)

    def _info(self, path: str) -> Info:
        return self._record(path).info(path)

    def ls_folder(self, path: str) -> list[Info]:
        """Describe what is in the folder at a path; raises NotADirectoryError if it is none."""
        children = self._resolver.children(path, self.options.listing_age)
        return [record.info(where) for where, record in children.items()]

    def names_in(self, path: str) -> list[str]:
        """Return the paths of what is in the folder at a path, without describing it."""
        return list(self._resolver.children(path, self.options.listing_age))

    def tree_of(self, path: str) -> list[Info] | None:
        """Describe all that is below a folder, in one request; None where the service cannot."""
        tree = self._resolver.tree(path)
        return None if tree is None else [record.info(where) for where, record in tree.items()]

    def invalidate_cache(self, path: str | None = None) -> None:
        """Forget what is known of a path and all below it, by default everything."""
        if path is None:
            self._listings.clear()
        else:
            self._listings.forget(self._strip_protocol(path))
        super().invalidate_cache(path)

    # Reading

    def _read_small(self, paths: Sequence[str]) -> list[bytes | None]:
        parts = [parse(self._strip_protocol(path)) for path in paths]
        named = {
            number: names
            for number, names in enumerate(parts)
            if names and not any(isinstance(part, ById) for part in names)
        }
        found: list[bytes | None] = [None] * len(paths)
        self._client.discover()
        if named and self._features.has(RinocloudExtension.BUNDLE):
            names = [[str(part) for part in way] for way in named.values()]
            verify = self.options.verify_content
            label = self.url(self._parent(paths[0]))
            contents = self._client.contents_of(names, label, verify=verify)
            for number, content in zip(named, contents, strict=True):
                found[number] = content
        return found

    def _content(self, path: str) -> Content:
        parts = parse(path)
        names = [part for part in parts if not isinstance(part, ById)]
        if names and len(names) == len(parts) and self._features.may_have(RinocloudExtension.PATH):
            return self._client.content_at(names, self.url(path))
        return self._pinned(path, max_age=self._read_age()).content

    def _read_current(self, path: str, read: Any) -> Any:
        known = self._features.extensions is not None
        try:
            return super()._read_current(path, read)
        except ServiceError:
            if known or self._features.may_have(RinocloudExtension.PATH):
                raise
            return super()._read_current(path, read)  # now in the way of the published API

    def _read_age(self) -> float:
        # The extended API finds by path in one request, so that what is read is always the current version.
        return 0.0 if self._features.may_have(RinocloudExtension.PATH) else self.options.listing_age

    def _pinned(self, path: str, version_id: int | str | None = None, *, max_age: float = 0.0) -> Pinned:
        if version_id is None:
            record = self._resolver.record(path, max_age)
        else:
            record = self._version(path, int(version_id), max_age)
        if record.type == "directory":
            raise IsADirectoryError(errno.EISDIR, "this is a folder", self.url(path))
        if record.type != "file":
            raise ServiceError("this is an object without data: there is nothing to read", self.url(path))
        content = self._client.content(record, self.url(path))
        # Content can grow under its id; a server without etags at least says when.
        version = record.etag or f"{record.size}@{record.modified}"
        return Pinned(content, record.info(path), record.id, f"{record.id} {version.replace(' ', 'T')}")

    def checksum(self, path: str) -> int:
        """Return a number that changes with the content of a file."""
        return int(self.ukey(path), 16)

    def ukey(self, path: str) -> str:
        """Return a text that changes with the content of a file."""
        record = self._resolver.record(self._strip_protocol(path), self._read_age())
        return str(tokenize(record.id, record.etag, record.size))

    # Versions

    def versions(self, path: str) -> list[Info]:
        """Describe all versions of a file, the oldest first and the current one last.

        Parameters
        ----------
        path : str
            The path.

        Returns
        -------
        list of dict
            As from `info`; the ``id`` opens the version as ``version_id``, or as path ``@id``.
        """
        path = self._strip_protocol(path)
        current = self._resolver.record(path, self._read_age())
        earlier = run(
            lambda number: self._client.metadata(number, self.url(path)),
            current.versions,
            self.options.max_concurrency,
        )
        return [record.info(path) for record in (*earlier, current)]

    def _version(self, path: str, number: int, max_age: float) -> Record:
        try:
            current = self._resolver.record(path, max_age)
            if number == current.id:
                return current
            if number in current.versions:
                return self._client.metadata(number, self.url(path))
        except NotFoundError:
            if not max_age:
                raise
        if max_age:
            return self._version(path, number, 0.0)  # it may have come to be since the last look
        raise NotFoundError(f"there is no version {number}; see versions()", self.url(path))

    def restore(self, path: str, version_id: int) -> None:
        """Make an earlier version of a file the current one, by storing it again as a new version.

        Parameters
        ----------
        path : str
            The path.
        version_id : int
            The id of the version; its metadata and tags come back too.

        Raises
        ------
        NotFoundError
            If the file has no such version.
        """
        path = self._strip_protocol(path)
        self._store_again(path, path, version_id)

    # Changing

    def _send(self, upload: Upload) -> None:
        self._uploader.send(upload, self.options.listing_age)

    def _write_small(self) -> WriteSmall | None:
        return self._batches.writer(self.options.listing_age)

    def _make_folder(self, path: str, *, exist_ok: bool) -> None:
        self._changes.make_folder(path, self.options.listing_age, exist_ok=exist_ok)

    def _delete(self, paths: Sequence[str], *, recursive: bool) -> None:
        try:
            self._changes.delete(self._deletable(paths, self.options.listing_age, recursive))
        except NotFoundError:
            # What was known may have been overtaken; what is missing now is missing.
            for path in paths:
                self._listings.forget(path)
            self._changes.delete(self._deletable(paths, 0, recursive))

    def _deletable(self, paths: Sequence[str], max_age: float, recursive: bool) -> dict[str, Record]:
        records = run(lambda path: self._resolver.record(path, max_age), paths, self.options.max_concurrency)
        for path, record in zip(paths, records, strict=True):
            self._refuse_earlier(path)
            if record is TOP:
                raise PermissionError(errno.EPERM, "the top level cannot be removed", self.url(path))
            if record.type == "directory" and not recursive:
                raise IsADirectoryError(
                    errno.EISDIR, "this is a folder: remove it with recursive=True", self.url(path)
                )
        return dict(zip(paths, records, strict=True))

    def _named(self, path: str) -> str:
        bare = self._strip_protocol(path)
        named = self._resolver.named(bare) or bare
        return f"{named}/" if path.endswith("/") else named

    def _copy(self, source: str, target: str) -> bool:
        return self._looking_again(self._moves.copy, source, target)

    def _move(self, source: str, target: str) -> bool:
        self._refuse_earlier(source)
        return self._looking_again(self._moves.move, source, target)

    def _looking_again(
        self, act: Callable[[str, Record, str, float], bool], source: str, target: str
    ) -> bool:
        """Act on what is known, and once more after looking if that was overtaken."""
        try:
            return act(source, self._record(source), target, self.options.listing_age)
        except NotFoundError:
            for path in (source, target):
                self._listings.forget(path.partition("/")[0])
            return act(source, self._record(source), target, self.options.listing_age)
