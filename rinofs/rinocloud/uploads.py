"""Upload a content to a path: exactly once, verified, and never partially."""

from __future__ import annotations

import errno
import json
import math
import re
from dataclasses import dataclass
from typing import TYPE_CHECKING, Any, BinaryIO, cast

from rinofs.errors import (
    ConflictError,
    ContentMismatchError,
    InvalidRequestError,
    NotAllowedError,
    NotFoundError,
    OutcomeUnknownError,
    PreconditionError,
)
from rinofs.http.content.upload import UploadBody
from rinofs.protocol.digests import EtagHasher
from rinofs.protocol.extensions import RinocloudExtension
from rinofs.protocol.limits import MAX_JSON_BODY
from rinofs.rinocloud.client import NO_SUCH_ENDPOINT
from rinofs.rinocloud.resolver import TOP, ById, parse

if TYPE_CHECKING:
    from collections.abc import Mapping

    from rinofs.fs.backend import Upload
    from rinofs.rinocloud.client import Features
    from rinofs.rinocloud.records import Record
    from rinofs.rinocloud.resolver import Resolver

_TAKEN = 412

_TRIES = 20
"""Maximum number of attempts to append to a file that others keep replacing."""

APPEND = "append"
"""The endpoint that appends to a content."""

_OWN_ETAG = re.compile(r"[0-9a-f]{32}-[0-9]+")


@dataclass(frozen=True, slots=True)
class Target:
    """The location of a new object.

    Attributes
    ----------
    folder : int or None
        Id of a folder that the path names by its id; None is the top level.
    name : str
        Names below that folder, joined by slashes: the server creates folders as needed.
    """

    folder: int | None
    name: str


