"""From a document and the files beside it to a datapack at the service."""

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
    """What a push did.

    Attributes
    ----------
    datapack : str
        The id of the datapack.
    path : str
        What stands for it in paths.
    made : bool
        Whether it was not there before.
    sent : int
        Files that were sent.
    kept : int
        Files that were there already.
    """

    datapack: str
    path: str
    made: bool
    sent: int
    kept: int


@dataclass(frozen=True, slots=True)
class _File:
    """A file to be sent.

    Attributes
    ----------
    path : str
        Of the first node that it is for.
    link : str
        The link of the nodes in the document.
    place : Place
        Where it is.
    size : int
        Its bytes.
    """

    path: str
    link: str
    place: Place
    size: int


class Pusher:
    """Send datapacks.

    Parameters
    ----------
    datapacks : Datapacks
        The datapacks.
    uploader : Uploader
        Replaces what is there already.
    max_concurrency : int
        Files under way at once, at most.
    verify : bool
        Whether what was stored is checked.
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
        """Make a datapack and send every file, or what is missing of a push that was begun before.

        Parameters
        ----------
        document : Document
            The structure, whose links lead to the files.
        links : Links
            Finds them.
        part : str
            What is to stand for the datapack in paths.
        callback : Callback
            Is told of the bytes.
        resume : bool, optional
            Whether to go on with a datapack that is there already. If not, such a one is a conflict, and a
            push that fails is taken back.

        Raises
        ------
        ConflictError
            If there is another datapack of this name.
        NotFoundError
            If a file is missing; nothing is sent then.
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
                # To look for a name takes a request for each datapack there: to make it tells as well.
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
        """Return the datapack that a part stands for, if it is the one that the service says has its name."""
        for identifier in _UUID.findall(str(conflict)):
            try:
                found = self._datapacks.resolver.again(identifier, self._datapacks.url(part))
            except (NotAllowedError, NotFoundError):
                continue
            if part_of(found) == part:
                return found
        return None

    def _files(self, document: Document, links: Links) -> list[_File]:
        """Return the files behind the links, each once; raises where one is missing."""
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
        """Return which files were never sent, and which are other ones by now."""
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
            body = UploadBody(cast("BinaryIO", hashed), file.size, filename=file.link.rpartition("/")[2])
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
    digest = hashlib.sha1(usedforsecurity=False)  # the service names contents so
    with file.place.fs.open(file.place.path, "rb") as opened:
        while piece := opened.read(_PIECE):
            digest.update(piece)
    return digest.hexdigest()
