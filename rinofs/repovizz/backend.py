"""The `Backend` of repovizz2."""

from __future__ import annotations

import copy
import errno
from contextlib import suppress
from dataclasses import dataclass
from typing import TYPE_CHECKING

from fsspec.utils import tokenize

from rinofs.datapack import DataNode, Document
from rinofs.datapack.links import entry_of
from rinofs.errors import (
    AuthenticationError,
    ContentChangedError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    RinofsError,
)
from rinofs.fs.backend import Backend, Pinned, reraise
from rinofs.fs.blocks import shared_blocks
from rinofs.fs.files.reader import SMALL, RemoteSource
from rinofs.fs.files.unstreamed import MemorySource
from rinofs.fs.instances import shared_session
from rinofs.fs.listings import Moment, unsure
from rinofs.fs.process import Registry
from rinofs.fs.transfer.pool import run
from rinofs.http.content.content import open_content
from rinofs.http.content.verify import Verifier
from rinofs.repovizz.changes import Changes
from rinofs.repovizz.client import Features, RepovizzClient
from rinofs.repovizz.documents.cache import DatapackCache
from rinofs.repovizz.documents.editor import Datapacks, Editor
from rinofs.repovizz.documents.queues import Queues
from rinofs.repovizz.login.auth import auth_for
from rinofs.repovizz.paths import parse
from rinofs.repovizz.pushing import Pusher
from rinofs.repovizz.records import hash_of
from rinofs.repovizz.resolver import Resolver, Sizes, Stored
from rinofs.repovizz.uploads import Uploader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Mapping, Sequence

    from rinofs.credentials import Credentials
    from rinofs.datapack import Node
    from rinofs.fs.backend import Info, Upload
    from rinofs.fs.listings import Age
    from rinofs.options import Options
    from rinofs.repovizz.records import Datapack

_STALE_ERRORS = (ContentChangedError, InvalidRequestError, NotAllowedError, NotFoundError)

# Shared by all filesystem objects of the process: fsspec creates one for each thread.
_features: Registry[Features] = Registry()
_shared: Registry[Shared] = Registry()


class Shared:
    """State that the filesystem objects of one user share.

    Attributes
    ----------
    cache : DatapackCache
        Cached datapacks.
    queues : Queues
        Pending edits of all threads.
    """

    def __init__(self) -> None:
        self.cache = DatapackCache()
        self.queues = Queues()


