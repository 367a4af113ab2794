"""Upload a document and its files as a datapack."""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, cast

from fsspec.callbacks import DEFAULT_CALLBACK

from rinofs.datapack import DataNode, Tree
from rinofs.errors import (
    ConflictError,
    InvalidDatapackError,
    InvalidOptionError,
    NotAllowedError,
    NotFoundError,
)
from rinofs.fs.backend import Upload
from rinofs.fs.transfer.pool import Stop, run
from rinofs.fs.transfer.sources import ProgressReader
from rinofs.http.content.upload import UploadBody
from rinofs.repovizz.delivery import HashingReader, check_hash
from rinofs.repovizz.paths import is_id, part_of
from rinofs.repovizz.records import hash_of, without_links

if TYPE_CHECKING:
    from typing import IO, BinaryIO

    from fsspec.callbacks import Callback

    from rinofs.datapack import Document
    from rinofs.datapack.links import Links, Place
    from rinofs.repovizz.documents.editor import Datapacks
    from rinofs.repovizz.records import Datapack
    from rinofs.repovizz.uploads import Uploader

_PIECE = 1024 * 1024
_UUID = re.compile(r"\b[0-9a-f]{8}(?:-[0-9a-f]{4}){3}-[0-9a-f]{12}\b")


@dataclass(frozen=True, slots=True)
class Pushed:
    """The result of a push.

    Attributes
    ----------
    datapack : str
        Id of the datapack.
    path : str
        Part of the path that stands for it.
    made : bool
        Whether it was created.
    sent : int
        Number of files sent.
    kept : int
        Number of files that were stored already.
    """

    datapack: str
    path: str
    made: bool
    sent: int
    kept: int


@dataclass(frozen=True, slots=True)
class _File:
    """A file to upload.

    Attributes
    ----------
    path : str
        Path of the first node that links to it.
    link : str
        Link in the document.
    place : Place
        Filesystem and path.
    size : int
        Size in bytes.
    """

    path: str
    link: str
    place: Place
    size: int


