"""What every place for contents has to do; a new one joins `STORES`."""

from __future__ import annotations

import hashlib
import os
import threading
from typing import TYPE_CHECKING

import pytest
from blake3 import blake3

from rinofs.protocol.digests import PART_SIZE
from rinofs.server.blobs.bucket import Bucket
from rinofs.server.blobs.cached import CachedBlobStore
from rinofs.server.blobs.disk import DiskBlobStore
from rinofs.server.blobs.memory import MemoryBlobStore
from rinofs.server.blobs.mixed import MixedBlobStore
from rinofs.server.blobs.s3 import S3BlobStore
from rinofs.server.blobs.store import OBJECTS, Blob, BlobStore, Digests, digests_of, is_object_key
from rinofs.server.blobs.workers import FolderRegistry
from rinofs.server.errors import Unavailable

if TYPE_CHECKING:
    from collections.abc import Callable, Iterator, Sequence
    from pathlib import Path

MIB = 1024 * 1024
CONTENT = os.urandom(3 * MIB + 1)


def in_bucket(folder: Path, url: str) -> S3BlobStore:
    bucket = Bucket(url)
    bucket.claim("1")
    return S3BlobStore(bucket, FolderRegistry(folder / "workers"), "1")


def in_bucket_cached(folder: Path, url: str) -> CachedBlobStore:
    known = {blake3(content).hexdigest() for content in (CONTENT, b"content")}

    def blake3_of(key: str) -> str | None:
        found = store.verify(key).found.blake3
        return found if found in known else None

    store = in_bucket(folder, url)
    return CachedBlobStore(store, folder / "cache", 64 * MIB, blake3_of)


# Each takes a folder and the URL of a part of a bucket.
STORES: dict[str, Callable[[Path, Callable[[], str]], BlobStore]] = {
    "disk": lambda folder, _: DiskBlobStore(folder / "blobs"),
    "memory": lambda _folder, _: MemoryBlobStore(),
    "s3": lambda folder, url: in_bucket(folder, url()),
    "cached": lambda folder, url: in_bucket_cached(folder, url()),
    "mixed": lambda folder, url: MixedBlobStore(in_bucket(folder, url()), DiskBlobStore(folder / "blobs")),
}
IN_BUCKET = {"s3", "cached", "mixed"}


@pytest.fixture(
    params=[pytest.param(name, marks=[pytest.mark.s3] if name in IN_BUCKET else []) for name in STORES]
)
def blobs(request: pytest.FixtureRequest, tmp_path: Path) -> Iterator[BlobStore]:
    store = STORES[request.param](tmp_path, lambda: str(request.getfixturevalue("s3_url")))
    yield store
    store.close()


def store(
    blobs: BlobStore, content: bytes, *, step: int = MIB, sha1: bool = False, sha256: bool = True
) -> Blob:
    with blobs.new_upload(sha1=sha1, sha256=sha256) as upload:
        for start in range(0, len(content), step):
            upload.write(content[start : start + step])
        return upload.finish()


def read(blobs: BlobStore, blob: Blob, start: int = 0, stop: int | None = None, step: int = MIB) -> bytes:
    with blobs.open_range(blob.key, blob.size, start, stop) as reader:
        pieces = []
        while piece := reader.read(step):
            assert len(piece) <= step
            pieces.append(piece)
    return b"".join(pieces)


def by_digest(key: str) -> bool:
    """Tell whether a store has one key for all contents with the same bytes."""
    return not is_object_key(key)


def none_referred(_keys: Sequence[str]) -> set[str]:
    return set()


@pytest.mark.parametrize("size", [0, 1, 65_536, PART_SIZE + 1])
def test_a_content_comes_back_with_its_digests(blobs: BlobStore, size: int) -> None:
    content = os.urandom(size)
    blob = store(blobs, content, sha1=True)
    assert blob == Blob(
        key=blob.key,
        blake3=blake3(content).hexdigest(),
        size=size,
        etag=digests_of(content).etag,
        sha256=hashlib.sha256(content).hexdigest(),
        taken_sha1=hashlib.sha1(content).hexdigest(),
    )
    assert read(blobs, blob) == content
    assert blobs.size(blob.key) == size
    assert list(blobs.stored()) == [(blob.key, size)]


def test_keys_outside_the_folder_tell_the_worker(blobs: BlobStore) -> None:
    key = store(blobs, b"content").key
    if blobs.local_path(key) is None and not isinstance(blobs, MemoryBlobStore):
        first, worker, name = key.split("/")
        assert (first, is_object_key(key), bool(name)) == (OBJECTS, True, True)
        assert worker


