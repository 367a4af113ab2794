"""Open the stores of a server's contents: its folder alone, or an object store as well."""

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
    """Try everything a server needs from an object store; see `rinofs.server.blobs.checks.check_storage`.

    Raises
    ------
    BucketError
        If the URL is not that of a store, or obstore is not installed.
    """
    with _needs_obstore():
        from rinofs.server.blobs.bucket import Bucket
        from rinofs.server.blobs.checks import check_storage
    yield from check_storage(Bucket(url, retries=0))


def open_folder(data_dir: Path) -> DiskBlobStore:
    """Open the contents folder of a server."""
    return DiskBlobStore(blobs_folder(data_dir))


def blobs_folder(data_dir: Path) -> Path:
    """Return the contents folder in the data folder of a server."""
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
    """Open an object store for contents, and the contents folder of the server.

    Parameters
    ----------
    data_dir : Path
        The data folder of the server.
    url : str
        The object store, ``s3://BUCKET/PREFIX``.
    installation : str
        Name of the installation to which the bucket has to belong.
    fresh : bool
        Whether nothing has been stored in an object store yet.
    new_in_folder : bool
        Whether new contents go to the folder.
    timeout : float
        Timeout in seconds of one request to the store.
    cache_size : int
        Maximum size in bytes of the cache in the folder; 0 for no cache. With a cache, only one process may
        have the folder open.
    blake3_of : callable
        Takes a key and returns the BLAKE3 of its content; None if it is not known.
    workers : WorkerRegistry, optional
        The processes that store contents there; by default those that share the folder.

    Raises
    ------
    BucketError
        If the store is not usable; raised within seconds.
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
