"""Getting contents from the network, where nothing may wait, to the disk, where everything does."""

from __future__ import annotations

import asyncio
from contextlib import asynccontextmanager
from typing import TYPE_CHECKING

from anyio import to_thread

from rinofs.server.blobs.store import Blob
from rinofs.server.errors import TooLarge, Unprocessable

if TYPE_CHECKING:
    from collections.abc import AsyncIterator

    from rinofs.server.blobs.store import BlobStore, BlobUpload

__all__ = ["Sink", "receiving", "wrong_digest"]

BATCH_SIZE = 1024 * 1024
"""Bytes of content that are handed to the disk at a time."""


class Sink:
    """Hands a content on in batches: one is being written while the next one comes in.

    A content of one batch takes one turn of a thread, from making the file to the end.

    Parameters
    ----------
    blobs : BlobStore
        Where it goes.
    limit : int or None
        Bytes that it may have.
    sha1 : bool
        Whether its sha-1 is taken too.
    """

    def __init__(self, blobs: BlobStore, limit: int | None, *, sha1: bool = False) -> None:
        self._blobs = blobs
        self._sha1 = sha1
        self._upload: BlobUpload | None = None
        self._limit = limit
        self._size = 0
        self._batch: list[bytes] = []
        self._batch_size = 0
        self._work: asyncio.Future[Blob] | asyncio.Future[BlobUpload] | None = None

    async def add(self, data: bytes) -> None:
        """Take the next bytes.

        Raises
        ------
        TooLarge
            If the content is longer than allowed.
        """
        self._size += len(data)
        if self._limit is not None and self._size > self._limit:
            raise TooLarge(f"the content is longer than {self._limit} bytes")
        self._batch.append(data)
        self._batch_size += len(data)
        if self._batch_size >= BATCH_SIZE:
            await self.settle()
            batch, self._batch, self._batch_size = self._batch, [], 0
            self._work = asyncio.ensure_future(to_thread.run_sync(self._write, batch))

    async def settle(self) -> Blob | BlobUpload | None:
        """Wait for what is being done in the worker thread, and return what comes of it.

        A cancelled request leaves its worker alone: the file must not be closed while it is being written.
        """
        work = self._work
        if work is None:
            return None
        await asyncio.wait([work])
        self._work = None
        return work.result()

    async def finish(self, sha256: str | None) -> Blob:
        """Store the content, if it has the digest that it should.

        Raises
        ------
        Unprocessable
            If it has another.
        """
        await self.settle()
        self._work = asyncio.ensure_future(to_thread.run_sync(self._finish, sha256))
        blob = await self.settle()
        assert isinstance(blob, Blob)
        return blob

    def discard(self) -> None:
        """Give up what is not finished, and give free for collection what is."""
        if self._upload is not None:
            self._upload.discard()

    def _write(self, batch: list[bytes]) -> BlobUpload:
        if self._upload is None:
            self._upload = self._blobs.new_upload(sha1=self._sha1)
        self._upload.write(batch[0] if len(batch) == 1 else b"".join(batch))
        return self._upload

    def _finish(self, sha256: str | None) -> Blob:
        upload = self._write(self._batch)
        if sha256 is not None and sha256 != upload.sha256():
            raise wrong_digest()
        return upload.finish()


def wrong_digest() -> Unprocessable:
    """Return the refusal of a content that is not what was announced."""
    return Unprocessable("the content has not the digest that the part 'sha256' names", field="sha256")


@asynccontextmanager
async def receiving(blobs: BlobStore, limit: int | None, *, sha1: bool = False) -> AsyncIterator[Sink]:
    """Receive a content; leaving the context gives up what is not finished, and frees what nobody refers to.

    Parameters
    ----------
    blobs : BlobStore
        Where it goes.
    limit : int or None
        Bytes that it may have.
    sha1 : bool
        Whether its sha-1 is taken too.
    """
    sink = Sink(blobs, limit, sha1=sha1)
    try:
        yield sink
    finally:
        try:
            await sink.settle()
        finally:
            sink.discard()
