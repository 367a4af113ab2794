"""repovizz2 as an fsspec filesystem."""

from __future__ import annotations

import errno
import tempfile
from typing import TYPE_CHECKING, Any

from fsspec.callbacks import DEFAULT_CALLBACK
from fsspec.core import url_to_fs
from fsspec.utils import tokenize

from rinofs.credentials import Service
from rinofs.datapack import DataNode
from rinofs.datapack import parse as parse_document
from rinofs.datapack.document.naming import part_of_name
from rinofs.datapack.document.validation import check
from rinofs.datapack.links import Links
from rinofs.errors import InvalidDatapackError, InvalidPathError
from rinofs.fs.process import Registry
from rinofs.fs.sessions import shared_session
from rinofs.fs.transfer.outgoing import Upload
from rinofs.http.content.content import open_content
from rinofs.repovizz.changes import Changes
from rinofs.repovizz.client import RepovizzClient
from rinofs.repovizz.documents.access import Access
from rinofs.repovizz.documents.cache import Shelf
from rinofs.repovizz.documents.editor import Editor
from rinofs.repovizz.documents.queues import Queues
from rinofs.repovizz.features import Features
from rinofs.repovizz.infos import info_of_datapack, info_of_document, info_of_node
from rinofs.repovizz.login.auth import auth_for
from rinofs.repovizz.paths import parse
from rinofs.repovizz.pulling import plan_pull
from rinofs.repovizz.pushing import Pushed, Pusher
from rinofs.repovizz.reading import DatapackReading
from rinofs.repovizz.resolver import Resolver
from rinofs.repovizz.sizes import Sizes
from rinofs.repovizz.uploads import Uploader

if TYPE_CHECKING:
    from collections.abc import Callable, Iterable, Sequence

    from fsspec.callbacks import Callback

    from rinofs.credentials import Credentials
    from rinofs.fs.browse import Info
    from rinofs.fs.reading import Pinned
    from rinofs.repovizz.pulling import Plan
    from rinofs.repovizz.resolver import Stored

# Shared by all filesystem objects of the process: fsspec makes one for each thread.
_features: Registry[Features] = Registry()
_shelves: Registry[Shelf] = Registry()
_queues: Registry[Queues] = Registry()


