"""How a content gets to its node: before the node links to it or, where the server cannot, after."""

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
    """A file whose sha1 is taken while it is read from its first byte on.

    Parameters
    ----------
    source : binary file or bytes
        The content; a file from its current position on.
    """

    def __init__(self, source: IO[bytes] | bytes) -> None:
        super().__init__()
        self._file: IO[bytes] = io.BytesIO(source) if isinstance(source, bytes) else source
        self._begin()

    def _begin(self) -> None:
        # The service names contents so; nothing is kept safe by it.
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
        """Go back to the first byte, to send it again."""
        self._begin()
        return self._file.seek(offset, whence)

    def tell(self) -> int:
        """Return the position in the file."""
        return self._file.tell()

    def sha1(self) -> str:
        """Return the hex sha1 of all that was read since the last `seek`."""
        return self._sha1.hexdigest()


def check_hash(features: Features, sha1: str, content_hash: str, label: str) -> None:
    """Compare what was stored with what was sent, where the server names contents by their sha1.

    Raises
    ------
    ContentMismatchError
        If it is something else.
    """
    if sha1 == content_hash.lower():
        features.sha1 = True
    elif features.sha1:
        message = f"the service stored {content_hash}, where {sha1} was sent; write it again"
        raise ContentMismatchError(message, label)


class NodeContent:
    """A content and the node that it is for.

    Parameters
    ----------
    upload : Upload
        The content; its metadata become the node's ``meta``. The node it is ``like`` gives all but name and
        link.
    url : str
        What messages call its path.

    Attributes
    ----------
    inner : str
        The path of the node in its datapack.
    name : str
        The name of the node.
    body : UploadBody
        What is sent.
    """

    def __init__(self, upload: Upload, url: str) -> None:
        self.url = url
        self.inner = parse(upload.path).inner
        self.name = name_of_part(self.inner.rpartition("/")[2])
        self._upload = upload
        self._like: DataNode | None = upload.like
        self._source = HashingReader(upload.source)
        self.body = UploadBody(cast("BinaryIO", self._source), upload.size, filename=self.name)

    def sha1(self) -> str:
        """Return the sha1 of what was sent last."""
        return self._source.sha1()

    def placed(self, document: Document, link: str) -> Document:
        """Return a document in which the node, made if there is none, has a link.

        Raises
        ------
        ConflictError
            If the upload is exclusive, and something is there.
        PreconditionError
            If another content is there than the upload is for.
        IsADirectoryError, NotADirectoryError
            If there is a folder, or a file on the way.
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
        """Raise PreconditionError if a node does not have the content in whose place the upload comes."""
        wanted = self._upload.if_match
        if wanted is None:
            return
        present = hash_of(found.link) if isinstance(found, DataNode) else None
        if present is None or wanted.strip('"') not in {"*", present}:
            raise PreconditionError("another content is there by now; read it again, then retry", self.url)

    def only_content(self, node: DataNode) -> bool:
        """Tell whether a node stays as it is, apart from its link."""
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
    """A way to send contents.

    Parameters
    ----------
    datapacks : Datapacks
        The datapacks.
    verify : bool
        Whether what was stored is checked.
    """

    def __init__(self, datapacks: Datapacks, *, verify: bool) -> None:
        self._datapacks = datapacks
        self._verify = verify

    @abstractmethod
    def send(self, content: NodeContent, datapack: Datapack) -> str:
        """Send a content once; return its hash."""

    def _check(self, content: NodeContent, stored: str) -> None:
        if self._verify:
            check_hash(self._datapacks.client.features, content.sha1(), stored, content.url)


class ContentFirstUpload(Delivery):
    """Send contents to a server that takes them before nodes link to them.

    Nobody sees anything of a content until it is there whole, and checked: then one edit links to it.
    """

    def send(self, content: NodeContent, datapack: Datapack) -> str:
        """Send a content once; return its hash."""
        self._datapacks.editor.check(datapack, lambda document: content.placed(document, ""), content.url)
        stored = self._datapacks.client.store(datapack, content.body, content.url)
        self._check(content, stored)
        self._datapacks.editor.edit(
            datapack, lambda document: content.placed(document, REPOVIZZ + stored), content.url
        )
        return stored


@dataclass(frozen=True, slots=True)
class _Claim:
    """A link that one node alone has.

    Attributes
    ----------
    datapack : Datapack
        The state that has it.
    path : str
        Of the node.
    link : str
        The link.
    made : tuple of str
        Containers that were made on the way, the inner ones first.
    """

    datapack: Datapack
    path: str
    link: str
    made: tuple[str, ...] = ()


class NodeFirstUpload(Delivery):
    """Send contents to a server that takes them for nodes that are there already: the published API.

    A node that is there keeps its content until the new one is stored: where the node shares its link, or
    more than its content changes, the new content is stored for a node of its own first. A new node is there
    without content until that is stored.
    """

    def send(self, content: NodeContent, datapack: Datapack) -> str:
        """Send a content once; return its hash."""
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
        """Replace the content of a node; what else the link is of has to be looked at right before."""
        with self._datapacks.editor.alone(datapack):
            known = self._datapacks.resolver.again(datapack.id, content.url)
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
        """Have a node with a link of its own: the one that the content is for, if it is not there yet."""
        token = secrets.token_hex(8)
        # The name comes last, since the service has it as the name of the download.
        link = f"{token}/{_tame(content.name)}"
        beside = f".upload-{token}"
        seen: list[tuple[str, tuple[str, ...]]] = []

        def edit(document: Document) -> Document:
            placed = content.placed(document, link)  # raises where it cannot be
            tree = Tree(document)
            if content.inner not in tree:
                seen.append((content.inner, _missing_above(tree, content.inner)))
                return placed
            seen.append((beside, ()))
            return edits.add(document, beside, DataNode.create(beside, link, text=_LEFT))

        claimed = self._datapacks.editor.edit(datapack, edit, content.url)
        path, made = seen[-1]
        return _Claim(claimed, path, link, made)

    def _publish(self, content: NodeContent, claim: _Claim, stored: str) -> None:
        """Let the node have the content that was stored for another one, which goes."""

        def edit(document: Document) -> Document:
            placed = content.placed(document, REPOVIZZ + stored)
            return edits.remove(placed, claim.path) if claim.path in Tree(placed) else placed

        self._datapacks.editor.edit(claim.datapack, edit, content.url)

    def _undo(self, content: NodeContent, claim: _Claim, mine: str, error: BaseException) -> None:
        """Leave things as they were before a content that could not be stored."""
        beside = claim.path != content.inner

        def edit(document: Document) -> Document:
            node = Tree(document).get(claim.path)
            if not isinstance(node, DataNode) or node.link != mine:
                return document  # it was stored after all, or is somebody else's by now
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
    """Return the link of the node, if its content is all that changes, and no other node has the link."""
    node = datapack.tree.get(content.inner)
    if not isinstance(node, DataNode) or not is_path(node.link) or datapack.links[node.link] > 1:
        return None
    return node.link if content.only_content(node) else None


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
