"""Many contents that are stored together: each as durable as if it were stored alone."""

from __future__ import annotations

import os
import threading
from pathlib import Path

import pytest

from rinofs.protocol.limits import MAX_BUNDLE_UPLOAD
from rinofs.server.blobs.disk import DiskBlobStore
from rinofs.server.blobs.store import digests_of
from rinofs.server.errors import InsufficientStorage
from tests.forkserver import in_own_process
from tests.server.blobs.test_disk import files_below, store

CONTENTS = [b"", b"1", *(str(number).encode() * number for number in range(1, 40))]


@pytest.fixture
def root(tmp_path: Path) -> Path:
    return tmp_path / "blobs"


@pytest.fixture
def blobs(root: Path) -> DiskBlobStore:
    return DiskBlobStore(root)


def test_contents_are_known_by_the_same_as_alone(blobs: DiskBlobStore, root: Path) -> None:
    with blobs.write_many({digests_of(content): content for content in CONTENTS}) as stored:
        for content in CONTENTS:
            assert blobs.local_path(stored[digests_of(content)].key).read_bytes() == content
    assert len(files_below(root)) == len(set(CONTENTS))  # nothing temporary is left
    for content in CONTENTS:
        assert store(blobs, content) == stored[digests_of(content)]


def test_each_is_synced_before_it_has_its_name_and_its_name_before_it_is_kept(
    blobs: DiskBlobStore, monkeypatch: pytest.MonkeyPatch
) -> None:
    present = store(blobs, b"present")
    seen: list[tuple[str, str]] = []
    guard = threading.Lock()
    sync, link = os.fsync, os.link

    def fsync(descriptor: int) -> None:
        sync(descriptor)
        path = Path(f"/proc/self/fd/{descriptor}").readlink()
        with guard:
            seen.append(("sync", path.name))

    def linked(source: Path, target: Path) -> None:
        link(source, target)
        with guard:
            seen.append((source.name, target.name))

    monkeypatch.setattr(os, "fsync", fsync)
    monkeypatch.setattr(os, "link", linked)
    contents = {digests_of(content): content for content in [*CONTENTS, b"present"]}
    with blobs.write_many(contents):
        links = [(source, target) for source, target in seen if source not in {"sync", target}]
        named = {target: seen.index((source, target)) for source, target in links}
        sources = {target: source for source, target in links}
        assert set(named) == {digests.blake3 for digests in contents} - {present.blake3}
        for digest, when in named.items():
            assert seen.index(("sync", sources[digest])) < when
            folder_synced = max(index for index, event in enumerate(seen) if event == ("sync", digest[:2]))
            assert folder_synced > when
        assert seen.index(("sync", "b3")) < min(named.values())  # where the new folders are
        # The name may be another upload's, which was killed before it synced the folder.
        assert ("sync", present.blake3[:2]) in seen
        assert len(seen) == len(set(seen))  # and nothing twice


def test_contents_stay_until_the_batch_lets_go_of_them(blobs: DiskBlobStore, root: Path) -> None:
    other = DiskBlobStore(root)
    present = store(blobs, b"present")
    contents = {digests_of(content): content for content in (b"present", b"new")}
    with blobs.write_many(contents) as stored:
        assert present in stored.values()
        for blob in stored.values():
            assert not other.remove_unless(blob.key, lambda _: False)
    assert other.remove_abandoned() == 0
    for blob in stored.values():
        assert other.remove_unless(blob.key, lambda _: False)
    assert files_below(root) == []


def test_a_damaged_content_is_replaced(blobs: DiskBlobStore) -> None:
    blob = store(blobs, b"whole content")
    os.truncate(blobs.local_path(blob.key), 5)
    with blobs.write_many({digests_of(b"whole content"): b"whole content"}):
        assert blobs.local_path(blob.key).read_bytes() == b"whole content"


def test_a_full_disk_is_an_answer_and_leaves_nothing(
    blobs: DiskBlobStore, root: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    made = blobs.temporary_file
    count = 0

    def temporary_file() -> object:
        nonlocal count
        count += 1
        path, file = made()
        if count < 5:
            return path, file
        file.close()
        return path, Path("/dev/full").open("wb", buffering=0)

    monkeypatch.setattr(blobs, "temporary_file", temporary_file)
    contents = {digests_of(content): content for content in CONTENTS}
    with pytest.raises(InsufficientStorage), blobs.write_many(contents):
        pytest.fail("not stored")
    assert files_below(root) == []


@in_own_process
def test_many_batches_of_the_same_contents_at_once(root: Path) -> None:
    blobs = DiskBlobStore(root)
    contents = {digests_of(content): content for content in CONTENTS}
    failures: list[BaseException] = []
    most = 0

    def keep() -> None:
        nonlocal most
        try:
            with blobs.write_many(contents):
                most = max(most, len(list(Path("/proc/self/fd").iterdir())))
        except BaseException as error:  # noqa: BLE001 - shown below
            failures.append(error)

    before = len(list(Path("/proc/self/fd").iterdir()))
    threads = [threading.Thread(target=keep) for _ in range(12)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert failures == []
    assert len(files_below(root)) == len(set(CONTENTS))
    assert most - before < 6 * MAX_BUNDLE_UPLOAD  # of twelve batches, which have files open
