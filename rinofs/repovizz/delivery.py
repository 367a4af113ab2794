"""Upload the content of a node: before the node links to it or, if the server cannot, after."""

from __future__ import annotations

import errno
import hashlib
import io
import re
import secrets
from abc import ABC, abstractmethod
from dataclasses import dataclass
from typing import IO, TYPE_CHECKING, Any, BinaryIO, cast

from rinofs.datapack import Container, DataNode, Document, Tree
from rinofs.datapack.document import edits
from rinofs.datapack.document.naming import name_of_part
from rinofs.datapack.document.new import guess_mime
from rinofs.datapack.links import REPOVIZZ, is_path
from rinofs.errors import (
    ConflictError,
    ContentMismatchError,
    OutcomeUnknownError,
    PreconditionError,
    RinofsError,
)
from rinofs.http.content.upload import UploadBody
from rinofs.repovizz.documents.queues import check_name
from rinofs.repovizz.paths import parse
from rinofs.repovizz.records import hash_of

if TYPE_CHECKING:
    from rinofs.fs.backend import Upload
    from rinofs.repovizz.client import Features
    from rinofs.repovizz.documents.editor import Datapacks
    from rinofs.repovizz.records import Datapack


_WILD = re.compile(r"[^\w .+-]")

_LEFT = "Left by an upload that broke off; it can be removed."


