"""One content on its way to its node: what is sent, and how the document is to look with it."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING, BinaryIO, cast

from rinofs.datapack import DataNode, Tree
from rinofs.datapack.document import edits
from rinofs.datapack.document.naming import name_of_part
from rinofs.datapack.document.new import guess_mime
from rinofs.errors import ConflictError
from rinofs.http.content.upload import UploadBody
from rinofs.repovizz.paths import parse
from rinofs.repovizz.sources import Hashed

if TYPE_CHECKING:
    from rinofs.datapack import Document
    from rinofs.fs.backend import Upload


class Sending:
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
        self._source = Hashed(upload.source)
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
        IsADirectoryError, NotADirectoryError
            If there is a folder, or a file on the way.
        """
        found = Tree(document).get(self.inner)
        if found is None:
            return edits.add(document, self.inner, self._node(None, link))
        if self._upload.exclusive:
            raise ConflictError("there is something already", self.url)
        if not isinstance(found, DataNode):
            raise IsADirectoryError(errno.EISDIR, "there is a folder", self.url)
        return edits.replace(document, self.inner, self._node(found, link))

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
