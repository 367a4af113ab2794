"""Opening the places where a server keeps contents: its folder alone, or an object store beside it."""

from __future__ import annotations

from contextlib import contextmanager
from typing import TYPE_CHECKING

from rinofs.server.blobs.disk import DiskBlobStore
from rinofs.server.blobs.mixed import MixedBlobStore
from rinofs.server.blobs.store import BucketError

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator
    from pathlib import Path

    from rinofs.server.blobs.checks import Check
    from rinofs.server.blobs.mixed import ObjectBlobStore
    from rinofs.server.blobs.workers import WorkerRegistry

__all__ = ["blobs_folder", "checked", "open_folder", "open_object_store"]


@contextmanager
def _needs_obstore() -> Iterator[None]:
    try:
        yield
    except ModuleNotFoundError as error:
        if error.name != "obstore":
            raise
        raise BucketError("an object store needs obstore: pip install 'rinofs[s3]'") from error


def checked(url: str) -> Iterator[Check]:
    """Try what a server needs of an object store; see `rinofs.server.blobs.checks.check_storage`.

    Raises
    ------
    BucketError
        If the URL is not one of a store.
    """
    with _needs_obstore():
        from rinofs.server.blobs.bucket import Bucket
        from rinofs.server.blobs.checks import check_storage
    yield from check_storage(Bucket(url, retries=0))


def open_folder(data_dir: Path) -> DiskBlobStore:
    """Open the folder of a server for contents."""
    return DiskBlobStore(blobs_folder(data_dir))


def blobs_folder(data_dir: Path) -> Path:
    """Return the folder for contents in that of a server."""
    return data_dir / "blobs"


def open_object_store(
    data_dir: Path,
    url: str,
    installation: str,
    *,
    fresh: bool,
    new_in_folder: bool,
    timeout: float,
    cache_size: int,
    blake3_of: Callable[[str], str | None],
    workers: WorkerRegistry | None = None,
) -> MixedBlobStore:
    """Open an object store for contents, and the folder of the server beside it.

    Parameters
    ----------
    data_dir : Path
        The folder.
    url : str
        The object store, ``s3://BUCKET/PREFIX``.
    installation : str
        What the bucket is known to belong to.
    fresh : bool
        Whether nothing was stored in an object store so far.
    new_in_folder : bool
        Whether new contents go to the folder.
    timeout : float
        Seconds that the store may take for one request.
    cache_size : int
        Bytes of the folder that copies of objects may take; none are made for 0. Where copies are made, only
        one process may have the folder open.
    blake3_of : callable
        Takes a key and returns the digest of its content; None where it is not known.
    workers : WorkerRegistry, optional
        The processes that store contents there; by default those that share the folder.

    Raises
    ------
    BucketError
        If the store cannot be used; within seconds.
    """
    with _needs_obstore():
        from rinofs.server.blobs.checks import open_bucket
        from rinofs.server.blobs.s3 import S3BlobStore
    from rinofs.server.blobs.workers import FolderRegistry

    bucket = open_bucket(url, installation, fresh=fresh, timeout=timeout)
    known = FolderRegistry(data_dir / "workers") if workers is None else workers
    objects: ObjectBlobStore = S3BlobStore(bucket, known, installation)
    if cache_size:
        from rinofs.server.blobs.cached import CachedBlobStore

        objects = CachedBlobStore(objects, data_dir / "cache", cache_size, blake3_of)
    return MixedBlobStore(objects, open_folder(data_dir), new_in_folder=new_in_folder)
