"""Copies of contents: what happens to them on the disk changes no content."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

import pytest

from rinofs.server.blobs.cached import SMALL, CachedBlobStore
from rinofs.server.blobs.memory import MemoryBlobStore

if TYPE_CHECKING:
    from collections.abc import Callable
    from pathlib import Path

DAMAGES: dict[str, Callable[[Path], object]] = {
    "deleted": lambda path: path.unlink(),
    "truncated": lambda path: os.truncate(path, 10),
    "extended": lambda path: os.truncate(path, 4 * SMALL),
}


@pytest.mark.parametrize("damage", list(DAMAGES))
def test_a_damaged_copy_is_replaced(damage: str, tmp_path: Path) -> None:
    digests: dict[str, str] = {}
    other: Any = MemoryBlobStore()
    content = os.urandom(2 * SMALL)
    store = CachedBlobStore(other, tmp_path / "cache", 64 * SMALL, digests.get)

    def read() -> bytes:
        with store.open_range(blob.key, blob.size) as reader:
            return b"".join(iter(lambda: reader.read(SMALL), b""))

    with store.new_upload() as upload:
        upload.write(content)
        blob = upload.finish()
        digests[blob.key] = blob.blake3
        assert read() == content
        copy = store.local_path(blob.key)
        assert copy is not None
        DAMAGES[damage](copy)
        assert store.local_path(blob.key) is None
        assert read() == content
        again = store.local_path(blob.key)
        assert again is not None
        assert again.read_bytes() == content
    store.close()
    assert [path for path in (tmp_path / "cache").iterdir() if path != again] == []
