"""Sending many small contents, several by one request."""

from __future__ import annotations

from functools import partial
from typing import TYPE_CHECKING, cast

from rinofs.errors import AuthenticationError, ProtocolError, ServiceError, UnavailableError
from rinofs.protocol.extensions import RinocloudExtension
from rinofs.rinocloud.bundles import bundle_of
from rinofs.rinocloud.paths import ById, parse
from rinofs.rinocloud.uploads import fields_of

if TYPE_CHECKING:
    from collections.abc import Callable, Sequence

    from rinofs.fs.backend import Upload, WriteSmall
    from rinofs.fs.listings import Listings
    from rinofs.rinocloud.client import RinocloudClient
    from rinofs.rinocloud.records import Record
    from rinofs.rinocloud.uploads import Target, Uploader

_FULL = 507
_NEEDED = (RinocloudExtension.BUNDLE, RinocloudExtension.IDEMPOTENCY, RinocloudExtension.DIGEST)


class Batches:
    """Send contents together.

    Parameters
    ----------
    client : RinocloudClient
        Sends the requests.
    listings : Listings
        Is told of what was stored.
    uploader : Uploader
        Knows where new objects go.
    url : callable
        Turns a path into what messages call it.
    verify : bool
        Whether what is stored is checked.
    """

    def __init__(
        self,
        client: RinocloudClient,
        listings: Listings[Record],
        uploader: Uploader,
        url: Callable[[str], str],
        verify: bool,
    ) -> None:
        self._client = client
        self._listings = listings
        self._uploader = uploader
        self._url = url
        self._verify = verify

    def writer(self, max_age: float) -> WriteSmall | None:
        """Return what stores several contents by one request; None where the server cannot."""
        self._client.discover()
        # Without keys, each of them would have to be looked for after a lost answer.
        can = all(map(self._client.features.has, _NEEDED))
        return partial(self._send, max_age) if can else None

    def _send(self, max_age: float, uploads: Sequence[Upload]) -> list[bool]:
        """Store contents that are in memory, and tell of each whether it was; the others have to go alone."""
        targets = [self._target(upload.path, max_age) for upload in uploads]
        records = self._stored(uploads, targets)
        if records is None:
            # What was known of the folders may have been overtaken: look again, and send once more if so.
            for folder in {upload.path.partition("/")[0] for upload in uploads}:
                self._listings.forget(folder)
            before, targets = targets, [self._target(upload.path, max_age) for upload in uploads]
            records = self._stored(uploads, targets) if targets != before else None
        if records is None:
            return [False] * len(uploads)  # each of them alone gets the answer that it deserves
        going = [(one.path, target) for one, target in zip(uploads, targets, strict=True) if target]
        for made in {target.made for _, target in going if target.made is not None}:
            self._listings.forget(made)
        for (path, _), record in zip(going, records, strict=True):
            self._listings.put(path, record)
        return [target is not None for target in targets]

    def _stored(self, uploads: Sequence[Upload], targets: Sequence[Target | None]) -> list[Record] | None:
        """Store those contents that have a target, all or none; None where the server refused."""
        files = [
            (fields_of(target, upload), cast("bytes", upload.source))
            for upload, target in zip(uploads, targets, strict=True)
            if target is not None
        ]
        body = bundle_of(files, verify=self._verify) if files else None
        if body is None:
            return None
        label = self._url(uploads[0].path.rpartition("/")[0])
        try:
            records = self._client.upload_many(body, label)
        except ServiceError as error:
            if error.status == _FULL or not isinstance(error, AuthenticationError | UnavailableError):
                return None
            raise
        if len(records) != len(files):
            raise ProtocolError(f"expected {len(files)} records, got {len(records)}", label)
        return records

    def _target(self, path: str, max_age: float) -> Target | None:
        """Find where a new object goes, if its path is one of names and nothing speaks against it."""
        try:
            parts = parse(path)
            plain = parts and not any(isinstance(part, ById) for part in parts)
            return self._uploader.target(path, max_age) if plain else None
        except (OSError, ValueError):
            return None
