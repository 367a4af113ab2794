"""Stores of contents where the system allows no more threads for a while."""

from __future__ import annotations

import os
from typing import TYPE_CHECKING, Any

from rinofs.server.blobs import bucket
from rinofs.server.blobs.cached import SMALL, CachedBlobStore
from rinofs.server.blobs.memory import MemoryBlobStore
from rinofs.server.blobs.s3 import S3BlobStore
from tests.few_threads import few_threads

if TYPE_CHECKING:
    from pathlib import Path

    import pytest


def test_a_part_is_read_though_its_content_cannot_be_copied(tmp_path: Path) -> None:
    digests: dict[str, str] = {}
    other: Any = MemoryBlobStore()
    content = os.urandom(2 * SMALL)
    with other.new_upload() as upload:
        upload.write(content)
        blob = upload.finish()
        digests[blob.key] = blob.blake3
        store = CachedBlobStore(other, tmp_path / "cache", 64 * SMALL, digests.get)
        with few_threads(0, "rinofs-cache") as refused:
            for _ in range(5):
                with store.open_range(blob.key, blob.size, 0, SMALL) as reader:
                    assert reader.read(SMALL) == content[:SMALL]
        assert refused
        store.close()


def test_reading_ahead_goes_on_afterwards() -> None:
    class OneContent:
        def get(self, _key: str, start: int, stop: int) -> tuple[memoryview, int]:
            return memoryview(bytes(100))[start:stop], 100

    class NoWorkers:
        def close(self) -> None:
            pass

    contents: Any = OneContent()
    workers: Any = NoWorkers()
    store = S3BlobStore(contents, workers, "installation")
    with few_threads(0, "rinofs-s3") as refused:
        assert [store.read_ahead("key", 100, 0, 10) for _ in range(50)] == [None] * 50
    assert len(refused) == 50
    for _ in range(50):
        ahead = store.read_ahead("key", 100, 0, 10)
        assert ahead is not None
        assert len(ahead.result()) == 10
        store.forget_ahead(ahead)
    store.close()


def test_memory_is_returned_at_the_next_time(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(bucket, "_TRIMMED_AFTER", 0.0)
    memory = bucket._FreedMemory()
    returned: list[int] = []
    memory._trim = returned.append  # type: ignore[assignment]
    monkeypatch.setattr(bucket.threading.Timer, "start", no_start)
    memory.later()
    monkeypatch.undo()
    assert returned == []
    memory.later()
    timer = memory._timer
    if timer is not None:
        timer.cancel()
    assert timer is not None or returned


def no_start(_timer: object) -> None:
    raise RuntimeError("can't start new thread")
