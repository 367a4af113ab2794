"""Moving the contents of a server from its folder to an object store, or back, while it serves them."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

from rinofs.server.blobs.mixed import MixedBlobStore
from rinofs.server.blobs.store import is_object_key
from rinofs.server.catalog import blob_rows
from rinofs.server.errors import ApiError

if TYPE_CHECKING:
    from rinofs.server.backups import Watcher
    from rinofs.server.blobs.store import BlobStore
    from rinofs.server.catalog.blob_rows import BlobRow
    from rinofs.server.services import Services

__all__ = ["MoveReport", "move_contents"]

_PIECE = 1024 * 1024


@dataclass(frozen=True, slots=True)
class MoveReport:
    """What came of a move.

    Attributes
    ----------
    moved : int
        Contents that are in the other place now.
    bytes_moved : int
        Their bytes.
    left : int
        Contents that are still where they were.
    problems : tuple of str
        Why; empty where all is well.
    """

    moved: int
    bytes_moved: int
    left: int
    problems: tuple[str, ...]


def move_contents(services: Services, watcher: Watcher, *, to_objects: bool) -> MoveReport:
    """Move all contents that are not in one place to that place; another call continues.

    Each is read, compared with its digests, stored durably, and only then looked for in the other place. What
    it was read from is removed as if nothing referred to it any more.

    Parameters
    ----------
    services : Services
        Whose contents they are, with an object store opened.
    watcher : Watcher
        Is told how far it is.
    to_objects : bool
        Whether they go to the object store; to the folder otherwise.
    """
    blobs = services.blobs
    assert isinstance(blobs, MixedBlobStore)
    target = blobs.objects if to_objects else blobs.folder
    watcher.expect(blob_rows.size_of(services.database, in_objects=not to_objects))
    moved = size = left = 0
    problems: list[str] = []
    for row in blob_rows.all_rows(services.database):
        if is_object_key(row.key) == to_objects:
            continue
        try:
            problem = _move(services, row, target, watcher)
        except ApiError as error:
            problem = f"was not moved: {error.message}"
        if problem is None:
            moved, size = moved + 1, size + row.size
        elif row.key in blob_rows.with_row(services.database, [row.key]):
            left += 1
            problems.append(f"content {row.key} {problem}")
    return MoveReport(moved, size, left, tuple(problems))


def _move(services: Services, row: BlobRow, target: BlobStore, watcher: Watcher) -> str | None:
    """Move a content; return why not, as the end of a sentence about it."""
    with services.blobs.open_range(row.key, row.size) as reader, target.new_upload(sha256=True) as upload:
        while data := reader.read(_PIECE):
            upload.write(data)
            watcher.add(len(data))
        wanted = ((row.blake3, upload.blake3()), (row.sha256, upload.sha256()))
        if any(known not in {None, found} for known, found in wanted):
            return "is damaged; `rinofs admin fsck` tells what it belongs to"
        blob = upload.finish()
        if not blob_rows.move(services.database, row, blob):
            return "was changed meanwhile"
    return None