class RepovizzBackend(Backend):
    """The datapacks of one user at one endpoint.

    Parameters
    ----------
    credentials : Credentials
        Endpoint and token.
    options : Options
        Options of the filesystem.
    url : callable
        Converts a path to its URL for messages.
    shared : Shared, optional
        Shared state; by default that of all filesystem objects of the process.

    Attributes
    ----------
    session : HttpSession
        Sends the requests.
    client : RepovizzClient
        Creates the requests.
    resolver : Resolver
        Finds datapacks, nodes and contents.
    pusher : Pusher
        Uploads whole datapacks.
    age : float or Moment
        How old what it tells may be: the age of listings, or asked for since `anew` made it.
    """

    def __init__(
        self,
        credentials: Credentials,
        options: Options,
        url: Callable[[str], str],
        shared: Shared | None = None,
    ) -> None:
        endpoint_url, user = credentials.endpoint_url, (credentials.endpoint_url, credentials.identity)
        features = _features.get(endpoint_url, Features)
        most, verify = options.max_concurrency, options.verify_content
        self.session = shared_session(endpoint_url, credentials, auth_for, options, features.observe)
        self.client = RepovizzClient(self.session, features)
        shared = shared or _shared.get(user, Shared)
        self.cache = shared.cache
        self.resolver = Resolver(self.client, self.cache, url, most)
        editor = Editor(self.client, self.resolver, self.cache, shared.queues, options.listing_age)
        datapacks = Datapacks(self.client, self.resolver, self.cache, editor, url)
        self._url = url
        self._options = options
        self._key = f"{endpoint_url} {credentials.identity}"
        self._sizes = Sizes(self.client, self.cache, most)
        self._datapacks = datapacks
        self.age: Age = options.listing_age
        self._changes = Changes(datapacks, self.age)
        self._uploader = Uploader(datapacks, verify=verify)
        self.pusher = Pusher(datapacks, self._uploader, most, verify=verify)

    def anew(self) -> RepovizzBackend:
        """Return this backend for one operation, which looks up its datapacks anew, each once."""
        backend = copy.copy(self)
        backend.age = self.cache.moment()
        backend._changes = Changes(self._datapacks, backend.age)  # noqa: SLF001 - its own class
        return backend

    # Metadata

    def info(self, path: str) -> Info:
        """Describe the object at a path."""
        place, age = parse(path), self.age
        if not place.datapack:
            return {"name": path, "size": 0, "type": "directory"}
        datapack = self.resolver.datapack(place.datapack, age)
        if place.is_document:
            return _info_of_document(path, datapack)
        node = datapack.tree.get(place.inner)
        if node is not None:
            return _info_of_node(path, datapack, node)
        return self._info_by_hash(
            path, self.resolver.stored(path, age if isinstance(age, Moment) else max(age, 1.0))
        )

    def _info_by_hash(self, path: str, stored: Stored) -> Info:
        identifier = stored.datapack.id
        size = self.cache.size(identifier, stored.hash)
        if size is None:
            content = self.client.content(identifier, stored.hash, self._url(path))
            with open_content(self.session, content, 0, 1) as stream:  # raises if there is none
                size = stream.size or 0
            self.cache.keep_size(identifier, stored.hash, size)
        about = {"link": parse(path).inner, "datapack": identifier}
        return {"name": path, "size": size, "type": "file", **about}

    def look_up(self, paths: Iterable[str]) -> None:
        """Ask for the datapacks of many paths, each once, and remember them for what follows."""

        def ask(part: str) -> None:
            with suppress(RinofsError):  # comes up again where the datapack is used
                self.resolver.datapack(part, self.age)

        parts = dict.fromkeys(parse(path).datapack for path in paths)
        run(ask, filter(None, parts), self._options.max_concurrency)

    def list_folder(self, path: str) -> list[Info]:
        """List a folder."""
        place, age = parse(path), self.age
        if not place.datapack:
            return [_info_of_datapack(part, known) for part, known in self.resolver.listing(age).items()]
        datapack = self._datapack_of_folder(path, age)
        children = datapack.tree.children(place.inner)
        return [_info_of_node(f"{path}/{part}", datapack, child) for part, child in children.items()]

    def descendants(self, path: str) -> list[Info] | None:
        """Describe everything below a datapack or container, which needs its document only."""
        place = parse(path)
        if not place.datapack:
            return None
        datapack = self._datapack_of_folder(path, self.age)
        below = datapack.tree.walk(place.inner)
        return [_info_of_node(f"{place.datapack}/{inner}", datapack, node) for inner, node in below]

    def _datapack_of_folder(self, path: str, max_age: Age) -> Datapack:
        place = parse(path)
        if place.is_document:
            self.resolver.datapack(place.datapack, max_age)  # raises if it does not exist
            raise NotADirectoryError(errno.ENOTDIR, "is a file", self._url(path))
        datapack, node = self.resolver.node(path, max_age)
        if isinstance(node, DataNode):
            raise NotADirectoryError(errno.ENOTDIR, "is a file", self._url(path))
        return datapack

    def fill_sizes(self, infos: Iterable[Info]) -> None:
        """Fill in sizes that are None; those of contents that were not uploaded yet stay None."""
        self._sizes.fill_in(infos)

    def digests_of(self, info: Info) -> dict[str, str]:
        """Return the hash of a content as ``sha1``, if the server is known to use SHA-1."""
        content_hash = hash_of(str(info.get("link") or ""))
        return {"sha1": content_hash} if content_hash and self.client.features.sha1 else {}

    def forget(self, path: str | None) -> None:
        """Refresh a datapack before its cached state is used; None stands for all datapacks."""
        self.cache.forget(None if path is None else parse(path).datapack)

    # Reads

    def pin(self, path: str, version_id: int | str | None = None, *, fresh: bool = False) -> Pinned:
        """Find the content of a node or of a hash (`version_id`), or the document of a datapack."""
        place, max_age = parse(path), 0.0 if fresh else self.age
        if place.is_document:
            datapack = self.resolver.datapack(place.datapack, max_age)
            document = MemorySource.of(datapack.text)
            return Pinned(document, _info_of_document(path, datapack), document.key)
        if version_id is not None:
            stored = Stored(self.resolver.datapack(place.datapack, max_age), str(version_id), None)
        else:
            stored = self.resolver.stored(path, max_age)
        identifier = stored.datapack.id
        size = self.cache.size(identifier, stored.hash)
        content = self.client.content(identifier, stored.hash, self._url(path), size)
        key = f"{self._key} {identifier} {stored.hash}"
        verify = self._options.verify_content
        source = HashedSource(self.session, content, key, verify, self.cache, identifier, stored.hash)
        info: Info = {"name": path, "type": "file", "datapack": identifier}
        if stored.node is not None:
            info = _info_of_node(path, stored.datapack, stored.node)
        about = {**info, "size": size, "etag": stored.hash}
        return Pinned(source, about, stored.hash, fresh, stored.node, stored.hash)

    def relocate(self, path: str, pinned: Pinned, error: Exception) -> Pinned:
        """Look up a node again whose content no longer exists."""
        stale = isinstance(error, _STALE_ERRORS) and not isinstance(error, AuthenticationError)
        return self.pin(path, fresh=True) if stale and not pinned.fresh else reraise(error)

    def ukey(self, path: str) -> str:
        """Return a string that changes whenever the content of a file changes."""
        place, age = parse(path), self.age
        if place.is_document:
            datapack = self.resolver.datapack(place.datapack, age)
            return str(tokenize(datapack.id, datapack.text))
        stored = self.resolver.stored(path, age)
        return str(tokenize(stored.datapack.id, stored.hash))

    # Changes

    def send(self, upload: Upload) -> None:
        """Store a content in its node, creating the datapack and containers."""
        with unsure(self.cache.forget):
            self._uploader.send(upload, self.age)

    def make_folder(self, path: str, *, exist_ok: bool) -> None:
        """Create a datapack or container, and its parents."""
        with unsure(self.cache.forget):
            self._changes.make_folder(path, exist_ok=exist_ok)

    def delete(self, paths: Sequence[str], *, recursive: bool) -> None:
        """Remove datapacks and nodes; all of them, or none if one does not exist."""
        with unsure(self.cache.forget):
            self._changes.delete(paths, recursive=recursive)

    def delete_copied(self, path: str, copied: Mapping[str, Info]) -> bool:
        """Remove a datapack or node, but not what others have changed since it was copied."""
        with unsure(self.cache.forget):
            self._changes.delete_copied(path, copied)
        return True

    def copy(self, source: str, target: str) -> bool:
        """Copy a node within its datapack; False if the target is in another one."""
        with unsure(self.cache.forget):
            return self._changes.copy(source, target)

    def move(self, source: str, target: str) -> bool:
        """Move a node within its datapack, or rename a datapack; False if they are in two datapacks."""
        with unsure(self.cache.forget):
            return self._changes.move(source, target)


