"""Sending a content to its node: to that node alone, checked, and never half."""

from __future__ import annotations

import errno
import re
import secrets
from dataclasses import dataclass
from typing import TYPE_CHECKING, BinaryIO, cast

from rinofs.datapack import Container, DataNode, Tree, edits
from rinofs.datapack import parse as parse_document
from rinofs.datapack.links import REPOVIZZ
from rinofs.datapack.naming import name_of_part
from rinofs.datapack.new import guess_mime
from rinofs.errors import (
    ConflictError,
    ContentMismatchError,
    InvalidDatapackError,
    InvalidPathError,
    NotAllowedError,
    NotFoundError,
    OutcomeUnknownError,
    PreconditionError,
    RinofsError,
)
from rinofs.http.upload import UploadBody
from rinofs.repovizz.paths import parse
from rinofs.repovizz.records import hash_of
from rinofs.repovizz.sources import Hashed

if TYPE_CHECKING:
    from collections.abc import Callable

    from rinofs.datapack import Document
    from rinofs.fs.writing import Upload
    from rinofs.repovizz.client import RepovizzClient
    from rinofs.repovizz.editor import Editor
    from rinofs.repovizz.records import Datapack
    from rinofs.repovizz.resolver import Resolver
    from rinofs.repovizz.shelf import Shelf

_TRIES = 5
"""How often a content is sent to a node that others change meanwhile."""

_WILD = re.compile(r"[^\w .+-]")

_OVERTAKEN = frozenset({403, 404, 412})


@dataclass(frozen=True, slots=True)
class _Claim:
    """A link that only the node has which a content is for.

    Attributes
    ----------
    datapack : Datapack
        The state that has it.
    link : str
        The link.
    before : DataNode or None
        The node as it was; None if it was made.
    made : tuple of str
        Containers that were made on the way, the inner ones first.
    """

    datapack: Datapack
    link: str
    before: DataNode | None
    made: tuple[str, ...]