class HashingReader(io.RawIOBase):
    """A file that computes the SHA-1 of what is read from it.

    Parameters
    ----------
    source : binary file or bytes
        Content; a file is read from its current position.
    """

    def __init__(self, source: IO[bytes] | bytes) -> None:
        super().__init__()
        self._file: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source
        self._begin()

    def _begin(self) -> None:
        # The service identifies contents by SHA-1; this is not a security measure.
        self._sha1 = hashlib.sha1(usedforsecurity=False)

    def readable(self) -> bool:
        """Return True."""
        return True

    def seekable(self) -> bool:
        """Return True."""
        return True

    def readinto(self, buffer: Any) -> int:
        """Read the next bytes."""
        readinto = getattr(self._file, "readinto", None)
        if readinto is None:
            data = self._file.read(len(buffer))
            buffer[: len(data)] = data
            count = len(data)
        else:
            count = readinto(buffer) or 0
        self._sha1.update(memoryview(buffer)[:count])
        return count

    def seek(self, offset: int, whence: int = io.SEEK_SET) -> int:
        """Return to the first byte, to send the content again."""
        self._begin()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the current position."""
        return self._file.tell()

    def sha1(self) -> str:
        """Return the hex SHA-1 of everything read since the last `seek`."""
        return self._sha1.hexdigest()


def check_hash(features: Features, sha1: str, content_hash: str, label: str) -> None:
    """Compare the hash of the stored content with that of the sent one, if the server uses SHA-1.

    Raises
    ------
    ContentMismatchError
        If they differ.
    """
    if sha1 == content_hash.lower():
        features.sha1 = True
    elif features.sha1:
        message = f"the service stored {content_hash}, where {sha1} was sent; write it again"
        raise ContentMismatchError(message, label)


class NodeContent:
    """A content and its target node.

    Parameters
    ----------
    upload : Upload
        The content; its metadata becomes the node's ``meta``. All fields other than name and link are copied
        from `Upload.like`.
    url : str
        URL of the path, for messages.
    digest : str or None
        Name of the digest to send at its end, which the server verifies before it stores anything.

    Attributes
    ----------
    inner : str
        Path of the node in its datapack.
    part : str
        Part of the path that stands for the datapack.
    name : str
        Name of the node.
    body : UploadBody
        Request body.
    """

    def __init__(self, upload: Upload, url: str, digest: str | None) -> None:
        self.url = url
        place = parse(upload.path)
        self.part, self.inner = place.datapack, place.inner
        self.name = name_of_part(self.inner.rpartition("/")[2])
        self._upload = upload
        self._like: DataNode | None = upload.like
        self._source = HashingReader(upload.source)
        source = cast("BinaryIO", self._source)
        self.body = UploadBody(source, upload.size, filename=self.name, digest=digest)

    def sha1(self) -> str:
        """Return the hex SHA-1 of the content, after it was sent."""
        return self._source.sha1()

    def placed(self, document: Document, link: str) -> Document:
        """Return the document with this link in the node, which is added if it does not exist.

        Raises
        ------
        ConflictError
            If the upload is exclusive and the node exists.
        PreconditionError
            If the current content does not match the upload's `if_match`.
        IsADirectoryError, NotADirectoryError
            If the path is a folder, or a parent is a file.
        """
        found = Tree(document).get(self.inner)
        self.check_match(found)
        if found is None:
            return edits.add(document, self.inner, self._node(None, link))
        if self._upload.exclusive:
            raise ConflictError("already exists", self.url)
        if not isinstance(found, DataNode):
            raise IsADirectoryError(errno.EISDIR, "is a folder", self.url)
        return edits.replace(document, self.inner, self._node(found, link))

    def check_match(self, found: object) -> None:
        """Raise PreconditionError if a node's content does not match the upload's `if_match`."""
        wanted = self._upload.if_match
        if wanted is None:
            return
        present = hash_of(found.link) if isinstance(found, DataNode) else None
        if present is None or wanted.strip('"') not in {"*", present}:
            raise PreconditionError("another content is there by now; read it again, then retry", self.url)

    def only_content(self, node: DataNode) -> bool:
        """Return whether nothing but the link of a node changes."""
        if self._upload.exclusive or self._like is not None:
            return False
        return self._upload.metadata is None or self._upload.metadata == node.meta

    def _node(self, found: DataNode | None, link: str) -> DataNode:
        if self._like is not None:
            name = self.name if found is None else found.name
            node = self._like.without_fields("id").with_fields(name=name, link=link)
        elif found is not None:
            node = found.with_fields(link=link)
        else:
            node = DataNode.create(self.name, link, mime=guess_mime(self.name))
        metadata = self._upload.metadata
        if metadata is None or metadata == node.meta:
            return node
        return node.with_fields(meta=dict(metadata))


class Delivery(ABC):
    """A way to upload contents.

    Parameters
    ----------
    datapacks : Datapacks
        Datapacks of the user.
    verify : bool
        Whether to verify stored contents.
    """

    def __init__(self, datapacks: Datapacks, *, verify: bool) -> None:
        self._datapacks = datapacks
        self._verify = verify

    @abstractmethod
    def send(self, content: NodeContent, datapack: Datapack) -> str:
        """Upload a content once; returns its hash."""

    def _check(self, content: NodeContent, stored: str) -> None:
        if self._verify:
            check_hash(self._datapacks.client.features, content.sha1(), stored, content.url)


class ContentFirstUpload(Delivery):
    """Uploads to a server that accepts contents before nodes link to them.

    A content becomes visible when it is complete and verified, by a single edit that links to it.
    """

    def send(self, content: NodeContent, datapack: Datapack) -> str:
        """Upload a content once; returns its hash."""
        self._datapacks.editor.check(
            datapack, lambda document: content.placed(document, ""), content.url, content.part
        )
        stored = self._datapacks.client.store(datapack, content.body, content.url)
        self._check(content, stored)
        self._datapacks.editor.edit(
            datapack, lambda document: content.placed(document, REPOVIZZ + stored), content.url, content.part
        )
        return stored


@dataclass(frozen=True, slots=True)
class _Claim:
    """A link that belongs to one node only.

    Attributes
    ----------
    datapack : Datapack
        State of the datapack with that link.
    path : str
        Path of the node.
    link : str
        Link.
    made : tuple of str
        Containers created for the node, innermost first.
    """

    datapack: Datapack
    path: str
    link: str
    made: tuple[str, ...] = ()


class NodeFirstUpload(Delivery):
    """Uploads to a server that accepts contents for existing nodes only, as the published API does.

    An existing node keeps its content until the new one is stored: if the node shares its link, or if more
    than its content changes, the new content is first stored in a temporary node. A new node exists without
    content during the upload.
    """

    def send(self, content: NodeContent, datapack: Datapack) -> str:
        """Upload a content once; returns its hash."""
        if _own_link(content, datapack) is not None:
            stored = self._replace(content, datapack)
            if stored is not None:
                return stored
        claim = self._claim(content, datapack)
        mine = claim.link
        try:
            with self._datapacks.editor.uploading(claim.datapack):
                stored = self._upload(content, claim.datapack, claim.path, claim.link)
            mine = REPOVIZZ + stored
            self._check(content, stored)
            if claim.path != content.inner:
                self._publish(content, claim, stored)
        except BaseException as error:
            self._undo(content, claim, mine, error)
            raise
        return stored

    def _replace(self, content: NodeContent, datapack: Datapack) -> str | None:
        """Replace the content of a node; checks right before that no other node has its link."""
        with self._datapacks.editor.alone(datapack):
            known = self._datapacks.resolver.again(datapack.id, content.url)
            check_name(known, content.part, content.url)
            content.check_match(known.tree.get(content.inner))
            link = _own_link(content, known)
            if link is None:
                return None
            stored = self._upload(content, known, content.inner, link)
        self._check(content, stored)
        return stored

    def _upload(self, content: NodeContent, datapack: Datapack, path: str, link: str) -> str:
        url = content.url
        try:
            stored = self._datapacks.client.upload(datapack, link, content.body, url)
        except OutcomeUnknownError:
            there = self._datapacks.resolver.again(datapack.id, url)
            if link in there.links:
                stored = self._datapacks.client.upload(datapack, link, content.body, url)
            else:
                node = there.tree.get(path)
                found = hash_of(node.link) if isinstance(node, DataNode) else None
                if found is None:
                    raise
                stored = found
        self._datapacks.cache.relink(datapack.id, link, REPOVIZZ + stored)
        return stored

    def _claim(self, content: NodeContent, datapack: Datapack) -> _Claim:
        """Return a node with a link of its own: the target, or a temporary node if the target exists."""
        token = secrets.token_hex(8)
        # The name comes last because the service uses it as the file name of downloads.
        link = f"{token}/{_url_safe(content.name)}"
        beside = f".upload-{token}"
        seen: list[tuple[str, tuple[str, ...]]] = []

        def edit(document: Document) -> Document:
            placed = content.placed(document, link)  # raises if the node cannot be placed
            tree = Tree(document)
            if content.inner not in tree:
                seen.append((content.inner, _missing_above(tree, content.inner)))
                return placed
            seen.append((beside, ()))
            return edits.add(document, beside, DataNode.create(beside, link, text=_LEFT))

        claimed = self._datapacks.editor.edit(datapack, edit, content.url, content.part)
        path, made = seen[-1]
        return _Claim(claimed, path, link, made)

    def _publish(self, content: NodeContent, claim: _Claim, stored: str) -> None:
        """Link the target to the content that was stored in a temporary node, and remove that node."""

        def edit(document: Document) -> Document:
            placed = content.placed(document, REPOVIZZ + stored)
            return edits.remove(placed, claim.path) if claim.path in Tree(placed) else placed

        self._datapacks.editor.edit(claim.datapack, edit, content.url, content.part)

    def _undo(self, content: NodeContent, claim: _Claim, mine: str, error: BaseException) -> None:
        """Restore the document after a failed upload."""
        beside = claim.path != content.inner

        def edit(document: Document) -> Document:
            node = Tree(document).get(claim.path)
            if not isinstance(node, DataNode) or node.link != mine:
                return document  # stored after all, or changed by another client
            document = edits.remove(document, claim.path)
            for path in claim.made:
                container = Tree(document).get(path)
                if isinstance(container, Container) and not container.children:
                    document = edits.remove(document, path)
            return document

        try:
            self._datapacks.editor.edit(claim.datapack, edit, content.url)
        except RinofsError:
            left = f"{claim.path} may be left in the datapack: remove it"
            empty = f"{content.url} may be there without content: write it again, or remove it"
            error.add_note(left if beside else empty)


def _own_link(content: NodeContent, datapack: Datapack) -> str | None:
    """Return the link of the node if only its content changes and no other node has that link."""
    node = datapack.tree.get(content.inner)
    if not isinstance(node, DataNode) or not is_path(node.link) or datapack.links[node.link] > 1:
        return None
    return node.link if content.only_content(node) else None


def _url_safe(name: str) -> str:
    """Return a name without characters that some servers do not accept in a URL."""
    return _WILD.sub("_", name)[:100].strip(". ") or "file"


def _missing_above(tree: Tree, inner: str) -> tuple[str, ...]:
    missing = []
    above = inner.rpartition("/")[0]
    while above and above not in tree:
        missing.append(above)
        above = above.rpartition("/")[0]
    return tuple(missing)
