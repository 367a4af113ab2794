"""Write files: find the node for a path, and try again if other clients change it meanwhile."""

from __future__ import annotations

import errno
from typing import TYPE_CHECKING

from rinofs.datapack import parse as parse_document
from rinofs.datapack.document.naming import name_of_part
from rinofs.errors import (
    ConflictError,
    InvalidDatapackError,
    InvalidPathError,
    NotAllowedError,
    NotFoundError,
    PreconditionError,
)
from rinofs.repovizz.delivery import ContentFirstUpload, NodeContent, NodeFirstUpload
from rinofs.repovizz.paths import parse

if TYPE_CHECKING:
    from rinofs.fs.backend import Upload
    from rinofs.fs.listings import Age
    from rinofs.repovizz.documents.editor import Datapacks

_TRIES = 5
"""Maximum number of attempts to upload to a node that other clients change."""

_STALE_STATUSES = frozenset({403, 404, 412})


class Uploader:
    """Uploads contents.

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
        self._content_first = ContentFirstUpload(datapacks, verify=verify)
        self._node_first = NodeFirstUpload(datapacks, verify=verify)

    def send(self, upload: Upload, max_age: Age) -> None:
        """Store a content at its path, creating the datapack and containers.

        Parameters
        ----------
        upload : Upload
            The content; its metadata becomes the node's ``meta``. `Upload.like` is a `DataNode`.
        max_age : float or Moment
            Maximum age of cached states in seconds, or the moment since when they must have been asked for.

        Raises
        ------
        ConflictError
            If it is exclusive and the path exists.
        IsADirectoryError, NotADirectoryError
            If the path is a folder, or a parent is a file.
        ContentMismatchError
            If the server stored another content.
        """
        place = parse(upload.path)
        if upload.tags is not None:
            url = self._datapacks.url(upload.path)
            raise NotImplementedError(f"{url}: nodes have no tags; use metadata")
        if not place.inner:
            self._refuse_top(upload.path, max_age)
        elif place.is_document:
            self._send_document(upload, max_age)
        else:
            for part in place.inner.split("/"):
                name_of_part(part)  # raises for names that are not allowed
            self._send(upload, max_age)

    def _refuse_top(self, path: str, max_age: Age) -> None:
        try:
            self._datapacks.resolver.datapack(path, max_age)
        except NotFoundError:
            url = self._datapacks.url(path)
            raise InvalidPathError(f"files must be inside a datapack; write to {url}/NAME") from None
        raise IsADirectoryError(errno.EISDIR, "is a datapack", self._datapacks.url(path))

    def _send_document(self, upload: Upload, max_age: Age) -> None:
        url = self._datapacks.url(upload.path)
        data = upload.source if isinstance(upload.source, bytes) else upload.source.read()
        try:
            document = parse_document(data)
        except InvalidDatapackError as error:
            raise InvalidDatapackError(f"{url}: {error}") from error
        part = parse(upload.path).datapack
        for age in (max_age, 0.0):
            try:
                datapack = self._datapacks.resolver.datapack(part, age)
            except NotFoundError:
                self._datapacks.editor.make(part, self._datapacks.url(part), document)
                return
            if upload.exclusive:
                raise ConflictError("the document of a datapack already exists", url)
            try:
                self._datapacks.editor.edit(datapack, lambda _: document, url, part)
            except (NotFoundError, NotAllowedError) as error:
                # Another client renamed or removed the datapack since it was looked up.
                if age == 0.0 or error.status not in _STALE_STATUSES:
                    raise
                self._datapacks.cache.forget(part)
            else:
                return

    def _send(self, upload: Upload, max_age: Age) -> None:
        place = parse(upload.path)
        content: NodeContent | None = None
        for tries_left in reversed(range(_TRIES)):
            datapack = self._datapacks.editor.found_or_made(
                place.datapack, self._datapacks.url(place.datapack), max_age
            )
            features = self._datapacks.client.features
            if content is None:
                digest = features.digest if self._verify else None
                content = NodeContent(upload, self._datapacks.url(upload.path), digest)
            delivery = self._content_first if features.stores else self._node_first
            try:
                content_hash = delivery.send(content, datapack)
            except (PreconditionError, NotFoundError, NotAllowedError) as error:
                # Another client changed, moved or removed the node or its datapack during the upload.
                if not tries_left or error.status not in _STALE_STATUSES:
                    raise
                self._datapacks.cache.forget(place.datapack)
                max_age = 0.0
            else:
                self._datapacks.cache.keep_size(datapack.id, content_hash, upload.size)
                return