class Uploader:
    """Send contents.

    Parameters
    ----------
    client : RepovizzClient
        Sends the requests.
    resolver : Resolver
        Finds the nodes.
    shelf : Shelf
        Is told of what was stored.
    editor : Editor
        Adds nodes, and makes datapacks.
    url : callable
        Turns a path into what messages call it.
    verify : bool
        Whether what was stored is checked.
    """

    def __init__(
        self,
        client: RepovizzClient,
        resolver: Resolver,
        shelf: Shelf,
        editor: Editor,
        url: Callable[[str], str],
        verify: bool,
    ) -> None:
        self._client = client
        self._resolver = resolver
        self._shelf = shelf
        self._editor = editor
        self._url = url
        self._verify = verify

    def send(self, upload: Upload, max_age: float, like: DataNode | None = None) -> None:
        """Store a content under its path, making datapack and containers on the way.

        Parameters
        ----------
        upload : Upload
            The content; its metadata become the node's ``meta``.
        max_age : float
            Seconds that what is known may be old.
        like : DataNode, optional
            What the node is to be like, apart from its name and link.

        Raises
        ------
        ConflictError
            If it is exclusive and something is there.
        IsADirectoryError, NotADirectoryError
            If there is a folder, or a file on the way.
        ContentMismatchError
            If the server stored something else.
        """
        place = parse(upload.path)
        if upload.tags is not None:
            url = self._url(upload.path)
            raise NotImplementedError(f"nodes have no tags; put what you mean into metadata: {url}")
        if not place.inner:
            self._refuse_top(upload.path, max_age)
        elif place.is_document:
            self._send_document(upload, max_age)
        else:
            for part in place.inner.split("/"):
                name_of_part(part)  # raises for what no node can be called
            self._send(upload, like, max_age)

    def _refuse_top(self, path: str, max_age: float) -> None:
        try:
            self._resolver.datapack(path, max_age)
        except NotFoundError:
            url = self._url(path)
            raise InvalidPathError(f"files are in datapacks, not beside them: write {url}/NAME") from None
        raise IsADirectoryError(errno.EISDIR, "this is a datapack", self._url(path))

    def _send_document(self, upload: Upload, max_age: float) -> None:
        url = self._url(upload.path)
        data = upload.source if isinstance(upload.source, bytes) else upload.source.read()
        try:
            document = parse_document(data)
        except InvalidDatapackError as error:
            raise InvalidDatapackError(f"{url}: {error}") from error
        part = parse(upload.path).datapack
        try:
            datapack = self._resolver.datapack(part, max_age)
        except NotFoundError:
            self._editor.make(part, self._url(part), document)
            return
        if upload.exclusive:
            raise ConflictError("every datapack has its document already", url)
        self._editor.edit(datapack, lambda _: document, url)

    def _send(self, upload: Upload, like: DataNode | None, max_age: float) -> None:
        place = parse(upload.path)
        sending = _Sending(
            self._client, self._resolver, self._shelf, self._editor, upload, like, self._url(upload.path)
        )
        for tries_left in reversed(range(_TRIES)):
            datapack = self._editor.found_or_made(place.datapack, self._url(place.datapack), max_age)
            try:
                content_hash = sending.send(datapack)
            except (PreconditionError, NotFoundError, NotAllowedError) as error:
                # Others changed, moved or removed the node, or its datapack, while this was under way.
                if not tries_left or error.status not in _OVERTAKEN:
                    raise
                self._shelf.forget(place.datapack)
                max_age = 0.0
            else:
                self._shelf.keep_size(datapack.id, content_hash, upload.size)
                self.check(sending.sha1(), content_hash, upload.path)
                return

    def check(self, sha1: str, content_hash: str, path: str) -> None:
        """Compare what was stored with what was sent, where the server names contents by their sha1.

        Raises
        ------
        ContentMismatchError
            If it is something else.
        """
        features = self._client.features
        if not self._verify:
            return
        if sha1 == content_hash.lower():
            features.sha1 = True
        elif features.sha1:
            raise ContentMismatchError(
                f"the service stored {content_hash}, where {sha1} was sent; write it again", self._url(path)
            )