@dataclass(frozen=True, slots=True)
class HashedSource(RemoteSource):
    """A content addressed by its hash; parts that were read before are not downloaded again.

    Attributes
    ----------
    cache : DatapackCache
        Caches the size.
    datapack : str
        Id of the datapack.
    hash : str
        Hash of the content.
    """

    cache: DatapackCache
    datapack: str
    hash: str

    def read(self, start: int = 0, stop: int | None = None) -> bytes:
        """Return the bytes [start, stop), as a slice; the whole content is verified."""
        size = self.content.size
        if size is not None:
            first, last, _ = slice(start, stop).indices(size)
            if first >= last:
                return b""
            held = shared_blocks.held(self.key, first, last)
            if held is not None:
                return held
        data = super(HashedSource, self).read(start, stop)
        if not start and stop is None:
            self._keep(data, len(data))
        return data

    def _keep(self, data: bytes, size: int) -> None:
        if len(data) <= shared_blocks.max_bytes:
            shared_blocks.keep(self.key, 0, data)
        self.cache.keep_size(self.datapack, self.hash, size)

    def _find_size(self) -> int:
        """Find out the size with a request that also returns the beginning."""
        with open_content(self.session, self.content, 0, SMALL) as stream:
            data = stream.read()
            if stream.size is None and len(data) >= SMALL:
                return super(HashedSource, self)._find_size()
            size = len(data) if stream.size is None else stream.size
            if self.verify and len(data) == size:
                verifier = Verifier.for_response(stream.headers, None, size, label=self.content.label)
                verifier.feed(data)
                verifier.finish()
        self._keep(data, size)
        return size


def _info_of_datapack(path: str, identifier: str) -> Info:
    return {"name": path, "size": 0, "type": "directory", "id": identifier, "datapack": identifier}


def _info_of_document(path: str, datapack: Datapack) -> Info:
    about = {"mime": "application/json", "datapack": datapack.id}
    return {"name": path, "size": len(datapack.text), "type": "file", **about}


def _info_of_node(path: str, datapack: Datapack, node: Document | Node) -> Info:
    """Describe a node; the size of its content is not known yet."""
    if isinstance(node, Document):
        return _info_of_datapack(path, datapack.id)
    info = {**entry_of(path, node), "datapack": datapack.id}
    if not isinstance(node, DataNode):
        return info
    return {**info, "etag": hash_of(node.link), "metadata": dict(node.meta)}
