"""The `Backend` of Rinocloud."""

from __future__ import annotations

import copy
import errno
import re
from typing import TYPE_CHECKING, Any

from fsspec.utils import tokenize

from rinofs.errors import (
    ConflictError,
    ContentChangedError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    ServiceError,
)
from rinofs.fs.backend import Backend, Info, Pinned, Upload, reraise
from rinofs.fs.files.reader import RemoteSource
from rinofs.fs.instances import shared_session
from rinofs.fs.listings import Listings, Moment
from rinofs.fs.process import Registry
from rinofs.fs.transfer.pool import run
from rinofs.protocol.digests import DIGESTS
from rinofs.protocol.extensions import REQUESTED_WITH, RinocloudExtension
from rinofs.protocol.limits import MAX_BUNDLED_FILE
from rinofs.rinocloud import sidecars
from rinofs.rinocloud.auth import auth_for
from rinofs.rinocloud.bundles import Bundles
from rinofs.rinocloud.changes import Changes
from rinofs.rinocloud.client import Features, RinocloudClient
from rinofs.rinocloud.direct import DirectReads, DirectSource
from rinofs.rinocloud.moves import Moves
from rinofs.rinocloud.resolver import TOP, ById, Resolver, parse
from rinofs.rinocloud.uploads import Uploader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Iterator, Sequence

    from rinofs.credentials import Credentials
    from rinofs.fs.backend import ListedEntry, WriteBundle
    from rinofs.fs.listings import Age
    from rinofs.http.content.content import Content
    from rinofs.options import Options
    from rinofs.rinocloud.records import Record

_HAS_ID = re.compile(r"(^|/)@[0-9]+(/|$)")
_ETAG = re.compile(r"[0-9a-f]{32}-[0-9]+")

# Shared by all filesystem objects of the process: fsspec creates one for each thread.
_features: Registry[Features] = Registry()
_listings: Registry[Listings[Record]] = Registry()


def _is_alias(path: str) -> bool:
    return _HAS_ID.search(path) is not None


def _is_newer(one: Record, other: Record) -> bool:
    return one.id >= other.id