class Uploader:
    """Uploads contents.

    Parameters
    ----------
    resolver : Resolver
        Finds the objects; provides the client, the listings and the URLs.
    verify : bool
        Whether to verify stored contents.
    """

    def __init__(self, resolver: Resolver, verify: bool) -> None:
        self._resolver = resolver
        self._client, self._listings, self._url = resolver.client, resolver.listings, resolver.url
        self._verify = verify

    def target(self, path: str) -> Target:
        """Find the location of a new object, without a request if the path contains no ids.

        No id of a folder on the way is used: others may have renamed it, and made another one with its name.

        Raises
        ------
        NotFoundError, NotADirectoryError
            If an id in the path does not exist, or is not that of a folder.
        InvalidPathError
            If the path is not valid.
        """
        names: list[str] = []
        above = path
        for part in reversed(parse(path)):
            if isinstance(part, ById):
                break
            names.insert(0, part)
            above = above.rpartition("/")[0]
        return Target(self._resolver.folder_id(above, 0), "/".join(names))

    def send(self, upload: Upload) -> Record:
        """Store a content at its path.

        Raises
        ------
        ConflictError
            If it is exclusive and the path exists.
        PreconditionError
            If its `if_match` does not match the current content.
        IsADirectoryError, NotADirectoryError
            If the path is a folder, or a parent is not a folder.
        ContentMismatchError
            If the server stored another content.
        """
        path = self._by_name(upload.path)
        self._client.discover()
        self._check_conditions(path, upload)
        target = self.target(path)
        try:
            record = self._send(path, target, upload)
        except (NotFoundError, ConflictError, InvalidRequestError) as error:
            if error.status != _TAKEN:
                self._explain(path)
            raise
        self.remember(path, record)
        return record

    def _by_name(self, path: str) -> str:
        """Return the path to write to, given one that may end in an id."""
        named = self._resolver.named(path)
        if named is None:
            raise NotAllowedError("earlier versions are read-only", self._url(path))
        return named

    def _check_conditions(self, path: str, upload: Upload) -> None:
        """Check, right before an upload, conditions that a server without conditional requests ignores."""
        has = self._client.features.has
        if upload.exclusive and not has(RinocloudExtension.DIGEST):
            self._refuse_taken(path)
        if upload.if_match is not None and not has(RinocloudExtension.CONDITIONS):
            self._refuse_changed(path, _bare(upload.if_match))

    def _refuse_taken(self, path: str) -> None:
        if self._found(path) is not None:
            raise self._taken(path)

    def _refuse_changed(self, path: str, etag: str) -> None:
        found = self._found(path)
        if found is None or (etag not in {"*", found.etag}):
            problem = "another content is there by now; read it again, then retry"
            raise PreconditionError(problem, self._url(path), status=_TAKEN)

    def _found(self, path: str) -> Record | None:
        try:
            return self._resolver.record(path, 0)
        except (NotFoundError, NotADirectoryError):
            return None

    def _taken(self, path: str) -> ConflictError:
        return ConflictError("already exists", self._url(path), status=_TAKEN)

    def _send(self, path: str, target: Target, upload: Upload, *, again: bool = False) -> Record:
        extended = self._client.features.has(RinocloudExtension.DIGEST)
        body = UploadBody(
            cast("BinaryIO | bytes", upload.source),
            upload.size,
            fields=fields_of(target, upload, self._client.features),
            filename=target.name.rpartition("/")[2],
            digest=self._client.features.digest if self._verify else None,
            etag=not extended and self._verify,
        )
        try:
            record = self._client.upload(body, self._condition(upload), self._url(path))
        except PreconditionError:
            if upload.if_match is not None:
                raise
            raise self._taken(path) from None
        except OutcomeUnknownError as unknown:
            stored = self._stored_by_lost_answer(path, body, upload)
            if stored is not None:
                return stored
            if again:
                raise
            body.rewind()
            if upload.exclusive:
                self._refuse_taken(path)  # another client may have created it
            try:
                # Another server, with fewer features, may have taken the place of the first.
                self._check_conditions(path, upload)
                return self._send(path, target, upload, again=True)
            except PreconditionError:
                raise unknown from None  # the first request may have stored the content
        if self._verify and not extended:
            self._check(path, record, body)
        return record

    def _condition(self, upload: Upload) -> dict[str, str]:
        """Return the header that makes the upload conditional."""
        has = self._client.features.has
        if upload.exclusive and has(RinocloudExtension.DIGEST):
            return {"If-None-Match": "*"}
        if upload.if_match is not None and has(RinocloudExtension.CONDITIONS):
            etag = _bare(upload.if_match)
            return {"If-Match": etag if etag == "*" else f'"{etag}"'}
        return {}

    # Append without conditional requests

    def append(self, path: str, data: bytes) -> bool:
        """Append text to a file, on a server without conditional requests.

        Returns
        -------
        bool
            False if the server has conditional requests, or cannot append this to this file.
        """
        self._client.discover()
        features = self._client.features
        if features.has(RinocloudExtension.CONDITIONS) or APPEND in features.lacking:
            return False
        try:
            text = data.decode()
        except UnicodeDecodeError:
            return False
        if len(json.dumps(text)) > MAX_JSON_BODY // 2:
            return False
        path = self._by_name(path)
        for tries_left in reversed(range(_TRIES)):
            try:
                record = self._found(path) or self._empty(path)
                grown = self._client.append(record.id, text, self._url(path))
            except (ConflictError, NotFoundError, InvalidRequestError) as error:
                there = self._found(path)
                if there is not None and there.type == "directory":
                    raise IsADirectoryError(errno.EISDIR, "there is a folder", self._url(path)) from None
                if error.status in NO_SUCH_ENDPOINT and there is not None and there.id == record.id:
                    features.lacks(APPEND)
                    return False
                if not tries_left or isinstance(error, InvalidRequestError):
                    raise
            else:
                self._listings.put(path, grown)
                return True
        raise AssertionError

    def _empty(self, path: str) -> Record:
        """Create an object to append to; if two clients do so at once, one is refused."""
        target = self.target(path)
        above, _, name = target.name.rpartition("/")
        label, folder = self._url(path), target.folder
        if above:
            try:
                folder = self._client.create_folder(above, folder, exist_ok=True, label=label).id
            except ConflictError:
                raise NotADirectoryError(errno.ENOTDIR, "a file is in the place of a folder", label) from None
        record = self._client.create_object(name, folder, label)
        self.remember(path, record)
        return record

    def _stored_by_lost_answer(self, path: str, body: UploadBody, upload: Upload) -> Record | None:
        """Return the record of an upload whose response was lost, if it was stored."""
        body.rewind()
        hasher = EtagHasher()
        if isinstance(upload.source, bytes):
            hasher.update(upload.source)
        else:
            while piece := upload.source.read(1024 * 1024):
                hasher.update(piece)
        try:
            found = self._resolver.record(path, 0)
        except (NotFoundError, NotADirectoryError):
            return None
        same = found.etag == hasher.etag() and found.size == upload.size
        metadata, tags = upload.metadata or {}, tuple(upload.tags or ())
        return found if same and found.metadata == metadata and found.tags == tags else None

    def _check(self, path: str, record: Record, body: UploadBody) -> None:
        comparable = record.etag is not None and _OWN_ETAG.fullmatch(record.etag)
        if (comparable and record.etag != body.etag()) or record.size not in {None, body.size}:
            covers = f", over the version with id {max(record.versions)}" if record.versions else ""
            raise ContentMismatchError(
                f"the stored content differs from the content that was sent (id {record.id}{covers}); "
                "write it again, or restore the earlier version",
                self._url(path),
            )

    def _explain(self, path: str) -> None:
        """Raise the specific error for a refused upload, if the existing objects explain it."""
        try:
            record = self._resolver.record(path, 0)
        except (NotFoundError, NotADirectoryError):
            record = TOP
        if record is not TOP and record.type == "directory":
            raise IsADirectoryError(errno.EISDIR, "is a folder", self._url(path)) from None
        self._resolver.check_way(path)

    def remember(self, path: str, record: Record) -> None:
        """Cache the record of a new object, and forget what it shows to be outdated."""
        self.remember_all({path: record})

    def remember_all(self, made: Mapping[str, Record]) -> None:
        """Cache the records of new objects by path, and forget what they show to be outdated."""
        # A folder may be new, or another one than before, and so may be those above it.
        for top in {path.partition("/")[0] for path, record in made.items() if not self._knows(path, record)}:
            self._listings.forget(top)
        for path, record in made.items():
            self._listings.put(path, record)

    def _knows(self, path: str, record: Record) -> bool:
        """Return whether the folder of a new object is cached."""
        above = path.rpartition("/")[0]
        if not above:
            return True
        known = self._listings.get(above, math.inf)
        return known is not None and known.entry is not None and known.entry.id == record.parent


def _bare(etag: str) -> str:
    return etag.strip('"')


def fields_of(target: Target, upload: Upload, features: Features) -> dict[str, Any]:
    """Return the fields sent with a content; a plain server would store unknown ones as metadata."""
    fields: dict[str, Any] = {"name": target.name}
    if target.folder is not None:
        fields["parent"] = target.folder
    if upload.metadata is not None:
        fields["metadata"] = dict(upload.metadata)
    if upload.tags is not None:
        fields["tags"] = list(upload.tags)
    if upload.new_version and features.has(RinocloudExtension.VERSIONS):
        fields["new_version"] = True
    return fields