class _Sending:
    """One content on its way."""

    def __init__(
        self,
        client: RepovizzClient,
        resolver: Resolver,
        shelf: Shelf,
        editor: Editor,
        upload: Upload,
        like: DataNode | None,
        url: str,
    ) -> None:
        self._client = client
        self._resolver = resolver
        self._shelf = shelf
        self._editor = editor
        self._upload = upload
        self._like = like
        self._url = url
        self._inner = parse(upload.path).inner
        self._name = name_of_part(self._inner.rpartition("/")[2])
        self._source = Hashed(upload.source)
        self._body = UploadBody(cast("BinaryIO", self._source), upload.size, filename=self._name)

    def sha1(self) -> str:
        """Return the sha1 of what was sent last."""
        return self._source.sha1()

    def send(self, datapack: Datapack) -> str:
        """Send the content once; return its hash."""
        if self._replaceable(datapack) is not None and not self._client.features.etags:
            stored = self._replace_unguarded(datapack)
            if stored is not None:
                return stored
        elif self._replaceable(datapack) is not None:
            known = datapack if datapack.etag else self._resolver.again(datapack.id, self._url)
            link = self._replaceable(known)
            if link is not None:
                return self._store(known, link, guarded=True)
        claim = self._claim(datapack)
        try:
            return self._store(claim.datapack, claim.link, guarded=False)
        except BaseException as error:
            self._undo(claim, error)
            raise

    def _replace_unguarded(self, datapack: Datapack) -> str | None:
        """Replace the content where no etag guards it: what it is of has to be looked at right before."""
        with self._editor.alone(datapack):
            known = self._resolver.again(datapack.id, self._url)
            link = self._replaceable(known)
            return None if link is None else self._upload_to(known, link, guarded=False)

    def _replaceable(self, datapack: Datapack) -> str | None:
        """Return the link of the node, if its content is all that changes, and no other node has the link."""
        node = datapack.tree.get(self._inner)
        if not isinstance(node, DataNode) or not node.link or datapack.links[node.link] > 1:
            return None
        if self._upload.exclusive or self._like is not None:
            return None
        metadata = self._upload.metadata
        return node.link if metadata is None or metadata == node.meta else None

    def _store(self, datapack: Datapack, link: str, *, guarded: bool) -> str:
        with self._editor.uploading(datapack, self._upload.size):
            return self._upload_to(datapack, link, guarded=guarded)

    def _upload_to(self, datapack: Datapack, link: str, *, guarded: bool) -> str:
        try:
            stored = self._client.upload(datapack, link, self._body, self._url, guarded=guarded)
        except OutcomeUnknownError:
            there = self._resolver.again(datapack.id, self._url)
            if link in there.links:
                stored = self._client.upload(datapack, link, self._body, self._url, guarded=guarded)
            else:
                node = there.tree.get(self._inner)
                found = hash_of(node.link) if isinstance(node, DataNode) else None
                if found is None:
                    raise
                stored = found
        self._shelf.relink(datapack.id, link, REPOVIZZ + stored)
        return stored

    def _claim(self, datapack: Datapack) -> _Claim:
        """Have the node, made if there is none, link to where no other node does."""
        # The name comes last, since the service has it as the name of the download.
        link = f"{secrets.token_hex(8)}/{_tame(self._name)}"
        seen: list[tuple[DataNode | None, tuple[str, ...]]] = []

        def edit(document: Document) -> Document:
            tree = Tree(document)
            found = tree.get(self._inner)
            if found is None:
                seen.append((None, _missing_above(tree, self._inner)))
                return edits.add(document, self._inner, self._node(None, link))
            if self._upload.exclusive:
                raise ConflictError("there is something already", self._url)
            if not isinstance(found, DataNode):
                raise IsADirectoryError(errno.EISDIR, "there is a folder", self._url)
            seen.append((found, ()))
            return edits.replace(document, self._inner, self._node(found, link))

        claimed = self._editor.edit(datapack, edit, self._url)
        return _Claim(claimed, link, *seen[-1])

    def _node(self, found: DataNode | None, link: str) -> DataNode:
        if self._like is not None:
            name = self._name if found is None else found.name
            node = self._like.without_fields("id").with_fields(name=name, link=link)
        elif found is not None:
            node = found.with_fields(link=link)
        else:
            node = DataNode.create(self._name, link, mime=guess_mime(self._name))
        metadata = self._upload.metadata
        if metadata is None or metadata == node.meta:
            return node
        return node.with_fields(meta=dict(metadata))

    def _undo(self, claim: _Claim, error: BaseException) -> None:
        """Leave things as they were before a content that could not be stored."""

        def edit(document: Document) -> Document:
            node = Tree(document).get(self._inner)
            if not isinstance(node, DataNode) or node.link != claim.link:
                return document  # it was stored after all, or is somebody else's by now
            if claim.before is not None:
                return edits.replace(document, self._inner, claim.before)
            document = edits.remove(document, self._inner)
            for path in claim.made:
                container = Tree(document).get(path)
                if isinstance(container, Container) and not container.children:
                    document = edits.remove(document, path)
            return document

        try:
            self._editor.edit(claim.datapack, edit, self._url)
        except RinofsError:
            error.add_note(f"{self._url} may be there without content: write it again, or remove it")


def _tame(name: str) -> str:
    """Return a name without the characters that some server may not find in an address."""
    return _WILD.sub("_", name)[:100].strip(". ") or "file"


def _missing_above(tree: Tree, inner: str) -> tuple[str, ...]:
    missing = []
    above = inner.rpartition("/")[0]
    while above and above not in tree:
        missing.append(above)
        above = above.rpartition("/")[0]
    return tuple(missing)