class RepovizzFileSystem(DatapackReading):
    """Datapacks in repovizz2, under ``repovizz://``.

    The first part of a path is a datapack, by its name or its UUID; then come containers and data nodes by
    their names, which show as `rinofs.datapack.document.naming` says. ``datapack.json`` in a datapack is its
    structure: it can be read and written, and is not listed. ``repovizz:`` and a hash in place of a node
    reads the content of that hash.
    """

    protocol = ("repovizz", "repovizz2")
    service = Service("repovizz", ("repovizz", "repovizz2"), "https://repovizz2.upf.edu")

    def _connect(self, credentials: Credentials) -> None:
        options = self.options
        self._features = _features.get(self.endpoint_url, Features)
        self.session = shared_session(
            self.endpoint_url, credentials, auth_for, options, self._features.observe
        )
        user = (self.endpoint_url, self._identity)
        self._shelf = _shelves.get(user, Shelf)
        self._client = RepovizzClient(self.session, self._features)
        self._sizes = Sizes(self._client, self._shelf, options.max_concurrency)
        self._resolver = Resolver(self._client, self._shelf, self.url, options.max_concurrency)
        editor = Editor(self._client, self._resolver, self._shelf, _queues.get(user, Queues))
        access = Access(self._client, self._resolver, self._shelf, editor, self.url)
        verify = options.verify_content
        self._changes = Changes(access)
        self._uploader = Uploader(access, verify=verify)
        self._pusher = Pusher(access, self._uploader, options.max_concurrency, verify=verify)

    # Looking around

    def _info(self, path: str) -> Info:
        place, age = parse(path), self.options.listing_age
        if not place.datapack:
            return {"name": path, "size": 0, "type": "directory"}
        datapack = self._resolver.datapack(place.datapack, age)
        if place.is_document:
            return info_of_document(path, datapack)
        node = datapack.tree.get(place.inner)
        if node is not None:
            return info_of_node(path, datapack, node)
        return self._info_by_hash(path, self._resolver.stored(path, max(age, 1.0)))

    def _info_by_hash(self, path: str, stored: Stored) -> Info:
        identifier = stored.datapack.id
        size = self._shelf.size(identifier, stored.hash)
        if size is None:
            content = self._client.content(identifier, stored.hash, self.url(path))
            with open_content(self.session, content, 0, 1) as stream:  # raises if there is none
                size = stream.size or 0
            self._shelf.keep_size(identifier, stored.hash, size)
        about = {"link": parse(path).inner, "datapack": identifier}
        return {"name": path, "size": size, "type": "file", **about}

    def ls_folder(self, path: str) -> list[Info]:
        """Describe what is in the folder at a path; raises NotADirectoryError if it is none."""
        place, age = parse(path), self.options.listing_age
        if not place.datapack:
            return [info_of_datapack(part, known) for part, known in self._resolver.listing(age).items()]
        if place.is_document:
            self._resolver.datapack(place.datapack, age)  # raises if there is none
            raise NotADirectoryError(errno.ENOTDIR, "this is a file", self.url(path))
        datapack, node = self._resolver.node(path, age)
        if isinstance(node, DataNode):
            raise NotADirectoryError(errno.ENOTDIR, "this is a file", self.url(path))
        children = datapack.tree.children(place.inner)
        return [info_of_node(f"{path}/{part}", datapack, child) for part, child in children.items()]

    def tree_of(self, path: str) -> list[Info] | None:
        """Describe all that is below a datapack or a container; its document is enough for that."""
        place = parse(path)
        if not place.datapack:
            return None
        if place.is_document:
            raise NotADirectoryError(errno.ENOTDIR, "this is a file", self.url(path))
        datapack, node = self._resolver.node(path, self.options.listing_age)
        if isinstance(node, DataNode):
            raise NotADirectoryError(errno.ENOTDIR, "this is a file", self.url(path))
        below = datapack.tree.walk(place.inner)
        return [info_of_node(f"{place.datapack}/{inner}", datapack, found) for inner, found in below]

    def measure(self, infos: Iterable[Info]) -> None:
        """Set the sizes that are None; they stay so where a content was not uploaded yet."""
        self._sizes.fill_in(infos)

    def invalidate_cache(self, path: str | None = None) -> None:
        """Look again before what is known of a datapack is used, by default of all."""
        self._shelf.forget(None if path is None else parse(self._strip_protocol(path)).datapack)
        super().invalidate_cache(path)

    def checksum(self, path: str) -> int:
        """Return a number that changes with the content of a file."""
        return int(self.ukey(path), 16)

    def ukey(self, path: str) -> str:
        """Return a text that changes with the content of a file."""
        path = self._strip_protocol(path)
        if self._is_document(path):
            datapack = self._datapack(path)
            return str(tokenize(datapack.id, datapack.text))
        stored = self._resolver.stored(path, self._read_age())
        return str(tokenize(stored.datapack.id, stored.hash))

    # Whole datapacks

    def push(
        self,
        document: str,
        path: str = "",
        callback: Callback = DEFAULT_CALLBACK,
        *,
        resume: bool = True,
        **options: Any,
    ) -> Pushed:
        """Make a datapack of a document and the files that it links to.

        Where the datapack is there already, with this structure, only what is missing of it is sent.

        Parameters
        ----------
        document : str
            Path or URL of the document; links are found from where it is.
        path : str
            The name of the datapack; by default the one in the document.
        callback : Callback
            Is told of the bytes.
        resume : bool, optional
            Whether to go on with a datapack that is there already. If not, such a one is a conflict, and a
            push that fails is taken back.
        **options
            Of the filesystem that the document is on.

        Returns
        -------
        Pushed
            What was done.

        Raises
        ------
        InvalidDatapackError
            If it is no valid document.
        NotFoundError
            If a file is missing; nothing is sent then.
        ConflictError
            If there is another datapack of this name.
        """
        there, where = url_to_fs(document, **options)
        try:
            structure = parse_document(there.cat_file(where))
            check(structure)
        except InvalidDatapackError as error:
            raise InvalidDatapackError(f"{document}: {error}") from error
        part = self._strip_protocol(path) or part_of_name(structure.info.name)
        if not part or "/" in part:
            raise InvalidPathError(f"{part!r} is no name for a datapack; push to repovizz://NAME")
        return self._pusher.push(structure, Links(there, where, None), part, callback, resume=resume)

    def plan_pull(self, path: str, local_path: Callable[[str], str]) -> Plan:
        """Say which contents of a datapack go to which files on this machine.

        Parameters
        ----------
        path : str
            The datapack.
        local_path : callable
            Returns the path that a file can have on this machine for one in the datapack's tree.
        """
        path = self._strip_protocol(path)
        if not path or "/" in path:
            raise InvalidPathError(f"{self.url(path)} is no datapack: pull repovizz://NAME")
        return plan_pull(self._resolver.datapack(path, self._read_age()), local_path)

    # Changing

    def _before(self, path: str) -> Pinned | None:
        try:
            stored = self._resolver.stored(path, 0.0)
        except FileNotFoundError:
            return None
        return None if stored.node is None else self._pinned(path, max_age=1.0)

    def _send(self, upload: Upload) -> None:
        self._uploader.send(upload, self.options.listing_age)

    def _make_folder(self, path: str, *, exist_ok: bool) -> None:
        self._changes.make_folder(path, self.options.listing_age, exist_ok=exist_ok)

    def _delete(self, paths: Sequence[str], *, recursive: bool) -> None:
        self._changes.delete(paths, self.options.listing_age, recursive=recursive)

    def _copy(self, source: str, target: str) -> bool:
        return self._changes.copy(source, target, self.options.listing_age)

    def _move(self, source: str, target: str) -> bool:
        return self._changes.move(source, target, self.options.listing_age)

    def _store_again(self, source: str, target: str, version_id: int | str | None = None) -> None:
        """Download a file and upload it to another datapack, with what its node says of it."""
        node = None if self._is_document(source) else self._resolver.stored(source, self._read_age()).node
        with tempfile.TemporaryFile() as spool:
            self.get_file(source, outfile=spool, version_id=version_id)
            size = spool.tell()
            spool.seek(0)
            self._uploader.send(Upload(target, spool, size), self.options.listing_age, node)