def test_without_being_asked_no_further_digest_is_taken(blobs: BlobStore) -> None:
    blob = store(blobs, b"content", sha256=False)
    # Where reading it again takes long, it is taken in any case.
    wanted = None if by_digest(blob.key) else hashlib.sha256(b"content").hexdigest()
    assert (blob.taken_sha1, blob.sha256) == (None, wanted)
    assert blob.blake3 == blake3(b"content").hexdigest()


@pytest.mark.parametrize("content", [b"", b"content", CONTENT], ids=len)
def test_a_sha256_that_is_asked_for_at_the_end_is_taken_then(blobs: BlobStore, content: bytes) -> None:
    with blobs.new_upload() as upload:
        for start in range(0, len(content), MIB):
            upload.write(content[start : start + MIB])
        assert upload.sha256() == hashlib.sha256(content).hexdigest()
        blob = upload.finish()
    assert blob.sha256 == hashlib.sha256(content).hexdigest()
    assert read(blobs, blob) == content


@pytest.mark.parametrize("asked", [False, True])
def test_the_digests_so_far_are_known_before_the_end(blobs: BlobStore, asked: bool) -> None:
    with blobs.new_upload(sha256=asked) as upload:
        upload.write(b"con")
        upload.write(b"tent")
        assert upload.sha256() == hashlib.sha256(b"content").hexdigest()
        assert upload.blake3() == blake3(b"content").hexdigest()
        assert list(blobs.stored()) == []
    assert list(blobs.stored()) == []


def test_a_buffer_may_be_reused_after_a_write(blobs: BlobStore) -> None:
    buffer = bytearray(MIB)
    with blobs.new_upload() as upload:
        for byte in range(3):
            buffer[:] = bytes([byte]) * MIB
            upload.write(memoryview(buffer))
        blob = upload.finish()
    assert read(blobs, blob) == b"".join(bytes([byte]) * MIB for byte in range(3))


@pytest.mark.parametrize(
    ("start", "stop"),
    [
        (0, None),
        (0, 0),
        (0, 1),
        (1, 3),
        (MIB - 1, 2 * MIB + 1),
        (len(CONTENT) - 1, None),
        (len(CONTENT), None),
    ],
)
@pytest.mark.parametrize("step", [MIB, 65_537])
def test_ranges(blobs: BlobStore, start: int, stop: int | None, step: int) -> None:
    blob = store(blobs, CONTENT)
    assert read(blobs, blob, start, stop, step) == CONTENT[start:stop]


def test_readers_do_not_disturb_each_other(blobs: BlobStore) -> None:
    blob = store(blobs, CONTENT)
    with (
        blobs.open_range(blob.key, blob.size) as first,
        blobs.open_range(blob.key, blob.size, 5) as second,
    ):
        assert (first.read(3), second.read(3), first.read(3)) == (CONTENT[:3], CONTENT[5:8], CONTENT[3:6])


def test_what_is_not_there_or_not_whole_is_an_answer(blobs: BlobStore) -> None:
    blob = store(blobs, b"content")
    with pytest.raises(Unavailable):
        blobs.open_range("0" * 64, 1)
    with pytest.raises(Unavailable):
        blobs.open_range(blob.key, blob.size + 1)
    assert blobs.size("0" * 64) is None


def test_giving_up_leaves_nothing(blobs: BlobStore) -> None:
    with blobs.new_upload() as upload:
        upload.write(CONTENT)
    with blobs.new_upload() as upload:
        upload.write(CONTENT)
        upload.discard()
        upload.discard()
    assert list(blobs.stored()) == []
    assert blobs.collect(none_referred).blobs == 0


def test_one_content_is_stored_once_or_under_keys_that_never_had_another(blobs: BlobStore) -> None:
    first = store(blobs, b"same")
    second = store(blobs, b"same", step=1)
    with blobs.write_many({digests_of(b"same"): b"same"}):
        stored = [key for key, _ in blobs.stored()]
    if by_digest(first.key):
        assert second == first
        assert stored == [first.key]
    else:
        assert len(set(stored) | {first.key, second.key}) == len(stored) == 3


def test_many_are_stored_together_and_kept(blobs: BlobStore) -> None:
    contents: dict[Digests, bytes] = {
        digests_of(content): content for content in (b"", b"1", b"22", CONTENT[:70_000])
    }
    with blobs.write_many(contents) as stored:
        assert stored.keys() == contents.keys()
        for digests, blob in stored.items():
            assert blob == digests.stored(blob.key)
            assert read(blobs, blob) == contents[digests]
        assert blobs.collect(none_referred).blobs == 0
    collected = blobs.collect(none_referred)
    assert (collected.blobs, collected.bytes) == (4, 70_003)
    assert list(blobs.stored()) == []