class RinocloudBackend(Backend):
    """The files and folders of one user at one endpoint.

    Parameters
    ----------
    credentials : Credentials
        Endpoint and token.
    options : Options
        Options of the filesystem.
    url : callable
        Converts a path to its URL for messages.

    Attributes
    ----------
    session : HttpSession
        Sends the requests.
    client : RinocloudClient
        Creates the requests.
    resolver : Resolver
        Finds the records for paths.
    listings : Listings
        Cached listings.
    age : float or Moment
        How old what it tells may be: the age of listings, or asked for since `anew` made it.
    """

    sidecars = sidecars

    def __init__(self, credentials: Credentials, options: Options, url: Callable[[str], str]) -> None:
        endpoint_url, user = credentials.endpoint_url, (credentials.endpoint_url, credentials.identity)
        features = _features.get(endpoint_url, Features)
        headers = {REQUESTED_WITH: "XMLHttpRequest"}
        self.session = shared_session(endpoint_url, credentials, auth_for, options, features.observe, headers)
        self.url = url
        self.options = options
        self.user = user
        self.listings = _listings.get(user, lambda: Listings(_is_alias, _is_newer))
        self.client = RinocloudClient(self.session, features)
        self.resolver = Resolver(self.client, self.listings, url)
        self._uploader = Uploader(self.resolver, options.verify_content)
        self._bundles = Bundles(self.resolver, self._uploader, options.verify_content)
        self._changes = Changes(self.resolver, self._uploader)
        self._moves = Moves(self.resolver, self._changes)
        self._direct = DirectReads(self.client.direct, options)
        self._key = f"{endpoint_url} {credentials.identity}"
        self.age: Age = options.listing_age

    def anew(self) -> RinocloudBackend:
        """Return this backend for one operation, which uses nothing that was known before it."""
        backend = copy.copy(self)
        backend.age = self.listings.moment()
        return backend

    @property
    def change_age(self) -> Moment:
        """Since when what a change acts on must have been asked for.

        An older record could be that of an object which has another path by now.
        """
        return self.age if isinstance(self.age, Moment) else self.listings.moment()

    # Metadata

    def info(self, path: str) -> Info:
        """Describe the object at a path."""
        return info_of(path, self.resolver.record(path, self.age))

    def look_up(self, paths: Iterable[str]) -> None:
        """Ask for many paths at once, and remember them for what follows."""
        self.resolver.records(paths, self.age, self.options.max_concurrency)

    def list_folder(self, path: str) -> list[Info]:
        """List a folder."""
        children = self.resolver.children(path, self.age)
        return _described(children)

    def entries(self, path: str) -> Iterator[ListedEntry]:
        """Iterate over a folder's children."""
        return self.resolver.entries(path, self.age)

    def entries_below(self, path: str) -> Iterator[ListedEntry] | None:
        """Iterate over everything below a folder; None if the server cannot list it."""
        return self.resolver.entries_below(path)

    def descendants(self, path: str) -> list[Info] | None:
        """Describe everything below a folder in one request; None if the server cannot."""
        tree = self.resolver.tree(path)
        return None if tree is None else _described(tree)

    def digests_of(self, info: Info) -> dict[str, str]:
        """Return the digests in an info."""
        etag = str(info.get("etag"))
        found = {name: info.get(name) for name in DIGESTS}
        found["etag"] = etag if _ETAG.fullmatch(etag) else None
        return {kind: digest for kind, digest in found.items() if digest}

    def forget(self, path: str | None) -> None:
        """Remove a path and everything below it from the caches; None stands for everything."""
        if path is None:
            self.listings.clear()
        else:
            self.listings.forget(path)

    def named(self, path: str) -> str:
        """Return a path to the same object that ends in its name; for an earlier version, the path itself."""
        return self.resolver.named(path) or path

    @property
    def read_age(self) -> float:
        """Maximum age in seconds of cached information for reads.

        The extended API resolves a path in one request, so a read can always use the current version.
        """
        return 0.0 if self.client.features.may_have(RinocloudExtension.PATH) else self.options.listing_age

    # Reading

    def locate(self, path: str) -> Pinned:
        """Find the source for a read; without a request if the server itself resolves paths."""
        parts = parse(path)
        names = [part for part in parts if not isinstance(part, ById)]
        if names and len(names) == len(parts) and self.client.features.may_have(RinocloudExtension.PATH):
            if self.options.direct and self.client.features.has(RinocloudExtension.DIRECT):
                listed = self.listings.get(path, self.options.listing_age)
                if listed is not None and listed.entry is not None and self._is_direct(listed.entry.size):
                    return self.pin(path)  # one request more, for a content that does not pass the server
            content = self.client.content_at(names, self.url(path))
            known = self.client.features.extensions
            return Pinned(self._source(content, ""), {}, None, fresh=False, record=known)
        return self.pin(path)

    def relocate(self, path: str, pinned: Pinned, error: Exception) -> Pinned:
        """Return another source if the file or the server turned out to have changed."""
        features = self.client.features
        by_path = pinned.version_id is None
        if by_path and pinned.record is None and not features.may_have(RinocloudExtension.PATH):
            # The attempt assumed extensions; the server turned out to have the published API only.
            return self.pin(path) if isinstance(error, ServiceError) else reraise(error)
        overtaken = isinstance(error, (ContentChangedError, InvalidRequestError))
        if pinned.fresh or not (overtaken or (isinstance(error, NotFoundError) and not by_path)):
            reraise(error)
        return self.pin(path, fresh=True)

    def pin(self, path: str, version_id: int | str | None = None, *, fresh: bool = False) -> Pinned:
        """Find a version of a file, by default the current one."""
        max_age = 0.0 if fresh else self.read_age
        if version_id is None:
            record = self.resolver.record(path, max_age)
        else:
            record = self._version(path, int(version_id), max_age)
        if record.type == "directory":
            raise IsADirectoryError(errno.EISDIR, "is a folder", self.url(path))
        if record.type != "file":
            raise ServiceError("this object has no data to read", self.url(path))
        # The content of an id can grow; a server without etags at least reports the time.
        version = record.etag or f"{record.size}@{record.modified}"
        key = f"{self._key} {record.id} {version.replace(' ', 'T')}"
        source = self._source(self.client.content(record, self.url(path)), key, record.id)
        return Pinned(source, info_of(path, record), record.id, not max_age, record, record.etag)

    def _source(self, content: Content, key: str, number: int | None = None) -> RemoteSource:
        verify = self.options.verify_content
        if number is None or not self._is_direct(content.size):
            return RemoteSource(self.session, content, key, verify)
        return DirectSource(self.session, content, key, verify, number, direct=self._direct)

    def _is_direct(self, size: int | None) -> bool:
        """Return whether a content of a size might be read from the store of the server."""
        if not self.options.direct or size is None or size <= MAX_BUNDLED_FILE:
            return False
        return self.client.features.has(RinocloudExtension.DIRECT)

    def _version(self, path: str, number: int, max_age: float) -> Record:
        try:
            current = self.resolver.record(path, max_age)
            if number == current.id:
                return current
            if number in current.versions:
                return self.client.metadata(number, self.url(path))
        except NotFoundError:
            if not max_age:
                raise
        if max_age:
            return self._version(path, number, 0.0)  # it may have been created since the last request
        raise NotFoundError(f"no version {number}; see versions()", self.url(path))

    def versions(self, path: str) -> list[Info]:
        """Describe all versions of a file, oldest first."""
        current = self.resolver.record(path, self.read_age)
        earlier = run(
            lambda number: self.client.metadata(number, self.url(path)),
            current.versions,
            self.options.max_concurrency,
        )
        return [info_of(path, record) for record in (*earlier, current)]

    def earlier_versions(self, path: str) -> list[int | str]:
        """Return the ids of the earlier versions of a file, oldest first."""
        return list(self.resolver.record(path, self.read_age).versions)

    def prune(self, path: str, version_id: int) -> None:
        """Delete one earlier version of a file."""
        record = self.resolver.record(path, 0)
        if version_id == record.id:
            raise NotAllowedError("this is the current version; rm deletes the file", self.url(path))
        if version_id not in record.versions:
            raise NotFoundError(f"there is no version {version_id}; see versions()", self.url(path))
        with self.listings.changing(path):
            self._changes.prune(version_id, self.url(path))
        self.listings.forget(path)

    def ukey(self, path: str) -> str:
        """Return a string that changes whenever the content of a file changes."""
        record = self.resolver.record(path, self.read_age)
        return str(tokenize(record.id, record.etag, record.size))

    def read_small(self, paths: Sequence[str]) -> list[bytes | None]:
        """Read several small files with one request; None for each that must be read on its own."""
        return self._bundles.read(paths)

    # Changes

    def send(self, upload: Upload) -> None:
        """Store a content at a path."""
        with self.listings.changing(upload.path):
            self._uploader.send(upload)

    def append(self, path: str, data: bytes) -> bool:
        """Append on the server, for servers without conditional requests; they accept text only."""
        with self.listings.changing(path):
            return self._uploader.append(path, data)

    def write_small(self) -> WriteBundle | None:
        """Return a function that stores several small files with one request; None if the server cannot."""
        return self._bundles.writer()

    def make_folder(self, path: str, *, exist_ok: bool) -> None:
        """Create a folder and its parents."""
        with self.listings.changing(path):
            self._changes.make_folder(path, self.change_age, exist_ok=exist_ok)

    def delete(self, paths: Sequence[str], *, recursive: bool) -> None:
        """Delete all of the paths, or none if one does not exist."""
        with self.listings.changing(*paths):
            left = self._deletable(paths, self.change_age, recursive=recursive)
            try:
                self._changes.delete(left)
            except (NotFoundError, ConflictError):
                # Others changed something right after it was looked up. What does not exist now is an error.
                left = self._deletable(list(left), self.listings.moment(), recursive=recursive)
                self._changes.delete(left)

    def _deletable(self, paths: Sequence[str], age: Age, *, recursive: bool) -> dict[str, Record]:
        deletable: dict[str, Record] = {}
        for path, record in self.resolver.records(paths, age, self.options.max_concurrency).items():
            if record is None:
                raise NotFoundError(path=self.url(path))
            self.refuse_earlier(path)
            if record is TOP:
                raise PermissionError(errno.EPERM, "the top level cannot be deleted", self.url(path))
            if record.type == "directory" and not recursive:
                raise IsADirectoryError(
                    errno.EISDIR, "is a folder; delete it with recursive=True", self.url(path)
                )
            deletable[path] = record
        return deletable

    def delete_empty(self, path: str) -> bool:
        """Delete a folder, unless something is in it."""
        found = self._deletable([path], self.change_age, recursive=True) if path else {}
        if not found or not self.client.features.has(RinocloudExtension.EMPTY):
            return super().delete_empty(path)
        if found[path].type != "directory":
            raise NotADirectoryError(errno.ENOTDIR, "not a folder", self.url(path))
        number = found[path].id
        try:
            with self.listings.changing(path):
                self._changes.delete(found, empty=True)
        except ConflictError:
            # It is not empty, or others have put another one in its place.
            return self.resolver.record(path, 0).id != number and self.delete_empty(path)
        return True

    def copy(self, source: str, target: str) -> bool:
        """Copy on the server; False if it cannot."""
        with self.listings.changing(target):
            return self._retry_if_stale(self._moves.copy, source, target)

    def move(self, source: str, target: str) -> bool:
        """Move on the server; False if it cannot."""
        self.refuse_earlier(source)
        with self.listings.changing(source, target):
            return self._retry_if_stale(self._moves.move, source, target)

    def refuse_earlier(self, path: str) -> None:
        """Raise NotAllowedError if the path is an earlier version."""
        if self.resolver.named(path) is None:
            raise NotAllowedError("earlier versions are read-only", self.url(path))

    def _retry_if_stale(self, act: Callable[[str, Record, str, Age], bool], source: str, target: str) -> bool:
        """Act on what was just looked up, and once more if others changed it meanwhile."""
        age = self.change_age
        record = self.resolver.record(source, age)
        try:
            return act(source, record, target, age)
        except (NotFoundError, ConflictError) as error:
            age = self.listings.moment()
            again = self.resolver.record(source, age)
            if isinstance(error, ConflictError) and again.id == record.id:
                raise
            return act(source, again, target, age)


def info_of(path: str, record: Record) -> dict[str, Any]:
    """Return an info as for `info` and `ls`, with ``mtime``, which pyarrow and FUSE read."""
    info = record.info(path)
    if record.modified is not None:
        info["mtime"] = record.modified.timestamp()
    return info


def _described(records: dict[str, Record]) -> list[Info]:
    """Describe records by path, and take each out: what is not cached is not held beside its description."""
    return [info_of(path, records.pop(path)) for path in list(records)]
