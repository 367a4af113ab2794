"""Several small files in one response or request."""

from __future__ import annotations

import io
import json
from typing import TYPE_CHECKING, Any, cast
from urllib.parse import quote

from rinofs.errors import AuthenticationError, ProtocolError, ServiceError, UnavailableError
from rinofs.http.content.byteranges import Parts, boundary_of
from rinofs.http.content.upload import UploadBody
from rinofs.protocol.digests import best_digest, new_hasher, parse_repr_digest
from rinofs.protocol.extensions import REPR_DIGEST, RINOCLOUD_ALONE, RinocloudExtension
from rinofs.protocol.limits import MAX_JSON_BODY
from rinofs.rinocloud.resolver import ById, parse
from rinofs.rinocloud.uploads import fields_of

if TYPE_CHECKING:
    from collections.abc import Sequence

    from rinofs.fs.backend import Upload, WriteBundle
    from rinofs.http.connection.response import Response
    from rinofs.rinocloud.records import Record
    from rinofs.rinocloud.resolver import Resolver
    from rinofs.rinocloud.uploads import Target, Uploader


LONGEST = MAX_JSON_BODY // 2
"""Maximum number of characters of fields in a request; encoded, they may take more bytes."""

_FULL = 507
_NEEDED = (RinocloudExtension.BUNDLE, RinocloudExtension.IDEMPOTENCY, RinocloudExtension.DIGEST)


class Bundles:
    """Reads and stores several small files at once.

    Parameters
    ----------
    resolver : Resolver
        Provides the client, the listings and the URLs.
    uploader : Uploader
        Finds the folders of new objects.
    verify : bool
        Whether to verify contents.
    """

    def __init__(self, resolver: Resolver, uploader: Uploader, verify: bool) -> None:
        self._client, self._listings, self._url = resolver.client, resolver.listings, resolver.url
        self._uploader = uploader
        self._verify = verify

    def read(self, paths: Sequence[str]) -> list[bytes | None]:
        """Read several small files with one request; None for each that must be read on its own."""
        ways = [parse(path) for path in paths]
        named = {
            number: [str(part) for part in way]
            for number, way in enumerate(ways)
            if way and not any(isinstance(part, ById) for part in way)
        }
        contents: list[bytes | None] = [None] * len(paths)
        self._client.discover()
        if named and self._client.features.has(RinocloudExtension.BUNDLE):
            names, label = list(named.values()), self._url(paths[0].rpartition("/")[0])
            answer = self._client.download_many(names, label)
            for number, content in zip(named, _contents(answer, names, verify=self._verify), strict=True):
                contents[number] = content
        return contents

    def writer(self) -> WriteBundle | None:
        """Return a function that stores several contents with one request; None if the server cannot."""
        self._client.discover()
        # Without idempotency keys, each file would have to be looked up after a lost response.
        return self._send if all(map(self._client.features.has, _NEEDED)) else None

    def _send(self, uploads: Sequence[Upload]) -> list[bool]:
        """Store contents in memory; returns which were stored. The others must be sent one by one."""
        targets = [self._target(upload.path) for upload in uploads]
        going = [one.path for one, target in zip(uploads, targets, strict=True) if target]
        with self._listings.changing(*going):
            records = self._stored(uploads, targets)
            if records is None:
                return [False] * len(uploads)  # sending each on its own raises its specific error
            self._uploader.remember_all(dict(zip(going, records, strict=True)))
        return [target is not None for target in targets]

    def _stored(self, uploads: Sequence[Upload], targets: Sequence[Target | None]) -> list[Record] | None:
        """Store the contents that have a target, all or none; None if the server refused."""
        files = [
            (fields_of(target, upload, self._client.features), cast("bytes", upload.source))
            for upload, target in zip(uploads, targets, strict=True)
            if target is not None
        ]
        digest = self._client.features.digest if self._verify else None
        body = _body_of(files, digest) if files else None
        if body is None:
            return None
        label = self._url(uploads[0].path.rpartition("/")[0])
        try:
            records = self._client.upload_many(body, digest, label)
        except ServiceError as error:
            if error.status == _FULL or not isinstance(error, AuthenticationError | UnavailableError):
                return None
            raise
        if len(records) != len(files):
            raise ProtocolError(f"expected {len(files)} records, got {len(records)}", label)
        return records

    def _target(self, path: str) -> Target | None:
        """Find the location of a new object if its path is valid and has only names."""
        try:
            parts = parse(path)
        except ValueError:
            return None
        plain = parts and not any(isinstance(part, ById) for part in parts)
        return self._uploader.target(path) if plain else None


def _contents(answer: Response, paths: Sequence[Sequence[str]], *, verify: bool) -> list[bytes | None]:
    """Read the contents in the response to a request for several files.

    Parameters
    ----------
    answer : Response
        Response.
    paths : sequence of sequence of str
        Requested paths, as lists of names.
    verify : bool
        Whether to accept only contents that match their digest.

    Returns
    -------
    list of bytes or None
        Content of each file; None for a file that must be requested on its own because the server did not
        include it or it did not arrive intact.

    Raises
    ------
    ProtocolError
        If the response has another format.
    """
    boundary = boundary_of(answer.headers.get("content-type", ""), "mixed")
    if boundary is None:
        raise ProtocolError("expected the contents of several files", answer.url)
    parts = Parts(io.BytesIO(answer.content), boundary)
    try:
        found = [_content(parts, path, verify=verify) for path in paths]
        parts.end()
    except ValueError as error:
        raise ProtocolError(str(error), answer.url) from error
    return found


def _body_of(files: Sequence[tuple[dict[str, Any], bytes]], digest: str | None) -> UploadBody | None:
    """Return the request body that stores several files.

    Parameters
    ----------
    files : sequence of (dict, bytes)
        Fields and content of each file.
    digest : str or None
        Name of the digest that the server must verify.

    Returns
    -------
    UploadBody or None
        None if the fields are too long for one request.
    """
    said = [
        {**fields, "size": len(data)} | ({digest: _digest_of(data, digest)} if digest else {})
        for fields, data in files
    ]
    if len(json.dumps(said)) > LONGEST:
        return None
    return UploadBody(b"".join(data for _, data in files), fields={"files": said}, filename="files")


def _content(parts: Parts, path: Sequence[str], *, verify: bool) -> bytes | None:
    headers = parts.begin()
    if headers.get("content-location") != "/".join(quote(name, safe="") for name in path):
        raise ValueError("the response does not have the requested files")
    data = parts.read(int(headers.get("content-length", "")))
    if RINOCLOUD_ALONE in headers:
        return None
    if not verify:
        return data
    offered = parse_repr_digest(headers.get(REPR_DIGEST, ""))
    best = best_digest(offered)
    return data if best is not None and offered[best] == _digest_of(data, best) else None


def _digest_of(data: bytes, name: str) -> str:
    hasher = new_hasher(name)
    hasher.update(data)
    return hasher.hexdigest()