class Pusher:
    """Uploads datapacks.

    Parameters
    ----------
    datapacks : Datapacks
        Datapacks of the user.
    uploader : Uploader
        Replaces the contents of existing nodes.
    max_concurrency : int
        Maximum number of concurrent uploads.
    verify : bool
        Whether to verify stored contents.
    """

    def __init__(
        self, datapacks: Datapacks, uploader: Uploader, max_concurrency: int, *, verify: bool
    ) -> None:
        self._datapacks = datapacks
        self._uploader = uploader
        self._max_concurrency = max_concurrency
        self._verify = verify

    def push(
        self,
        document: Document,
        links: Links,
        part: str,
        callback: Callback = DEFAULT_CALLBACK,
        *,
        resume: bool = True,
    ) -> Pushed:
        """Create a datapack and upload every file, or what is missing after an interrupted push.

        Parameters
        ----------
        document : Document
            Document with links to the files.
        links : Links
            Finds the files.
        part : str
            Part of the path that stands for the datapack.
        callback : Callback
            Receives the progress in bytes.
        resume : bool, optional
            Whether to continue with an existing datapack. If not, an existing datapack is a conflict, and a
            failed push is undone.

        Raises
        ------
        ConflictError
            If another datapack has this name.
        NotFoundError
            If a file does not exist; nothing is sent then.
        """
        files = self._files(document, links)
        datapack, made = self._found_or_made(part, document)
        if not (made or resume):
            raise ConflictError("a datapack with this name already exists", self._datapacks.url(part))
        missing, changed = (files, []) if made else self._lacking(datapack, document, files)
        callback.set_size(sum(file.size for file in (*missing, *changed)))
        stop = Stop()
        try:
            run(lambda file: self._send(datapack, file, callback, stop), missing, self._max_concurrency, stop)
        except BaseException as error:
            if not resume:
                self._take_back(datapack, part, error)
            raise
        finally:
            self._datapacks.cache.forget(part)
        for file in changed:
            self._replace(part, file, callback, stop)
        sent = len(missing) + len(changed)
        return Pushed(datapack.id, part, made, sent, len(files) - sent)

    def _take_back(self, datapack: Datapack, part: str, error: BaseException) -> None:
        try:
            self._datapacks.client.delete(datapack.id, self._datapacks.url(part))
        except Exception as problem:  # noqa: BLE001 - the first error is the one to be raised
            error.add_note(f"a part of the datapack is left at {self._datapacks.url(part)}: {problem}")

    def _found_or_made(self, part: str, document: Document) -> tuple[Datapack, bool]:
        url = self._datapacks.url(part)
        if (
            not is_id(part)
            and self._datapacks.cache.id_of(part) is None
            and not self._datapacks.client.features.extensions
        ):
            self._datapacks.editor.learn_owner()
            if not self._datapacks.client.features.extensions:
                # Finding a name may need a request for each datapack; an attempt to create it needs one.
                try:
                    return self._datapacks.editor.make(part, url, document), True
                except ConflictError as error:
                    there = self._named_in(error, part)
                    if there is not None:
                        return there, False
        try:
            return self._datapacks.resolver.datapack(part, 0.0), False
        except NotFoundError:
            return self._datapacks.editor.make(part, url, document), True

    def _named_in(self, conflict: ConflictError, part: str) -> Datapack | None:
        """Return the datapack for a part of a path, if the service reports it as the conflicting one."""
        for identifier in _UUID.findall(str(conflict)):
            try:
                found = self._datapacks.resolver.again(identifier, self._datapacks.url(part))
            except (NotAllowedError, NotFoundError):
                continue
            if part_of(found) == part:
                return found
        return None

    def _files(self, document: Document, links: Links) -> list[_File]:
        """Return the files that the links lead to, without duplicates; raises if one does not exist."""
        found: dict[str, _File] = {}
        for path, node in Tree(document).walk():
            if not isinstance(node, DataNode) or node.link in found:
                continue
            if hash_of(node.link) is not None:
                raise InvalidDatapackError(
                    f"{path}: its file {node.link} is on the server only; `rinofs datapack pull` downloads it"
                )
            place = links.find(path, node.link, None)
            try:
                info = place.fs.info(place.path)
            except FileNotFoundError:
                where = str(place.fs.unstrip_protocol(place.path))
                raise NotFoundError(f"the file of the node {path!r} is missing", where) from None
            if info["type"] != "file":
                raise InvalidOptionError(f"{path}: {node.link!r} is not a file")
            found[node.link] = _File(path, node.link, place, int(info["size"]))
        return list(found.values())

    def _lacking(
        self, datapack: Datapack, document: Document, files: list[_File]
    ) -> tuple[list[_File], list[_File]]:
        """Return the files that were never uploaded, and those that have changed since."""
        if without_links(datapack.document) != without_links(document):
            raise ConflictError(
                "a datapack with this name but another structure exists; delete it, or push to another name",
                self._datapacks.url(datapack.name),
            )
        missing, changed = [], []
        for file in files:
            node = datapack.tree.get(file.path)
            stored = hash_of(node.link) if isinstance(node, DataNode) else None
            if stored is None:
                missing.append(file)
            elif self._datapacks.client.features.sha1 and stored != _sha1(file):
                changed.append(file)
        return missing, changed

    def _send(self, datapack: Datapack, file: _File, callback: Callback, stop: Stop) -> None:
        with file.place.fs.open(file.place.path, "rb") as opened:
            hashed = HashingReader(cast("IO[bytes]", ProgressReader(opened, callback, stop)))
            name, digest = file.link.rpartition("/")[2], self._datapacks.client.features.digest
            body = UploadBody(
                cast("BinaryIO", hashed), file.size, filename=name, digest=digest if self._verify else None
            )
            label = self._datapacks.url(f"{part_of(datapack)}/{file.path}")
            content_hash = self._datapacks.client.upload(datapack, file.link, body, label)
            self._datapacks.cache.keep_size(datapack.id, content_hash, file.size)
            if self._verify:
                check_hash(self._datapacks.client.features, hashed.sha1(), content_hash, label)

    def _replace(self, part: str, file: _File, callback: Callback, stop: Stop) -> None:
        with file.place.fs.open(file.place.path, "rb") as opened:
            watched = cast("IO[bytes]", ProgressReader(opened, callback, stop))
            self._uploader.send(Upload(f"{part}/{file.path}", watched, file.size), 0.0)


def _sha1(file: _File) -> str:
    digest = hashlib.sha1(usedforsecurity=False)  # the service's hash
    with file.place.fs.open(file.place.path, "rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