def test_what_is_referred_to_stays(blobs: BlobStore) -> None:
    wanted, other = store(blobs, b"wanted"), store(blobs, b"other")
    collected = blobs.collect(lambda keys: {wanted.key} & set(keys))
    assert (collected.blobs, collected.bytes, collected.temporary) == (1, 5, 0)
    assert list(blobs.stored()) == [(wanted.key, 6)]
    assert blobs.size(other.key) is None


def test_what_comes_to_be_referred_to_during_a_collection_stays(blobs: BlobStore) -> None:
    blob = store(blobs, b"late")
    asked: list[Sequence[str]] = []

    def referred(keys: Sequence[str]) -> set[str]:
        asked.append(keys)
        return set() if len(asked) < 2 else set(keys)

    blobs.collect(referred)
    # Whoever asks once only has to do so when no upload can hold the content any more.
    assert blobs.size(blob.key) == 4 or len(asked) == 1


def test_an_upload_keeps_its_content_until_it_lets_go(blobs: BlobStore) -> None:
    with blobs.new_upload() as first, blobs.new_upload() as second:
        for upload in (first, second):
            upload.write(b"leased")
            blob = upload.finish()
        assert blobs.collect(none_referred).blobs == 0
        first.release()
        first.release()
        assert blobs.collect(none_referred).blobs == (0 if by_digest(blob.key) else 1)
        assert read(blobs, blob) == b"leased"
        second.release()
        assert blobs.collect(none_referred).blobs == 1
    assert list(blobs.stored()) == []


def test_keeping_what_is_stored(blobs: BlobStore) -> None:
    blob = store(blobs, b"kept")
    with blobs.keep(blob.key, blob.size) as there:
        assert there
        assert blobs.collect(none_referred).blobs == 0
    with blobs.keep(blob.key, blob.size + 1) as there:
        assert not there
    with blobs.keep("0" * 64, 1) as there:
        assert not there
    assert blobs.collect(none_referred).blobs == 1


def test_verifying(blobs: BlobStore) -> None:
    blob = store(blobs, CONTENT, sha1=True)
    read = blobs.verify(blob.key)
    assert (read.found.stored(blob.key), read.problem) == (blob, None)
    assert read.problem_of(blake3=blob.blake3, sha256=blob.sha256) is None
    assert read.problem_of(blake3=None, sha256=blob.sha256) is None
    for known in ({"blake3": "0" * 64, "sha256": None}, {"blake3": None, "sha256": "0" * 64}):
        assert "damaged" in str(read.problem_of(**known))
    missing = blobs.verify("0" * 64)
    assert missing.problem == "is missing"


def test_a_local_path_leads_to_the_content(blobs: BlobStore) -> None:
    blob = store(blobs, b"content")
    path = blobs.local_path(blob.key)
    assert path is None or path.read_bytes() == b"content"


def test_many_threads_store_and_collect_at_once(blobs: BlobStore) -> None:
    contents = [str(number).encode() * 100 for number in range(20)]
    kept: set[str] = set()
    lock = threading.Lock()
    stop = threading.Event()
    failures: list[BaseException] = []

    def referred(keys: Sequence[str]) -> set[str]:
        with lock:
            return kept & set(keys)

    def collect() -> None:
        while not stop.is_set():
            blobs.collect(referred)

    def upload(mine: list[bytes]) -> None:
        try:
            for content in mine:
                with blobs.new_upload() as upload:
                    upload.write(content)
                    blob = upload.finish()
                    with lock:
                        kept.add(blob.key)
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    collector = threading.Thread(target=collect)
    collector.start()
    writers = [
        threading.Thread(target=upload, args=(contents[start:] + contents[:start],)) for start in range(4)
    ]
    for writer in writers:
        writer.start()
    for writer in writers:
        writer.join()
    stop.set()
    collector.join()
    assert failures == []
    assert {key for key, _ in blobs.stored()} == kept
    assert len(kept) == (len(contents) if all(map(by_digest, kept)) else 4 * len(contents))


def test_a_content_is_removed_at_once_unless_something_needs_it(blobs: BlobStore) -> None:
    needed, kept, gone = (store(blobs, text) for text in (b"needed", b"kept", b"gone"))
    everything = [blob.key for blob in (needed, kept, gone)]
    with blobs.keep(kept.key, kept.size):
        blobs.remove([*everything, "0" * 64], lambda keys: {needed.key} & set(keys))
    assert {key for key, _ in blobs.stored()} == {needed.key, kept.key}
